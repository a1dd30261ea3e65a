"""Claims: who reads which case, decided one after the other in each pool.

::

    routed ── next_case, claim_case ──> claimed ── release ──────────────> routed
                                         │  ^      lease over, holder gone
                                         └──┘ heartbeat

=========== ========================================================================================
a claim     one transaction: the pool's row is locked; the heads of the reader's keys are read;
            ``order.decide`` says which; the case changes hands if its state and fence are still
            what they were; the pool gets its credit and the next version, ``decisions`` a row
a lease     ends when nothing was heard of the holder for ``lease_s``: the case waits again, in its
            old place; until then no arrival, no class and no other reader takes it from him
the fence   is raised by every claim and by its end: who holds an older one changes nothing
=========== ========================================================================================

Whoever asks for a case takes back first what is over, and so does each worker's upkeep. A clock
that was set back ends no lease before its time, and a lease that lies too far ahead is over.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    RowMapping,
    and_,
    insert,
    or_,
    select,
    update,
)

from serving.database.engine import reading, writing
from serving.database.tables import cases, decisions, pools, users
from serving.errors import Conflict, NotAllowed, NotFound
from serving.events.log import Kind, record
from serving.worklist.heads import Waiting, first_waiting
from serving.worklist.order import Decision, decide
from serving.worklist.order import next_up as next_of
from serving.worklist.pools import Pool, decided, find_pool, keys_of, pool_by_id
from serving.worklist.states import ReadingState
from serving.worklist.urgency import UrgencyPolicy

# In one transaction; what is left is taken back by the next who looks.
_AT_A_TIME = 200
NEXT_UP = 10


class How(StrEnum):
    """By what a case came to its reader: a rule of the order, or his own choice."""

    STAT = "stat"
    TOKEN = "token"  # noqa: S105 - the pool's token, no secret
    CLASS = "class"
    CHOSEN = "chosen"


@dataclass(frozen=True, slots=True)
class Reader:
    """Who asks; ``site_id``: the only site that he may see, None: all."""

    user_id: int
    site_id: int | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """A case in somebody's hands.

    Attributes
    ----------
    fence
        Whatever the holder writes must bring it.
    rule, overdue_s, credit_before, credit_after, passed_case_id
        Why it was this case: how long after its fair due time it was claimed (negative: in time),
        the pool's credit, and whom the token went before.
    rules
        Version of ``urgency.yaml``.
    """

    case_id: str
    version: int
    fence: int
    holder: str
    claimed_at: float
    lease_until: float
    pool: str
    rule: How
    class_rank: int
    fair_due_at: float
    overdue_s: float
    credit_before: float
    credit_after: float
    passed_case_id: str | None
    rules: str


@dataclass(frozen=True, slots=True)
class Upcoming:
    """A case as it would be handed out if nothing else came, and why."""

    case_id: str
    class_rank: int
    fair_due_at: float
    rule: How
    overdue_s: float
    credit_before: float
    credit_after: float
    passed_case_id: str | None


class CaseHeld(Conflict):
    """Somebody holds the case."""

    code = "case-held"


class CaseChanged(Conflict):
    """The case has another version than who asks knew."""

    code = "case-changed"


class CaseNotWaiting(Conflict):
    """The case cannot be claimed: nobody has applied for it."""

    code = "case-not-waiting"


class FenceStale(Conflict):
    """The claim is over: released, its lease ended, or it never was the caller's."""

    code = "fence-stale"


class RequestKeyReused(Conflict):
    """The Idempotency-Key was another request's, or its claim is over."""

    code = "idempotency-key-reused"


class NotQualified(NotAllowed):
    """The reader reads nothing here, or not this."""

    code = "not-qualified"


def next_case(
    engine: Engine,
    policy: UrgencyPolicy,
    pool_code: str,
    reader: Reader,
    *,
    now: float,
    lease_s: float,
    request_key: str | None = None,
) -> Claim | None:
    """Claim the case that is next in a pool for a reader; None: nothing waits that he reads.

    Parameters
    ----------
    request_key
        The same one again gets the same claim.

    Raises
    ------
    NotFound
        ``pool-unknown``
    NotAllowed
        ``not-qualified``: he reads nothing in this pool; ``not-allowed``: his account is closed.
    Conflict
        ``idempotency-key-reused``
    """
    sweep(engine, now, lease_s)
    with writing(engine) as connection:
        pool = find_pool(connection, pool_code, locked=True)
        keys = _keys(connection, reader, pool)
        before = _of_request(connection, reader, request_key)
        if before is not None:
            return _again(before, is_same=before.pool == pool.code and before.rule != How.CHOSEN)
        heads = first_waiting(connection, pool.id, keys, site_id=reader.site_id)
        decision = decide(
            [head[0].key if head else None for head in heads], pool.credit, policy.token.share, now
        )
        if decision is None:
            return None
        taken = heads[decision.rank][0]
        _hand_over(connection, taken, reader, decision.rule, now=now, lease_s=lease_s)
        row = {
            "rule": decision.rule.value,
            "credit_after": decision.credit_after,
            "passed_case_id": decision.passed[1][2] if decision.passed else None,
            "request_key": request_key,
            "rules": policy.version,
            "at": now,
        }
        _note(connection, pool, taken, reader, row)
        return _claim(connection, taken.case_id)


