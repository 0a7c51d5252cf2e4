"""POST /v1/chat/completions and /v1/completions: everything that vLLM's own server accepts passes through."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import Response

from serving import openapi
from serving.cache_wish import Wish, read_wish
from serving.call import CHAT, COMPLETION, Call
from serving.entry import Entry
from serving.errors import ApiError, InvalidRequest
from serving.generation import Generation, Sent
from serving.marks import check_marks
from serving.reading import Reading
from serving.recollection import Recollection
from serving.routes.asker import about, class_of, conversation_of, country_of, end_user
from serving.routes.body import (
    BYTES_PER_TOKEN,
    check_shape,
    model_name,
    read_bytes,
    read_json,
    read_leniently,
    tokens_of,
)
from serving.routes.direct import DirectRoute
from serving.sharing import ABORT_S, DISCONNECT_HEADER, RESUME_HEADER, identity_of, patience_of, read_event_id, whose
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


async def _generate(request: Request, path: str, required: str) -> Response:
    gateway = await gateway_of(request)
    caller = await caller_of(request, gateway)
    if last_event := request.headers.get(RESUME_HEADER):
        return await _resume(request, gateway, caller, path, last_event)
    settings = gateway.settings.gateway
    parsed: dict[str, Any] = {}
    call: Call | None = None
    try:
        body, parsed = await read_json(request, settings.max_body_bytes)
        call = _call(request, gateway, caller, path, parsed, required)
        patience_s = patience_of(request.headers.get(DISCONNECT_HEADER), gateway.settings.streams.max_grace_s)
        wish = read_wish(request.headers, gateway.settings.cache.ttl_s)
        tokens = most_tokens(parsed, len(body), settings.reserve_completion_tokens)
        tokens += gateway.settings.memory.chat.recalled_tokens if call.conversation else 0
        entry = gateway.ledger.begin(**about(request, caller, path, parsed), tokens_reserved=tokens)
    except ApiError as problem:
        if call is not None and (comfort := await gateway.degraded.comfort_at_the_door(call, problem)):
            return comfort
        with gateway.ledger.begin(**about(request, caller, path, parsed)):
            raise
    identity = None
    if gateway.settings.streams.coalesce != "off":
        identity = identity_of(call, caller.tier, wish, is_resumable=call.streams and patience_s > 0)
    if identity is None and patience_s == ABORT_S:
        return _generation(gateway, caller.tier, wish, tokens, call, entry)
    tape, _ = gateway.tapes.of(call, identity, entry.id, patience_s)
    return Reading(
        tape,
        entry=entry,
        generate=partial(_generation, gateway, caller.tier, wish, tokens),
        reserve=partial(_reserve, gateway, caller.tier, call.app, call.user),
        patience_s=patience_s,
        use="shared",
    )


async def _resume(request: Request, gateway: Gateway, caller: KeyRecord, path: str, last_event: str) -> Reading:
    """Read on where an earlier connection broke; its body tells at most who the end user is."""
    parsed: dict[str, Any] = {}
    try:
        parsed = read_leniently(await read_bytes(request, gateway.settings.gateway.max_body_bytes))
        named = request.headers.get(DISCONNECT_HEADER)
        patience_s = None if named is None else patience_of(named, gateway.settings.streams.max_grace_s)
        tape_id, event = read_event_id(last_event)
        tape = await gateway.tapes.find(tape_id, whose(caller.app, end_user(request, parsed), path))
        entry = gateway.ledger.begin(**about(request, caller, path, parsed))
    except ApiError:
        with gateway.ledger.begin(**about(request, caller, path, parsed)):
            raise
    return Reading(
        tape,
        entry=entry,
        generate=partial(_generation, gateway, caller.tier, Wish(reads=False, keeps=False), None),
        reserve=None,
        patience_s=patience_s,
        use="resumed",
        next_event=event + 1,
    )


def _generation(
    gateway: Gateway,
    tier: str,
    wish: Wish,
    tokens: int | None,
    call: Call,
    entry: Entry,
    sent: Sent | None = None,
    hands_over: bool = False,
) -> Generation:
    settings = gateway.settings.gateway
    if tokens is None:
        tokens = most_tokens(call.parsed, len(orjson.dumps(call.parsed)), settings.reserve_completion_tokens)
    return Generation(
        call=call,
        chain=gateway.chains.of(call.model),
        entry=entry,
        limiter=gateway.limiter,
        lookup=partial(gateway.answers.lookup, wish=wish),
        recollection=_recollection(gateway, call),
        degraded=gateway.degraded,
        tier=tier,
        tokens=tokens,
        timeout_s=settings.request_timeout_s,
        drain=gateway.drain,
        hands_over=hands_over,
        sent=sent,
    )


def _recollection(gateway: Gateway, call: Call) -> Recollection | None:
    if call.conversation is None:
        return None
    return Recollection(gateway.memory, gateway.wishes, gateway.settings.memory.chat, call, tokens_of, gateway.now)


async def _reserve(gateway: Gateway, tier: str, app: str, user: str | None, entry_id: str) -> dict[str, str]:
    """Count a request that has no tokens of its own; an id beside its entry's, which may yet generate."""
    reservation = await gateway.limiter.reserve(app, user, tier, 0, f"{entry_id}.0")
    await gateway.limiter.settle(reservation, 0)
    return reservation.headers


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
        conversation=conversation_of(request, caller, path, parsed),
        country=country_of(request),
    )


def most_tokens(parsed: Mapping[str, Any], body_bytes: int, completion_tokens: int) -> int:
    """About the most that a request can use; `completion_tokens` where it does not say."""
    for field in ("max_completion_tokens", "max_tokens"):
        if isinstance(asked := parsed.get(field), int) and asked > 0:
            completion_tokens = asked
            break
    choices = parsed.get("n")
    choices = choices if isinstance(choices, int) and choices > 0 else 1
    return body_bytes // BYTES_PER_TOKEN + completion_tokens * choices
