"""The page of a case, and the files of its results."""

import json
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from serving.accounts.caller import Caller, Right
from serving.accounts.views import note_view
from serving.database.engine import reading
from serving.events.log import last_id
from serving.http.dependencies import caller, get_service
from serving.http.pages import render, speaks
from serving.studies.cases import FINDINGS, case_detail
from serving.web.case_words import case_words, result_words
from serving.web.live import live_values

router = APIRouter(include_in_schema=False)


@router.get("/cases/{case_id}")
def case_page(
    request: Request, case_id: str, who: Annotated[Caller, Depends(caller(Right.READ))]
) -> Response:
    """Show a case, and record that it was looked at."""
    service, language = get_service(request), speaks(request)
    with reading(service.engine) as connection:
        last_event = last_id(connection, who.site_id)
    detail = case_detail(service.engine, case_id, who.site_id)
    note_view(service.engine, who, case_id, "case", service.clock())
    found = None
    if detail.result is not None:
        document = json.loads(service.store.read(detail.result.files[FINDINGS].sha256))
        found = result_words(detail, detail.result, document, language)
    return render(
        request,
        "case.html",
        **live_values(service, last_event, language),
        case=detail,
        words=case_words(detail, service.policy, language),
        result=detail.result,
        found=found,
    )
