"""Check what Firstread wrote as a stranger would: against the source and against each other.

``check`` returns one line for each thing that is wrong, ``rule: what was found``; an empty list
means that everything holds. It uses pydicom and numpy and shares no code with what it checks.

================ ===============================================================================
this module      findings.json (``json-...``), stack (``stack-...``), phantom truth (``truth-...``),
                 two outputs beside each other (``twin-...``, ``uid-...``)
conformance_seg  the segmentation (``seg-...``)
conformance_sr   the report (``sr-...``)
================ ===============================================================================
"""

import json
import re
import warnings
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pydicom

from tests.conformance_seg import check_seg
from tests.conformance_source import (
    Fail,
    Stack,
    is_ct_without_uids,
    is_usable_ct,
    pixels_of,
    read_all,
    stack_of,
)
from tests.conformance_sr import check_sr

Json = dict[str, Any]

SCORED = {"accept": True, "limits": True, "resend": False, "refuse": False}
LOBE_SIDES = {
    "42400003": "right",
    "72481006": "right",
    "266005": "right",
    "44714003": "left",
    "41224006": "left",
}


def check(source: Path, out: Path, *, codec: str = "utf-8", truth: Path | None = None) -> list[str]:
    """Return what is wrong with an output.

    Parameters
    ----------
    codec
        How the source's texts are really encoded, whatever they declare.
    truth
        ``truth.json`` of a phantom.
    """
    failures: list[str] = []

    def fail(rule: str, text: str) -> None:
        failures.append(f"{rule}: {text}")

    with warnings.catch_warnings():
        # pydicom warns of the very faults that are looked for here.
        warnings.simplefilter("ignore")
        _check(source, out, codec, truth, fail)
    return failures


def _check(source: Path, out: Path, codec: str, truth: Path | None, fail: Fail) -> None:
    document = _read_document(out, fail)
    if document is None or not _is_sound(document, fail):
        return
    found = read_all(source)
    if not any(is_usable_ct(dataset) for _, dataset in found):
        _check_nothing_to_analyse(document, out, found, fail)
        return
    stack = _check_stack(document, found, codec, fail)
    if stack is not None:
        _check_objects(document, out, stack, fail)
        if truth is not None and document["scored"]:
            _check_truth(document, stack, json.loads(truth.read_text("utf-8")), fail)


def check_twins(one: Path, other: Path) -> list[str]:
    """Return how two runs of the same analysis differ; timings may."""
    failures = []
    for name in sorted({p.relative_to(d).as_posix() for d in (one, other) for p in d.rglob("*.*")}):
        a, b = one / name, other / name
        if not (a.exists() and b.exists()):
            failures.append(f"twin-files: only one has {name}")
        elif name == "findings.json":
            if _timeless(a) != _timeless(b):
                failures.append("twin-json: findings.json differs")
        elif a.read_bytes() != b.read_bytes():
            failures.append(f"twin-bytes: {name} differs")
    return failures


def check_no_shared_uid(one: Path, other: Path) -> list[str]:
    """Return result UIDs that stand for two contents, or two package versions."""
    if _timeless(one / "findings.json") == _timeless(other / "findings.json"):
        return ["uid-content: both outputs say the same"]
    shared = _result_uids(one) & _result_uids(other)
    return [f"uid-shared: {uid}" for uid in sorted(shared)]


def _timeless(path: Path) -> Json:
    document: Json = json.loads(path.read_bytes())
    document.pop("timings_s", None)
    return document


def _result_uids(out: Path) -> set[str]:
    uids = {f["tracking_uid"] for f in json.loads((out / "findings.json").read_bytes())["findings"]}
    for name in ("seg.dcm", "sr.dcm"):
        if (out / name).exists():
            dataset = pydicom.dcmread(out / name, stop_before_pixels=True)
            uids |= {str(dataset.SOPInstanceUID), str(dataset.SeriesInstanceUID)}
    return uids


