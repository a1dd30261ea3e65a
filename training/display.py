"""What a person sees of a run: a bar on a terminal, a line now and then where there is none."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from firstread.progress import Progress as StageProgress
from firstread.progress import silent
from training.loop import Report

# Without a terminal, one line for each so many reports.
REPORTS_PER_LINE = 8


@dataclass(frozen=True, slots=True)
class Shown:
    """Where a run tells how far it is.

    Attributes
    ----------
    stage
        For what comes before the training.
    report
        For the training itself.
    """

    stage: StageProgress
    report: Callable[[Report], None]


@contextmanager
def shown_progress() -> Iterator[Shown]:
    """Show what a run tells on stderr; on a terminal as bars with losses and the time left."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield Shown(silent, _lines())
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[said]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bar:
        tasks: dict[str, TaskID] = {}

        def show(name: str, share: float, text: str) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name, total=1.0, said="")
            bar.update(tasks[name], completed=share, said=text)

        yield Shown(
            lambda name, done, total: show(name, done / total, ""),
            lambda report: show("training", report.done, said(report)),
        )


def said(report: Report) -> str:
    """Return step, losses and the time that is left, in one line."""
    left_s = report.trained_s * (1 - report.done) / max(report.done, 1e-6)
    losses = "  ".join(f"{name} {value:.3f}" for name, value in report.losses.items())
    return f"step {report.step}  {losses}  left {left_s / 60:.0f} min"


def _lines() -> Callable[[Report], None]:
    count = 0

    def line(report: Report) -> None:
        nonlocal count
        count += 1
        if count % REPORTS_PER_LINE == 1:
            print(f"training {report.done:6.1%}  {said(report)}", file=sys.stderr, flush=True)  # noqa: T201

    return line
