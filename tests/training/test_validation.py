"""Candidates of validation volumes, sorted into hits and false alarms."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from inference.lungs import find_lungs
from inference.phantom import NoduleSpec, Phantom, PhantomSpec, make_phantom
from models.package import Package
from models.runtime import Runtime, open_runtime
from tests.packages import make_package
from training.operating_points import Group
from training.validation import (
    Evidence,
    Nodule,
    Ranked,
    ValidationVolume,
    measure,
    raw_logits,
    read_evidence,
    write_evidence,
)


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    spec = PhantomSpec((NoduleSpec(16.0),), slice_mm=2.5, slices=90, matrix=192, seed=43)
    return make_phantom(spec)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Package:
    """A network that answers with contrast: it sees the sphere, and vessels as well."""
    return make_package(tmp_path_factory.mktemp("packages"))


@pytest.fixture(scope="module")
def runtime(package: Package) -> Runtime:
    return open_runtime(package, "onnxruntime-cpu", threads=1)


def a_volume(phantom: Phantom, *, is_wanted: bool) -> Iterator[ValidationVolume]:
    (nodule,) = (Nodule(n.centre_lps_mm, n.diameter_mm) for n in phantom.nodules)
    assert find_lungs(phantom.volume) is not None
    yield ValidationVolume(
        phantom.volume, (nodule,) if is_wanted else (), () if is_wanted else (nodule,)
    )


def test_a_nodule_that_is_seen_is_a_hit_and_no_false_alarm(
    phantom: Phantom, package: Package, runtime: Runtime
) -> None:
    wanted = measure("made", a_volume(phantom, is_wanted=True), package, runtime)
    known = measure("made", a_volume(phantom, is_wanted=False), package, runtime)
    assert (wanted.volumes, len(wanted.hits), len(known.hits)) == (1, 1, 0)
    assert np.isfinite(wanted.hits[0])
    # Known but not wanted: neither a hit nor a false alarm.
    np.testing.assert_array_equal(wanted.false_alarms, known.false_alarms)


def test_a_nodule_that_nothing_is_near_has_no_logit(
    phantom: Phantom, package: Package, runtime: Runtime
) -> None:
    far = ValidationVolume(phantom.volume, (Nodule((0.0, 0.0, 9999.0), 10.0),), ())
    group = measure("made", iter([far]), package, runtime)
    assert group.hits.tolist() == [-np.inf]


def test_calibration_is_undone(package: Package, tmp_path: Path) -> None:
    steep = make_package(tmp_path, calibration={"scale": 2.0, "shift": -1.0})
    logits = np.array([-1.0, 0.5, 2.0])
    scores = 1 / (1 + np.exp(-(2 * logits - 1)))
    np.testing.assert_allclose(raw_logits(scores, steep), logits)


def test_evidence_is_kept_for_the_same_network_only(tmp_path: Path) -> None:
    path = tmp_path / "validation.json"
    group = Group("made", 3, np.array([1.5, -np.inf]), np.array([0.25]))
    written = Evidence((group,), (Ranked("case", 1, 2.5, 0.5), Ranked("other", None, None, None)))
    write_evidence(written, "key", path)
    read = read_evidence("key", path)
    assert read is not None
    assert read.lesions == written.lesions
    np.testing.assert_array_equal(read.groups[0].hits, group.hits)
    assert read_evidence("another", path) is None
    assert read_evidence("key", tmp_path / "absent.json") is None
