"""``firstread simulate``: what an order of reading is worth in a team, before anybody tries it."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from firstread.errors import OutputError, UsageError
from serving.cli.output import progress_bar, say, tell, tell_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from serving.cli.simulate_options import Given, ReferenceDay
    from serving.worklist.conditions import Note
    from serving.worklist.simulate.drawing import Bars
    from serving.worklist.simulate.experiment import Outcome
    from serving.worklist.simulate.figures import Interval


def simulate(
    readers: Annotated[int | None, typer.Option(min=1, help="At work at once (4).")] = None,
    traffic: Annotated[
        float | None,
        typer.Option(
            min=0.01, max=100, help="Arrivals x reading time / readers, mean of the day (0.8)."
        ),
    ] = None,
    mean_minutes: Annotated[
        float | None, typer.Option(min=0.01, max=10_000, help="Mean time of a reading (10).")
    ] = None,
    modality: Annotated[
        list[str] | None,
        typer.Option(help="NAME:MINUTES:SHARE, once for each; instead of --mean-minutes."),
    ] = None,
    prevalence: Annotated[
        float | None, typer.Option(min=0, max=1, help="Share of the diseased (0.1).")
    ] = None,
    sensitivity: Annotated[
        float | None, typer.Option(min=0, max=1, help="Of the AI (0.9).")
    ] = None,
    specificity: Annotated[
        float | None, typer.Option(min=0, max=1, help="Of the AI (0.9).")
    ] = None,
    roc: Annotated[
        str | None, typer.Option(help="Operating points of the AI to compare: SE:SP,SE:SP.")
    ] = None,
    policy: Annotated[str, typer.Option(help="fifo, strict, cap, edf or firstread.")] = "firstread",
    phi: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the starts kept for overdue cases.")
    ] = 0.25,
    reading: Annotated[
        str, typer.Option(help="Reading times: exponential, lognormal or fixed.")
    ] = "exponential",
    cv: Annotated[float, typer.Option(min=0.01, max=100, help="Scatter of lognormal ones.")] = 0.5,
    day: Annotated[
        str | None, typer.Option(help="flat, or working: a quiet night and a busy morning (flat).")
    ] = None,
    hospitals: Annotated[
        int | None, typer.Option(min=1, help="That send, one large and many small (40).")
    ] = None,
    cases: Annotated[
        int | None, typer.Option(min=1, help="Of each seed, after a warm-up (100,000).")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Independent repetitions (8; of a scenario 20 or 40).")
    ] = None,
    preemptive: Annotated[
        bool, typer.Option("--preemptive", help="A flagged case interrupts; fifo and strict only.")
    ] = False,
    scenario: Annotated[
        str | None, typer.Option(help="overload, storm or dump: a reference day and its promises.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw here: FILE.svg or FILE.png.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Simulate a reading team: waits, and minutes saved and lost against the order of arrival."""
    from serving.cli.simulate_options import Given

    if plot is not None:
        _check_place(plot)
    given = Given(
        policy, readers, traffic, mean_minutes, tuple(modality or ()), prevalence, sensitivity,
        specificity, roc, phi, reading, cv, day, hospitals, cases, seeds, preemptive,
    )  # fmt: skip
    if scenario is not None:
        _tell_day(scenario, given, plot, as_json=as_json)
    else:
        _tell_plans(given, plot, as_json=as_json)


def _tell_plans(given: "Given", plot: Path | None, *, as_json: bool) -> None:
    from serving.cli.simulate_options import plans
    from serving.worklist.simulate.experiment import experiment
    from serving.worklist.simulate.report import document, outcome_bars, roc_bars, roc_document

    with progress_bar() as progress:
        outcomes = [experiment(plan, progress) for plan in plans(given)]
    is_roc = given.roc is not None
    _draw(plot, roc_bars(outcomes) if is_roc else outcome_bars(outcomes[0]))
    if as_json:
        tell_json(roc_document(outcomes) if is_roc else document(outcomes[0]))
    elif is_roc:
        _tell_points(outcomes)
    else:
        _tell_outcome(outcomes[0])


def _tell_outcome(outcome: "Outcome") -> None:
    from serving.worklist.simulate.notes import notes

    plan = outcome.plan
    tell(
        f"policy {plan.policy}, {plan.traffic.readers} readers, traffic {plan.traffic.load:g}, "
        f"{plan.traffic.detector.flagged_share:.1%} flagged; minutes; "
        "fifo is the order of arrival\n"
    )
    heads = ("n", "mean", "error", "p95", "p99", "max", "waited", "fifo mean", "theory")
    tell(f"{'':<13}" + "".join(f"{head:>11}" for head in heads))
    for name, figures in outcome.groups.items():
        theory = None if outcome.theory is None else getattr(outcome.theory, name)
        cells = (
            f"{figures.n:,}",
            *map(_minutes, (figures.mean, figures.standard_error, figures.p95, figures.p99)),
            _minutes(figures.max),
            "-" if figures.waited_share is None else f"{figures.waited_share:.1%}",
            _minutes(outcome.in_turn[name].mean),
            _minutes(theory),
        )
        tell(f"{name.replace('_', ' '):<13}" + "".join(f"{cell:>11}" for cell in cells))
    tell("\nagainst the order of arrival (95 % confidence)")
    tell(f"  saved for the diseased     {_interval(outcome.saved_diseased)}")
    tell(f"  lost by the others         {_interval(outcome.lost_non_diseased)}")
    tell(f"  lost by missed patients    {_interval(outcome.lost_missed)}")
    _say_notes(notes(outcome))


