"""The conditions under which the order keeps its promises, and what to say outside them.

Measured in ``docs/order.md``: each limit is where a figure of the reference days begins to miss.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

LEAST_READERS = 4
MOST_PRIORITISED_SHARE = 0.20
MOST_LOAD = 0.80
# phi must exceed the share of the work that is left to the others in the worst storm, by half.
PHI_OVER_STORM = 1.5
STORM_UNFLAGGED_SHARE = 0.15


@dataclass(frozen=True, slots=True)
class Note:
    """Something to tell: ``order.note.<code>`` is its sentence, with these values."""

    code: str
    values: Mapping[str, float] = field(default_factory=dict)


def outside_conditions(
    *,
    readers: int,
    load: float,
    prioritised_share: float,
    routine_slas: int,
    phi: float,
    storm_unflagged_share: float = STORM_UNFLAGGED_SHARE,
) -> tuple[Note, ...]:
    """Return in what a pool lies outside the conditions.

    Parameters
    ----------
    load
        Mean of the day.
    prioritised_share
        Of all cases: STAT, ordered urgent, or flagged by the AI.
    routine_slas
        How many different routine SLAs the pool's hospitals have.
    storm_unflagged_share
        Share of the work that is not flagged in the worst storm to survive.
    """
    least_phi = PHI_OVER_STORM * storm_unflagged_share
    found = (
        (readers < LEAST_READERS, Note("few-readers", {"readers": readers})),
        # A hair above by rounding is not above.
        (load > MOST_LOAD + 1e-9, Note("heavy-load", {"load": load})),
        (
            prioritised_share > MOST_PRIORITISED_SHARE,
            Note("many-prioritised", {"percent": 100 * prioritised_share}),
        ),
        (routine_slas > 1, Note("several-slas", {"count": routine_slas})),
        (phi < least_phi, Note("small-phi", {"phi": phi, "least": least_phi})),
    )
    return tuple(note for is_outside, note in found if is_outside)
