"""Two acquisitions in one stack, told apart by their times: phases that share number and kernel.

One pass of the table gives times that rise or fall along the stack, slice by slice or turn by turn,
so whatever was acquired together lies together. Two passes interleave::

    z     0    5   10   15   20        one pass             two passes, half a step apart
    time  0.0  0.1  0.2  0.3  0.4      0 1 2 3 4            0 60 1 61 2 62 3 63
"""

import re
from collections.abc import Sequence

import numpy as np

from inference.stack import Stack
from inference.volume import Floats

# A pause this many times the usual one parts two acquisitions. Of 1,000 times in no order the
# longest pause is about ten times the median; a second phase starts seconds later, not hundredths.
LONG_PAUSE = 20.0

# So many slices of each acquisition must lie within the other's range: the clocks of neighbouring
# turns may overlap by a few slices, and one retaken slice is a double.
INTERLEAVED_SLICES = 5

# Nobody needs to know of more, and looking for them takes the square of the time.
MOST_PASSES = 16

_TIME = re.compile(r"(\d{2}):?(\d{2})?:?(\d{2}(?:\.\d{1,6})?)?(?:[+-]\d{4})?")


def acquired_apart(stack: Stack) -> tuple[int, ...]:
    """Return how many slices each acquisition has that interleaves with another; empty for one.

    Doubles count too; slices without a time do not.
    """
    placed = [*zip(stack.slices, stack.grid.positions_mm, strict=True)]
    placed += [(double.plane, stack.grid.positions_mm[double.index]) for double in stack.doubles]
    known = [
        (seconds, float(position))
        for (instance, _), position in placed
        if (seconds := seconds_of(instance.acquisition_time)) is not None
    ]
    if len(known) < 2 * INTERLEAVED_SLICES:
        return ()
    times, positions = np.array(sorted(known)).T
    steps = np.diff(times)
    if not steps.any():
        return ()
    # The usual pause is that from turn to turn; else that from slice to slice, 0 within a turn.
    for usual in (np.median(steps[steps > 0]), np.median(steps)):
        clusters = np.split(positions, np.flatnonzero(steps > LONG_PAUSE * usual) + 1)
        passes = _passes([np.sort(c) for c in clusters if len(c) >= INTERLEAVED_SLICES])
        if len(passes) > 1:
            return tuple(sorted(passes, reverse=True))
    return ()


def seconds_of(time: str) -> float | None:
    """Return the seconds since midnight of a time (TM, PS3.5 6.2); None where it is none."""
    match = _TIME.fullmatch(time.strip())
    if match is None:
        return None
    hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds


def _passes(clusters: Sequence[Floats]) -> list[int]:
    """Lay clusters of ascending positions side by side into as few passes as hold them.

    Returns
    -------
    The slices of each pass: the next cluster joins the first pass with whose furthest one it does
    not interleave.
    """
    furthest: list[Floats] = []
    slices: list[int] = []
    for cluster in sorted(clusters, key=lambda cluster: (cluster[0], cluster[-1])):
        for k, other in enumerate(furthest):
            if min(_within(cluster, other), _within(other, cluster)) < INTERLEAVED_SLICES:
                slices[k] += len(cluster)
                furthest[k] = cluster if cluster[-1] > other[-1] else other
                break
        else:
            furthest.append(cluster)
            slices.append(len(cluster))
        if len(furthest) == MOST_PASSES:
            break
    return slices


def _within(positions: Floats, other: Floats) -> int:
    """Count the positions that lie between the ends of another cluster."""
    first = np.searchsorted(positions, other[0], "left")
    return int(np.searchsorted(positions, other[-1], "right") - first)
