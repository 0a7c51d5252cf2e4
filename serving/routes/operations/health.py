"""Liveness and readiness, from what the worker already knows: neither waits for an engine."""

from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse

from serving.errors import ApiError, UnknownModel
from serving.routes import openapi
from serving.routes.counted import looked_up
from serving.routes.dependencies import Caller, Gateway, Worker, caller_of, holds_scrape_token

router = APIRouter(tags=["health"])


@router.get("/health")
async def health(gateway: Worker) -> dict[str, str]:
    """Liveness: `ok`, or `draining` during shutdown."""
    return {"status": "draining" if gateway.drain.has_begun else "ok"}


@router.get("/ready", responses=openapi.READY_RESPONSES)
async def ready(http_request: Request, gateway: Worker) -> JSONResponse:
    """Whether every served model has generated (and the embedder embedded) recently, and what is not ready.

    Reasons are only shown for the scrape token or an admin key, because they quote logs.
    """
    report = _report(gateway)
    if not await _may_know_why(http_request, gateway):
        report = _without_reasons(report)
    return JSONResponse(report, status_code=200 if report["ready"] else 503, headers=_retry(gateway, report["ready"]))


@router.get("/api/v1/chat/health", responses=openapi.CHAT_HEALTH_RESPONSES, dependencies=[Depends(looked_up)])
async def chat_health(gateway: Worker, _: Caller) -> JSONResponse:
    """Whether the active model is ready."""
    try:
        model = gateway.models.active()
        state = gateway.engine_registry.state(model)
    except UnknownModel:
        body = {
            "status": "unavailable",
            "model": None,
            "reason": gateway.engine_registry.directory_problem or "no model is active",
        }
        return JSONResponse(body, status_code=503, headers=_retry(gateway, False))
    body = {"status": "ok" if state.ready else "unavailable", "model": model, "reason": state.reason}
    return JSONResponse(body, status_code=200 if state.ready else 503, headers=_retry(gateway, state.ready))


async def _may_know_why(http_request: Request, gateway: Gateway) -> bool:
    if holds_scrape_token(http_request, gateway):
        return True
    if "authorization" not in http_request.headers:
        return False
    try:
        return gateway.may_see_all(await caller_of(http_request, gateway))
    except ApiError:
        return False


def _without_reasons(part: Any) -> Any:
    if not isinstance(part, dict):
        return part
    return {name: _without_reasons(value) for name, value in part.items() if name != "reason"}


def _retry(gateway: Gateway, is_ready: bool) -> dict[str, str]:
    return {} if is_ready else {"retry-after": str(gateway.settings.gateway.retry_after_s)}


def _report(gateway: Gateway) -> dict[str, Any]:
    engine_registry, embedder = gateway.engine_registry, gateway.embedder
    models = {name: vars(state) for name, state in gateway.models.states().items()}
    report: dict[str, Any] = {
        "ready": all(state["ready"] for state in models.values()) and (embedder is None or embedder.ready),
        "models": models,
        "directory": {
            "reachable": engine_registry.directory_problem is None,
            "reason": engine_registry.directory_problem,
        },
    }
    if embedder is not None:
        report["embedder"] = {"ready": embedder.ready, "reason": embedder.problem}
    return report
