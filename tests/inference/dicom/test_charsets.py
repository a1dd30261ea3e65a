from itertools import pairwise

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.dicom.charsets import BY_VALUE, Decision, decide, declared_sets, decode
from inference.dicom.reader import open_upload
from tests.shared import SHARED, needs_shared

CHARSETS = SHARED / "data/conformance/charsets"
NAME, DESCRIPTION = 0x00100010, 0x00081030

CHINESE_NAMES = [
    "王^小东",
    "Wang^XiaoDong=王^小东",
    "欧阳^娜娜",
    "卢^梅",
    "叶^平",
    "Li^Yan=李^䶮㛃",
    "艾力·买买提",
]
EUROPEAN_NAMES = [
    "Müller^Jörg",
    "Göße^Änne",
    "Núñez^José",
    "Lefèvre^Chloé",
    "Sørensen^Åse",
    "D'Angelò^Niccolò",
]
DESCRIPTIONS = ["胸部CT平扫", "肺窗 1.25mm", "CT引导下肺穿刺", "胸部（平扫＋增强）", "薄层重建"]
LATIN_OR_NONE = [(), ("ISO_IR 6",), ("ISO_IR 100",)]
CHINESE_SETS = [("GB18030",), ("GBK",), ("", "ISO 2022 IR 58")]


def texts(path_name: str) -> tuple[str, str]:
    """Return name and study description of the only instance of a file, as an index shows them."""
    with open_upload([CHARSETS / path_name]) as upload:
        study = upload.studies[0]
        header = study.series[0].instances[0].header
        declared = declared_sets(header.get_item(0x00080005).value if 0x00080005 in header else b"")
        name, description = (
            decode(header.get_item(tag).value or b"", declared, study.codecs[declared])
            if tag in header
            else ""
            for tag in (NAME, DESCRIPTION)
        )
        return name, description


def alone(text: str, encoding: str, declared: tuple[str, ...]) -> str:
    """Return what becomes of a name that is the only one of its study."""
    raw = text.encode(encoding)
    return decode(raw, declared, decide([raw], [], declared).codec)


@needs_shared
@pytest.mark.parametrize(
    ("file", "name", "description"),
    [
        ("zh-gb18030", "Wang^XiaoDong=王^小东", "胸部CT平扫"),
        ("zh-gbk", "Wang^XiaoDong=王^小东", "胸部CT平扫"),
        ("zh-utf8", "Wang^XiaoDong=王^小东", "胸部CT平扫"),
        ("zh-gb18030-rare", "Li^Yan=李^䶮㛃", None),
        ("zh-gbk-byte-5c", "Chen^Cheng=陳^誠", "誠檢查"),
        ("zh-gb18030-byte-5c-5e", "Chen^Cheng=陳^誠羄", None),
        ("zh-iso2022-ir58", "Zhang^XiaoDong=张^小东", None),
        ("zh-gbk-bytes-tagged-iso-ir-100", "Wang^XiaoDong=王^小东", None),
        ("zh-gbk-bytes-without-charset", "Wang^XiaoDong=王^小东", None),
        ("zh-utf8-bytes-tagged-gb18030", "Wang^XiaoDong=王^小东", None),
        ("zh-ideographic-only", "王小东", None),
    ],
)
def test_every_chinese_file_is_read_as_it_was_meant(
    file: str, name: str, description: str | None
) -> None:
    found = texts(f"{file}.dcm")
    assert found[0].rstrip("=") == name  # an empty third group may be written
    if description is not None:
        assert found[1] == description


@needs_shared
def test_every_file_of_other_alphabets_is_read_as_pydicom_reads_it() -> None:
    compared = 0
    for path in sorted(CHARSETS.glob("chr*.dcm")):
        expected = pydicom.dcmread(path)
        if "PatientName" in expected and "SOPClassUID" in expected:
            compared += 1
            assert texts(path.name)[0].rstrip("=") == str(expected.PatientName), path.name
    assert compared == 15


@pytest.mark.parametrize("declared", [*LATIN_OR_NONE, *CHINESE_SETS, ("ISO_IR 192",)])
@pytest.mark.parametrize("name", CHINESE_NAMES)
def test_a_chinese_name_in_utf_8_is_read_whatever_is_declared(
    name: str, declared: tuple[str, ...]
) -> None:
    assert alone(name, "utf-8", declared) == name


@pytest.mark.parametrize("declared", [*LATIN_OR_NONE, *CHINESE_SETS])
@pytest.mark.parametrize("name", CHINESE_NAMES)
def test_a_chinese_name_in_gb18030_is_read_whatever_is_declared(
    name: str, declared: tuple[str, ...]
) -> None:
    assert alone(name, "gb18030", declared) == name


@pytest.mark.parametrize("declared", LATIN_OR_NONE)
@pytest.mark.parametrize("encoding", ["latin-1", "utf-8"])
@pytest.mark.parametrize("name", EUROPEAN_NAMES)
def test_a_european_name_is_never_made_chinese(
    name: str, encoding: str, declared: tuple[str, ...]
) -> None:
    assert alone(name, encoding, declared) == name


@pytest.mark.parametrize(
    ("name", "encoding", "declared"),
    [
        ("Люкceмбypг", "iso8859_5", ("ISO_IR 144",)),
        ("Διονυσιος", "iso8859_7", ("ISO_IR 126",)),
        ("שרון^דבורה", "iso8859_8", ("ISO_IR 138",)),
        ("Wałęsa^Łukasz", "iso8859_2", ("ISO_IR 101",)),
        ("김^희중", "euc_kr", ("", "ISO 2022 IR 149")),
        ("สมชาย", "iso8859_11", ("ISO_IR 166",)),
    ],
)
def test_other_declared_sets_are_believed(
    name: str, encoding: str, declared: tuple[str, ...]
) -> None:
    assert alone(name, encoding, declared) == name


