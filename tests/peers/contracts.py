"""The input contracts that the compared series are judged by."""

import json

from models.package import InputContract
from tests.peers.cases import GEOMETRY


def geometry_contract() -> InputContract:
    """Return what ``conformance/geometry/truth.json`` assumes of a package: coarse pixels are allowed."""
    assumed = json.loads((GEOMETRY / "truth.json").read_text("utf-8"))["assumes"]
    return InputContract(
        body_parts=("CHEST", "THORAX", "LUNG"),
        min_slices=20,
        max_slice_spacing_mm=5.0,
        max_pixel_spacing_mm=6.0,
        max_bridgeable_gap_mm=assumed["max_bridgeable_gap_mm"],
        max_gantry_tilt_deg=30.0,
        min_lung_coverage=0.9,
        min_lung_volume_ml=1000.0,
        min_age_years=18.0,
        min_bits_stored=12,
        max_hu_per_step=4.0,
    )
