"""A small CT series as files, and the analysis of it that the writers are given.

24 slices of 64 x 60 pixels that are not square, two solid nodules in lung. Small, because every
test of the writers makes one; the phantom is for measuring.
"""

import atexit
import functools
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmwrite
from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileMetaDataset
from pydicom.tag import Tag
from pydicom.uid import (
    UID,
    CTImageStorage,
    ExplicitVRLittleEndian,
    LegacyConvertedEnhancedCTImageStorage,
)

from firstread.uids import uid_from
from inference.detection.candidate import Candidate
from inference.dicom.choice import Why
from inference.dicom.reader import open_upload
from inference.findings import measure_findings
from inference.gate.reasons import Code, Reason, Status, Verdict
from inference.lungs import Laterality, Zone
from inference.results.analysis import (
    Analysis,
    OperatingPointUsed,
    PackageUsed,
    RuntimeIdentity,
    SeriesChoice,
    SplitOff,
)
from inference.results.writing import write_results
from inference.stack import build_stack
from inference.volume import Grid, Volume
from models.package import SizeRange

SLICES, ROWS, COLUMNS = 24, 64, 60
STEP_MM, ROW_MM, COLUMN_MM = 2.5, 0.9, 0.8
STUDY_UID, SERIES_UID, FRAME_UID = (uid_from("a series", role) for role in ("study", "ct", "frame"))
# Index (z, y, x), diameter and HU of each nodule; the second is the smaller and scores higher.
NODULES = (((8.2, 22.3, 41.0), 13.0, 30), ((16.0, 41.0, 18.4), 9.0, 15))
SCORES = (0.713, 0.942)


@dataclass(frozen=True)
class Spec:
    """What is special about a series."""

    charset: tuple[str, ...] | None = ("ISO_IR 192",)
    codec: str = "utf-8"
    name: str = "Zhang^San=张^三"
    description: str = "胸部CT平扫"
    orientation: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    is_multi_frame: bool = False
    doubled_slice: int | None = None
    has_localizer: bool = False
    missing_slice: int | None = None
    instance_uid_seed: str = ""
    extra: Mapping[str, object] = field(default_factory=dict)

    def __hash__(self) -> int:
        return hash(repr(self))


def grid_of(spec: Spec) -> Grid:
    orientation = np.array(spec.orientation)
    return Grid.regular(
        (-30.0, 20.0, -400.0),
        (STEP_MM, ROW_MM, COLUMN_MM),
        (SLICES, ROWS, COLUMNS),
        orientation[:3],
        orientation[3:],
    )


@functools.cache
def scan() -> NDArray[np.int16]:
    """HU: lung with a fixed pattern, two bright spheres."""
    index = np.stack(np.meshgrid(*map(np.arange, (SLICES, ROWS, COLUMNS)), indexing="ij"), -1)
    hu = -860 + 7 * (index.sum(axis=-1) % 5)
    for centre, diameter_mm, level in NODULES:
        away = np.linalg.norm((index - centre) * (STEP_MM, ROW_MM, COLUMN_MM), axis=-1)
        hu = np.where(away <= diameter_mm / 2, level + index[..., 2] % 3, hu)
    return np.asarray(hu, np.int16)


def encoded(text: str, spec: Spec) -> bytes:
    """The text as the sender writes it; with the escapes that ISO 2022 IR 58 wants."""
    if "ISO 2022 IR 58" not in (spec.charset or ()):
        raw = text.encode(spec.codec)
    else:
        raw = b""
        for part in text.replace("^", "\0^\0").replace("=", "\0=\0").split("\0"):
            data = part.encode("gb18030")
            raw += data if part.isascii() else b"\x1b$)A" + data
    return raw + b" " * (len(raw) % 2)


def write_series(folder: Path, spec: Spec) -> None:
    """Write the series; file names say nothing about the order."""
    grid, hu = grid_of(spec), scan()
    kept = [z for z in range(SLICES) if z != spec.missing_slice]
    if spec.is_multi_frame:
        _save(_multi_frame(spec, grid, hu), folder / "multi")
        return
    for z in kept:
        _save(_single(spec, grid, hu, z, "first"), folder / f"{(z * 7) % 24:02d}")
    if spec.doubled_slice is not None:
        _save(_single(spec, grid, hu, spec.doubled_slice, "again"), folder / "again")
    if spec.has_localizer:
        localizer = _single(spec, grid, hu, 0, "localizer")
        localizer.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
        localizer.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
        _save(localizer, folder / "scout")


