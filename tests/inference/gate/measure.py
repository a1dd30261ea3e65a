"""Print what the thresholds were set by: ``python -m tests.inference.gate.measure FOLDER...``."""

import sys
from pathlib import Path

import numpy as np

from inference.dicom.choice import choose_study, rank_series
from inference.dicom.reader import open_upload
from inference.gate.content import AIR_BELOW_HU, SOFT_PEAK_HU, SOFT_TISSUE_HU, peak_hu
from inference.gate.judge import judge
from inference.stack import AIR_HU
from tests.inference.gate.hand import THIN


def main(folders: list[Path]) -> None:
    """Print one row of a table for each folder."""
    show(
        [
            "scan",
            "verdict",
            "air_%",
            "soft_%",
            "air_peak_HU",
            "soft_peak_HU",
            "lungs_ml",
            "lungs_mm",
        ]
    )
    show(["---"] * 8)
    for folder in folders:
        with open_upload([folder]) as upload:
            study = choose_study(upload, None)
            judgement = judge(study, rank_series(study, THIN).series, THIN)
        row = [folder.name, str(judgement.verdict.status)]
        if judgement.volume is not None:
            sample = judgement.volume.hu[:, ::4, ::4]
            measured = sample[sample > AIR_HU]
            low, high = SOFT_TISSUE_HU
            row += [
                f"{100 * np.mean(measured < AIR_BELOW_HU):.0f}",
                f"{100 * np.mean((measured >= low) & (measured <= high)):.0f}",
                str(peak_hu(measured, AIR_HU, AIR_BELOW_HU)),
                str(peak_hu(measured, 2 * SOFT_PEAK_HU[0], 2 * SOFT_PEAK_HU[1])),
            ]
        if judgement.lungs is not None:
            heights = judgement.lungs.grid.positions_mm[judgement.lungs.labels.any(axis=(1, 2))]
            row += [f"{judgement.lungs.volume_ml:.0f}", f"{np.ptp(heights):.0f}"]
        show(row)


def show(cells: list[str]) -> None:
    sys.stdout.write("| " + " | ".join(cells) + " |\n")


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
