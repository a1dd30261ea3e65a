"""A phantom as files."""

import hashlib
import json
import shutil
import subprocess
from datetime import date
from pathlib import Path

import numpy as np
import pydicom
import pytest

from firstread.errors import OutputExists
from firstread.version import __version__
from inference.phantom import NameStyle, Phantom, PixelStyle, write_phantom
from tests.builders import a_phantom, phantom_folder


def small(
    names: NameStyle = NameStyle.UTF8, pixels: PixelStyle = PixelStyle.UNSIGNED_12
) -> Phantom:
    return a_phantom((8.0,), 5.0, matrix=128, names=names, pixels=pixels)


def instances(phantom: Phantom) -> list[pydicom.Dataset]:
    """Lowest slice first, by position."""
    read = [pydicom.dcmread(path) for path in phantom_folder(phantom).glob("*.dcm")]
    return sorted(read, key=lambda dataset: float(dataset.ImagePositionPatient[2]))


@pytest.mark.parametrize("pixels", list(PixelStyle))
def test_files_hold_the_hu_of_the_volume(pixels: PixelStyle) -> None:
    phantom = small(pixels=pixels)

    stack = [
        d.pixel_array * float(d.RescaleSlope) + float(d.RescaleIntercept)
        for d in instances(phantom)
    ]

    assert np.array_equal(np.stack(stack), phantom.volume.hu)


def test_positions_are_the_grids() -> None:
    phantom = small()

    positions = [[float(v) for v in d.ImagePositionPatient] for d in instances(phantom)]

    assert np.allclose(positions, phantom.volume.grid.origins_lps_mm, atol=1e-4)
    assert tuple(instances(phantom)[0].PixelSpacing) == phantom.volume.grid.spacing_yx_mm


def test_instance_numbers_run_against_z() -> None:
    numbers = [int(d.InstanceNumber) for d in instances(small())]

    assert numbers == list(range(len(numbers), 0, -1))


def test_every_instance_has_its_own_uid_in_one_study_series_and_frame_of_reference() -> None:
    read = instances(small())

    assert len({d.SOPInstanceUID for d in read}) == len(read)
    for name in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "PatientID"):
        assert len({d[name].value for d in read}) == 1


def test_other_content_has_other_uids() -> None:
    one, other = instances(small()), instances(small(pixels=PixelStyle.SIGNED_16))

    for name in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        assert one[0][name].value != other[0][name].value


@pytest.mark.parametrize(
    ("names", "character_set", "patient"),
    [
        (NameStyle.GB18030, "GB18030", "Tang^XiaoYun=唐^小云"),
        (NameStyle.UTF8, "ISO_IR 192", "Tang^XiaoYun=唐^小云"),
        (NameStyle.LATIN, "ISO_IR 100", "Phantom^Synthetic"),
    ],
)
def test_names_arrive_in_their_character_set(
    names: NameStyle, character_set: str, patient: str
) -> None:
    first = instances(small(names))[0]

    assert first.SpecificCharacterSet == character_set
    assert str(first.PatientName) == patient


def test_truth_json_says_what_the_phantom_knows() -> None:
    phantom = small()

    truth = json.loads((phantom_folder(phantom) / "truth.json").read_text(encoding="utf-8"))

    nodule = phantom.nodules[0]
    assert set(truth) == {"nodules", "spacing_mm", "seed", "version"}
    assert truth["spacing_mm"] == [5.0, 2.8, 2.8]
    assert (truth["seed"], truth["version"]) == (1, __version__)
    assert truth["nodules"] == [
        {
            "id": 1,
            "centre_lps_mm": [round(v, 3) for v in nodule.centre_lps_mm],
            "centre_index": [round(v, 3) for v in nodule.centre_index],
            "diameter_mm": 8.0,
            "volume_mm3": 268.083,
            "density": "solid",
            "laterality": nodule.laterality.value,
        }
    ]


def test_writing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    def digests(folder: Path) -> dict[str, str]:
        return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}

    write_phantom(small(), tmp_path / "again")

    assert digests(tmp_path / "again") == digests(phantom_folder(small()))


def test_of_another_day_it_is_another_study_of_an_older_patient(tmp_path: Path) -> None:
    first = write_phantom(small(), tmp_path / "new", study_day=date(2026, 4, 12))[0]
    usual, other = instances(small())[0], pydicom.dcmread(first)
    for event in ("Study", "Series", "Acquisition", "Content"):
        assert getattr(usual, f"{event}Date") == "20260105"
        assert getattr(other, f"{event}Date") == "20260412"
    assert (usual.PatientAge, other.PatientAge) == ("064Y", "065Y")
    for uid in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "SOPInstanceUID"):
        assert getattr(usual, uid) != getattr(other, uid)


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")

    with pytest.raises(OutputExists):
        write_phantom(small(), tmp_path)

    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.services
@pytest.mark.parametrize("names", list(NameStyle))
@pytest.mark.parametrize("pixels", list(PixelStyle))
def test_dciodvfy_has_nothing_to_say(names: NameStyle, pixels: PixelStyle) -> None:
    if shutil.which("dciodvfy") is None:
        pytest.skip("dicom3tools is not installed")
    for path in sorted(phantom_folder(small(names, pixels)).glob("*.dcm"))[:3]:
        said = subprocess.run(
            ["dciodvfy", "-new", str(path)], capture_output=True, text=True, check=False
        )
        complaints = [
            line for line in said.stderr.splitlines() if line.startswith(("Error", "Warning"))
        ]
        assert complaints == []
