"""Finding what is stored, for who asks: rows with those of the levels above them, and looks noted.

A search that finds nothing asks nothing more: an empty list of UIDs matches nothing, never all.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Engine

from serving.accounts.caller import Caller
from serving.accounts.views import note_view
from serving.archive.index import (
    Filters,
    InstanceRow,
    SeriesRow,
    StudyRow,
    find_instances,
    find_series,
    find_studies,
)
from serving.database.engine import reading
from serving.errors import NotFound

LOOKED_AT = "dicom"
"""What a look at the images of a case is called in the record of views."""


@dataclass(frozen=True, slots=True)
class Page:
    """Which of the rows that match: how many, and how many before them."""

    limit: int
    offset: int = 0


@dataclass(frozen=True, slots=True)
class FoundSeries:
    """A series and, where it is told, its study."""

    series: SeriesRow
    study: StudyRow | None


@dataclass(frozen=True, slots=True)
class FoundInstance:
    """An instance and, where they are told, its series and its study."""

    instance: InstanceRow
    series: SeriesRow | None
    study: StudyRow | None


def search_studies(
    engine: Engine, caller: Caller, filters: Filters, page: Page
) -> tuple[StudyRow, ...]:
    """Return matching studies."""
    with reading(engine) as connection:
        return find_studies(connection, caller.site_id, filters, page.limit, page.offset)


def search_series(
    engine: Engine, caller: Caller, filters: Filters, page: Page, *, with_study: bool
) -> tuple[FoundSeries, ...]:
    """Return matching series, each with its study if that is to be told."""
    with reading(engine) as connection:
        rows = find_series(connection, caller.site_id, filters, page.limit, page.offset)
        if not with_study:
            return tuple(FoundSeries(row, None) for row in rows)
        studies = _studies(connection, caller, rows)
    # What another statement no longer sees is no longer visible: it is not told.
    return tuple(
        FoundSeries(row, studies[row.study_uid]) for row in rows if row.study_uid in studies
    )


def search_instances(
    engine: Engine,
    caller: Caller,
    filters: Filters,
    page: Page,
    *,
    with_series: bool,
    with_study: bool,
) -> tuple[FoundInstance, ...]:
    """Return matching instances, each with the levels above it that are to be told."""
    with reading(engine) as connection:
        rows = find_instances(connection, caller.site_id, filters, page.limit, page.offset)
        series = _series(connection, caller, rows) if with_series else {}
        studies = _studies(connection, caller, rows) if with_study else {}
    found = (
        FoundInstance(row, series.get((row.study_uid, row.series_uid)), studies.get(row.study_uid))
        for row in rows
    )
    return tuple(
        one
        for one in found
        if (one.series is not None or not with_series) and (one.study is not None or not with_study)
    )


def look_at_instances(
    engine: Engine, caller: Caller, filters: Filters, now: float
) -> tuple[InstanceRow, ...]:
    """Return the visible instances of a study or below it, and record that the caller looked.

    Raises
    ------
    NotFound
        ``not-found``: there is none for who asks.
    """
    with reading(engine) as connection:
        rows = find_instances(connection, caller.site_id, filters)
    if not rows:
        raise _not_there()
    # A study without images has no case.
    if (case_id := rows[0].case_id) is not None:
        note_view(engine, caller, case_id, LOOKED_AT, now)
    return rows


def ensure_visible(engine: Engine, caller: Caller, filters: Filters) -> None:
    """Raise ``not-found`` where there is nothing for who asks."""
    with reading(engine) as connection:
        if not find_instances(connection, caller.site_id, filters, limit=1):
            raise _not_there()


def _not_there() -> NotFound:
    return NotFound("there is no such study, series or instance")


def _studies(
    connection: Connection, caller: Caller, rows: Sequence[SeriesRow] | Sequence[InstanceRow]
) -> dict[str, StudyRow]:
    uids = sorted({row.study_uid for row in rows})
    found = find_studies(connection, caller.site_id, Filters(uids)) if uids else ()
    return {row.study_uid: row for row in found}


def _series(
    connection: Connection, caller: Caller, rows: Sequence[InstanceRow]
) -> dict[tuple[str, str], SeriesRow]:
    filters = Filters(
        sorted({row.study_uid for row in rows}), sorted({row.series_uid for row in rows})
    )
    found = find_series(connection, caller.site_id, filters) if rows else ()
    return {(row.study_uid, row.series_uid): row for row in found}
