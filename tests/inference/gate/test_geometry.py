"""Stacks and reasons from headers alone."""

from collections.abc import Callable
from dataclasses import replace
from random import Random
from time import process_time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firstread.messages import Language
from inference.dicom.instance import Instance
from inference.gate.geometry import GeometryResult, judge_geometry
from inference.gate.reasons import SEVERITY, Code, Reason, Status, Verdict
from inference.gate.splitting import Why
from models.package import InputContract
from tests.inference.gate.hand import (
    AXIAL,
    CORONAL,
    THIN,
    a_frame,
    a_series,
    a_slice,
    an_instance,
    heights,
    slices_at,
    tilted,
)


def judged(instances: list[Instance], contract: InputContract = THIN) -> GeometryResult:
    result = judge_geometry(a_series(instances), contract)
    for reason in result.reasons:
        assert all(reason.sentence(language) for language in Language)
    return result


def found(result: GeometryResult) -> dict[Code, Status]:
    return {reason.code: reason.status for reason in result.reasons}


def only(result: GeometryResult, code: Code) -> Reason:
    (reason,) = [reason for reason in result.reasons if reason.code is code]
    return reason


def split(result: GeometryResult) -> dict[Why, int]:
    return {entry.why: len(entry.instances) for entry in result.split_off}


def test_a_regular_series_has_no_reason() -> None:
    result = judged(slices_at(heights(100)))
    assert result.reasons == ()
    assert result.stack is not None
    assert result.stack.grid.shape_zyx == (100, 512, 512)
    assert result.split_off == ()


def test_slices_are_ordered_by_position_and_never_by_number() -> None:
    instances = slices_at(heights(60))
    numbers = list(range(1, 61))
    Random(1).shuffle(numbers)
    result = judged(
        [replace(i, instance_number=n) for i, n in zip(instances, numbers, strict=True)]
    )
    assert result.stack is not None
    z = [frame.position_lps_mm[2] for _, frame in result.stack.slices if frame.position_lps_mm]
    assert z == sorted(z)
    assert result.reasons == ()


@given(st.randoms(use_true_random=False))
@settings(max_examples=20)
def test_the_order_of_files_does_not_matter(random: Random) -> None:
    instances = [
        *slices_at(heights(50)),
        a_slice(-300.0, uid="1.2.9.1"),
        a_slice(0.0, uid="1.2.9.2"),
    ]
    shuffled = list(instances)
    random.shuffle(shuffled)
    one = judge_geometry(a_series(instances), THIN)
    other = judge_geometry(replace(a_series(instances), instances=tuple(shuffled)), THIN)
    assert one.reasons == other.reasons
    assert one.stack is not None
    assert other.stack is not None
    assert one.stack.slices == other.stack.slices
    assert [d.plane for d in one.stack.doubles] == [d.plane for d in other.stack.doubles]


@given(st.data())
@settings(max_examples=50)
def test_every_gap_is_named_with_its_place_and_none_is_invented(data: st.DataObject) -> None:
    whole = heights(60)
    removed = set(data.draw(st.lists(st.integers(1, 58), min_size=1, max_size=30, unique=True)))
    kept = [z for k, z in enumerate(whole) if k not in removed]
    result = judged(slices_at(kept))
    runs: list[list[int]] = []
    for k in sorted(removed):
        if runs and runs[-1][-1] == k - 1:
            runs[-1].append(k)
        else:
            runs.append([k])
    expected = [
        (len(run), whole[run[0] - 1], whole[run[-1] + 1], (whole[run[0]] + whole[run[-1]]) / 2)
        for run in runs
    ]
    if np.median(np.diff(kept)) == 2.5:
        assert Code.SPACING_IRREGULAR not in found(result)
        named = [reason.numbers for reason in result.reasons if reason.code is Code.SLICES_MISSING]
        got = [(n["missing"], n["from_mm"], n["to_mm"], n["position_mm"]) for n in named]
        assert got == expected
        assert all(n["gap_mm"] == 2.5 * (int(n["missing"]) + 1) for n in named)


@pytest.mark.parametrize(("missing", "status"), [(1, Status.LIMITS), (2, Status.RESEND)])
def test_a_gap_is_a_limit_only_if_the_package_can_bridge_it(missing: int, status: Status) -> None:
    whole = heights(80)
    result = judged(slices_at(whole[:30] + whole[30 + missing :]))
    reason = only(result, Code.SLICES_MISSING)
    assert reason.status is status
    assert reason.numbers["gap_mm"] == 2.5 * (missing + 1)
    assert reason.numbers["share_percent"] == round(100 * missing / 80, 1)


