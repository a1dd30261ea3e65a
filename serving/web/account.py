"""What users settle for themselves: language, theme, password."""

from functools import partial
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Depends, Form
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from firstread.errors import UsageError
from firstread.messages import Language
from serving.accounts.caller import Caller
from serving.accounts.log_in import LogInRefused, change_password
from serving.accounts.passwords import LEAST_CHARACTERS
from serving.accounts.users import THEMES, set_language, set_theme
from serving.database.engine import writing
from serving.errors import BadRequest, TooManyRequests
from serving.http.dependencies import caller, get_service
from serving.http.origin import local_path
from serving.http.pages import render
from serving.http.problems import headers_of

router = APIRouter(include_in_schema=False)

# What a form says for "as the browser asks".
SYSTEM = "system"

User = Annotated[Caller, Depends(caller())]


@router.get("/account")
async def account_page(request: Request, user: User) -> Response:
    """Show the account."""
    return _page(request)


@router.post("/preferences")
def preferences(
    request: Request,
    user: User,
    language: Annotated[str | None, Form()] = None,
    theme: Annotated[str | None, Form()] = None,
    next: Annotated[str, Form()] = "",
) -> Response:
    """Choose a language, a theme, or both; then go back to where it was chosen.

    Raises
    ------
    BadRequest
        ``bad-request``: we have no such language or theme, or a token asks.
    """
    if user.kind != "user":
        raise BadRequest("a token has no preferences")
    if language not in {None, SYSTEM, *Language} or theme not in {None, SYSTEM, *THEMES}:
        raise BadRequest("there is no such language or theme")
    with writing(get_service(request).engine) as connection:
        if language is not None:
            chosen = None if language == SYSTEM else Language(language)
            set_language(connection, user.id, chosen)
        if theme is not None:
            set_theme(connection, user.id, None if theme == SYSTEM else theme)
    return RedirectResponse(local_path(next), status_code=303)


@router.post("/account/password")
async def password_form(
    request: Request,
    user: User,
    current: Annotated[str, Form()] = "",
    password: Annotated[str, Form()] = "",
    again: Annotated[str, Form()] = "",
) -> Response:
    """Change the password; all other sessions of the user end."""
    if user.kind != "user" or request.state.session.is_demonstration:
        raise BadRequest("this account's password is not changed here")
    if password != again:
        return _page(request, status=422, message="account.differ")
    service = get_service(request)
    work = partial(
        change_password,
        service.engine,
        user=user,
        session_sha256=request.state.session.sha256,
        current=current,
        password=password,
        address=request.client.host if request.client else "",
        now=service.clock(),
    )
    try:
        await to_thread.run_sync(work, limiter=request.app.state.password_work)
    except LogInRefused:
        return _page(request, status=422, message="account.wrong")
    except UsageError:
        return _page(request, status=422, message="account.weak")
    except TooManyRequests as error:
        page = _page(request, status=429, message="account.wait")
        page.headers.update(headers_of(error))
        return page
    return _page(request, message="account.changed")


def _page(request: Request, *, status: int = 200, message: str | None = None) -> Response:
    return render(
        request, "account.html", status=status, message=message, least=LEAST_CHARACTERS,
        is_good=message == "account.changed",
    )  # fmt: skip
