"""Cases for tests and the bench, put into the tables as they would stand after many days."""

import random
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, insert

from serving.database.tables import cases, sites, studies
from serving.search import search_text
from serving.studies.case_rows import place_columns
from serving.worklist.keys import ReadingKey
from serving.worklist.placing import CaseFacts, Score, judge_urgency
from serving.worklist.pools import ensure_default_pool, key_id
from serving.worklist.states import AiState, OrderedClass, ReadingState
from serving.worklist.urgency import UrgencyPolicy, read_policy

POLICY = read_policy()
FAMILY = "王李张刘陈杨黄赵吴周徐孙马朱胡林郭何高罗"
GIVEN = "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超秀霞平刚桂英"


def a_policy(**sections: Any) -> UrgencyPolicy:
    """Return the rules that ship with other sections in place of theirs."""
    return UrgencyPolicy.model_validate({**POLICY.model_dump(by_alias=True), **sections})


def a_finding(mean_diameter_mm: float, score: float = 0.9) -> dict[str, Any]:
    """Return what urgency and summary read of a finding."""
    return {
        "mean_diameter_mm": mean_diameter_mm,
        "score": score,
        "intended_size": "within" if 4 <= mean_diameter_mm <= 40 else "below",
    }


def a_summary(*findings: Mapping[str, Any], status: str = "accept") -> dict[str, Any]:
    """Return the summary of a scored case."""
    return {
        "status": status,
        "findings": len(findings),
        "largest_mm": max((f["mean_diameter_mm"] for f in findings), default=None),
        "highest_score": max((f["score"] for f in findings), default=None),
        "outside_intended": 0,
        "reasons": [],
        "notes": [],
        "package": "lung_nodule@1.0.1",
    }


def a_refusal(status: str = "resend") -> dict[str, Any]:
    """Return the summary of a case that was not analysed."""
    reason = {
        "code": "slices-missing",
        "zh": "-112.5 毫米与 -95.0 毫米之间缺少 13 层。请补传。",
        "en": "13 slice(s) missing between -112.5 mm and -95.0 mm. Please send them.",
    }
    nothing = {"findings": None, "largest_mm": None, "highest_score": None}
    return {**a_summary(), **nothing, "status": status, "reasons": [reason]}


@dataclass(frozen=True)
class ACase:
    """One case; everything has a value that does for most tests."""

    name: str = "WANG^WEI=王^伟"
    patient_id: str = "P1"
    site_id: int = 1
    ai_state: AiState = AiState.WAITING
    ordered_class: OrderedClass = OrderedClass.ROUTINE
    findings: tuple[Mapping[str, Any], ...] | None = None
    summary: Mapping[str, Any] = field(default_factory=dict)
    arrived_at: float = 1_000_000.0
    study_uid: str = ""
    case_id: str = ""
    # Of the pool "default" and the key of an adult's chest CT, unless it says others.
    pool_id: int = 1
    key_id: int = 1
    excess_min: float = 0.0
    reading_state: ReadingState = ReadingState.ROUTED


def add_sites(connection: Connection, count: int = 2) -> None:
    """Add sites with the ids 1, 2, ..., the pool "default" and the key of an adult's chest CT."""
    ensure_pool_and_key(connection)
    for number in range(1, count + 1):
        connection.execute(
            insert(sites).values(
                id=number, code=f"s{number}", name=f"县医院 {number}", created_at=0.0
            )
        )


def ensure_pool_and_key(connection: Connection) -> None:
    """Make what cases are of unless they say others, where it is not there."""
    ensure_default_pool(connection, 0.0)
    assert key_id(connection, ReadingKey("CT", "chest")) == 1


def add_cases(
    connection: Connection, wanted: list[ACase], policy: UrgencyPolicy = POLICY
) -> list[str]:
    """Add cases with their studies, and return their ids."""
    ensure_pool_and_key(connection)
    study_rows, case_rows, ids = [], [], []
    for case in wanted:
        study_uid = case.study_uid or f"2.25.{secrets.randbits(100)}"
        study_rows.append(_study(case, study_uid))
    known = connection.execute(
        insert(studies).returning(studies.c.id, sort_by_parameter_order=True), study_rows
    ).scalars()
    for case, study_id, study in zip(wanted, known, study_rows, strict=True):
        case_id = case.case_id or secrets.token_hex(16)
        score = None if case.findings is None else Score(case.findings, 0.462)
        urgency = judge_urgency(policy, CaseFacts(case.ordered_class, case.arrived_at), score)
        ids.append(case_id)
        case_rows.append(
            {
                "id": case_id,
                "study_id": study_id,
                "site_id": case.site_id,
                "ai_state": case.ai_state.value,
                "pool_id": case.pool_id,
                "key_id": case.key_id,
                "excess_min": case.excess_min,
                "reading_state": case.reading_state.value,
                "ordered_class": case.ordered_class.value,
                "arrived_at": case.arrived_at,
                **place_columns(urgency, case.excess_min),
                "summary": dict(case.summary),
                "search": study["search"],
            }
        )
    connection.execute(insert(cases), case_rows)
    return ids


def _study(case: ACase, study_uid: str) -> dict[str, Any]:
    return {
        "study_uid": study_uid,
        "site_id": case.site_id,
        "received_at": case.arrived_at,
        "image_received_at": case.arrived_at,
        "patient_name": case.name,
        "patient_id": case.patient_id,
        "birth_date": "19630412",
        "sex": "M",
        "study_date": "20260301",
        "study_time": "081500",
        "accession_number": f"A{case.patient_id}",
        "description": "CT chest",
        "codecs": {},
        "search": search_text(case.name, (case.patient_id, f"A{case.patient_id}")),
    }


def many_cases(count: int, seed: int, now: float, site_count: int = 40) -> list[ACase]:
    """Return cases as a province would have them: mostly routine, one in five raised."""
    chance = random.Random(seed)
    return [_one_of_many(chance, number, now, site_count) for number in range(count)]


def _one_of_many(chance: random.Random, number: int, now: float, site_count: int) -> ACase:
    name = chance.choice(FAMILY) + "^" + "".join(chance.choices(GIVEN, k=chance.choice((1, 2))))
    state = chance.choices(list(AiState), (2, 5, 1, 86, 6))[0]
    ordered = chance.choices(list(OrderedClass), (2, 15, 80, 3))[0]
    sizes = [chance.uniform(4, 25) for _ in range(chance.choices((0, 1, 2, 4), (5, 3, 1, 1))[0])]
    findings = tuple(a_finding(round(size, 1), chance.uniform(0.33, 1)) for size in sizes)
    scored, failed = state is AiState.SCORED, state is AiState.NOT_ANALYSED
    return ACase(
        name=f"PINYIN^{number}={name}",
        patient_id=f"P{number:07d}",
        site_id=1 + chance.randrange(site_count),
        ai_state=state,
        ordered_class=ordered,
        findings=findings if scored else None,
        summary=a_summary(*findings) if scored else a_refusal() if failed else {},
        arrived_at=now - chance.uniform(0, 30 * 86400),
    )
