"""The series that readers are compared on: made geometry cases, and a real scan, damaged."""

import json
import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.uid import generate_uid

from tests.shared import SHARED

GEOMETRY = SHARED / "data/conformance/geometry"
SCAN = SHARED / "data/ct/lidc-idri-0001"
# The annotated nodule of the scan (annotations/nodules.json); in slices 87 to 94.
SCAN_NODULE_LPS_MM = np.array([56.403, 86.343, -115.959])
# Blocks are taken out directly below the nodule, where a reader that closes gaps moves it.
BLOCK_END = 84
SEED = 1


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One series: its folder, where its nodule truly lies, and what is wrong with it in words."""

    name: str
    what: str
    folder: Path
    nodule_lps_mm: NDArray[np.float64]


def geometry_cases() -> tuple[Case, ...]:
    """Return the fourteen made series of ``conformance/geometry``."""
    truth = json.loads((GEOMETRY / "truth.json").read_text("utf-8"))["cases"]
    return tuple(
        Case(name, said["expect"], GEOMETRY / name, np.asarray(said["nodule_centre_lps_mm"], float))
        for name, said in truth.items()
    )


def damaged_scans(folder: Path) -> tuple[Case, ...]:
    """Write the damaged copies of the real scan into an empty folder and return them.

    The scan is copied there once; files that are unchanged are hard links to that copy.
    """
    store = _new_folder(folder, "files")
    files = [Path(shutil.copy(path, store)) for path in sorted(SCAN.glob("*.dcm"))]
    chance = random.Random(SEED)
    return tuple(
        Case(name, what, write(files, _new_folder(folder, name), chance), SCAN_NODULE_LPS_MM)
        for name, (what, write) in DAMAGES.items()
    )


Write = Callable[[Sequence[Path], Path, random.Random], Path]


def _new_folder(parent: Path, name: str) -> Path:
    target = parent / name
    target.mkdir()
    return target


def _keep(chosen: Callable[[Sequence[Path], random.Random], Sequence[Path]]) -> Write:
    """Return a damage that links some of the files."""

    def write(files: Sequence[Path], target: Path, chance: random.Random) -> Path:
        for path in chosen(files, chance):
            (target / path.name).hardlink_to(path)
        return target

    return write


def _without_block(count: int) -> Write:
    return _keep(lambda files, _: [*files[: BLOCK_END - count], *files[BLOCK_END:]])


def _without_scattered(count: int) -> Write:
    def chosen(files: Sequence[Path], chance: random.Random) -> list[Path]:
        gone = set(chance.sample(range(1, len(files) - 1), count))
        return [path for index, path in enumerate(files) if index not in gone]

    return _keep(chosen)


def _rename(files: Sequence[Path], target: Path, chance: random.Random) -> Path:
    for path in files:
        (target / f"{chance.getrandbits(64):016X}").hardlink_to(path)
    return target


def _renumber_half(files: Sequence[Path], target: Path, _: random.Random) -> Path:
    for number, path in enumerate(reversed(files[::2]), start=1):
        _write(path, target, InstanceNumber=number)
    return target


def _shuffle_numbers(files: Sequence[Path], target: Path, chance: random.Random) -> Path:
    numbers = chance.sample(range(1, len(files) + 1), len(files))
    for number, path in zip(numbers, files, strict=True):
        _write(path, target, InstanceNumber=number)
    return target


def _drop_numbers(files: Sequence[Path], target: Path, chance: random.Random) -> Path:
    gone = set(chance.sample(range(1, len(files) - 1), 3))
    for index, path in enumerate(files):
        if index in gone:
            _write(path, target, InstanceNumber=None)
        else:
            (target / path.name).hardlink_to(path)
    return target


def _double_equal(files: Sequence[Path], target: Path, _: random.Random) -> Path:
    for path in files:
        (target / path.name).hardlink_to(path)
    uid = generate_uid(entropy_srcs=["equal"])
    _write(files[BLOCK_END], target, "again.dcm", SOPInstanceUID=uid)
    return target


def _double_other(files: Sequence[Path], target: Path, _: random.Random) -> Path:
    """Put the pixels of another slice at the place of one, under a UID of their own."""
    for path in files:
        (target / path.name).hardlink_to(path)
    place = pydicom.dcmread(files[BLOCK_END], stop_before_pixels=True)
    _write(
        files[10],
        target,
        "again.dcm",
        SOPInstanceUID=generate_uid(entropy_srcs=["other"]),
        ImagePositionPatient=place.ImagePositionPatient,
        SliceLocation=place.get("SliceLocation"),
        InstanceNumber=place.InstanceNumber,
    )
    return target


def _write(path: Path, target: Path, name: str = "", **changed: object) -> None:
    """Write a copy with attributes changed; None takes one away. The pixels stay as encoded."""
    instance = pydicom.dcmread(path)
    for keyword, value in changed.items():
        if value is None:
            if keyword in instance:
                delattr(instance, keyword)
        else:
            setattr(instance, keyword, value)
    instance.file_meta.MediaStorageSOPInstanceUID = instance.SOPInstanceUID
    instance.save_as(target / (name or path.name))


DAMAGES: dict[str, tuple[str, Write]] = {
    "whole": ("as it came", _keep(lambda files, _: files)),
    "renamed": ("file names without order or extension", _rename),
    "shuffled-numbers": ("InstanceNumber in random order", _shuffle_numbers),
    "three-numbers-absent": ("three interior slices without InstanceNumber", _drop_numbers),
    "block-3": ("3 slices below the nodule removed", _without_block(3)),
    "block-10": ("10 slices below the nodule removed", _without_block(10)),
    "block-40": ("40 slices below the nodule removed", _without_block(40)),
    "scattered-3": ("3 interior slices removed here and there", _without_scattered(3)),
    "scattered-10": ("10 interior slices removed here and there", _without_scattered(10)),
    "scattered-40": ("40 interior slices removed here and there", _without_scattered(40)),
    "every-second": ("every second slice removed", _keep(lambda files, _: files[::2])),
    "every-second-renumbered": ("the same, the rest numbered anew", _renumber_half),
    "bottom-60": ("the lowest 60 slices removed", _keep(lambda files, _: files[60:])),
    "doubled-equal": ("one slice sent twice under two UIDs", _double_equal),
    "doubled-other": ("one position twice, with other pixels", _double_other),
}
