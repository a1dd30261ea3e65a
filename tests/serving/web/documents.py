"""Results as an analysis would have left them: ``findings.json``, key images, SEG and SR."""

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from PIL import Image, ImageDraw
from sqlalchemy import insert, select, update

from inference.results.document import json_schema
from models.package import find_package
from serving.database.engine import writing
from serving.database.tables import cases, instances, series, studies
from serving.events.log import Kind
from serving.studies.case_rows import change_case, place_columns, tell
from serving.studies.result_rows import add_result, hide_visible_result
from serving.worklist.placing import CaseFacts, Score, judge_urgency
from serving.worklist.states import AiState, OrderedClass
from serving.worklist.summary import summarise
from tests.serving.house import House
from tests.serving.web.running import Running

SERIES_UID = "2.25.77"
CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
PACKAGE = find_package(check_files=False)
FEW_ALERTS = PACKAGE.description.operating_points["few_alerts"].threshold


def a_finding(
    number: int, mean_mm: float, score: float, laterality: str = "right", zone: str | None = "upper"
) -> dict[str, Any]:
    """Return one finding of ``findings.json``."""
    place = PACKAGE.description.intended_size.place(mean_mm)
    return {
        "id": number, "segment_number": number, "tracking_uid": f"2.25.9{number}",
        "tracking_id": f"Firstread nodule {number}", "centre_lps_mm": [1.0, 2.0, 3.0],
        "centre_index": [40.0, 100.0, 120.0], "score": score, "long_axis_mm": mean_mm + 1.2,
        "short_axis_mm": mean_mm - 1.2, "mean_diameter_mm": mean_mm, "intended_size": place,
        "volume_mm3": 0.52 * mean_mm**3, "mean_hu": 31.0, "laterality": laterality, "lobe": None,
        "zone": zone, "slices": [36, 44], "key_slice": 40, "sop_instance_uids": ["2.25.5"],
    }  # fmt: skip


def a_gap(position_mm: float, missing: int, code: str = "slices-missing") -> dict[str, Any]:
    """Return the reason of a verdict for missing slices."""
    return {
        "code": code,
        "zh": f"{position_mm - 8:.1f} 毫米与 {position_mm + 8:.1f} 毫米之间"
        f"缺少 {missing} 层。请补传。",
        "en": f"{missing} slice(s) missing between {position_mm - 8:.1f} mm and "
        f"{position_mm + 8:.1f} mm. Please send them.",
        "numbers": {
            "position_mm": position_mm, "from_mm": position_mm - 8, "to_mm": position_mm + 8,
            "missing": missing,
        },
    }  # fmt: skip


