"""Reasons from voxels, on made volumes of a few thousand voxels."""

import numpy as np
import pytest
from numpy.typing import NDArray

from inference.gate.content import judge_content
from inference.gate.reasons import Code, Reason, Status
from inference.lungs import LEFT, RIGHT, Lungs
from inference.volume import Grid, Volume
from tests.inference.gate.hand import CHEST_SHAPE, CHEST_SPACING_MM, THIN, a_chest

SHAPE, SPACING = CHEST_SHAPE, CHEST_SPACING_MM
Hu = NDArray[np.int16]


def a_grid(shape: tuple[int, int, int] = SHAPE, row_x: float = 1.0) -> Grid:
    return Grid.regular((0.0, 0.0, -300.0), SPACING, shape, (row_x, 0.0, 0.0), (0.0, 1.0, 0.0))


def some_lungs(grid: Grid, first: int = 10, last: int = 90) -> Lungs:
    labels = np.zeros(grid.shape_zyx, np.uint8)
    for k in range(first, last):
        depth = min(k - 10 + 1, 90 - k, 12)  # tips at both true ends
        labels[k, 32 - depth : 32 + depth, 14:29] = RIGHT
        labels[k, 32 - depth : 32 + depth, 35:50] = LEFT
    volume_ml = float(np.count_nonzero(labels)) * 3 * 36 / 1000
    return Lungs(labels, grid, (1, 1, 1), ((first, last), (20, 44), (14, 50)), volume_ml)


def judged(
    hu: Hu, lungs: Lungs | None = None, *, none: bool = False, **more: object
) -> list[Reason]:
    grid = a_grid(hu.shape)
    lungs = None if none else lungs or some_lungs(grid)
    return list(judge_content(Volume(hu, grid), lungs, THIN, **more))  # type: ignore[arg-type]


def the_problem(hu: Hu) -> object:
    (reason,) = [r for r in judged(hu) if r.code is Code.HU_IMPLAUSIBLE]
    assert reason.status is Status.REFUSE
    return reason.numbers["problem"]


def test_a_plausible_chest_has_no_reason() -> None:
    assert judged(a_chest()) == []


def test_a_forgotten_intercept_leaves_no_air() -> None:
    assert the_problem(a_chest() + np.int16(1024)) == "no-air"


def test_an_intercept_applied_twice_leaves_no_soft_tissue() -> None:
    assert the_problem(np.maximum(a_chest() - np.int16(1024), -1024)) in (
        "no-soft-tissue",
        "mostly-padding",
    )


@pytest.mark.parametrize("slope", [0.5, 2.0])
def test_a_wrong_slope_is_seen(slope: float) -> None:
    stored = a_chest().astype(float) + 1024
    assert the_problem((stored * slope - 1024).astype(np.int16)) in (
        "no-soft-tissue",
        "soft-tissue-not-at-its-place",
    )


def test_a_shift_of_three_hundred_is_seen() -> None:
    assert the_problem(a_chest() + np.int16(300)) != ""


def test_air_at_minus_720_is_not_at_its_place() -> None:
    hu = a_chest()
    hu[hu < -500] = -720
    assert the_problem(hu) == "air-not-at-its-place"


def test_a_body_of_180_is_not_at_its_place() -> None:
    hu = a_chest()
    hu[hu > -500] = 180
    assert the_problem(hu) == "soft-tissue-not-at-its-place"


def test_blank_slices_beyond_the_body_are_allowed() -> None:
    hu = a_chest()
    hu[:3] = hu[-3:] = -1024
    assert judged(hu) == []


def test_a_volume_of_padding_is_no_measurement() -> None:
    assert the_problem(np.full(SHAPE, -1024, np.int16)) == "mostly-padding"


def test_padding_around_the_circle_of_reconstruction_is_allowed() -> None:
    hu = a_chest()
    y, x = np.mgrid[:64, :64] - 31.5
    hu[:, y**2 + x**2 > 32**2] = -1024
    assert judged(hu, padding_share=0.215) == []


def test_blank_slices_between_others_are_resend_with_their_place() -> None:
    hu = a_chest()
    hu[40:42] = -1024
    (reason,) = judged(hu)
    assert (reason.code, reason.status) == (Code.HU_IMPLAUSIBLE, Status.RESEND)
    assert reason.numbers == {
        "problem": "blank-slices",
        "count": 2,
        "position_mm": -180.0,
        "to_mm": -177.0,
    }


def test_no_lungs_is_no_chest() -> None:
    (reason,) = judged(a_chest(), none=True)
    assert (reason.code, reason.status) == (Code.NOT_CHEST, Status.REFUSE)


def test_a_single_slice_is_not_asked_for_a_volume_of_lung() -> None:
    assert judged(a_chest()[50:51], none=True) == []
    (reason,) = judged(a_chest()[50:52], none=True)
    assert reason.code is Code.NOT_CHEST


def test_a_header_that_says_chest_does_not_make_one() -> None:
    (reason,) = judged(a_chest(), none=True, body_part="CHEST")
    assert reason.code is Code.NOT_CHEST


def test_a_header_that_says_abdomen_does_not_unmake_a_chest() -> None:
    assert judged(a_chest(), body_part="ABDOMEN") == []


def test_lung_bases_in_a_scan_that_says_abdomen_are_no_chest() -> None:
    grid = a_grid((45, 64, 64))
    lungs = some_lungs(grid, 10, 45)
    found = {r.code for r in judged(a_chest()[:45], lungs, body_part="ABDOMEN")}
    assert found == {Code.LUNGS_TRUNCATED, Code.NOT_CHEST}
    assert {r.code for r in judged(a_chest()[:45], lungs)} == {Code.LUNGS_TRUNCATED}


@pytest.mark.parametrize(
    ("last", "status"), [(75, Status.LIMITS), (45, Status.REFUSE)], ids=["a little", "half"]
)
def test_lungs_that_end_with_the_scan_are_cut_off(last: int, status: Status) -> None:
    grid = a_grid((last, 64, 64))
    (reason,) = judged(a_chest()[:last], some_lungs(grid, 10, last))
    assert (reason.code, reason.status) == (Code.LUNGS_TRUNCATED, status)
    assert reason.numbers["end"] == "head"
    assert reason.numbers["position_mm"] == -300 + 3 * (last - 1)


def test_the_end_is_the_patients_and_not_the_index() -> None:
    grid = Grid.regular((0.0, 0.0, 0.0), SPACING, (75, 64, 64), (-1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
    volume = Volume(a_chest()[:75], grid)
    (reason,) = judge_content(volume, some_lungs(grid, 10, 75), THIN)
    assert reason.numbers["end"] == "feet"
    assert reason.numbers["position_mm"] == -3.0 * 74


def test_lungs_at_the_edge_of_the_image_are_cut_at_that_side() -> None:
    hu = a_chest()[:, 18:46, 20:].copy()
    (reason,) = judged(hu)
    assert (reason.code, reason.status) == (Code.LUNGS_TRUNCATED, Status.LIMITS)
    assert reason.numbers["end"] == "right"


def test_the_foam_of_a_table_at_the_edge_is_no_lung() -> None:
    hu = a_chest()
    hu[:, -1, 8:56] = -850
    assert judged(hu) == []
