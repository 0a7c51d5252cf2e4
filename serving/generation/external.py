"""An external model as a target: only called with consent, and not while it fails or its quota is used up.

Without consent to private content, a request is sent without it, if a question remains. A stream that has begun is not
continued externally then, because its text may reveal what was left out. Every call is written to the audit log before
it is sent: the user, the model, the classes of private content that were sent or withheld; never any text. The breaker
opens after a few failures in a row, or at once if the model says how long to wait, and then lets one request try. This
module does not know the model's provider (`models.providers`).
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, aclosing
from typing import Any

import orjson

from models.chat import BadRequest, Blocked, ChatFailure, RateLimited, Refused, TooLong
from models.chat_chunks import collect
from models.provider import ProviderModel
from serving import errors
from serving.generation import degraded
from serving.generation.continuation import PartialAnswer, StreamSplicer, what_is_left
from serving.generation.target import TargetCall, TargetFailed, Withheld
from serving.observability.tracing import Span, Tracing
from serving.privacy.consent import Allowed
from serving.privacy.detector import Detect
from serving.privacy.redaction import Redacted, redact
from serving.protocol.check import with_schema
from serving.protocol.request import CHAT, GenerationRequest
from serving.protocol.sse import DONE, Event
from serving.protocol.usage import Segment, Usage, read_usage

log = logging.getLogger(__name__)

FAILURES_ALLOWED = 3
COOLDOWN_S = 30.0
Json = dict[str, Any]


class ExternalTarget:
    """An external model.

    Args:
        id_: its id in the configuration.
        chat_model: the model's client.
        tracing: makes a span for each call.
        allowed: returns what of a request may be sent.
        detect: finds classes of private content in a text.
        audit: writes an audit record before the call; if it raises OSError, nothing is sent.
        user_hash: pseudonym of an end user in the audit log.
        clock: monotonic seconds.

    """

    def __init__(
        self,
        id_: str,
        chat_model: ProviderModel,
        *,
        tracing: Tracing,
        allowed: Callable[[GenerationRequest], Awaitable[Allowed]],
        detect: Detect,
        audit: Callable[[Mapping[str, Any]], None],
        user_hash: Callable[[str, str], str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.model = id_
        self._chat_model = chat_model
        self._tracing = tracing
        self._allowed = allowed
        self._detect = detect
        self._write = audit
        self._user_hash = user_hash
        self._clock = clock
        self._failures = 0
        self._closed_until = 0.0
        self._why_closed = errors.EngineUnavailable("")

    @property
    def label(self) -> str:
        """The value of `x-bondhu-model`."""
        return f"{self.model}; revision={self._chat_model.model}; quantization=external"

    @property
    def provider_model(self) -> str:
        """The provider's name of the model."""
        return self._chat_model.model

    @property
    def is_open(self) -> bool:
        """Whether the breaker is open, so that nothing is sent for now."""
        return self._clock() < self._closed_until

    async def answer(self, call: TargetCall) -> None:
        """See `serving.generation.target.Target`."""
        request, response, beginning = call.request, call.response, call.beginning
        self._refuse(request)
        allowed = await self._allowed(request)
        if not allowed.external:
            raise _no_consent()
        redacted = await self._redacted(request, allowed, beginning)
        self._audit(request, call.reason, allowed, redacted)
        body = dict(with_schema(request.parsed if beginning is None else what_is_left(request, beginning)))
        body["messages"] = redacted.messages
        if redacted.withheld:
            response.degraded = degraded.note(redacted.withheld)
        passing = _Passing(self, call)
        chunks = self._chat_model.chunks(body, continue_from=beginning.text if beginning else "")
        try:
            with self._span():
                async with aclosing(chunks):
                    await passing.all_of(chunks)
            self._failures = 0
        except ChatFailure as failure:
            if not response.started:
                response.degraded = ""  # another target may answer without redaction
            raise self._failed(failure) from failure
        finally:
            passing.note()

    def _span(self) -> AbstractContextManager[Span]:
        attributes = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": self._chat_model.provider,
            "gen_ai.request.model": self._chat_model.model,
        }
        return self._tracing.child(f"chat {self._chat_model.model}", attributes, outgoing=True)

    async def close(self) -> None:
        """Close the model's connections."""
        await self._chat_model.close()

    def _refuse(self, request: GenerationRequest) -> None:
        if request.path != CHAT:
            raise TargetFailed("external_unsupported", errors.EngineUnavailable("External models only answer chats."))
        if not request.allow_external:
            raise _no_consent()
        if self.is_open:
            raise TargetFailed("breaker_open", self._why_closed)

    async def _redacted(
        self, request: GenerationRequest, allowed: Allowed, beginning: PartialAnswer | None
    ) -> Redacted:
        """The redacted messages; raises Withheld if no question is left, or if a stream could not be continued."""
        redacted = await asyncio.to_thread(  # a long conversation takes a while and must not block other streams
            redact, request.parsed.get("messages"), self._detect, allow_sensitive=allowed.sensitive
        )
        if redacted.messages is None or (beginning is not None and redacted.withheld):
            raise Withheld(errors.EngineUnavailable(_PRIVATE), redacted.withheld)
        return redacted

    def _audit(self, request: GenerationRequest, reason: str, allowed: Allowed, redacted: Redacted) -> None:
        record = {
            "event": "external_call",
            "request_id": request.request_id,
            "app": request.app,
            "user": self._user_hash(request.app, request.user) if request.user else None,
            "model": self.model,
            "class": "chat",
            "consent": allowed.by,
            "private": sorted(redacted.kept),
            "withheld": sorted(redacted.withheld),
            "reason": reason,
        }
        try:
            self._write(record)
        except OSError as problem:
            log.error("the request was not sent, because writing the audit log failed: %r", problem)
            raise TargetFailed("audit_failed", errors.EngineUnavailable(_SORRY)) from problem

    def _failed(self, failure: ChatFailure) -> TargetFailed:
        """Convert a failure for the fallback chain, and open the breaker if needed."""
        match failure:
            case TooLong():
                return TargetFailed("external_too_long", errors.AnswerTooLarge())
            case BadRequest():
                return TargetFailed("external_unsupported", errors.EngineUnavailable(_SORRY))
            case Blocked():
                return TargetFailed("external_blocked", errors.EngineUnavailable(_SORRY))
            case RateLimited(retry_after_s=wait_s):
                wait_s = wait_s or COOLDOWN_S
                self._close(wait_s, errors.EngineUnavailable(_SORRY, retry_after_s=max(1, round(wait_s))))
                return TargetFailed("external_quota", self._why_closed)
            case Refused():
                self._close(COOLDOWN_S, errors.EngineUnavailable(_SORRY))
                return TargetFailed("external_refused", self._why_closed)
        self._failures += 1
        if self._failures >= FAILURES_ALLOWED:
            self._close(COOLDOWN_S, errors.EngineUnavailable(_SORRY, retry_after_s=round(COOLDOWN_S)))
        return TargetFailed("external_failed", errors.EngineFailed(_SORRY))

    def _close(self, wait_s: float, why: errors.EngineUnavailable) -> None:
        self._failures = FAILURES_ALLOWED - 1  # after the wait one request may try; its failure opens it again
        self._closed_until, self._why_closed = self._clock() + wait_s, why


