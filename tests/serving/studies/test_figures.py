"""Figures of the database: read on in pages, each in a transaction of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import event

from serving.database.engine import reading
from serving.jobs.queue import Job
from serving.studies import figures, life
from serving.studies.figures import Sums
from tests.serving.studies.a_study import NOW, QUIET_S, Archive, an_instance

LIMITS_S = (0.05, 1.0)


@pytest.fixture
def archive(database: str, tmp_path: Path) -> Iterator[Archive]:
    """Return five analysed studies of three images each."""
    made = Archive(tmp_path)
    for number in range(5):
        study = f"study {number}"
        made.receive(*(an_instance(place, study=study) for place in range(3)))
    life.settle(made.engine, NOW + QUIET_S, QUIET_S)
    while (job := made.claim(NOW + QUIET_S)) is not None:
        analyse(made, job)
    yield made
    made.close()


def analyse(archive: Archive, job: Job) -> None:
    assert life.begin(archive.engine, job, NOW + QUIET_S) is not None
    analysed = archive.analysed(study=f"study {job.study_id - 1}", says=str(job.id))
    archive.finish(
        job,
        analysed,
        now=NOW + QUIET_S,
    )


def test_no_transaction_reads_more_than_a_page_and_nothing_is_left_out(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "PAGE_RESULTS", 2)
    monkeypatch.setattr(figures, "PAGE_INSTANCES", 6)
    begun: list[object] = []
    event.listen(archive.engine, "begin", begun.append)
    sums = Sums(LIMITS_S)
    sums.read_on(archive.engine)
    whole = len(begun)
    sums.read_on(archive.engine)
    assert sums.verdicts == {("accept", "one"): 5}
    assert sums.stage_buckets == {"read": [0, 5, 0]}
    assert sums.received == {"one": 15}
    # 2 + 2 + 1 results, the newest instance, 15 images and 5 reports by 6; then next to nothing.
    assert (whole, len(begun) - whole) == (3 + 1 + 4, 1 + 1)


def test_a_study_that_never_settled_is_counted_among_the_failures(tmp_path: Path) -> None:
    made = Archive(tmp_path)
    made.receive(an_instance(1))
    assert life.give_up_settling(made.engine, 1, NOW + QUIET_S, QUIET_S) is not None
    with reading(made.engine) as connection:
        failures = figures.read_standing(connection, NOW).failures
    made.close()
    assert failures == {"analysis-crashed": 0, "analysis-failed": 1, "package-unusable": 0}
