"""A worker: takes jobs from the queue, has them analysed, and makes the results count.

::

    main thread     settles studies, takes back lost leases         every 0.2 s
    slot threads    claim -> begin -> analyse -> finish              one for each slot of the engine
    speaker         "I live", and one more lease for each job        every heartbeat_s
                    ends the process when an analysis takes more than analysis_s

A worker may be killed at any moment: what it holds goes back to the queue when its lease ends, or
at once by the supervisor. One that was only stopped and goes on finds its token outdated, and what
it then finishes changes nothing.
"""

import logging
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import Engine as Database

from firstread.errors import FirstreadError, PackageError
from firstread.processors import usable_processors
from serving.archive.store import Store
from serving.database.engine import reading, writing
from serving.errors import Unavailable
from serving.jobs import queue, workers
from serving.jobs.engine import Analysed, AnalysisRequest, Engine, EngineLost
from serving.jobs.queue import Job, Setback
from serving.jobs.room import lacks_room
from serving.service.logs import places
from serving.service.upkeep import Upkeep
from serving.settings import Settings
from serving.studies import life
from serving.studies.life import Begun, Outcome
from serving.worklist.placing import alert_threshold
from serving.worklist.summary import Failure
from serving.worklist.urgency import UrgencyPolicy

log = logging.getLogger(__name__)

# How long an idle worker sleeps between two looks at the queue.
POLL_S = 0.2
# The database does not answer, or there is no room: how long until the next try.
RETRY_S = 1.0
NO_ROOM_S = 5.0
# Asked to end, a worker lets what runs go on for so long and then gives it back.
GRACE_S = 5.0
# Rows of workers that nobody buried: of machines that are no more.
FORGET_S = 24 * 3600.0
# Leaks of native libraries over long runs were not measured, so a process of them has an end.
MOST_STUDIES = 200

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a worker works: everything that its threads share and do not change."""

    settings: Settings
    database: Database
    store: Store
    policy: UrgencyPolicy
    engine: Engine
    owner: str
    clock: Callable[[], float] = time.time


class Leases:
    """The jobs that this process holds; some may have been lost, some may take too long."""

    def __init__(self) -> None:
        self._jobs: dict[int, Job] = {}
        self._ends_s: dict[Job, float] = {}
        self._lock = threading.Lock()

    @contextmanager
    def holding(self, job: Job) -> Iterator[None]:
        """Have a job's lease extended while this block lasts."""
        with self._lock:
            self._jobs[job.id] = job
        try:
            yield
        finally:
            self.drop(job)

    @contextmanager
    def analysing(self, job: Job, longest_s: float) -> Iterator[None]:
        """Have a job overdue when this block takes longer."""
        with self._lock:
            self._ends_s[job] = time.monotonic() + longest_s
        try:
            yield
        finally:
            with self._lock:
                del self._ends_s[job]

    def overdue(self) -> tuple[Job, ...]:
        """Return what has been analysed for too long, whether its lease is lost or not."""
        with self._lock:
            now_s = time.monotonic()
            return tuple(job for job, end_s in self._ends_s.items() if end_s <= now_s)

    def drop(self, job: Job) -> None:
        """Extend a lease no more."""
        with self._lock:
            # By its token: the same job may have been claimed again.
            if self._jobs.get(job.id) == job:
                del self._jobs[job.id]

    def held(self) -> tuple[Job, ...]:
        """Return what is held now."""
        with self._lock:
            return tuple(self._jobs.values())


