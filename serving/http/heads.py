"""HEAD beside GET: the same status and headers, made without reading what would be streamed."""

from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse


class _HeadRoute(APIRoute):
    """A route whose streams end before they begin; the server leaves out all other bodies."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers a request."""
        answer = super().get_route_handler()

        async def head(request: Request) -> Response:
            response = await answer(request)
            if isinstance(response, StreamingResponse):
                response.body_iterator = _nothing()
            return response

        return head


def answer_heads(router: APIRouter) -> None:
    """Let every GET route that a router has by now answer HEAD too (RFC 9110 9.1)."""
    for route in list(router.routes):
        if isinstance(route, APIRoute) and "GET" in (route.methods or ()):
            router.add_api_route(
                route.path.removeprefix(router.prefix),
                route.endpoint,
                methods=["HEAD"],
                include_in_schema=False,
                route_class_override=_HeadRoute,
            )


async def _nothing() -> AsyncIterator[bytes]:
    chunks: tuple[bytes, ...] = ()
    for chunk in chunks:
        yield chunk
