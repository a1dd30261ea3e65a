"""The next case of a reading pool: who is read now, by which rule, and what it costs.

A decision needs no more than the *heads*, the first case of each class that the reader may read,
and the pool's credit::

    class rank     0 stat   1 ai-critical   2 urgent   3 routine   4 backlog
    head             -          A              -          B            C
                        each a key (fair due, arrival, id)

    1  stat    a STAT case, the earliest fair due first; it neither earns nor costs credit
    2  token   credit >= 1, and a head of a class *below* the next one is past its fair due time:
               the most overdue of them, credit - 1
    3  class   else the highest class, the earliest (fair due, arrival, id)

Each start but a STAT earns ``phi`` of credit, at most to ``1 + phi``: of many starts the share
``phi`` is kept for those who have waited too long below, and no more can be saved up. A reader who
may not read the overdue case does not spend the credit; it stays for the next who asks.

Everything is a function of its arguments: stored keys, the credit, and the time that is given. So
it does not matter in which order cases were inserted, by how many processes, or what was restarted.
Times lie on one clock, whichever: seconds in the service, minutes in the simulator. Figures that
hold this order against others: ``docs/order.md``.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

STAT = 0
CLASSES = 5

# Sums of phi may miss a whole start by rounding: 0.1 ten times is 0.9999999999999999.
_WHOLE_START = 1 - 1e-9

# (fair due time, arrival, id): the place of a case within its class.
Key = tuple[float, float, str | int]
# One place for each class rank, the most urgent first; None: nobody waits there.
Heads = Sequence[Key | None]


class Rule(StrEnum):
    """What decided that a case is next."""

    STAT = "stat"
    TOKEN = "token"  # noqa: S105 - the pool's token, no secret
    CLASS = "class"


class Choice(NamedTuple):
    """The class whose head is next, by which rule, and the pool's credit after it."""

    rank: int
    rule: Rule
    credit: float


@dataclass(frozen=True, slots=True)
class Decision:
    """A choice with all that explains it.

    Attributes
    ----------
    overdue_by
        How far ``now`` lies behind the case's fair due time, on the clock of the keys; negative: in
        time.
    passed
        Rank and key of the case that would have been next by class, where the token went before it.
    """

    rule: Rule
    rank: int
    key: Key
    overdue_by: float
    credit_before: float
    credit_after: float
    passed: tuple[int, Key] | None


def choose(heads: Heads, credit: float, phi: float, now: float) -> Choice | None:
    """Return which class is served next; None where nobody waits.

    Parameters
    ----------
    heads
        One key or None for each class rank, rank 0 is STAT.
    credit, phi
        Of the pool, 0 to ``1 + phi``; the share of starts that is kept for overdue cases, 0 to 1.
    now
        On the clock of the keys. A clock that ran backwards can only make cases less overdue.
    """
    first = highest(heads)
    if first is None:
        return None
    if first == STAT:
        return Choice(STAT, Rule.STAT, credit)
    credit = min(credit + phi, 1 + phi)
    if credit >= _WHOLE_START:
        late = most_overdue(heads, first + 1, now)
        if late is not None:
            return Choice(late, Rule.TOKEN, max(0.0, credit - 1))
    return Choice(first, Rule.CLASS, credit)


def highest(heads: Heads) -> int | None:
    """Return the rank of the highest class in which somebody waits."""
    for rank, head in enumerate(heads):
        if head is not None:
            return rank
    return None


def most_overdue(heads: Heads, below: int, now: float) -> int | None:
    """Return the rank, from ``below`` downwards, whose head is longest past its fair due time.

    Of two that are equally late, the higher class.
    """
    found, earliest = None, now
    for rank in range(below, len(heads)):
        head = heads[rank]
        if head is not None and head[0] < earliest:
            found, earliest = rank, head[0]
    return found


def decide(heads: Heads, credit: float, phi: float, now: float) -> Decision | None:
    """Return the next case with what explains it; arguments as for :func:`choose`."""
    choice = choose(heads, credit, phi, now)
    if choice is None:
        return None
    key = _key_at(heads, choice.rank)
    passed = None
    if choice.rule is Rule.TOKEN:
        first = highest(heads)
        assert first is not None, "a token was spent on an empty pool"
        passed = (first, _key_at(heads, first))
    return Decision(choice.rule, choice.rank, key, now - key[0], credit, choice.credit, passed)


def next_up(
    queues: Sequence[Sequence[Key]], credit: float, phi: float, now: float, count: int = 10
) -> tuple[Decision, ...]:
    """Return the next cases as the pool would hand them out if nothing else came.

    Parameters
    ----------
    queues
        For each class rank its first ``count`` keys, or all if there are fewer, ascending.
    """
    taken = [0] * len(queues)
    decisions: list[Decision] = []
    while len(decisions) < count:
        heads = [
            queue[done] if done < len(queue) else None
            for queue, done in zip(queues, taken, strict=True)
        ]
        decision = decide(heads, credit, phi, now)
        if decision is None:
            break
        decisions.append(decision)
        taken[decision.rank] += 1
        credit = decision.credit_after
    return tuple(decisions)


def heads_of(waiting: Iterable[tuple[int, Key]], classes: int = CLASSES) -> list[Key | None]:
    """Return the first key of each class among cases given as (class rank, key), in any order."""
    heads: list[Key | None] = [None] * classes
    for rank, key in waiting:
        first = heads[rank]
        if first is None or key < first:
            heads[rank] = key
    return heads


def _key_at(heads: Heads, rank: int) -> Key:
    key = heads[rank]
    assert key is not None, "a class without a head was chosen"
    return key
