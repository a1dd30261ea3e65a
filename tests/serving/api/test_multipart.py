"""The parser of multipart/related: RFC 2046's freedoms, other people's mistakes, any chunking."""

import itertools
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.api.multipart import (
    PART_HEADER_BYTES,
    PartBegins,
    PartEnds,
    RelatedParser,
    boundary_of,
)
from serving.errors import BadRequest, TooLarge, WrongMediaType

Part = tuple[dict[str, str], bytes]

BOUNDARIES = st.text("ab-", min_size=1, max_size=5)
# Data made of the pieces that delimiters are made of.
TRICKY = st.lists(
    st.sampled_from([b"\r", b"\n", b"\r\n", b"-", b"--", b"a", b"b", b" ", b"\0", b"\r\n--a"]),
    max_size=20,
).map(b"".join)


def parts_of(boundary: str, chunks: Iterable[bytes]) -> list[Part]:
    parser = RelatedParser(boundary)
    parts: list[Part] = []
    data: list[bytes] | None = None
    headers: dict[str, str] = {}
    for chunk in chunks:
        for event in parser.feed(chunk):
            if isinstance(event, PartBegins):
                assert data is None
                headers, data = dict(event.headers), []
            elif isinstance(event, PartEnds):
                assert data is not None
                parts.append((headers, b"".join(data)))
                data = None
            else:
                assert data is not None
                assert event
                data.append(bytes(event))
    parser.close()
    assert data is None
    return parts


def body_of(boundary: str, parts: Iterable[bytes]) -> bytes:
    begin = b"--" + boundary.encode()
    return b"".join(
        begin + b"\r\nContent-Type: application/dicom\r\n\r\n" + data + b"\r\n" for data in parts
    ) + (begin + b"--\r\n")


def cut(body: bytes, places: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(body) + 1) for place in places), len(body)]
    return [body[a:b] for a, b in itertools.pairwise(edges)]


@given(BOUNDARIES, st.lists(TRICKY, min_size=1, max_size=4), st.lists(st.integers(0, 500)))
def test_any_chunking_gives_the_same_parts(
    boundary: str, parts: list[bytes], places: list[int]
) -> None:
    body = body_of(boundary, parts)

    def outcome(chunks: list[bytes]) -> object:
        try:
            return parts_of(boundary, chunks)
        except (BadRequest, TooLarge) as error:
            return type(error)

    whole = outcome([body])
    assert outcome(cut(body, places)) == whole
    assert outcome([body[i : i + 1] for i in range(len(body))]) == whole


@given(st.lists(st.binary(max_size=200), min_size=1, max_size=5), st.integers(1, 300))
def test_parts_come_out_as_they_went_in(parts: list[bytes], size: int) -> None:
    body = body_of("0123456789-unlikely", parts)
    chunks = [body[i : i + size] for i in range(0, len(body), size)]
    assert [data for _, data in parts_of("0123456789-unlikely", chunks)] == parts


@given(st.data())
def test_a_body_that_is_cut_anywhere_is_truncated(data: st.DataObject) -> None:
    body = body_of("b", [b"one", b"two"])
    length = data.draw(st.integers(0, len(body) - 3))
    with pytest.raises(BadRequest):
        parts_of("b", [body[:length]])


def test_a_preamble_an_epilogue_and_spaces_behind_delimiters_are_allowed() -> None:
    body = b"This is MIME.\r\n--b \t \r\nA: 1\r\n\r\ndata\r\n--b  \r\n\r\nmore\r\n--b--  \r\nbye"
    assert parts_of("b", [body]) == [({"a": "1"}, b"data"), ({}, b"more")]


def test_a_line_that_only_begins_like_a_delimiter_is_data() -> None:
    data = b"x\r\n--bc\r\n--b c\r\n\r\n--b-"
    assert parts_of("b", [body_of("b", [data])])[0][1] == data


def test_parts_without_headers_or_data_are_parts() -> None:
    assert parts_of("b", [b"--b\r\n--b\r\n\r\n--b\r\nA: 1\r\n--b\r\nA: 1\r\n\r\n\r\n--b--"]) == [
        ({}, b""),
        ({}, b""),
        ({"a": "1"}, b""),
        ({"a": "1"}, b""),
    ]


def test_folded_headers_are_one_line() -> None:
    body = b'--b\r\nContent-Type: application/dicom;\r\n  transfer-syntax="1.2"\r\n\r\nx\r\n--b--'
    ((headers, _),) = parts_of("b", [body])
    assert headers == {"content-type": 'application/dicom; transfer-syntax="1.2"'}


@pytest.mark.parametrize(
    "body", [b"", b"nothing", b"--b--", b"--b\r\n", b"--b\r\nno header\r\n\r\n"]
)
def test_a_body_without_whole_parts_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        parts_of("b", [body])


@pytest.mark.parametrize("size", [1, 1000, 100_000])
def test_headers_without_end_are_cut(size: int) -> None:
    body = b"--b\r\nA: " + b"x" * (PART_HEADER_BYTES + 1000) + b"\r\n\r\ndata\r\n--b--"
    with pytest.raises(TooLarge):
        parts_of("b", [body[i : i + size] for i in range(0, len(body), size)])


def test_memory_is_bounded_by_the_chunk_whatever_the_data() -> None:
    parser = RelatedParser("bb")
    list(parser.feed(b"--bb\r\n\r\n"))
    for data in (b"\r" * 65536, b"\r\n--" * 16384, b"\r\n--b " * 10000, b"x" * 65536):
        for _ in range(4):
            list(parser.feed(data))
            assert len(parser._buffer) - parser._position < 1024


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ('multipart/related; type="application/dicom"; boundary=abc', "abc"),
        ("multipart/related;type=application/dicom;boundary=abc", "abc"),
        ('Multipart/Related; boundary="a b:c"; type=application/dicom', "a b:c"),
        ("multipart/related; boundary====", "==="),
    ],
)
def test_the_boundary_may_be_quoted_or_not(content_type: str, boundary: str) -> None:
    assert boundary_of(content_type)[0] == boundary


@pytest.mark.parametrize(
    ("content_type", "error"),
    [
        ("multipart/related; type=application/dicom", BadRequest),
        ('multipart/related; boundary=""', BadRequest),
        (f"multipart/related; boundary={'x' * 71}", BadRequest),
        ('multipart/related; boundary="a\r\nb"', BadRequest),
        ("multipart/form-data; boundary=abc", WrongMediaType),
        ("application/dicom", WrongMediaType),
        ("", WrongMediaType),
    ],
)
def test_a_wrong_content_type_is_refused(content_type: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        boundary_of(content_type)
