"""Small DICOM instances, and a service's archive without its web: for tests of a study's life."""

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydicom.datadict import dictionary_VR, tag_for_keyword
from sqlalchemy import Connection, Engine, Table, insert, select

from firstread.uids import uid_from
from inference.dicom.data_set import LONG_VRS
from serving.archive.store import Store
from serving.database.engine import open_engine, reading, writing
from serving.database.tables import sites
from serving.jobs import queue
from serving.jobs.engine import Analysed, StoredFile
from serving.jobs.queue import Job
from serving.studies.arrival import Arrival, read_facts, read_facts_of
from serving.studies.life import Outcome, finish
from serving.studies.receive import Answer, receive
from serving.worklist.urgency import UrgencyPolicy, read_policy
from tests.serving.databases import make_database, url_of

CT = "1.2.840.10008.5.1.4.1.1.2"
SEG = "1.2.840.10008.5.1.4.1.1.66.4"
SR = "1.2.840.10008.5.1.4.1.1.88.33"

NOW = 1_000_000.0
QUIET_S = 20.0
LEASE_S = 60.0
PAUSE_S = 5.0


def an_instance(
    number: int = 1,
    *,
    study: str = "study",
    sop_class: str = CT,
    modality: str = "CT",
    content: str = "",
    uid: str | None = None,
    **attributes: str | bytes | None,
) -> bytes:
    """Return a file of 2 x 2 pixels; another ``content`` is other bytes under the same UIDs.

    Written by hand: it shall be able to say what no library would write. Attributes are DICOM
    keywords; None leaves one out.
    """
    values: dict[str, str | bytes | int | None] = {
        "SOPClassUID": sop_class,
        "SOPInstanceUID": uid or uid_from(study, modality, str(number)),
        "StudyInstanceUID": uid_from(study),
        "SeriesInstanceUID": uid_from(study, modality),
        "Modality": modality,
        "SeriesNumber": "2",
        "InstanceNumber": str(number),
        "PatientName": "WANG^WEI",
        "PatientID": "P1",
        "StudyDate": "20260301",
        "ImageComments": content,
        "Rows": 2,
        "Columns": 2,
        "BitsAllocated": 16,
        "PixelData": bytes(8),
        **attributes,
    }
    meta = {"MediaStorageSOPClassUID": sop_class, "TransferSyntaxUID": "1.2.840.10008.1.2.1"}
    return bytes(128) + b"DICM" + _elements(meta) + _elements(values)


def _elements(values: Mapping[str, str | bytes | int | None]) -> bytes:
    """Encode attributes in explicit VR little endian (PS3.5 section 7)."""
    written = {}
    for keyword, value in values.items():
        tag = tag_for_keyword(keyword)
        assert tag is not None, keyword
        if value is None:
            continue
        vr = dictionary_VR(tag)[:2].encode()
        raw = _bytes(value)
        raw += b"\0" * (len(raw) % 2)
        header = (tag >> 16).to_bytes(2, "little") + (tag & 0xFFFF).to_bytes(2, "little") + vr
        if vr in LONG_VRS:
            header += bytes(2) + len(raw).to_bytes(4, "little")
        else:
            header += len(raw).to_bytes(2, "little")
        written[tag] = header + raw
    return b"".join(element for _, element in sorted(written.items()))


def _bytes(value: str | bytes | int) -> bytes:
    if isinstance(value, int):
        return value.to_bytes(2, "little")
    return value.encode() if isinstance(value, str) else value


def a_finding(mean_diameter_mm: float, score: float = 0.9) -> dict[str, Any]:
    """Return what of a finding is read here."""
    return {
        "mean_diameter_mm": mean_diameter_mm,
        "score": score,
        "intended_size": "within",
    }


def two_sites(connection: Connection) -> None:
    """Fill a database with two sites."""
    rows = [{"code": code, "name": code, "created_at": NOW} for code in ("one", "two")]
    connection.execute(insert(sites), rows)


