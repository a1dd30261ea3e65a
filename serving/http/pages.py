"""A page for a person: a template with the sentences of its reader's language.

Every template is given ``t(key, **values)`` for sentences, ``language``, ``theme``, ``caller``
(None before a log-in), ``csrf_token`` for its forms and ``path``, where the page can be had again.
"""

from functools import partial

from starlette.requests import Request
from starlette.responses import HTMLResponse

from firstread.messages import Language, sentence
from serving.http.dependencies import Service, get_service
from serving.http.language import language_of


def speaks(request: Request) -> Language:
    """Return the language of who asks."""
    known = getattr(request.state, "caller", None)
    return language_of(known, request.headers.get("accept-language"))


def render(
    request: Request,
    template: str,
    *,
    status: int = 200,
    language: Language | None = None,
    path: str | None = None,
    **values: object,
) -> HTMLResponse:
    """Return a page.

    Parameters
    ----------
    language
        None: that of who asks.
    path
        Where this page can be had again; None: where it was asked.
    """
    service: Service = get_service(request)
    known = getattr(request.state, "caller", None)
    language = language or speaks(request)
    content = service.templates.get_template(template).render(
        t=partial(_say, language),
        language=language.value,
        theme=known.theme if known else None,
        caller=known,
        csrf_token=known.csrf_token if known else None,
        path=path or request.url.path,
        **values,
    )
    headers = {"Content-Language": language.value, "Vary": "Accept-Language, Cookie"}
    return HTMLResponse(content, status_code=status, headers=headers)


def _say(language: Language, key: str, /, **values: object) -> str:
    return sentence(key, language, **values)
