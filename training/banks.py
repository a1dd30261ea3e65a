"""Which nodule shapes a run inserts: some patients' for training, the others' for validation."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.backgrounds import Background
from training.configuration import RESERVED_PATIENTS, TrainingConfiguration
from training.patches import Inserted
from training.synthesis.bank import Bank, load_bank, nearest_class_mm
from training.synthesis.insertion import Mix, insert_nodules
from training.targets import Mark

# Its own shape must not be inserted into its own scan, nor into tests on it.
NEVER = frozenset({"LIDC-IDRI-0001", "LIDC-IDRI-0002", *RESERVED_PATIENTS})


@dataclass(frozen=True, slots=True, eq=False)
class InsertFromBanks:
    """An :class:`training.patches.Insert` that takes the bank of the scan's slice thickness."""

    banks: Mapping[float, Bank]
    mix: Mix

    def __call__(
        self,
        hu: NDArray[np.float32],
        lungs: NDArray[np.bool_],
        taken: Sequence[Mark],
        slice_mm: float,
        rng: np.random.Generator,
    ) -> Inserted:
        """Return the patch with a random number of nodules in it."""
        bank = self.banks[nearest_class_mm(slice_mm)]
        return insert_nodules(hu, lungs, taken, rng, bank=bank, mix=self.mix)


def is_for_validation(patient: str, share: float) -> bool:
    """Return whether a patient's shapes are kept for validation; by a hash, so it never changes."""
    first = hashlib.sha256(f"firstread/validation/{patient}".encode()).digest()[:4]
    return int.from_bytes(first, "big") < share * 2**32


def load_banks(
    configuration: TrainingConfiguration,
    backgrounds: Iterable[Background],
    *,
    validation: bool,
) -> dict[float, Bank]:
    """Return a bank for each thickness class of the backgrounds, made where the cache has none.

    Parameters
    ----------
    validation
        True gives the shapes of the patients that training never sees.
    """
    shapes = configuration.scans.shapes
    share = configuration.insertions.validation_share
    patients = _patients(shapes)
    without = {p for p in patients if is_for_validation(p, share) != validation} | NEVER
    classes = sorted({nearest_class_mm(background.slice_mm) for background in backgrounds})
    return {
        slice_mm: load_bank(
            shapes,
            configuration.preprocessing.spacing_mm,
            slice_mm,
            count=configuration.insertions.bank_count,
            seed=configuration.seed + int(validation),
            without_patients=without,
            cache=configuration.cache / "banks",
        )
        for slice_mm in classes
    }


def _patients(shapes: Path) -> set[str]:
    with np.load(shapes, allow_pickle=False) as stored:
        return {str(patient) for patient in stored["patient"]}
