"""The worklist as a page: whole, or the part of it that changes.

What is searched is sent in a body and never stands in an address: addresses are logged, and a name
is a patient's.
"""

from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from serving.accounts.caller import Caller, Right
from serving.database.engine import reading
from serving.events.log import last_id
from serving.http.dependencies import Service, caller, get_service, who_asks
from serving.http.pages import render, speaks
from serving.web.live import live_values
from serving.web.words import row_words
from serving.worklist.store import (
    Question,
    count_cases,
    known_sites,
    read_page,
    read_question,
)

router = APIRouter(include_in_schema=False)

Reader = Annotated[Caller, Depends(caller(Right.READ))]


@router.get("/")
def worklist_page(request: Request, who: Annotated[Caller, Depends(who_asks)]) -> Response:
    """Show the list, as an address asks; whose role has no list is led to what it has."""
    if not who.may(Right.READ):
        return RedirectResponse("/account", status_code=303)
    asked = _read(who, {**request.query_params, "search": ""})
    return _show(request, "worklist.html", asked)


@router.post("/worklist")
async def worklist_asked(request: Request, who: Reader) -> Response:
    """Show the list as the form asks: its changing part to a script, the page to a browser."""
    form = await request.form()
    # A button of the form speaks after the field of the same name: the last one counts.
    given = {name: str(value) for name, value in form.multi_items()}
    asked = _read(who, given)
    is_part = request.headers.get("hx-request") == "true"
    template = "_worklist.html" if is_part else "worklist.html"
    answer = await run_in_threadpool(_show, request, template, asked)
    if is_part and "refresh" not in given:
        is_step = {"after", "before", "first"} & given.keys()
        answer.headers["HX-Push-Url" if is_step else "HX-Replace-Url"] = _address(asked)
    return answer


def _read(who: Caller, given: Mapping[str, str]) -> Question:
    return read_question(
        who.site_id,
        state=given.get("state", ""),
        site=given.get("site", ""),
        urgency_class=given.get("class", ""),
        search=given.get("search", ""),
        after=given.get("after", ""),
        before=given.get("before", ""),
    )


def _show(request: Request, template: str, asked: Question) -> Response:
    service = get_service(request)
    # What was posted cannot be asked again at its own address.
    path = _address(asked)
    return render(request, template, path=path, **_values(request, service, asked))


def _values(request: Request, service: Service, asked: Question) -> Mapping[str, Any]:
    language = speaks(request)
    with reading(service.engine) as connection:
        # First, so that the stream tells again whatever comes while this page is made.
        last_event = last_id(connection, asked.viewer_site_id)
        page = read_page(connection, asked, service.policy)
        counts = count_cases(connection, asked, service.policy)
        hospitals = known_sites(connection, asked.viewer_site_id)
    return {
        **live_values(service, last_event, language),
        "asked": asked,
        "page": page,
        "rows": [row_words(row, language) for row in page.rows],
        "counts": counts,
        "hospitals": hospitals,
        "classes": [rule.name.value for rule in service.policy.classes],
        "is_filtered": not asked.is_for_all,
        "address": str(request.base_url).rstrip("/"),
    }


def _address(asked: Question) -> str:
    """Return the address of a list, without what was searched."""
    values = {
        "state": asked.ai_state,
        "site": asked.site_id,
        "class": asked.urgency_class,
        "after": asked.after and asked.after.text(),
        "before": asked.before and asked.before.text(),
    }
    query = urlencode({name: str(value) for name, value in values.items() if value is not None})
    return f"/?{query}" if query else "/"
