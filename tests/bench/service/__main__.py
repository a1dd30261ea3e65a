"""What the service costs, beside its limits and Orthanc: ``python -m tests.bench.service``.

Every part starts a service of its own on a fresh folder; wall seconds mean something only while
the machine does nothing else, so its load is printed with them.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from serving.service.demonstration import STUDIES, make_study
from tests.bench.machine import describe
from tests.bench.service import parts
from tests.bench.service.instances import Template, read_template
from tests.bench.service.parts import Figures
from tests.bench.studies import ROOT, STORE
from tests.bench.table import Target, target_table

PAGE = ROOT / "docs/bench-service.md"
BEGIN, END = "<!-- figures: begin -->\n", "<!-- figures: end -->\n"
LISTENERS, UPLOAD_BYTES, CASES = 500, 3e9, 100_000
SETTLE_S = 1.0

Say = Callable[[str], None]


def main() -> int:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.service", description=__doc__)
    parser.add_argument("--json", type=Path, help="save every figure here")
    parser.add_argument("--write", action="store_true", help=f"put the tables into {PAGE.name}")
    parser.add_argument("--only", nargs="*", help="names of parts")
    given = parser.parse_args()
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    say(f"{describe().processor}, load {os.getloadavg()[0]:.1f} at the start\n")
    templates = study_templates()
    results: dict[str, Figures] = {}
    with tempfile.TemporaryDirectory(prefix="fr-bench-") as scratch:
        for name, measure in all_parts(Path(scratch), templates).items():
            if given.only and name not in given.only:
                continue
            sys.stderr.write(f"measuring {name} ...\n")
            results[name] = measure()
            say(f"- {name}: {in_words(results[name])}")
    say("\n" + target_table(targets(results)))
    if given.json:
        document = {"schema": "firstread/bench-service/1", "machine": asdict(describe())}
        given.json.write_text(json.dumps(document | {"parts": results}, indent=1) + "\n")
    if given.write:
        before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
        _, _, after = rest.partition(END)
        PAGE.write_text(before + BEGIN + "\n".join(said) + END + after, "utf-8")
    return 0


def study_templates() -> list[Template]:
    """Return the demonstration's study with two nodules: 130 slices of 512 x 512, 2.5 mm."""
    (study,) = [study for study in STUDIES if study.folder == "small"]
    folder = make_study(study, STORE / "demonstration", datetime.now().astimezone().date())
    return [read_template(path) for path in sorted(folder.glob("*.dcm"))]


def all_parts(scratch: Path, templates: list[Template]) -> dict[str, Callable[[], Figures]]:
    """Return what there is to measure, by name."""
    return {
        "start": lambda: parts.start(scratch, 3),
        "stow": lambda: parts.stow(scratch, templates, 5),
        "row": lambda: parts.last_slice_to_row(scratch, templates, 20, SETTLE_S),
        "pages": lambda: parts.pages(scratch, CASES, 100),
        "events": lambda: parts.fan_out(scratch, templates[0], LISTENERS, 10),
        "upload": lambda: parts.upload_memory(scratch, templates[0], UPLOAD_BYTES),
        "inline": lambda: parts.throughput(scratch, templates, 16, "inline"),
        "ray": lambda: parts.throughput(scratch, templates, 16, "ray"),
    }


def targets(results: dict[str, Figures]) -> list[Target]:
    """Return what is promised beside what was measured."""
    found = []
    if "start" in results:
        found.append(Target("start to ready", 8, results["start"]["ready_s"], "s"))
    if "ratio" in results.get("stow", {}):
        found.append(Target("STOW, Orthanc / ours", 1 / 5, 1 / results["stow"]["ratio"], ""))
    if "row" in results:
        found.append(Target("last slice to row, p95", 15, results["row"]["p95_s"], "s"))
    if "pages" in results:
        slowest = max(v["p95_ms"] for v in results["pages"].values() if isinstance(v, dict))
        found.append(Target("list page among 100,000, p95", 100, slowest, "ms"))
    if "events" in results:
        found.append(Target("change to 500 pages", 1, results["events"]["worst_s"], "s"))
    if "upload" in results:
        found.append(Target("web process, 3 GB upload", 300, results["upload"]["peak_mb"], "MB"))
    if {"inline", "ray"} <= results.keys():
        ratio = results["inline"]["per_hour"] / results["ray"]["per_hour"]
        found.append(Target("studies an hour, inline / ray", 1 / 0.85, ratio, ""))
    return found


def in_words(figures: Figures) -> str:
    """Return figures in one line."""
    return ", ".join(f"{name} {_value(value)}" for name, value in figures.items())


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "(" + in_words(value) + ")"
    if isinstance(value, list):
        return "[" + " ".join(_value(one) for one in value) + "]"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main())
