"""``/api/v1``: pools, the next case, claims, for programs; ``docs/claims.md``."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request

from serving.accounts.caller import Caller, Right
from serving.database.engine import reading
from serving.http.dependencies import caller, get_service
from serving.http.heads import answer_heads
from serving.http.problems import MEDIA_TYPE
from serving.studies import claims
from serving.studies.claims import Claim, Reader, Upcoming
from serving.worklist.pools import list_pools

router = APIRouter(prefix="/api/v1", tags=["claims"])

Claiming = Annotated[Caller, Depends(caller(Right.CLAIM))]
RequestKey = Annotated[str | None, Header(alias="Idempotency-Key", pattern=r"^[\x21-\x7e]{1,100}$")]
# SQLite and PostgreSQL keep 32 bits.
Number = Annotated[int, Field(ge=0, lt=2**31)]


class Problem(BaseModel):
    """What went wrong; ``current`` with 409: what is there now."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    advice: str
    current: dict[str, Any] | None = None


class ClaimRequest(BaseModel):
    """The version of the case, as the caller knows it."""

    model_config = ConfigDict(extra="forbid")

    version: Number


class HeldRequest(BaseModel):
    """The fence of the caller's claim."""

    model_config = ConfigDict(extra="forbid")

    fence: Number


@dataclass(frozen=True, slots=True)
class PoolAnswer:
    """A pool in which the caller may read."""

    code: str
    name: str
    is_open: bool


@dataclass(frozen=True, slots=True)
class NextAnswer:
    """The case that was claimed; None: nothing waits that the caller reads."""

    claim: Claim | None


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"model": Problem, "content": content} for status in statuses}


@router.get("/pools", responses=_problems(401, 403))
def get_pools(request: Request, who: Claiming) -> tuple[PoolAnswer, ...]:
    """Return the pools in which the caller may read."""
    with reading(get_service(request).engine) as connection:
        found = list_pools(connection, who.id)
    return tuple(PoolAnswer(pool.code, pool.name, pool.is_open) for pool in found)


@router.post("/pools/{pool}/next", responses=_problems(400, 401, 403, 404, 409, 503))
def claim_next(
    request: Request, pool: str, who: Claiming, request_key: RequestKey = None
) -> NextAnswer:
    """Claim the case that is next for the caller in a pool."""
    service = get_service(request)
    claim = claims.next_case(
        service.engine,
        service.policy,
        pool,
        _reader(who),
        now=service.clock(),
        lease_s=service.settings.claim_s,
        request_key=request_key,
    )
    return NextAnswer(claim)


@router.get("/pools/{pool}/next-up", responses=_problems(401, 403, 404))
def get_next_up(request: Request, pool: str, who: Claiming) -> tuple[Upcoming, ...]:
    """Return the next cases as they would be handed out to the caller if nothing else came."""
    service = get_service(request)
    with reading(service.engine) as connection:
        return claims.next_up(connection, service.policy, pool, _reader(who), now=service.clock())


@router.get("/claims", responses=_problems(401, 403))
def get_claims(request: Request, who: Claiming) -> tuple[Claim, ...]:
    """Return what the caller holds, the oldest claim first."""
    with reading(get_service(request).engine) as connection:
        return claims.claims_of(connection, who.id)


@router.post("/cases/{case_id}/claim", responses=_problems(400, 401, 403, 404, 409, 503))
def claim_case(
    request: Request,
    case_id: str,
    asked: ClaimRequest,
    who: Claiming,
    request_key: RequestKey = None,
) -> Claim:
    """Claim a case of the caller's own choice."""
    service = get_service(request)
    return claims.claim_case(
        service.engine,
        service.policy,
        case_id,
        asked.version,
        _reader(who),
        now=service.clock(),
        lease_s=service.settings.claim_s,
        request_key=request_key,
    )


@router.post("/cases/{case_id}/claim/heartbeat", responses=_problems(400, 401, 403, 404, 409, 503))
def heartbeat(request: Request, case_id: str, asked: HeldRequest, who: Claiming) -> Claim:
    """Let the caller's claim last for another lease from now."""
    service = get_service(request)
    return claims.heartbeat(
        service.engine,
        case_id,
        asked.fence,
        _reader(who),
        now=service.clock(),
        lease_s=service.settings.claim_s,
    )


@router.post(
    "/cases/{case_id}/claim/release",
    status_code=204,
    responses=_problems(400, 401, 403, 404, 409, 503),
)
def release(request: Request, case_id: str, asked: HeldRequest, who: Claiming) -> None:
    """Give a case back unread; it waits again in its old place."""
    service = get_service(request)
    claims.release(service.engine, case_id, asked.fence, _reader(who), now=service.clock())


def _reader(who: Caller) -> Reader:
    return Reader(who.id, who.site_id)


answer_heads(router)
