"""POST /v1/chat/completions and /v1/completions: validated fields are passed through to vLLM's server."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from serving.cache.directives import read_directives
from serving.errors import ApiError
from serving.generation.pipeline import Generation
from serving.generation.planner import Terms
from serving.privacy.markers import check_marks
from serving.protocol.check import check_request
from serving.protocol.request import CHAT, COMPLETION, GenerationRequest
from serving.protocol.response import Source
from serving.protocol.sequences import check_tier
from serving.protocol.structured_outputs import check_structured_outputs
from serving.protocol.token_estimate import max_tokens_of
from serving.routes import openapi
from serving.routes.agents.runs import check_for_agent
from serving.routes.body import model_name, read_bytes, read_json, read_leniently
from serving.routes.client_response import ClientResponse
from serving.routes.counted import COUNTED, refused
from serving.routes.dependencies import caller_of, gateway_of
from serving.routes.identity import (
    about,
    check_one_user,
    check_user,
    class_of,
    conversation_of,
    country_of,
    end_user,
    named_conversation,
    notices_of,
)
from serving.routes.keep_alive import KeptAlive
from serving.routes.openai.direct import DirectRoute
from serving.routes.openai.parts import GeneratingParts
from serving.streams.policy import (
    ABORT_S,
    DISCONNECT_HEADER,
    RESUME_HEADER,
    access_key,
    identity_of,
    linger_of,
    read_event_id,
)
from storage.api_keys import KeyRecord
from storage.tables import RequestClass

router = APIRouter(tags=["generation"], route_class=DirectRoute)

CONSENT_HEADER = "x-bondhu-allow-external"


@router.post(CHAT, openapi_extra=openapi.CHAT, responses=openapi.GENERATION_RESPONSES)
async def chat_completions(http_request: Request) -> Response:
    """Answer a conversation, as one response or as a stream of server-sent events."""
    return await _generate(http_request, CHAT)


@router.post(COMPLETION, openapi_extra=openapi.COMPLETION, responses=openapi.GENERATION_RESPONSES)
async def completions(http_request: Request) -> Response:
    """Continue a text."""
    return await _generate(http_request, COMPLETION)


async def _generate(http_request: Request, path: str) -> Response:
    gateway = await gateway_of(http_request)
    caller, parts = await caller_of(http_request, gateway), gateway.generating
    if last_event := http_request.headers.get(RESUME_HEADER):
        return ClientResponse(await _resume(http_request, parts, caller, path, last_event))
    parsed: dict[str, Any] = {}
    try:
        body, parsed = await read_json(http_request, parts.settings.gateway.max_body_bytes)
    except ApiError as problem:
        raise await refused(problem, http_request, parts, caller, path, parsed) from None
    return ClientResponse(await respond(http_request, parts, caller, path, parsed, size_bytes=len(body)))


async def respond(
    http_request: Request,
    parts: GeneratingParts,
    caller: KeyRecord,
    path: str,
    parsed: dict[str, Any],
    *,
    size_bytes: int,
    conversation: str | None = None,
    endpoint: str | None = None,
) -> Source:
    """The response to a generation request. Raises ApiError.

    `conversation` replaces that of the header. `endpoint` is the path in the ledger if the request came by another one.
    """
    endpoint = endpoint or path
    settings = parts.settings.gateway
    request: GenerationRequest | None = None
    try:
        request = _read_request(http_request, parts, caller, path, parsed, conversation)
        linger_s = linger_of(http_request.headers.get(DISCONNECT_HEADER), parts.settings.streams.max_grace_s)
        directives = read_directives(http_request.headers, parts.settings.cache.ttl_s)
        tokens = max_tokens_of(parsed, size_bytes, settings.reserve_completion_tokens)
        tokens += parts.settings.memory.chat.recalled_tokens if request.conversation else 0
        record = parts.ledger.begin(**about(http_request, caller, endpoint, parsed), tokens_reserved=tokens)
    except ApiError as problem:
        if request is not None and (crisis := await parts.degraded.crisis_reply_to(request, problem)):
            return crisis
        raise await refused(problem, http_request, parts, caller, endpoint, parsed) from None
    http_request.scope[COUNTED] = True
    terms = Terms(request.app, request.user, caller.tier, directives, tokens)
    identity = None
    if parts.settings.streams.coalesce != "off" and parts.models.agent(request.model) is None:
        identity = identity_of(request, caller.tier, directives, is_resumable=request.streams and linger_s > 0)
    source: Source
    if identity is None and linger_s == ABORT_S:
        source = Generation(parts.planner.plan(request, terms), record)
    else:
        source = parts.recorder.record(request, terms, record, identity=identity, linger_s=linger_s)
    every_s = parts.settings.gateway.stream_comment_s
    return KeptAlive(source, every_s) if every_s and request.streams else source


async def _resume(
    http_request: Request, parts: GeneratingParts, caller: KeyRecord, path: str, last_event: str
) -> Source:
    """Resume a stream after a broken connection; the body is only used for the end user."""
    parsed: dict[str, Any] = {}
    try:
        parsed = read_leniently(await read_bytes(http_request, parts.settings.gateway.max_body_bytes))
        named = http_request.headers.get(DISCONNECT_HEADER)
        linger_s = None if named is None else linger_of(named, parts.settings.streams.max_grace_s)
        recording_id, event = read_event_id(last_event)
        user = end_user(http_request, parsed)
        recording = await parts.recorder.find(recording_id, access_key(caller.app, user, path))
        record = parts.ledger.begin(**about(http_request, caller, path, parsed))
    except ApiError as problem:
        raise await refused(problem, http_request, parts, caller, path, parsed) from None
    http_request.scope[COUNTED] = True
    terms = Terms(caller.app, user, caller.tier)
    return parts.recorder.resume(recording, terms, record, linger_s=linger_s, next_event=event + 1)


def _read_request(
    http_request: Request,
    parts: GeneratingParts,
    caller: KeyRecord,
    path: str,
    parsed: dict[str, Any],
    conversation: str | None,
) -> GenerationRequest:
    check_one_user(http_request, parsed)
    model = parts.models.answers(model_name(parsed))
    agent = parts.models.agent(model)
    spec = parts.settings.catalogue.get(model)
    if agent is not None:
        check_for_agent(parts, agent, path, parsed)
        check_user(end_user(http_request, parsed))
    elif spec is None:
        check_request(path, parsed)
    else:
        check_request(path, parsed, allow_fields=spec.allow_fields, allow_content=spec.allow_content)
    check_tier(parsed, parts.limiter.tier(caller.tier))
    check_marks(parsed.get("messages"))
    if (tier := parts.tiers().get(caller.tier)) is not None:  # an unknown tier is refused later
        check_structured_outputs(parsed, tier.structured_outputs)
    named = conversation or named_conversation(http_request)
    class_ = class_of(http_request)
    return GenerationRequest(
        path=path,
        parsed=parsed,
        model=model,
        request_id=http_request.scope["bondhu.request_id"],
        app=caller.app,
        user=end_user(http_request, parsed),
        class_=class_,
        allow_external=caller.allow_external and http_request.headers.get(CONSENT_HEADER, "").lower() != "false",
        allow_sensitive=caller.allow_sensitive,
        conversation=conversation_of(http_request, caller, path, parsed, named),
        agent_conversation="" if agent is None else named,
        country=country_of(http_request),
        checks_safety=_checks_safety(parts, caller, class_),
        notices=notices_of(http_request, caller, is_agent=agent is not None),
    )


def _checks_safety(parts: GeneratingParts, caller: KeyRecord, class_: RequestClass) -> bool:
    """Whether the safety step reads this request; counts those that it does not."""
    tier = parts.tiers().get(caller.tier)
    by = None
    if class_ == "job":  # nobody who could be in danger
        by = "job"
    elif caller.own_safety is not None:
        by = "key"
    elif tier is not None and tier.own_safety is not None:
        by = "tier"
    if by is not None:
        parts.count_unchecked(by)
    return by is None
