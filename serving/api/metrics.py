"""``/metrics`` for Prometheus: what waits, what was done, how long it took, what failed.

Everything but the HTTP figures is read from the database when it is asked for, so the web process
and the workers need not add up what each of them saw. What only grows is read row by row once:
a scrape looks at rows that are newer than the last scrape's. No label names a person or a study.
"""

import hmac
from collections import Counter
from collections.abc import Iterable, Iterator
from threading import Lock

from fastapi import APIRouter, Depends, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client import Counter as PromCounter
from prometheus_client import Histogram as PromHistogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from sqlalchemy import Connection, func, select

from serving.database.engine import reading
from serving.database.tables import cases, conflicts, instances, jobs, results, sites, studies
from serving.errors import NotFound
from serving.http.dependencies import Service, get_service
from serving.http.origin import is_loopback
from serving.worklist.states import AiState

router = APIRouter()

STAGE_BUCKETS_S = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
HTTP_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class HttpFigures:
    """What this web process answered, by route template; a path never becomes a label."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = PromCounter(
            "firstread_http_requests",
            "Answers of this web process",
            ("method", "route", "status"),
            registry=registry,
        )
        self._seconds = PromHistogram(
            "firstread_http_seconds",
            "From the first byte of a request to the last of its answer",
            ("route",),
            buckets=HTTP_BUCKETS_S,
            registry=registry,
        )

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answer."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)


class Growing:
    """Sums over rows that are only ever added, kept up by looking at the new ones."""

    def __init__(self) -> None:
        self.last_result = self.last_instance = 0
        self.verdicts: Counter[tuple[str, str]] = Counter()
        self.reasons: Counter[tuple[str, str]] = Counter()
        self.received: Counter[str] = Counter()
        self.received_bytes: Counter[str] = Counter()
        self.stage_buckets: dict[str, list[int]] = {}
        self.stage_seconds: dict[str, float] = {}

    def read_on(self, connection: Connection) -> None:
        """Add the rows that are new."""
        query = (
            select(
                results.c.id, results.c.status, results.c.codes, results.c.timings_s, sites.c.code
            )
            .join(cases, cases.c.id == results.c.case_id)
            .join(sites, sites.c.id == cases.c.site_id)
            .where(results.c.id > self.last_result)
            .order_by(results.c.id)
        )
        for row in connection.execute(query):
            self.last_result = row.id
            self.verdicts[row.status, row.code] += 1
            self.reasons.update((code, row.code) for code in row.codes)
            for stage, seconds in row.timings_s.items():
                self._observe(stage, float(seconds))
        newest = connection.execute(select(func.max(instances.c.id))).scalar() or 0
        # By the id's range, so that rows of results, which have the same table, cost no more.
        counts = (
            select(sites.c.code, func.count(), func.sum(instances.c.size_bytes))
            .join(studies, studies.c.id == instances.c.study_id)
            .join(sites, sites.c.id == studies.c.site_id)
            .where(instances.c.id > self.last_instance, instances.c.id <= newest)
            .where(instances.c.result_id.is_(None))
            .group_by(sites.c.code)
        )
        for code, count, size in connection.execute(counts):
            self.received[code] += count
            self.received_bytes[code] += size
        self.last_instance = newest

    def _observe(self, stage: str, seconds: float) -> None:
        buckets = self.stage_buckets.setdefault(stage, [0] * (len(STAGE_BUCKETS_S) + 1))
        place = sum(seconds > limit for limit in STAGE_BUCKETS_S)
        buckets[place] += 1
        self.stage_seconds[stage] = self.stage_seconds.get(stage, 0.0) + seconds


class DatabaseFigures(Collector):
    """Everything that the database knows, read at each scrape."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._growing = Growing()
        self._lock = Lock()

    def collect(self) -> Iterable[Metric]:
        """Read, then give: no transaction lasts while an answer is sent."""
        with self._lock, reading(self._service.engine) as connection:
            self._growing.read_on(connection)
            return [
                *_now(connection, self._service.clock()),
                *_grown(self._growing),
                _disk(self._service),
            ]


