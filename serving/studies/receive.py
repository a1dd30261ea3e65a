"""Receiving: instances whose bytes are durable become rows, in one transaction.

::

    bytes durable in the store -> receive: study, series, instances, case, event -> commit -> answer

=========== ================================================= ==========================
outcome     when                                              Failure Reason (0008,1197)
=========== ================================================= ==========================
stored      it was not there                                  none
already     the same data set was there                       none
conflict    its UID was there with another data set: kept     0110
            apart, never indexed, never served, flagged on
            the case
refused     the study, or the instance, is another site's     0124
=========== ================================================= ==========================

Only images start an analysis, or start it anew: see ``InstanceFacts.is_source``. A request that is
sent again because its answer was lost finds everything ``already`` there and changes nothing.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Engine, RowMapping
from sqlalchemy.exc import IntegrityError

from serving.archive import filing
from serving.archive.filing import Filed
from serving.archive.store import Store
from serving.database.engine import reading, writing
from serving.events.log import Kind
from serving.faults import point
from serving.studies.arrival import Arrival, InstanceFacts, is_same_data_set
from serving.studies.case_rows import Case, case_of_study, change_case, open_case, tell
from serving.studies.texts import (
    decide_codecs,
    series_columns,
    series_texts_as_sent,
    study_columns,
    study_texts_as_sent,
    with_votes,
)
from serving.worklist.charging import hold_site
from serving.worklist.states import AiState
from serving.worklist.urgency import UrgencyPolicy

# PS3.4 annex B and PS3.18 annex I.
PROCESSING_FAILURE = 0x0110
NOT_AUTHORISED = 0x0124

CONFLICT_COMMENT = "this SOP Instance UID is stored with other content"
REFUSED_COMMENT = "the study belongs to another site"

# Of several requests that add the same study, or instance, at the same moment all but one begin
# anew. SQLite lets one write at a time, so there it never happens.
_TRIES = 5


class Kept(StrEnum):
    """What became of an instance."""

    STORED = "stored"
    ALREADY = "already"
    CONFLICT = "conflict"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the sender is told of one instance; ``comment`` has at most 64 characters."""

    study_uid: str
    series_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    outcome: Kept
    failure_reason: int | None = None
    comment: str = ""


@dataclass(frozen=True, slots=True)
class _Request:
    """One transaction: on whose behalf, by which rules, and when."""

    connection: Connection
    policy: UrgencyPolicy
    site_id: int
    now: float
    # Hashes of a filed and of an arrived object that hold the same data set.
    same: frozenset[tuple[str, str]]


@dataclass(slots=True)
class _Sorted:
    """The arrivals of one study, by what is to be done with them."""

    new: list[Arrival] = field(default_factory=list)
    # With the study of the instance that they contradict.
    conflicts: list[tuple[Arrival, int]] = field(default_factory=list)


def receive(
    engine: Engine,
    store: Store,
    policy: UrgencyPolicy,
    site_id: int,
    arrivals: Sequence[Arrival],
    *,
    now: float,
) -> tuple[Answer, ...]:
    """File arrivals that are durable in the store; afterwards they may be acknowledged.

    Parameters
    ----------
    site_id
        Whose they are.

    Returns
    -------
    An answer for each arrival, in their order.

    Raises
    ------
    Unavailable
        ``unavailable``: the database does not answer now; nothing was filed.
    """
    same = _same_data_sets(engine, store, site_id, arrivals)
    tries = 0
    while True:
        tries += 1
        try:
            with writing(engine) as connection:
                answers = _file_all(_Request(connection, policy, site_id, now, same), arrivals)
                point("before-commit")
        except IntegrityError:
            if tries == _TRIES:
                raise
        else:
            point("after-commit")
            return answers


def _same_data_sets(
    engine: Engine, store: Store, site_id: int, arrivals: Sequence[Arrival]
) -> frozenset[tuple[str, str]]:
    """Compare what came again in another file with what is filed; before the transaction begins."""
    with reading(engine) as connection:
        known = filing.filed(connection, (arrival.facts.sop_instance_uid for arrival in arrivals))
    same = set()
    for arrival in arrivals:
        before, sha256 = known.get(arrival.facts.sop_instance_uid), arrival.stored.sha256
        if before is None or before.site_id != site_id or before.sha256 == sha256:
            continue
        if is_same_data_set(store.path(before.sha256), store.path(sha256)):
            same.add((before.sha256, sha256))
    return frozenset(same)


