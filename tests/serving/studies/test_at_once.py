"""Receivers, workers and upkeep at the same moment: what SQLite gives for free, locks must."""

import threading
from collections import Counter
from itertools import count

import pytest
from sqlalchemy import Connection, select, update

from firstread.uids import uid_from
from serving.database.engine import reading
from serving.database.tables import cases, events, instances, jobs, results, studies
from serving.jobs import queue
from serving.jobs.queue import Job
from serving.studies.figures import Sums
from serving.studies.life import Outcome, begin, recover, settle
from serving.studies.receive import Kept
from serving.studies.retry import retry
from tests.serving.databases import only_postgresql
from tests.serving.studies.a_study import LEASE_S, PAUSE_S, QUIET_S, Archive, an_instance, rows_of
from tests.serving.studies.test_retry import LATER, quarantined
from tests.serving.together import at_once, while_open

pytestmark = pytest.mark.slow

NAMES = tuple(f"study {number}" for number in range(6))
IMAGES = 10
SENDERS, WORKERS = 2, 3


def claimed(archive: Archive) -> Job:
    """Return a job of one study that a worker has begun."""
    archive.receive(an_instance(1))
    settle(archive.engine, LATER, QUIET_S)
    job = archive.claim(LATER)
    assert job is not None
    assert begin(archive.engine, job, LATER) is not None
    return job


def test_a_study_settles_once(archive: Archive) -> None:
    archive.receive(*(an_instance(study=name) for name in NAMES))
    swept = at_once(lambda _: settle(archive.engine, LATER, QUIET_S), range(4))
    assert [one.failed for one in swept] == [{}] * 4
    assert sum(one.done for one in swept) == len(NAMES)
    assert [row["state"] for row in rows_of(archive, jobs)] == ["queued"] * len(NAMES)


def test_a_study_does_not_settle_while_an_image_comes(archive: Archive) -> None:
    archive.receive(an_instance(1))

    def an_image_comes(connection: Connection) -> None:
        connection.execute(update(studies).values(image_received_at=LATER, generation=2))

    swept = while_open(
        archive.engine, an_image_comes, lambda: settle(archive.engine, LATER, QUIET_S)
    ).result()
    assert (swept.done, swept.failed) == (0, {})


def test_a_lease_that_is_extended_at_the_last_moment_is_not_taken_back(archive: Archive) -> None:
    job = claimed(archive)
    over = LATER + LEASE_S + 1
    taken = while_open(
        archive.engine,
        lambda connection: queue.heartbeat(connection, job, over, LEASE_S),
        lambda: recover(archive.engine, over, LEASE_S, 3, first_pause_s=PAUSE_S),
    ).result()
    assert (taken.done, taken.failed) == (0, {})
    assert archive.finish(job, archive.analysed(8.0), now=over) is Outcome.DONE


def test_a_lost_lease_is_taken_back_once(archive: Archive) -> None:
    claimed(archive)
    over = LATER + LEASE_S + 1
    taken = at_once(
        lambda _: recover(archive.engine, over, LEASE_S, 3, first_pause_s=PAUSE_S), range(4)
    )
    assert [one.failed for one in taken] == [{}] * 4
    assert sum(one.done for one in taken) == 1
    (row,) = rows_of(archive, jobs)
    assert (row["state"], row["pauses"]) == ("queued", 1)


def test_a_result_counts_once_however_many_finish(archive: Archive) -> None:
    job = claimed(archive)
    analysed = archive.analysed(8.0)
    ended = at_once(lambda _: archive.finish(job, analysed, now=LATER), range(4))
    assert Counter(ended) == {Outcome.DONE: 1, Outcome.LOST: 3}


def test_quarantined_studies_are_brought_back_once(archive: Archive) -> None:
    quarantined(archive, "a", "b", "c")
    back = at_once(lambda _: retry(archive.engine, None, LATER), range(4))
    assert sorted(map(len, back)) == [0, 0, 0, 3]
    assert [row["state"] for row in rows_of(archive, jobs)] == ["queued"] * 3


def test_two_requests_that_contradict_each_other_both_get_an_answer(archive: Archive) -> None:
    """Each files its own study and flags the other's: in one order, or they wait for each other."""
    archive.receive(an_instance(1, study="a"), an_instance(1, study="b"))

    def send(pair: tuple[str, str]) -> list[Kept]:
        own, other = pair
        told = []
        for number in range(2, 22):
            # Under the UID of an instance of the other study.
            contradiction = an_instance(
                number, study=own, content=str(number), uid=uid_from(other, "CT", "1")
            )
            files = (an_instance(number, study=own), contradiction)
            told += [answer.outcome for answer in archive.receive(*files)]
        return told

    for told in at_once(send, [("a", "b"), ("b", "a")]):
        assert told == [Kept.STORED, Kept.CONFLICT] * 20


