"""What an insertion costs, and a contact sheet of insertions into one scan to be judged by eye.

    .venv/bin/python -m tests.bench.insertions CASE SHEET.png [--count 30] [--seed 1]

CASE is a folder of ``../shared/data/ct``; its marked lesions are kept clear.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

from inference.lungs import find_lungs
from models.package import Preprocessing
from tests.scans import a_scan
from tests.shared import SHARED
from training.backgrounds import Background
from training.preparation import network_background
from training.synthesis.bank import Bank, load_bank
from training.synthesis.insertion import Mix, insert_nodules
from training.synthesis.sheet import draw_sheet

ANNOTATIONS = SHARED / "data" / "annotations"
SPACING_MM, PATCH_ZYX, PATCHES, BANK_COUNT = 1.25, (48, 64, 64), 200, 1500


def read_background(case: str) -> Background:
    """Return a scan's lung box on the network's grid."""
    volume = a_scan(f"ct/{case}")
    lungs = find_lungs(volume)
    assert lungs is not None
    about = json.loads((ANNOTATIONS / "nodules.json").read_text(encoding="utf-8"))["cases"]
    lesions = about.get(case, {"lesions": []})["lesions"]
    return network_background(
        case,
        volume,
        lungs,
        np.zeros(volume.hu.shape, bool),
        [(lesion["centre_lps_mm"], lesion["sphere_diameter_mm"], True) for lesion in lesions],
        preprocessing=Preprocessing(
            spacing_mm=SPACING_MM,
            hu_window=(-1000, 400),
            region="lungs",
            margin_mm=12,
            orientation="LPS",
            size_multiple=32,
        ),
    )


def print_cost(background: Background, bank: Bank) -> None:
    """Print the time of insertions into the middle of the right lung."""
    right = background.lungs[:, :, : background.lungs.shape[2] // 2]
    middle = np.argwhere(right).mean(axis=0)
    corner = [int(m) - side // 2 for m, side in zip(middle, PATCH_ZYX, strict=True)]
    box = tuple(slice(c, c + side) for c, side in zip(corner, PATCH_ZYX, strict=True))
    hu, lungs = background.hu[box].astype(np.float32), background.lungs[box]
    rng, inserted = np.random.default_rng(0), 0
    start = time.process_time()
    for _ in range(PATCHES):
        inserted += len(insert_nodules(hu, lungs, (), rng, bank=bank, mix=Mix()).marks)
    each_ms = (time.process_time() - start) * 1000 / PATCHES
    sys.stdout.write(f"{each_ms:.1f} CPU ms a patch, {inserted / PATCHES:.1f} nodules in each\n")


def main() -> None:
    """Print the costs and write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("case")
    parser.add_argument("sheet", type=Path)
    parser.add_argument("--count", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    background = read_background(asked.case)
    start = time.process_time()
    bank = load_bank(
        ANNOTATIONS / "lidc_shapes.npz", SPACING_MM, background.slice_mm, count=BANK_COUNT
    )
    sys.stdout.write(
        f"a bank of {BANK_COUNT} for {bank.slice_mm:g} mm slices: "
        f"{time.process_time() - start:.0f} CPU s\n"
    )
    print_cost(background, bank)
    drawn = draw_sheet(
        asked.sheet,
        background.hu.astype(np.float32),
        background.lungs,
        background.marks,
        bank,
        count=asked.count,
        rng=np.random.default_rng(asked.seed),
    )
    sys.stdout.write(f"{drawn} insertions drawn\n")


if __name__ == "__main__":
    main()