def _file_all(request: _Request, arrivals: Sequence[Arrival]) -> tuple[Answer, ...]:
    uids = (arrival.facts.sop_instance_uid for arrival in arrivals)
    known = filing.filed(request.connection, uids)
    by_study: dict[str, list[int]] = defaultdict(list)
    for place, arrival in enumerate(arrivals):
        by_study[arrival.facts.study_uid].append(place)
    if filing.has_caseless(request.connection, by_study):
        hold_site(request.connection, request.site_id)
    # Those that are contradicted, too: each of them may change.
    studies = filing.lock_studies(
        request.connection, {*by_study, *(one.study_uid for one in known.values())}
    )
    answers: dict[int, Answer] = {}
    # New ones, too, are made in one order: else two requests could wait for each other.
    for study_uid, places in sorted(by_study.items()):
        group = [arrivals[place] for place in places]
        told = _file_study(request, studies.get(study_uid), study_uid, group, known)
        answers.update(zip(places, told, strict=True))
    return tuple(answers[place] for place in range(len(arrivals)))


def _file_study(
    request: _Request,
    study: RowMapping | None,
    study_uid: str,
    arrivals: Sequence[Arrival],
    known: dict[str, Filed],
) -> list[Answer]:
    if study is not None and study["site_id"] != request.site_id:
        return [_answer(arrival, Kept.REFUSED) for arrival in arrivals]
    # A study that is new with this request has no id yet; no other one of the request has this 0.
    study_id = study["id"] if study is not None else 0
    into = _Sorted()
    answers = [_sort(request, arrival, known, study_id, into) for arrival in arrivals]
    if into.new:
        study_id = _file_new(request, study, study_uid, into.new)
        for uid, one in known.items():
            if one.study_id == 0:
                known[uid] = replace(one, study_id=study_id)
    _file_conflicts(request, into.conflicts, study_id)
    return answers


def _sort(
    request: _Request, arrival: Arrival, known: dict[str, Filed], study_id: int, into: _Sorted
) -> Answer:
    uid, sha256 = arrival.facts.sop_instance_uid, arrival.stored.sha256
    before = known.get(uid)
    if before is None:
        known[uid] = Filed(study_id, arrival.facts.study_uid, request.site_id, sha256)
        into.new.append(arrival)
        return _answer(arrival, Kept.STORED)
    if before.site_id != request.site_id:
        return _answer(arrival, Kept.REFUSED)
    if before.sha256 == sha256 or (before.sha256, sha256) in request.same:
        return _answer(arrival, Kept.ALREADY)
    into.conflicts.append((arrival, before.study_id))
    return _answer(arrival, Kept.CONFLICT)


def _answer(arrival: Arrival, outcome: Kept) -> Answer:
    facts = arrival.facts
    reason, comment = {
        Kept.CONFLICT: (PROCESSING_FAILURE, CONFLICT_COMMENT),
        Kept.REFUSED: (NOT_AUTHORISED, REFUSED_COMMENT),
    }.get(outcome, (None, ""))
    return Answer(
        study_uid=facts.study_uid,
        series_uid=facts.series_uid,
        sop_class_uid=facts.sop_class_uid,
        sop_instance_uid=facts.sop_instance_uid,
        outcome=outcome,
        failure_reason=reason,
        comment=comment,
    )


def _file_new(
    request: _Request, study: RowMapping | None, study_uid: str, new: Sequence[Arrival]
) -> int:
    """File new instances with what they need around them, and return their study's id."""
    connection, now = request.connection, request.now
    facts = [arrival.facts for arrival in new]
    images = [one for one in facts if one.is_source]
    columns = _study_columns(study, facts, images)
    if study is None:
        fixed = {"study_uid": study_uid, "site_id": request.site_id, "received_at": now}
        study_id = filing.add_study(connection, fixed | columns)
    else:
        study_id = study["id"]
        filing.change_study(connection, study_id, columns)
    ids = filing.series_ids(connection, study_id)
    for one in facts:
        if one.series_uid not in ids:
            row = series_of(one, study_id, columns["codecs"])
            ids[one.series_uid] = filing.add_series(connection, row)
    rows = [
        instance_of(arrival, study_id, ids[arrival.facts.series_uid], None, now) for arrival in new
    ]
    filing.add_instances(connection, rows)
    if images:
        filing.add_image_arrival(connection, study_id, now)
        case, rules = _note_images(request, study_id, images[0].series_uid)
        tell(connection, case, Kind.RECEIVED, {"instances": len(images), **rules}, now)
    return study_id