def claim_case(
    engine: Engine,
    policy: UrgencyPolicy,
    case_id: str,
    version: int,
    reader: Reader,
    *,
    now: float,
    lease_s: float,
    request_key: str | None = None,
) -> Claim:
    """Claim a case that the reader has chosen himself; one that he holds stays his.

    Parameters
    ----------
    version
        Of the case, as he knows it.

    Raises
    ------
    NotFound
        ``not-found``: no such case, or another site's.
    NotAllowed
        ``not-qualified``, ``not-allowed``
    Conflict
        ``case-held``, ``case-changed``, ``case-not-waiting``, ``idempotency-key-reused``
    """
    sweep(engine, now, lease_s)
    with writing(engine) as connection:
        pool_id = _case(connection, case_id, reader)["pool_id"]
        pool = pool_by_id(connection, pool_id, locked=True)
        keys = _keys(connection, reader, pool)
        before = _of_request(connection, reader, request_key)
        if before is not None:
            return _again(before, is_same=before.case_id == case_id and before.rule == How.CHOSEN)
        # Again, now that nobody else decides here.
        case = _case(connection, case_id, reader)
        if case["holder_id"] == reader.user_id:
            return _claim(connection, case_id)
        if case["holder_id"] is not None:
            raise CaseHeld(
                f"{case['holder']} reads this case",
                advice="take another one, or wait until it is given back",
                current=_state(case),
            )
        if case["reading_state"] != ReadingState.ROUTED:
            raise CaseNotWaiting(
                "nobody has applied for this case", advice="apply for it", current=_state(case)
            )
        if case["key_id"] not in keys:
            raise NotQualified("you do not read this kind of case", advice="ask an administrator")
        if case["version"] != version:
            raise CaseChanged(
                "the case has changed since you saw it",
                advice="look at it again and claim it with its version",
                current=_state(case),
            )
        taken = Waiting(case_id, *(case[name] for name in _WAITING))
        _hand_over(connection, taken, reader, How.CHOSEN, now=now, lease_s=lease_s)
        row = {
            "rule": How.CHOSEN.value,
            "credit_after": pool.credit,
            "passed_case_id": None,
            "request_key": request_key,
            "rules": policy.version,
            "at": now,
        }
        _note(connection, pool, taken, reader, row)
        return _claim(connection, case_id)


def heartbeat(
    engine: Engine, case_id: str, fence: int, reader: Reader, *, now: float, lease_s: float
) -> Claim:
    """Let a claim last for another lease from now.

    Raises
    ------
    NotFound
        ``not-found``
    Conflict
        ``fence-stale``: it is over, even if nobody has taken the case yet.
    """
    with writing(engine) as connection:
        statement = (
            update(cases)
            .where(*_held(case_id, fence, reader), cases.c.lease_until > now)
            .values(lease_until=now + lease_s)
        )
        if connection.execute(statement).rowcount == 0:
            raise _stale(connection, case_id, reader)
        return _claim(connection, case_id)


def release(engine: Engine, case_id: str, fence: int, reader: Reader, *, now: float) -> None:
    """Give a case back; it waits again in its old place. Again: nothing happens.

    Raises
    ------
    NotFound
        ``not-found``
    Conflict
        ``fence-stale``: somebody has taken the case since, or it never was the caller's.
    """
    with writing(engine) as connection:
        if not _give_back(connection, _held(case_id, fence, reader), Kind.RELEASED, now):
            case = _case(connection, case_id, reader)
            if case["holder_id"] is not None or case["fence"] != fence + 1:
                raise _stale(connection, case_id, reader)


