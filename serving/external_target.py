"""A model outside, as a target: asked only with consent, left alone while it is broken or its quota is used up.

What is private in a request stays here without consent for that: the rest goes alone, if it still is a question. An
answer that has begun is not gone on with outside then, because it may tell of what was left out. Every call that leaves
is written to the audit log before it does: who, which model, which classes of private things went along or stayed;
never what was said. The breaker opens after a few failures in a row, or at once where the model says how long to wait,
and lets one request try when that time is over. It does not know the model's protocol (`models.gemini`).
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, aclosing
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import orjson

from models import gemini_errors
from models.collect import collect
from serving import degraded, errors
from serving.call import CHAT, Call
from serving.consents import Allowed
from serving.continuation import Beginning, Splice, what_is_left
from serving.entry import Entry
from serving.metering import Usage, read_usage
from serving.prices import Segment
from serving.reply import DONE, Reply
from serving.sensitive import Detect
from serving.sift import Sifted, sift
from serving.target import TargetFailed, Withheld
from serving.traces import Span, Tracing

log = logging.getLogger(__name__)

FAILURES_ALLOWED = 3
COOLDOWN_S = 30.0
Json = dict[str, Any]


class ChatModel(Protocol):
    """What is outside."""

    model: str

    def chat(self, request: Mapping[str, Any], *, continue_from: str = "") -> AsyncGenerator[Json, None]:
        """Answer as chunks; raises GeminiFailure."""

    async def close(self) -> None:
        """Close its connections."""


class ExternalTarget:
    """A model outside.

    Args:
        id_: its id in the configuration.
        outside: the model.
        tracing: gets a span for each call.
        allowed: what of a request may leave.
        detect: finds classes of private things in a text.
        audit: writes a record of what is about to leave; what it cannot write (OSError) does not leave.
        user_hash: names an end user there.
        clock: monotonic seconds.
        now: the time of day, UTC.

    """

    def __init__(
        self,
        id_: str,
        outside: ChatModel,
        *,
        tracing: Tracing,
        allowed: Callable[[Call], Awaitable[Allowed]],
        detect: Detect,
        audit: Callable[[Mapping[str, Any]], None],
        user_hash: Callable[[str, str], str],
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.model = id_
        self._outside = outside
        self._tracing = tracing
        self._allowed = allowed
        self._detect = detect
        self._write = audit
        self._user_hash = user_hash
        self._clock = clock
        self._now = now
        self._failures = 0
        self._closed_until = 0.0
        self._why_closed = errors.EngineUnavailable("")

    @property
    def label(self) -> str:
        """What `x-bondhu-model` says."""
        return f"{self.model}; revision={self._outside.model}; quantization=external"

    @property
    def outside(self) -> str:
        """The provider's name of the model."""
        return self._outside.model

    @property
    def is_open(self) -> bool:
        """Whether its breaker is: nothing goes there for now."""
        return self._clock() < self._closed_until

    async def answer(self, call: Call, reply: Reply, entry: Entry, *, reason: str, beginning: Beginning | None) -> None:
        """See `serving.target.Target`."""
        self._refuse(call)
        allowed = await self._allowed(call)
        if not allowed.external:
            raise _no_consent()
        sifted = await self._sifted(call, allowed, beginning)
        self._audit(call, reason, allowed, sifted)
        asked = dict(call.parsed if beginning is None else what_is_left(call, beginning))
        asked["messages"] = sifted.messages
        if sifted.withheld:
            reply.degraded = degraded.note(sifted.withheld)
        passing = _Passing(self, call, reply, entry, reason, beginning)
        chunks = self._outside.chat(asked, continue_from=beginning.text if beginning else "")
        try:
            with self._span():
                async with aclosing(chunks):
                    await passing.all_of(chunks)
            self._failures = 0
        except gemini_errors.GeminiFailure as failure:
            if not reply.started:
                reply.degraded = ""  # another answers, perhaps with everything
            raise self._failed(failure) from failure
        finally:
            passing.note()

    def _span(self) -> AbstractContextManager[Span]:
        attributes = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "gcp.gemini",
            "gen_ai.request.model": self._outside.model,
        }
        return self._tracing.child(f"chat {self._outside.model}", attributes, outgoing=True)

    def waiting(self) -> Mapping[str, int]:
        """Nobody waits for it: it answers at once, or not."""
        return {}

    async def close(self) -> None:
        """Close the model's connections."""
        await self._outside.close()

    def _refuse(self, call: Call) -> None:
        if call.path != CHAT:
            raise TargetFailed("external_unsupported", errors.EngineUnavailable("Models outside answer chats only."))
        if not call.allow_external:
            raise _no_consent()
        if self.is_open:
            raise TargetFailed("breaker_open", self._why_closed)

    async def _sifted(self, call: Call, allowed: Allowed, beginning: Beginning | None) -> Sifted:
        """What may leave; raises Withheld when that is no question, or no answer that could be gone on with."""
        sifted = await asyncio.to_thread(  # a long conversation takes a while, and others stream meanwhile
            sift, call.parsed.get("messages"), self._detect, allow_sensitive=allowed.sensitive
        )
        if sifted.messages is None or (beginning is not None and sifted.withheld):
            raise Withheld(errors.EngineUnavailable(_PRIVATE), sifted.withheld)
        return sifted

    def _audit(self, call: Call, reason: str, allowed: Allowed, sifted: Sifted) -> None:
        record = {
            "event": "external_call",
            "request_id": call.request_id,
            "app": call.app,
            "user": self._user_hash(call.app, call.user) if call.user else None,
            "model": self.model,
            "class": "chat",
            "consent": allowed.by,
            "private": sorted(sifted.kept),
            "withheld": sorted(sifted.withheld),
            "reason": reason,
        }
        try:
            self._write(record)
        except OSError as problem:
            log.error("nothing leaves, because the audit log cannot be written: %r", problem)
            raise TargetFailed("audit_failed", errors.EngineUnavailable(_SORRY)) from problem

    def _failed(self, failure: gemini_errors.GeminiFailure) -> TargetFailed:
        """What a failure means for the chain, and for those that come after."""
        match failure:
            case gemini_errors.BadRequest():
                return TargetFailed("external_unsupported", errors.EngineUnavailable(_SORRY))
            case gemini_errors.Blocked():
                return TargetFailed("external_blocked", errors.EngineUnavailable(_SORRY))
            case gemini_errors.Quota(retry_after_s=wait_s, daily=daily):
                wait_s = self._until_new_day() if daily else (wait_s or COOLDOWN_S)
                self._close(wait_s, errors.EngineUnavailable(_SORRY, retry_after_s=max(1, round(wait_s))))
                return TargetFailed("external_quota", self._why_closed)
            case gemini_errors.Refused():
                self._close(COOLDOWN_S, errors.EngineUnavailable(_SORRY))
                return TargetFailed("external_refused", self._why_closed)
        self._failures += 1
        if self._failures >= FAILURES_ALLOWED:
            self._close(COOLDOWN_S, errors.EngineUnavailable(_SORRY, retry_after_s=round(COOLDOWN_S)))
        return TargetFailed("external_failed", errors.EngineFailed(_SORRY))

    def _close(self, wait_s: float, why: errors.EngineUnavailable) -> None:
        self._failures = FAILURES_ALLOWED - 1  # when the time is over one request may try; its failure closes again
        self._closed_until, self._why_closed = self._clock() + wait_s, why

    def _until_new_day(self) -> float:
        """Seconds to midnight at Google's, where daily quotas begin anew (Pacific time; -8 h is never too early)."""
        there = self._now() - timedelta(hours=8)
        return (there.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1) - there).total_seconds()


