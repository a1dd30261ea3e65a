"""The rows of cases, as the life of a study changes them.

Every change raises the case's version and is recorded as an event in the same transaction.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping, insert, select, update

from serving.database.tables import cases, sites
from serving.events.log import Kind, record
from serving.worklist.charging import charge_case
from serving.worklist.keys import key_of
from serving.worklist.placing import CaseFacts, Urgency, judge_urgency
from serving.worklist.pools import key_id, pool_by_id, sender_of
from serving.worklist.states import AiState, OrderedClass, ReadingState, before
from serving.worklist.urgency import UrgencyPolicy

_ON_ARRIVAL = "on_arrival"


@dataclass(frozen=True, slots=True)
class Case:
    """A case in the middle of a change."""

    id: str
    site_id: int
    version: int
    ai_state: AiState


def case_of_study(connection: Connection, study_id: int) -> RowMapping | None:
    """Return the row of a study's case; a study without images has none."""
    query = select(cases).where(cases.c.study_id == study_id)
    return connection.execute(query).mappings().one_or_none()


def open_case(
    connection: Connection, policy: UrgencyPolicy, study: RowMapping, series: RowMapping, now: float
) -> tuple[Case, Urgency]:
    """Make a study's case: receiving, in the place that its site's orders and its age give it.

    It is charged to its hospital's allowance in the same transaction, which holds the site
    (:func:`serving.worklist.charging.hold_site`).

    Parameters
    ----------
    series
        Of its first image: says who can read it.
    """
    columns = (sites.c.ordered_class, sites.c.application)
    site = connection.execute(select(*columns).where(sites.c.id == study["site_id"])).one()
    sender = sender_of(connection, study["site_id"], now)
    ordered = OrderedClass(site.ordered_class)
    facts = CaseFacts(ordered, now, study["study_date"], tier=sender.tier, pool=sender.pool.code)
    urgency = judge_urgency(policy, facts)
    excess_min = charge_case(connection, policy, sender, now)
    key = key_of(series["modality"], series["body_part"], study["birth_date"], study["study_date"])
    is_applied = site.application == _ON_ARRIVAL
    # Random, so that an address tells nothing about order or number of cases.
    case_id = secrets.token_hex(16)
    connection.execute(
        insert(cases).values(
            id=case_id,
            study_id=study["id"],
            site_id=study["site_id"],
            pool_id=sender.pool.id,
            key_id=key_id(connection, key),
            ai_state=AiState.RECEIVING.value,
            reading_state=(ReadingState.ROUTED if is_applied else ReadingState.UNAPPLIED).value,
            ordered_class=ordered.value,
            arrived_at=now,
            excess_min=excess_min,
            summary={},
            version=1,
            search=study["search"],
            **place_columns(urgency, excess_min),
        )
    )
    return Case(case_id, study["site_id"], 1, AiState.RECEIVING), urgency


def facts_of(connection: Connection, case: RowMapping, study: RowMapping) -> CaseFacts:
    """Return what the tables know of a case's urgency before it was scored."""
    tier = select(sites.c.tier).where(sites.c.id == case["site_id"])
    return CaseFacts(
        OrderedClass(case["ordered_class"]),
        case["arrived_at"],
        study["study_date"],
        tier=connection.execute(tier).scalar_one(),
        pool=pool_by_id(connection, case["pool_id"]).code,
    )


def place_columns(urgency: Urgency, excess_min: float) -> dict[str, Any]:
    """Return the columns that say where a case stands, and why.

    Parameters
    ----------
    excess_min
        As it was when the case arrived: it stays whatever becomes of the class.
    """
    return {
        "urgency_class": urgency.urgency_class.value,
        "class_rank": urgency.class_rank,
        "due_at": urgency.due_at,
        "fair_due_at": urgency.due_at + excess_min * 60,
        "reasons": [dict(reason) for reason in urgency.reasons],
    }


def change_case(connection: Connection, study_id: int, values: Mapping[str, Any]) -> Case:
    """Change a study's case and raise its version.

    One row must change: a state that may not follow the one that is there is a bug, and undoes the
    transaction.
    """
    statement = update(cases).where(cases.c.study_id == study_id)
    if "ai_state" in values:
        statement = statement.where(cases.c.ai_state.in_(before(AiState(values["ai_state"]))))
    statement = statement.values(version=cases.c.version + 1, **values).returning(
        cases.c.id, cases.c.site_id, cases.c.version, cases.c.ai_state
    )
    case_id, site_id, version, ai_state = connection.execute(statement).one()
    return Case(case_id, site_id, version, AiState(ai_state))


def tell(
    connection: Connection, case: Case, kind: Kind, details: Mapping[str, Any], at: float
) -> None:
    """Record what happened to a case."""
    record(connection, case.id, case.site_id, case.version, kind, details=details, at=at)
