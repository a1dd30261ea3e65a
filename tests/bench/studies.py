"""The studies that are measured."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from inference.phantom import NoduleSpec, PhantomSpec, make_phantom, write_phantom
from tests.shared import SHARED

ROOT = Path(__file__).resolve().parents[2]
# Kept between runs; git ignores it.
STORE = ROOT / "var/bench"
SCAN = SHARED / "data/ct/lidc-idri-0001"
NODULES_MM = (6.0, 10.0, 20.0)
WARM_UP_SLICES = 20


@dataclass(frozen=True, slots=True)
class Study:
    """A folder of one series, in words, and whether a peer is measured on it too."""

    name: str
    what: str
    folder: Path
    with_peer: bool

    @property
    def files(self) -> list[Path]:
        return sorted(self.folder.glob("*.dcm"))


def phantom_study(slices: int) -> Study:
    """Return an uncompressed phantom chest of 512 x 512, written once."""
    name = f"phantom-{slices}"
    folder = STORE / name
    if not folder.is_dir():
        fresh = STORE / f".{name}"
        shutil.rmtree(fresh, ignore_errors=True)
        nodules = tuple(NoduleSpec(diameter) for diameter in NODULES_MM)
        write_phantom(make_phantom(PhantomSpec(nodules, slices=slices, matrix=512)), fresh)
        (fresh / "truth.json").unlink()
        fresh.rename(folder)
    return Study(
        name, f"{slices} slices of 512 x 512, uncompressed, phantom", folder, with_peer=True
    )


def scan_study() -> Study | None:
    """Return the real scan in JPEG-LS; None where it is absent."""
    if not SCAN.is_dir():
        return None
    return Study(
        "lidc-idri-0001", "133 slices of 512 x 512, JPEG-LS, a real scan", SCAN, with_peer=False
    )


def warm_up(study: Study, folder: Path) -> Path:
    """Write a short series for a peer to warm up on."""
    folder.mkdir()
    for path in study.files[:WARM_UP_SLICES]:
        shutil.copy(path, folder)
    return folder
