"""POST /v1/chat/completions and /v1/completions: validated fields are passed through to vLLM's server."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import Response

from serving.cache.directives import CacheDirectives, read_directives
from serving.chat_memory.session import ChatMemory
from serving.errors import ApiError
from serving.generation.pipeline import Generation, SentEvents
from serving.generation.target import Target
from serving.privacy.markers import check_marks
from serving.protocol.check import check_request
from serving.protocol.record import RequestRecord
from serving.protocol.request import CHAT, COMPLETION, GenerationRequest
from serving.protocol.sequences import check_tier, sequences_of
from serving.protocol.structured_outputs import check_structured_outputs
from serving.routes import openapi
from serving.routes.agents.runs import agent_target, check_for_agent, memory_of_run
from serving.routes.body import BYTES_PER_TOKEN, model_name, read_bytes, read_json, read_leniently, tokens_of
from serving.routes.counted import COUNTED, refused
from serving.routes.dependencies import Gateway, caller_of, gateway_of
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
from serving.routes.keep_alive import KeepAliveResponse
from serving.routes.openai.direct import DirectRoute
from serving.streams.policy import (
    ABORT_S,
    DISCONNECT_HEADER,
    RESUME_HEADER,
    access_key,
    identity_of,
    linger_of,
    read_event_id,
)
from serving.streams.reader import RecordingResponse
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
    caller = await caller_of(http_request, gateway)
    if last_event := http_request.headers.get(RESUME_HEADER):
        return await _resume(http_request, gateway, caller, path, last_event)
    parsed: dict[str, Any] = {}
    try:
        body, parsed = await read_json(http_request, gateway.settings.gateway.max_body_bytes)
    except ApiError as problem:
        raise await refused(problem, http_request, gateway, caller, path, parsed) from None
    return await respond(http_request, gateway, caller, path, parsed, size_bytes=len(body))


async def respond(
    http_request: Request,
    gateway: Gateway,
    caller: KeyRecord,
    path: str,
    parsed: dict[str, Any],
    *,
    size_bytes: int,
    conversation: str | None = None,
    endpoint: str | None = None,
) -> Response:
    """The response to a generation request. Raises ApiError.

    `conversation` replaces that of the header. `endpoint` is the path in the ledger if the request came by another one.
    """
    endpoint = endpoint or path
    settings = gateway.settings.gateway
    request: GenerationRequest | None = None
    try:
        request = _read_request(http_request, gateway, caller, path, parsed, conversation)
        linger_s = linger_of(http_request.headers.get(DISCONNECT_HEADER), gateway.settings.streams.max_grace_s)
        directives = read_directives(http_request.headers, gateway.settings.cache.ttl_s)
        tokens = max_tokens_of(parsed, size_bytes, settings.reserve_completion_tokens)
        tokens += gateway.settings.memory.chat.recalled_tokens if request.conversation else 0
        record = gateway.ledger.begin(**about(http_request, caller, endpoint, parsed), tokens_reserved=tokens)
    except ApiError as problem:
        if request is not None and (response := await gateway.degraded.crisis_response(request, problem)):
            return response
        raise await refused(problem, http_request, gateway, caller, endpoint, parsed) from None
    http_request.scope[COUNTED] = True
    identity = None
    if gateway.settings.streams.coalesce != "off" and gateway.models.agent(request.model) is None:
        identity = identity_of(request, caller.tier, directives, is_resumable=request.streams and linger_s > 0)
    if identity is None and linger_s == ABORT_S:
        return _kept_alive(gateway, request, _generation(gateway, caller.tier, directives, tokens, request, record))
    recording, _ = gateway.recorder.of(request, identity, record.id, linger_s)
    reader = RecordingResponse(
        recording,
        record=record,
        generate=partial(_generation, gateway, caller.tier, directives, tokens),
        reserve=partial(_count, gateway, caller.tier, request.app, request.user, request.sequences),
        linger_s=linger_s,
        use="shared",
    )
    return _kept_alive(gateway, request, reader)


def _kept_alive(gateway: Gateway, request: GenerationRequest, response: Response) -> Response:
    every_s = gateway.settings.gateway.stream_comment_s
    return KeepAliveResponse(response, every_s) if every_s and request.streams else response


async def _resume(
    http_request: Request, gateway: Gateway, caller: KeyRecord, path: str, last_event: str
) -> RecordingResponse:
    """Resume a stream after a broken connection; the body is only used for the end user."""
    parsed: dict[str, Any] = {}
    try:
        parsed = read_leniently(await read_bytes(http_request, gateway.settings.gateway.max_body_bytes))
        named = http_request.headers.get(DISCONNECT_HEADER)
        linger_s = None if named is None else linger_of(named, gateway.settings.streams.max_grace_s)
        recording_id, event = read_event_id(last_event)
        recording = await gateway.recorder.find(
            recording_id, access_key(caller.app, end_user(http_request, parsed), path)
        )
        record = gateway.ledger.begin(**about(http_request, caller, path, parsed))
    except ApiError as problem:
        raise await refused(problem, http_request, gateway, caller, path, parsed) from None
    http_request.scope[COUNTED] = True
    return RecordingResponse(
        recording,
        record=record,
        generate=partial(_generation, gateway, caller.tier, CacheDirectives(reads=False, keeps=False), None),
        reserve=partial(_count, gateway, caller.tier, caller.app, end_user(http_request, parsed), 1),
        linger_s=linger_s,
        use="resumed",
        next_event=event + 1,
    )


def _generation(
    gateway: Gateway,
    tier: str,
    directives: CacheDirectives,
    tokens: int | None,
    request: GenerationRequest,
    record: RequestRecord,
    sent: SentEvents | None = None,
    hands_over: bool = False,
) -> Generation:
    settings = gateway.settings.gateway
    agent = gateway.models.agent(request.model)
    memory: ChatMemory | None
    chain: Sequence[Target]
    if agent is None:
        memory = _memory_of(gateway, request)
        chain = gateway.chains.of(request.model)
    else:
        memory = memory_of_run(gateway, request)
        chain = [agent_target(gateway, agent, memory, directives)]
        directives, hands_over = CacheDirectives(reads=False, keeps=False), False
    if tokens is None:
        tokens = max_tokens_of(request.parsed, len(orjson.dumps(request.parsed)), settings.reserve_completion_tokens)
    return Generation(
        request=request,
        chain=chain,
        record=record,
        limiter=gateway.limiter,
        lookup=partial(gateway.answers.lookup, directives=directives),
        memory=memory,
        degraded=gateway.degraded,
        safety=gateway.safety,
        tier=tier,
        tokens=tokens,
        timeout_s=settings.request_timeout_s,
        drain=gateway.drain,
        hands_over=hands_over,
        sent=sent,
    )


def _memory_of(gateway: Gateway, request: GenerationRequest) -> ChatMemory | None:
    if request.conversation is None:
        return None
    return ChatMemory(gateway.memory, gateway.intents, gateway.settings.memory.chat, request, tokens_of, gateway.now)


async def _count(
    gateway: Gateway, tier: str, app: str, user: str | None, requests: int, record_id: str
) -> dict[str, str]:
    """Count a request that only reads; its own record may generate later, so the reservation gets another id."""
    return await gateway.limiter.count(app, user, tier, f"{record_id}.0", requests)


def _read_request(
    http_request: Request,
    gateway: Gateway,
    caller: KeyRecord,
    path: str,
    parsed: dict[str, Any],
    conversation: str | None,
) -> GenerationRequest:
    check_one_user(http_request, parsed)
    model = gateway.models.answers(model_name(parsed))
    agent = gateway.models.agent(model)
    spec = gateway.settings.catalogue.get(model)
    if agent is not None:
        check_for_agent(gateway, agent, path, parsed)
        check_user(end_user(http_request, parsed))
    elif spec is None:
        check_request(path, parsed)
    else:
        check_request(path, parsed, allow_fields=spec.allow_fields, allow_content=spec.allow_content)
    check_tier(parsed, gateway.limiter.tier(caller.tier))
    check_marks(parsed.get("messages"))
    if (tier := gateway.reloadable.settings.tiers.get(caller.tier)) is not None:  # an unknown tier is refused later
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
        checks_safety=_checks_safety(gateway, caller, class_),
        notices=notices_of(http_request, caller, is_agent=agent is not None),
    )


def _checks_safety(gateway: Gateway, caller: KeyRecord, class_: RequestClass) -> bool:
    """Whether the safety step reads this request; counts those that it does not."""
    tier = gateway.reloadable.settings.tiers.get(caller.tier)
    by = None
    if class_ == "job":  # nobody who could be in danger
        by = "job"
    elif caller.own_safety is not None:
        by = "key"
    elif tier is not None and tier.own_safety is not None:
        by = "tier"
    if by is not None:
        gateway.telemetry.metrics.count_unchecked(by)
    return by is None


def max_tokens_of(parsed: Mapping[str, Any], body_bytes: int, completion_tokens: int) -> int:
    """Estimate the maximum tokens of a validated request; `completion_tokens` is the default without max_tokens."""
    for field in ("max_completion_tokens", "max_tokens"):
        if isinstance(requested := parsed.get(field), int) and requested > 0:
            completion_tokens = requested
            break
    return body_bytes // BYTES_PER_TOKEN + completion_tokens * sequences_of(parsed)