def sweep(engine: Engine, now: float, lease_s: float) -> int:
    """Take back the cases whose lease is over, or whose holder's account is closed.

    Returns
    -------
    How many.
    """
    over = (
        select(cases.c.id, cases.c.fence)
        .join(users, users.c.id == cases.c.holder_id)
        .where(_is_over(now, lease_s))
        .order_by(cases.c.id)
        .limit(_AT_A_TIME)
    )
    with reading(engine) as connection:
        if connection.execute(over).first() is None:
            return 0
    with writing(engine) as connection:
        # Who waits for none of them is in nobody's way.
        rows = connection.execute(over.with_for_update(skip_locked=True, of=cases)).all()
        return sum(
            _give_back(
                connection,
                (cases.c.id == row.id, cases.c.fence == row.fence),
                Kind.LEASE_ENDED,
                now,
            )
            for row in rows
        )


def next_up(
    connection: Connection,
    policy: UrgencyPolicy,
    pool_code: str,
    reader: Reader,
    *,
    now: float,
    count: int = NEXT_UP,
) -> tuple[Upcoming, ...]:
    """Return the next cases as the pool would hand them out to this reader if nothing else came.

    Raises
    ------
    NotFound
        ``pool-unknown``
    NotAllowed
        ``not-qualified``, ``not-allowed``
    """
    pool = find_pool(connection, pool_code)
    keys = _keys(connection, reader, pool)
    waiting = first_waiting(connection, pool.id, keys, site_id=reader.site_id, count=count)
    queues = [[one.key for one in queue] for queue in waiting]
    coming = next_of(queues, pool.credit, policy.token.share, now, count)
    return tuple(_upcoming(decision) for decision in coming)


def claims_of(connection: Connection, user_id: int) -> tuple[Claim, ...]:
    """Return what a reader holds, the oldest claim first."""
    query = _CLAIMS.where(cases.c.holder_id == user_id).order_by(cases.c.claimed_at, cases.c.id)
    return tuple(_as_claim(row) for row in connection.execute(query).mappings())


def _upcoming(decision: Decision) -> Upcoming:
    fair_due_at, _, case_id = decision.key
    return Upcoming(
        case_id=str(case_id),
        class_rank=decision.rank,
        fair_due_at=fair_due_at,
        rule=How(decision.rule.value),
        overdue_s=decision.overdue_by,
        credit_before=decision.credit_before,
        credit_after=decision.credit_after,
        passed_case_id=str(decision.passed[1][2]) if decision.passed else None,
    )


def _keys(connection: Connection, reader: Reader, pool: Pool) -> tuple[int, ...]:
    """Return what a reader reads in a pool; refuse who reads nothing, or no more."""
    is_active = select(users.c.is_active).where(users.c.id == reader.user_id)
    if not connection.execute(is_active).scalar_one_or_none():
        raise NotAllowed("this account is closed", advice="ask an administrator")
    keys = keys_of(connection, reader.user_id, pool)
    if not keys and not pool.is_open:
        raise NotQualified(
            "you read nothing in this pool", advice="ask an administrator for qualification keys"
        )
    return keys


def _hand_over(
    connection: Connection, taken: Waiting, reader: Reader, rule: str, *, now: float, lease_s: float
) -> None:
    statement = (
        update(cases)
        .where(
            cases.c.id == taken.case_id,
            cases.c.reading_state == ReadingState.ROUTED.value,
            cases.c.fence == taken.fence,
        )
        .values(
            reading_state=ReadingState.CLAIMED.value,
            holder_id=reader.user_id,
            claimed_at=now,
            lease_until=now + lease_s,
            fence=cases.c.fence + 1,
            version=cases.c.version + 1,
        )
        .returning(cases.c.version)
    )
    version = connection.execute(statement).scalar_one_or_none()
    assert version is not None, "a case changed hands in a pool that was locked"
    details = {"user": _name(connection, reader.user_id), "rule": str(rule)}
    record(connection, taken.case_id, taken.site_id, version, Kind.CLAIMED, details=details, at=now)


def _note(
    connection: Connection,
    pool: Pool,
    taken: Waiting,
    reader: Reader,
    row: Mapping[str, Any],
) -> None:
    """Write the decision, and what it costs the pool."""
    values = {
        "pool_id": pool.id,
        "pool_version": decided(connection, pool, row["credit_after"]),
        "case_id": taken.case_id,
        "fence": taken.fence + 1,
        "user_id": reader.user_id,
        "class_rank": taken.class_rank,
        "key_id": taken.key_id,
        "fair_due_at": taken.fair_due_at,
        "credit_before": pool.credit,
        **row,
    }
    connection.execute(insert(decisions).values(values))


