"""Whatever slices are gone, every gap is named and no known nodule moves or vanishes in silence."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from inference.gate.reasons import Code
from inference.phantom import Phantom
from inference.pipeline import analyse
from models.package import Package, find_package
from models.runtime import Runtime, open_runtime
from tests.builders import a_phantom, phantom_folder
from tests.inference.gate.hand import THIN
from tests.peers.cases import SCAN, SCAN_NODULE_LPS_MM
from tests.peers.removal import (
    Gap,
    Known,
    Whole,
    attempt,
    decompressed_scan,
    gate_reasons,
    known_nodules,
    named_gaps,
    opened,
    subsets,
    summary,
    true_gaps,
)
from tests.shared import needs_shared

# A trial is a whole analysis, about 3 CPU seconds.
pytestmark = pytest.mark.timeout(900)

SETS = 40
# The shipped package's limits on slices; the gate alone needs no package.
CONTRACT = THIN


def a_small_phantom() -> Phantom:
    """For the geometry alone: its lungs are small; other tests use the very same one."""
    return a_phantom((6.0, 10.0, 20.0), 1.25, pixel_mm=0.7)


def a_whole_phantom() -> Phantom:
    """A chest of natural size within the package's limits."""
    return a_phantom((8.0, 12.0, 20.0), 2.5, slices=112, matrix=384, pixel_mm=0.95)


@pytest.fixture(scope="module", params=["phantom", pytest.param("scan", marks=needs_shared)])
def whole(request: pytest.FixtureRequest) -> Iterator[Whole]:
    folder = SCAN if request.param == "scan" else phantom_folder(a_small_phantom())
    with opened(folder) as one:
        yield one


def test_every_gap_is_named_with_its_place_and_its_millimetres(whole: Whole) -> None:
    for removed in subsets(len(whole.instances), SETS, seed=1):
        reasons = gate_reasons(whole, removed, CONTRACT)
        missing = [reason for reason in reasons if reason.code is Code.SLICES_MISSING]
        assert named_gaps(missing) == true_gaps(whole.heights_mm, removed), removed
        for reason in missing:
            gap = Gap(float(reason.numbers["from_mm"]), float(reason.numbers["to_mm"]))
            assert reason.numbers["gap_mm"] == pytest.approx(gap.length_mm, abs=0.02)
            assert gap.from_mm < float(reason.numbers["position_mm"]) < gap.to_mm


def test_a_gap_that_the_package_cannot_bridge_is_never_scored(whole: Whole) -> None:
    for removed in subsets(len(whole.instances), SETS, seed=2):
        widest = max(gap.length_mm for gap in true_gaps(whole.heights_mm, removed))
        scored = all(r.status.is_scored for r in gate_reasons(whole, removed, CONTRACT))
        assert scored == (widest <= CONTRACT.max_bridgeable_gap_mm), removed


def test_one_half_of_the_sets_has_no_two_slices_in_a_row() -> None:
    sets = list(subsets(133, 200, seed=3))
    apart = [removed for removed in sets if np.all(np.diff(removed) > 1)]
    assert len(apart) >= 100
    assert all(
        3 <= len(removed) <= 40 and removed[0] >= 1 and removed[-1] <= 131 for removed in sets
    )


@pytest.fixture(scope="module")
def package() -> Package:
    return find_package()


@pytest.fixture(scope="module")
def runtime(package: Package) -> Runtime:
    return open_runtime(package)


def is_near_one_of(own: Sequence[Known], truth: Known) -> bool:
    distances = [np.linalg.norm(np.subtract(one.centre_lps_mm, truth.centre_lps_mm)) for one in own]
    return bool(min(distances, default=np.inf) <= 2.5)


@pytest.mark.slow
def test_the_nodules_of_a_phantom_stay_in_place_or_a_gap_is_told(
    package: Package, runtime: Runtime
) -> None:
    phantom = a_whole_phantom()
    truths = [
        Known(
            nodule.centre_lps_mm,
            nodule.centre_lps_mm[2] - nodule.diameter_mm / 2,
            nodule.centre_lps_mm[2] + nodule.diameter_mm / 2,
        )
        for nodule in phantom.nodules
    ]
    with opened(phantom_folder(phantom)) as whole:
        own = known_nodules(analyse(whole.upload, package, lambda: runtime))
        # What the package misses in the whole series is its own matter, not that of a gap.
        known = [truth for truth in truths if is_near_one_of(own, truth)]
        assert len(known) >= 2
        trials = [
            attempt(whole, removed, known, own, package, lambda: runtime)
            for removed in subsets(len(whole.instances), 10, seed=4, at_most=20)
        ]
    sys.stdout.write(summary(trials, "phantom"))
    assert any(trial.is_scored for trial in trials)
    assert [trial for trial in trials if not trial.is_kept] == []


@pytest.fixture(scope="module")
def plain_scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return decompressed_scan(tmp_path_factory.mktemp("plain"))


@pytest.mark.slow
@needs_shared
def test_the_findings_of_a_real_scan_stay_in_place_or_a_gap_is_told(
    package: Package, runtime: Runtime, plain_scan: Path
) -> None:
    with opened(plain_scan) as whole:
        own = known_nodules(analyse(whole.upload, package, lambda: runtime))
        trials = [
            attempt(whole, removed, own, own, package, lambda: runtime)
            for removed in subsets(len(whole.instances), 10, seed=5)
        ]
    sys.stdout.write(summary(trials, "scan"))
    assert any(trial.is_scored for trial in trials)
    assert [trial for trial in trials if not trial.is_kept] == []


@pytest.mark.slow
@needs_shared
def test_with_one_slice_gone_away_from_the_nodule_a_scan_is_scored_and_the_nodule_found(
    package: Package, runtime: Runtime, plain_scan: Path
) -> None:
    with opened(plain_scan) as whole:
        own = known_nodules(analyse(whole.upload, package, lambda: runtime))
        nodule = min(
            own, key=lambda one: float(np.linalg.norm(one.centre_lps_mm - SCAN_NODULE_LPS_MM))
        )
        away = [
            index
            for index, height in enumerate(whole.heights_mm)
            if 0 < index < len(whole.heights_mm) - 1
            and not nodule.from_mm - 10 <= height <= nodule.to_mm + 10
        ]
        trials = [
            attempt(whole, [index], [nodule], own, package, lambda: runtime)
            for index in away[:: len(away) // 20][:20]
        ]
    sys.stdout.write(summary(trials, "one slice gone"))
    assert len(trials) == 20
    assert sum(trial.is_scored for trial in trials) >= 19
    assert [trial for trial in trials if not trial.is_kept] == []