def _no_consent() -> TargetFailed:
    message = "The model is unavailable right now, and this request may not be sent to an external model."
    return TargetFailed("no_consent", errors.EngineUnavailable(message))


_PRIVATE = "The model is unavailable right now, and the private content may not be sent to an external model."
_SORRY = "The model and its fallbacks are unavailable right now. Try again later."


class _Passing:
    """Forwards the chunks of a response to the client."""

    def __init__(self, target: ExternalTarget, call: TargetCall) -> None:
        self._target = target
        self._request, self._response, self._record = call.request, call.response, call.record
        self._reason = call.reason
        self._splice = StreamSplicer(call.beginning, call.request) if call.beginning else None
        self._usage = Usage()
        self._has_output = False
        self._began_s = time.monotonic()

    def note(self) -> None:
        """Add the segment to the record, if there was any output."""
        if self._has_output:
            self._record.add(self._segment(), continues=self._splice is not None)

    def _segment(self) -> Segment:
        return self._record.segment(
            self._target.model,
            self._target.provider_model,
            "external",
            usage=self._usage,
            reason=self._reason,
            engine_s=time.monotonic() - self._began_s,
        )

    async def all_of(self, chunks: AsyncGenerator[Json, None]) -> None:
        """Forward all chunks; the client has the whole response when this returns."""
        whole = []
        async for chunk in chunks:
            self._has_output = True
            chunk["model"] = self._target.model
            if chunk.get("usage"):
                self._usage = read_usage(chunk["usage"])
            if chunk.get("choices"):
                chunk.pop("usage", None)  # running counts are not for the client
                if self._request.stream_options.get("include_usage"):
                    chunk["usage"] = None
            if self._request.streams:
                await self._event(chunk)
            else:
                whole.append(chunk)
        if self._request.streams:
            segments = [*self._record.segments, self._segment()]
            last = [self._splice.provenance(segments)] if self._splice else []
            await self._response.events([*last, Event(DONE)], self._target.label, is_last=True)
        else:
            await self._response.whole(200, orjson.dumps(collect(whole)), self._target.label)

    async def _event(self, chunk: Json) -> None:
        seen: Json | None = chunk
        if self._splice:
            seen = self._splice.chunk(chunk)
        elif not chunk.get("choices") and not self._request.stream_options.get("include_usage"):
            seen = None
        if seen is not None:
            await self._response.events([Event.of(seen)], self._target.label)
