"""The key of a study: what a reader must be able to read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.worklist.keys import BODY_PARTS, MODALITIES, ReadingKey, key_of


@pytest.mark.parametrize(
    ("sent", "key"),
    [
        (("CT", "CHEST", "19630412", "20260301"), ReadingKey("CT", "chest")),
        (("CT", "CHESTABDOMEN", "", ""), ReadingKey("CT", "chest")),
        (("CT", "胸部", "19630412", "20260301"), ReadingKey("CT", "chest")),
        (("mr ", "Brain", "19630412", "20260301"), ReadingKey("MR", "head")),
        (("DX", "HAND", "20120302", "20260301"), ReadingKey("DX", "other", "child")),
        (("DX", "HAND", "20120301", "20260301"), ReadingKey("DX", "other", "adult")),
        (("something", "", "never", "20260301"), ReadingKey("OT", "")),
    ],
)
def test_a_study_has_the_key_of_its_first_images(
    sent: tuple[str, str, str, str], key: ReadingKey
) -> None:
    assert key_of(*sent) == key


@given(modality=st.text(), body_part=st.text(), born=st.text(), made=st.text())
def test_whatever_is_sent_makes_no_key_outside_of_a_closed_set(
    modality: str, body_part: str, born: str, made: str
) -> None:
    key = key_of(modality, body_part, born, made)
    assert key.modality in {*MODALITIES, "OT"}
    assert key.body_part in {*BODY_PARTS, "other", ""}
    assert key.age_group in {"adult", "child"}
    assert key.special == ""
