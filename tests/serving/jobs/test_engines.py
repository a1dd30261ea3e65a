"""What every engine must do, on each of them."""

from dataclasses import replace
from pathlib import Path

import pytest

from serving.archive.store import Store
from serving.errors import ObjectDamaged
from serving.jobs.engine import Engine
from serving.jobs.inline import InlineEngine
from tests.serving.jobs.engines import Shelf, a_shelf, document_of

pytestmark = pytest.mark.slow

ENGINES = ["inline", pytest.param("ray", marks=pytest.mark.xdist_group("ray"))]


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Engine:
    if request.param == "inline":
        return InlineEngine(Store)
    found: Engine = request.getfixturevalue("ray_engine")
    return found


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return a_shelf(tmp_path)


def test_every_engine_gives_the_same_bytes(engine: Engine, shelf: Shelf) -> None:
    request = shelf.request()
    analysed = engine.analyse(request)
    other = InlineEngine(Store).analyse(replace(request, threads=2))
    assert {"findings.json", "sr.dcm", "seg.dcm", "key_images/1.png"} == set(analysed.files)
    assert shelf.bytes_of(analysed) == shelf.bytes_of(other)
    assert document_of(analysed) == document_of(other)


def test_a_second_analysis_finds_its_objects_in_the_store(engine: Engine, shelf: Shelf) -> None:
    request = shelf.request()
    first, second = engine.analyse(request), engine.analyse(request)
    for name in ("sr.dcm", "seg.dcm", "key_images/1.png"):
        assert first.files[name] == second.files[name]


def test_what_is_wrong_with_a_study_is_told_with_its_code(engine: Engine, shelf: Shelf) -> None:
    request = shelf.request()
    shelf.store.path(request.objects[0]).write_bytes(b"other bytes")
    with pytest.raises(ObjectDamaged) as error:
        engine.analyse(request)
    assert error.value.code == "object-damaged"
    assert error.value.advice
    assert engine.healthy()
