"""Writing the index: studies, series, instances, and what came twice with other bytes.

All functions work in the caller's transaction, which has begun as a writing one.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping, func, insert, select, update

from serving.database.locks import Lock, share
from serving.database.tables import cases, conflicts, instances, series, studies

# Bound parameters of one statement; SQLite and PostgreSQL take at least 32,000.
_AT_A_TIME = 500

Columns = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Filed:
    """An instance that is in the index."""

    study_id: int
    study_uid: str
    site_id: int
    sha256: str


def filed(connection: Connection, sop_instance_uids: Iterable[str]) -> dict[str, Filed]:
    """Return those of the instances that are in the index, of whatever site."""
    found = {}
    for uids in _in_parts(sorted(set(sop_instance_uids))):
        query = (
            select(
                instances.c.sop_instance_uid,
                instances.c.study_id,
                studies.c.study_uid,
                studies.c.site_id,
                instances.c.sha256,
            )
            .join(studies, instances.c.study_id == studies.c.id)
            .where(instances.c.sop_instance_uid.in_(uids))
        )
        for uid, *values in connection.execute(query):
            found[uid] = Filed(*values)
    return found


def lock_studies(connection: Connection, study_uids: Iterable[str]) -> dict[str, RowMapping]:
    """Return UID -> row of the studies that are there, locked where the database locks rows.

    In the order of their UIDs, so that two transactions never wait for each other's.
    """
    found = {}
    for uids in _in_parts(sorted(study_uids)):
        query = (
            select(studies)
            .where(studies.c.study_uid.in_(uids))
            .order_by(studies.c.study_uid)
            .with_for_update()
        )
        for row in connection.execute(query).mappings():
            found[row["study_uid"]] = row
    return found


def study_by_id(connection: Connection, study_id: int) -> RowMapping:
    """Return a study's row, locked until the transaction ends where the database locks rows."""
    query = select(studies).where(studies.c.id == study_id).with_for_update()
    return connection.execute(query).mappings().one()


def has_caseless(connection: Connection, study_uids: Iterable[str]) -> bool:
    """Return whether any of the studies has no case, or is not there at all."""
    uids = sorted(set(study_uids))
    known = 0
    for part in _in_parts(uids):
        query = select(func.count()).select_from(cases).join(studies)
        query = query.where(studies.c.study_uid.in_(part))
        known += connection.execute(query).scalar_one()
    return known < len(uids)


def add_study(connection: Connection, values: Columns) -> int:
    """Add a study and return its id."""
    statement = insert(studies).values(**values).returning(studies.c.id)
    return int(connection.execute(statement).scalar_one())


def change_study(connection: Connection, study_id: int, values: Columns) -> None:
    """Change columns of a study."""
    connection.execute(update(studies).where(studies.c.id == study_id).values(**values))


def add_image_arrival(connection: Connection, study_id: int, now: float) -> int:
    """Note that images came: a new generation of the study, which is returned."""
    statement = (
        update(studies)
        .where(studies.c.id == study_id)
        .values(generation=studies.c.generation + 1, image_received_at=now)
        .returning(studies.c.generation)
    )
    return int(connection.execute(statement).scalar_one())


def series_ids(connection: Connection, study_id: int) -> dict[str, int]:
    """Return UID -> id of a study's series."""
    query = select(series.c.series_uid, series.c.id).where(series.c.study_id == study_id)
    return dict(connection.execute(query).all())


def series_rows(connection: Connection, study_id: int) -> Sequence[RowMapping]:
    """Return the rows of a study's series."""
    query = select(series).where(series.c.study_id == study_id).order_by(series.c.id)
    return connection.execute(query).mappings().all()


def add_series(connection: Connection, values: Columns) -> int:
    """Add a series and return its id."""
    statement = insert(series).values(**values).returning(series.c.id)
    return int(connection.execute(statement).scalar_one())


def change_series(connection: Connection, series_id: int, values: Columns) -> None:
    """Change columns of a series."""
    connection.execute(update(series).where(series.c.id == series_id).values(**values))


def add_instances(connection: Connection, rows: Sequence[Columns]) -> None:
    """Add instances, all with the same columns."""
    if rows:
        share(connection, Lock.COUNTED)
        connection.execute(insert(instances), [dict(row) for row in rows])


def show_with_result(connection: Connection, sop_instance_uid: str, result_id: int) -> None:
    """Let an instance that is filed already be shown with a result of ours."""
    statement = (
        update(instances)
        .where(instances.c.sop_instance_uid == sop_instance_uid)
        .values(result_id=result_id)
    )
    connection.execute(statement)


def add_conflict(connection: Connection, values: Columns) -> bool:
    """Note bytes that came under the UID of an instance with other bytes; False: known before."""
    known = select(conflicts.c.id).where(
        conflicts.c.sop_instance_uid == values["sop_instance_uid"],
        conflicts.c.sha256 == values["sha256"],
    )
    if connection.execute(known).first() is not None:
        return False
    connection.execute(insert(conflicts).values(**values))
    return True


def source_objects(connection: Connection, study_id: int) -> tuple[str, ...]:
    """Return the SHA-256 of a study's images, sorted: what an analysis is a function of."""
    query = select(instances.c.sha256).where(
        instances.c.study_id == study_id, instances.c.is_source
    )
    return tuple(sorted(connection.execute(query).scalars()))


def _in_parts(uids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(uids), _AT_A_TIME):
        yield uids[start : start + _AT_A_TIME]
