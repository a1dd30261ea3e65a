"""What three readers make of the same damaged series: ``python -m tests.peers.damage [--write]``.

Prints the tables of ``docs/damaged-series.md``; ``--write`` puts them between the page's markers.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from inference.gate.reasons import Number, Reason
from models.package import InputContract
from tests.peers.cases import Case, damaged_scans, geometry_cases
from tests.peers.contracts import geometry_contract, scan_contract
from tests.peers.ours import Judged, judge_folder
from tests.peers.places import Misplacement, Stack, measure
from tests.peers.readers import Outcome, Read, attempt, monai_reader, simpleitk_reader
from tests.peers.source import SourceSlice, read_source
from tests.shared import SHARED

PAGE = Path(__file__).resolve().parents[2] / "docs/damaged-series.md"
BEGIN, END = "<!-- table: begin -->\n", "<!-- table: end -->\n"

# What is beyond these many is left to findings.json.
SHOWN_REASONS = 3
SHOWN_NUMBERS = 2


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """One row of the table: a case, our verdict, and where each reader puts the slices.

    Attributes
    ----------
    ours
        None where the series is not scored: no volume, no place.
    monai, simpleitk
        What was said during the call, and the error; no error where the reader stopped.
    """

    case: Case
    judged: Judged
    ours: Misplacement | None
    monai: tuple[Outcome, Misplacement | None]
    simpleitk: tuple[Outcome, Misplacement | None]


def compare(cases: Iterable[Case], contract: InputContract) -> Iterator[Line]:
    """Read every case with all three and measure where they put it."""
    monai, simpleitk = monai_reader(), simpleitk_reader()
    for case in cases:
        source = read_source(case.folder)
        judged = judge_folder(case.folder, contract)
        ours = _misplacement(judged.stack, case, source)
        yield Line(case, judged, ours, _peer(monai, case, source), _peer(simpleitk, case, source))


def _peer(
    read: Read, case: Case, source: Sequence[SourceSlice]
) -> tuple[Outcome, Misplacement | None]:
    outcome = attempt(read, case.folder)
    return outcome, _misplacement(outcome.stack, case, source)


def _misplacement(
    stack: Stack | None, case: Case, source: Sequence[SourceSlice]
) -> Misplacement | None:
    return None if stack is None else measure(source, stack, case.nodule_lps_mm)


def table(lines: Iterable[Line]) -> str:
    """Return Markdown rows with their head."""
    head = "| series | what is wrong | Firstread | places | MONAI LoadImage | SimpleITK |\n"
    return head + "|---|---|---|---|---|---|\n" + "".join(_row(line) for line in lines)


def _row(line: Line) -> str:
    cells = (
        f"`{line.case.name}`",
        line.case.what.replace("|", "/"),
        _verdict(line.judged),
        _places(line.ours) if line.ours else "not scored",
        _peer_cell(*line.monai),
        _peer_cell(*line.simpleitk),
    )
    return "| " + " | ".join(cells) + " |\n"


def _verdict(judged: Judged) -> str:
    """Return the status and every code; of many reasons with one code the first, and a count."""
    of_code: dict[str, list[Reason]] = {}
    for reason in judged.verdict.reasons:
        of_code.setdefault(reason.code, []).append(reason)
    parts = []
    for code, reasons in of_code.items():
        numbers = [_numbers(reason) for reason in reasons[:SHOWN_REASONS]]
        more = [f"{len(reasons) - SHOWN_REASONS} more"] if len(reasons) > SHOWN_REASONS else []
        parts.append(f"`{code}` ({'; '.join(numbers + more)})")
    return f"**{judged.verdict.status}**" + (": " + ", ".join(parts) if parts else "")


def _numbers(reason: Reason) -> str:
    """Return the place and the length of a gap, or else the first numbers of a reason."""
    known = [key for key in ("position_mm", "gap_mm") if key in reason.numbers]
    shown = known or list(reason.numbers)[:SHOWN_NUMBERS]
    return ", ".join(_number(key, reason.numbers[key]) for key in shown)


def _number(key: str, value: Number) -> str:
    word = {"position_mm": "at", "gap_mm": "gap"}.get(key)
    if word is None:
        word = key.removesuffix("_mm").replace("_", " ")
    return f"{word} {value}" + (" mm" if key.endswith("_mm") else "")


def _peer_cell(outcome: Outcome, misplacement: Misplacement | None) -> str:
    if misplacement is None:
        return f"stops: {outcome.raised.split(':')[0]}"
    return _places(misplacement) + (", warned" if outcome.said else ", silent")


def _places(found: Misplacement) -> str:
    parts = [f"{found.worst_mm:.1f} mm"]
    parts += [f"nodule {found.at_nodule_mm:.1f}"] if found.at_nodule_mm is not None else []
    parts += [f"{found.left_out} left out"] if found.left_out else []
    parts += [f"{found.repeated} twice"] if found.repeated else []
    return ", ".join(parts)


def text_of_the_page() -> str:
    """Return both tables with the versions that made them."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("monai", "SimpleITK", "pydicom"))
    with tempfile.TemporaryDirectory() as folder:
        made = table(compare(geometry_cases(), geometry_contract()))
        real = table(compare(damaged_scans(Path(folder)), scan_contract()))
    return (
        f"Printed by `python -m tests.peers.damage --write` ({versions}).\n\n"
        f"Synthetic chests, slices 5 mm apart, pixels of 6 mm:\n\n{made}\n"
        f"A real scan, 133 slices 2.5 mm apart, one nodule of 29 mm:\n\n{real}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables, and write them into the page if asked to."""
    parser = argparse.ArgumentParser(prog="python -m tests.peers.damage", description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"put the tables into {PAGE.name}")
    write = parser.parse_args(arguments).write
    if not SHARED.is_dir():
        sys.stderr.write("error: ../shared is absent, and the series are there\n")
        return 1
    text = text_of_the_page()
    sys.stdout.write(text)
    if write:
        page = PAGE.read_text("utf-8")
        before, after = page.split(BEGIN)[0], page.split(END)[1]
        PAGE.write_text(before + BEGIN + "\n" + text + "\n" + END + after, "utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
