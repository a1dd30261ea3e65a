"""Content negotiation as RFC 9110 and PS3.18 have it, and as clients write it."""

import pytest

from serving.api.media_types import DICOM_JSON, DICOM_XML, choose, read_accept, read_media_type
from serving.errors import NotAcceptable


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ([], DICOM_JSON),
        (["*/*"], DICOM_JSON),
        (["application/*"], DICOM_JSON),
        (["application/dicom+xml"], DICOM_XML),
        (["application/dicom+json;q=0.5, application/dicom+xml"], DICOM_XML),
        (["application/dicom+json;q=0.5", "application/dicom+xml;q=0.6"], DICOM_XML),
        (["application/dicom+json;q=0, */*"], DICOM_XML),
        (["APPLICATION/DICOM+XML ; q=1.0"], DICOM_XML),
        (["text/html, application/dicom+xml;q=0.1"], DICOM_XML),
    ],
)
def test_the_most_wanted_type_is_chosen(accept: list[str], chosen: str) -> None:
    assert choose(read_accept(accept), [DICOM_JSON, DICOM_XML]) == chosen


@pytest.mark.parametrize(
    "accept", ["text/html", "application/dicom+json;q=0", "nonsense", "*/*;q=x"]
)
def test_what_cannot_be_given_is_not_acceptable(accept: str) -> None:
    with pytest.raises(NotAcceptable):
        choose(read_accept([accept]), [DICOM_JSON])


def test_the_accept_parameter_of_the_address_stands_above_the_header() -> None:
    accepted = read_accept(["application/dicom+json"], ["application/dicom+xml"])
    assert choose(accepted, [DICOM_JSON, DICOM_XML]) == DICOM_XML


@pytest.mark.parametrize(
    "text",
    [
        'multipart/related; type="application/dicom"; transfer-syntax=*',
        "multipart/related;type=application/dicom;transfer-syntax=*",
        'multipart/related; transfer-syntax="*"; type="application/dicom"; ',
    ],
)
def test_parameters_are_read_quoted_and_unquoted(text: str) -> None:
    (found,) = read_accept([text])
    assert (found.kind, found.transfer_syntax) == ("application/dicom", "*")


def test_a_comma_within_quotes_separates_nothing() -> None:
    first, second = read_accept(['a/b; x="1,2;\\"3", c/d'])
    assert (first.parameters["x"], second.name) == ('1,2;"3', "c/d")


@pytest.mark.parametrize("text", ["", "dicom", "*/*", "a b/c"])
def test_what_is_no_media_type_is_none(text: str) -> None:
    assert read_media_type(text) is None


def test_a_long_header_costs_little() -> None:
    assert len(read_accept(["a/b;" * 10_000 + '"' * 10_000])) == 1
