"""What the headers of an upload say, as values: frame, instance, series, study.

Nothing here is believed yet: positions may be absent, sizes may differ. The gate judges.
An empty or absent text is ``""``, an absent number is None; empty UIDs are never equal to each
other.
"""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from pydicom import Dataset

Vector = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Frame:
    """One image plane; those of a multi-frame instance are read from its functional groups.

    Attributes
    ----------
    number
        1-based, as Referenced Frame Number counts.
    position_lps_mm
        Image Position (Patient) (0020,0032).
    orientation
        Image Orientation (Patient) (0020,0037): row direction, then column direction, as written.
    pixel_spacing_mm
        Pixel Spacing (0028,0030): between rows, between columns.
    rescale_slope, rescale_intercept
        (0028,1053), (0028,1052).
    """

    number: int
    position_lps_mm: Vector | None
    orientation: tuple[float, float, float, float, float, float] | None
    pixel_spacing_mm: tuple[float, float] | None
    slice_thickness_mm: float | None
    spacing_between_slices_mm: float | None
    rescale_slope: float | None
    rescale_intercept: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Instance:
    """One DICOM instance: its file, the values that choosing and judging need, and its header.

    Attributes
    ----------
    path
        The file that holds it (a member of a zip has been unpacked to a temporary file).
    pixel_offset, pixel_length
        Where the value of Pixel Data (7FE0,0010) lies in the file, for native little endian pixels
        without compression; None where a decoder is needed or there are no pixels.
    header
        The whitelisted attributes (``results.headers``) undecoded, without pixels, private elements
        and sequences; texts still in the sender's bytes (see ``charsets``).
    """

    path: Path
    frames: tuple[Frame, ...]
    header: Dataset
    transfer_syntax_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    study_uid: str
    series_uid: str
    frame_of_reference_uid: str
    modality: str
    image_type: tuple[str, ...]
    rows: int
    columns: int
    bits_allocated: int
    bits_stored: int
    is_signed: bool
    samples_per_pixel: int
    pixel_padding_value: int | None
    is_lossy: bool
    patient_id: str
    patient_age_years: float | None
    body_part: str
    kernel: str
    gantry_tilt_deg: float | None
    instance_number: int | None
    acquisition_number: int | None
    acquisition_time: str
    announced_series_instances: int | None
    pixel_offset: int | None = None
    pixel_length: int | None = None
    high_bit: int | None = None
    photometric: str = "MONOCHROME2"

    @property
    def is_ct_image(self) -> bool:
        """Whether its SOP class is CT, Enhanced CT or Legacy Converted Enhanced CT Image."""
        return self.sop_class_uid in CT_CLASSES

    @property
    def is_ct(self) -> bool:
        """Whether it is a CT image, or would be one if its SOP class were not missing."""
        return self.is_ct_image or (not self.sop_class_uid and self.modality == "CT")

    @property
    def has_uids(self) -> bool:
        """Whether it carries the four UIDs that a result must name."""
        return all((self.sop_class_uid, self.sop_instance_uid, self.study_uid, self.series_uid))

    @property
    def is_localizer(self) -> bool:
        """Whether Image Type (0008,0008) value 3 says LOCALIZER."""
        return "LOCALIZER" in self.image_type

    @property
    def computed(self) -> "Computed | None":
        """How Image Type (0008,0008) says that it was computed from other slices; None: not."""
        # CT_SOM5 MIP, CSA MPR, MIN IP, MIN_IP: words stand anywhere in a value.
        text = " ".join(("", *self.image_type, "")).upper().replace("_", " ").replace("-", " ")
        found = {kind for kind, words in COMPUTED_WORDS.items() if any(w in text for w in words)}
        return min(found, key=list(Computed).index, default=None)

    @property
    def is_computed(self) -> bool:
        """Whether Image Type (0008,0008) says that it was computed from other slices."""
        return self.computed is not None


CT_CLASSES = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.2",  # CT Image Storage
        "1.2.840.10008.5.1.4.1.1.2.1",  # Enhanced CT Image Storage
        "1.2.840.10008.5.1.4.1.1.2.2",  # Legacy Converted Enhanced CT Image Storage
    }
)


class Computed(StrEnum):
    """What was computed from other slices, worst first; stable words."""

    PROJECTION = "projection"
    """Voxels of many places in one: projections, averages, differences, renderings."""
    REFORMAT = "reformat"
    """Voxels interpolated between measured ones."""


# Words of Image Type, ``_`` and ``-`` as blanks: vendors' (value 3 and on) and those of Enhanced CT
# (value 4, PS3.3 C.8.16.1.4).
COMPUTED_WORDS = {
    Computed.PROJECTION: tuple(
        f" {word} "
        for word in (
            "MIP",
            "MAX IP",
            "MINIP",
            "MIN IP",
            "MAXIMUM",
            "MINIMUM",
            "AVERAGE",
            "MEAN",
            "STD DEVIATION",
            "PROJECTION",
            "SUBTRACTION",
            "VOLREN",
            "VOLUME RENDER",
            "SURFACE RENDER",
        )
    ),
    Computed.REFORMAT: tuple(f" {word} " for word in ("MPR", "REFORMATTED", "RESAMPLED")),
}


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """The instances of one Series Instance UID, sorted by SOP Instance UID, then by path."""

    uid: str
    instances: tuple[Instance, ...]

    @property
    def ct_instances(self) -> tuple[Instance, ...]:
        """The CT images among them."""
        return tuple(instance for instance in self.instances if instance.is_ct)


@dataclass(frozen=True, slots=True, eq=False)
class Study:
    """The series of one study, and how its texts are to be decoded (``charsets``)."""

    uid: str
    series: tuple[Series, ...]
    codecs: dict[tuple[str, ...], str] = field(default_factory=dict)
    """Declared character sets of an instance -> Python codec, decided once for the study."""

    @property
    def ct_instances(self) -> tuple[Instance, ...]:
        """The CT images of all series."""
        return tuple(instance for series in self.series for instance in series.ct_instances)

    @property
    def has_named_ct(self) -> bool:
        """Whether one of its CT images carries the UIDs that a result must name."""
        return any(instance.has_uids for instance in self.ct_instances)


@dataclass(frozen=True, slots=True)
class Unread:
    """A file that is no usable instance, and why (a stable word such as ``truncated``)."""

    path: Path
    reason: str

    @property
    def may_be_an_image(self) -> bool:
        """Whether a slice may be lost with it: all that is not known to be something else."""
        return self.reason not in NO_IMAGE


NO_IMAGE = frozenset({"not-dicom", "not-an-instance", "dicomdir", "gzip", "not-a-file"})


@dataclass(frozen=True, slots=True, eq=False)
class Upload:
    """Everything that the input holds."""

    studies: tuple[Study, ...]
    unread: tuple[Unread, ...]


def unread_counts(upload: Upload) -> dict[str, int]:
    """Return how many files that may be images are in no study that can be analysed, by reason.

    Files that are known to be something else (notes, a DICOMDIR) do not count. CT images without
    UIDs beside a study that has them count as ``uids-missing``: they may belong to it, and nobody
    can know.
    """
    counts = Counter(unread.reason for unread in upload.unread if unread.may_be_an_image)
    if any(study.uid and study.has_named_ct for study in upload.studies):
        counts["uids-missing"] = sum(
            len(study.ct_instances) for study in upload.studies if not study.uid
        )
    return {reason: count for reason, count in sorted(counts.items()) if count}
