"""What a worker does besides analysing: studies settle, lost jobs and cases are taken back.

A bug over one of them ends neither the process, which holds other studies, nor the others' turn: it
is told in the log and tried again after pauses. A study that cannot settle ends as not analysed.
"""

import logging
import time
from collections.abc import Callable

from sqlalchemy import Engine as Database

from serving.errors import Unavailable
from serving.jobs import queue
from serving.jobs.room import lacks_room
from serving.service.logs import trouble
from serving.settings import Settings
from serving.studies import life
from serving.studies.claims import sweep
from serving.worklist.summary import Failure

log = logging.getLogger(__name__)


class Rests:
    """What has failed here, how often, and until when it is left alone: ever longer, like jobs."""

    def __init__(self, first_pause_s: float) -> None:
        self._first_pause_s = first_pause_s
        self._tries: dict[int, int] = {}
        self._ends_s: dict[int, float] = {}

    def now(self) -> frozenset[int]:
        """Return what is left alone."""
        now_s = time.monotonic()
        return frozenset(one for one, end_s in self._ends_s.items() if now_s < end_s)

    def begin(self, one: int) -> int:
        """Leave something alone for a while; return how often it has failed."""
        tries = self._tries[one] = self._tries.get(one, 0) + 1
        self._ends_s[one] = time.monotonic() + queue.pause_s(tries - 1, self._first_pause_s)
        return tries


class Upkeep:
    """Looks after all studies of a service; any number of workers may do so at once."""

    def __init__(self, settings: Settings, database: Database, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._database = database
        self._clock = clock
        self._studies = Rests(settings.pause_s)
        self._jobs = Rests(settings.pause_s)

    def look_after(self) -> None:
        """Do what is due.

        Raises
        ------
        Unavailable
            ``unavailable``: the database does not answer.
        """
        now = self._clock()
        self._settle(now)
        self._recover(now)
        taken_back = sweep(self._database, now, self._settings.claim_s)
        if taken_back:
            log.info("claims ended", extra={"cases": taken_back})

    def _settle(self, now: float) -> None:
        settings = self._settings
        settled = life.settle(self._database, now, settings.settle_s, but=self._studies.now())
        if settled.done:
            log.info("studies settled", extra={"studies": settled.done})
        for study_id, error in settled.failed.items():
            tries = self._studies.begin(study_id)
            extra = {"study": study_id, "tries": tries, **trouble(error)}
            log.error("study cannot settle", extra=extra)
            if tries >= settings.attempts and not lacks_room(error):
                self._give_up(study_id, now)

    def _give_up(self, study_id: int, now: float) -> None:
        settle_s = self._settings.settle_s
        try:
            case_id = life.give_up_settling(self._database, study_id, now, settle_s)
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001 - one study's bug must not end the others
            extra = {"study": study_id, **trouble(error)}
            log.error("study cannot be quarantined", extra=extra)
            return
        if case_id is not None:
            extra = {"case": case_id, "study": study_id, "failure": Failure.FAILED.value}
            log.error("study quarantined", extra=extra)

    def _recover(self, now: float) -> None:
        settings = self._settings
        taken = life.recover(
            self._database,
            now,
            settings.lease_s,
            settings.attempts,
            first_pause_s=settings.pause_s,
            but=self._jobs.now(),
        )
        if taken.done:
            log.warning("leases ended", extra={"jobs": taken.done})
        for job_id, error in taken.failed.items():
            tries = self._jobs.begin(job_id)
            log.error(
                "job cannot be taken back", extra={"job": job_id, "tries": tries, **trouble(error)}
            )