@dataclass
class Archive:
    """Store, database and rules in a folder; site 1 and site 2 send.

    Attributes
    ----------
    is_made
        By another process: what is there stays.
    """

    folder: Path
    policy: UrgencyPolicy = field(default_factory=read_policy)

    is_made: bool = False

    def __post_init__(self) -> None:
        self.store = Store(self.folder / "store")
        file = self.folder / "firstread.sqlite"
        if not self.is_made:
            make_database(file, two_sites)
        self.engine: Engine = open_engine(url_of(file))

    def close(self) -> None:
        """Close what holds files."""
        self.store.close()
        self.engine.dispose()

    def arrival(self, data: bytes) -> Arrival:
        """Make bytes durable and read what they say."""
        stored = self.store.put_bytes(data)
        return Arrival(read_facts(self.store.path(stored.sha256)), stored)

    def receive(self, *files: bytes, site_id: int = 1, now: float = NOW) -> tuple[Answer, ...]:
        """Receive files as one request."""
        arrivals = [self.arrival(data) for data in files]
        return receive(self.engine, self.store, self.policy, site_id, arrivals, now=now)

    def receive_together(self, *files: bytes) -> tuple[Answer, ...]:
        """Receive files as the web does: their syncs overlap, one commit for all."""
        with ExitStack() as stack:
            incoming = [stack.enter_context(self.store.new()) for _ in files]
            for one, data in zip(incoming, files, strict=True):
                one.write(data)
                one.close()
            facts = [read_facts_of(one.open(), one.size_bytes, one.path) for one in incoming]
            kept = self.store.keep(*incoming)
        return self.file_all(list(map(Arrival, facts, kept)))

    def file(self, arrival: Arrival) -> tuple[Answer, ...]:
        """Receive what is durable already."""
        return self.file_all([arrival])

    def file_all(self, arrivals: Sequence[Arrival]) -> tuple[Answer, ...]:
        """Receive what is durable already, as one request."""
        return receive(self.engine, self.store, self.policy, 1, arrivals, now=NOW)

    def claim(self, now: float = NOW) -> Job | None:
        """Take the next job as a worker would."""
        with writing(self.engine) as connection:
            return queue.claim(connection, "worker", now, LEASE_S)

    def finish(
        self, job: Job, analysed: Analysed, *, threshold: float | None = None, now: float = NOW
    ) -> Outcome:
        """Make an analysis the result of its case, as a worker would."""
        return finish(
            self.engine, self.store, self.policy, job, analysed, threshold=threshold, now=now
        )

    def analysed(
        self,
        *findings_mm: float,
        study: str = "study",
        scored: bool = True,
        says: str = "",
        sr: bytes | None = None,
    ) -> Analysed:
        """Return the end of an analysis; what it ``says`` makes its SR another object."""
        document = a_document(*findings_mm, study=study, scored=scored)
        files = {"findings.json": json.dumps(document).encode()}
        uid = uid_from(study, "sr", says)
        files["sr.dcm"] = sr or an_instance(
            study=study, sop_class=SR, modality="SR", uid=uid, content=says
        )
        stored = {name: self.store.put_bytes(data) for name, data in files.items()}
        return Analysed(
            document,
            {name: StoredFile(one.sha256, one.size_bytes) for name, one in stored.items()},
        )


def a_document(
    *findings_mm: float,
    study: str = "study",
    scored: bool = True,
    reasons: Sequence[Mapping[str, Any]] = (),
    status: str = "",
) -> dict[str, Any]:
    """Return what of a ``findings.json`` is read here."""
    if not scored and not reasons:
        reasons = [{"code": "not-chest", "zh": "不是胸部", "en": "not a chest", "numbers": {}}]
    return {
        "software": {"name": "Firstread", "version": "0"},
        "package": {"name": "lung_nodule", "version": "1.0.1", "sha256": "0" * 64},
        "study_uid": uid_from(study),
        "series_uid": uid_from(study, "CT"),
        "scored": scored,
        "verdict": {
            "status": status or ("accept" if scored else "refuse"),
            "reasons": list(reasons),
        },
        "notes": [],
        "findings": [a_finding(size) for size in findings_mm],
        "timings_s": {"read": 0.1},
    }


def rows_of(archive: Archive, table: Table) -> list[dict[str, Any]]:
    """Return every row of a table, the oldest first."""
    with reading(archive.engine) as connection:
        first = next(iter(table.primary_key.columns))
        return [dict(row) for row in connection.execute(select(table).order_by(first)).mappings()]
