"""Policies to compare: each gives every case a class and a key; one and the same order reads them.

======== ================== ============================ ============ ==========================
policy   class              key within it                phi          what else
======== ================== ============================ ============ ==========================
fifo     one for all        arrival                      0            a flag that moves nothing
strict   with the AI's word due time                     0
cap      with the AI's word arrival                      --           who waited longer than the
                                                                      routine SLA goes first
edf      one for all        due time                     0
firstread with the AI's word fair due time               the pool's
======== ================== ============================ ============ ==========================
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from serving.worklist import allowance, order
from serving.worklist.order import Choice, Heads, Rule
from serving.worklist.simulate.cases import ROUTINE, Cases, Floats, Ints, Pool

Choose = Callable[[Heads, float, float, float], Choice | None]


class Policy(StrEnum):
    """How the next case is chosen."""

    FIFO = "fifo"
    STRICT = "strict"
    CAP = "cap"
    EDF = "edf"
    FIRSTREAD = "firstread"


@dataclass(frozen=True, slots=True)
class Line:
    """Where each case stands, (n,) arrays, and who calls the next."""

    rank: Ints
    key_min: Floats
    phi: float
    choose: Choose


def line_up(policy: Policy, cases: Cases, pool: Pool) -> Line:
    """Give every case its place under a policy."""
    one_class = np.full(len(cases), ROUTINE)
    due_min = cases.arrived_min + np.array(pool.sla_min)[cases.rank]
    match policy:
        case Policy.FIFO:
            return Line(one_class, cases.arrived_min, 0.0, order.choose)
        case Policy.STRICT:
            return Line(cases.rank, due_min, 0.0, order.choose)
        case Policy.CAP:
            return Line(cases.rank, cases.arrived_min, 0.0, _capped(pool.sla_min[ROUTINE]))
        case Policy.EDF:
            return Line(one_class, due_min, 0.0, order.choose)
        case Policy.FIRSTREAD:
            return Line(cases.rank, due_min + excesses(cases, pool), pool.phi, order.choose)


def excesses(cases: Cases, pool: Pool) -> Floats:
    """Return what each case exceeds its hospital's allowance by, in minutes."""
    clock, buckets = pool.curve, pool.allowances
    tat_min = [0.0] * len(buckets)
    found = []
    for arrived_min, hospital in zip(
        cases.arrived_min.tolist(), cases.hospital.tolist(), strict=True
    ):
        at_min = clock.operational_min(arrived_min)
        excess, tat_min[hospital] = allowance.charge(at_min, tat_min[hospital], buckets[hospital])
        found.append(excess)
    return np.array(found)


def _capped(cap_min: float) -> Choose:
    """Return the choice of who waited longer than the cap, else by class."""

    def choose(heads: Heads, credit: float, _phi: float, now: float) -> Choice | None:
        waited = order.most_overdue(heads, 0, now - cap_min)
        if waited is not None:
            return Choice(waited, Rule.TOKEN, credit)
        return order.choose(heads, credit, 0.0, now)

    return choose