def _read_document(out: Path, fail: Fail) -> Json | None:
    try:
        document = json.loads((out / "findings.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        fail("json-readable", str(error))
        return None
    if not isinstance(document, dict) or document.get("schema") != "firstread/findings/1":
        fail("json-schema", "not firstread/findings/1")
        return None
    return document


def _is_sound(document: Json, fail: Fail) -> bool:
    """Types and keys by the committed schema, then what a schema cannot say."""
    sound = True

    def note(rule: str, text: str) -> None:
        nonlocal sound
        sound = False
        fail(rule, text)

    _check_document(document, note)
    return sound


def _check_document(document: Json, fail: Fail) -> None:
    import jsonschema  # type: ignore[import-untyped]

    path = Path(__file__).resolve().parents[1] / "inference/results/findings.schema.json"
    validator = jsonschema.Draft202012Validator(json.loads(path.read_text("utf-8")))
    for error in validator.iter_errors(document):
        fail("json-schema", f"{'/'.join(map(str, error.path))}: {error.message[:200]}")
        return
    status, scored = document["verdict"]["status"], document["scored"]
    findings, candidates = document["findings"], document["candidates"]
    if SCORED[status] != scored:
        fail("json-scored", f"status {status}, scored {scored}")
    if status != "accept" and not document["verdict"]["reasons"]:
        fail("json-reason", f"status {status} without a reason")
    if not scored and (findings or candidates):
        fail("json-scored", "not scored, yet there are findings or candidates")
    if bool(document["files"]["seg"]) != bool(findings):
        fail("json-files", "seg is there exactly when there is a finding")
    if scored:
        point = document["operating_point"]
        if not point or not document["runtime"]:
            fail("json-scored", "scored without operating point or runtime")
            return
        _check_scores(point, findings, candidates, fail)
    for number, finding in enumerate(findings, start=1):
        _check_finding(number, finding, document["package"]["intended_size"], fail)
    if len({finding["tracking_uid"] for finding in findings}) < len(findings):
        fail("json-tracking", "two findings share a tracking UID")


def _check_scores(point: Json, findings: list[Json], candidates: list[Json], fail: Fail) -> None:
    threshold, floor = point["threshold"], point["floor"]
    if floor > threshold:
        fail("json-scores", "the floor lies above the threshold")
    for finding in findings:
        if finding["score"] < threshold:
            fail("json-scores", f"finding {finding['id']} is below the threshold")
    for candidate in candidates:
        if not floor <= candidate["score"] < threshold:
            fail("json-scores", f"candidate of {candidate['score']} is out of range")
    for listed in (findings, candidates):
        scores = [one["score"] for one in listed]
        if scores != sorted(scores, reverse=True):
            fail("json-order", "not by falling score")


def _check_finding(number: int, finding: Json, size: Json, fail: Fail) -> None:
    at = f"finding {finding['id']}"
    if (finding["id"], finding["segment_number"]) != (number, number):
        fail("json-ids", f"{at}: expected {number}")
    long_mm, short_mm = finding["long_axis_mm"], finding["short_axis_mm"]
    if short_mm > long_mm:
        fail("json-axes", f"{at}: the short axis is longer")
    if any(round(value, 1) != value for value in (long_mm, short_mm)):
        fail("json-axes", f"{at}: not in tenths")
    mean = (Decimal(str(long_mm)) + Decimal(str(short_mm))) / 2
    if Decimal(str(finding["mean_diameter_mm"])) != mean.quantize(Decimal("0.1"), ROUND_HALF_UP):
        fail("json-mean", f"{at}: {finding['mean_diameter_mm']} is not half up of {mean}")
    mean_mm = finding["mean_diameter_mm"]
    place = "above" if mean_mm > size["most_mm"] else "within"
    place = "below" if mean_mm < size["least_mm"] else place
    if finding["intended_size"] != place:
        fail("json-size", f"{at}: {finding['intended_size']}, but {mean_mm} mm is {place}")
    first, last = finding["slices"]
    if not first <= finding["key_slice"] <= last:
        fail("json-slices", f"{at}: the key slice is outside")
    lobe = finding["lobe"]
    if lobe is not None and LOBE_SIDES.get(lobe) != finding["laterality"]:
        fail("json-lobe", f"{at}: {lobe} is not on that side")


def _check_nothing_to_analyse(
    document: Json, out: Path, found: list[tuple[Path, pydicom.Dataset]], fail: Fail
) -> None:
    """The one case without SR: no CT that has UIDs."""
    if not found:
        fail("nothing-readable", "no output was expected")
    codes = {reason["code"] for reason in document["verdict"]["reasons"]}
    is_bare = any(is_ct_without_uids(dataset) for _, dataset in found)
    wanted = "uids-missing" if is_bare else "not-ct"
    if document["verdict"]["status"] != "refuse" or wanted not in codes:
        fail("nothing-reason", f"expected refuse with {wanted}")
    if document["series_uid"] is not None:
        fail("nothing-uids", "series_uid is not null")
    for key, keyword in (
        ("study_uid", "StudyInstanceUID"),
        ("frame_of_reference_uid", "FrameOfReferenceUID"),
    ):
        known = {str(dataset.get(keyword) or "") for _, dataset in found}
        if document[key] is not None and document[key] not in known:
            fail("nothing-uids", f"{key} is not in the source")
    if document["files"]["sr"] or document["files"]["seg"]:
        fail("nothing-files", "SR or SEG is named")
    if (out / "sr.dcm").exists() or (out / "seg.dcm").exists():
        fail("nothing-files", "there is an SR or SEG")


def _check_stack(
    document: Json, found: list[tuple[Path, pydicom.Dataset]], codec: str, fail: Fail
) -> Stack | None:
    if document["study_uid"] is None or document["series_uid"] is None:
        fail("stack-uids", "null, although there is a CT with UIDs")
        return None
    if not document["files"]["sr"]:
        fail("json-files", "no SR, although there is a CT with UIDs")
    choice = document["series_choice"]
    off = {uid for part in choice["split_off"] for uid in part["sop_instance_uids"]}
    try:
        stack = stack_of(found, document["series_uid"], off, codec)
    except LookupError:
        fail("stack-uids", "series_uid names no CT of the source, or all of it was split off")
        return None
    if document["study_uid"] != stack.study:
        fail("stack-uids", "study_uid is another")
    if (document["frame_of_reference_uid"] or "") != stack.frame_of_reference:
        fail("stack-uids", "frame_of_reference_uid is another")
    if document["scored"]:
        _check_scored_stack(document, stack, off, found, fail)
    return stack


def _check_scored_stack(
    document: Json,
    stack: Stack,
    off: set[str],
    found: list[tuple[Path, pydicom.Dataset]],
    fail: Fail,
) -> None:
    if not stack.frame_of_reference:
        fail("stack-uids", "scored without a frame of reference")
    placed = {plane.uid for plane in (*stack.planes, *(double for _, double in stack.doubles))}
    if placed != stack.instances:
        fail("stack-kind", "an instance of the stack has no position")
    if document["series_choice"]["instances"] != len(stack.instances):
        fail("stack-count", f"{len(stack.instances)} instances are in the stack")
    if not stack.is_one_kind:
        fail("stack-kind", "orientation, size, spacing or frame of reference is mixed")
    if off - stack.split_off:
        fail("stack-split", "what was split off is not in the series")
    _check_reason_to_split(stack, found, fail)
    for z, double in stack.doubles:
        if not np.array_equal(stack.hu(z), pixels_of(double)):
            fail("stack-doubles", f"slice {z} is there twice with other pixels")
    for candidate in document["candidates"]:
        apart = stack.lps(candidate["centre_index"]) - np.array(candidate["centre_lps_mm"])
        if np.linalg.norm(apart) > 1.0:
            fail("json-candidate", "index and place are not the same")


def _check_reason_to_split(
    stack: Stack, found: list[tuple[Path, pydicom.Dataset]], fail: Fail
) -> None:
    """What was split off must differ in something from what was kept."""

    def marks(dataset: pydicom.Dataset) -> tuple[object, ...]:
        numbers = [
            [round(float(value), 3) for value in dataset.get(keyword) or []]
            for keyword in ("ImageOrientationPatient", "PixelSpacing")
        ]
        plain = (
            str(dataset.get(keyword) or "")
            for keyword in ("Rows", "Columns", "FrameOfReferenceUID", "AcquisitionNumber")
        )
        return (*map(tuple, numbers), *plain, tuple(dataset.get("ImageType") or ())[:4])

    by_uid = {str(d.SOPInstanceUID): d for _, d in found if d.get("SOPInstanceUID")}
    kept = {marks(by_uid[uid]) for uid in stack.instances}
    if any(marks(by_uid[uid]) in kept for uid in stack.split_off):
        fail("stack-split", "what was split off differs in nothing")


def _check_objects(document: Json, out: Path, stack: Stack, fail: Fail) -> None:
    seg = None
    if document["findings"]:
        if not (out / "seg.dcm").exists():
            fail("json-files", "seg.dcm is missing")
        else:
            seg = check_seg(out / "seg.dcm", stack, document, fail)
    elif (out / "seg.dcm").exists():
        fail("json-files", "there is a SEG without a finding")
    if not (out / "sr.dcm").exists():
        fail("json-files", "sr.dcm is missing")
    else:
        check_sr(out / "sr.dcm", stack, document, seg, fail)
    for name in document["files"]["key_images"]:
        if not re.fullmatch(r"key_images/\d+\.png", name) or not (out / name).exists():
            fail("json-files", f"{name} is missing")


def _check_truth(document: Json, stack: Stack, truth: Json, fail: Fail) -> None:
    for nodule in truth["nodules"]:
        size_mm = float(nodule["diameter_mm"])
        if size_mm < 6:
            continue
        at = f"nodule {nodule['id']} of {size_mm} mm"
        near = [
            (float(np.linalg.norm(np.subtract(f["centre_lps_mm"], nodule["centre_lps_mm"]))), f)
            for f in document["findings"]
        ]
        inside = [(off, f) for off, f in near if off <= size_mm / 2]
        if len(inside) != 1:
            fail("truth-found", f"{at}: {len(inside)} findings in it")
            continue
        off, finding = inside[0]
        if off > max(1.0, float(np.median(stack.depths))):
            fail("truth-centre", f"{at}: {off:.2f} mm off")
        allowed = 0.10 if size_mm >= 10 else 0.25
        if abs(finding["volume_mm3"] / nodule["volume_mm3"] - 1) > allowed:
            fail("truth-volume", f"{at}: {finding['volume_mm3']} mm3")
        if abs(finding["mean_diameter_mm"] - size_mm) > 0.75:
            fail("truth-diameter", f"{at}: {finding['mean_diameter_mm']} mm")
        if nodule.get("laterality") and finding["laterality"] != nodule["laterality"]:
            fail("truth-side", f"{at}: {finding['laterality']}")