def _common(spec: Spec) -> Dataset:
    ds = Dataset()
    if spec.charset is not None:
        ds.SpecificCharacterSet = list(spec.charset)
    texts = {
        "PatientName": spec.name,
        "StudyDescription": spec.description,
        "ReferringPhysicianName": "",
    }
    ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "ID-1", "19600102", "F"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = STUDY_UID, SERIES_UID
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = FRAME_UID, ""
    ds.StudyDate, ds.StudyTime, ds.StudyID, ds.AccessionNumber = "20260301", "101500", "7", "A7"
    ds.ContentDate, ds.ContentTime = "20260301", "102233.5"
    ds.SeriesDate, ds.SeriesTime = "20260301", "102000"
    ds.Modality, ds.SeriesNumber, ds.AcquisitionNumber = "CT", 2, 1
    ds.Manufacturer, ds.ManufacturerModelName, ds.BodyPartExamined = "Maker", "Scan 64", "CHEST"
    ds.SoftwareVersions = "v7"
    ds.Rows, ds.Columns, ds.SamplesPerPixel = ROWS, COLUMNS, 1
    ds.PhotometricInterpretation, ds.PixelRepresentation = "MONOCHROME2", 1
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 16, 15
    for keyword, text in texts.items():
        raw = encoded(text, spec)
        tag = Tag(keyword)
        vr = "LO" if keyword == "StudyDescription" else "PN"
        ds[tag] = RawDataElement(tag, vr, len(raw), raw, 0, False, True)
    return ds


def _apply_extra(ds: Dataset, spec: Spec) -> Dataset:
    for keyword, value in spec.extra.items():
        if value is None:
            del ds[keyword]
        else:
            setattr(ds, keyword, value)
    return ds


def _single(spec: Spec, grid: Grid, hu: NDArray[np.int16], z: int, role: str) -> Dataset:
    ds = _common(spec)
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.SOPClassUID = CTImageStorage
    ds.SOPInstanceUID = uid_from("a series", spec.instance_uid_seed, role, str(z))
    ds.InstanceNumber = SLICES - z
    ds.ImagePositionPatient = [round(float(v), 6) for v in grid.origins_lps_mm[z]]
    ds.ImageOrientationPatient = list(spec.orientation)
    ds.PixelSpacing = [ROW_MM, COLUMN_MM]
    ds.SliceThickness = STEP_MM
    ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = 1, 0, "HU"
    ds.add_new("PixelData", "OW", hu[z].tobytes())
    return _apply_extra(ds, spec)


def _multi_frame(spec: Spec, grid: Grid, hu: NDArray[np.int16]) -> Dataset:
    ds = _common(spec)
    ds.ImageType = ["DERIVED", "PRIMARY", "AXIAL", "NONE"]
    ds.SOPClassUID = LegacyConvertedEnhancedCTImageStorage
    ds.SOPInstanceUID = uid_from("a series", spec.instance_uid_seed, "multi")
    ds.InstanceNumber, ds.NumberOfFrames = 1, SLICES
    shared, measures, orientation, values = Dataset(), Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [ROW_MM, COLUMN_MM], STEP_MM
    orientation.ImageOrientationPatient = list(spec.orientation)
    values.RescaleSlope, values.RescaleIntercept, values.RescaleType = 1, 0, "HU"
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    shared.PixelValueTransformationSequence = [values]
    ds.SharedFunctionalGroupsSequence = [shared]
    frames = []
    # From the head down, so that frame numbers run against z.
    for z in reversed(range(SLICES)):
        own, place, content = Dataset(), Dataset(), Dataset()
        place.ImagePositionPatient = [round(float(v), 6) for v in grid.origins_lps_mm[z]]
        content.InStackPositionNumber, content.StackID = SLICES - z, "1"
        own.PlanePositionSequence, own.FrameContentSequence = [place], [content]
        frames.append(own)
    ds.PerFrameFunctionalGroupsSequence = frames
    ds.add_new("PixelData", "OW", hu[::-1].tobytes())
    return _apply_extra(ds, spec)


def _save(ds: Dataset, path: Path) -> None:
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = UID(ds.get("SOPInstanceUID") or FRAME_UID)
    # The texts are raw bytes: without this pydicom decodes them as declared and encodes them anew.
    ds.set_original_encoding(False, True, ds._character_set)
    dcmwrite(path, ds, enforce_file_format=True)


