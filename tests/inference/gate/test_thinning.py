"""Series of which every nth slice was deleted."""

from dataclasses import replace

import pytest

from inference.dicom.instance import Instance
from inference.gate.geometry import judge_geometry
from inference.gate.reasons import Code, Reason, Status
from inference.gate.thinning import absent_numbers
from inference.stack import build_stack
from tests.inference.gate.hand import THIN, a_series, heights, slices_at


def thinned(instances: list[Instance]) -> Reason | None:
    result = judge_geometry(a_series(instances), THIN)
    return next((r for r in result.reasons if r.code is Code.SLICES_THINNED), None)


def counted(instances: list[Instance]) -> Reason | None:
    result = judge_geometry(a_series(instances), THIN)
    return next((r for r in result.reasons if r.code is Code.INSTANCES_MISSING), None)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_a_stride_of_instance_numbers_is_resend(n: int) -> None:
    reason = thinned(slices_at(heights(240, 0.8))[::n])
    assert reason is not None
    assert reason.status is Status.RESEND
    assert reason.numbers["number_stride"] == n
    assert reason.numbers["kept_of"] == n


def test_a_stride_is_seen_across_many_gaps() -> None:
    kept = [i for k, i in enumerate(slices_at(heights(240, 0.8))[::2]) if k % 5]
    reason = thinned(kept)
    assert reason is not None
    assert reason.numbers["number_stride"] == 2


def test_numbers_that_run_one_by_one_are_no_stride() -> None:
    assert thinned(slices_at(heights(100, 2.5))) is None


def test_numbers_without_order_are_no_stride() -> None:
    instances = slices_at(heights(100, 2.5))
    mixed = [replace(i, instance_number=2 * (k * k % 101)) for k, i in enumerate(instances)]
    assert thinned(mixed) is None


def test_numbers_that_are_missing_are_no_stride() -> None:
    instances = slices_at(heights(100, 2.5))
    assert thinned([replace(i, instance_number=None) for i in instances]) is None


@pytest.mark.parametrize("name", ["plane_slice_thickness_mm", "plane_spacing_between_slices_mm"])
def test_thin_slices_at_a_distance_are_only_a_limit(name: str) -> None:
    reason = thinned(slices_at(heights(100, 2.5), **{"plane_slice_thickness_mm": 2.5, name: 1.25}))
    assert reason is not None
    assert reason.status is Status.LIMITS
    assert reason.numbers["thickness_mm"] == 1.25
    assert reason.numbers["witness"] == "slice-thickness"


@pytest.mark.parametrize("thickness_mm", [None, 0.0, 1.5, 2.5, 5.0])
def test_usual_thicknesses_are_no_witness(thickness_mm: float | None) -> None:
    assert thinned(slices_at(heights(100, 2.5), plane_slice_thickness_mm=thickness_mm)) is None


def test_a_count_of_twice_what_arrived_means_thinning() -> None:
    reason = thinned(slices_at(heights(100, 2.5), announced_series_instances=200))
    assert reason is not None
    assert reason.status is Status.RESEND
    assert reason.numbers["announced"] == 200


def test_a_count_that_is_a_little_higher_means_that_images_are_missing() -> None:
    instances = slices_at(heights(100, 2.5), announced_series_instances=110)
    assert thinned(instances) is None
    reason = counted(instances)
    assert reason is not None
    assert reason.status is Status.RESEND
    assert reason.numbers["missing"] == 10


def test_a_count_that_a_gap_explains_is_not_told_twice() -> None:
    instances = slices_at(heights(100, 2.5), announced_series_instances=100)
    assert counted(instances[:40] + instances[41:]) is None


def test_a_count_that_is_met_or_exceeded_says_nothing() -> None:
    assert counted(slices_at(heights(100, 2.5), announced_series_instances=100)) is None
    assert counted(slices_at(heights(100, 2.5), announced_series_instances=90)) is None


def test_numbers_tell_which_end_is_absent() -> None:
    planes = [(i, i.frames[0]) for i in slices_at(heights(100))]
    assert absent_numbers(build_stack(planes)) is None
    assert absent_numbers(build_stack(planes[30:])) == (30, False)  # number 1 lies at the head
