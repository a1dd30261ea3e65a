"""What a scraper is told of the service's work, counted in the database.

How things stand is read at each scrape. What only grows is read once: a scrape looks at rows that
are newer than the last one's, so web process and workers need not add up what each of them saw.
Where several write at once, a row may become visible after one with a larger id: a scrape looks at
those rows alone below which nothing is being written any more.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, Select, func, select

from serving.database.engine import reading
from serving.database.locks import Lock, hold, set_limits
from serving.database.tables import cases, conflicts, instances, jobs, results, sites, studies
from serving.errors import DatabaseBusy
from serving.jobs.queue import JobState
from serving.worklist.states import AiState
from serving.worklist.summary import Failure

# One transaction reads no more: the first look after a start sees every row that ever was, and a
# long one holds the database's log back.
PAGE_RESULTS = 1000
PAGE_INSTANCES = 100_000
# For those who are writing; who would begin waits as long.
WAIT_MS = 200


@dataclass(frozen=True, slots=True)
class Standing:
    """How things stand.

    Attributes
    ----------
    cases
        By state; every state is there.
    jobs
        By state.
    failures
        Studies that were given up, by why; every failure is there.
    queue_age_s
        How long the longest-waiting study has waited for its analysis; 0 where none waits.
    conflicts
        Instances that came again with other content.
    """

    cases: Mapping[str, int]
    jobs: Mapping[str, int]
    failures: Mapping[str, int]
    queue_age_s: float
    conflicts: int


def read_standing(connection: Connection, now: float) -> Standing:
    """Return how things stand."""
    by_state = select(cases.c.ai_state, func.count()).group_by(cases.c.ai_state)
    counted = _counted(connection, by_state)
    of_jobs = select(jobs.c.state, func.count()).group_by(jobs.c.state)
    given_up = (
        select(jobs.c.error, func.count())
        .where(jobs.c.state == JobState.QUARANTINED.value)
        .group_by(jobs.c.error)
    )
    # Whatever else the job says, its case says that the analysis failed.
    failed: Counter[str] = Counter()
    for word, count in _counted(connection, given_up).items():
        failed[word if word in set(Failure) else Failure.FAILED.value] += count
    oldest = connection.execute(
        select(func.min(jobs.c.queued_at)).where(jobs.c.state == JobState.QUEUED.value)
    ).scalar()
    return Standing(
        cases={state.value: counted.get(state.value, 0) for state in AiState},
        jobs=_counted(connection, of_jobs),
        failures={failure.value: failed[failure.value] for failure in Failure},
        queue_age_s=0.0 if oldest is None else max(0.0, now - oldest),
        conflicts=connection.execute(select(func.count()).select_from(conflicts)).scalar_one(),
    )


def _counted(connection: Connection, query: Select[Any]) -> dict[str, int]:
    return {str(word): int(count) for word, count in connection.execute(query)}


def _newest(engine: Engine) -> tuple[int, int]:
    """Return the ids of the newest result and instance; no smaller one is still to be committed.

    Raises
    ------
    DatabaseBusy
        ``database-busy``: somebody writes for longer than we want to keep others from it.
    """
    newest = (select(func.max(table.c.id)).scalar_subquery() for table in (results, instances))
    with reading(engine) as connection:
        set_limits(connection, lock_ms=WAIT_MS)
        hold(connection, Lock.COUNTED)
        result_id, instance_id = connection.execute(select(*newest)).one()
    return result_id or 0, instance_id or 0


@dataclass(slots=True)
class Sums:
    """Sums over rows that are only ever added; used by one thread at a time.

    Attributes
    ----------
    limits_s
        Upper limits of the buckets in which the seconds of stages are counted.
    verdicts, reasons
        By status, or code, and site.
    received, received_bytes
        By site; our own results do not count.
    stage_buckets, stage_seconds
        By stage; the last bucket holds what is above every limit.
    """

    limits_s: tuple[float, ...]
    verdicts: Counter[tuple[str, str]] = field(default_factory=Counter)
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    received: Counter[str] = field(default_factory=Counter)
    received_bytes: Counter[str] = field(default_factory=Counter)
    stage_buckets: dict[str, list[int]] = field(default_factory=dict)
    stage_seconds: dict[str, float] = field(default_factory=dict)
    _last_result: int = 0
    _last_instance: int = 0

    def read_on(self, engine: Engine) -> None:
        """Add the rows that are new, page by page."""
        try:
            newest_result, newest = _newest(engine)
        except DatabaseBusy:
            # Somebody writes for long: the next scrape finds more.
            return
        while self._add_results(engine, newest_result) == PAGE_RESULTS:
            pass
        while self._last_instance < newest:
            self._add_instances(engine, min(newest, self._last_instance + PAGE_INSTANCES))

    def _add_results(self, engine: Engine, last: int) -> int:
        """Add a page of results and return how many it held."""
        query = (
            select(
                results.c.id, results.c.status, results.c.codes, results.c.timings_s, sites.c.code
            )
            .join(cases, cases.c.id == results.c.case_id)
            .join(sites, sites.c.id == cases.c.site_id)
            .where(results.c.id > self._last_result, results.c.id <= last)
            .order_by(results.c.id)
            .limit(PAGE_RESULTS)
        )
        with reading(engine) as connection:
            rows = connection.execute(query).all()
        for row in rows:
            self._last_result = row.id
            self.verdicts[row.status, row.code] += 1
            self.reasons.update((code, row.code) for code in row.codes)
            for stage, seconds in row.timings_s.items():
                self._observe(stage, float(seconds))
        return len(rows)

    def _add_instances(self, engine: Engine, last: int) -> None:
        # By the id's range, so that rows of results, which have the same table, cost no more.
        counts = (
            select(sites.c.code, func.count(), func.sum(instances.c.size_bytes))
            .join(studies, studies.c.id == instances.c.study_id)
            .join(sites, sites.c.id == studies.c.site_id)
            .where(instances.c.id > self._last_instance, instances.c.id <= last)
            .where(instances.c.result_id.is_(None))
            .group_by(sites.c.code)
        )
        with reading(engine) as connection:
            rows = connection.execute(counts).all()
        for code, count, size in rows:
            self.received[code] += count
            # PostgreSQL's sum of such numbers has decimals.
            self.received_bytes[code] += int(size)
        self._last_instance = last

    def _observe(self, stage: str, seconds: float) -> None:
        buckets = self.stage_buckets.setdefault(stage, [0] * (len(self.limits_s) + 1))
        buckets[sum(seconds > limit for limit in self.limits_s)] += 1
        self.stage_seconds[stage] = self.stage_seconds.get(stage, 0.0) + seconds
