"""The list in SQL: pages by keyset, search, filters, counts.

The order is (class rank, fair due time, arrival, id): fixed when a case is placed, so it does not
move with the clock, a page begins exactly after the last row of the one before, and every list is a
scan of one index. ``docs/worklist.md`` has the figures.
"""

import base64
import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    Select,
    exists,
    func,
    select,
    tuple_,
    update,
)

from serving.database.locks import set_limits
from serving.database.tables import cases, conflicts, sites, studies
from serving.errors import BadRequest
from serving.search import has_controls, search_terms
from serving.worklist.states import AiState, UrgencyClass
from serving.worklist.urgency import UrgencyPolicy

PAGE_ROWS = 50
MOST_ROWS = 200
# What is typed beyond this is no name.
MOST_TYPED = 100
_CASE_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")

_ORDER = (cases.c.class_rank, cases.c.fair_due_at, cases.c.arrived_at, cases.c.id)


@dataclass(frozen=True, slots=True)
class Place:
    """A place on the list, between two rows: just after, or just before, this key."""

    class_rank: int
    fair_due_at: float
    arrived_at: float
    case_id: str

    def text(self) -> str:
        """Return the place as it stands in an address; it names no patient."""
        values = [self.class_rank, self.fair_due_at, self.arrived_at, self.case_id]
        return base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