def test_gaps_of_a_feet_first_series_are_told_in_the_heights_of_the_patient() -> None:
    whole = heights(80)
    orientation = (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    result = judged(slices_at(whole[:30] + whole[31:], plane_orientation=orientation))
    assert only(result, Code.SLICES_MISSING).numbers["position_mm"] == whole[30]


def test_a_step_that_is_no_whole_number_of_steps_is_irregular() -> None:
    whole = heights(80)
    shifted = whole[:40] + [z + 1.5 for z in whole[40:]]
    reason = only(judged(slices_at(shifted)), Code.SPACING_IRREGULAR)
    assert reason.status is Status.LIMITS
    assert reason.numbers["step_mm"] == 4.0
    assert reason.numbers["from_mm"] == whole[39]


def test_an_irregular_step_that_cannot_be_bridged_is_resend() -> None:
    whole = heights(80)
    result = judged(slices_at(whole[:40] + [z + 6.0 for z in whole[40:]]))
    assert found(result) == {Code.SPACING_IRREGULAR: Status.RESEND}


def test_one_slice_too_many_does_not_turn_the_series_into_gaps() -> None:
    result = judged([*slices_at(heights(80)), a_slice(-338.75)])
    assert found(result) == {Code.SPACING_IRREGULAR: Status.LIMITS}


def test_of_two_slices_at_one_position_the_smaller_uid_as_text_is_the_slice() -> None:
    instances = [
        *slices_at(heights(60)),
        a_slice(-290.004, uid="1.2.10"),
        a_slice(-290.0, uid="1.2.9"),
    ]
    instances = [i for i in instances if i.sop_instance_uid != "1.2.9.9710000"]
    result = judged(instances)
    assert result.stack is not None
    (double,) = result.stack.doubles
    assert result.stack.slices[double.index][0].sop_instance_uid == "1.2.10"
    assert double.plane[0].sop_instance_uid == "1.2.9"
    assert len(result.stack.instances) == 61


def test_empty_uids_are_never_equal_to_each_other() -> None:
    instances = [
        replace(i, sop_instance_uid="", sop_class_uid="", path=i.path)
        for i in slices_at(heights(60))
    ]
    result = judged(instances)
    assert result.stack is not None
    assert len(result.stack.slices) == 60
    reason = only(result, Code.UIDS_MISSING)
    assert reason.status is Status.REFUSE
    assert reason.numbers == {"attributes": "SOPClassUID, SOPInstanceUID", "count": 60}


def test_a_missing_frame_of_reference_is_a_missing_uid() -> None:
    result = judged(slices_at(heights(60), frame_of_reference_uid=""))
    assert only(result, Code.UIDS_MISSING).numbers["attributes"] == "FrameOfReferenceUID"


def test_a_gantry_tilt_is_a_limit_and_the_grid_carries_it() -> None:
    result = judged(tilted(60, 15.0))
    reason = only(result, Code.GANTRY_TILT)
    assert reason.status is Status.LIMITS
    assert reason.numbers["angle_deg"] == 15.0
    assert result.stack is not None
    assert result.stack.grid.step_mm == pytest.approx(2.5 * np.cos(np.radians(15)), abs=1e-6)
    place = result.stack.grid.to_lps((59, 100, 0))
    assert place[2] == pytest.approx(heights(60)[59] - 70 * np.sin(np.radians(15)), abs=1e-6)


def test_a_tilt_beyond_the_package_is_refused() -> None:
    assert found(judged(tilted(60, 24.0))) == {Code.GANTRY_TILT: Status.REFUSE}


@pytest.mark.parametrize(("angle_deg", "status"), [(20.0, Status.LIMITS), (20.1, Status.REFUSE)])
def test_the_number_that_is_shown_decides_on_a_tilt(angle_deg: float, status: Status) -> None:
    reason = only(judged(tilted(60, angle_deg)), Code.GANTRY_TILT)
    assert (reason.numbers["angle_deg"], reason.status) == (angle_deg, status)


def test_a_lean_without_a_stated_tilt_is_shear() -> None:
    assert found(judged(tilted(60, 10.0, gantry_tilt_deg=0.0))) == {Code.SHEARED: Status.LIMITS}
    assert found(judged(tilted(60, 10.0, gantry_tilt_deg=None))) == {Code.SHEARED: Status.LIMITS}


def turned(angle_deg: float) -> list[Instance]:
    """Return slices that are turned about x together with the way they follow each other."""
    c, s = float(np.cos(np.radians(angle_deg))), float(np.sin(np.radians(angle_deg)))
    return [
        a_slice(
            z,
            plane_orientation=(1.0, 0.0, 0.0, 0.0, c, s),
            plane_position_lps_mm=(0.0, -s * z, c * z),
            gantry_tilt_deg=angle_deg,
        )
        for z in heights(60)
    ]


@pytest.mark.parametrize(
    ("angle_deg", "expected"),
    [
        (5.0, {}),
        (5.1, {Code.OBLIQUE: Status.LIMITS}),
        (20.0, {Code.OBLIQUE: Status.LIMITS}),
        (20.1, {Code.ORIENTATION_UNUSABLE: Status.REFUSE}),
        (29.9, {Code.ORIENTATION_UNUSABLE: Status.REFUSE}),
        (45.0, {Code.ORIENTATION_UNUSABLE: Status.REFUSE}),
    ],
)
def test_an_oblique_stack_is_limited_as_the_package_says(
    angle_deg: float, expected: dict[Code, Status]
) -> None:
    result = judged(turned(angle_deg))
    assert found(result) == expected
    assert [reason.numbers["angle_deg"] for reason in result.reasons] == [angle_deg] * len(expected)


def test_a_package_may_bear_no_oblique_stack() -> None:
    contract = THIN.model_copy(update={"max_obliquity_deg": 0.0})
    assert found(judged(turned(3.0), contract)) == {Code.ORIENTATION_UNUSABLE: Status.REFUSE}
    assert found(judged(turned(0.0), contract)) == {}


def test_slices_that_jump_sideways_are_sheared() -> None:
    instances = [
        a_slice(z, plane_position_lps_mm=(-180.0 + (20.0 if k >= 30 else 0.0), -180.0, z))
        for k, z in enumerate(heights(60))
    ]
    assert found(judged(instances)) == {Code.SHEARED: Status.REFUSE}


def test_a_coronal_series_is_refused() -> None:
    instances = [
        a_slice(
            0.0,
            uid=f"1.2.{k}",
            plane_orientation=CORONAL,
            plane_position_lps_mm=(0.0, 2.5 * k, 0.0),
        )
        for k in range(60)
    ]
    result = judged(instances)
    assert found(result)[Code.ORIENTATION_UNUSABLE] is Status.REFUSE
    assert only(result, Code.ORIENTATION_UNUSABLE).numbers["problem"] == "not-axial"
    assert result.stack is None


@pytest.mark.parametrize(
    "orientation",
    [
        (1.0, 0.0, 0.0, 0.173648, 0.984808, 0.0),
        (1.01, 0.0, 0.0, 0.0, 1.0, 0.0),
        (0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
        (float("nan"), 0.0, 0.0, 0.0, 1.0, 0.0),
        None,
    ],
)
def test_axes_that_are_no_axes_are_refused(orientation: tuple[float, ...] | None) -> None:
    result = judged(slices_at(heights(60), plane_orientation=orientation))
    assert found(result) == {Code.ORIENTATION_UNUSABLE: Status.REFUSE}
    assert result.stack is None


def test_axes_rounded_to_three_decimals_are_axes() -> None:
    rounded = (1.0, 0.0, 0.0, 0.0, 0.966, -0.259)
    instances = [
        a_slice(z, plane_orientation=rounded, plane_position_lps_mm=(0.0, 0.259 * z, 0.966 * z))
        for z in heights(60)
    ]
    assert found(judged(instances)) == {Code.OBLIQUE: Status.LIMITS}


@pytest.mark.parametrize(
    "change",
    [
        {"plane_pixel_spacing_mm": (1e-310, 1e-310)},
        {"plane_pixel_spacing_mm": (0.7, 1e9)},
        {"plane_pixel_spacing_mm": (-0.7, 0.7)},
        {"plane_position_lps_mm": (1e300, 0.0, 0.0)},
        {"plane_position_lps_mm": (0.0, float("nan"), 0.0)},
    ],
)
def test_places_beyond_reason_are_no_places(change: dict[str, Any]) -> None:
    result = judged([a_slice(z, **change) for z in heights(60)])
    (reason,) = result.reasons
    assert (reason.code, reason.status) == (Code.ORIENTATION_UNUSABLE, Status.REFUSE)
    assert reason.numbers == {"problem": "place-implausible", "count": 60}


def test_images_without_a_place_are_counted_by_what_they_lack() -> None:
    instances = slices_at(heights(60))
    bent = a_slice(1.0, plane_orientation=(1.0, 0.0, 0.0, 0.5, 1.0, 0.0))
    lost = an_instance("1.2.9.1", [replace(a_frame(), position_lps_mm=None)])
    result = judged([*instances, bent, lost])
    assert [reason.numbers for reason in result.reasons] == [
        {"problem": "axes-not-perpendicular", "count": 1},
        {"problem": "no-position", "count": 1},
    ]


def test_no_angle_is_told_where_none_was_measured() -> None:
    result = judged(slices_at(heights(60), plane_orientation=None))
    for language in Language:
        assert "0.0" not in only(result, Code.ORIENTATION_UNUSABLE).sentence(language)


MANY = 10_000


def many_frames() -> list[Instance]:
    """Return planes of which no two have one orientation, half of them frames of one instance."""
    angles = np.radians(np.linspace(-29, 29, MANY))
    axes = [(1.0, 0.0, 0.0, 0.0, float(np.cos(a)), float(np.sin(a))) for a in angles]
    frames = [a_frame((0.0, 0.0, 0.01 * k), orientation=o) for k, o in enumerate(axes)]
    single = [an_instance(f"1.2.{k}", [f]) for k, f in enumerate(frames[::2])]
    numbered = [replace(frame, number=k + 1) for k, frame in enumerate(frames[1::2])]
    return [*single, an_instance("1.3", numbered)]


def many_places() -> list[Instance]:
    """Return planes at irregular places, every other one without an orientation."""
    places = np.cumsum(np.random.default_rng(1).uniform(0.5, 9.0, MANY)) - 50_000
    axes = (AXIAL, None)
    return [
        a_slice(
            float(z),
            uid=f"1.2.{k}",
            plane_orientation=axes[k % 2],
            acquisition_time=f"10{k % 60:02d}",
        )
        for k, z in enumerate(places)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("make", [many_frames, many_places])
def test_ten_thousand_planes_cost_seconds(make: Callable[[], list[Instance]]) -> None:
    series = a_series(make())
    start_s = process_time()
    result = judge_geometry(series, THIN)
    assert process_time() - start_s < 6
    assert result.reasons


def test_a_series_without_positions_is_refused() -> None:
    instances = [
        an_instance(f"1.2.{k}", [replace(a_frame(), position_lps_mm=None)]) for k in range(60)
    ]
    assert found(judged(instances)) == {Code.ORIENTATION_UNUSABLE: Status.REFUSE}


def test_one_slice_that_lost_its_position_is_resend() -> None:
    whole = slices_at(heights(60))
    lost = an_instance("1.2.9.1", [replace(a_frame(), position_lps_mm=None)])
    result = judged([*whole, lost])
    assert found(result) == {Code.ORIENTATION_UNUSABLE: Status.RESEND}
    assert split(result) == {Why.NOT_PLACED: 1}


def test_a_page_of_another_size_without_a_position_is_only_split_off() -> None:
    page = an_instance("1.2.9.1", [replace(a_frame(), position_lps_mm=None)], rows=700, columns=900)
    result = judged([*slices_at(heights(60)), page])
    assert result.reasons == ()
    assert split(result) == {Why.NOT_PLACED: 1}


def test_localizers_are_split_off() -> None:
    localizer = a_slice(
        0.0,
        uid="1.2.9.1",
        image_type=("ORIGINAL", "PRIMARY", "LOCALIZER"),
        plane_orientation=CORONAL,
    )
    result = judged([*slices_at(heights(60)), localizer])
    assert result.reasons == ()
    assert split(result) == {Why.LOCALIZER: 1}


def test_a_series_of_localizers_is_refused() -> None:
    localizers = slices_at(heights(2), image_type=("ORIGINAL", "PRIMARY", "LOCALIZER"))
    assert found(judged(localizers)) == {Code.LOCALIZER_ONLY: Status.REFUSE}


def test_reformats_in_another_direction_are_split_off_even_if_they_interleave() -> None:
    coronal = [
        a_slice(
            0.0,
            uid=f"1.2.9.{k}",
            plane_orientation=CORONAL,
            plane_position_lps_mm=(0.0, 2.5 * k, -300.0),
        )
        for k in range(200)
    ]
    result = judged([*slices_at(heights(60)), *coronal])
    assert result.reasons == ()
    assert split(result) == {Why.ORIENTATION: 200}


def test_sizes_that_interleave_are_refused_and_not_stacked() -> None:
    instances = [a_slice(z, rows=512 if k % 3 else 384) for k, z in enumerate(heights(60))]
    result = judged(instances)
    assert found(result) == {Code.SIZE_MIXED: Status.REFUSE}
    assert result.stack is None


def test_a_run_of_another_size_beside_the_rest_is_split_off() -> None:
    z = heights(80)
    result = judged([*slices_at(z[:60]), *slices_at(z[60:], rows=384, columns=384)])
    assert result.reasons == ()
    assert split(result) == {Why.SIZE: 20}
    assert result.stack is not None
    assert len(result.stack.slices) == 60


def test_orientations_that_interleave_are_refused() -> None:
    flipped = (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0)
    instances = [
        a_slice(z, plane_orientation=flipped if k % 2 else AXIAL) for k, z in enumerate(heights(80))
    ]
    assert found(judged(instances)) == {Code.ORIENTATION_MIXED: Status.REFUSE}


def test_another_frame_of_reference_is_split_off_and_always_named() -> None:
    z = heights(80)
    result = judged([*slices_at(z[:60]), *slices_at(z[60:], frame_of_reference_uid="1.9")])
    assert found(result) == {Code.FRAME_OF_REFERENCE_MIXED: Status.RESEND}
    assert split(result) == {Why.FRAME_OF_REFERENCE: 20}
    assert only(result, Code.FRAME_OF_REFERENCE_MIXED).numbers["other_slices"] == 20


def test_frames_of_reference_that_interleave_are_not_stacked() -> None:
    instances = [
        a_slice(z, frame_of_reference_uid="1.9" if k % 2 else "1.8")
        for k, z in enumerate(heights(80))
    ]
    result = judged(instances)
    assert found(result) == {Code.FRAME_OF_REFERENCE_MIXED: Status.RESEND}
    assert result.stack is None


def test_two_phases_over_the_same_range_are_not_stacked() -> None:
    first = slices_at(heights(60))
    second = [
        replace(i, sop_instance_uid=f"{i.sop_instance_uid}.2", acquisition_number=2) for i in first
    ]
    result = judged([*first, *second])
    assert found(result) == {Code.ACQUISITIONS_MIXED: Status.RESEND}
    assert result.stack is None


def test_a_second_acquisition_beside_the_first_is_split_off() -> None:
    z = heights(90)
    result = judged([*slices_at(z[:60]), *slices_at(z[60:], acquisition_number=2)])
    assert result.reasons == ()
    assert split(result) == {Why.ACQUISITION: 30}


def test_the_turns_of_a_step_and_shoot_scan_are_one_stack() -> None:
    instances = [a_slice(z, acquisition_number=k // 4) for k, z in enumerate(heights(58))]
    result = judged(instances)
    assert result.reasons == ()
    assert result.stack is not None
    assert len(result.stack.slices) == 58


def test_two_kernels_in_one_stack_are_resend() -> None:
    z = heights(80)
    result = judged([*slices_at(z[:60]), *slices_at(z[60:], kernel="LUNG")])
    assert found(result) == {Code.ACQUISITIONS_MIXED: Status.RESEND}


def test_of_two_parts_the_one_that_is_called_chest_is_judged() -> None:
    z = heights(150)
    abdomen = slices_at(z[:100], acquisition_number=2, body_part="ABDOMEN")
    result = judged([*abdomen, *slices_at(z[100:])])
    assert result.stack is not None
    assert len(result.stack.slices) == 50


def test_frames_of_one_instance_are_never_parted() -> None:
    frames = [replace(a_frame((0.0, 0.0, z)), number=k + 1) for k, z in enumerate(heights(60))]
    flipped = (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0)
    frames = [f if k < 50 else replace(f, orientation=flipped) for k, f in enumerate(frames)]
    result = judged([an_instance("1.2.9.1", frames)])
    assert found(result) == {Code.ORIENTATION_MIXED: Status.REFUSE}


def test_a_multi_frame_instance_is_a_stack() -> None:
    frames = [replace(a_frame((0.0, 0.0, z)), number=k + 1) for k, z in enumerate(heights(60))]
    result = judged([an_instance("1.2.9.1", frames)])
    assert result.reasons == ()
    assert result.stack is not None
    assert len(result.stack.instances) == 1


def test_too_few_slices_are_refused() -> None:
    assert found(judged(slices_at(heights(3)))) == {Code.TOO_FEW_SLICES: Status.REFUSE}


def test_one_slice_is_too_few() -> None:
    assert found(judged([a_slice(0.0)])) == {Code.TOO_FEW_SLICES: Status.REFUSE}


def test_thick_slices_over_a_whole_chest_are_too_thick_and_not_too_few() -> None:
    result = judged(slices_at(heights(30, 8.0), plane_slice_thickness_mm=8.0))
    assert found(result) == {Code.SLICES_TOO_THICK: Status.RESEND}


def test_thick_slices_that_overlap_are_a_limit() -> None:
    result = judged(slices_at(heights(60), plane_slice_thickness_mm=5.0))
    assert found(result) == {Code.SLICES_TOO_THICK: Status.LIMITS}


def test_pixels_beyond_the_package_are_refused() -> None:
    result = judged(slices_at(heights(60), plane_pixel_spacing_mm=(1.3, 1.3)))
    assert found(result) == {Code.PIXELS_TOO_LARGE: Status.REFUSE}


def test_other_modalities_are_no_ct() -> None:
    result = judged(
        slices_at(heights(60), modality="MR", sop_class_uid="1.2.840.10008.5.1.4.1.1.4")
    )
    assert found(result) == {Code.NOT_CT: Status.REFUSE}
    assert result.split_off == ()


def test_two_patients_in_one_series_are_refused() -> None:
    instances = slices_at(heights(60))
    instances[7] = replace(instances[7], patient_id="P2")
    assert found(judged(instances)) == {Code.PATIENT_MIXED: Status.REFUSE}


def test_another_patient_is_seen_also_in_a_part_that_is_split_off() -> None:
    z = heights(80)
    other = slices_at(z[60:], acquisition_number=2, patient_id="P2")
    assert found(judged([*slices_at(z[:60]), *other])) == {Code.PATIENT_MIXED: Status.REFUSE}


def test_children_are_refused_and_an_unknown_age_is_not() -> None:
    assert found(judged(slices_at(heights(60), patient_age_years=8.0))) == {
        Code.PATIENT_TOO_YOUNG: Status.REFUSE
    }
    assert judged(slices_at(heights(60), patient_age_years=None)).reasons == ()


def test_lossy_pixels_are_a_limit() -> None:
    instances = slices_at(heights(60))
    instances[7] = replace(instances[7], is_lossy=True)
    assert found(judged(instances)) == {Code.LOSSY_COMPRESSED: Status.LIMITS}


def test_eight_bits_are_refused() -> None:
    result = judged(slices_at(heights(60), bits_stored=8, plane_rescale_slope=32.1))
    assert found(result) == {Code.BIT_DEPTH_TOO_LOW: Status.REFUSE}


def test_a_slope_of_two_passes_and_a_slope_of_five_does_not() -> None:
    assert judged(slices_at(heights(60), plane_rescale_slope=2.0002)).reasons == ()
    assert found(judged(slices_at(heights(60), plane_rescale_slope=5.0))) == {
        Code.BIT_DEPTH_TOO_LOW: Status.REFUSE
    }


@pytest.mark.parametrize(
    "change", [{"rescale_slope": None}, {"rescale_intercept": None}, {"rescale_slope": 0.0}]
)
def test_without_rescale_there_are_no_hu(change: dict[str, float | None]) -> None:
    result = judged(
        slices_at(heights(60), **{f"plane_{name}": value for name, value in change.items()})
    )
    assert found(result) == {Code.HU_IMPLAUSIBLE: Status.REFUSE}


@given(
    st.lists(st.builds(Reason, st.sampled_from(Code), st.sampled_from(Status)), max_size=6),
    st.data(),
)
def test_adding_a_reason_never_improves_a_verdict(
    reasons: list[Reason], data: st.DataObject
) -> None:
    more = [*reasons, data.draw(st.builds(Reason, st.sampled_from(Code), st.sampled_from(Status)))]
    before, after = Verdict.of(reasons).status, Verdict.of(more).status
    assert SEVERITY.index(after) >= SEVERITY.index(before)
