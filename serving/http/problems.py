"""What went wrong, told: ``application/problem+json`` to programs, a page to people.

An answer never holds what was sent, a stack, or a path: what is told is an error's own sentence,
which names no patient. A bug is told by an id that the log has too.
"""

import json
import logging
import secrets
import traceback
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from firstread.errors import FirstreadError
from firstread.messages import sentence
from serving.errors import (
    BadRequest,
    Conflict,
    DatabaseBusy,
    NotAuthenticated,
    TooManyRequests,
    Unavailable,
)
from serving.http.pages import render, speaks

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
# Below these paths programs ask; elsewhere it is people, if they accept a page.
PROGRAMS = ("/api/", "/dicom-web/", "/events", "/healthz", "/readyz", "/metrics")
MOST_PLACES = 8
CHALLENGE = 'Bearer realm="firstread"'
# When to come back after 503: a full disk or a database that is gone lasts longer than a moment.
RETRY_AFTER_S = 30
# Who was in the way is gone by then.
BUSY_RETRY_AFTER_S = 5
TITLED = frozenset({400, 401, 403, 404, 405, 406, 408, 409, 413, 415, 421, 422, 429, 500, 503})
# What a person can do about it; about all others the same as about 400.
ADVISED = frozenset({400, 403, 404, 429, 503})
CODES = {404: "not-found", 405: "method-not-allowed", 415: "wrong-media-type"}


def install(app: FastAPI) -> None:
    """Let the framework's own complaints speak like ours; our errors are told at the edge."""
    app.add_exception_handler(HTTPException, _tell)
    app.add_exception_handler(RequestValidationError, _tell)


def tell(request: Request, error: Exception) -> Response:
    """Return the answer to an error of any kind; of a bug, the log gets the places."""
    match error:
        case FirstreadError():
            if error.http_status >= 500:
                log.error("failed", extra={"code": error.code})
            return _answer(
                request,
                error.http_status,
                code=error.code,
                detail=error.message,
                advice=error.advice,
                headers=headers_of(error),
                more={"current": error.current} if isinstance(error, Conflict) else None,
            )
        case HTTPException():
            return _answer(
                request,
                error.status_code,
                code=CODES.get(error.status_code, "bad-request"),
                detail=HTTPStatus(error.status_code).phrase,
                headers=error.headers,
            )
        case RequestValidationError():
            return tell(request, BadRequest(_complaint(error)))
        case _:
            return _tell_bug(request, error)


def wants_page(request: Request) -> bool:
    """Whether a person's browser asks for a page."""
    return not request.url.path.startswith(PROGRAMS) and "text/html" in request.headers.get(
        "accept", ""
    )


async def _tell(request: Request, error: Exception) -> Response:
    return tell(request, error)


def _tell_bug(request: Request, error: Exception) -> Response:
    bug_id = secrets.token_hex(8)
    frames = traceback.extract_tb(error.__traceback__)
    # Its kind and its places, never the text: it may quote what was sent.
    log.error(
        "bug",
        extra={
            "bug_id": bug_id,
            "error": type(error).__name__,
            "places": [
                f"{'/'.join(frame.filename.split('/')[-2:])}:{frame.lineno} {frame.name}"
                for frame in frames[-MOST_PLACES:]
            ],
        },
    )
    detail = f"a bug; its id in the log is {bug_id}"
    if wants_page(request):
        # Without a template: the bug may be in it.
        title = sentence("problem.500", speaks(request))
        return PlainTextResponse(f"{title}: {bug_id}", status_code=500)
    return _answer(
        request,
        500,
        code=FirstreadError.code,
        detail=detail,
        advice="report the lines of the log with this id",
    )


def headers_of(error: FirstreadError) -> dict[str, str]:
    """Return what an error says in headers: how to log in, when to come back."""
    match error:
        case NotAuthenticated():
            return {"WWW-Authenticate": CHALLENGE}
        case TooManyRequests():
            return {"Retry-After": str(max(1, round(error.retry_after_s + 0.5)))}
        case DatabaseBusy():
            return {"Retry-After": str(BUSY_RETRY_AFTER_S)}
        case Unavailable():
            return {"Retry-After": str(RETRY_AFTER_S)}
        case _:
            return {}


def _complaint(error: RequestValidationError) -> str:
    """Return what is wrong where; never the value, which may be a patient's."""
    return "; ".join(
        f"{'.'.join(str(part) for part in each['loc'])}: {each['msg']}"
        for each in error.errors()[:5]
    )


def _answer(
    request: Request,
    status: int,
    *,
    code: str,
    detail: str,
    advice: str = "",
    headers: Mapping[str, str] | None = None,
    more: Mapping[str, Any] | None = None,
) -> Response:
    language = speaks(request)
    title = sentence(f"problem.{status if status in TITLED else status // 100 * 100}", language)
    if wants_page(request):
        page = render(
            request,
            "problem.html",
            status=status,
            title=title,
            advice_key=f"problem.advice.{status if status in ADVISED else 400}",
            code=code,
            detail=detail,
            advice=advice,
        )
        page.headers.update(headers or {})
        return page
    document = {
        "type": "about:blank",
        "title": title,
        "status": status,
        "code": code,
        "detail": detail,
        "advice": advice,
        **(more or {}),
    }
    return Response(
        json.dumps(document, ensure_ascii=False),
        status_code=status,
        media_type=MEDIA_TYPE,
        headers={"Content-Language": language.value, **(headers or {})},
    )
