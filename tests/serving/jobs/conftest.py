"""One local Ray for a whole run of tests; its start takes fifteen seconds and more."""

from collections.abc import Iterator

import pytest

from serving.archive.store import Store
from serving.jobs.ray_application import Plan, identify
from serving.jobs.ray_engine import RayEngine, open_ray_engine


@pytest.fixture(scope="session")
def ray_engine() -> Iterator[RayEngine]:
    plan = Plan(2, 1, identify(None).reference, "balanced")
    lost: list[str] = []
    engine = open_ray_engine(plan, Store, on_lost=lost.append)
    yield engine
    engine.close()
    assert lost == []
