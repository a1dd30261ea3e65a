"""The function that every engine runs, on a small chest and a package made for the tests."""

import json
import resource
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from firstread.errors import PackageMissing, UsageError
from serving.archive.store import Store
from serving.errors import ObjectDamaged
from serving.jobs.analysis import Warm, analyse_objects, warm_up
from serving.jobs.engine import Analysed, AnalysisRequest
from serving.jobs.room import NoRoom
from serving.studies.arrival import read_facts
from tests.builders import a_phantom, phantom_folder
from tests.packages import blob_network, make_package


@dataclass
class Lab:
    """A store with the objects of one study, and what analyses them."""

    store: Store
    request: AnalysisRequest
    warm: Warm

    def files(self, analysed: Analysed) -> dict[str, bytes]:
        """Return the files of a result, without the timings, which differ."""
        files = {name: self.store.read(one.sha256) for name, one in analysed.files.items()}
        document = json.loads(files["findings.json"])
        assert document == analysed.document
        del document["timings_s"]
        files["findings.json"] = json.dumps(document, sort_keys=True).encode()
        return files


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    contract = {"max_pixel_spacing_mm": 1.5, "min_lung_volume_ml": 300.0}
    network = blob_network(bright_at=0.68)
    root = tmp_path_factory.mktemp("packages")
    return make_package(root, network, input_contract=contract).folder


@pytest.fixture
def lab(tmp_path: Path, package: Path) -> Iterator[Lab]:
    store = Store(tmp_path / "store")
    files = sorted(phantom_folder(a_phantom((14.0,), 2.5)).glob("*.dcm"))
    objects = [store.put_bytes(path.read_bytes()).sha256 for path in files]
    study_uid = read_facts(files[0]).study_uid
    request = AnalysisRequest(
        store.folder, tuple(sorted(objects)), study_uid, str(package), "balanced", 1
    )
    yield Lab(store, request, Warm(Store))
    store.close()


@pytest.mark.slow
def test_results_are_in_the_store_and_the_same_at_every_run(lab: Lab) -> None:
    first = analyse_objects(lab.request, lab.warm)
    assert first.document["scored"]
    assert {"findings.json", "sr.dcm", "seg.dcm", "key_images/1.png"} <= set(first.files)
    turned = replace(lab.request, objects=lab.request.objects[::-1], threads=2)
    assert lab.files(first) == lab.files(analyse_objects(turned, Warm(Store)))


def test_a_study_that_is_not_scored_has_a_result_too(lab: Lab) -> None:
    few = replace(lab.request, objects=lab.request.objects[:5])
    analysed = analyse_objects(few, lab.warm)
    assert not analysed.document["scored"]
    assert set(analysed.files) == {"findings.json", "sr.dcm"}


def test_an_image_whose_bytes_have_changed_is_never_analysed(lab: Lab) -> None:
    path = lab.store.path(lab.request.objects[3])
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ObjectDamaged):
        analyse_objects(lab.request, lab.warm)


def test_what_is_wrong_with_a_package_shows_when_it_is_warmed(lab: Lab, package: Path) -> None:
    warm_up(lab.warm, str(package), "balanced", 1)
    with pytest.raises(UsageError):
        warm_up(lab.warm, str(package), "no such point", 1)
    with pytest.raises(PackageMissing):
        warm_up(lab.warm, "no_such_package", "balanced", 1)


def test_a_package_is_loaded_once(lab: Lab, package: Path) -> None:
    assert lab.warm.load(str(package), 1) == lab.warm.load(str(package), 1)
    # Nothing of it is read again: whoever changes a package starts the service anew.
    assert lab.warm.load(str(package), 1)[1] is lab.warm.load(str(package), 1)[1]


def test_a_machine_without_room_says_so_and_not_that_the_study_is_bad(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lab.warm.load(lab.request.package, 1)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        with pytest.raises(NoRoom, match="no room"):
            analyse_objects(lab.request, lab.warm)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    with pytest.raises(NoRoom):
        analyse_objects(lab.request, lab.warm)
