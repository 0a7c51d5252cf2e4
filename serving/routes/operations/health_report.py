"""GET /api/v1/health/report: the report of `bondhu doctor`, for an admin key or the scrape token."""

from typing import Any

from fastapi import APIRouter, Request

from serving.errors import Forbidden
from serving.routes import openapi
from serving.routes.dependencies import Worker, caller_of, holds_scrape_token

router = APIRouter(tags=["operation"])


@router.get("/api/v1/health/report", responses=openapi.REPORT_RESPONSES)
async def health_report(request: Request, gateway: Worker) -> dict[str, Any]:
    """Return the state of the service, and advice in this order: repair, optimise, scale up, scale out."""
    if not holds_scrape_token(request, gateway) and not gateway.may_see_all(await caller_of(request, gateway)):
        raise Forbidden("The report requires the scrape token (BONDHU_SCRAPE_TOKEN) or a key of the tier admin.")
    overview = await gateway.survey()
    return (await gateway.doctor.report(overview.collect())).as_dict()
