"""What a reader is told besides the numbers, and where it is told."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstread.messages import Language
from inference.gate.reasons import Code, Reason, Status, Verdict
from inference.results import document
from inference.results.analysis import Analysis
from inference.results.notes import NoteCode, notes
from inference.results.sr import exam_comments
from models.package import SizeRange
from tests.inference.results.a_series import an_analysis


def made_for(least_mm: float, most_mm: float, *, seen: bool = False) -> Analysis:
    analysis = an_analysis()
    size = SizeRange(least_mm=least_mm, most_mm=most_mm)
    return replace(
        analysis, package=replace(analysis.package, intended_size=size, has_seen_series=seen)
    )


def test_a_result_of_the_intended_kind_needs_no_note() -> None:
    assert notes(made_for(0.1, 1000)) == ()


def test_a_series_that_was_trained_on_says_so_in_both_languages() -> None:
    (note,) = notes(made_for(0.1, 1000, seen=True))
    assert note.code is NoteCode.SEEN_IN_TRAINING
    assert "trained on this very series" in note.sentence(Language.EN)
    assert "训练" in note.sentence(Language.ZH_CN)


def test_findings_of_another_size_are_named() -> None:
    diameters = [finding.mean_diameter_mm for finding in an_analysis().findings]
    assert len(diameters) == 2
    between = sum(diameters) / 2
    smaller = diameters.index(min(diameters)) + 1
    analysis = made_for(between, 1000)
    (note,) = notes(analysis)
    assert note.code is NoteCode.OUTSIDE_INTENDED_SIZE
    assert note.sentence(Language.EN).endswith(f"finding {smaller}.")
    places = {one["id"]: one["intended_size"] for one in document.describe(analysis)["findings"]}
    assert places == {smaller: "below", 3 - smaller: "within"}


def test_what_was_not_scored_has_no_note() -> None:
    refused = Verdict((Reason(Code.NOT_CT, Status.REFUSE),))
    assert notes(replace(made_for(500, 1000, seen=True), verdict=refused)) == ()


def test_notes_stand_in_the_report() -> None:
    comments = exam_comments(notes(made_for(500, 1000, seen=True)))
    assert [comment.partition(":")[0] for comment in comments[:2]] == [
        "seen-in-training",
        "outside-intended-size",
    ]


@given(st.floats(0.1, 100), st.floats(0.1, 100), st.floats(0.1, 200))
def test_both_ends_of_a_range_are_within(one: float, other: float, diameter: float) -> None:
    least, most = sorted((one, other))
    size = SizeRange(least_mm=least, most_mm=most)
    assert (size.place(least), size.place(most)) == ("within", "within")
    assert (size.place(diameter) == "within") is (least <= diameter <= most)


def test_a_range_that_descends_is_refused() -> None:
    with pytest.raises(ValueError, match="least_mm"):
        SizeRange(least_mm=5, most_mm=4)
