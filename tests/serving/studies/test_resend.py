"""What a sender is asked to send again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstread.messages import Language
from firstread.uids import uid_from
from inference.gate.reasons import Code, Number, Reason, Status, Verdict
from inference.results.document import verdict_document
from serving.studies.resend import Cure, ResendItem, resend_list
from tests.serving.studies.a_study import a_document


def a_gap(position_mm: float, missing: int = 3, status: Status = Status.RESEND) -> Reason:
    numbers: dict[str, Number] = {
        "position_mm": position_mm,
        "from_mm": position_mm - 2.5,
        "to_mm": position_mm + 2.5,
        "gap_mm": 5.0,
        "usual_mm": 1.25,
        "missing": missing,
        "missing_in_all": missing,
        "gaps": 1,
        "share_percent": 2.0,
    }
    return Reason(Code.SLICES_MISSING, status, numbers)


def listed(*reasons: Reason) -> tuple[ResendItem, ...]:
    verdict = Verdict.of(reasons)
    document = a_document(scored=verdict.status.is_scored)
    document["verdict"] = verdict_document(verdict)
    return resend_list(document)


def test_a_gap_is_named_with_series_place_and_number() -> None:
    (item,) = listed(a_gap(-112.5, 3))
    assert item.series_uid == uid_from("study", "CT")
    assert (item.position_mm, item.from_mm, item.to_mm) == (-112.5, -115.0, -110.0)
    assert (item.missing, item.is_required) == (3, True)
    assert item.cure is Cure.MISSING_IMAGES
    assert item.en == a_gap(-112.5, 3).sentence(Language.EN)


@given(st.lists(st.integers(-400, 400), min_size=1, max_size=6, unique=True))
def test_gaps_are_listed_from_the_feet_to_the_head(places: list[int]) -> None:
    items = listed(*(a_gap(float(place)) for place in places))
    assert [item.position_mm for item in items] == sorted(float(place) for place in places)


def test_a_bridged_gap_of_a_scored_study_is_listed_as_not_required() -> None:
    (item,) = listed(a_gap(10.0, 1, Status.LIMITS))
    assert not item.is_required


def test_missing_images_of_unknown_place_come_last() -> None:
    numbers: dict[str, Number] = {
        "witness": "announced-count",
        "expected": 10,
        "received": 6,
        "missing": 4,
    }
    items = listed(Reason(Code.INSTANCES_MISSING, Status.RESEND, numbers), a_gap(200.0))
    assert [(item.position_mm, item.missing) for item in items] == [(200.0, 3), (None, 4)]


@pytest.mark.parametrize(("announced", "missing"), [(300, 200), (0, None)])
def test_a_thinned_series_is_wanted_whole(announced: int, missing: int | None) -> None:
    numbers: dict[str, Number] = {
        "step_mm": 3.75,
        "thickness_mm": 1.25,
        "number_stride": 3,
        "announced": announced,
        "received": 100,
        "kept_of": 3,
        "witness": "number-stride",
    }
    (item,) = listed(Reason(Code.SLICES_THINNED, Status.RESEND, numbers))
    assert (item.position_mm, item.missing) == (None, missing)
    assert item.cure is Cure.MISSING_IMAGES


def doubles(pixels: str, status: Status) -> Reason:
    numbers: dict[str, Number] = {
        "positions": 2, "position_mm": -50.0, "to_mm": -20.0, "pixels": pixels,
    }  # fmt: skip
    return Reason(Code.SLICES_DOUBLED, status, numbers)


@pytest.mark.parametrize(
    "reason",
    [
        doubles("other-pixels", Status.RESEND),
        Reason(
            Code.UIDS_REPEATED, Status.RESEND,
            {"count": 4, "uids": 2, "position_mm": 1.0, "to_mm": 9.0},
        ),
        Reason(
            Code.HU_IMPLAUSIBLE, Status.RESEND,
            {"problem": "blank-slices", "count": 3, "position_mm": 1.0, "to_mm": 9.0},
        ),
        Reason(
            Code.ACQUISITIONS_MIXED, Status.RESEND, {"slices": 9, "other_slices": 9, "parts": 2}
        ),
        Reason(
            Code.FRAME_OF_REFERENCE_MIXED, Status.RESEND,
            {"slices": 9, "other_slices": 9, "parts": 2},
        ),
    ],
    ids=lambda reason: str(reason.code),
)  # fmt: skip
def test_what_lies_in_the_images_asks_for_a_new_series_and_counts_none_as_missing(
    reason: Reason,
) -> None:
    item, gap = sorted(listed(reason, a_gap(10.0)), key=lambda item: item.code == "slices-missing")
    assert (item.cure, item.missing) == (Cure.NEW_SERIES, None)
    assert item.zh == reason.sentence(Language.ZH_CN)
    assert gap.cure is Cure.MISSING_IMAGES


def test_equal_doubles_ask_for_nothing() -> None:
    (item,) = listed(doubles("equal-pixels", Status.LIMITS), a_gap(10.0))
    assert item.code == "slices-missing"


def test_a_refused_study_is_asked_for_nothing() -> None:
    assert not listed(Reason(Code.NOT_CT, Status.REFUSE, {"modality": "MR"}), a_gap(10.0))


def test_what_no_other_images_would_cure_is_not_listed() -> None:
    assert not listed(Reason(Code.NOT_CT, Status.REFUSE, {"modality": "MR"}))