def _no_consent() -> TargetFailed:
    message = "The model cannot answer right now, and this request may not be sent outside."
    return TargetFailed("no_consent", errors.EngineUnavailable(message))


_PRIVATE = "The model cannot answer right now, and what is private in this request may not be sent outside."
_SORRY = "Neither the model nor what stands in for it can answer right now."


class _Passing:
    """Passes an answer's chunks on to the client."""

    def __init__(
        self,
        target: ExternalTarget,
        call: Call,
        reply: Reply,
        entry: Entry,
        reason: str,
        beginning: Beginning | None,
    ) -> None:
        self._target = target
        self._call = call
        self._reply = reply
        self._entry = entry
        self._reason = reason
        self._splice = Splice(beginning, call) if beginning else None
        self._usage = Usage()
        self._told = False
        self._began_s = time.monotonic()

    def note(self) -> None:
        """Write down what it came to, if it came to anything."""
        if self._told:
            self._entry.add(self._segment(), continues=self._splice is not None)

    def _segment(self) -> Segment:
        return self._entry.segment(
            self._target.model,
            self._target.outside,
            "external",
            usage=self._usage,
            reason=self._reason,
            engine_s=time.monotonic() - self._began_s,
        )

    async def all_of(self, chunks: AsyncGenerator[Json, None]) -> None:
        """Pass them on; the client has all of it when this returns."""
        whole = []
        async for chunk in chunks:
            self._told = True
            chunk["model"] = self._target.model
            self._usage = read_usage(chunk["usage"])
            if chunk["choices"]:
                del chunk["usage"]  # the counts so far are not the client's
            if self._call.streams:
                await self._event(chunk)
            else:
                whole.append(chunk)
        if self._call.streams:
            provenance = self._splice.provenance([*self._entry.segments, self._segment()]) if self._splice else b""
            await self._reply.event(provenance + DONE, self._target.label)
            await self._reply.end()
        else:
            await self._reply.whole(200, orjson.dumps(collect(whole)), self._target.label)

    async def _event(self, chunk: Json) -> None:
        seen: Json | None = chunk
        if self._splice:
            seen = self._splice.chunk(chunk)
        elif not chunk.get("choices") and not self._call.stream_options.get("include_usage"):
            seen = None
        if seen is not None:
            await self._reply.event(b"data: " + orjson.dumps(seen) + b"\n\n", self._target.label)
