"""The index: what is stored, found by UID or by value. Reading only; ``filing`` writes.

Everything here takes the site of who asks (None: all sites), and shows our own results only while
they are the visible ones. Sources: PS3.18 10.6 (QIDO-RS), PS3.4 C.2.2.2 (matching).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, func, or_, select, true

from serving.database.tables import cases, conflicts, instances, results, series, studies

# Between two declared character sets; also DICOM's own sign between values.
CHARSETS_BREAK = "\\"


@dataclass(frozen=True, slots=True)
class Filters:
    """What to match; what is left empty matches everything, but an empty list of UIDs nothing.

    Attributes
    ----------
    patient_name, patient_id, accession_number, referring_physician, study_number
        ``*`` and ``?`` stand for any characters and for one. A name is compared without case, with
        the whole name and with each of its groups.
    study_date
        First and last day, ``YYYYMMDD``, each may be empty.
    study_time
        First and last time, ``HHMMSS`` or less of it, each may be empty.
    modality
        Of a series.
    modality_in_study
        Of one series of the study, whichever series or instance is looked for.
    """

    study_uids: Sequence[str] | None = None
    series_uids: Sequence[str] | None = None
    sop_instance_uids: Sequence[str] | None = None
    sop_class_uids: Sequence[str] | None = None
    patient_name: str = ""
    patient_id: str = ""
    accession_number: str = ""
    referring_physician: str = ""
    study_number: str = ""
    study_date: tuple[str, str] = ("", "")
    study_time: tuple[str, str] = ("", "")
    modality: str = ""
    modality_in_study: str = ""
    series_number: int | None = None
    instance_number: int | None = None


ALL = Filters()


@dataclass(frozen=True, slots=True)
class StudyRow:
    """A study and what is visible of it."""

    id: int
    study_uid: str
    site_id: int
    received_at: float
    patient_name: str
    patient_id: str
    birth_date: str
    sex: str
    study_date: str
    study_time: str
    accession_number: str
    description: str
    referring_physician: str
    study_number: str
    codecs: Mapping[str, str]
    modalities: tuple[str, ...]
    series_count: int
    instance_count: int


@dataclass(frozen=True, slots=True)
class SeriesRow:
    """A series and what is visible of it."""

    id: int
    study_uid: str
    series_uid: str
    modality: str
    number: int | None
    description: str
    body_part: str
    instance_count: int


@dataclass(frozen=True, slots=True)
class InstanceRow:
    """An instance: its UIDs, its shape, and its object in the store.

    ``codecs`` are its study's: see :func:`codec_of`; ``case_id`` is None for one without images.
    """

    study_uid: str
    series_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    number: int | None
    rows: int | None
    columns: int | None
    frames: int
    sha256: str
    size_bytes: int
    is_source: bool
    received_at: float
    codecs: Mapping[str, str]
    case_id: str | None


@dataclass(frozen=True, slots=True)
class ConflictRow:
    """An instance that came again with other bytes, which are kept apart."""

    sop_instance_uid: str
    sha256: str
    size_bytes: int
    received_at: float


def codec_of(codecs: Mapping[str, str], declared: Sequence[str]) -> str:
    """Return the codec for ``charsets.decode`` of an instance that declares these sets."""
    return codecs.get(CHARSETS_BREAK.join(declared), "")


def find_studies(
    connection: Connection,
    site_id: int | None,
    filters: Filters = ALL,
    limit: int | None = None,
    offset: int = 0,
) -> tuple[StudyRow, ...]:
    """Return matching studies that hold something visible, the newest study date first."""
    inner = _visible_instances().where(instances.c.study_id == studies.c.id)
    # Not all columns: what decides character sets is large, and nothing to show.
    shown = (c for c in studies.c if c.name not in ("charset_votes", "texts_as_sent"))
    query = (
        select(*shown)
        .where(_of_site(site_id), _study_matches(filters), inner.exists())
        .order_by(studies.c.study_date.desc(), studies.c.study_uid)
        .limit(limit)
        .offset(offset)
    )
    if filters.series_uids is not None:
        of_study = series.c.study_id == studies.c.id
        query = query.where(select(series.c.id).where(of_study, _series_matches(filters)).exists())
    rows = connection.execute(query).all()
    counts = _counts_of_studies(connection, [row.id for row in rows])
    return tuple(_study_row(row, *counts[row.id]) for row in rows)


def has_studies_of_others(connection: Connection, site_id: int) -> bool:
    """Return whether another site has sent a study."""
    query = select(studies.c.id).where(studies.c.site_id != site_id).limit(1)
    return connection.execute(query).one_or_none() is not None


def find_series(
    connection: Connection,
    site_id: int | None,
    filters: Filters = ALL,
    limit: int | None = None,
    offset: int = 0,
) -> tuple[SeriesRow, ...]:
    """Return matching series that hold something visible, by study and number."""
    count = (
        select(func.count(instances.c.id))
        .select_from(instances.outerjoin(results, instances.c.result_id == results.c.id))
        .where(instances.c.series_id == series.c.id, _is_visible())
        .correlate(series)
        .scalar_subquery()
    )
    query = (
        select(
            series.c.id,
            studies.c.study_uid,
            series.c.series_uid,
            series.c.modality,
            series.c.number,
            series.c.description,
            series.c.body_part,
            count.label("instance_count"),
        )
        .join(studies, series.c.study_id == studies.c.id)
        .where(_of_site(site_id), _study_matches(filters), _series_matches(filters), count > 0)
        .order_by(studies.c.study_uid, series.c.number.nulls_first(), series.c.series_uid)
        .limit(limit)
        .offset(offset)
    )
    return tuple(SeriesRow(**row._mapping) for row in connection.execute(query))


def find_instances(
    connection: Connection,
    site_id: int | None,
    filters: Filters = ALL,
    limit: int | None = None,
    offset: int = 0,
) -> tuple[InstanceRow, ...]:
    """Return matching visible instances, by study, series and number."""
    query = (
        select(
            studies.c.study_uid,
            series.c.series_uid,
            *(
                instances.c[name]
                for name in (
                    "sop_instance_uid",
                    "sop_class_uid",
                    "transfer_syntax_uid",
                    "number",
                    "rows",
                    "columns",
                    "frames",
                    "sha256",
                    "size_bytes",
                    "is_source",
                    "received_at",
                )
            ),
            studies.c.codecs,
            cases.c.id.label("case_id"),
        )
        .select_from(
            instances.join(series, instances.c.series_id == series.c.id)
            .join(studies, instances.c.study_id == studies.c.id)
            .outerjoin(results, instances.c.result_id == results.c.id)
            .outerjoin(cases, cases.c.study_id == studies.c.id)
        )
        .where(
            _of_site(site_id),
            _is_visible(),
            _study_matches(filters),
            _series_matches(filters),
            _instance_matches(filters),
        )
        .order_by(
            studies.c.study_uid,
            series.c.number.nulls_first(),
            series.c.series_uid,
            instances.c.number.nulls_first(),
            instances.c.sop_instance_uid,
        )
        .limit(limit)
        .offset(offset)
    )
    return tuple(InstanceRow(**row._mapping) for row in connection.execute(query))


def instance(
    connection: Connection, site_id: int | None, study_uid: str, series_uid: str, sop_uid: str
) -> InstanceRow | None:
    """Return one visible instance, or None where there is none for who asks."""
    filters = Filters((study_uid,), (series_uid,), (sop_uid,))
    return next(iter(find_instances(connection, site_id, filters, limit=1)), None)


def count_conflicts(connection: Connection, study_id: int) -> int:
    """Return how many came with the UID of an instance of a study and other bytes."""
    query = select(func.count(conflicts.c.id)).where(conflicts.c.study_id == study_id)
    return connection.execute(query).scalar_one()


def conflicts_of(connection: Connection, study_id: int, limit: int) -> tuple[ConflictRow, ...]:
    """Return what came with the UID of an instance of a study and other bytes, oldest first."""
    columns = (conflicts.c[n] for n in ("sop_instance_uid", "sha256", "size_bytes", "received_at"))
    query = select(*columns).where(conflicts.c.study_id == study_id).order_by(conflicts.c.id)
    query = query.limit(limit)
    return tuple(ConflictRow(**row._mapping) for row in connection.execute(query))


def _of_site(site_id: int | None) -> ColumnElement[bool]:
    return true() if site_id is None else studies.c.site_id == site_id


def _is_visible() -> ColumnElement[bool]:
    """Whether an instance (joined with its result, if it has one) is shown."""
    return or_(instances.c.result_id.is_(None), results.c.is_visible)


def _visible_instances() -> Select[int]:
    joined = instances.outerjoin(results, instances.c.result_id == results.c.id)
    return select(instances.c.id).select_from(joined).where(_is_visible())


def _study_matches(filters: Filters) -> ColumnElement[bool]:
    conditions: list[ColumnElement[bool]] = [true()]
    if filters.study_uids is not None:
        conditions.append(studies.c.study_uid.in_(filters.study_uids))
    for column, wanted in (
        (studies.c.patient_name, filters.patient_name),
        (studies.c.referring_physician, filters.referring_physician),
    ):
        if wanted:
            conditions.append(_name_matches(column, wanted))
    for column, wanted in (
        (studies.c.patient_id, filters.patient_id),
        (studies.c.accession_number, filters.accession_number),
        (studies.c.study_number, filters.study_number),
    ):
        if wanted:
            conditions.append(_text_matches(column, wanted))
    if filters.modality_in_study:
        of_study = _visible_instances().join(series, instances.c.series_id == series.c.id)
        of_study = of_study.where(
            series.c.study_id == studies.c.id, series.c.modality == filters.modality_in_study
        )
        # Of the study alone: the series and instance that are looked for are others.
        conditions.append(of_study.correlate(studies).exists())
    conditions += _within(studies.c.study_date, *filters.study_date)
    conditions += _within(studies.c.study_time, *filters.study_time)
    return and_(*conditions)


def _within(column: ColumnElement[str], first: str, last: str) -> list[ColumnElement[bool]]:
    """Return what a value between two must be; a study without one is of no day and no time."""
    conditions: list[ColumnElement[bool]] = [column >= first] if first else []
    if last:
        # 10 is the whole hour and 1030 the whole minute: a colon is greater than every digit.
        conditions.append(and_(column < f"{last}:", column != ""))
    return conditions


def _series_matches(filters: Filters) -> ColumnElement[bool]:
    conditions: list[ColumnElement[bool]] = [true()]
    if filters.series_uids is not None:
        conditions.append(series.c.series_uid.in_(filters.series_uids))
    if filters.modality:
        conditions.append(series.c.modality == filters.modality)
    if filters.series_number is not None:
        conditions.append(series.c.number == filters.series_number)
    return and_(*conditions)


def _instance_matches(filters: Filters) -> ColumnElement[bool]:
    conditions: list[ColumnElement[bool]] = [true()]
    if filters.sop_instance_uids is not None:
        conditions.append(instances.c.sop_instance_uid.in_(filters.sop_instance_uids))
    if filters.sop_class_uids is not None:
        conditions.append(instances.c.sop_class_uid.in_(filters.sop_class_uids))
    if filters.instance_number is not None:
        conditions.append(instances.c.number == filters.instance_number)
    return and_(*conditions)


def _text_matches(column: ColumnElement[str], wanted: str) -> ColumnElement[bool]:
    if not re.search(r"[*?]", wanted):
        return column == wanted
    return column.like(_pattern(wanted), escape="/")


def _name_matches(column: ColumnElement[str], wanted: str) -> ColumnElement[bool]:
    pattern = _pattern(wanted.rstrip("^"))
    forms = (pattern, f"{pattern}=%", f"%={pattern}", f"%={pattern}=%")
    return or_(*(column.ilike(form, escape="/") for form in forms))


def _pattern(wanted: str) -> str:
    escaped = re.sub(r"([/%_])", r"/\1", wanted)
    return escaped.replace("*", "%").replace("?", "_")


def _counts_of_studies(
    connection: Connection, study_ids: Sequence[int]
) -> dict[int, tuple[tuple[str, ...], int, int]]:
    """Return modalities, number of series and of instances of each study."""
    query = (
        select(series.c.study_id, series.c.modality, func.count(instances.c.id).label("instances"))
        .select_from(
            series.join(instances, instances.c.series_id == series.c.id).outerjoin(
                results, instances.c.result_id == results.c.id
            )
        )
        .where(series.c.study_id.in_(study_ids), _is_visible())
        .group_by(series.c.study_id, series.c.id, series.c.modality)
    )
    found: dict[int, list[tuple[str, int]]] = {study_id: [] for study_id in study_ids}
    for study_id, modality, count in connection.execute(query):
        found[study_id].append((modality, count))
    return {
        study_id: (
            tuple(sorted({modality for modality, _ in parts if modality})),
            len(parts),
            sum(count for _, count in parts),
        )
        for study_id, parts in found.items()
    }


def _study_row(row: Any, modalities: tuple[str, ...], of_series: int, of_all: int) -> StudyRow:
    return StudyRow(
        id=row.id,
        study_uid=row.study_uid,
        site_id=row.site_id,
        received_at=row.received_at,
        patient_name=row.patient_name,
        patient_id=row.patient_id,
        birth_date=row.birth_date,
        sex=row.sex,
        study_date=row.study_date,
        study_time=row.study_time,
        accession_number=row.accession_number,
        description=row.description,
        referring_physician=row.referring_physician,
        study_number=row.study_number,
        codecs=row.codecs,
        modalities=modalities,
        series_count=of_series,
        instance_count=of_all,
    )
