"""GET /metrics: the metrics of all workers in Prometheus's text format.

It needs the scrape token (which works without SQL) or an admin key. Loopback clients have no privileges, because behind
a reverse proxy on the same machine all clients are loopback clients.
"""

import asyncio

from fastapi import APIRouter, Request
from fastapi.responses import Response
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from serving.errors import Forbidden
from serving.routes import openapi
from serving.routes.dependencies import Gateway, Worker, caller_of, holds_scrape_token

router = APIRouter(tags=["operation"])


@router.get("/metrics", response_class=Response, responses=openapi.METRICS_RESPONSES)
async def metrics(http_request: Request, gateway: Worker) -> Response:
    """Every metric, summed over the gateway's workers."""
    await _admit(http_request, gateway)
    telemetry = gateway.telemetry
    telemetry.metrics.refresh(gateway.readings)
    registry = CollectorRegistry()
    registry.register(telemetry.metric_files or telemetry.metrics.registry)
    # Each waits for at most a moment.
    overview, collectors = await asyncio.gather(gateway.survey(), gateway.doctor.collectors())
    for collector in (overview, *collectors):
        registry.register(collector)
    text = await asyncio.to_thread(generate_latest, registry)  # thousands of lines, which must not block streams
    return Response(text, media_type=CONTENT_TYPE_LATEST)


async def _admit(http_request: Request, gateway: Gateway) -> None:
    if holds_scrape_token(http_request, gateway):
        return
    if not gateway.may_see_all(await caller_of(http_request, gateway)):
        raise Forbidden("Metrics need the scrape token (BONDHU_SCRAPE_TOKEN) or a key of the tier admin.")
