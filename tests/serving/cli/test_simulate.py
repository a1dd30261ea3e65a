"""``firstread simulate``: a document, a table, a picture, and a sentence for each mistake."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from firstread.errors import UsageError
from serving.cli.simulate_options import Given, plans, reference_day
from tests.serving.cli.conftest import Run

NOTHING_GIVEN = Given(
    "firstread", None, None, None, (), None, None, None, None, 0.25, "exponential", 0.5, None,
    None, None, None, False,
)  # fmt: skip
SMALL = ("simulate", "--cases", 2000, "--seeds", 3)
USUAL = (
    "--readers", 4, "--traffic", 0.9, "--mean-minutes", 10, "--prevalence", 0.1,
    "--sensitivity", 0.9, "--specificity", 0.9,
)  # fmt: skip


def test_it_prints_one_document_and_nothing_else(run: Run) -> None:
    code, out, err = run(*SMALL, *USUAL, "--policy", "strict", "--json")
    document = json.loads(out)
    assert (code, err) == (0, "")
    assert document["classes"]["all"]["n"] == 6000
    assert document["classes"]["ai_positive"]["mean_wait_minutes"] < 4
    assert document["standard_error"]["all"] > 0


@pytest.mark.parametrize(
    "words",
    [
        ("--policy", "fifo", "--preemptive", "--reading", "fixed", "--readers", 1),
        ("--reading", "lognormal", "--cv", 0.7, "--day", "working", "--hospitals", 3),
        ("--modality", "CT:12:0.6", "--modality", "CR:3:0.4", "--phi", 0.5, "--prevalence", 0),
    ],
)
def test_every_option_runs(run: Run, words: tuple[object, ...]) -> None:
    code, out, _ = run(*SMALL, *words, "--json")
    assert code == 0
    assert json.loads(out)["classes"]["all"]["n"] == 6000


def test_the_table_shows_minutes_saved_with_their_interval_and_what_to_think_of_them(
    run: Run,
) -> None:
    code, out, err = run(*SMALL, "--readers", 3, "--policy", "firstread")
    assert code == 0
    assert "saved for the diseased" in out
    assert " to " in out.split("saved for the diseased")[1].splitlines()[0]
    assert "with fewer than 4" in err


def test_a_quiet_team_is_told(run: Run) -> None:
    _, _, err = run(*SMALL, "--readers", 8, "--traffic", 0.4, "--policy", "strict")
    assert "No benefit to expect" in err


def test_operating_points_stand_side_by_side(run: Run) -> None:
    words = (*SMALL, "--traffic", 0.9, "--roc", "0.99:0.5,0.5:0.95")
    points = json.loads(run(*words, "--json")[1])["points"]
    assert [(one["sensitivity"], one["specificity"]) for one in points] == [
        (0.99, 0.5),
        (0.5, 0.95),
    ]
    assert points[0]["flagged_share"] == pytest.approx(0.549)
    assert len(run(*words)[1].splitlines()) == 3


def test_a_scenario_tells_its_promises_and_the_check_values(run: Run) -> None:
    documents = {
        name: json.loads(run("simulate", "--scenario", name, "--seeds", 2, "--json")[1])
        for name in ("overload", "storm", "dump")
    }
    assert all(kept["met"] for one in documents.values() for kept in one["promises"])
    assert [one["notes"] for one in documents.values()] == [[], [], []]
    found = {name: one["figures"] for name, one in documents.items()}
    assert found["overload"]["others_longest_to_fifo"]["by_seed"] == [
        pytest.approx(1.1240, abs=5e-5),
        pytest.approx(1.1472, abs=5e-5),
    ]
    assert found["storm"]["others_p99_to_sla"]["by_seed"] == [
        pytest.approx(1.218, abs=5e-4),
        pytest.approx(1.191, abs=5e-4),
    ]
    assert found["dump"]["other_hospitals_p95_to_fifo"]["by_seed"] == [
        pytest.approx(0.0493, abs=5e-5),
        pytest.approx(0.0748, abs=5e-5),
    ]


def test_what_a_scenario_was_drawn_from_stands_beside_its_figures(run: Run) -> None:
    words = ("--readers", 5, "--traffic", 0.7, "--seeds", 1, "--phi", 0.3, "--json")
    inputs = json.loads(run("simulate", "--scenario", "storm", *words)[1])["inputs"]
    assert (inputs["readers"], inputs["phi"], inputs["days"]) == (5, 0.3, 1)
    assert inputs["day_loads"] == pytest.approx([0.7] * 24)
    assert (inputs["flagged_share"], inputs["reading"]) == (0.85, "exponential")


def test_a_changed_scenario_says_that_it_lies_outside_the_conditions(run: Run) -> None:
    words = ("--readers", 3, "--specificity", 0.8, "--traffic", 0.9, "--phi", 0.1)
    code, _, err = run("simulate", "--scenario", "dump", "--seeds", 2, *words)
    assert code == 0
    notes = [line for line in err.splitlines() if line.startswith("note: ")]
    assert len(notes) == 4


def test_a_policy_that_breaks_a_promise_is_shown_to_do_so(run: Run) -> None:
    code, out, err = run("simulate", "--scenario", "storm", "--seeds", 4, "--policy", "strict")
    assert "MISSED" in out
    assert "promises are those of the policy firstread" in err
    # The simulation did what was asked.
    assert code == 0


@pytest.mark.parametrize("name", ["overload", "storm", "dump"])
def test_a_scenario_is_told_in_sentences_and_not_in_names_of_the_program(
    run: Run, name: str
) -> None:
    out = run("simulate", "--scenario", name, "--seeds", 2)[1]
    assert "8 readers" in out
    assert "met" in out
    assert "_" not in out
    assert "seed" not in out


@pytest.mark.parametrize(
    ("suffix", "begins"), [("svg", b"<svg xmlns"), ("png", b"\x89PNG"), ("SVG", b"<svg xmlns")]
)
def test_a_plot_is_drawn(run: Run, tmp_path: Path, suffix: str, begins: bytes) -> None:
    path = tmp_path / f"waits.{suffix}"
    assert run(*SMALL, "--plot", path)[0] == 0
    assert path.read_bytes().startswith(begins)


def test_a_scenario_and_operating_points_are_drawn_too(run: Run, tmp_path: Path) -> None:
    day, points = tmp_path / "day.svg", tmp_path / "points.svg"
    assert run("simulate", "--scenario", "storm", "--seeds", 2, "--plot", day)[0] == 0
    assert run(*SMALL, "--roc", "0.9:0.9,0.8:0.95", "--plot", points)[0] == 0
    assert b"seed 1" in day.read_bytes()
    assert b"Se 0.8, Sp 0.95" in points.read_bytes()


def test_where_no_plot_can_be_written_nothing_is_simulated(run: Run, tmp_path: Path) -> None:
    for plot in (tmp_path / "nowhere" / "waits.svg", tmp_path / "file" / "x.svg"):
        (tmp_path / "file").touch()
        # The mistake would be found on the way to the simulation.
        code, out, err = run("simulate", "--policy", "best", "--plot", plot)
        assert (code, out) == (7, "")
        assert err.startswith(f"error[output-unwritable]: --plot {plot}: ")


@pytest.mark.parametrize(
    "words",
    [("--policy", "best"), ("--sensitivity", 1.1), ("--seeds", 0), ("--plot", "waits.pdf")],
)
def test_a_mistake_is_one_line_and_a_hint(run: Run, words: tuple[object, ...]) -> None:
    code, out, err = run("simulate", *words)
    assert (code, out) == (2, "")
    assert err.startswith("error[usage]")
    assert "hint: " in err


@pytest.mark.parametrize(
    "words",
    [
        ("--mean-minutes", "inf"),
        ("--traffic", "inf"),
        ("--traffic", "nan"),
        ("--cv", "inf"),
        ("--phi", "nan"),
        ("--prevalence", "nan"),
        ("--mean-minutes", -1),
        ("--modality", "CT:inf:1"),
        ("--modality", "CT:10:nan"),
        ("--modality", "CT:1e-320:1"),
        ("--roc", "nan:0.9"),
        ("--readers", 10_001),
    ],
)
@pytest.mark.parametrize("day", [(), ("--scenario", "storm")])
def test_a_number_that_nobody_can_count_with_is_refused_by_the_name_of_its_option(
    run: Run, words: tuple[object, ...], day: tuple[object, ...]
) -> None:
    code, out, err = run("simulate", "--seeds", 1, *day, *words)
    assert (code, out) == (2, "")
    assert err.startswith("error[usage]")
    assert str(words[0]) in err.splitlines()[0]


def test_a_team_is_limited_for_a_reason() -> None:
    with pytest.raises(UsageError, match="10,000 readers"):
        plans(replace(NOTHING_GIVEN, readers=20_000))


@pytest.mark.parametrize(
    "change",
    [
        {"reading": "gamma"},
        {"is_preemptive": True},
        {"modalities": ("CT:12",)},
        {"modalities": ("CT:0:1",)},
        {"modalities": ("CT:9:1",), "mean_minutes": 9.0},
        {"roc": "0.9"},
        {"roc": "2:0.5"},
        {"day": "night"},
    ],
)
def test_what_cannot_be_simulated_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as refused:
        plans(replace(NOTHING_GIVEN, **change))
    assert refused.value.advice


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("flood", {}),
        ("dump", {"cases": 5}),
        ("dump", {"is_preemptive": True}),
        ("storm", {"roc": "0.9:0.9"}),
        ("storm", {"day": "flat"}),
    ],
)
def test_what_means_nothing_on_a_reference_day_is_refused(
    name: str, change: dict[str, Any]
) -> None:
    with pytest.raises(UsageError):
        reference_day(name, replace(NOTHING_GIVEN, **change))


def test_what_is_given_changes_the_reference_day() -> None:
    day = reference_day("storm", replace(NOTHING_GIVEN, readers=4, traffic=0.5, prevalence=0.2))
    assert (day.scenario.readers, day.scenario.prevalence) == (4, 0.2)
    assert day.scenario.flagged_share is None
    assert day.scenario.day_loads == pytest.approx([0.5] * 24)
