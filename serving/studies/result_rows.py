"""The rows of results, and our own SEG and SR as instances of their study."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, insert, update

from serving.archive import filing
from serving.database.locks import Lock, share
from serving.database.tables import result_files, results
from serving.jobs.queue import Job
from serving.studies.arrival import Arrival
from serving.studies.receive import instance_of, note_conflict, series_of


def input_digest(objects: Sequence[str]) -> str:
    """Return the SHA-256 over the sorted SHA-256 of images: what a result is a result of."""
    return hashlib.sha256("\n".join(sorted(objects)).encode()).hexdigest()


def result_columns(
    connection: Connection, job: Job, case_id: str, document: Mapping[str, Any], now: float
) -> dict[str, Any]:
    """Return the row of a result, from ``findings.json`` and from what was analysed."""
    return {
        "case_id": case_id,
        "package_name": document["package"]["name"],
        "package_version": document["package"]["version"],
        "package_sha256": document["package"]["sha256"],
        "software_version": document["software"]["version"],
        # The generation did not change, so these are the images that were analysed.
        "input_sha256": input_digest(filing.source_objects(connection, job.study_id)),
        "generation": job.generation,
        "status": document["verdict"]["status"],
        "codes": [reason["code"] for reason in document["verdict"]["reasons"]],
        "timings_s": document["timings_s"],
        "created_at": now,
    }


def file_object(
    connection: Connection, arrival: Arrival, study: RowMapping, result_id: int, now: float
) -> None:
    """Make a SEG or SR of ours an instance of its study.

    The same analysis of one more image may say the same, byte for byte; then its object is shown
    with the newer result. Other bytes under its UID are not ours, and stay what they are: ours are
    kept apart and can still be had as a file of the result.
    """
    uid = arrival.facts.sop_instance_uid
    before = filing.filed(connection, [uid]).get(uid)
    if before is None:
        ids = filing.series_ids(connection, study["id"])
        series_uid = arrival.facts.series_uid
        if series_uid not in ids:
            row = series_of(arrival.facts, study["id"], study["codecs"])
            ids[series_uid] = filing.add_series(connection, row)
        row = instance_of(arrival, study["id"], ids[series_uid], result_id, now)
        filing.add_instances(connection, [row])
    elif before.sha256 == arrival.stored.sha256:
        filing.show_with_result(connection, uid, result_id)
    else:
        note_conflict(connection, arrival, study["id"], study["site_id"], now)


def hide_visible_result(connection: Connection, case_id: str, now: float) -> str | None:
    """Let a case's visible result give way; return its package, or None where there was none."""
    statement = (
        update(results)
        .where(results.c.case_id == case_id, results.c.is_visible)
        .values(is_visible=False, superseded_at=now)
        .returning(results.c.package_name, results.c.package_version)
    )
    hidden = connection.execute(statement).one_or_none()
    return f"{hidden[0]}@{hidden[1]}" if hidden else None


def add_result(
    connection: Connection, values: Mapping[str, Any], files: Mapping[str, tuple[str, int]]
) -> int:
    """Add a visible result with its files (name -> SHA-256 and size); return its id.

    A second visible one of a case is made impossible by a unique index.
    """
    share(connection, Lock.COUNTED)
    statement = insert(results).values(is_visible=True, **values).returning(results.c.id)
    result_id = int(connection.execute(statement).scalar_one())
    rows = [
        {"result_id": result_id, "name": name, "sha256": sha256, "size_bytes": size_bytes}
        for name, (sha256, size_bytes) in sorted(files.items())
    ]
    if rows:
        connection.execute(insert(result_files), rows)
    return result_id
