import pytest

from inference.dicom.body_parts import names_body_part

PARTS = ("CHEST", "LUNG", "THORAX")


@pytest.mark.parametrize(
    "text",
    [
        "CHEST",
        "Thorax",
        "LUNGS",
        "CHEST ABDOMEN",
        "ABDOMEN/CHEST",
        "CHESTABDOMEN",
        "CHESTABDPELVIS",
        "NECKCHEST",
        "HEADNECKCHEST",
        "CHEST_TO_PELVIS",
        "CT_CHEST",
        "胸部",
        "肺",
        "胸腹部平扫",
    ],
)
def test_a_text_that_names_the_chest_with_or_without_others_counts_as_the_chest(text: str) -> None:
    assert names_body_part(text, PARTS) is True


@pytest.mark.parametrize("text", ["ABDOMEN", "HEAD", "TSPINE", "BEHANDLUNG", "PLUNGE", "-"])
def test_another_part_is_told_as_another(text: str) -> None:
    assert names_body_part(text, PARTS) is False


@pytest.mark.parametrize("text", ["", " ", "腹部", "胸椎", "ÐØ²¿", "ВЕРХ"])
def test_what_cannot_be_read_says_nothing(text: str) -> None:
    assert names_body_part(text, PARTS) is None


def test_chinese_words_for_the_chest_do_not_name_another_part() -> None:
    assert names_body_part("胸部", ("ABDOMEN",)) is None
    assert names_body_part("CHEST", ("ABDOMEN",)) is False
