"""Check the report: its tree, its numbers and its references against JSON, source and SEG."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset

from tests.conformance_dataset import (
    MORPHOLOGY,
    NODULE,
    check_hygiene,
    check_same_patient,
    check_site,
    code_of,
)
from tests.conformance_seg import Segmented
from tests.conformance_source import Fail, Stack

Json = dict[str, Any]

COMPREHENSIVE_3D_SR = "1.2.840.10008.5.1.4.1.1.88.34"
SUMMARIES = {"with": "111242", "without": "111241", "not-scored": "111245"}


def children(item: Dataset, concept: str, value_type: str | None = None) -> list[Dataset]:
    """The content items below one that are named by a code value."""
    return [
        child
        for child in item.get("ContentSequence") or []
        if (code_of(child.get("ConceptNameCodeSequence")) or ("", ""))[0] == concept
        and value_type in (None, child.ValueType)
    ]


def child(item: Dataset, concept: str) -> Dataset:
    """The first of them, or an empty one."""
    found = children(item, concept)
    return found[0] if found else Dataset()


def every_item(item: Dataset) -> Iterator[Dataset]:
    """All content items below one."""
    for below in item.get("ContentSequence") or []:
        yield below
        yield from every_item(below)


def references(item: Dataset) -> Iterator[Dataset]:
    """All SOP references below an item."""
    for below in every_item(item):
        yield from below.get("ReferencedSOPSequence") or []


def check_sr(path: Path, stack: Stack, document: Json, seg: Segmented | None, fail: Fail) -> None:
    """Check an SR."""
    try:
        sr = pydicom.dcmread(path)
    except Exception as error:  # noqa: BLE001 - whatever pydicom says, the object is unreadable
        fail("sr-readable", f"{type(error).__name__}: {error}")
        return
    _check_flags(sr, document, fail)
    if str(sr.SeriesInstanceUID) in {stack.series, seg.series if seg else ""}:
        fail("sr-series", "it stands in a series of others")
    check_hygiene(path, "sr", fail)
    check_same_patient(path, stack, "sr", fail)
    _check_evidence(sr, stack, seg, fail)
    if not children(sr, "121012", "UIDREF"):
        fail("sr-observer", "no Device Observer UID")
    groups = _sorted_groups(sr, document, fail)
    _check_exam(groups["1501"], document, fail)
    _check_library(sr, stack, document, fail)
    _check_finding_groups(groups, stack, document, seg, fail)


def _check_finding_groups(
    groups: dict[str, dict[str, Dataset]],
    stack: Stack,
    document: Json,
    seg: Segmented | None,
    fail: Fail,
) -> None:
    wanted = {finding["tracking_uid"] for finding in document["findings"]}
    for template in ("1411", "1410"):
        if set(groups[template]) != wanted:
            fail("sr-groups", f"TID {template} groups are not those of the findings")
    for finding in document["findings"]:
        uid = finding["tracking_uid"]
        for template in ("1411", "1410"):
            if uid in groups[template]:
                _check_concepts(groups[template][uid], finding, fail)
        if uid in groups["1411"]:
            _check_volumetric(groups["1411"][uid], finding, stack, seg, fail)
        if uid in groups["1410"]:
            _check_planar(groups["1410"][uid], finding, stack, seg, fail)


def _check_flags(sr: Dataset, document: Json, fail: Fail) -> None:
    template = (sr.get("ContentTemplateSequence") or [Dataset()])[0]
    if (sr.SOPClassUID, sr.Modality) != (COMPREHENSIVE_3D_SR, "SR"):
        fail("sr-class", f"{sr.SOPClassUID}, {sr.Modality}")
    title = code_of(sr.get("ConceptNameCodeSequence"))
    if template.get("TemplateIdentifier") != "1500" or title != ("126000", "DCM"):
        fail("sr-class", f"TID {template.get('TemplateIdentifier')}, title {title}")
    flags = (sr.get("VerificationFlag"), sr.get("PreliminaryFlag"), sr.get("CompletionFlag"))
    complete = "COMPLETE" if document["scored"] else "PARTIAL"
    if flags != ("UNVERIFIED", "PRELIMINARY", complete):
        fail("sr-flags", f"{flags}")


def _check_evidence(sr: Dataset, stack: Stack, seg: Segmented | None, fail: Fail) -> None:
    listed: dict[str, tuple[str, str]] = {}
    for keyword in (
        "CurrentRequestedProcedureEvidenceSequence",
        "PertinentOtherEvidenceSequence",
    ):
        for study in sr.get(keyword) or []:
            for series in study.ReferencedSeriesSequence:
                for one in series.ReferencedSOPSequence:
                    place = (str(study.StudyInstanceUID), str(series.SeriesInstanceUID))
                    listed[str(one.ReferencedSOPInstanceUID)] = place
    known = dict.fromkeys(stack.instances | stack.split_off, (stack.study, stack.series))
    needed = set(stack.instances)
    if seg is not None:
        known[seg.uid] = (stack.study, seg.series)
        needed.add(seg.uid)
    if needed - set(listed):
        fail("sr-evidence", f"{len(needed - set(listed))} instances are not in the evidence")
    if any(known.get(uid) != place for uid, place in listed.items()):
        fail("sr-evidence", "an instance is unknown, or in another study or series")
    if any(str(one.ReferencedSOPInstanceUID) not in listed for one in references(sr)):
        fail("sr-evidence", "the tree references what is not in the evidence")


def _sorted_groups(sr: Dataset, document: Json, fail: Fail) -> dict[str, dict[str, Dataset]]:
    """Return template -> tracking UID -> measurement group, checking what all of them must have."""
    groups: dict[str, dict[str, Dataset]] = {"1501": {}, "1411": {}, "1410": {}}
    outlined, numbered = set(), set()
    package = (document["package"]["name"], document["package"]["version"])
    for group in children(child(sr, "126010"), "125007"):
        template = (group.get("ContentTemplateSequence") or [Dataset()])[0]
        kind = str(template.get("TemplateIdentifier"))
        uid = str(child(group, "112040").get("UID", ""))
        if kind not in groups or uid in groups.get(kind, {}):
            fail("sr-groups", f"TID {kind} group unknown or twice")
            continue
        if not uid or not child(group, "112039").get("TextValue"):
            fail("sr-tracking", f"a TID {kind} group has no tracking identifier or UID")
        concepts = [code_of(i.get("ConceptNameCodeSequence")) for i in group.ContentSequence[:2]]
        if concepts != [("112039", "DCM"), ("112040", "DCM")]:
            fail("sr-tracking", "tracking does not come first in its group")
        named = tuple(child(group, concept).get("TextValue") for concept in ("111001", "111003"))
        if named != package:
            fail("sr-algorithm", f"{named} in a TID {kind} group")
        groups[kind][uid] = group
        types = {item.ValueType for item in group.ContentSequence}
        outlined |= {uid} if types & {"SCOORD", "SCOORD3D"} else set()
        numbered |= {uid} if "NUM" in types else set()
    if numbered - outlined:
        fail("sr-numbers", "a number without an outline of the same tracking UID")
    return groups


def _check_exam(groups: dict[str, Dataset], document: Json, fail: Fail) -> None:
    if len(groups) != 1:
        fail("sr-exam", f"{len(groups)} exam-level groups")
        return
    group = next(iter(groups.values()))
    outcome = "with" if document["findings"] else "without"
    wanted = SUMMARIES[outcome if document["scored"] else "not-scored"]
    summary = code_of(child(group, "111017").get("ConceptCodeSequence"))
    if summary != (wanted, "DCM"):
        fail("sr-exam", f"summary {summary}, expected {wanted}")
    comments = [str(item.TextValue) for item in children(group, "121106")]
    if not comments:
        fail("sr-exam", "no comment")
    for remark in (*document["verdict"]["reasons"], *document["notes"]):
        parts = (remark["code"], remark["en"], remark["zh"])
        if not any(all(part in comment for part in parts) for comment in comments):
            fail("sr-exam", f"{remark['code']} is not among the comments, in both languages")
    if children(group, "111012") or any(i.ValueType == "NUM" for i in group.ContentSequence):
        fail("sr-numbers", "a number in the exam-level group")


def _check_library(sr: Dataset, stack: Stack, document: Json, fail: Fail) -> None:
    libraries = children(sr, "111028")
    listed = {str(one.ReferencedSOPInstanceUID) for item in libraries for one in references(item)}
    if not listed:
        fail("sr-library", "missing or empty")
    if listed - stack.instances:
        fail("sr-library", "names what is not in the stack")
    needed = {
        stack.planes[z].uid
        for finding in document["findings"]
        for z in (*finding["slices"], finding["key_slice"])
        if z < len(stack.planes)
    }
    if needed - listed:
        fail("sr-library", "first, last or key slice of a finding is missing")


def _check_concepts(group: Dataset, finding: Json, fail: Fail) -> None:
    at = f"finding {finding['id']}"
    if code_of(child(group, "121071").get("ConceptCodeSequence")) != NODULE:
        fail("sr-codes", f"{at}: finding")
    if code_of(child(group, "276214006").get("ConceptCodeSequence")) != MORPHOLOGY:
        fail("sr-codes", f"{at}: category")
    site = child(group, "363698007")
    side = child(site, "272741003")
    check_site(
        code_of(site.get("ConceptCodeSequence")),
        code_of(side.get("ConceptCodeSequence")),
        finding,
        f"sr-codes: {at}",
        fail,
    )


def _check_number(
    group: Dataset, concept: str, unit: str, wanted: float, fail: Fail, *, is_mean: bool = False
) -> None:
    items = children(group, concept, "NUM")
    if len(items) != 1 or not items[0].get("MeasuredValueSequence"):
        fail("sr-numbers", f"{concept}: {len(items)} measurements")
        return
    measured = items[0].MeasuredValueSequence[0]
    if code_of(measured.get("MeasurementUnitsCodeSequence")) != (unit, "UCUM"):
        fail("sr-numbers", f"{concept}: another unit than {unit}")
    if abs(float(measured.NumericValue) - wanted) > 0.0501:
        fail("sr-numbers", f"{concept}: {measured.NumericValue}, JSON {wanted}")
    derivation = code_of(child(items[0], "121401").get("ConceptCodeSequence"))
    if is_mean and derivation != ("373098007", "SCT"):
        fail("sr-numbers", f"{concept}: derivation {derivation}")


def _check_volumetric(
    group: Dataset, finding: Json, stack: Stack, seg: Segmented | None, fail: Fail
) -> None:
    number = finding["segment_number"]
    segment = (child(group, "121191").get("ReferencedSOPSequence") or [Dataset()])[0]
    named = (
        str(segment.get("ReferencedSOPInstanceUID", "")),
        str(segment.get("ReferencedSOPClassUID", "")),
    )
    referenced = int(segment.get("ReferencedSegmentNumber") or 0)
    if seg is None or named != (seg.uid, seg.sop_class):
        fail("sr-segment", f"finding {number}: not a segment of this SEG")
    elif seg.tracking.get(referenced) != finding["tracking_uid"]:
        fail("sr-segment", f"finding {number}: segment {referenced} has another tracking UID")
    elif number in seg.volume and abs(seg.volume[number] - finding["volume_mm3"]) > 0.5:
        fail("sr-numbers", f"finding {number}: the segment's volume is another")
    if str(child(group, "121232").get("UID", "")) != stack.series:
        fail("sr-segment", f"finding {number}: source series")
    _check_number(group, "118565006", "mm3", finding["volume_mm3"], fail)
    _check_number(group, "112031", "[hnsf'U]", finding["mean_hu"], fail, is_mean=True)
    _check_number(group, "111012", "%", 100 * finding["score"], fail)


def _check_planar(
    group: Dataset, finding: Json, stack: Stack, seg: Segmented | None, fail: Fail
) -> None:
    at = f"finding {finding['id']}"
    _check_number(group, "103339001", "mm", finding["long_axis_mm"], fail)
    _check_number(group, "103340004", "mm", finding["short_axis_mm"], fail)
    _check_number(group, "81827009", "mm", finding["mean_diameter_mm"], fail, is_mean=True)
    region = child(group, "111030")
    image = next(references(region), None) if "GraphicData" in region else None
    if image is None or region.get("GraphicType") != "POLYLINE":
        fail("sr-outline", f"{at}: no outline on an image")
        return
    frame = int(image.get("ReferencedFrameNumber") or 1)
    z = stack.find(str(image.ReferencedSOPInstanceUID), frame)
    if z != finding["key_slice"]:
        fail("sr-outline", f"{at}: on slice {z}, key slice {finding['key_slice']}")
        return
    points = np.array(region.GraphicData, float).reshape(-1, 2)
    if not np.array_equal(points[0], points[-1]):
        fail("sr-outline", f"{at}: not closed")
    mask = seg.masks.get(finding["segment_number"], {}).get(z) if seg and z is not None else None
    if mask is None:
        return
    # Coordinates count from the corner of the first pixel, so its centre is (0.5, 0.5).
    pixels = np.argwhere(mask)[:, ::-1] + 0.5
    x, y = points.T
    twice_area = np.dot(x[:-1], y[1:]) - np.dot(x[1:], y[:-1])
    if not 0.8 < abs(twice_area) / 2 / len(pixels) < 1.25:
        fail("sr-outline", f"{at}: encloses {abs(twice_area) / 2:.0f} of {len(pixels)} pixels")
    cross = x[:-1] * y[1:] - x[1:] * y[:-1]
    centroid = ((points[:-1] + points[1:]) * cross[:, None]).sum(axis=0) / (3 * cross.sum())
    # Half a pixel is the usual mistake, so less than that must be seen.
    off = np.abs(centroid - pixels.mean(axis=0)).max()
    if off > 0.3:
        fail("sr-outline", f"{at}: {off:.1f} pixels off the mask")
