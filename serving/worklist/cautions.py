"""What in ``urgency.yaml`` is allowed, and lies outside of what the worklist was proved with.

The limits are those of ``docs/worklist.md``; a caution keeps nothing from starting.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from serving.worklist.states import UrgencyClass
from serving.worklist.urgency import UrgencyPolicy

# Below, the unflagged cases of a storm wait beyond 1.5 times their minutes on half of the days.
TOKEN_MARGIN = 1.5
# Between these the allowance held an overload and a hospital's dump in simulation.
PROVED_ALLOWANCE = {
    "growth": (0.10, 0.25),
    "pool_share": (0.03, 0.05),
    "burst_minutes": (15.0, 25.0),
}
# Windows overlap: from here on a guard trips by chance within a year at one site in thirty or more.
MOST_IMPROBABLE = 1e-5


@dataclass(frozen=True, slots=True)
class Caution:
    """Something to know; its sentence is ``urgency.caution.<code>``."""

    code: str
    values: Mapping[str, str | float]


def cautions(policy: UrgencyPolicy) -> tuple[Caution, ...]:
    """Return what somebody who wrote these rules should know."""
    found = []
    token = policy.token
    least = TOKEN_MARGIN * token.unflagged_share_in_storm
    if token.share < least:
        found.append(Caution("token-small", {"share": token.share, "least": least}))
    routine = [policy.minutes(UrgencyClass.ROUTINE, tier) for tier in policy.tiers]
    if min(routine) < max(routine):
        values = {"least_minutes": min(routine), "most_minutes": max(routine)}
        found.append(Caution("routine-differs", values))
    for name, (least, most) in PROVED_ALLOWANCE.items():
        value: float = getattr(policy.allowance, name)
        if not least <= value <= most:
            limits = {"value": value, "least": least, "most": most}
            found.append(Caution("allowance-unproved", {"rule": name, **limits}))
    if policy.storm_guard.improbable > MOST_IMPROBABLE:
        values = {"improbable": policy.storm_guard.improbable, "most": MOST_IMPROBABLE}
        found.append(Caution("guard-nervous", values))
    return tuple(found)
