"""What a walk over a header may cost, and what it brings home."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Limits:
    """What a header may cost. A settled service may lower them; honest files stay far below.

    For scale: a CT slice has about 250 elements and 6 kB, a legacy-converted CT of 300 frames 4,938
    elements and 131 kB, a SEG of 300 frames 6,410 and 193 kB.
    """

    header_bytes: int = 32 * 1024 * 1024
    elements: int = 50_000
    elements_per_frame: int = 200
    frames: int = 20_000
    depth: int = 32
    items: int = 200_000
    value_bytes: int = 16 * 1024 * 1024
    wall_s: float = 2.0


LIMITS = Limits()


class HeaderRefused(Exception):
    """The walk stopped; ``reason`` is a stable word, listed in ``docs/dicom.md``."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Element(NamedTuple):
    """A value as it stands in the file; ``vr`` is empty where the syntax does not write it."""

    vr: str
    value: bytes


@dataclass(frozen=True, slots=True)
class Pixels:
    """Where the value of the pixel data lies.

    Attributes
    ----------
    offset, length
        In bytes of the file; for encapsulated pixels the length is None.
    fragments
        (offset, length) of each item of encapsulated pixels, the offset table (the first) included.
    """

    offset: int
    length: int | None
    fragments: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Header:
    """What a walk brings home.

    Attributes
    ----------
    elements
        Wanted top-level tag -> value.
    groups
        (shared or per-frame sequence, number of the item) -> (sequence in it, tag) -> value.
    transfer_syntax_uid
        Empty where the file has no meta header and the pixels are encapsulated: nobody said how.
    media_class_uid
        Media Storage SOP Class UID (0002,0002), by which a DICOMDIR is known; empty without a meta
        header.
    frames
        Number of Frames (0028,0008), at most ``Limits.frames``; 1 where none is said, or 0.
    """

    transfer_syntax_uid: str
    media_class_uid: str
    is_implicit: bool
    is_little_endian: bool
    elements: dict[int, Element]
    pixels: Pixels | None
    groups: Mapping[tuple[int, int], Mapping[tuple[int, int], bytes]] = field(default_factory=dict)
    frames: int = 1
