"""How long a reading takes: one mean or a mix of modalities, and how it scatters around it."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from serving.worklist.simulate.cases import Floats


class Scatter(StrEnum):
    """Distribution around the mean."""

    EXPONENTIAL = "exponential"
    LOGNORMAL = "lognormal"
    FIXED = "fixed"


@dataclass(frozen=True, slots=True)
class Modality:
    """A kind of study: its mean reading time, and its share of the cases."""

    name: str
    mean_min: float
    share: float


@dataclass(frozen=True, slots=True)
class Reading:
    """Reading times.

    Attributes
    ----------
    cv
        Coefficient of variation of ``lognormal``; exponential has 1 and fixed 0.
    """

    modalities: tuple[Modality, ...] = (Modality("all", 10.0, 1.0),)
    scatter: Scatter = Scatter.EXPONENTIAL
    cv: float = 0.5

    @property
    def mean_min(self) -> float:
        """Mean over all cases."""
        total = sum(one.share for one in self.modalities)
        return sum(one.mean_min * one.share for one in self.modalities) / total


def draw_reading(reading: Reading, n: int, rng: np.random.Generator) -> Floats:
    """Draw ``n`` reading times in minutes."""
    means = _means(reading, n, rng)
    match reading.scatter:
        case Scatter.FIXED:
            return np.full(n, 1.0) * means
        case Scatter.LOGNORMAL:
            variance = np.log1p(reading.cv**2)
            return rng.lognormal(-variance / 2, np.sqrt(variance), n) * means
        case Scatter.EXPONENTIAL:
            return rng.exponential(1.0, n) * means


def _means(reading: Reading, n: int, rng: np.random.Generator) -> Floats | float:
    if len(reading.modalities) == 1:
        return reading.modalities[0].mean_min
    share = np.array([one.share for one in reading.modalities])
    kind = rng.choice(len(share), n, p=share / share.sum())
    return np.asarray(np.array([one.mean_min for one in reading.modalities])[kind])