def _now(connection: Connection, now: float) -> Iterator[Metric]:
    states = GaugeMetricFamily("firstread_studies", "Cases by state", labels=["state"])
    counted = {
        row[0]: row[1]
        for row in connection.execute(
            select(cases.c.ai_state, func.count()).group_by(cases.c.ai_state)
        )
    }
    for state in AiState:
        states.add_metric([state.value], counted.get(state.value, 0))
    yield states
    jobs_by_state = GaugeMetricFamily("firstread_jobs", "Jobs by state", labels=["state"])
    for state_name, count in connection.execute(
        select(jobs.c.state, func.count()).group_by(jobs.c.state)
    ):
        jobs_by_state.add_metric([state_name], count)
    yield jobs_by_state
    oldest = connection.execute(
        select(func.min(jobs.c.queued_at)).where(jobs.c.state == "queued")
    ).scalar()
    yield GaugeMetricFamily(
        "firstread_queue_age_seconds",
        "How long the longest-waiting study has waited for its analysis; 0 where none waits",
        value=0.0 if oldest is None else max(0.0, now - oldest),
    )
    yield GaugeMetricFamily(
        "firstread_conflicts",
        "Instances that came again with other content and were kept apart",
        value=connection.execute(select(func.count()).select_from(conflicts)).scalar() or 0,
    )


def _grown(growing: Growing) -> Iterator[Metric]:
    verdicts = CounterMetricFamily(
        "firstread_verdicts", "Analyses that ended, by verdict", labels=["status", "site"]
    )
    for labels, count in sorted(growing.verdicts.items()):
        verdicts.add_metric(list(labels), count)
    yield verdicts
    reasons = CounterMetricFamily(
        "firstread_reasons", "Reasons of those verdicts, by code", labels=["code", "site"]
    )
    for labels, count in sorted(growing.reasons.items()):
        reasons.add_metric(list(labels), count)
    yield reasons
    received = CounterMetricFamily(
        "firstread_instances_received", "Instances acknowledged", labels=["site"]
    )
    received_bytes = CounterMetricFamily(
        "firstread_bytes_received", "Bytes of instances acknowledged", labels=["site"]
    )
    for site, count in sorted(growing.received.items()):
        received.add_metric([site], count)
        received_bytes.add_metric([site], growing.received_bytes[site])
    yield received
    yield received_bytes
    stages = HistogramMetricFamily(
        "firstread_stage_seconds", "Seconds of each stage of an analysis", labels=["stage"]
    )
    for stage, buckets in sorted(growing.stage_buckets.items()):
        total, cumulative = 0, []
        for limit, count in zip((*map(str, STAGE_BUCKETS_S), "+Inf"), buckets, strict=True):
            total += count
            cumulative.append((limit, total))
        stages.add_metric([stage], cumulative, growing.stage_seconds[stage])
    yield stages


def _disk(service: Service) -> Metric:
    return GaugeMetricFamily(
        "firstread_store_free_bytes", "Room left for uploads", value=service.store.free_bytes()
    )


def may_scrape(request: Request, service: Service) -> bool:
    """Whether who asks brings the scraper's own token, or sits at a machine that serves itself."""
    token = service.settings.metrics_token
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if token and scheme.lower() == "bearer" and hmac.compare_digest(given.encode(), token.encode()):
        return True
    return is_loopback(request, service.settings)


@router.get("/metrics", include_in_schema=False)
def metrics(request: Request, service: Service = Depends(get_service)) -> Response:  # noqa: B008
    """Answer a scrape; for everybody else there is nothing here."""
    if not may_scrape(request, service):
        raise NotFound("nothing is here", advice="scrape from this machine, or with the token")
    return Response(
        generate_latest(request.app.state.figures), headers={"Content-Type": CONTENT_TYPE_LATEST}
    )


def new_registry(service: Service) -> tuple[CollectorRegistry, HttpFigures]:
    """Return the registry of one application, and what counts its answers."""
    registry = CollectorRegistry()
    registry.register(DatabaseFigures(service))
    return registry, HttpFigures(registry)