def read_place(text: str) -> Place:
    """Read what :meth:`Place.text` wrote.

    Raises
    ------
    BadRequest
        ``bad-request``: it is no place.
    """
    try:
        values = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        rank, fair_due_at, arrived_at, case_id = values
        place = Place(int(rank), float(fair_due_at), float(arrived_at), str(case_id))
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise BadRequest("no such place on the worklist", advice="begin at its first page") from (
            error
        )
    times = (place.fair_due_at, place.arrived_at)
    if (
        not all(map(math.isfinite, times))
        or not -(2**31) < place.class_rank < 2**31
        or not _CASE_ID.fullmatch(place.case_id)
    ):
        raise BadRequest("no such place on the worklist", advice="begin at its first page")
    return place


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of the list.

    Attributes
    ----------
    viewer_site_id
        The only site that who asks may see; None: all.
    site_id, ai_state, urgency_class
        Filters; None: all.
    search
        As typed; part of a name, patient ID or accession number.
    after, before
        Where the page begins, or ends; at most one of them.
    """

    viewer_site_id: int | None = None
    site_id: int | None = None
    ai_state: AiState | None = None
    urgency_class: UrgencyClass | None = None
    search: str = ""
    after: Place | None = None
    before: Place | None = None
    rows: int = PAGE_ROWS

    @property
    def is_for_all(self) -> bool:
        """Whether it asks for everything that its viewer may see."""
        return self == Question(self.viewer_site_id, rows=self.rows)


def read_question(
    viewer_site_id: int | None,
    *,
    state: str = "",
    site: str = "",
    urgency_class: str = "",
    search: str = "",
    after: str = "",
    before: str = "",
    rows: int = PAGE_ROWS,
) -> Question:
    """Read what a page or a program asks; an empty text asks for all.

    Raises
    ------
    BadRequest
        ``bad-request``: no such state, class, hospital or place.
    """
    if after and before:
        raise BadRequest("a page begins after a place or ends before one, not both")
    if site and not (site.isascii() and site.isdigit() and len(site) < 10):
        raise BadRequest("a hospital is asked for by its number")
    if has_controls(search):
        raise BadRequest("what is searched holds control characters")
    return Question(
        viewer_site_id=viewer_site_id,
        site_id=int(site) if site else None,
        ai_state=_one_of(AiState, state),
        urgency_class=_one_of(UrgencyClass, urgency_class),
        search=search[:MOST_TYPED],
        after=read_place(after) if after else None,
        before=read_place(before) if before else None,
        rows=rows,
    )


_Name = TypeVar("_Name", bound=StrEnum)


def _one_of(names: type[_Name], asked: str) -> _Name | None:
    if not asked:
        return None
    if asked not in set(names):
        raise BadRequest("it must be one of " + ", ".join(names))
    return names(asked)


@dataclass(frozen=True, slots=True)
class Row:
    """One case on the list."""

    case_id: str
    version: int
    ai_state: AiState
    reading_state: str
    ordered_class: str
    urgency_class: UrgencyClass
    class_rank: int
    arrived_at: float
    due_at: float
    fair_due_at: float
    reasons: tuple[Mapping[str, Any], ...]
    summary: Mapping[str, Any]
    patient_name: str
    patient_id: str
    birth_date: str
    sex: str
    study_date: str
    description: str
    site_id: int
    site_code: str
    site_name: str
    # Images came under UIDs that others have: kept apart, for somebody to look into.
    has_conflicts: bool

    @property
    def place(self) -> Place:
        """Where it stands."""
        return Place(self.class_rank, self.fair_due_at, self.arrived_at, self.case_id)


@dataclass(frozen=True, slots=True)
class Page:
    """Rows in order, and whether the list goes on at either end."""

    rows: tuple[Row, ...]
    has_before: bool
    has_after: bool


def read_page(connection: Connection, question: Question, policy: UrgencyPolicy) -> Page:
    """Return one page of the list."""
    count = max(1, min(question.rows, MOST_ROWS))
    found = connection.execute(page_query(question, policy, count + 1)).all()
    rows = [_row(row._mapping) for row in found[:count]]
    goes_on = len(found) > count
    if question.before is not None:
        return Page(tuple(reversed(rows)), has_before=goes_on, has_after=True)
    return Page(tuple(rows), has_before=question.after is not None, has_after=goes_on)


def page_query(question: Question, policy: UrgencyPolicy, limit: int) -> Select[Any]:
    """Return the query of a page; ``tests.bench.worklist`` shows its plan."""
    ids = _ids(question, policy).limit(limit).subquery()
    order = [column.desc() for column in _ORDER] if question.before is not None else _ORDER
    return (
        select(
            cases.c.id.label("case_id"),
            *(cases.c[name] for name in _CASE_COLUMNS),
            *(studies.c[name] for name in _STUDY_COLUMNS),
            sites.c.code.label("site_code"),
            sites.c.name.label("site_name"),
            exists().where(conflicts.c.study_id == cases.c.study_id).label("has_conflicts"),
        )
        .join(ids, ids.c.id == cases.c.id)
        .join(studies, studies.c.id == cases.c.study_id)
        .join(sites, sites.c.id == cases.c.site_id)
        .order_by(*order)
    )


def _ids(question: Question, policy: UrgencyPolicy) -> Select[Any]:
    """Return the query of the cases of a page, without anything that an index does not hold."""
    order = tuple_(*_ORDER)
    query = select(cases.c.id).where(*_conditions(question, policy))
    if question.before is not None:
        query = query.where(order < tuple_(*_key(question.before)))
        return query.order_by(*(column.desc() for column in _ORDER))
    if question.after is not None:
        query = query.where(order > tuple_(*_key(question.after)))
    return query.order_by(*_ORDER)


_CASE_COLUMNS = (
    "version", "ai_state", "reading_state", "ordered_class", "urgency_class", "class_rank",
    "arrived_at", "due_at", "fair_due_at", "reasons", "summary", "site_id",
)  # fmt: skip
_STUDY_COLUMNS = (
    "patient_name", "patient_id", "birth_date", "sex", "study_date", "description",
)  # fmt: skip


def _conditions(question: Question, policy: UrgencyPolicy) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if question.viewer_site_id is not None:
        conditions.append(cases.c.site_id == question.viewer_site_id)
    if question.site_id is not None:
        conditions.append(cases.c.site_id == question.site_id)
    if question.ai_state is not None:
        conditions.append(cases.c.ai_state == question.ai_state.value)
    if question.urgency_class is not None:
        # By rank, which the index begins with.
        conditions.append(cases.c.class_rank == policy.rank(question.urgency_class))
    conditions.extend(
        cases.c.search.contains(word, autoescape=True) for word in search_terms(question.search)
    )
    return conditions


def _key(place: Place) -> tuple[int, float, float, str]:
    return place.class_rank, place.fair_due_at, place.arrived_at, place.case_id


def _row(values: RowMapping) -> Row:
    return Row(
        **{
            **values,
            "ai_state": AiState(values["ai_state"]),
            "urgency_class": UrgencyClass(values["urgency_class"]),
            "reasons": tuple(values["reasons"]),
        }
    )


@dataclass(frozen=True, slots=True)
class Counts:
    """How many cases there are in each state and in each class."""

    states: Mapping[AiState, int]
    classes: Mapping[UrgencyClass, int]

    @property
    def all(self) -> int:
        """How many there are."""
        return sum(self.states.values())


def count_cases(connection: Connection, question: Question, policy: UrgencyPolicy) -> Counts:
    """Count what a question finds if it asks for no state; one pass over an index."""
    query = count_query(question, policy)
    states: Counter[AiState] = Counter(dict.fromkeys(AiState, 0))
    classes: Counter[UrgencyClass] = Counter(dict.fromkeys(UrgencyClass, 0))
    for state, rank, count in connection.execute(query):
        states[AiState(state)] += count
        classes[policy.classes[rank].name] += count
    return Counts(states, classes)


def count_query(question: Question, policy: UrgencyPolicy) -> Select[Any]:
    """Return the query of the counts; ``tests.bench.worklist`` shows its plan."""
    return (
        select(cases.c.ai_state, cases.c.class_rank, func.count())
        .where(*_conditions(replace(question, ai_state=None), policy))
        .group_by(cases.c.ai_state, cases.c.class_rank)
    )


def known_sites(connection: Connection, viewer_site_id: int | None) -> tuple[tuple[int, str], ...]:
    """Return id and name of the sites that somebody may see, by name."""
    query = select(sites.c.id, sites.c.name).order_by(sites.c.name)
    if viewer_site_id is not None:
        query = query.where(sites.c.id == viewer_site_id)
    return tuple((row.id, row.name) for row in connection.execute(query))


def align_ranks(connection: Connection, policy: UrgencyPolicy) -> int:
    """Give every case the rank that its class has now; call it once when the service starts.

    The order of the classes may have been changed in the file since the cases were placed.

    Returns
    -------
    How many cases moved.
    """
    # Of a million cases it takes its time.
    set_limits(connection, statement_ms=0)
    moved = 0
    for urgency_class in UrgencyClass:
        rank = policy.rank(urgency_class)
        statement = (
            update(cases)
            .where(cases.c.urgency_class == urgency_class.value, cases.c.class_rank != rank)
            .values(class_rank=rank, version=cases.c.version + 1)
        )
        moved += connection.execute(statement).rowcount
    return moved
