"""What Image Type (0008,0008) says of images that were computed from others."""

import pytest

from inference.dicom.instance import Computed
from tests.inference.gate.hand import an_instance

PRIMARY, DERIVED = ("ORIGINAL", "PRIMARY"), ("DERIVED", "SECONDARY")


@pytest.mark.parametrize(
    "image_type",
    [
        (*DERIVED, "MIP"),
        (*DERIVED, "AXIAL", "CT_SOM5 MIP"),
        (*DERIVED, "REFORMATTED", "AVERAGE"),
        (*DERIVED, "REFORMATTED", "MIN IP"),
        (*DERIVED, "PROJECTION IMAGE"),
        ("DERIVED", "PRIMARY", "VOLUME", "MAXIMUM"),
        ("DERIVED", "PRIMARY", "AXIAL", "Subtraction"),
        (*PRIMARY, "AXIAL", "MIN_IP"),
        (*DERIVED, "VOLUME_RENDER"),
    ],
)
def test_voxels_of_many_places_are_a_projection(image_type: tuple[str, ...]) -> None:
    instance = an_instance("1.2", image_type=image_type)
    assert instance.computed is Computed.PROJECTION
    assert instance.is_computed


@pytest.mark.parametrize(
    "image_type",
    [
        (*DERIVED, "CSA MPR"),
        (*DERIVED, "MPR"),
        (*DERIVED, "REFORMATTED"),
        ("DERIVED", "PRIMARY", "VOLUME", "RESAMPLED"),
    ],
)
def test_voxels_between_others_are_a_reformat(image_type: tuple[str, ...]) -> None:
    assert an_instance("1.2", image_type=image_type).computed is Computed.REFORMAT


@pytest.mark.parametrize(
    "image_type",
    [
        (),
        (*PRIMARY, "AXIAL"),
        ("ORIGINAL", "SECONDARY", "AXIAL"),
        (*PRIMARY, "AXIAL", "CT_SOM5 SPI"),
        (*PRIMARY, "AXIAL", "CT_SOM7 SPI DUAL", "STD", "SNRG", "DET_AB"),
        ("DERIVED", "PRIMARY", "AXIAL", "HELIX"),
        ("DERIVED", "SECONDARY"),
        (*PRIMARY, "AXIAL", "MIPLESS"),
    ],
)
def test_measured_slices_are_not_computed(image_type: tuple[str, ...]) -> None:
    instance = an_instance("1.2", image_type=image_type)
    assert instance.computed is None
    assert not instance.is_computed
