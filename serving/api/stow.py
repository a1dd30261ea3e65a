"""STOW-RS: a streamed body becomes objects of the store, then rows, then an answer.

::

    body ── 1 MiB at a time ──> thread: cut into parts, read facts ──> 16 threads: hash, write, sync
                                                                                      │
    answer of each instance <── receive(): one transaction <── all durable <──────────┘

While threads work, the next bytes come in. A slice waits in memory for its thread, a large
instance in a temporary file (``archive.store``). Of what was written, memory holds what is filed
of each instance, equal texts once, and never more than a ceiling. What ends the request early
(truncated, too large, too slow, no room) leaves no row, and no temporary file.
Source: PS3.18 section 10.5.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Hashable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace

from starlette.concurrency import run_in_threadpool

from serving.api.datasets import Attributes, attributes
from serving.api.media_types import DICOM, MediaType, read_media_type
from serving.api.multipart import PartBegins, PartEnds, RelatedParser
from serving.archive.store import Incoming, Store, Stored
from serving.errors import TooLarge, Unavailable, WrongMediaType
from serving.settings import Settings
from serving.studies.arrival import Arrival, InstanceFacts, Unreadable, read_facts_of
from serving.studies.receive import NOT_AUTHORISED, Answer, Kept

# How much of a body is in memory twice: being received, and being written.
BATCH_BYTES = 1 << 20
# Uploads at once, of one site and of all: each holds some MiB, and a sender may stall.
MOST_UPLOADS_OF_ONE, MOST_UPLOADS = 16, 128
# Objects that wait for the disk; a sender that is faster than it waits with them.
MOST_SYNCING = 64

# Of different texts that the instances of one request are filed by; 20,000 of a scanner have 1 MiB.
MOST_TEXT_BYTES = 32 << 20
# A place in a set.
_MEMBER_BYTES = 32

# PS3.18 table I.2-1: the data set does not match what was said of it.
OTHER_STUDY = 0xA901

# What the sender may forget, for the archive holds it.
KEPT = (Kept.STORED, Kept.ALREADY)

_COMMENT_CHARACTERS = 64


@dataclass(frozen=True, slots=True)
class Failed:
    """A part that became no arrival; its UIDs are empty where it could not be read."""

    reason: int
    comment: str
    sop_class_uid: str = ""
    sop_instance_uid: str = ""


@dataclass(slots=True)
class _Texts:
    """Texts of a request's instances: slices of a study say the same, which is kept once."""

    _filed: dict[tuple[object, ...], InstanceFacts] = field(default_factory=dict)
    _sets: dict[frozenset[bytes], frozenset[bytes]] = field(default_factory=dict)
    _values: dict[bytes, bytes] = field(default_factory=dict)
    _bytes: int = 0

    def shared(self, facts: InstanceFacts) -> InstanceFacts:
        """Return the facts with the texts of an earlier instance where they are equal.

        Raises
        ------
        TooLarge
            ``too-large``: more different texts than an honest request has.
        """
        names, texts = self._votes(facts.names), self._votes(facts.texts)
        facts = replace(facts, names=names, texts=texts)
        shown = (*facts.study_texts.values(), *facts.series_texts.values())
        first = self._filed.setdefault((facts.declared, shown), facts)
        if first is facts:
            self._grow(sum(map(len, (*facts.declared, *shown))))
        return replace(
            facts,
            declared=first.declared,
            study_texts=first.study_texts,
            series_texts=first.series_texts,
        )

    def _votes(self, values: frozenset[bytes]) -> frozenset[bytes]:
        if values not in self._sets:
            new = values - self._values.keys()
            self._values |= {value: value for value in new}
            self._grow(sum(map(len, new)) + len(values) * _MEMBER_BYTES)
            shared = frozenset(self._values[value] for value in values)
            self._sets[shared] = shared
        return self._sets[values]

    def _grow(self, size: int) -> None:
        self._bytes += size
        if self._bytes > MOST_TEXT_BYTES:
            raise TooLarge(
                f"more than {MOST_TEXT_BYTES} bytes of different texts in the headers",
                advice="send fewer instances in one request",
            )


