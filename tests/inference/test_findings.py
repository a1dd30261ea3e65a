"""From candidates to findings: which become one, whose a voxel is, how they are numbered."""

from dataclasses import replace

import numpy as np
import pytest

from inference.detection.candidate import Candidate
from inference.findings import Finding, measure_findings
from inference.lungs import Laterality, find_lungs
from inference.mask import overlap
from inference.phantom import Phantom
from inference.volume import Grid, Volume
from tests.builders import a_phantom
from tests.inference.results.a_series import Spec, an_analysis, candidates_in, grid_of

VOLUME = an_analysis(Spec()).volume
assert VOLUME is not None
GRID = grid_of(Spec())
LOW, HIGH = candidates_in(GRID)


def found(
    *candidates: Candidate, volume: Volume = VOLUME, threshold: float = 0.5
) -> tuple[Finding, ...]:
    return measure_findings(candidates, volume, None, threshold)


def moved(candidate: Candidate, by_mm: float, score: float) -> Candidate:
    grid = candidate.mask_grid
    x, y, z = candidate.centre_lps_mm
    return replace(
        candidate,
        centre_lps_mm=(x + by_mm, y, z),
        score=score,
        mask_grid=replace(grid, origins_lps_mm=grid.origins_lps_mm + np.array([by_mm, 0, 0])),
    )


def test_findings_are_numbered_by_falling_score_in_any_order_of_candidates() -> None:
    for order in ((LOW, HIGH), (HIGH, LOW)):
        findings = found(*order)
        assert [(one.id, one.score) for one in findings] == [(1, 0.942), (2, 0.713)]


def test_equal_scores_are_numbered_by_place() -> None:
    findings = found(replace(LOW, score=0.8), replace(HIGH, score=0.8))
    assert [one.centre_index for one in findings] == sorted(one.centre_index for one in findings)


def test_the_rounded_score_is_compared_with_the_threshold() -> None:
    assert len(found(replace(LOW, score=0.49960), threshold=0.5)) == 1
    assert len(found(replace(LOW, score=0.4994), threshold=0.5)) == 0


def test_two_candidates_on_one_nodule_become_the_finding_of_the_higher_score() -> None:
    (only,) = found(LOW, moved(LOW, 2.0, 0.9))
    assert only.score == 0.9


def soft(centre: float, score: float) -> Candidate:
    """A mask that stays as it is: over plain lung there is nothing to refine it at."""
    place = np.array([centre, 0.0, 0.0])
    grid = Grid.regular(place - 12, (1.0,) * 3, (25,) * 3)
    index = np.stack(np.meshgrid(*[np.arange(25)] * 3, indexing="ij"), axis=-1)
    depth = 6 - np.linalg.norm(grid.to_lps(index) - place, axis=-1)
    mask = (1 / (1 + np.exp(-depth / 0.3))).astype(np.float32)
    return Candidate((float(place[0]), 0.0, 0.0), score, 12.0, mask, grid)


PLAIN = Volume(
    np.full((40, 60, 60), -600, np.int16),
    Grid.regular((-30.0, -30.0, -20.0), (1.0, 1.0, 1.0), (40, 60, 60)),
)


def test_a_shared_voxel_belongs_to_the_higher_score() -> None:
    alone = found(soft(9.0, 0.7), volume=PLAIN)[0]
    high, low = found(soft(0.0, 0.9), soft(9.0, 0.7), volume=PLAIN)
    assert overlap(high.mask, low.mask) == 0
    assert high.volume_mm3 == pytest.approx(np.pi * 12**3 / 6, rel=0.03)
    assert 0.7 * alone.volume_mm3 < low.volume_mm3 < alone.volume_mm3


@pytest.mark.parametrize(("apart_mm", "findings"), [(0.5, 1), (3.0, 1), (7.0, 2), (14.0, 2)])
def test_masks_that_share_most_voxels_are_one_finding(apart_mm: float, findings: int) -> None:
    assert len(found(soft(0.0, 0.9), soft(apart_mm, 0.7), volume=PLAIN)) == findings


def test_a_candidate_whose_mask_is_empty_is_measured_as_its_sphere_and_not_lost() -> None:
    empty = replace(LOW, mask=np.zeros_like(LOW.mask))
    (only,) = found(empty)
    assert only.mean_diameter_mm == pytest.approx(empty.diameter_mm, abs=0.75)


def test_the_mask_of_a_neighbour_is_not_taken_for_a_candidates_own() -> None:
    # The crop reaches the neighbour; at its own place the network stays below one half.
    lone = replace(moved(LOW, 12.0, 0.8), mask=LOW.mask, mask_grid=LOW.mask_grid, diameter_mm=5.0)
    neighbour, own = found(replace(LOW, score=0.9), lone)
    apart_mm = np.linalg.norm(np.subtract(own.centre_lps_mm, neighbour.centre_lps_mm))
    assert apart_mm == pytest.approx(12.0, abs=1.0)


def test_without_lungs_side_and_third_are_undetermined() -> None:
    (only,) = found(HIGH)
    assert (only.laterality, only.zone, only.lobe) == (Laterality.UNDETERMINED, None, None)


def candidates_of(phantom: Phantom) -> list[Candidate]:
    """What a network whose edge is half a millimetre too far out would say of a phantom."""
    candidates = []
    for nodule in phantom.nodules:
        grid = Grid.regular(np.array(nodule.centre_lps_mm) - 18, (1.25,) * 3, (29,) * 3)
        index = np.stack(np.meshgrid(*[np.arange(29)] * 3, indexing="ij"), axis=-1)
        away = np.linalg.norm(grid.to_lps(index) - nodule.centre_lps_mm, axis=-1)
        mask = 1 / (1 + np.exp((away - nodule.diameter_mm / 2 - 0.5) / 0.5))
        candidates.append(
            Candidate(nodule.centre_lps_mm, 0.9, nodule.diameter_mm, mask.astype(np.float32), grid)
        )
    return candidates


@pytest.mark.slow
@pytest.mark.parametrize("slice_mm", [1.0, 1.25, 2.5])
def test_phantom_nodules_are_measured_within_the_promised_limits(slice_mm: float) -> None:
    phantom = a_phantom((6.0, 10.0, 20.0), slice_mm, pixel_mm=0.7)
    lungs = find_lungs(phantom.volume)
    findings = measure_findings(candidates_of(phantom), phantom.volume, lungs, 0.5)
    assert len(findings) == 3
    for nodule in phantom.nodules:
        away_mm = [
            float(np.linalg.norm(np.subtract(f.centre_lps_mm, nodule.centre_lps_mm)))
            for f in findings
        ]
        off_mm, finding = min(away_mm), findings[int(np.argmin(away_mm))]
        allowed = 0.10 if nodule.diameter_mm >= 10 else 0.25
        assert off_mm <= 1.0
        assert finding.volume_mm3 == pytest.approx(nodule.volume_mm3, rel=allowed)
        assert finding.mean_diameter_mm == pytest.approx(nodule.diameter_mm, abs=0.75)
        assert finding.laterality == nodule.laterality