def _study_columns(
    study: RowMapping | None, facts: Sequence[InstanceFacts], images: Sequence[InstanceFacts]
) -> dict[str, Any]:
    """Return what changes in a study's row.

    The first image says whose the study is; until there is one, whatever came first.
    """
    votes = with_votes(study["charset_votes"] if study is not None else {}, facts)
    if study is not None and votes == study["charset_votes"]:
        codecs: dict[str, str] = study["codecs"]
    else:
        codecs = {key: decision.codec for key, decision in decide_codecs(votes).items()}
    columns: dict[str, Any] = {"charset_votes": votes, "codecs": codecs}
    if study is None or (images and study["image_received_at"] is None):
        first = next(iter(images or facts))
        as_sent = study_texts_as_sent(first)
        columns["texts_as_sent"] = as_sent
        columns |= {**first.coded, **study_columns(as_sent, codecs)}
    return columns


def series_of(facts: InstanceFacts, study_id: int, codecs: Mapping[str, str]) -> dict[str, object]:
    """Return the row of the series of an instance."""
    as_sent = series_texts_as_sent(facts)
    return {
        "study_id": study_id,
        "series_uid": facts.series_uid,
        "modality": facts.modality,
        "number": facts.series_number,
        "texts_as_sent": as_sent,
        **series_columns(as_sent, codecs),
    }


def instance_of(
    arrival: Arrival, study_id: int, series_id: int, result_id: int | None, now: float
) -> dict[str, object]:
    """Return the row of an instance; ``result_id`` for our own results."""
    facts = arrival.facts
    return {
        "study_id": study_id,
        "series_id": series_id,
        "sop_instance_uid": facts.sop_instance_uid,
        "sop_class_uid": facts.sop_class_uid,
        "transfer_syntax_uid": facts.transfer_syntax_uid,
        "number": facts.number,
        "rows": facts.rows,
        "columns": facts.columns,
        "frames": facts.frames,
        "sha256": arrival.stored.sha256,
        "size_bytes": arrival.stored.size_bytes,
        "is_source": facts.is_source,
        "result_id": result_id,
        "received_at": now,
    }


def _note_images(request: _Request, study_id: int, series_uid: str) -> tuple[Case, dict[str, str]]:
    """Open the case, or send it back to receiving: what was analysed is no longer all there is.

    Returns
    -------
    The case, and by which rules it was placed now: ``{"rules": version}``, or nothing.
    """
    connection = request.connection
    if case_of_study(connection, study_id) is not None:
        return change_case(connection, study_id, {"ai_state": AiState.RECEIVING.value}), {}
    study = filing.study_by_id(connection, study_id)
    series = next(
        row for row in filing.series_rows(connection, study_id) if row["series_uid"] == series_uid
    )
    case, urgency = open_case(connection, request.policy, study, series, request.now)
    return case, {"rules": urgency.rules}


def _file_conflicts(
    request: _Request, conflicts: Sequence[tuple[Arrival, int]], own_study_id: int
) -> None:
    """Keep apart what contradicts an instance, and flag the case of that instance's study."""
    connection, now = request.connection, request.now
    fresh: dict[int, int] = defaultdict(int)
    for arrival, study_id in conflicts:
        of_study = study_id or own_study_id
        fresh[of_study] += note_conflict(connection, arrival, of_study, request.site_id, now)
    for study_id, count in fresh.items():
        if count and case_of_study(connection, study_id) is not None:
            case = change_case(connection, study_id, {})
            tell(connection, case, Kind.CONFLICT, {"instances": count}, now)


def note_conflict(
    connection: Connection, arrival: Arrival, study_id: int, site_id: int, now: float
) -> bool:
    """Keep bytes apart that came under the UID of another instance; False: known before."""
    return filing.add_conflict(
        connection,
        {
            "study_id": study_id,
            "site_id": site_id,
            "sop_instance_uid": arrival.facts.sop_instance_uid,
            "sha256": arrival.stored.sha256,
            "size_bytes": arrival.stored.size_bytes,
            "received_at": now,
        },
    )
