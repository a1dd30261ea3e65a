"""From a walked header to an :class:`Instance`: bytes become numbers, and nothing is made up.

Texts are compared and sorted here only where the standard allows ASCII alone (code strings, UIDs);
names and descriptions keep the sender's bytes.
"""

import math
import re
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Literal

from pydicom import DataElement, Dataset
from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag

from inference.dicom.attributes import HEADER
from inference.dicom.data_set import (
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    PER_FRAME_GROUPS,
    SHARED_GROUPS,
)
from inference.dicom.instance import CT_CLASSES, Frame, Instance
from inference.dicom.walked import Header, HeaderRefused
from inference.dicom.walker import DEFLATED

# Transfer syntaxes that may have lost something (PS3.5 A.4); LossyImageCompression (0028,2110) is
# the other witness.
LOSSY_SYNTAXES = frozenset(
    {
        "1.2.840.10008.1.2.4.50",  # JPEG Baseline
        "1.2.840.10008.1.2.4.51",  # JPEG Extended
        "1.2.840.10008.1.2.4.53",  # JPEG Spectral Selection, retired
        "1.2.840.10008.1.2.4.55",  # JPEG Full Progression, retired
        "1.2.840.10008.1.2.4.81",  # JPEG-LS Near-Lossless
        "1.2.840.10008.1.2.4.91",  # JPEG 2000
        "1.2.840.10008.1.2.4.93",  # JPEG 2000 Multi-component
        "1.2.840.10008.1.2.4.203",  # High-Throughput JPEG 2000
    }
)

# Sequences of functional groups (PS3.3 C.7.6.16.2, C.8.15.3).
_CT_ACQUISITION_DETAILS = 0x00189304
_CT_RECONSTRUCTION = 0x00189314
_FRAME_CONTENT = 0x00209111
_PLANE_POSITION = 0x00209113
_PLANE_ORIENTATION = 0x00209116
_PIXEL_MEASURES = 0x00289110
_PIXEL_VALUE_TRANSFORMATION = 0x00289145

# Transfer syntaxes whose pixels need no decoder in this byte order.
_PLAIN_SYNTAXES = frozenset({IMPLICIT_LITTLE, EXPLICIT_LITTLE, DEFLATED})

