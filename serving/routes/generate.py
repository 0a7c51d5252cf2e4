"""POST /v1/chat/completions and /v1/completions: everything that vLLM's own server accepts passes through."""

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import Response

from serving import openapi
from serving.errors import InvalidRequest
from serving.relay import Relay
from serving.routes.body import check_shape, model_name, read_json
from serving.routes.direct import DirectRoute
from serving.state import caller_of, gateway_of

router = APIRouter(tags=["generation"], route_class=DirectRoute)


@router.post("/v1/chat/completions", openapi_extra=openapi.CHAT, responses=openapi.GENERATION_RESPONSES)
async def chat_completions(request: Request) -> Response:
    """Answer a conversation, at once or as a stream of server-sent events."""
    return await _relay(request, "/v1/chat/completions", "messages")


@router.post("/v1/completions", openapi_extra=openapi.COMPLETION, responses=openapi.GENERATION_RESPONSES)
async def completions(request: Request) -> Response:
    """Continue a text."""
    return await _relay(request, "/v1/completions", "prompt")


async def _relay(request: Request, path: str, required: str) -> Relay:
    gateway = await gateway_of(request)
    await caller_of(request, gateway)
    limits = gateway.settings.gateway
    payload, parsed = await read_json(request, limits.max_body_bytes)
    name = model_name(parsed)
    model = gateway.fleet.resolve(name)
    if required not in parsed:
        raise InvalidRequest(f"{required}: field required.", param=required)
    check_shape(parsed)
    if model != name:
        payload = orjson.dumps(parsed | {"model": model})
    return Relay(
        fleet=gateway.fleet,
        engines=gateway.engines,
        model=model,
        path=path,
        payload=payload,
        asked=parsed.keys(),
        timeout_s=limits.request_timeout_s,
        tracing=gateway.telemetry.tracing,
    )
