"""``/events``: one stream of what changed, as Server-Sent Events (WHATWG HTML 9.2).

An event says which case, and its version; the page fetches what it shows by itself, because rights
and language differ from reader to reader. A ping comes as an event of its own, since a page never
sees a comment and tells by the pings that it is live.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from time import monotonic
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import StreamingResponse

from serving.accounts.caller import Caller, Right
from serving.events.hub import Hub, Signal, Told
from serving.events.log import Event
from serving.http.authentication import identify
from serving.http.dependencies import caller, get_service

# Then the page comes back by itself, and who it is and what it may see is asked again.
STREAM_LASTS_S = 300.0
COME_BACK_AFTER_MS = 1000
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}

router = APIRouter(include_in_schema=False)


@router.get("/events")
async def events(
    request: Request,
    who: Annotated[Caller, Depends(caller(Right.READ))],
    after: Annotated[int, Query(ge=0)] = 0,
) -> StreamingResponse:
    """Stream what changes after an event; a browser that comes back names it in a header."""
    last = request.headers.get("last-event-id", "")
    known = int(last) if last.isascii() and last.isdigit() and len(last) < 19 else after
    hub = get_service(request).hub
    return StreamingResponse(
        _lines(hub, request, who.site_id, known), media_type="text/event-stream", headers=HEADERS
    )


async def _lines(hub: Hub, request: Request, site_id: int | None, after: int) -> AsyncIterator[str]:
    until = monotonic() + STREAM_LASTS_S
    yield f"retry: {COME_BACK_AFTER_MS}\n\n"
    async with hub.listen(site_id, after) as listener:
        while monotonic() < until:
            try:
                told = await asyncio.wait_for(listener.queue.get(), until - monotonic())
            except TimeoutError:
                return
            if told.what is Signal.END:
                return
            # Who logs out, or may no longer see what he saw, hears nothing more.
            if told.what is Signal.PING and not await _is_still(request, site_id):
                return
            yield _message(told)


async def _is_still(request: Request, site_id: int | None) -> bool:
    # That a page is open is no use of the session: it would never end by itself.
    known = await identify(request, note=False)
    return known is not None and known.caller.may(Right.READ) and known.caller.site_id == site_id


def _message(told: Told) -> str:
    if isinstance(told.what, Event):
        name, data = "case", {"case": told.what.case_id, "version": told.what.version}
    else:
        name, data = told.what.value, {}
    return f"id: {told.position}\nevent: {name}\ndata: {json.dumps(data)}\n\n"
