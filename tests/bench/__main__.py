"""What each stage costs, beside its limit and MONAI: ``python -m tests.bench [--json FILE]``.

Every part runs in a fresh process and warms up first; figures are medians of the runs. CPU seconds
and memory are those of the process with all of its children. Wall seconds mean something only while
the machine does nothing else, so its load is printed with them.
"""

import argparse
import json
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import pydicom

from tests.bench.limits import limits
from tests.bench.machine import Machine, Rates, describe, measure_rates
from tests.bench.parts import Stage, run_part
from tests.bench.studies import ROOT, Study, phantom_study, scan_study, warm_up
from tests.bench.table import TOTAL, Target, medians, stage_table, target_table

PAGE = ROOT / "docs/bench.md"
BEGIN, END = "<!-- figures: begin -->\n", "<!-- figures: end -->\n"

JPEG_LS = "1.2.840.10008.1.2.4.80"
DECODED_FRAMES = 12

# 300 uncompressed slices read, gated and stacked; the lung checks are a stage of their own.
READ_STAGES = ("read", "choose", "geometry", "pixels")
READ_LIMIT_S = 1.0
# The real scan, whole.
SCAN_LIMIT_S = 15.0
SCAN_LIMIT_GB = 3.0


@dataclass(slots=True)
class Printer:
    """Prints, and keeps what it printed for the page."""

    said: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        """Print a line or several."""
        self.said.append(text)
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


def main() -> int:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--json", type=Path, help="save every figure here")
    parser.add_argument("--write", action="store_true", help=f"put the tables into {PAGE.name}")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--slices", type=int, default=300, help="of the phantom")
    parser.add_argument("--package", help="NAME@VERSION; the shipped one if not given")
    parser.add_argument("--packages", help="a folder of packages instead of the shipped ones")
    parser.add_argument("--provider")
    given = parser.parse_args()
    printer = Printer()
    asked = [
        f"--{key}={value}"
        for key in ("package", "packages", "provider")
        if (value := getattr(given, key))
    ]
    studies = [study for study in (phantom_study(given.slices), scan_study()) if study]
    machine = describe()
    printer.say(_machine_line(machine, given.runs))
    result: dict[str, Any] = {
        "schema": "firstread/bench/1",
        "runs": given.runs,
        "machine": asdict(machine),
    }
    with tempfile.TemporaryDirectory() as scratch:
        rates = measure_rates(studies[0].files, Path(scratch))
        printer.say(_rates_line(rates))
        result["rates"] = asdict(rates)
        result["studies"] = [
            _measure(study, rates, machine, asked, given.runs, Path(scratch), printer)
            for study in studies
        ]
    if given.write:
        before, rest = PAGE.read_text("utf-8").split(BEGIN)
        PAGE.write_text(
            before + BEGIN + "\n" + "\n".join(printer.said) + END + rest.split(END)[1], "utf-8"
        )
    if given.json:
        given.json.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    return 0


def _measure(
    study: Study,
    rates: Rates,
    machine: Machine,
    asked: list[str],
    count: int,
    scratch: Path,
    printer: Printer,
) -> dict[str, Any]:
    out = str(scratch / "out")
    runs = [run_part("tests.bench.ours", [str(study.folder), out, *asked]) for _ in range(count)]
    facts = runs[0].facts
    stages = medians(runs)
    frame_s = _coded_frame_s(study)
    coded_s = None if frame_s is None else frame_s / machine.cores
    bounds = limits(facts, rates, coded_s)
    targets = _targets(study, stages)
    printer.say(
        f"\n### {study.name}: {study.what}\n\n{facts['package']} on {facts['runtime']}; "
        f"{facts['verdict']}, {facts['findings']} findings; "
        f"network input {facts['network_shape']}; "
        f"the first study of a process takes {facts['cold_wall_s']:.1f} s wall.\n"
    )
    printer.say(stage_table(stages, bounds))
    printer.say(target_table(targets))
    result: dict[str, Any] = {
        "name": study.name,
        "facts": facts,
        "stages": [asdict(stage) for stage in stages],
        "limits": {name: asdict(limit) for name, limit in bounds.items()},
        "targets": [asdict(target) | {"is_met": target.is_met} for target in targets],
    }
    if study.with_peer:
        result["monai"] = [
            asdict(stage) for stage in _measure_peer(study, stages, count, scratch, printer)
        ]
    return result


def _measure_peer(
    study: Study, ours: tuple[Stage, ...], count: int, scratch: Path, printer: Printer
) -> tuple[Stage, ...]:
    small = str(warm_up(study, scratch / "warm-up"))
    runs = [run_part("tests.bench.peer", [str(study.folder), small]) for _ in range(count)]
    stages = medians(runs)
    printer.say(
        f"MONAI on the same files, to the same step before its network, {runs[0].facts['shape']}:\n"
    )
    printer.say(stage_table(stages, {}))
    before = [
        stage for stage in ours if stage.name in (*READ_STAGES, "lungs", "content", "resample")
    ]
    theirs = next(stage for stage in stages if stage.name == TOTAL)
    printer.say(
        f"Files to network input: Firstread {sum(s.cpu_s for s in before):.2f} CPU s and "
        f"{max(s.peak_bytes for s in before) / 1e6:.0f} MB with all checks, "
        f"MONAI {theirs.cpu_s:.2f} CPU s and {theirs.peak_bytes / 1e6:.0f} MB.\n"
    )
    return stages


def _targets(study: Study, stages: tuple[Stage, ...]) -> list[Target]:
    total = next(stage for stage in stages if stage.name == TOTAL)
    if study.name.startswith("phantom"):
        read_s = sum(stage.wall_s for stage in stages if stage.name in READ_STAGES)
        return [Target("read, gated and stacked, wall", READ_LIMIT_S, read_s, "s")]
    return [
        Target("analysed and written, wall", SCAN_LIMIT_S, total.wall_s, "s"),
        Target("peak memory of the process tree", SCAN_LIMIT_GB, total.peak_bytes / 1e9, "GB"),
    ]


def _coded_frame_s(study: Study) -> float | None:
    """Return what the bare JPEG-LS decoder takes for a frame on one core; None for plain pixels."""
    import jpeg_ls
    from pydicom.encaps import generate_frames

    instances = [
        pydicom.dcmread(path) for path in study.files[:: max(1, len(study.files) // DECODED_FRAMES)]
    ]
    coded = [
        next(generate_frames(one.PixelData, number_of_frames=1))
        for one in instances
        if one.file_meta.TransferSyntaxUID == JPEG_LS
    ]
    if not coded:
        return None
    start = process_time()
    for frame in coded:
        jpeg_ls.decode(np.frombuffer(frame, np.uint8))
    return (process_time() - start) / len(coded)


def _machine_line(machine: Machine, runs: int) -> str:
    line = (
        f"{machine.processor}, {machine.cores} cores, {machine.memory_gb} GB, {machine.system}, "
        f"Python {machine.python}; load at the start {machine.load}; medians of {runs} runs."
    )
    return line + (" The machine was busy: wall seconds say little." if machine.load > 0.5 else "")


def _rates_line(rates: Rates) -> str:
    return (
        f"Limits here: copy {rates.copy_bytes_s / 1e9:.1f} GB/s, page cache to memory "
        f"{rates.file_bytes_s / 1e9:.1f} GB/s, {rates.opened_files_s:.0f} files opened a second, "
        f"deflate {rates.deflated_bytes_s / 1e6:.0f} MB/s, "
        f"f32 product {rates.flops_s / 1e9:.0f} GFLOP/s."
    )


if __name__ == "__main__":
    raise SystemExit(main())
