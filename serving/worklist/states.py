"""The states of a case, and which one may follow which.

A case has two states that do not block each other: how far the AI is, and how far the reader is.

    receiving -> waiting -> analysing -> scored | not-analysed
        ^           ^           |                  |
        |           +-- lease --+                  |
        +------------- a later image --------------+      (from every state)

    receiving -> not-analysed: it cannot settle; not-analysed -> waiting or receiving: tried again
"""

from collections.abc import Mapping
from enum import StrEnum


class AiState(StrEnum):
    """How far the analysis of a case is."""

    RECEIVING = "receiving"
    WAITING = "waiting"
    ANALYSING = "analysing"
    SCORED = "scored"
    NOT_ANALYSED = "not-analysed"


class ReadingState(StrEnum):
    """How far the reading of a case is; only routed cases can be taken by a reader.

    ::

        unapplied    routed ── claim ──> claimed
                       ^                    │
                       └─ release, lease over
    """

    UNAPPLIED = "unapplied"
    ROUTED = "routed"
    CLAIMED = "claimed"


class OrderedClass(StrEnum):
    """How urgent the sender ordered a study to be; the most urgent first."""

    STAT = "stat"
    URGENT = "urgent"
    ROUTINE = "routine"
    BACKLOG = "backlog"


class UrgencyClass(StrEnum):
    """Where a case stands on the list: see :mod:`serving.worklist.placing`."""

    STAT = "stat"
    AI_CRITICAL = "ai-critical"
    URGENT = "urgent"
    ROUTINE = "routine"
    BACKLOG = "backlog"


# Every case may go back to receiving: a late image makes an analysis of an older set count no more.
NEXT: Mapping[AiState, frozenset[AiState]] = {
    # To not-analysed: it cannot settle.
    AiState.RECEIVING: frozenset({AiState.RECEIVING, AiState.WAITING, AiState.NOT_ANALYSED}),
    # To any, too: the lease says whose word counts, not whether its owner said that it has begun.
    AiState.WAITING: frozenset(AiState),
    # Back to waiting: the worker's lease ended before its result came.
    AiState.ANALYSING: frozenset(AiState),
    AiState.SCORED: frozenset({AiState.RECEIVING}),
    # To waiting or receiving: it was quarantined, and somebody has it tried again.
    AiState.NOT_ANALYSED: frozenset({AiState.RECEIVING, AiState.WAITING}),
}


def before(state: AiState) -> tuple[str, ...]:
    """Return the states that may come before one, as they stand in the table."""
    return tuple(old.value for old in AiState if state in NEXT[old])
