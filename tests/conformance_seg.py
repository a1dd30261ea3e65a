"""Check the segmentation: frames against the source, segments against findings.json."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from tests.conformance_dataset import (
    MORPHOLOGY,
    NODULE,
    check_hygiene,
    check_same_patient,
    check_site,
    code_of,
)
from tests.conformance_source import Fail, Floats, Plane, Stack

Json = dict[str, Any]

SEGMENTATION_STORAGE = "1.2.840.10008.5.1.4.1.1.66.4"


@dataclass(slots=True)
class Segmented:
    """What the SR must agree with."""

    uid: str
    sop_class: str
    series: str
    tracking: dict[int, str]
    volume: dict[int, float] = field(default_factory=dict)
    masks: dict[int, dict[int, NDArray[np.bool_]]] = field(default_factory=dict)


def check_seg(path: Path, stack: Stack, document: Json, fail: Fail) -> Segmented | None:
    """Check a SEG; None where it cannot be read far enough to compare the SR with it."""
    try:
        seg = pydicom.dcmread(path)
        pixels = seg.pixel_array
    except Exception as error:  # noqa: BLE001 - whatever pydicom says, the object is unreadable
        fail("seg-readable", f"{type(error).__name__}: {error}")
        return None
    kind = (str(seg.SOPClassUID), seg.Modality, seg.SegmentationType)
    if kind != (SEGMENTATION_STORAGE, "SEG", "BINARY"):
        fail("seg-class", f"{kind}")
        return None
    if seg.SeriesInstanceUID == stack.series:
        fail("seg-series", "it stands in the source's series")
    check_hygiene(path, "seg", fail)
    check_same_patient(path, stack, "seg", fail)
    if seg.get("FrameOfReferenceUID") != stack.frame_of_reference:
        fail("seg-frame-of-reference", "is not the source's")
    pixels = pixels[None] if pixels.ndim == 2 else pixels
    groups = seg.PerFrameFunctionalGroupsSequence
    if not len(pixels) == len(groups) == int(seg.NumberOfFrames):
        fail("seg-frames", f"{len(pixels)} frames, {len(groups)} groups, {seg.NumberOfFrames} said")
        return None
    found = Segmented(
        str(seg.SOPInstanceUID),
        str(seg.SOPClassUID),
        str(seg.SeriesInstanceUID),
        {int(s.SegmentNumber): str(s.get("TrackingUID", "")) for s in seg.SegmentSequence},
    )
    numbers = [int(s.SegmentNumber) for s in seg.SegmentSequence]
    if numbers != list(range(1, len(document["findings"]) + 1)):
        fail("seg-segments", f"segments {numbers} for {len(document['findings'])} findings")
    found.masks = {number: {} for number in numbers}
    for plane, own in zip(pixels, groups, strict=True):
        _check_frame(seg, own, plane > 0, stack, found, fail)
    _check_overlap(seg, found, fail)
    _check_references(seg, stack, found, fail)
    by_number = {finding["segment_number"]: finding for finding in document["findings"]}
    for segment in seg.SegmentSequence:
        finding = by_number.get(int(segment.SegmentNumber))
        if finding is not None:
            _check_description(segment, finding, document["package"], fail)
            _check_mask(finding, found, stack, fail)
    return found


def _check_frame(
    seg: Dataset, own: Dataset, mask: NDArray[np.bool_], stack: Stack, found: Segmented, fail: Fail
) -> None:
    shared = seg.SharedFunctionalGroupsSequence[0]

    def group(name: str) -> Dataset:
        items = (own if name in own else shared)[name].value
        assert isinstance(items[0], Dataset)
        return items[0]

    try:
        number = int(group("SegmentIdentificationSequence").ReferencedSegmentNumber)
        position = np.array(group("PlanePositionSequence").ImagePositionPatient, float)
        orientation = np.array(group("PlaneOrientationSequence").ImageOrientationPatient, float)
        measures = group("PixelMeasuresSequence")
        source = group("DerivationImageSequence").SourceImageSequence
    except (KeyError, AttributeError) as error:
        fail("seg-geometry", f"a functional group is missing: {error}")
        return
    if len(source) != 1:
        fail("seg-source", f"{len(source)} source images for one frame")
        return
    uid, frame = str(source[0].ReferencedSOPInstanceUID), source[0].get("ReferencedFrameNumber", 1)
    z = stack.find(uid, int(frame))
    if z is None:
        fail("seg-source", "a frame comes from no slice of the stack")
        return
    _check_geometry(stack.planes[z], position, orientation, measures, mask, fail)
    _check_step(measures, stack, fail)
    if str(source[0].ReferencedSOPClassUID) != stack.planes[z].sop_class:
        fail("seg-source", "of another SOP class than the slice")
    if number not in found.masks:
        fail("seg-segments", f"a frame belongs to segment {number}, which is not described")
    elif not mask.any():
        fail("seg-frames", "a frame is empty")
    elif z in found.masks[number]:
        fail("seg-frames", f"segment {number} has slice {z} twice")
    else:
        found.masks[number][z] = mask


def _check_geometry(
    plane: Plane,
    position: Floats,
    orientation: Floats,
    measures: Dataset,
    mask: NDArray[np.bool_],
    fail: Fail,
) -> None:
    if np.abs(position - plane.position).max() > 0.01:
        fail("seg-geometry", f"a frame lies {np.abs(position - plane.position).max():.2f} mm off")
    if np.abs(orientation - np.concatenate([plane.row, plane.column])).max() > 1e-4:
        fail("seg-geometry", "another orientation than the slice")
    if np.abs(np.array(measures.PixelSpacing, float) - plane.spacing_yx).max() > 1e-4:
        fail("seg-geometry", "another pixel spacing than the slice")
    if mask.shape != plane.shape:
        fail("seg-geometry", f"matrix {mask.shape}, the slice has {plane.shape}")


def _check_step(measures: Dataset, stack: Stack, fail: Fail) -> None:
    step = measures.get("SpacingBetweenSlices")
    if step is not None and abs(float(step) - float(np.median(stack.depths))) > 0.01:
        fail("seg-geometry", f"Spacing Between Slices {step}")


def _check_overlap(seg: Dataset, found: Segmented, fail: Fail) -> None:
    if seg.get("SegmentsOverlap") != "NO":
        fail("seg-overlap", f"SegmentsOverlap is {seg.get('SegmentsOverlap')}")
    for z in {z for planes in found.masks.values() for z in planes}:
        on_slice = [planes[z] for planes in found.masks.values() if z in planes]
        shapes = {mask.shape for mask in on_slice}
        if len(shapes) == 1 and np.sum(on_slice, axis=0).max() > 1:
            fail("seg-overlap", f"two segments share a voxel on slice {z}")


def _check_references(seg: Dataset, stack: Stack, found: Segmented, fail: Fail) -> None:
    series = seg.get("ReferencedSeriesSequence") or []
    if [str(item.SeriesInstanceUID) for item in series] != [stack.series]:
        fail("seg-references", "Referenced Series Sequence does not name exactly the series")
        return
    listed = {str(i.ReferencedSOPInstanceUID) for i in series[0].ReferencedInstanceSequence}
    used = {stack.planes[z].uid for planes in found.masks.values() for z in planes}
    if not used <= listed or not listed <= stack.instances:
        fail("seg-references", "listed instances are not those that frames come from")


def _check_description(segment: Dataset, finding: Json, package: Json, fail: Fail) -> None:
    at = f"segment {segment.SegmentNumber}"
    tracking = (str(segment.get("TrackingUID", "")), segment.get("TrackingID"))
    if tracking != (finding["tracking_uid"], finding["tracking_id"]):
        fail("seg-tracking", f"{at}: not those of findings.json")
    algorithm = (segment.get("SegmentationAlgorithmIdentificationSequence") or [Dataset()])[0]
    named = (algorithm.get("AlgorithmName"), algorithm.get("AlgorithmVersion"))
    if segment.get("SegmentAlgorithmType") != "AUTOMATIC" or named != (
        package["name"],
        package["version"],
    ):
        fail("seg-algorithm", f"{at}: {segment.get('SegmentAlgorithmType')} {named}")
    if code_of(segment.get("SegmentedPropertyCategoryCodeSequence")) != MORPHOLOGY:
        fail("seg-codes", f"{at}: category")
    if code_of(segment.get("SegmentedPropertyTypeCodeSequence")) != NODULE:
        fail("seg-codes", f"{at}: type")
    region = segment.get("AnatomicRegionSequence")
    modifier = region[0].get("AnatomicRegionModifierSequence") if region else None
    check_site(code_of(region), code_of(modifier), finding, f"seg-codes: {at}", fail)


def _check_mask(finding: Json, found: Segmented, stack: Stack, fail: Fail) -> None:
    number, at = finding["segment_number"], f"segment {finding['segment_number']}"
    planes = found.masks.get(number) or {}
    if not planes:
        fail("seg-segments", f"{at} has no frame")
        return
    slices = sorted(planes)
    voxel_mm3 = {z: float(stack.planes[z].spacing_yx.prod() * stack.depths[z]) for z in slices}
    weights = np.array([planes[z].sum() * voxel_mm3[z] for z in slices])
    found.volume[number] = float(weights.sum())
    if not weights.sum():
        fail("seg-volume", f"{at}: its slices have no depth")
        return
    if abs(weights.sum() - finding["volume_mm3"]) > max(0.051, 5e-4 * weights.sum()):
        fail("seg-volume", f"{at}: {weights.sum():.1f} mm3, JSON {finding['volume_mm3']}")
    middles = [np.argwhere(planes[z]).mean(axis=0) for z in slices]
    places = [stack.lps([z, *middle]) for z, middle in zip(slices, middles, strict=True)]
    centre = np.average(places, axis=0, weights=weights)
    for place in (np.array(finding["centre_lps_mm"]), stack.lps(finding["centre_index"])):
        if np.linalg.norm(place - centre) > 1.0:
            fail("seg-centre", f"{at}: {np.linalg.norm(place - centre):.2f} mm off")
    first, last = finding["slices"]
    if slices != list(range(first, last + 1)):
        fail("seg-slices", f"{at}: {slices[0]}..{slices[-1]}, JSON {first}..{last}")
    uids = list(dict.fromkeys(stack.planes[z].uid for z in slices))
    if uids != finding["sop_instance_uids"]:
        fail("seg-slices", f"{at}: sop_instance_uids are not those of the slices, in order")
    hu = np.concatenate([stack.hu(z)[planes[z]] for z in slices]).mean()
    if abs(hu - finding["mean_hu"]) > 0.6:
        fail("seg-hu", f"{at}: {hu:.1f} HU under the mask, JSON {finding['mean_hu']}")
    _check_axes(finding, planes, stack, at, fail)


def _check_axes(
    finding: Json, planes: dict[int, NDArray[np.bool_]], stack: Stack, at: str, fail: Fail
) -> None:
    """The axes must be possible: within a pixel diagonal of the mask's extent on the key slice."""
    key = finding["key_slice"]
    if key not in planes or planes[key].sum() < max(plane.sum() for plane in planes.values()):
        fail("seg-axes", f"{at}: the key slice is not the largest")
        return
    spacing = stack.planes[key].spacing_yx
    points = np.argwhere(planes[key]) * spacing
    angles = np.linspace(0, np.pi, 180, endpoint=False)
    extents = np.ptp(points @ np.stack([np.cos(angles), np.sin(angles)]), axis=0)
    diagonal = float(np.hypot(*spacing)) + 0.11
    if abs(finding["long_axis_mm"] - extents.max()) > diagonal:
        fail("seg-axes", f"{at}: long axis {finding['long_axis_mm']}, mask {extents.max():.1f}")
    if finding["short_axis_mm"] < 0.5 * extents.min() - diagonal:
        fail("seg-axes", f"{at}: short axis {finding['short_axis_mm']}, mask {extents.min():.1f}")
