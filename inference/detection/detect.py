"""The lung box in one run of the network: from a volume to candidates."""

from firstread.progress import Progress, silent
from inference.detection.candidate import Candidate
from inference.detection.heatmap import decode
from inference.lungs import Lungs
from inference.preprocess import network_grid, normalise, resample
from inference.volume import Volume
from models.package import Package
from models.runtime import Runtime


def detect(
    volume: Volume,
    lungs: Lungs,
    package: Package,
    runtime: Runtime,
    progress: Progress = silent,
) -> tuple[Candidate, ...]:
    """Return what the package's network proposes in the lungs of a scan.

    The whole box is run at once: windows with overlap cost twice as much, and a network with
    BatchNorm gives the same numbers either way. What the box needs to reach a multiple of the
    network's stride is filled from the scan itself, and with air where the scan ends.

    Parameters
    ----------
    lungs
        Of this volume.
    runtime
        Opened for this package.

    Returns
    -------
    Every candidate at or above the package's lowest operating point, and at most 30 below it, down
    to its floor; by falling score.

    Raises
    ------
    PackageError
        ``package-refused``: the network's outputs are not what the package promises.
    """
    description = package.description
    stage = description.stages[0]
    progress("detect", 0, 3)
    grid = network_grid(volume.grid, lungs.box_zyx, stage.preprocessing)
    voxels = normalise(resample(volume, grid), stage.preprocessing)
    progress("detect", 1, 3)
    outputs = runtime.run(voxels[None, None])
    progress("detect", 2, 3)
    candidates = decode(
        outputs,
        grid,
        stage.stride,
        lungs,
        description.calibration,
        floor=description.floor,
        lowest_threshold=min(p.threshold for p in description.operating_points.values()),
    )
    progress("detect", 3, 3)
    return candidates
