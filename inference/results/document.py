"""``findings.json``: the public contract of an analysis, schema ``firstread/findings/1``.

The schema itself is ``findings.schema.json`` beside this module. Every number in it is rounded
before it is written, and the SR carries that same number, so that a reader can compare the two
exactly.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from firstread.messages import Language
from inference.detection.candidate import Candidate
from inference.findings import Finding
from inference.gate.reasons import Reason, Verdict
from inference.results.analysis import Analysis, SeriesChoice
from inference.results.notes import Note, notes
from inference.volume import Floats, Grid

SCHEMA = "firstread/findings/1"
# A viewer's threshold slider needs the strongest; more would only make the file long.
MOST_CANDIDATES = 30

Json = dict[str, Any]


@cache
def json_schema() -> Mapping[str, Any]:
    """Return the JSON Schema (draft 2020-12) of ``findings.json``."""
    text = (files("inference.results") / "findings.schema.json").read_text("utf-8")
    schema: Mapping[str, Any] = json.loads(text)
    return schema


def describe(analysis: Analysis) -> Json:
    """Return ``findings.json`` without result UIDs and timings: all of its content.

    What the result UIDs are hashes of; :func:`complete` adds the rest.
    """
    first = analysis.instances[0] if analysis.instances else None
    scored = analysis.verdict.status.is_scored
    size = analysis.package.intended_size
    point, runtime = analysis.operating_point, analysis.runtime
    return {
        "schema": SCHEMA,
        "software": {"name": "Firstread", "version": analysis.software_version},
        "package": {
            "name": analysis.package.name,
            "version": analysis.package.version,
            "sha256": analysis.package.sha256,
            "intended_size": {"least_mm": size.least_mm, "most_mm": size.most_mm},
            "has_seen_series": analysis.package.has_seen_series,
        },
        "runtime": runtime
        and {
            "provider": runtime.provider,
            "precision": runtime.precision,
            "version": runtime.version,
            "processor": runtime.processor,
        },
        "operating_point": point
        and {"name": point.name, "threshold": point.threshold, "floor": point.floor},
        "study_uid": first.study_uid if first else None,
        "series_uid": first.series_uid if first else None,
        "frame_of_reference_uid": (first.frame_of_reference_uid or None) if first else None,
        "scored": scored,
        "verdict": verdict_document(analysis.verdict),
        "series_choice": choice_document(analysis.choice),
        "notes": [_note(note) for note in notes(analysis)],
        "findings": [_finding(finding, analysis) for finding in analysis.findings],
        "candidates": _candidates(analysis.candidates, analysis.volume.grid)
        if analysis.volume and scored
        else [],
        "files": {
            "seg": "seg.dcm" if analysis.findings else None,
            "sr": "sr.dcm" if first else None,
            "key_images": [key_image_name(finding) for finding in analysis.findings],
        },
    }


def complete(content: Json, tracking_uids: Sequence[str], timings_s: Mapping[str, float]) -> Json:
    """Return ``findings.json`` with the findings' tracking UIDs and the timings."""
    findings = [
        entry | {"tracking_uid": uid, "tracking_id": tracking_id(entry["id"])}
        for entry, uid in zip(content["findings"], tracking_uids, strict=True)
    ]
    rounded = {stage: round(seconds, 3) for stage, seconds in timings_s.items()}
    return content | {"findings": findings, "timings_s": rounded}


def encode(document: Json) -> bytes:
    """Return the document as written: sorted keys, UTF-8, no escapes, a newline at the end."""
    text = json.dumps(document, ensure_ascii=False, sort_keys=True, indent=2, allow_nan=False)
    return (text + "\n").encode()


def tracking_id(finding_id: int) -> str:
    """Return the human-readable tracking identifier, the same in JSON, SEG and SR."""
    return f"Firstread nodule {finding_id}"


def key_image_name(finding: Finding) -> str:
    """Return the path of a finding's key image below OUT."""
    return f"key_images/{finding.id}.png"


def verdict_document(verdict: Verdict) -> Json:
    """Return a verdict as ``findings.json`` has it, every sentence in both languages."""
    return {
        "status": verdict.status.value,
        "reasons": [_reason(reason) for reason in verdict.reasons],
    }


def choice_document(choice: SeriesChoice) -> Json:
    """Return the choice of the series as ``findings.json`` has it."""
    return {
        "instances": choice.instances,
        "why": choice.why.sentence(Language.EN),
        "why_zh": choice.why.sentence(Language.ZH_CN),
        "split_off": [
            {"why": part.why, "sop_instance_uids": list(part.sop_instance_uids)}
            for part in choice.split_off
        ],
        "runners_up": [
            {"series_uid": other.series_uid, "why_not": other.why_not}
            for other in choice.runners_up
        ],
        "unread": dict(choice.unread),
    }


def _reason(reason: Reason) -> Json:
    return {
        "code": reason.code.value,
        "zh": reason.sentence(Language.ZH_CN),
        "en": reason.sentence(Language.EN),
        "numbers": dict(reason.numbers),
    }


def _note(note: Note) -> Json:
    return {
        "code": note.code.value,
        "zh": note.sentence(Language.ZH_CN),
        "en": note.sentence(Language.EN),
    }


def _finding(finding: Finding, analysis: Analysis) -> Json:
    first, last = finding.slices
    uids = [analysis.slices[z][0].sop_instance_uid for z in range(first, last + 1)]
    return {
        "id": finding.id,
        "segment_number": finding.id,
        "centre_lps_mm": list(finding.centre_lps_mm),
        "centre_index": list(finding.centre_index),
        "score": finding.score,
        "long_axis_mm": finding.long_axis_mm,
        "short_axis_mm": finding.short_axis_mm,
        "mean_diameter_mm": finding.mean_diameter_mm,
        "intended_size": analysis.package.intended_size.place(finding.mean_diameter_mm),
        "volume_mm3": finding.volume_mm3,
        "mean_hu": finding.mean_hu,
        "laterality": finding.laterality.value,
        "lobe": finding.lobe,
        "zone": finding.zone and finding.zone.value,
        "slices": [first, last],
        "key_slice": finding.key_slice,
        # One for each slice; frames of one multi-frame instance name it once.
        "sop_instance_uids": list(dict.fromkeys(uids)),
    }


def _candidates(candidates: Sequence[Candidate], grid: Grid) -> list[Json]:
    ranked = sorted(candidates, key=lambda one: (-one.score, one.centre_lps_mm[::-1]))
    return [
        {
            "centre_lps_mm": _rounded(one.centre_lps_mm, 2),
            "centre_index": _rounded(grid.to_index(one.centre_lps_mm), 2),
            "score": round(one.score, 3),
            "diameter_mm": round(one.diameter_mm, 1),
        }
        for one in ranked[:MOST_CANDIDATES]
    ]


def _rounded(numbers: Sequence[float] | Floats, digits: int) -> list[float]:
    # Adding zero turns -0.0, which JSON would keep, into 0.0.
    return [round(float(number), digits) + 0.0 for number in numbers]
