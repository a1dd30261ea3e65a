"""What did not arrive is asked for before a study is refused for what it does not show."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.gate.arrival import await_the_rest
from inference.gate.reasons import Code, Number, Reason, Status, Verdict

CHEST = ("CHEST", "THORAX")


def missing(witness: str, status: Status) -> Reason:
    numbers: dict[str, Number] = {
        "witness": witness,
        "expected": 112,
        "received": 56,
        "missing": 56,
    }
    return Reason(Code.INSTANCES_MISSING, status, numbers)


def no_chest(body_part: str) -> Reason:
    return Reason(Code.NOT_CHEST, Status.REFUSE, {"body_part": body_part, "lung_volume_ml": 400})


CUT = Reason(Code.LUNGS_TRUNCATED, Status.REFUSE, {"end": "head"})
BY_NUMBERS = missing("instance-numbers", Status.LIMITS)


@pytest.mark.parametrize(
    "witness",
    [BY_NUMBERS, missing("manifest", Status.RESEND), missing("announced-count", Status.RESEND)],
)
def test_half_a_study_is_to_be_sent_again(witness: Reason) -> None:
    reasons = await_the_rest([CUT, no_chest("-"), witness], CHEST)
    assert Verdict.of(reasons).status is Status.RESEND
    assert {reason.status for reason in reasons} == {Status.RESEND}


def test_without_a_word_of_absent_images_cut_lungs_are_refused() -> None:
    assert await_the_rest([CUT], CHEST) == (CUT,)


def test_images_that_may_be_of_another_series_excuse_nothing() -> None:
    reasons = [CUT, missing("study-count", Status.LIMITS)]
    assert await_the_rest(reasons, CHEST) == tuple(reasons)


def test_lungs_that_are_cut_a_little_stay_limited_and_so_do_the_numbers() -> None:
    reasons = [Reason(Code.LUNGS_TRUNCATED, Status.LIMITS, {"end": "feet"}), BY_NUMBERS]
    assert await_the_rest(reasons, CHEST) == tuple(reasons)


def test_the_rest_of_an_abdomen_brings_no_chest() -> None:
    reasons = await_the_rest([CUT, no_chest("ABDOMEN"), BY_NUMBERS], CHEST)
    assert Verdict.of(reasons).status is Status.REFUSE


@given(st.lists(st.sampled_from([*Code])), st.sampled_from([*Status]))
def test_nothing_else_is_ever_changed(codes: list[Code], status: Status) -> None:
    speak = (Code.LUNGS_TRUNCATED, Code.NOT_CHEST, Code.INSTANCES_MISSING)
    others = [Reason(code, status) for code in codes if code not in speak]
    assert list(await_the_rest([*others, CUT, BY_NUMBERS], CHEST))[: len(others)] == others
