"""The log-in, and the log-out.

Before there is a session, a random cookie that our page sets and its form repeats proves that the
log-in was asked for by our page: nobody is logged in under another's name from elsewhere.
"""

from functools import partial
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Form
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from firstread.messages import Language
from serving.accounts import demonstration
from serving.accounts.log_in import LogInRefused, log_in
from serving.accounts.secret import make_secret
from serving.accounts.sessions import end_session
from serving.database.engine import writing
from serving.errors import TooManyRequests
from serving.http.authentication import (
    LOG_IN,
    is_same_secret,
    lifetime,
    may_demonstrate,
    session_cookie,
)
from serving.http.dependencies import get_service, who_asks
from serving.http.origin import is_same_origin, local_path
from serving.http.pages import render, speaks
from serving.http.problems import headers_of

router = APIRouter(include_in_schema=False)

FORM_COOKIE = "firstread-log-in"
FORM_LASTS_S = 3600
SECRET_LENGTH = len(make_secret())


@router.get(LOG_IN)
async def log_in_page(request: Request) -> Response:
    """Show the log-in; whoever is logged in goes on."""
    there = local_path(request.query_params.get("next"))
    if getattr(request.state, "caller", None) is not None:
        return RedirectResponse(there, status_code=303)
    return _page(request, there, request.query_params.get("language"))


@router.post(LOG_IN)
async def log_in_form(
    request: Request,
    *,
    csrf_token: Annotated[str, Form()] = "",
    name: Annotated[str, Form()] = "",
    password: Annotated[str, Form()] = "",
    next: Annotated[str, Form()] = "",
    language: Annotated[str, Form()] = "",
) -> Response:
    """Log in, and lead to where somebody wanted to go."""
    service, there = get_service(request), local_path(next)
    expected = request.cookies.get(FORM_COOKIE, "")
    if not is_same_origin(request.headers) or not is_same_secret(csrf_token, expected):
        return _page(request, there, language, status=403, failure="log-in.stale")
    work = partial(
        log_in,
        service.engine,
        name=name,
        password=password,
        address=request.client.host if request.client else "",
        may_demonstrate=may_demonstrate(request),
        lifetime=lifetime(service.settings),
        now=service.clock(),
    )
    try:
        secret = await to_thread.run_sync(work, limiter=request.app.state.password_work)
    except TooManyRequests as error:
        headers = headers_of(error)
        page = _page(
            request, there, language, status=429, failure="log-in.wait",
            seconds=headers["Retry-After"],
        )  # fmt: skip
        page.headers.update(headers)
        return page
    except LogInRefused as error:
        page = _page(request, there, language, status=401, failure="log-in.refused")
        page.headers.update(headers_of(error))
        return page
    answer = RedirectResponse(there, status_code=303)
    answer.set_cookie(
        session_cookie(service.settings),
        secret,
        httponly=True,
        samesite="lax",
        secure=service.settings.secure_cookies,
    )
    answer.delete_cookie(FORM_COOKIE, path=LOG_IN)
    return answer


@router.post("/logout")
def log_out(request: Request) -> Response:
    """End the session."""
    who_asks(request)
    service = get_service(request)
    if request.state.session is not None:
        with writing(service.engine) as connection:
            end_session(connection, request.state.session.sha256)
    answer = RedirectResponse(LOG_IN, status_code=303)
    answer.delete_cookie(
        session_cookie(service.settings),
        httponly=True,
        samesite="lax",
        secure=service.settings.secure_cookies,
    )
    return answer


def _page(
    request: Request,
    there: str,
    language: str | None,
    *,
    status: int = 200,
    failure: str | None = None,
    **values: object,
) -> Response:
    service = get_service(request)
    chosen = Language(language) if language in set(Language) else None
    form_token = request.cookies.get(FORM_COOKIE, "")
    if len(form_token) != SECRET_LENGTH:
        form_token = make_secret()
    page = render(
        request,
        "log_in.html",
        status=status,
        language=chosen or speaks(request),
        chosen=chosen.value if chosen else "",
        form_token=form_token,
        next=there,
        failure=failure,
        values=values,
        demonstration=(
            (demonstration.NAME, demonstration.PASSWORD) if may_demonstrate(request) else None
        ),
    )
    page.set_cookie(
        FORM_COOKIE,
        form_token,
        max_age=FORM_LASTS_S,
        path=LOG_IN,
        httponly=True,
        samesite="strict",
        secure=service.settings.secure_cookies,
    )
    return page