def test_an_instance_sent_by_several_at_once_is_filed_once(archive: Archive) -> None:
    arrivals = [archive.arrival(an_instance(number)) for number in range(1, 9)]
    told = at_once(lambda _: archive.file_all(arrivals), range(4))
    stored = [sum(answer.outcome is Kept.STORED for answer in answers) for answers in told]
    assert sorted(stored) == [0, 0, 0, 8]
    (study,) = rows_of(archive, studies)
    assert study["generation"] == 1


def test_whatever_happens_at_once_ends_with_one_result_of_all_images(archive: Archive) -> None:
    """And nobody is told to come back: rows are locked in one order, so none waits in a circle."""
    name_of = {uid_from(name): name for name in NAMES}
    analysed = {name: archive.analysed(8.0, study=name) for name in NAMES}
    clock = count(LATER, queue.LONGEST_PAUSE_S)
    sent = threading.Barrier(SENDERS, timeout=120)
    all_received = threading.Event()

    def send(number: int) -> None:
        # Senders share the images of each study.
        for image in range(number, IMAGES, SENDERS):
            for name in NAMES:
                archive.receive(an_instance(image, study=name))
        sent.wait()
        all_received.set()

    def work(number: int) -> None:
        while not all_received.is_set() or number_of_open(archive):
            # Quiet at once, so every study settles many times; no pause lasts.
            now = next(clock)
            assert settle(archive.engine, now, QUIET_S).failed == {}
            job = archive.claim(now)
            begun = begin(archive.engine, job, now) if job is not None else None
            if job is None or begun is None:
                continue
            if number or all_received.is_set():
                result = analysed[name_of[begun.study_uid]]
                archive.finish(job, result, now=now)
            else:
                # One worker loses what it holds, and so do others in the middle of theirs.
                over = now + LEASE_S + 1
                taken = recover(archive.engine, over, LEASE_S, 10_000, first_pause_s=PAUSE_S)
                assert taken.failed == {}

    acts = [(send, number) for number in range(SENDERS)]
    acts += [(work, number) for number in range(WORKERS)]
    at_once(lambda act: act[0](act[1]), acts)
    found = rows_of(archive, cases)
    assert {row["ai_state"] for row in found} == {"scored"}
    images = [row for row in rows_of(archive, instances) if row["is_source"]]
    assert len(images) == len(NAMES) * IMAGES
    visible = [row for row in rows_of(archive, results) if row["is_visible"]]
    assert sorted(row["case_id"] for row in visible) == sorted(row["id"] for row in found)
    assert [row["generation"] for row in visible] == [IMAGES] * len(NAMES)
    told = rows_of(archive, events)
    for case in found:
        versions = [row["version"] for row in told if row["case_id"] == case["id"]]
        assert versions == sorted(versions)
        assert versions[-1] == case["version"]


def number_of_open(archive: Archive) -> int:
    query = select(cases.c.id).where(cases.c.ai_state.not_in(["scored", "not-analysed"]))
    with reading(archive.engine) as connection:
        return len(connection.execute(query).all())


@only_postgresql
def test_rows_that_are_committed_late_are_counted_by_the_next_scrape(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("late", "early")
    # Their cases are there already: of a site, one transaction at a time opens cases.
    for name in names:
        archive.file(archive.arrival(an_instance(1, study=name)))
    late, early = (archive.arrival(an_instance(2, study=name)) for name in names)
    inside, go_on = threading.Event(), threading.Event()
    sums = Sums((1.0,))
    sums.read_on(archive.engine)
    assert sums.received == {"one": 2}

    def slowly(name: str) -> None:
        if name == "before-commit" and not inside.is_set():
            inside.set()
            go_on.wait(30)

    monkeypatch.setattr("serving.studies.receive.point", slowly)

    def send(number: int) -> None:
        if number == 0:
            archive.file(late)
            return
        inside.wait(30)
        archive.file(early)
        sums.read_on(archive.engine)
        go_on.set()

    at_once(send, range(2))
    # Late has the smaller id and was not there yet: who had counted on from early would miss it.
    assert sums.received == {"one": 2}
    sums.read_on(archive.engine)
    assert sums.received == {"one": 4}
