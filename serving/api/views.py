"""``/api/v1/cases/{case_id}/views``: who looked at a case, for administrators."""

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request

from serving.accounts.caller import Caller, Right
from serving.accounts.views import View, list_views
from serving.database.engine import reading
from serving.http.dependencies import caller, get_service
from serving.studies.cases import case_detail

router = APIRouter(prefix="/api/v1", tags=["accounts"])


@router.get("/cases/{case_id}/views")
def get_views(
    request: Request, case_id: str, who: Annotated[Caller, Depends(caller(Right.ADMINISTER))]
) -> tuple[View, ...]:
    """Return who looked at what of a case, in order.

    Raises
    ------
    NotFound
        ``not-found``: no such case, or another site's.
    """
    service = get_service(request)
    case_detail(service.engine, case_id, who.site_id)
    with reading(service.engine) as connection:
        return list_views(connection, case_id)