@dataclass(slots=True)
class Intake:
    """The parts of one request on their way into the store.

    Attributes
    ----------
    kind
        What parts without a Content-Type are: the ``type`` of the request's.
    study_uid
        Of the address; empty: any.
    """

    store: Store
    settings: Settings
    parser: RelatedParser
    kind: str
    study_uid: str
    failed: list[Failed] = field(default_factory=list)
    _arriving: list[tuple[InstanceFacts, Future[Stored]]] = field(default_factory=list)
    _texts: _Texts = field(default_factory=_Texts)
    _parts: int = 0
    _incoming: Incoming | None = None
    _open: ExitStack = field(default_factory=ExitStack)

    def take(self, chunks: Sequence[bytes]) -> None:
        """Write what came; called by one thread at a time.

        Raises
        ------
        BadRequest, TooLarge, WrongMediaType, Unavailable
            The request is refused as a whole.
        """
        ensure_room(self.store, self.settings)
        for event in self.parser.feed(b"".join(chunks)):
            if isinstance(event, PartBegins):
                self._begin(event)
            elif isinstance(event, PartEnds):
                self._end()
            else:
                self._write(event)

    def finish(self) -> list[Arrival]:
        """Return the arrivals once all of them are durable.

        Raises
        ------
        BadRequest
            ``bad-request``: the body is truncated.
        Unavailable
            ``unavailable``: no room.
        """
        self.parser.close()
        return [Arrival(facts, stored.result()) for facts, stored in self._arriving]

    def close(self) -> None:
        """Remove what is half written, and let what is being synced end."""
        self._open.close()
        for _, stored in self._arriving:
            stored.exception()

    def _begin(self, part: PartBegins) -> None:
        self._parts += 1
        if self._parts > self.settings.max_parts:
            raise TooLarge(
                f"more than {self.settings.max_parts} parts (FIRSTREAD_MAX_PARTS)",
                advice="send fewer instances in one request",
            )
        media_type = read_media_type(part.headers.get("content-type") or self.kind)
        if media_type is None or media_type.name != DICOM:
            raise WrongMediaType(
                f"part {self._parts} is not {DICOM}", advice="send instances, each in a part"
            )
        self._incoming = self._open.enter_context(self.store.new())

    def _write(self, data: memoryview) -> None:
        assert self._incoming is not None
        if self._incoming.size_bytes + len(data) > self.settings.max_instance_bytes:
            raise TooLarge(
                f"part {self._parts} is larger than {self.settings.max_instance_bytes} bytes"
                " (FIRSTREAD_MAX_INSTANCE_BYTES)"
            )
        self._incoming.write(data)

    def _end(self) -> None:
        assert self._incoming is not None
        try:
            with self._incoming.open() as stream:
                facts = read_facts_of(stream, self._incoming.size_bytes, self._incoming.path)
        except Unreadable as unreadable:
            self._fail(
                unreadable.failure_reason,
                unreadable.code,
                unreadable.sop_class_uid,
                unreadable.sop_instance_uid,
            )
        else:
            if self.study_uid and facts.study_uid != self.study_uid:
                why = "of another study than the address names"
                self._fail(OTHER_STUDY, why, facts.sop_class_uid, facts.sop_instance_uid)
            else:
                facts = self._texts.shared(facts)
                self._arriving.append((facts, self.store.keep_later(self._incoming)))
                if len(self._arriving) > MOST_SYNCING:
                    self._arriving[-1 - MOST_SYNCING][1].result()
        self._incoming = None
        self._open.close()

    def _fail(self, reason: int, why: str, sop_class_uid: str, sop_instance_uid: str) -> None:
        comment = f"part {self._parts}: {why}"
        self.failed.append(Failed(reason, comment, sop_class_uid, sop_instance_uid))


def ensure_room(store: Store, settings: Settings, coming_bytes: int = 0) -> None:
    """Refuse what would fill the disk: results must still find room.

    Raises
    ------
    Unavailable
        ``unavailable``
    """
    if store.free_bytes() - coming_bytes < settings.free_bytes:
        raise Unavailable(
            f"fewer than {settings.free_bytes} bytes would be left (FIRSTREAD_FREE_BYTES)",
            advice="send again later; whoever runs the service must make room",
        )


