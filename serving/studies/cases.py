"""A case as its page and the API show it: one reading transaction, no file.

What stands in ``findings.json`` is read by whoever shows it, from the store by the key in
:attr:`ResultDetail.files`; the resend list is made of it by :func:`serving.studies.resend`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Engine, RowMapping, func, select

from serving.archive.index import (
    ConflictRow,
    Filters,
    SeriesRow,
    conflicts_of,
    count_conflicts,
    find_series,
)
from serving.archive.store import Stored
from serving.database.engine import reading
from serving.database.tables import cases, instances, result_files, results, sites, studies
from serving.errors import NotFound
from serving.events.log import Event, Kind, history
from serving.worklist.states import AiState, OrderedClass, ReadingState, UrgencyClass

FINDINGS = "findings.json"
# A sender may send other bytes without end: the others are counted.
MOST_CONFLICTS = 100


@dataclass(frozen=True, slots=True)
class ResultDetail:
    """One result of a case: ``codes`` of its verdict, ``files`` as objects of the store by name."""

    id: int
    is_visible: bool
    package_name: str
    package_version: str
    package_sha256: str
    software_version: str
    input_sha256: str
    generation: int
    status: str
    codes: tuple[str, ...]
    timings_s: Mapping[str, float]
    created_at: float
    superseded_at: float | None
    files: Mapping[str, Stored]


@dataclass(frozen=True, slots=True)
class StudyDetail:
    """What the index knows of a case's study; ``image_count`` counts what a modality acquired."""

    study_uid: str
    generation: int
    received_at: float
    image_received_at: float
    patient_name: str
    patient_id: str
    birth_date: str
    sex: str
    study_date: str
    study_time: str
    accession_number: str
    description: str
    referring_physician: str
    image_count: int
    series: tuple[SeriesRow, ...]


@dataclass(frozen=True, slots=True)
class CaseDetail:
    """A case with its study, results (the newest first), history and the first conflicts."""

    case_id: str
    version: int
    site_id: int
    site_code: str
    site_name: str
    ai_state: AiState
    reading_state: ReadingState
    ordered_class: OrderedClass
    urgency_class: UrgencyClass
    arrived_at: float
    due_at: float
    reasons: tuple[Mapping[str, Any], ...]
    summary: Mapping[str, Any]
    study: StudyDetail
    results: tuple[ResultDetail, ...]
    history: tuple[Event, ...]
    conflicts: tuple[ConflictRow, ...]
    conflict_count: int

    @property
    def result(self) -> ResultDetail | None:
        """The visible result, if there is one."""
        return next((result for result in self.results if result.is_visible), None)

    @property
    def is_result_current(self) -> bool:
        """Whether the visible result is one of all images that are there."""
        return self.result is not None and self.result.generation == self.study.generation


def case_detail(engine: Engine, case_id: str, viewer_site: int | None) -> CaseDetail:
    """Return a case.

    Parameters
    ----------
    viewer_site
        The only site that who asks may see; None: all.

    Raises
    ------
    NotFound
        ``not-found``: there is none, or it is another site's.
    """
    with reading(engine) as connection:
        row = _row(connection, case_id, viewer_site)
        return CaseDetail(
            case_id=row["id"],
            version=row["version"],
            site_id=row["site_id"],
            site_code=row["site_code"],
            site_name=row["site_name"],
            ai_state=AiState(row["ai_state"]),
            reading_state=ReadingState(row["reading_state"]),
            ordered_class=OrderedClass(row["ordered_class"]),
            urgency_class=UrgencyClass(row["urgency_class"]),
            arrived_at=row["arrived_at"],
            due_at=row["due_at"],
            reasons=tuple(row["reasons"]),
            summary=row["summary"],
            study=_study(connection, row["study_id"]),
            results=_results(connection, case_id),
            history=_merged(history(connection, case_id)),
            conflicts=conflicts_of(connection, row["study_id"], MOST_CONFLICTS),
            conflict_count=count_conflicts(connection, row["study_id"]),
        )


def _row(connection: Connection, case_id: str, viewer_site: int | None) -> RowMapping:
    query = (
        select(cases, sites.c.code.label("site_code"), sites.c.name.label("site_name"))
        .join(sites, cases.c.site_id == sites.c.id)
        .where(cases.c.id == case_id)
    )
    row = connection.execute(query).mappings().one_or_none()
    if row is None or viewer_site not in (None, row["site_id"]):
        raise NotFound("no such case", advice="it may belong to another site")
    return row


def _study(connection: Connection, study_id: int) -> StudyDetail:
    images = select(func.count(instances.c.id)).where(
        instances.c.study_id == study_id, instances.c.is_source
    )
    names = (
        "study_uid generation received_at image_received_at patient_name patient_id birth_date "
        "sex study_date study_time accession_number description referring_physician"
    )
    # Not all columns: what decides character sets is large, and nothing to show.
    query = select(*(studies.c[name] for name in names.split())).where(studies.c.id == study_id)
    row = connection.execute(query).mappings().one()
    return StudyDetail(
        **row,
        image_count=connection.execute(images).scalar_one(),
        series=find_series(connection, None, Filters((row["study_uid"],))),
    )


def _results(connection: Connection, case_id: str) -> tuple[ResultDetail, ...]:
    rows = connection.execute(
        select(results).where(results.c.case_id == case_id).order_by(results.c.id.desc())
    ).mappings()
    found = {row["id"]: row for row in rows}
    files: dict[int, dict[str, Stored]] = {result_id: {} for result_id in found}
    query = select(result_files).where(result_files.c.result_id.in_(found))
    for file in connection.execute(query.order_by(result_files.c.name)):
        files[file.result_id][file.name] = Stored(file.sha256, file.size_bytes)
    return tuple(_result(row, files[row["id"]]) for row in found.values())


def _result(row: RowMapping, files: Mapping[str, Stored]) -> ResultDetail:
    return ResultDetail(
        id=row["id"],
        is_visible=row["is_visible"],
        package_name=row["package_name"],
        package_version=row["package_version"],
        package_sha256=row["package_sha256"],
        software_version=row["software_version"],
        input_sha256=row["input_sha256"],
        generation=row["generation"],
        status=row["status"],
        codes=tuple(row["codes"]),
        timings_s=row["timings_s"],
        created_at=row["created_at"],
        superseded_at=row["superseded_at"],
        files=files,
    )


def _merged(events: tuple[Event, ...]) -> tuple[Event, ...]:
    """Make one of arrivals that follow each other: a sender may send every slice by itself."""
    merged: list[Event] = []
    for event in events:
        last = merged[-1] if merged else None
        if last is not None and last.kind == event.kind == Kind.RECEIVED:
            count = last.details["instances"] + event.details["instances"]
            merged[-1] = replace(event, details={"instances": count})
        else:
            merged.append(event)
    return tuple(merged)
