"""Cases and the pool that reads them: what a simulation is made from, drawn or recorded."""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from serving.worklist.allowance import HOURS, Allowance, AllowanceRules, DayCurve, allowance_for
from serving.worklist.order import STAT

AI_CRITICAL, URGENT, ROUTINE, BACKLOG = range(STAT + 1, STAT + 5)
SLA_MIN = (15.0, 30.0, 60.0, 120.0, 1440.0)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Cases:
    """Cases in the order of their arrival; every array has one value for each.

    Attributes
    ----------
    arrived_min
        Minutes since a midnight, ascending.
    hospital
        Index of who sent it.
    ordered_rank
        Class rank as it was ordered.
    is_flagged, is_diseased
        What the AI says, and what is so.
    reading_min
        How long its reading takes, whoever reads it.
    """

    arrived_min: Floats
    hospital: Ints
    ordered_rank: Ints
    is_flagged: Flags
    is_diseased: Flags
    reading_min: Floats

    def __len__(self) -> int:
        return len(self.arrived_min)

    @property
    def rank(self) -> Ints:
        """Class rank with the AI's word: it raises, never lowers."""
        return np.where(
            self.is_flagged, np.minimum(self.ordered_rank, AI_CRITICAL), self.ordered_rank
        )

    def flagged_as(self, is_flagged: Flags) -> "Cases":
        """Return the same cases at another threshold of the AI."""
        return replace(self, is_flagged=is_flagged)


@dataclass(frozen=True, slots=True)
class Pool:
    """Who reads, and what is promised to whom.

    Attributes
    ----------
    sla_min
        Minutes to the due time for each class rank.
    phi
        Share of the starts that is kept for overdue cases of a lower class.
    day_loads
        Traffic by hour of the day; its mean is the traffic.
    contracts
        Cases a minute that each hospital usually sends.
    """

    readers: int
    mean_reading_min: float
    day_loads: tuple[float, ...]
    contracts: tuple[float, ...]
    sla_min: tuple[float, ...] = SLA_MIN
    phi: float = 0.25
    rules: AllowanceRules = field(default_factory=AllowanceRules)

    @property
    def curve(self) -> DayCurve:
        """The operational time of the pool's day."""
        return DayCurve(self.day_loads)

    @property
    def allowances(self) -> tuple[Allowance, ...]:
        """One bucket for each hospital."""
        reads_per_min = self.readers / self.mean_reading_min
        return tuple(
            allowance_for(contract, 0.0, reads_per_min, self.rules) for contract in self.contracts
        )


def flat_day(load: float) -> tuple[float, ...]:
    """Return the same load for every hour."""
    return (load,) * HOURS


def volumes(hospitals: int) -> Floats:
    """Return shares of the traffic: one large hospital, many small ones (rank to the -1.2)."""
    share = np.arange(1, hospitals + 1, dtype=np.float64) ** -1.2
    return np.asarray(share / share.sum(), np.float64)
