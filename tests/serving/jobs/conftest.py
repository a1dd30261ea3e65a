"""One local Ray for all tests of a module; it ends with them, and what comes after forks safely."""

from collections.abc import Iterator

import pytest

from serving.archive.store import Store
from serving.jobs.ray_application import Plan, identify
from serving.jobs.ray_engine import RayEngine, open_ray_engine


@pytest.fixture(scope="module")
def ray_engine() -> Iterator[RayEngine]:
    plan = Plan(2, 1, identify(None).reference, "balanced")
    lost: list[str] = []
    engine = open_ray_engine(plan, Store, on_lost=lost.append)
    yield engine
    engine.close()
    assert lost == []
