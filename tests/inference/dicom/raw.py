"""DICOM files written byte by byte, as no library would write them."""

import struct
from pathlib import Path

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
CT = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"
UNDEFINED = 0xFFFFFFFF
LONG_VRS = ("OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV")

ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD


def element(
    tag: int,
    vr: str,
    value: bytes | str = b"",
    *,
    length: int | None = None,
    syntax: str = EXPLICIT_LITTLE,
) -> bytes:
    """Return one element; ``length`` may lie."""
    order = ">" if syntax == EXPLICIT_BIG else "<"
    data = value.encode() if isinstance(value, str) else value
    if len(data) % 2:
        data += b"\0" if vr == "UI" else b" "
    length = len(data) if length is None else length
    head = struct.pack(f"{order}HH", tag >> 16, tag & 0xFFFF)
    if syntax == IMPLICIT_LITTLE:
        return head + struct.pack("<L", length) + data
    if vr in LONG_VRS:
        return head + vr.encode() + b"\0\0" + struct.pack(f"{order}L", length) + data
    return head + vr.encode() + struct.pack(f"{order}H", length) + data


def delimiter(tag: int, length: int = 0, *, syntax: str = EXPLICIT_LITTLE) -> bytes:
    """Return an item's start or a delimiter."""
    order = ">" if syntax == EXPLICIT_BIG else "<"
    return struct.pack(f"{order}HHL", tag >> 16, tag & 0xFFFF, length)


def sequence(
    tag: int, *items: bytes, is_open: bool = False, syntax: str = EXPLICIT_LITTLE
) -> bytes:
    """Return a sequence with lengths or with delimiters."""
    if is_open:
        wrapped = b"".join(
            delimiter(ITEM, UNDEFINED, syntax=syntax) + item + delimiter(ITEM_END, syntax=syntax)
            for item in items
        )
        end = delimiter(SEQUENCE_END, syntax=syntax)
        return element(tag, "SQ", wrapped, length=UNDEFINED, syntax=syntax) + end
    wrapped = b"".join(delimiter(ITEM, len(item), syntax=syntax) + item for item in items)
    return element(tag, "SQ", wrapped, syntax=syntax)


def short(value: int, syntax: str = EXPLICIT_LITTLE) -> bytes:
    """Return the bytes of a US value."""
    return struct.pack(">H" if syntax == EXPLICIT_BIG else "<H", value)


def meta(syntax: str = EXPLICIT_LITTLE) -> bytes:
    """Return preamble and meta header."""
    body = element(0x00020002, "UI", CT) + element(0x00020010, "UI", syntax)
    return bytes(128) + b"DICM" + element(0x00020000, "UL", struct.pack("<L", len(body))) + body


def ct_elements(syntax: str = EXPLICIT_LITTLE, /, **changed: bytes | str | None) -> bytes:
    """Return the data set of a 4 x 4 CT slice up to its pixels; ``None`` leaves an element out."""
    values: dict[str, tuple[int, str, bytes | str]] = {
        "charset": (0x00080005, "CS", "ISO_IR 192"),
        "image_type": (0x00080008, "CS", "ORIGINAL\\PRIMARY\\AXIAL"),
        "sop_class": (0x00080016, "UI", CT),
        "sop_instance": (0x00080018, "UI", "1.2.3.4"),
        "study_date": (0x00080020, "DA", "20260101"),
        "modality": (0x00080060, "CS", "CT"),
        "name": (0x00100010, "PN", "Wang^XiaoDong"),
        "patient_id": (0x00100020, "LO", "P1"),
        "birth_date": (0x00100030, "DA", ""),
        "age": (0x00101010, "AS", "065Y"),
        "body_part": (0x00180015, "CS", "CHEST"),
        "thickness": (0x00180050, "DS", "1.25"),
        "kernel": (0x00181210, "SH", "STANDARD"),
        "study": (0x0020000D, "UI", "1.2.3"),
        "series": (0x0020000E, "UI", "1.2.3.1"),
        "position": (0x00200032, "DS", "-10\\-20\\30.5"),
        "orientation": (0x00200037, "DS", "1\\0\\0\\0\\1\\0"),
        "frame_of_reference": (0x00200052, "UI", "1.2.3.9"),
        "samples": (0x00280002, "US", short(1, syntax)),
        "photometric": (0x00280004, "CS", "MONOCHROME2"),
        "frames": (0x00280008, "IS", ""),
        "rows": (0x00280010, "US", short(4, syntax)),
        "columns": (0x00280011, "US", short(4, syntax)),
        "pixel_spacing": (0x00280030, "DS", "0.7\\0.7"),
        "bits_allocated": (0x00280100, "US", short(16, syntax)),
        "bits_stored": (0x00280101, "US", short(16, syntax)),
        "high_bit": (0x00280102, "US", short(15, syntax)),
        "is_signed": (0x00280103, "US", short(1, syntax)),
        "intercept": (0x00281052, "DS", "-1024"),
        "slope": (0x00281053, "DS", "1"),
    }
    given = {name: (tag, vr, changed.get(name, value)) for name, (tag, vr, value) in values.items()}
    assert changed.keys() <= values.keys()
    return b"".join(
        element(tag, vr, value, syntax=syntax)
        for tag, vr, value in given.values()
        if value is not None
    )


def pixels(
    data: bytes = bytes(range(32)), *, length: int | None = None, syntax: str = EXPLICIT_LITTLE
) -> bytes:
    """Return native pixel data, 4 x 4 words unless said."""
    return element(0x7FE00010, "OW", data, length=length, syntax=syntax)


def ct_file(syntax: str = EXPLICIT_LITTLE, /, **changed: bytes | str | None) -> bytes:
    """Return a whole CT file of 4 x 4 pixels."""
    return meta(syntax) + ct_elements(syntax, **changed) + pixels(syntax=syntax)


def enhanced_file(shared: bytes, *per_frame: bytes) -> bytes:
    """Return an enhanced CT of 4 x 4 pixels with these functional groups."""
    data_set = ct_elements(
        sop_class=ENHANCED_CT,
        frames=str(len(per_frame)),
        position=None,
        orientation=None,
        pixel_spacing=None,
        slope=None,
        intercept=None,
        kernel=None,
    )
    groups = sequence(0x52009229, shared) + sequence(0x52009230, *per_frame)
    return meta() + data_set + groups + pixels(bytes(32 * len(per_frame)))


def write(folder: Path, name: str, data: bytes) -> Path:
    """Write a file and return its path."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path
