"""A phantom as files: one CT Image Storage instance for each slice, and ``truth.json``."""

import json
import tempfile
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

from firstread.errors import OutputExists
from firstread.places import cannot_write, check_writable
from firstread.progress import Progress, silent
from firstread.uids import uid_from
from firstread.version import __version__
from inference.phantom.spec import NameStyle, Phantom, PhantomSpec, PixelStyle

INTERCEPT_HU = -1024
STUDY_DAY, STUDY_TIME = date(2026, 1, 5), "093000"
PATIENT_BORN = date(1961, 4, 12)
TABLE_HEIGHT_MM = 152


@dataclass(frozen=True, slots=True)
class _Texts:
    """What is written in words, and in which character set."""

    character_set: str
    patient: str
    study: str
    series: str
    institution: str


_CHINESE = ("Tang^XiaoYun=唐^小云", "胸部CT平扫", "胸部薄层 {:g}mm 标准算法", "示范县人民医院")
_TEXTS = {
    NameStyle.GB18030: _Texts("GB18030", *_CHINESE),
    NameStyle.UTF8: _Texts("ISO_IR 192", *_CHINESE),
    NameStyle.LATIN: _Texts(
        "ISO_IR 100",
        "Phantom^Synthetic",
        "CT chest plain",
        "Chest thin {:g} mm standard",
        "Model County",
    ),
}


def write_phantom(
    phantom: Phantom, folder: Path, progress: Progress = silent, *, study_day: date = STUDY_DAY
) -> list[Path]:
    """Write ``folder/*.dcm`` and ``folder/truth.json``.

    The same bytes for the same phantom and day; of another day it is another study.

    File names follow InstanceNumber, which runs against z as scanners count from the head down.

    Returns
    -------
    The instances' paths, lowest slice first.

    Raises
    ------
    OutputExists
        ``output-exists``: the folder is there and not empty.
    OutputError
        ``output-unwritable``
    """
    check_folder(folder)
    slices = phantom.spec.slices
    names = [f"{slices - z:04d}.dcm" for z in range(slices)]
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Beside it first, so that a phantom is whole or absent.
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as beside:
            fresh = Path(beside) / "new"
            fresh.mkdir()
            for z, name in enumerate(names):
                instance(phantom, z, study_day).save_as(fresh / name, enforce_file_format=True)
                progress("write", z + 1, slices)
            text = json.dumps(truth(phantom), indent=2, ensure_ascii=False) + "\n"
            (fresh / "truth.json").write_text(text, encoding="utf-8")
            # An empty folder may stand there; rename replaces it.
            fresh.rename(folder)
    except OSError as error:
        raise cannot_write(folder, error) from error
    return [folder / name for name in names]


