"""MONAI's own chain on one series: ``python -m tests.bench.peer STUDY WARM_UP``.

The transforms and their numbers are those of the Model Zoo bundle ``lung_nodule_ct_detection``:
load, channel first, 0.703 x 0.703 x 1.25 mm, -1024 to 300 HU onto 0 to 1. ``Orientation`` is left
out: it needs nibabel, which nothing else here does, and it only flips axes.
"""

import sys
import warnings
from pathlib import Path
from typing import Any

from tests.bench.parts import Stopwatch

SPACING_MM = (0.703125, 0.703125, 1.25)
HU_WINDOW = (-1024.0, 300.0)


def main(study: Path, warm_up: Path) -> None:
    """Time each transform on the study, after one small series."""
    warnings.simplefilter("ignore")
    run(warm_up, Stopwatch())
    watch = Stopwatch()
    shape = run(study, watch)
    watch.report(shape=shape)


def run(folder: Path, watch: Stopwatch) -> tuple[int, ...]:
    """Run the chain; return the shape that would go into the network."""
    from monai.transforms.intensity.array import ScaleIntensityRange
    from monai.transforms.io.array import LoadImage
    from monai.transforms.spatial.array import Spacing
    from monai.transforms.utility.array import EnsureChannelFirst

    chain: dict[str, Any] = {
        "LoadImage": LoadImage(reader="PydicomReader"),
        "EnsureChannelFirst": EnsureChannelFirst(),
        "Spacing": Spacing(pixdim=SPACING_MM, padding_mode="border"),
        "ScaleIntensityRange": ScaleIntensityRange(*HU_WINDOW, 0.0, 1.0, clip=True),
    }
    image: Any = str(folder)
    with watch.stage("total"):
        for name, transform in chain.items():
            with watch.stage(name):
                image = transform(image)
    return tuple(image.shape)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