def _tell_points(outcomes: "list[Outcome]") -> None:
    from serving.worklist.simulate.notes import notes

    heads = ("flagged", "AI+ mean", "AI- mean", "saved for the diseased", "lost by the others")
    tell(f"{'Se':>6}{'Sp':>6}" + "".join(f"{head:>26}" for head in heads))
    for one in outcomes:
        detector = one.plan.traffic.detector
        cells = (
            f"{detector.flagged_share:.1%}",
            _minutes(one.groups["ai_positive"].mean),
            _minutes(one.groups["ai_negative"].mean),
            _interval(one.saved_diseased),
            _interval(one.lost_non_diseased),
        )
        points = f"{detector.sensitivity:>6g}{detector.specificity:>6g}"
        tell(points + "".join(f"{cell:>26}" for cell in cells))
    _say_notes([note for one in outcomes for note in notes(one)])


def _tell_day(name: str, given: "Given", plot: Path | None, *, as_json: bool) -> None:
    from firstread.messages import Language
    from serving.cli.simulate_options import reference_day
    from serving.worklist.simulate.guarantees import judge, measure_day
    from serving.worklist.simulate.notes import day_notes
    from serving.worklist.simulate.report import day_bars, scenario_document
    from serving.worklist.simulate.sentences import (
        day_sentences,
        figure_sentence,
        promise_sentence,
    )

    asked: ReferenceDay = reference_day(name, given)
    days = []
    with progress_bar() as progress:
        for seed in range(asked.seeds):
            progress("seeds", seed, asked.seeds)
            days.append(measure_day(asked.name, asked.scenario, asked.policy, seed, asked.pool))
    promises = judge(asked.name, days)
    notes = day_notes(asked.name, asked.scenario, asked.policy, given.phi)
    document = scenario_document(
        asked.name,
        asked.scenario,
        asked.policy,
        given.phi,
        days=days,
        promises=promises,
        said=notes,
    )
    _draw(plot, day_bars(asked.name, asked.policy, days, promises[-1]))
    if as_json:
        tell_json(document)
        return
    tell(f"scenario {asked.name}, policy {asked.policy}, {asked.seeds} repetitions")
    for line in day_sentences(asked.name, asked.scenario, Language.EN):
        tell(line)
    tell()
    for figure in days[0]:
        tell(figure_sentence(figure, [day[figure] for day in days], Language.EN))
    tell("\npromised")
    for kept in promises:
        verdict = "met" if kept.is_met else "MISSED"
        tell(f"  {verdict:<8}{promise_sentence(kept, Language.EN)}")
    _say_notes(notes)


def _say_notes(notes: "Sequence[Note]") -> None:
    from firstread.messages import Language, sentence

    lines = [sentence(f"order.note.{note.code}", Language.EN, **note.values) for note in notes]
    for line in dict.fromkeys(lines):
        say(f"note: {line}")


def _check_place(plot: Path) -> None:
    """Refuse before anything is simulated what could not be drawn after it."""
    if plot.suffix.lower() not in {".svg", ".png"}:
        raise UsageError(f"--plot {plot}: neither .svg nor .png", advice="--plot waits.svg")
    if not plot.parent.is_dir():
        raise OutputError(
            f"--plot {plot}: there is no folder {plot.parent}",
            advice="make the folder, or choose another place",
        )
    if plot.is_dir() or not os.access(plot if plot.exists() else plot.parent, os.W_OK):
        raise OutputError(f"--plot {plot}: cannot be written", advice="choose another place")


def _draw(plot: Path | None, bars: "Bars") -> None:
    if plot is None:
        return
    from serving.worklist.simulate.drawing import chart, png, svg

    picture = (svg if plot.suffix.lower() == ".svg" else png)(chart(bars))
    try:
        plot.write_bytes(picture)
    except OSError as error:
        raise OutputError(
            f"--plot {plot}: {error.strerror}", advice="choose another place"
        ) from error


def _minutes(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def _interval(interval: "Interval | None") -> str:
    if interval is None:
        return "-"
    if interval.low is None or interval.high is None:
        return f"{interval.mean:.3g}"
    return f"{interval.mean:.3g} ({interval.low:.3g} to {interval.high:.3g})"