class Worker:
    """One worker process's loop; ``run`` returns when it was asked to stop or has done its share.

    Parameters
    ----------
    stop
        Set it to end the worker.
    end_process
        Called with an exit code where nothing else ends a hung analysis.
    """

    def __init__(
        self, place: Place, stop: threading.Event, end_process: Callable[[int], None] = os._exit
    ) -> None:
        self._place = place
        self._stop = stop
        self._end_process = end_process
        self._is_silent = threading.Event()
        self._leases = Leases()
        self._upkeep = Upkeep(place.settings, place.database, place.clock)
        self._taken = 0

    def run(self) -> None:
        """Work until stopped; what still runs after a grace is given back to the queue."""
        engine = self._place.engine
        speaker = threading.Thread(target=self._speak, name="speaker", daemon=True)
        slots = [
            threading.Thread(target=self._serve, name=f"slot-{number}", daemon=True)
            for number in range(engine.slots)
        ]
        for thread in (speaker, *slots):
            thread.start()
        log.info("worker ready", extra={"engine": engine.name, "slots": engine.slots})
        while not self._stop.wait(POLL_S):
            self._look_after()
        end = time.monotonic() + GRACE_S
        for slot in slots:
            slot.join(max(0.0, end - time.monotonic()))
        self._is_silent.set()
        for job in self._leases.held():
            self._give_back(job)
        speaker.join(RETRY_S)

    def say(self, *, is_healthy: bool) -> None:
        """Say that this worker lives, and extend the lease of everything that it holds."""
        place = self._place
        with writing(place.database) as connection:
            now = place.clock()
            workers.report(
                connection, place.owner, place.engine.name, is_healthy=is_healthy, now=now
            )
            workers.forget_silent(connection, now - FORGET_S)
            lost = [
                job
                for job in self._leases.held()
                if not queue.heartbeat(connection, job, now, place.settings.lease_s)
            ]
        for job in lost:
            self._leases.drop(job)
            log.warning("lease lost", extra=_of(job))

    def _speak(self) -> None:
        wait_s = 0.0
        while not self._is_silent.wait(wait_s):
            wait_s = self._place.settings.heartbeat_s
            if overdue := self._leases.overdue():
                self._end_overdue(overdue)
                return
            try:
                self.say(is_healthy=self._place.engine.healthy())
            except Unavailable as error:
                _tell_unavailable(error)
                wait_s = min(wait_s, RETRY_S)

    def _end_overdue(self, overdue: tuple[Job, ...]) -> None:
        """End this process: a hung call of native code cannot be stopped in any other way.

        What hangs counts as an attempt; what else runs here is given back and does not.
        """
        for job in overdue:
            log.error("analysis takes too long, the worker ends", extra=_of(job))
        try:
            for job in self._leases.held():
                if job not in overdue:
                    self._give_back(job)
                else:
                    self._count(job, Setback.TOO_LONG, Failure.CRASHED)
        except Unavailable as error:
            # Its lease ends by itself, and counts.
            _tell_unavailable(error)
        self._stop.set()
        self._end_process(1)

    def _look_after(self) -> None:
        try:
            self._upkeep.look_after()
        except Unavailable as error:
            _tell_unavailable(error)
            self._stop.wait(RETRY_S)

    def _serve(self) -> None:
        while not self._stop.is_set():
            try:
                has_worked = self._place.engine.healthy() and self.work_once()
            except Unavailable as error:
                _tell_unavailable(error)
                self._stop.wait(RETRY_S)
                continue
            if not has_worked:
                self._stop.wait(POLL_S)
            if self._taken >= MOST_STUDIES and self._place.engine.name == "inline":
                log.info("worker has done its share", extra={"studies": self._taken})
                self._stop.set()

    def work_once(self) -> bool:
        """Take one job to its end; False: there was none."""
        job = self._claim()
        if job is None:
            return False
        self._taken += 1
        with self._leases.holding(job):
            try:
                self._analyse(job)
            except Exception as error:  # noqa: BLE001 - one study's bug must not end the others
                self._after(error, job)
        return True

    def _analyse(self, job: Job) -> None:
        place = self._place
        begun = self._insist(lambda: life.begin(place.database, job, place.clock()))
        if begun is None:
            log.info("nothing to do", extra=_of(job))
            return
        log.info("analysis begun", extra={"case": begun.case_id, **_of(job)})
        began_s = time.monotonic()
        with self._leases.analysing(job, self._longest_s()):
            analysed = place.engine.analyse(self._request(begun))
        self._finish(job, begun, analysed, time.monotonic() - began_s)

    def _longest_s(self) -> float:
        """Return how long an analysis may take until the process ends itself over it."""
        # Ray's replicas end themselves (serving.jobs.ray_replica), and the others go on.
        is_here = self._place.engine.name == "inline"
        return self._place.settings.analysis_s if is_here else math.inf

    def _claim(self) -> Job | None:
        place = self._place
        with reading(place.database) as connection:
            if not queue.has_work(connection, place.clock()):
                return None
        with writing(place.database) as connection:
            return queue.claim(connection, place.owner, place.clock(), place.settings.lease_s)

    def _request(self, begun: Begun) -> AnalysisRequest:
        settings = self._place.settings
        return AnalysisRequest(
            store_folder=settings.store_folder.absolute(),
            objects=begun.objects,
            study_uid=begun.study_uid,
            package=settings.package,
            operating_point=settings.operating_point,
            threads=threads_of(settings),
        )

    def _finish(self, job: Job, begun: Begun, analysed: Analysed, seconds: float) -> None:
        place, document = self._place, analysed.document
        threshold = alert_threshold(place.policy, document["package"], place.settings.package)
        outcome = self._insist(
            lambda: life.finish(
                place.database,
                place.store,
                place.policy,
                job,
                analysed,
                threshold=threshold,
                now=place.clock(),
            )
        )
        log.info(
            "analysis ended" if outcome is Outcome.DONE else "result dropped",
            extra={
                "case": begun.case_id,
                "outcome": outcome.value,
                "verdict": document["verdict"]["status"],
                "findings": len(document["findings"]) if document["scored"] else None,
                "instances": len(begun.objects),
                "seconds": round(seconds, 2),
                **_of(job),
            },
        )

    def _after(self, error: Exception, job: Job) -> None:
        """Put a job back, or give it up when it has failed often enough."""
        place = self._place
        code = error.code if isinstance(error, FirstreadError) else type(error).__name__
        known = {"error": code, **_of(job)}
        if lacks_room(error):
            # Not the study's fault. Others go first: it may be one that needs more than the rest.
            pause_s = queue.pause_s(job.pauses, place.settings.pause_s)
            why: str | None = code
            if isinstance(error, EngineLost):
                # No replica takes a study, whichever it is.
                pause_s, why = 0.0, None
            log.error("no room for an analysis", extra={**known, "pause_s": pause_s})
            self._insist(
                lambda: life.requeue(
                    place.database, job, place.clock(), why, is_counted=False, pause_s=pause_s
                )
            )
            self._stop.wait(NO_ROOM_S)
            return
        log.error("analysis failed", extra={**known, "places": places(error.__traceback__)})
        failure = Failure.FAILED
        if isinstance(error, EngineLost):
            failure = Failure.CRASHED
        elif isinstance(error, PackageError):
            failure = Failure.PACKAGE
        self._insist(lambda: self._count(job, code, failure))

    def _count(self, job: Job, code: str, failure: Failure) -> None:
        """Put a job back after a pause, or give it up when it has failed often enough."""
        place = self._place
        if job.attempts < place.settings.attempts:
            pause_s = queue.pause_s(job.pauses, place.settings.pause_s)
            life.requeue(place.database, job, place.clock(), code, pause_s=pause_s)
        elif life.give_up(place.database, job, failure, place.clock()) is Outcome.DONE:
            log.error("study quarantined", extra={"failure": failure.value, **_of(job)})

    def _give_back(self, job: Job) -> None:
        try:
            life.requeue(self._place.database, job, self._place.clock(), None)
        except Unavailable as error:
            # Its lease ends by itself.
            _tell_unavailable(error)
        else:
            log.info("analysis given back", extra=_of(job))

    def _insist(self, action: Callable[[], Result]) -> Result:
        """Do it as soon as the database answers; an analysis of minutes is not thrown away."""
        while True:
            try:
                return action()
            except Unavailable as error:
                _tell_unavailable(error)
                if self._stop.wait(RETRY_S):
                    raise


def threads_of(settings: Settings) -> int:
    """Return the threads of one analysis: as many as were asked for, or its share of all."""
    return settings.threads or max(1, usable_processors() // settings.workers)


def _of(job: Job) -> dict[str, object]:
    return {"job": job.id, "attempt": job.attempts}


def _tell_unavailable(error: Unavailable) -> None:
    log.warning("waiting for the database", extra={"reason": error.message})
