"""The benches of the order: what is compared with what, and figures into their page."""

from pathlib import Path

import pytest

from serving.worklist.simulate.experiment import Plan
from serving.worklist.simulate.policies import Policy
from serving.worklist.simulate.reading import Reading
from serving.worklist.simulate.traffic import Traffic
from tests.bench.agreement import DETECTOR, Cell, agreement, answers_of, grid
from tests.bench.page import write_between


def a_cell(readers: int, load: float, *, is_preemptive: bool = False) -> Cell:
    traffic = Traffic(readers, load, Reading(), DETECTOR, hospitals=1)
    return Cell(Plan(Policy.STRICT, traffic, 2000, 8, is_preemptive=is_preemptive), 0.02)


def test_a_mean_is_held_against_its_formula() -> None:
    answers = answers_of(a_cell(4, 0.8))
    assert [answer.group for answer in answers] == ["ai_positive", "ai_negative", "all"]
    assert [answer.theory for answer in answers] == pytest.approx([1.742, 8.71, 7.455], rel=1e-3)
    assert not any(answer.is_share for answer in answers)


def test_where_nearly_nobody_waits_the_share_that_waits_is_compared() -> None:
    answers = answers_of(a_cell(24, 0.5))
    assert all(answer.is_share for answer in answers)
    assert answers[0].theory == pytest.approx(0.001574, rel=1e-3)


def test_who_interrupts_finds_only_his_own_class_before_him() -> None:
    by_group = {one.group: one for one in answers_of(a_cell(8, 0.5, is_preemptive=True))}
    assert by_group["ai_positive"].is_share
    assert by_group["ai_positive"].theory < 1e-4
    assert not by_group["ai_negative"].is_share


def test_an_answer_that_is_far_off_misses_its_target() -> None:
    cell = a_cell(4, 0.8)
    (farthest, *_) = agreement([cell], [answers_of(cell)])
    assert farthest.is_met
    other = a_cell(4, 0.7)
    answers = answers_of(other)
    wrong = [
        type(one)(one.group, False, one.theory * 2, one.measured, one.error) for one in answers
    ]
    assert not agreement([other], [wrong])[0].is_met


def test_the_grid_has_every_cell_that_is_promised() -> None:
    cells = {(c.plan.traffic.readers, c.plan.traffic.load) for c in grid(1.0)}
    assert {(readers, load) for readers in (1, 4, 8, 24) for load in (0.5, 0.8, 0.95)} <= cells


def test_figures_replace_what_stood_between_their_marks_and_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- x: begin -->\nold\n<!-- x: end -->\nb\n", "utf-8")
    write_between(page, "x", "new")
    assert page.read_text("utf-8") == "a\n<!-- x: begin -->\nnew\n<!-- x: end -->\nb\n"