@functools.cache
def series_folder(spec: Spec = Spec()) -> Path:
    """The folder of a series; read it, never write into it."""
    folder = Path(tempfile.mkdtemp(prefix="firstread-series-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    write_series(folder, spec)
    return folder


def candidates_in(grid: Grid) -> tuple[Candidate, ...]:
    """What a network would say of the nodules: a soft sphere each, on a grid of 1.25 mm."""
    found = []
    for (centre, diameter_mm, _), score in zip(NODULES, SCORES, strict=True):
        place = grid.to_lps(centre)
        own = Grid.regular(place - 12.1, (1.25,) * 3, (20,) * 3)
        index = np.stack(np.meshgrid(*[np.arange(20)] * 3, indexing="ij"), axis=-1)
        depth = diameter_mm / 2 - np.linalg.norm(own.to_lps(index) - place, axis=-1)
        soft = (1 / (1 + np.exp(-depth / 0.5))).astype(np.float32)
        x, y, z = (float(value) for value in place)
        found.append(Candidate((x, y, z), score, diameter_mm, soft, own))
    return tuple(found)


@functools.cache
def an_analysis(spec: Spec = Spec()) -> Analysis:
    """A scored analysis of a series with two findings and one candidate below the threshold."""
    with open_upload([series_folder(spec)]) as upload:
        (study,) = upload.studies
    (series,) = study.series
    off = tuple(one for one in series.instances if one.is_localizer)
    planes = [(one, f) for one in series.instances if one not in off for f in one.frames]
    stack = build_stack(planes)
    kept = [z for z in range(SLICES) if z != spec.missing_slice]
    volume = Volume(scan()[kept], stack.grid)
    measured = measure_findings(candidates_in(grid_of(spec)), volume, None, 0.5)
    # There are no lungs here to take the sides from.
    findings = tuple(
        replace(one, laterality=side, zone=zone)
        for one, side, zone in zip(
            measured,
            (Laterality.RIGHT, Laterality.LEFT),
            (Zone.UPPER, None),
            strict=True,
        )
    )
    weak = replace(candidates_in(grid_of(spec))[0], score=0.2, centre_lps_mm=(-20.0, 30.0, -380.0))
    uids = tuple(one.sop_instance_uid for one in off)
    return Analysis(
        software_version="0.1.0",
        package=PackageUsed("lung_nodule", "1.0.0", "ab" * 32, SizeRange(least_mm=4, most_mm=40)),
        verdict=Verdict(),
        choice=SeriesChoice(
            Why((("choice.only", {}),)),
            len(stack.instances),
            (SplitOff("localizer", uids),) if off else (),
        ),
        study=study,
        series=series,
        instances=stack.instances,
        slices=stack.slices,
        volume=volume,
        runtime=RuntimeIdentity("onnxruntime-cpu", "f32", "1.22.0", "AuthenticAMD-25 avx2"),
        operating_point=OperatingPointUsed("balanced", 0.5, 0.05),
        findings=findings,
        candidates=(weak,),
        timings_s={"read": 0.5, "total": 2.25},
    )


def nothing_found(spec: Spec = Spec()) -> Analysis:
    return replace(an_analysis(spec), findings=())


def not_scored(spec: Spec = Spec(), code: Code = Code.TOO_FEW_SLICES) -> Analysis:
    """A CT that is refused."""
    return replace(
        an_analysis(spec),
        verdict=Verdict((Reason(code, Status.REFUSE, numbers_of(code)),)),
        slices=(),
        volume=None,
        runtime=None,
        operating_point=None,
        findings=(),
        candidates=(),
    )


def numbers_of(code: Code) -> dict[str, int | float | str]:
    """A value for each placeholder of a reason's sentence."""
    import string

    from firstread.messages import Language, catalogue

    text = catalogue(Language.EN)[f"gate.{code}"]
    return {name: 3 for _, name, _, _ in string.Formatter().parse(text) if name}


@functools.cache
def written(analysis: Analysis) -> Path:
    """The output of an analysis; read it, never write into it."""
    out = Path(tempfile.mkdtemp(prefix="firstread-out-")) / "out"
    atexit.register(shutil.rmtree, out.parent, ignore_errors=True)
    write_results(analysis, out)
    return out