def _give_back(
    connection: Connection, which: tuple[ColumnElement[bool], ...], kind: Kind, now: float
) -> bool:
    query = select(cases.c.id, cases.c.holder_id).where(*which).with_for_update()
    held = connection.execute(query).one_or_none()
    if held is None:
        return False
    statement = (
        update(cases)
        .where(*which, cases.c.reading_state == ReadingState.CLAIMED.value)
        .values(
            reading_state=ReadingState.ROUTED.value,
            holder_id=None,
            claimed_at=None,
            lease_until=None,
            fence=cases.c.fence + 1,
            version=cases.c.version + 1,
        )
        .returning(cases.c.site_id, cases.c.version)
    )
    site_id, version = connection.execute(statement).one()
    details = {"user": _name(connection, held.holder_id)}
    record(connection, held.id, site_id, version, kind, details=details, at=now)
    return True


def _held(case_id: str, fence: int, reader: Reader) -> tuple[ColumnElement[bool], ...]:
    return (
        cases.c.id == case_id,
        cases.c.holder_id == reader.user_id,
        cases.c.fence == fence,
    )


def _is_over(now: float, lease_s: float) -> ColumnElement[bool]:
    ends = cases.c.lease_until
    return and_(
        cases.c.reading_state == ReadingState.CLAIMED.value,
        or_(ends <= now, ends > now + 2 * lease_s, users.c.is_active.is_(False)),
    )


_WAITING = ("site_id", "key_id", "class_rank", "fair_due_at", "arrived_at", "fence")
_STATE = ("version", "reading_state", "fence", "holder", "lease_until")


def _case(connection: Connection, case_id: str, reader: Reader) -> RowMapping:
    query = (
        select(cases, users.c.name.label("holder"))
        .join(users, users.c.id == cases.c.holder_id, isouter=True)
        .where(cases.c.id == case_id)
    )
    row = connection.execute(query).mappings().one_or_none()
    if row is None or reader.site_id not in (None, row["site_id"]):
        raise NotFound("no such case", advice="it may belong to another site")
    return row


def _state(case: RowMapping) -> dict[str, Any]:
    return {"case_id": case["id"], **{name: case[name] for name in _STATE}}


def _stale(connection: Connection, case_id: str, reader: Reader) -> FenceStale:
    case = _case(connection, case_id, reader)
    return FenceStale("this claim is over", advice="claim the case again", current=_state(case))


def _name(connection: Connection, user_id: int) -> str:
    return str(connection.execute(select(users.c.name).filter_by(id=user_id)).scalar_one())


_DECISION = (
    "fence", "rule", "class_rank", "fair_due_at", "credit_before", "credit_after",
    "passed_case_id", "rules",
)  # fmt: skip
# Claims that live: the decision of a case's present fence.
_CLAIMS = (
    select(
        cases.c.id.label("case_id"),
        cases.c.version,
        users.c.name.label("holder"),
        cases.c.claimed_at,
        cases.c.lease_until,
        pools.c.code.label("pool"),
        *(decisions.c[name] for name in _DECISION),
    )
    .join(users, users.c.id == cases.c.holder_id)
    .join(decisions, and_(decisions.c.case_id == cases.c.id, decisions.c.fence == cases.c.fence))
    .join(pools, pools.c.id == decisions.c.pool_id)
    .where(cases.c.reading_state == ReadingState.CLAIMED.value)
)


def _claim(connection: Connection, case_id: str) -> Claim:
    query = _CLAIMS.where(cases.c.id == case_id)
    return _as_claim(connection.execute(query).mappings().one())


def _as_claim(row: RowMapping) -> Claim:
    overdue_s = row["claimed_at"] - row["fair_due_at"]
    return Claim(**{**row, "rule": How(row["rule"]), "overdue_s": overdue_s})


def _of_request(connection: Connection, reader: Reader, request_key: str | None) -> Claim | None:
    """Return the claim that a request has got before; None: it is new."""
    if request_key is None:
        return None
    of_request = select(decisions.c.case_id, decisions.c.fence).where(
        decisions.c.user_id == reader.user_id, decisions.c.request_key == request_key
    )
    known = connection.execute(of_request).one_or_none()
    if known is None:
        return None
    query = _CLAIMS.where(cases.c.id == known.case_id, cases.c.fence == known.fence)
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        raise RequestKeyReused(
            "this Idempotency-Key was used, and its claim is over",
            advice="send a new request with a new key",
            current=_state(_case(connection, known.case_id, reader)),
        )
    return _as_claim(row)


def _again(before: Claim, *, is_same: bool) -> Claim:
    if not is_same:
        raise RequestKeyReused(
            "this Idempotency-Key was used for another request",
            advice="send a new request with a new key",
            current={"case_id": before.case_id, "version": before.version},
        )
    return before
