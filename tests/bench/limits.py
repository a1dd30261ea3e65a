"""What each stage would take if it did nothing but move its bytes, or multiply."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from tests.bench.machine import Rates

HU_BYTES = 2
NETWORK_VOXEL_BYTES = 4


@dataclass(frozen=True, slots=True)
class Limit:
    """Seconds at the machine's own rates, and what they are made of."""

    seconds: float
    what: str


def limits(facts: Mapping[str, Any], rates: Rates, coded_frame_s: float | None) -> dict[str, Limit]:
    """Return the limit of every stage that has one worth naming.

    Parameters
    ----------
    facts
        What :mod:`tests.bench.ours` reports.
    coded_frame_s
        Seconds that the bare decoder takes for one compressed frame, on all cores together; None
        where the pixels are not compressed.
    """
    pixels = prod(facts["voxels"]) * HU_BYTES
    box = prod(facts["network_shape"]) * NETWORK_VOXEL_BYTES
    flops = float(facts["network_flops"])
    found = {
        "read": Limit(facts["files"] / rates.opened_files_s, f"{facts['files']} files opened"),
        "pixels": Limit(pixels / rates.file_bytes_s, f"{_mb(pixels)} from the page cache"),
        "lungs": Limit(pixels / rates.copy_bytes_s, f"{_mb(pixels)} looked at once"),
        "resample": Limit(2 * box / rates.copy_bytes_s, f"{_mb(box)} written, as much read"),
        "network": Limit(flops / rates.flops_s, f"{flops / 1e9:.0f} GFLOP"),
        "decode": Limit(
            facts["output_bytes"] / rates.copy_bytes_s,
            f"{_mb(facts['output_bytes'])} looked at once",
        ),
        "results": Limit(
            facts["written_bytes"] / rates.written_bytes_s
            + facts["picture_bytes"] / rates.deflated_bytes_s,
            f"{_mb(facts['written_bytes'])} written, "
            f"{_mb(facts['picture_bytes'])} of pictures deflated",
        ),
    }
    if coded_frame_s is not None:
        frames = facts["voxels"][0]
        found["pixels"] = Limit(frames * coded_frame_s, f"{frames} frames through the bare decoder")
    return found


def _mb(size: float) -> str:
    return f"{size / 1e6:.0f} MB"