_UID = re.compile(r"[0-9.]{1,64}")
_NUMBER = re.compile(rb"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_AGE = re.compile(r"(\d{3})([DWMY])")
_AGE_UNITS_PER_YEAR = {"D": 365.25, "W": 52.18, "M": 12.0, "Y": 1.0}


def instance_of(path: Path, header: Header) -> Instance:
    """Return the instance that a header describes.

    Parameters
    ----------
    path
        The file that was walked.

    Raises
    ------
    HeaderRefused
        ``frames-inconsistent``
    """
    fields = _Fields(header)
    sop_class = fields.uid(0x00080016)
    syntax = header.transfer_syntax_uid
    modality = fields.code(0x00080060)
    frames = _frames(fields, is_ct=sop_class in CT_CLASSES or modality == "CT")
    pixels = header.pixels
    is_plain = syntax in _PLAIN_SYNTAXES and pixels is not None and pixels.length is not None
    representation = fields.short(0x00280103) or 0
    return Instance(
        path=path,
        frames=frames,
        header=_header(header),
        transfer_syntax_uid=syntax,
        sop_class_uid=sop_class,
        sop_instance_uid=fields.uid(0x00080018),
        study_uid=fields.uid(0x0020000D),
        series_uid=fields.uid(0x0020000E),
        frame_of_reference_uid=fields.uid(0x00200052),
        modality=modality,
        image_type=fields.codes(0x00080008),
        rows=fields.short(0x00280010) or 0,
        columns=fields.short(0x00280011) or 0,
        bits_allocated=fields.short(0x00280100) or 0,
        bits_stored=fields.short(0x00280101) or 0,
        is_signed=representation == 1,
        samples_per_pixel=fields.short(0x00280002) or 1,
        pixel_padding_value=fields.short(0x00280120, signed=representation == 1),
        is_lossy=syntax in LOSSY_SYNTAXES or fields.code(0x00282110) == "01",
        patient_id=fields.text(0x00100020),
        patient_age_years=_age_years(fields),
        body_part=undecoded(fields.raw(0x00180015)),
        kernel=_kernel(fields, frames),
        gantry_tilt_deg=_gantry_tilt_deg(fields, frames),
        instance_number=fields.whole(0x00200013),
        acquisition_number=_acquisition_number(fields, frames),
        acquisition_time=fields.text(0x00080032) or fields.text(0x0008002A)[8:],
        announced_series_instances=fields.whole(0x00201209),
        pixel_offset=pixels.offset if pixels is not None and is_plain else None,
        pixel_length=pixels.length if pixels is not None and is_plain else None,
        high_bit=fields.short(0x00280102),
        photometric=fields.code(0x00280004),
    )


class _Fields:
    """The values of one header, each read at most once and never trusted to be there."""

    def __init__(self, header: Header) -> None:
        self.header = header
        self._order: Literal["little", "big"] = "little" if header.is_little_endian else "big"

    def raw(self, tag: int) -> bytes:
        element = self.header.elements.get(tag)
        return element.value.strip(b"\0 ") if element is not None else b""

    def text(self, tag: int) -> str:
        return self.raw(tag).decode("latin-1").strip()

    def codes(self, tag: int) -> tuple[str, ...]:
        text = self.text(tag)
        return tuple(part.strip().upper() for part in text.split("\\")) if text else ()

    def code(self, tag: int) -> str:
        return self.text(tag).upper()

    def uid(self, tag: int) -> str:
        uid = self.text(tag)
        # A result may not repeat what is no UID, so it counts as missing and the gate says so.
        # Leading zeros in a component are met in the field and harmless.
        return uid if _UID.fullmatch(uid) else ""

    def short(self, tag: int, *, signed: bool = False) -> int | None:
        element = self.header.elements.get(tag)
        if element is None or len(element.value) < 2:
            return None
        return int.from_bytes(element.value[:2], self._order, signed=signed)

    def grouped(self, frame_number: int, sequence: int, tag: int) -> bytes:
        """Return a text of a frame's functional groups, else of the shared ones, else nothing."""
        return self._grouped(frame_number, sequence, tag).strip(b"\0 ")

    def grouped_short(self, frame_number: int, sequence: int, tag: int) -> int | None:
        """Return a US of the functional groups."""
        value = self._grouped(frame_number, sequence, tag)
        return int.from_bytes(value, self._order) if len(value) == 2 else None

    def of_frames(self, frames: Sequence[Frame], sequence: int, tag: int) -> set[bytes]:
        """Return the different texts that frames have."""
        return {self.grouped(frame.number, sequence, tag) for frame in frames}

    def _grouped(self, frame_number: int, sequence: int, tag: int) -> bytes:
        for item in ((PER_FRAME_GROUPS, frame_number - 1), (SHARED_GROUPS, 0)):
            value = self.header.groups.get(item, {}).get((sequence, tag))
            if value is not None:
                return value
        return b""

    def numbers(self, tag: int) -> tuple[float, ...] | None:
        """Return the values of a decimal string; None where one of them is no finite number."""
        return decimals(self.raw(tag))

    def number(self, tag: int) -> float | None:
        numbers = self.numbers(tag)
        return numbers[0] if numbers else None

    def whole(self, tag: int) -> int | None:
        number = self.number(tag)
        return int(number) if number is not None and number.is_integer() else None


def decimals(raw: bytes) -> tuple[float, ...] | None:
    """Return the finite numbers of a decimal string (DS), or None: ``nan``, ``1_0`` are none."""
    if not raw or len(raw) > 1024:
        return None
    values = []
    for part in raw.split(b"\\"):
        text = part.strip(b" \0")
        if not _NUMBER.fullmatch(text) or not math.isfinite(value := float(text)):
            return None
        values.append(value)
    return tuple(values)


def undecoded(raw: bytes) -> str:
    """Return a text with one character for each byte, until its study's codec is known."""
    return raw.decode("latin-1")


def _kernel(fields: _Fields, frames: Sequence[Frame]) -> str:
    """Return the first value of Convolution Kernel; all that differ between frames, sorted."""
    stated = fields.raw(0x00181210)
    raws = {stated} if stated else fields.of_frames(frames, _CT_RECONSTRUCTION, 0x00181210)
    # In other sets than ASCII a backslash may be half of a character.
    firsts = {raw.split(b"\\")[0].strip() if raw.isascii() else raw for raw in raws}
    return undecoded(b"\\".join(sorted(firsts - {b""})))


def _gantry_tilt_deg(fields: _Fields, frames: Sequence[Frame]) -> float | None:
    """Return the tilt; of frames that differ the largest."""
    stated = fields.number(0x00181120)
    if stated is not None:
        return stated
    grouped = map(decimals, fields.of_frames(frames, _CT_ACQUISITION_DETAILS, 0x00181120))
    return max((tilt[0] for tilt in grouped if tilt), key=abs, default=None)


def _acquisition_number(fields: _Fields, frames: Sequence[Frame]) -> int | None:
    """Return the number of the acquisition; of a multi-frame image if all frames share one."""
    stated = fields.whole(0x00200012)
    if stated is not None:
        return stated
    numbers = {fields.grouped_short(frame.number, _FRAME_CONTENT, 0x00209156) for frame in frames}
    return numbers.pop() if len(numbers) == 1 else None


def _header(header: Header) -> Dataset:
    """Return the whitelisted elements, raw: pydicom converts each when it is asked for."""
    elements: dict[BaseTag, DataElement | RawDataElement] = {
        BaseTag(tag): RawDataElement(
            BaseTag(tag),
            element.vr or None,
            len(element.value),
            element.value,
            0,
            header.is_implicit,
            header.is_little_endian,
        )
        for tag, element in header.elements.items()
        if tag in HEADER
    }
    return Dataset(elements)


def _age_years(fields: _Fields) -> float | None:
    """Return Patient's Age, else birth to study; de-identified dates are shifted together."""
    match = _AGE.fullmatch(fields.code(0x00101010))
    if match:
        return int(match[1]) / _AGE_UNITS_PER_YEAR[match[2]]
    born, examined = (_day(fields.text(tag)) for tag in (0x00100030, 0x00080020))
    if born is None or examined is None or examined < born:
        return None
    return (examined - born).days / _AGE_UNITS_PER_YEAR["D"]


def _day(text: str) -> date | None:
    if len(text) != 8 or not text.isdigit():
        return None
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        return None


def _frames(fields: _Fields, *, is_ct: bool) -> tuple[Frame, ...]:
    """Return the frames; of anything but CT only a single one, for nobody asks for others."""
    count = fields.header.frames
    per_frame = sum(sequence == PER_FRAME_GROUPS for sequence, _ in fields.header.groups)
    if is_ct and per_frame:
        if per_frame != count:
            raise HeaderRefused("frames-inconsistent")
        return tuple(_grouped_frame(fields, number) for number in range(1, count + 1))
    if count != 1:
        if is_ct:
            raise HeaderRefused("frames-inconsistent")
        return ()
    return (
        _frame(
            1,
            position=fields.numbers(0x00200032),
            orientation=fields.numbers(0x00200037),
            spacing=fields.numbers(0x00280030),
            thickness=fields.number(0x00180050),
            between=fields.number(0x00180088),
            slope=fields.number(0x00281053),
            intercept=fields.number(0x00281052),
        ),
    )


def _grouped_frame(fields: _Fields, number: int) -> Frame:
    """Return a frame of an enhanced instance: each value its own, else the shared one."""

    def values(sequence: int, tag: int) -> tuple[float, ...] | None:
        return decimals(fields.grouped(number, sequence, tag))

    def value(sequence: int, tag: int) -> float | None:
        found = values(sequence, tag)
        return found[0] if found else None

    return _frame(
        number,
        position=values(_PLANE_POSITION, 0x00200032),
        orientation=values(_PLANE_ORIENTATION, 0x00200037),
        spacing=values(_PIXEL_MEASURES, 0x00280030),
        thickness=value(_PIXEL_MEASURES, 0x00180050),
        between=value(_PIXEL_MEASURES, 0x00180088),
        slope=value(_PIXEL_VALUE_TRANSFORMATION, 0x00281053),
        intercept=value(_PIXEL_VALUE_TRANSFORMATION, 0x00281052),
    )


def _frame(
    number: int,
    *,
    position: tuple[float, ...] | None,
    orientation: tuple[float, ...] | None,
    spacing: tuple[float, ...] | None,
    thickness: float | None,
    between: float | None,
    slope: float | None,
    intercept: float | None,
) -> Frame:
    return Frame(
        number=number,
        position_lps_mm=position if position is not None and len(position) == 3 else None,
        orientation=orientation if orientation is not None and len(orientation) == 6 else None,
        pixel_spacing_mm=spacing if spacing is not None and len(spacing) == 2 else None,
        slice_thickness_mm=thickness,
        spacing_between_slices_mm=between,
        rescale_slope=slope,
        rescale_intercept=intercept,
    )
