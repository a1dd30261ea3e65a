"""How the command line speaks: data on stdout, talk on stderr, plain where no terminal is."""

import io
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from firstread.errors import OutputError
from firstread.progress import Progress, silent


def say(line: str = "") -> None:
    """Write one line of talk."""
    sys.stderr.write(line + "\n")


def tell(line: str = "") -> None:
    """Write one line of data.

    Raises
    ------
    OutputError
        ``output-unwritable``: standard output takes no more, on a full disk for instance.
    """
    try:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever reads has seen enough (`| head`): the work goes on, and its exit code counts.
        _write_to_nobody()
    except OSError as error:
        _write_to_nobody()
        raise OutputError(
            f"standard output: {error.strerror}", advice="make room; files in OUT are complete"
        ) from error


def _write_to_nobody() -> None:
    """Point standard output at nothing, so that what is still buffered fails no more."""
    with Path(os.devnull).open("wb") as nobody:
        os.dup2(nobody.fileno(), sys.stdout.fileno())


def tell_json(document: Any) -> None:
    """Write one JSON document and nothing else: UTF-8 whatever the locale (RFC 8259)."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
    tell(json.dumps(document, ensure_ascii=False, sort_keys=True, indent=2))


def say_error(code: str, message: str, advice: str) -> None:
    """Write an error in one line, and what to do next below it; a list in it stays a list."""
    say(f"error[{code}]: {message}")
    if advice:
        say("  hint: " + advice.replace("\n", "\n  "))


def speak_any_locale() -> None:
    """Replace what a terminal's own character set lacks, instead of failing on it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """Give a progress callback: a bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield silent
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description:<12}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks = {}

        def advance(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=total)
            bar.update(tasks[stage], completed=done, total=total)

        yield advance