@pytest.mark.parametrize("declared", LATIN_OR_NONE)
@pytest.mark.parametrize("encoding", ["gb18030", "utf-8"])
def test_descriptions_decide_together_where_names_are_pinyin(
    encoding: str, declared: tuple[str, ...]
) -> None:
    raw = [text.encode(encoding) for text in DESCRIPTIONS]
    codec = decide([b"Wang^XiaoDong"], raw, declared).codec
    assert [decode(value, declared, codec) for value in raw] == DESCRIPTIONS


def test_a_chinese_name_decides_for_descriptions_whose_words_mix() -> None:
    name, description = "王^小东".encode("gb18030"), "胸部CT平扫".encode("gb18030")
    codec = decide([name], [description], ("ISO_IR 100",)).codec
    assert decode(description, ("ISO_IR 100",), codec) == "胸部CT平扫"


def test_accents_in_descriptions_are_not_made_chinese() -> None:
    raw = ["Größe über 5 mm", "Schädel nativ"]
    codec = decide([], [text.encode("latin-1") for text in raw], ("ISO_IR 100",)).codec
    assert [decode(text.encode("latin-1"), ("ISO_IR 100",), codec) for text in raw] == raw


@pytest.mark.parametrize("words", [["Größe 5 mm"], ["ÄÖÜß nativ", "über"]])
def test_short_and_odd_runs_of_high_bytes_are_accents(words: list[str]) -> None:
    raw = [text.encode("latin-1") for text in words]
    assert all(value.decode("gb18030") for value in raw)  # they could be Chinese
    assert decide([], raw, ("ISO_IR 100",)) == Decision(BY_VALUE, 4)


def test_a_name_without_high_bytes_leaves_the_decision_to_the_descriptions() -> None:
    raw = [text.encode("gb18030") for text in DESCRIPTIONS]
    assert decide([b"Wang^XiaoDong"], raw, ()) == Decision("gb18030", 3)


def test_a_delimiter_brings_the_first_declared_set_back_after_an_escape() -> None:
    declared = ("ISO 2022 IR 100", "ISO 2022 IR 126")
    assert decode(b"\x1b-F\xe4\xe9^J\xf6rg", declared, BY_VALUE) == "δι^Jörg"


def test_one_european_name_keeps_the_chinese_of_a_study_from_being_guessed() -> None:
    names = ["王^小东".encode("gb18030"), "Müller^Jörg".encode("latin-1")]
    assert decide(names, [], ("ISO_IR 100",)) == Decision(BY_VALUE, 4)


def test_values_without_high_bytes_do_not_vote() -> None:
    names = [b"Wang^XiaoDong", "王^小东".encode("gb18030")]
    assert decide(names, [], ()) == Decision("gb18030", 3)


def test_a_value_that_does_not_decode_in_the_chosen_set_is_still_read() -> None:
    assert decode("王小东".encode(), ("GB18030",), "gb18030") == "王小东"
    assert decode("胸部平扫".encode("gb18030"), ("ISO_IR 192",), "utf-8") == "胸部平扫"
    assert decode("Müller".encode("latin-1"), ("ISO_IR 192",), "utf-8") == "Müller"


def test_escapes_of_ir_58_leave_nothing_in_the_text() -> None:
    raw = b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab"
    assert decode(raw, ("", "ISO 2022 IR 58"), "gb18030") == "Zhang^XiaoDong=张^小东"


def test_an_unknown_escape_is_no_error() -> None:
    assert decode(b"\x1b(Zabc", (), BY_VALUE) == "\x1b(Zabc"


def test_the_names_of_sets_may_be_spelt_carelessly() -> None:
    assert (
        decide([], [], ("iso-ir 144",))
        == decide([], [], ("ISO_IR 144",))
        == Decision("iso8859_5", 2)
    )
    assert declared_sets(b"\\ISO 2022 IR 58 ") == ("", "ISO 2022 IR 58")
    assert declared_sets(b" ") == ()


@given(
    st.lists(st.binary(max_size=20)),
    st.binary(max_size=40),
    st.sampled_from([*LATIN_OR_NONE, *CHINESE_SETS]),
)
def test_no_bytes_are_an_error(names: list[bytes], value: bytes, declared: tuple[str, ...]) -> None:
    assert isinstance(decode(value, declared, decide(names, [value], declared).codec), str)


@given(
    st.lists(st.text("王小东李娜张伟欧阳^ ", min_size=1), min_size=1),
    st.sampled_from(["utf-8", "gb18030"]),
)
def test_chinese_names_survive_any_declaration_that_is_not_another_alphabet(
    names: list[str], encoding: str
) -> None:
    names = [name.strip() or "王" for name in names]
    for declared in LATIN_OR_NONE:
        raw = [name.encode(encoding) for name in names]
        codec = decide(raw, [], declared).codec
        assert [decode(value, declared, codec) for value in raw] == names


@given(st.lists(st.binary(max_size=12), max_size=6))
def test_the_decision_does_not_depend_on_the_order_of_values(names: list[bytes]) -> None:
    assert decide(names, [], ("ISO_IR 100",)) == decide(names[::-1], [], ("ISO_IR 100",))


def test_steps_are_tried_in_order() -> None:
    utf_8, gbk = "王^小东".encode(), "王^小东".encode("gb18030")
    steps = [
        decide([utf_8], [], ("GB18030",)).step,
        decide([gbk], [], ("GB18030",)).step,
        decide([gbk], [], ()).step,
        decide(["Jörg".encode("latin-1")], [], ()).step,
    ]
    assert steps == [1, 2, 3, 4]
    assert all(first < second for first, second in pairwise(steps))
