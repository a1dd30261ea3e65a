"""``/api/v1``: the worklist, cases and the files of their results, for programs.

A search is a POST, because what is searched is a patient's and addresses are logged.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from serving.accounts.caller import Caller, Right
from serving.accounts.views import note_view
from serving.database.engine import reading
from serving.errors import NotFound
from serving.http.dependencies import caller, get_service
from serving.http.heads import answer_heads
from serving.studies.cases import FINDINGS, CaseDetail, ResultDetail, case_detail
from serving.studies.resend import ResendItem, resend_list
from serving.worklist.store import (
    MOST_ROWS,
    PAGE_ROWS,
    Counts,
    Question,
    Row,
    count_cases,
    read_page,
    read_question,
)

router = APIRouter(prefix="/api/v1", tags=["worklist"])

Reader = Annotated[Caller, Depends(caller(Right.READ))]
MEDIA_TYPES = {".json": "application/json", ".dcm": "application/dicom", ".png": "image/png"}


class WorklistQuery(BaseModel):
    """What is asked of the list; an empty text asks for all."""

    model_config = ConfigDict(extra="forbid")

    state: str = ""
    site: str = ""
    urgency_class: Annotated[str, Field(alias="class")] = ""
    after: str = ""
    before: str = ""
    limit: Annotated[int, Field(ge=1, le=MOST_ROWS)] = PAGE_ROWS


class WorklistSearch(WorklistQuery):
    """The same, with a part of a name, patient ID or accession number."""

    search: Annotated[str, Field(max_length=100)] = ""


@dataclass(frozen=True, slots=True)
class WorklistAnswer:
    """A page of the list; ``after`` and ``before`` ask for the next and the previous one."""

    cases: tuple[Row, ...]
    after: str | None
    before: str | None
    counts: Counts


@dataclass(frozen=True, slots=True)
class CaseAnswer:
    """A case, the ``findings.json`` of its visible result, and what the sender is asked for."""

    case: CaseDetail
    is_result_current: bool
    result: ResultDetail | None
    findings: Mapping[str, Any] | None
    resend: tuple[ResendItem, ...]


@router.get("/worklist")
def get_worklist(
    request: Request, who: Reader, asked: Annotated[WorklistQuery, Query()]
) -> WorklistAnswer:
    """Return a page of the worklist."""
    return _page(request, _question(who, asked, ""))


@router.post("/worklist")
def search_worklist(request: Request, who: Reader, asked: WorklistSearch) -> WorklistAnswer:
    """Return a page of what matches a search."""
    return _page(request, _question(who, asked, asked.search))


@router.get("/cases/{case_id}")
def get_case(request: Request, case_id: str, who: Reader) -> CaseAnswer:
    """Return a case."""
    service = get_service(request)
    detail = case_detail(service.engine, case_id, who.site_id)
    note_view(service.engine, who, case_id, "case", service.clock())
    document: Mapping[str, Any] | None = None
    if detail.result is not None:
        document = json.loads(service.store.read(detail.result.files[FINDINGS].sha256))
    return CaseAnswer(
        case=detail,
        is_result_current=detail.is_result_current,
        result=detail.result,
        findings=document,
        resend=resend_list(document) if document else (),
    )


@router.get("/cases/{case_id}/results/{result_id}/{name:path}")
def get_file(request: Request, case_id: str, result_id: int, name: str, who: Reader) -> Response:
    """Return a file of a result: ``findings.json``, ``sr.dcm``, ``seg.dcm``, ``key_images/N.png``.

    Raises
    ------
    NotFound
        ``not-found``: no such case, result or file, or another site's.
    """
    service = get_service(request)
    detail = case_detail(service.engine, case_id, who.site_id)
    results = {result.id: result for result in detail.results}
    if result_id not in results or name not in results[result_id].files:
        raise NotFound("no such file", advice="see the case's results for what there is")
    note_view(service.engine, who, case_id, name, service.clock())
    sha256 = results[result_id].files[name].sha256
    etag = f'"{sha256}"'
    # The same address never holds other bytes, but who asks is checked and recorded every time.
    headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    suffix = name[name.rfind(".") :]
    if suffix != ".png":
        file_name = f"firstread-{case_id[:8]}-{result_id}-{name}"
        headers["Content-Disposition"] = f'attachment; filename="{file_name}"'
    return Response(service.store.read(sha256), media_type=MEDIA_TYPES[suffix], headers=headers)


@router.get("/schemas/findings.json")
def get_schema(who: Reader) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of ``findings.json``."""
    text = (files("inference.results") / "findings.schema.json").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def _question(who: Caller, asked: WorklistQuery, search: str) -> Question:
    return read_question(
        who.site_id,
        state=asked.state,
        site=asked.site,
        urgency_class=asked.urgency_class,
        search=search,
        after=asked.after,
        before=asked.before,
        rows=asked.limit,
    )


def _page(request: Request, asked: Question) -> WorklistAnswer:
    service = get_service(request)
    with reading(service.engine) as connection:
        page = read_page(connection, asked, service.policy)
        counts = count_cases(connection, asked, service.policy)
    return WorklistAnswer(
        cases=page.rows,
        after=page.rows[-1].place.text() if page.rows and page.has_after else None,
        before=page.rows[0].place.text() if page.rows and page.has_before else None,
        counts=counts,
    )


answer_heads(router)
