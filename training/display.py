"""What a person sees of a run: a bar on a terminal, a line now and then where there is none."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from training.loop import Report

# Without a terminal, one line for each so many reports.
REPORTS_PER_LINE = 8


@contextmanager
def shown_progress() -> Iterator[Callable[[Report], None]]:
    """Yield what to call with each report; talk goes to stderr."""
    console = Console(stderr=True)
    if console.is_terminal:
        columns = (
            TextColumn("training"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[said]}"), TimeElapsedColumn(),
        )  # fmt: skip
        with Progress(*columns, console=console) as bar:
            task = bar.add_task("training", total=1.0, said="")

            def show(report: Report) -> None:
                bar.update(task, completed=report.done, said=said(report))

            yield show
        return
    count = 0

    def line(report: Report) -> None:
        nonlocal count
        count += 1
        if count % REPORTS_PER_LINE == 1:
            print(f"training {report.done:6.1%}  {said(report)}", file=sys.stderr, flush=True)  # noqa: T201

    yield line


def said(report: Report) -> str:
    """Return step, losses and the time that is left, in one line."""
    left_s = report.trained_s * (1 - report.done) / max(report.done, 1e-6)
    losses = "  ".join(f"{name} {value:.3f}" for name, value in report.losses.items())
    return f"step {report.step}  {losses}  left {left_s / 60:.0f} min"
