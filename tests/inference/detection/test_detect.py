"""Detection through the real runtime, with a network that sees dense balls."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from inference.detection.candidate import Candidate
from inference.detection.detect import detect
from inference.lungs import Lungs, find_lungs
from inference.volume import Grid, Volume
from models.package import Package
from models.runtime import open_runtime
from tests.packages import blob_network, make_package

GRID = Grid.regular((-150.0, -120.0, -300.0), (2.0, 2.0, 2.0), (83, 120, 150))
Z, Y, X = np.meshgrid(
    *(np.arange(n) * 2.0 + start for n, start in ((83, -300), (120, -120), (150, -150))),
    indexing="ij",
    sparse=True,
)
BALLS = {(-70.0, 10.0, -220.0): 8.0, (65.0, -20.0, -235.0): 12.0, (75.0, 30.0, -195.0): 6.0}


def chest() -> NDArray[np.int16]:
    """Two ellipsoids of lung in an ellipse of tissue, with dense balls."""
    hu = np.full(GRID.shape_zyx, -1000, np.int16)
    hu[np.broadcast_to((X / 145) ** 2 + (Y / 105) ** 2 < 1, hu.shape)] = 30
    for side in (-1, 1):
        hu[((X - side * 70) / 50) ** 2 + (Y / 75) ** 2 + ((Z + 215) / 70) ** 2 < 1] = -850
    for (x, y, z), diameter_mm in BALLS.items():
        distance = np.sqrt((X - x) ** 2 + (Y - y) ** 2 + (Z - z) ** 2)
        share = np.clip((diameter_mm / 2 - distance) / 2.0 + 0.5, 0, 1)
        hu = np.rint(hu + (20 - hu) * share).astype(np.int16)
    return hu


CHEST = Volume(chest(), GRID)


def lungs_of(volume: Volume) -> Lungs:
    lungs = find_lungs(volume)
    assert lungs is not None
    return lungs


LUNGS = lungs_of(CHEST)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Package:
    return make_package(tmp_path_factory.mktemp("packages"))


def found(volume: Volume, package: Package, provider: str = "openvino") -> tuple[Candidate, ...]:
    lungs = LUNGS if volume is CHEST else lungs_of(volume)
    return detect(volume, lungs, package, open_runtime(package, provider, threads=1))


def hits(candidates: tuple[Candidate, ...], within_mm: float = 3.0) -> int:
    centres = np.array([candidate.centre_lps_mm for candidate in candidates]).reshape(-1, 3)
    return sum(
        bool((np.linalg.norm(centres - place, axis=1) <= within_mm).any()) for place in BALLS
    )


def test_every_ball_is_found_at_its_place(package: Package) -> None:
    assert hits(found(CHEST, package)) == len(BALLS)


@pytest.mark.parametrize("way", ["turned", "swapped"])
def test_candidates_do_not_depend_on_which_way_the_rows_run(package: Package, way: str) -> None:
    if way == "turned":
        grid = Grid.regular(
            GRID.to_lps([0, 119, 149]), (2.0, 2.0, 2.0), GRID.shape_zyx, (-1, 0, 0), (0, -1, 0)
        )
        other = Volume(np.ascontiguousarray(CHEST.hu[:, ::-1, ::-1]), grid)
    else:
        start = GRID.to_lps([0, 0, 149])
        grid = Grid.regular(start, (2.0, 2.0, 2.0), (83, 150, 120), (0, 1, 0), (-1, 0, 0))
        other = Volume(np.ascontiguousarray(CHEST.hu.transpose(0, 2, 1)[:, ::-1]), grid)
    first, second = found(CHEST, package), found(other, package)
    assert [c.score for c in first] == [c.score for c in second]
    assert np.allclose([c.centre_lps_mm for c in first], [c.centre_lps_mm for c in second])


def test_slices_that_are_missing_elsewhere_move_no_candidate(package: Package) -> None:
    kept = np.delete(np.arange(83), [9, 10, 68])
    grid = replace(GRID, origins_lps_mm=GRID.origins_lps_mm[kept])
    assert hits(found(Volume(CHEST.hu[kept], grid), package)) == len(BALLS)


def test_a_smaller_lung_box_changes_no_score_inside_it(package: Package) -> None:
    (z0, z1), rows, columns = LUNGS.box_zyx
    narrow = replace(LUNGS, box_zyx=((z0 + 3, z1 - 2), rows, columns))
    runtime = open_runtime(package, "cpu", threads=1)
    whole, part = (detect(CHEST, at, package, runtime) for at in (LUNGS, narrow))
    assert [c.score for c in whole] == [c.score for c in part]


def test_providers_find_the_same(package: Package) -> None:
    first, second = (found(CHEST, package, name) for name in ("openvino", "cpu"))
    assert np.allclose([c.centre_lps_mm for c in first], [c.centre_lps_mm for c in second])
    assert np.allclose([c.score for c in first], [c.score for c in second], atol=0.001)


def test_a_network_without_weights_finds_nothing(tmp_path: Path) -> None:
    package = make_package(tmp_path, blob_network(gain=0.0, bright_at=0.0))
    assert found(CHEST, package) == ()


def test_a_chest_without_balls_has_none(package: Package) -> None:
    hu = CHEST.hu.copy()
    for side in (-1, 1):
        hu[((X - side * 70) / 50) ** 2 + (Y / 75) ** 2 + ((Z + 215) / 70) ** 2 < 1] = -850
    plain = Volume(hu, GRID)
    assert hits(found(plain, package)) == 0


@pytest.mark.slow
def test_the_lowest_operating_point_is_the_one_that_limits(tmp_path: Path) -> None:
    points = make_package(tmp_path).description.model_dump(mode="json")["operating_points"]
    points["high_sensitivity"]["threshold"] = 0.01
    points["few_alerts"]["threshold"] = 0.99
    timid = blob_network(gain=1.0)  # hundreds of weak peaks in noise
    package = make_package(tmp_path, timid, version="1.0.1", operating_points=points, floor=0.0)
    noise = np.random.default_rng(1).normal(0, 40, GRID.shape_zyx)
    noisy = Volume((CHEST.hu + noise).astype(np.int16), GRID)
    lungs = lungs_of(noisy)
    labels = lungs.labels.copy()
    labels[:38], labels[44:] = 0, 0
    few = replace(lungs, labels=labels, box_zyx=((38, 44), *lungs.box_zyx[1:]))
    candidates = detect(noisy, few, package, open_runtime(package, threads=1))
    assert len(candidates) > 30
    assert candidates[-1].score < 0.99


def test_progress_ends_where_it_said(package: Package) -> None:
    told: list[tuple[str, int, int]] = []
    runtime = open_runtime(package, threads=1)
    detect(CHEST, LUNGS, package, runtime, lambda *step: told.append(step))
    assert told == [("detect", k, 3) for k in range(4)]