def a_document(
    *findings: Mapping[str, Any],
    status: str = "accept",
    reasons: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Return a ``findings.json`` that satisfies its schema."""
    scored = status in ("accept", "limits")
    description = PACKAGE.description
    document = {
        "schema": "firstread/findings/1",
        "software": {"name": "Firstread", "version": "0.1.0"},
        "package": {
            "name": description.name, "version": description.version, "sha256": PACKAGE.sha256,
            "intended_size": description.intended_size.model_dump(), "has_seen_series": False,
        },
        "runtime": {"provider": "openvino-cpu", "precision": "f32", "version": "2026.4.1",
                    "processor": "a processor"} if scored else None,
        "operating_point": {"name": "balanced", "threshold": 0.324, "floor": 0.023}
        if scored else None,
        "study_uid": "2.25.1", "series_uid": SERIES_UID, "frame_of_reference_uid": "2.25.2",
        "scored": scored,
        "verdict": {"status": status, "reasons": list(reasons)},
        "series_choice": {"instances": 240, "why": "the only CT series: 240 axial slices",
            "why_zh": "唯一的CT序列：轴位240层",
                          "split_off": [], "runners_up": [], "unread": {}},
        "notes": [], "findings": list(findings), "candidates": [],
        "files": {"seg": "seg.dcm" if findings else None, "sr": "sr.dcm",
                  "key_images": [f"key_images/{finding['id']}.png" for finding in findings]},
        "timings_s": {"total": 2.5},
    }  # fmt: skip
    Draft202012Validator(json_schema()).validate(document)
    return document


def finish(it: Running | House, case_id: str, document: Mapping[str, Any], at: float) -> int:
    """Make a document the visible result of a case, and tell it; return the result's id."""
    store = it.service.store
    contents = {"findings.json": json.dumps(document).encode(), "sr.dcm": b"an SR"}
    if document["findings"]:
        contents["seg.dcm"] = b"a SEG"
    for name in document["files"]["key_images"]:
        contents[name] = a_picture()
    files = {name: store.put_bytes(data) for name, data in contents.items()}
    package = document["package"]
    with writing(it.service.engine) as connection:
        case = connection.execute(select(cases).where(cases.c.id == case_id)).mappings().one()
        study = connection.execute(
            select(studies).where(studies.c.id == case["study_id"])
        ).mappings().one()  # fmt: skip
        known = select(series.c.id).where(series.c.study_id == study["id"])
        if connection.execute(known).first() is None:
            series_id = connection.execute(
                insert(series).returning(series.c.id).values(
                    study_id=study["id"], series_uid=SERIES_UID, modality="CT", number=3,
                    description="肺 1.25 mm", body_part="CHEST",
                )
            ).scalar_one()  # fmt: skip
            connection.execute(
                insert(instances).values(
                    study_id=study["id"], series_id=series_id, sha256="0" * 64, size_bytes=1,
                    sop_instance_uid=f"2.25.{study['id']}", sop_class_uid=CT_IMAGE, is_source=True,
                    transfer_syntax_uid=EXPLICIT_LITTLE_ENDIAN, received_at=at,
                )
            )  # fmt: skip
        hidden = hide_visible_result(connection, case_id, at)
        result_id = add_result(
            connection,
            {
                "case_id": case_id, "package_name": package["name"],
                "package_version": package["version"], "package_sha256": package["sha256"],
                "software_version": "0.1.0", "input_sha256": "0" * 64,
                "generation": study["generation"], "status": document["verdict"]["status"],
                "codes": [reason["code"] for reason in document["verdict"]["reasons"]],
                "timings_s": document["timings_s"], "created_at": at,
            },
            {name: (stored.sha256, stored.size_bytes) for name, stored in files.items()},
        )  # fmt: skip
        urgency = judge_urgency(
            it.service.policy, CaseFacts(OrderedClass(case["ordered_class"]), case["arrived_at"]),
            Score(document["findings"], FEW_ALERTS) if document["scored"] else None,
        )  # fmt: skip
        state = AiState.SCORED if document["scored"] else AiState.NOT_ANALYSED
        changed = change_case(
            connection, case["study_id"],
            {
                "ai_state": state.value, "summary": summarise(document),
                **place_columns(urgency, case["excess_min"]),
            },
        )  # fmt: skip
        if hidden:
            tell(connection, changed, Kind.SUPERSEDED, {"package": hidden}, at)
        if document["scored"]:
            details = {
                "findings": len(document["findings"]),
                "package": f"{package['name']}@{package['version']}",
            }
            tell(connection, changed, Kind.SCORED, details, at)
        else:
            code = document["verdict"]["reasons"][0]["code"]
            tell(connection, changed, Kind.NOT_ANALYSED, {"code": code}, at)
    return result_id


def a_picture() -> bytes:
    """Return a PNG where a key image would be."""
    picture = Image.new("L", (600, 300), 30)
    ImageDraw.Draw(picture).ellipse((120, 100, 180, 160), outline=255, width=2)
    held = io.BytesIO()
    picture.save(held, "PNG")
    return held.getvalue()


def change_state(it: Running, case_id: str, state: AiState, kind: Kind, at: float) -> None:
    """Move a case to another state, and tell it."""
    details: dict[Kind, dict[str, Any]] = {
        Kind.RECEIVED: {"instances": 3}, Kind.SETTLED: {"instances": 240},
        Kind.ANALYSING: {"attempt": 1},
    }  # fmt: skip
    with writing(it.service.engine) as connection:
        study_id = connection.execute(
            select(cases.c.study_id).where(cases.c.id == case_id)
        ).scalar_one()
        if kind is Kind.RECEIVED:
            raised = {"generation": studies.c.generation + 1}
            connection.execute(update(studies).where(studies.c.id == study_id).values(**raised))
        changed = change_case(connection, study_id, {"ai_state": state.value})
        tell(connection, changed, kind, details[kind], at)
