"""Whether the service lives (``/healthz``) and whether it can do its work (``/readyz``)."""

import os

from fastapi import APIRouter, Depends
from starlette.responses import JSONResponse

from serving.database.engine import reading
from serving.errors import Unavailable
from serving.http.dependencies import Service, get_service
from serving.http.heads import answer_heads
from serving.jobs import workers

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """Answer while the process lives; asks nobody else, so that a slow disk restarts nothing."""
    return {"status": "ok"}


@router.get("/readyz")
def readyz(service: Service = Depends(get_service)) -> JSONResponse:  # noqa: B008
    """Answer 200 when studies can be taken and analysed, else 503 with what is missing."""
    checks = {
        "database": True,
        "store": _takes_files(service),
        "engine": False,
    }
    a_lease_ago = service.clock() - service.settings.lease_s
    try:
        with reading(service.engine) as connection:
            checks["engine"] = workers.any_healthy(connection, since=a_lease_ago)
    except Unavailable:
        checks["database"] = False
    is_ready = all(checks.values())
    return JSONResponse(
        {"status": "ready" if is_ready else "not-ready", "checks": checks},
        status_code=200 if is_ready else 503,
    )


def _takes_files(service: Service) -> bool:
    """Whether the store can be written and has the room below which uploads are refused."""
    folder = service.settings.store_folder
    return os.access(folder, os.W_OK) and service.store.free_bytes() >= service.settings.free_bytes


answer_heads(router)
