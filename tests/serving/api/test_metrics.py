"""What a scraper is told, and who may scrape."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from fastapi import Request
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Engine, insert

from serving.api.metrics import DatabaseFigures, HttpFigures, may_scrape
from serving.database.engine import writing
from serving.database.tables import (
    cases,
    instances,
    jobs,
    results,
    series,
    sites,
    studies,
)
from serving.http.dependencies import Service
from serving.settings import Settings
from serving.worklist.keys import ReadingKey
from serving.worklist.pools import ensure_default_pool, key_id
from tests.serving.databases import a_database

NOW = 1_000_000.0


@pytest.fixture
def engine(database: str, tmp_path: Path) -> Iterator[Engine]:
    engine = a_database(tmp_path / "x.sqlite")
    with writing(engine) as connection:
        connection.execute(insert(sites).values(id=1, code="county", name="County", created_at=0))
        ensure_default_pool(connection, 0.0)
        key_id(connection, ReadingKey("CT", "chest"))
    yield engine
    engine.dispose()


def a_service(engine: Engine, **settings: Any) -> Service:
    store = SimpleNamespace(free_bytes=lambda: 123.0)
    return cast(
        "Service",
        SimpleNamespace(
            engine=engine, clock=lambda: NOW, store=store, settings=Settings(**settings)
        ),
    )


def add_case(engine: Engine, number: int, state: str = "scored") -> None:
    with writing(engine) as connection:
        connection.execute(
            insert(studies).values(
                id=number, study_uid=f"1.2.{number}", site_id=1, received_at=0,
                patient_name="王^伟",
                patient_id="P", birth_date="", sex="", study_date="", study_time="",
                accession_number="", description="", codecs={}, search="",
            )
        )  # fmt: skip
        connection.execute(
            insert(cases).values(
                id=f"case{number}", study_id=number, site_id=1, ai_state=state,
                reading_state="routed", ordered_class="routine", urgency_class="routine",
                class_rank=3, arrived_at=0, due_at=0, fair_due_at=0, pool_id=1, key_id=1,
                reasons=[], summary={}, search="",
            )
        )  # fmt: skip


def add_result(engine: Engine, number: int, status: str, **timings_s: float) -> None:
    with writing(engine) as connection:
        connection.execute(
            insert(results).values(
                case_id=f"case{number}", package_name="p", package_version="1", package_sha256="a",
                software_version="0", input_sha256="b", generation=1, status=status,
                codes=[] if status == "accept" else ["slices-missing"], timings_s=timings_s,
                is_visible=False, created_at=0,
            )
        )  # fmt: skip


def scrape(registry: CollectorRegistry) -> dict[str, float]:
    text = generate_latest(registry).decode()
    assert "王" not in text
    assert "1.2." not in text
    return {
        sample.name
        + "".join(f",{sample.labels[label]}" for label in sorted(sample.labels)): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def registry(engine: Engine) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(DatabaseFigures(a_service(engine)))
    return registry


def test_an_empty_service_has_every_state_at_zero(registry: CollectorRegistry) -> None:
    told = scrape(registry)
    states = ("receiving", "waiting", "analysing", "scored", "not-analysed")
    assert [told[f"firstread_studies,{state}"] for state in states] == [0] * 5
    assert told["firstread_queue_age_seconds"] == 0
    assert told["firstread_store_free_bytes"] == 123


def test_cases_are_counted_by_state_and_results_by_verdict_code_and_site(
    engine: Engine, registry: CollectorRegistry
) -> None:
    add_case(engine, 1)
    add_case(engine, 2, "not-analysed")
    add_result(engine, 1, "accept", detect=0.2, total=3.0)
    add_result(engine, 2, "resend", total=0.7)
    told = scrape(registry)
    assert told["firstread_studies,scored"] == told["firstread_studies,not-analysed"] == 1
    assert told["firstread_verdicts_total,county,accept"] == 1
    assert told["firstread_reasons_total,slices-missing,county"] == 1
    assert told["firstread_stage_seconds_count,total"] == 2
    assert told["firstread_stage_seconds_sum,total"] == pytest.approx(3.7)
    assert told["firstread_stage_seconds_bucket,0.25,detect"] == 1
    assert told["firstread_stage_seconds_bucket,1.0,total"] == 1
    assert told["firstread_stage_seconds_bucket,+Inf,total"] == 2


def test_a_second_scrape_adds_what_is_new_and_counts_nothing_twice(
    engine: Engine, registry: CollectorRegistry
) -> None:
    add_case(engine, 1)
    add_result(engine, 1, "accept", total=1.0)
    scrape(registry)
    assert scrape(registry)["firstread_verdicts_total,county,accept"] == 1
    add_result(engine, 1, "accept", total=1.0)
    assert scrape(registry)["firstread_verdicts_total,county,accept"] == 2


def test_acknowledged_instances_are_counted_with_their_bytes_and_results_are_not(
    engine: Engine, registry: CollectorRegistry
) -> None:
    add_case(engine, 1)
    add_result(engine, 1, "accept")
    with writing(engine) as connection:
        connection.execute(
            insert(series).values(
                id=1, study_id=1, series_uid="1.2.3", modality="CT", description="", body_part=""
            )
        )
        for number in range(4):
            connection.execute(
                insert(instances).values(
                    study_id=1, series_id=1, sop_instance_uid=f"1.2.3.{number}", sop_class_uid="1",
                    transfer_syntax_uid="1", sha256="c", size_bytes=100, is_source=number < 3,
                    result_id=None if number < 3 else 1, received_at=0,
                )
            )  # fmt: skip
    told = scrape(registry)
    assert told["firstread_instances_received_total,county"] == 3
    assert told["firstread_bytes_received_total,county"] == 300


def test_studies_that_were_given_up_are_counted_by_why_and_taken_back_ones_are_not(
    engine: Engine, registry: CollectorRegistry
) -> None:
    for number, (state, error) in enumerate(
        [("quarantined", "analysis-crashed"), ("queued", "lease-ended")], start=1
    ):
        add_case(engine, number, "waiting")
        with writing(engine) as connection:
            connection.execute(
                insert(jobs).values(
                    study_id=number, generation=1, state=state, error=error, rank=3, queued_at=NOW
                )
            )
    told = scrape(registry)
    assert told["firstread_failures,analysis-crashed"] == 1
    assert told["firstread_failures,analysis-failed"] == 0
    assert "firstread_failures,lease-ended" not in told


def test_the_queue_s_age_is_that_of_its_oldest_study(
    engine: Engine, registry: CollectorRegistry
) -> None:
    for number, waited in ((1, 5.0), (2, 40.0)):
        add_case(engine, number, "waiting")
        with writing(engine) as connection:
            connection.execute(
                insert(jobs).values(
                    study_id=number, generation=1, state="queued", rank=3, queued_at=NOW - waited
                )
            )
    assert scrape(registry)["firstread_queue_age_seconds"] == 40


def test_answers_are_counted_by_route_and_never_by_path() -> None:
    registry = CollectorRegistry()
    HttpFigures(registry).observe("GET", "/cases/{case_id}", 200, 0.03)
    told = scrape(registry)
    assert told["firstread_http_requests_total,GET,/cases/{case_id},200"] == 1
    assert told["firstread_http_seconds_bucket,0.05,/cases/{case_id}"] == 1


def test_instances_that_were_not_taken_are_counted_by_failure_reason() -> None:
    registry = CollectorRegistry()
    HttpFigures(registry).refuse([0x0124, 0xA901, 0x0124])
    told = scrape(registry)
    assert told["firstread_instances_refused_total,0124"] == 2
    assert told["firstread_instances_refused_total,A901"] == 1


def asked(host: str, **headers: str) -> Request:
    headers = {"Host": "localhost:8042"} | headers
    listed = [(name.replace("_", "-").lower().encode(), v.encode()) for name, v in headers.items()]
    return Request({"type": "http", "client": (host, 1), "headers": listed})


@pytest.mark.parametrize(
    ("host", "headers", "may"),
    [
        ("127.0.0.1", {}, True),
        ("::1", {}, True),
        ("10.0.0.7", {}, False),
        ("10.0.0.7", {"Authorization": "Bearer scrape-me"}, True),
        ("10.0.0.7", {"Authorization": "Bearer scrape-m"}, False),
        ("10.0.0.7", {"Authorization": "Basic scrape-me"}, False),
        ("127.0.0.1", {"X_Forwarded_For": "10.0.0.7"}, False),
        ("127.0.0.1", {"X_Real_IP": "10.0.0.7"}, False),
        ("127.0.0.1", {"Via": "1.1 proxy"}, False),
        ("127.0.0.1", {"Host": "reader.example"}, False),
        ("", {}, False),
    ],
)
def test_who_may_scrape(
    engine: Engine,
    host: str,
    headers: dict[str, str],
    may: bool,
) -> None:
    service = a_service(engine, metrics_token="scrape-me")
    assert may_scrape(asked(host, **headers), service) is may


def test_without_a_token_of_its_own_nobody_elsewhere_scrapes(engine: Engine) -> None:
    assert not may_scrape(asked("10.0.0.7", Authorization="Bearer "), a_service(engine))


@pytest.mark.parametrize("meant", [{"hosts": "reader.example"}, {"secure_cookies": True}])
def test_a_service_for_others_tells_figures_for_the_token_alone(
    engine: Engine, meant: dict[str, Any]
) -> None:
    # As a proxy asks that says nothing of itself: from this machine, by its address.
    service = a_service(engine, metrics_token="scrape-me", **meant)
    assert not may_scrape(asked("127.0.0.1", Host="127.0.0.1:8042"), service)
    assert may_scrape(asked("127.0.0.1", Authorization="Bearer scrape-me"), service)
