"""POST /v1/chat/completions and /v1/completions: everything that vLLM's own server accepts passes through."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from serving import openapi
from serving.call import CHAT, COMPLETION, Call
from serving.errors import ApiError, InvalidRequest
from serving.generation import Generation
from serving.marks import check_marks
from serving.routes.asker import about, class_of, end_user
from serving.routes.body import BYTES_PER_TOKEN, check_shape, model_name, read_json
from serving.routes.direct import DirectRoute
from serving.state import Gateway, caller_of, gateway_of
from storage.keys import KeyRecord

router = APIRouter(tags=["generation"], route_class=DirectRoute)

CONSENT_HEADER = "x-bondhu-allow-external"


@router.post(CHAT, openapi_extra=openapi.CHAT, responses=openapi.GENERATION_RESPONSES)
async def chat_completions(request: Request) -> Response:
    """Answer a conversation, at once or as a stream of server-sent events."""
    return await _generate(request, CHAT, "messages")


@router.post(COMPLETION, openapi_extra=openapi.COMPLETION, responses=openapi.GENERATION_RESPONSES)
async def completions(request: Request) -> Response:
    """Continue a text."""
    return await _generate(request, COMPLETION, "prompt")


async def _generate(request: Request, path: str, required: str) -> Generation:
    gateway = await gateway_of(request)
    caller = await caller_of(request, gateway)
    settings = gateway.settings.gateway
    parsed: dict[str, Any] = {}
    try:
        body, parsed = await read_json(request, settings.max_body_bytes)
        call = _call(request, gateway, caller, path, parsed, required)
        tokens = most_tokens(parsed, len(body), settings.reserve_completion_tokens)
        entry = gateway.ledger.begin(**about(request, caller, path, parsed), tokens_reserved=tokens)
    except ApiError:
        with gateway.ledger.begin(**about(request, caller, path, parsed)):
            raise
    return Generation(
        call=call,
        chain=gateway.chains.of(call.model),
        entry=entry,
        limiter=gateway.limiter,
        degraded=gateway.degraded,
        tier=caller.tier,
        tokens=tokens,
        timeout_s=settings.request_timeout_s,
    )


def _call(
    request: Request, gateway: Gateway, caller: KeyRecord, path: str, parsed: dict[str, Any], required: str
) -> Call:
    model = gateway.fleet.resolve(model_name(parsed))
    if required not in parsed:
        raise InvalidRequest(f"{required}: field required.", param=required)
    check_shape(parsed)
    check_marks(parsed.get("messages"))
    return Call(
        path=path,
        parsed=parsed,
        model=model,
        request_id=request.scope["bondhu.request_id"],
        app=caller.app,
        user=end_user(request, parsed),
        class_=class_of(request),
        allow_external=caller.allow_external and request.headers.get(CONSENT_HEADER, "").lower() != "false",
        allow_sensitive=caller.allow_sensitive,
    )


def most_tokens(parsed: dict[str, Any], body_bytes: int, completion_tokens: int) -> int:
    """About the most that a request can use; `completion_tokens` where it does not say."""
    for field in ("max_completion_tokens", "max_tokens"):
        if isinstance(asked := parsed.get(field), int) and asked > 0:
            completion_tokens = asked
            break
    choices = parsed.get("n")
    choices = choices if isinstance(choices, int) and choices > 0 else 1
    return body_bytes // BYTES_PER_TOKEN + completion_tokens * choices