@dataclass(slots=True)
class Uploads:
    """The uploads that an application takes now, counted by site; used by one event loop."""

    _of: Counter[Hashable] = field(default_factory=Counter)

    @contextmanager
    def one_of(self, site: Hashable) -> Iterator[None]:
        """Count an upload until the block ends.

        Raises
        ------
        Unavailable
            ``unavailable``: there are too many.
        """
        if self._of[site] >= MOST_UPLOADS_OF_ONE or self._of.total() >= MOST_UPLOADS:
            raise Unavailable(
                "too many uploads at once",
                advice=f"send again later, and at most {MOST_UPLOADS_OF_ONE} requests at once",
            )
        self._of[site] += 1
        try:
            yield
        finally:
            self._of[site] -= 1
            if not self._of[site]:
                del self._of[site]


async def take_body(body: AsyncIterator[bytes], intake: Intake) -> list[Arrival]:
    """Write a body while it comes in; return its arrivals, all durable.

    Raises
    ------
    FirstreadError
        What ``intake`` raises, or the body itself: too slow, too large.
    """
    batch: list[bytes] = []
    size = 0
    writing: asyncio.Task[None] | None = None
    try:
        async for chunk in body:
            batch.append(chunk)
            size += len(chunk)
            if size >= BATCH_BYTES:
                if writing is not None:
                    await writing
                writing = asyncio.create_task(run_in_threadpool(intake.take, batch))
                batch, size = [], 0
        if writing is not None:
            await writing
        await run_in_threadpool(intake.take, batch)
        return await run_in_threadpool(intake.finish)
    finally:
        if writing is not None and not writing.done():
            await asyncio.wait([writing])
        await run_in_threadpool(intake.close)


def status_of(answers: Sequence[Answer], failed: Sequence[Failed]) -> int:
    """Return the status of the whole (PS3.18 table 10.5.3-1)."""
    kept = sum(answer.outcome in KEPT for answer in answers)
    if kept:
        return 200 if kept == len(answers) + len(failed) else 202
    if answers and not failed and all(one.failure_reason == NOT_AUTHORISED for one in answers):
        return 403
    return 409


def refusals(answers: Sequence[Answer], failed: Sequence[Failed]) -> Iterator[int]:
    """Yield the Failure Reason of each instance that was not taken."""
    yield from (one.failure_reason for one in answers if one.failure_reason is not None)
    yield from (one.reason for one in failed)


def response(
    arrivals: Sequence[Arrival],
    answers: Sequence[Answer],
    failed: Sequence[Failed],
    studies_url: str,
) -> Attributes:
    """Return the data set that answers a request (PS3.18 table 10.5.3-2).

    Parameters
    ----------
    answers
        To the arrivals, in their order.
    """
    kept: list[Attributes] = []
    failures: list[Attributes] = []
    study_uids: set[str] = set()
    for arrival, answer in zip(arrivals, answers, strict=True):
        facts = arrival.facts
        if answer.outcome in KEPT:
            study_uids.add(facts.study_uid)
            kept.append(
                attributes(
                    ReferencedSOPClassUID=facts.sop_class_uid,
                    ReferencedSOPInstanceUID=facts.sop_instance_uid,
                    RetrieveURL=f"{studies_url}/{facts.study_uid}/series/{facts.series_uid}"
                    f"/instances/{facts.sop_instance_uid}",
                )
            )
        else:
            assert answer.failure_reason is not None
            uids = facts.sop_class_uid, facts.sop_instance_uid
            failures.append(_failure(Failed(answer.failure_reason, answer.comment, *uids)))
    failures += [_failure(one) for one in failed]
    document: Attributes = {}
    if len(study_uids) == 1:
        document |= attributes(RetrieveURL=f"{studies_url}/{study_uids.pop()}")
    if failures:
        document |= attributes(FailedSOPSequence=failures)
    if kept:
        document |= attributes(ReferencedSOPSequence=kept)
    return document


def _failure(failed: Failed) -> Attributes:
    uids = {
        "ReferencedSOPClassUID": failed.sop_class_uid,
        "ReferencedSOPInstanceUID": failed.sop_instance_uid,
    }
    return attributes(
        **{keyword: uid for keyword, uid in uids.items() if uid},
        FailureReason=failed.reason,
        ErrorComment=failed.comment[:_COMMENT_CHARACTERS],
    )


def kind_of(media_type: MediaType) -> str:
    """Return what parts without a Content-Type are; refuse a request for other kinds.

    Raises
    ------
    WrongMediaType
        ``wrong-media-type``
    """
    kind = media_type.parameters.get("type", DICOM).lower()
    named = read_media_type(kind)
    if named is None or named.name != DICOM:
        raise WrongMediaType(f"the type of the body must be {DICOM}")
    return kind
