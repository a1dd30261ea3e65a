"""``/metrics`` for Prometheus: what waits, what was done, how long it took, what failed.

What this web process answered it counts itself; everything else is read from the database when it
is asked for (``serving.studies.figures``). No label names a person or a study.
"""

import hmac
from collections.abc import Iterable, Iterator, Mapping
from threading import Lock

from fastapi import APIRouter, Depends, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client import Counter as PromCounter
from prometheus_client import Histogram as PromHistogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from serving.database.engine import reading
from serving.errors import NotFound
from serving.http.dependencies import Service, get_service
from serving.http.origin import is_loopback
from serving.studies.figures import Standing, Sums, read_standing

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

        self._refused = PromCounter(
            "firstread_instances_refused",
            "Instances that this web process did not take, by DICOM's Failure Reason (0008,1197)",
            ("reason",),
            registry=registry,
        )

    def refuse(self, reasons: Iterable[int]) -> None:
        """Count instances that were not taken, by Failure Reason: a handful of our own."""
        for reason in reasons:
            self._refused.labels(f"{reason:04X}").inc()

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answer."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)


class DatabaseFigures(Collector):
    """Everything that the database knows, read at each scrape."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._sums = Sums(STAGE_BUCKETS_S)
        self._lock = Lock()

    def collect(self) -> Iterable[Metric]:
        """Read, then give: no transaction lasts while an answer is sent."""
        engine = self._service.engine
        with self._lock:
            self._sums.read_on(engine)
            with reading(engine) as connection:
                standing = read_standing(connection, self._service.clock())
            return [*_standing(standing), *_grown(self._sums), _disk(self._service)]


def _standing(standing: Standing) -> Iterator[Metric]:
    yield _by("firstread_studies", "Cases by state", "state", standing.cases)
    yield _by("firstread_jobs", "Jobs by state", "state", standing.jobs)
    yield _by("firstread_failures", "Studies that were given up, by why", "code", standing.failures)
    yield GaugeMetricFamily(
        "firstread_queue_age_seconds",
        "How long the longest-waiting study has waited for its analysis; 0 where none waits",
        value=standing.queue_age_s,
    )
    yield GaugeMetricFamily(
        "firstread_conflicts",
        "Instances that came again with other content and were kept apart",
        value=standing.conflicts,
    )


def _by(name: str, says: str, label: str, counts: Mapping[str, int]) -> Metric:
    family = GaugeMetricFamily(name, says, labels=[label])
    for value, count in counts.items():
        family.add_metric([value], count)
    return family


def _grown(sums: Sums) -> Iterator[Metric]:
    verdicts = CounterMetricFamily(
        "firstread_verdicts", "Analyses that ended, by verdict", labels=["status", "site"]
    )
    for labels, count in sorted(sums.verdicts.items()):
        verdicts.add_metric(list(labels), count)
    yield verdicts
    reasons = CounterMetricFamily(
        "firstread_reasons", "Reasons of those verdicts, by code", labels=["code", "site"]
    )
    for labels, count in sorted(sums.reasons.items()):
        reasons.add_metric(list(labels), count)
    yield reasons
    received = CounterMetricFamily(
        "firstread_instances_received", "Instances acknowledged", labels=["site"]
    )
    received_bytes = CounterMetricFamily(
        "firstread_bytes_received", "Bytes of instances acknowledged", labels=["site"]
    )
    for site, count in sorted(sums.received.items()):
        received.add_metric([site], count)
        received_bytes.add_metric([site], sums.received_bytes[site])
    yield received
    yield received_bytes
    stages = HistogramMetricFamily(
        "firstread_stage_seconds", "Seconds of each stage of an analysis", labels=["stage"]
    )
    for stage, buckets in sorted(sums.stage_buckets.items()):
        total, cumulative = 0, []
        for limit, count in zip((*map(str, STAGE_BUCKETS_S), "+Inf"), buckets, strict=True):
            total += count
            cumulative.append((limit, total))
        stages.add_metric([stage], cumulative, sums.stage_seconds[stage])
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