def check_folder(folder: Path) -> None:
    """Refuse a place that holds anything or cannot be written; cheap, so ask first.

    Raises
    ------
    OutputExists
        ``output-exists``: there is a file, or a folder that is not empty.
    OutputError
        ``output-unwritable``
    """
    check_writable(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputExists(f"{folder} is not empty", advice="choose a new folder for the phantom")


def truth(phantom: Phantom) -> dict[str, object]:
    """Return what ``truth.json`` holds (DESIGN, section 4); lengths and places to a micrometre."""
    nodules = [
        {
            "id": nodule.id,
            "centre_lps_mm": [round(value, 3) for value in nodule.centre_lps_mm],
            "centre_index": [round(value, 3) for value in nodule.centre_index],
            "diameter_mm": nodule.diameter_mm,
            "volume_mm3": round(nodule.volume_mm3, 3),
            "density": nodule.density.value,
            "laterality": nodule.laterality.value,
        }
        for nodule in phantom.nodules
    ]
    spacing = [phantom.spec.slice_mm, phantom.spec.in_plane_mm, phantom.spec.in_plane_mm]
    return {
        "nodules": nodules,
        "spacing_mm": spacing,
        "seed": phantom.spec.seed,
        "version": __version__,
    }


def instance(phantom: Phantom, z: int, study_day: date = STUDY_DAY) -> Dataset:
    """Return slice ``z`` as a CT Image Storage instance (PS3.3 A.3) with its file meta group."""
    dataset = Dataset()
    identity = _identity(phantom.spec, study_day)
    _patient_and_study(dataset, phantom.spec, identity, study_day)
    _series_and_scanner(dataset, phantom.spec, identity)
    _image(dataset, phantom, z, identity)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(uid_from("implementation", "phantom"))
    meta.ImplementationVersionName = "FIRSTREAD_PHANTM"
    dataset.file_meta = meta
    return dataset


def _identity(spec: PhantomSpec, study_day: date) -> str:
    """All that decides the written bytes; every UID is made from it."""
    day = {} if study_day == STUDY_DAY else {"study_day": study_day.isoformat()}
    return json.dumps({"version": __version__, **asdict(spec), **day}, sort_keys=True)


def _patient_and_study(dataset: Dataset, spec: PhantomSpec, identity: str, study_day: date) -> None:
    born = PATIENT_BORN
    years = study_day.year - born.year - (study_day.timetuple()[1:3] < born.timetuple()[1:3])
    texts = _TEXTS[spec.names]
    dataset.SpecificCharacterSet = texts.character_set
    dataset.PatientName = spec.patient or texts.patient
    dataset.PatientID = f"PHANTOM-{spec.seed:04d}"
    dataset.PatientBirthDate = f"{born:%Y%m%d}"
    dataset.PatientSex = "F"
    dataset.PatientAge = f"{years:03d}Y"
    dataset.StudyInstanceUID = uid_from("phantom", "study", identity)
    for event in ("Study", "Series", "Acquisition", "Content"):
        setattr(dataset, f"{event}Date", f"{study_day:%Y%m%d}")
        setattr(dataset, f"{event}Time", STUDY_TIME)
    dataset.StudyID = f"{spec.seed}"
    dataset.AccessionNumber = f"P{spec.seed:06d}"
    dataset.ReferringPhysicianName = ""
    dataset.StudyDescription = texts.study
    dataset.InstitutionName = texts.institution


def _series_and_scanner(dataset: Dataset, spec: PhantomSpec, identity: str) -> None:
    dataset.Modality = "CT"
    dataset.SeriesInstanceUID = uid_from("phantom", "series", identity)
    dataset.SeriesNumber = 2
    dataset.SeriesDescription = _TEXTS[spec.names].series.format(spec.slice_mm)
    dataset.PatientPosition = "HFS"
    dataset.BodyPartExamined = "CHEST"
    dataset.FrameOfReferenceUID = uid_from("phantom", "frame of reference", identity)
    dataset.PositionReferenceIndicator = ""
    dataset.Manufacturer = "Firstread"
    dataset.ManufacturerModelName = "Phantom"
    dataset.SoftwareVersions = __version__
    dataset.DeviceSerialNumber = "1"
    dataset.ProtocolName = "Chest"
    dataset.KVP = 120
    dataset.ConvolutionKernel = "STANDARD"
    dataset.DataCollectionDiameter = 500
    dataset.ReconstructionDiameter = round(spec.field_mm, 3)
    dataset.GantryDetectorTilt = 0
    dataset.TableHeight = TABLE_HEIGHT_MM
    dataset.SliceThickness = spec.slice_mm
    dataset.AcquisitionNumber = 1


def _image(dataset: Dataset, phantom: Phantom, z: int, identity: str) -> None:
    grid, spec = phantom.volume.grid, phantom.spec
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = uid_from("phantom", "instance", identity, str(z))
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.InstanceNumber = spec.slices - z
    dataset.ImagePositionPatient = [round(float(v), 4) for v in grid.origins_lps_mm[z]]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.SliceLocation = round(float(grid.origins_lps_mm[z][2]), 4)
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = grid.shape_yx
    dataset.PixelSpacing = list(grid.spacing_yx_mm)
    dataset.BitsAllocated = 16
    dataset.WindowCenter, dataset.WindowWidth = [-550, 40], [1500, 400]
    dataset.WindowCenterWidthExplanation = ["LUNG", "MEDIASTINUM"]
    dataset.RescaleSlope = 1
    dataset.RescaleType = "HU"
    hu = phantom.volume.hu[z]
    if spec.pixels == PixelStyle.UNSIGNED_12:
        dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 12, 11, 0
        dataset.RescaleIntercept = INTERCEPT_HU
        pixels = (hu - np.int16(INTERCEPT_HU)).astype("<u2")
    else:
        dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 15, 1
        dataset.RescaleIntercept = 0
        pixels = hu.astype("<i2")
    dataset.add_new("PixelData", "OW", pixels.tobytes())
