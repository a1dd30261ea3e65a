"""Series made by hand, small enough to cost nothing: headers only, or a chest of boxes as files."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from inference.dicom.instance import Frame, Instance, Series
from models.package import InputContract

# A chest of boxes: slices of 3 mm, pixels of 6 mm.
CHEST_SHAPE, CHEST_SPACING_MM = (100, 64, 64), (3.0, 6.0, 6.0)

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)

# The limits of a package for thin slices; the real scans are judged with it.
THIN = InputContract(
    body_parts=("CHEST", "THORAX", "LUNG"),
    min_slices=40,
    max_slice_spacing_mm=3.2,
    max_pixel_spacing_mm=1.0,
    max_bridgeable_gap_mm=6.5,
    max_gantry_tilt_deg=20,
    max_obliquity_deg=20,
    min_lung_coverage=0.5,
    min_lung_volume_ml=1000,
    min_age_years=16,
    min_bits_stored=12,
    max_hu_per_step=4,
)

# The limits that the made geometry cases assume: slices of 5 mm, pixels of 6 mm.
COARSE = THIN.model_copy(
    update={"max_slice_spacing_mm": 5.0, "max_pixel_spacing_mm": 6.0, "max_bridgeable_gap_mm": 10.0}
)


def a_frame(position_lps_mm: tuple[float, float, float] = (0.0, 0.0, 0.0), **changes: Any) -> Frame:
    """Return an axial plane, 2.5 mm thick."""
    frame = Frame(
        number=1,
        position_lps_mm=position_lps_mm,
        orientation=AXIAL,
        pixel_spacing_mm=(0.7, 0.7),
        slice_thickness_mm=2.5,
        spacing_between_slices_mm=None,
        rescale_slope=1.0,
        rescale_intercept=-1024.0,
    )
    return replace(frame, **changes)


def an_instance(uid: str, frames: Sequence[Frame] = (), **changes: Any) -> Instance:
    """Return a CT image of 512 x 512."""
    instance = Instance(
        path=Path(uid),
        frames=tuple(frames) or (a_frame(),),
        header=Dataset(),
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
        sop_instance_uid=uid,
        study_uid="1.2.3",
        series_uid="1.2.3.4",
        frame_of_reference_uid="1.2.3.5",
        modality="CT",
        image_type=("ORIGINAL", "PRIMARY", "AXIAL"),
        rows=512,
        columns=512,
        bits_allocated=16,
        bits_stored=12,
        is_signed=False,
        samples_per_pixel=1,
        pixel_padding_value=None,
        is_lossy=False,
        patient_id="P1",
        patient_age_years=60.0,
        body_part="CHEST",
        kernel="STANDARD",
        gantry_tilt_deg=0.0,
        instance_number=None,
        acquisition_number=1,
        acquisition_time="",
        announced_series_instances=None,
    )
    return replace(instance, **changes)


def a_slice(z_mm: float, number: int | None = None, *, uid: str = "", **changes: Any) -> Instance:
    """Return an axial slice at a height; changes of its frame are named ``plane_...``."""
    of_frame = {name[6:]: changes.pop(name) for name in list(changes) if name.startswith("plane_")}
    position = of_frame.pop("position_lps_mm", (-180.0, -180.0, z_mm))
    uid = uid or f"1.2.9.{round(z_mm * 1000) + 10_000_000}"
    return an_instance(uid, [a_frame(position, **of_frame)], instance_number=number, **changes)


def slices_at(heights_mm: Sequence[float], **changes: Any) -> list[Instance]:
    """Return axial slices numbered from the head down, as scanners do."""
    ordered = sorted(heights_mm, reverse=True)
    return [a_slice(z, number + 1, **changes) for number, z in enumerate(ordered)]


def heights(count: int, step_mm: float = 2.5, start_mm: float = -340.0) -> list[float]:
    """Return regular heights, from the feet up."""
    return [start_mm + step_mm * k for k in range(count)]


def a_series(instances: Sequence[Instance]) -> Series:
    """Return a series of these instances, in the order that a reader gives them."""
    ordered = sorted(instances, key=lambda i: (i.sop_instance_uid, str(i.path)))
    return Series("1.2.3.4", tuple(ordered))


def tilted(count: int, angle_deg: float, step_mm: float = 2.5, **changes: Any) -> list[Instance]:
    """Return slices whose rows are tilted about x while the positions step along z."""
    c, s = float(np.cos(np.radians(angle_deg))), float(np.sin(np.radians(angle_deg)))
    changes.setdefault("gantry_tilt_deg", angle_deg)
    return [
        a_slice(z, plane_orientation=(1.0, 0.0, 0.0, 0.0, c, -s), **changes)
        for z in heights(count, step_mm)
    ]


def a_chest() -> NDArray[np.int16]:
    """Air around a body of fat and muscle, with two lungs from slice 10 to 90."""
    hu = np.full(CHEST_SHAPE, -1000, np.int16)
    hu[:, 12:52, 8:56] = -100
    hu[:, 16:48, 12:52] = 40
    hu[10:90, 20:44, 14:29] = -850
    hu[10:90, 20:44, 35:50] = -850
    noise = np.random.default_rng(1).normal(0, 15, CHEST_SHAPE).astype(np.int16)
    hu += noise
    return hu.clip(min=-1024)


def write_chest(folder: Path) -> list[Path]:
    """Write the chest of boxes as CT instances, from the feet up."""
    return [write_slice(folder, k, hu) for k, hu in enumerate(a_chest())]


def write_slice(folder: Path, k: int, hu: NDArray[np.int16]) -> Path:
    """Write one slice with what the reader and the gate need."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = f"1.2.3.4.{1000 + k}"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.3", "1.2.3.4"
    dataset.FrameOfReferenceUID = "1.2.3.5"
    dataset.Modality, dataset.PatientID, dataset.BodyPartExamined = "CT", "P1", "CHEST"
    dataset.ImagePositionPatient = [-190.0, -190.0, -300.0 + CHEST_SPACING_MM[0] * k]
    dataset.ImageOrientationPatient = list(AXIAL)
    dataset.PixelSpacing = list(CHEST_SPACING_MM[1:])
    dataset.SliceThickness = CHEST_SPACING_MM[0]
    dataset.Rows, dataset.Columns = hu.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
    dataset.PixelData = (hu + np.int16(1024)).astype("<u2").tobytes()
    path = folder / f"{k:03d}.dcm"
    dataset.save_as(path, enforce_file_format=True)
    return path
