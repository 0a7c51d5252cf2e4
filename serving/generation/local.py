"""A model on the service's own engines: bytes forwarded as they come, never a stream held back.

It picks a replica, asks it, and passes on what it says. When the client leaves, the upstream connection is closed,
which makes vLLM abort the generation. A replica that breaks before its first byte is replaced by another (nothing has
reached the client, and a generation has no side effects); after it, whoever made the chain decides.
"""

import asyncio
import logging
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from typing import Any

import orjson

from serving import errors
from serving.admission.gate import Gate
from serving.engines import vllm_errors
from serving.engines.http_client import ConnectionLost, EngineClient, EngineResponse, TooLarge
from serving.engines.prefix_salt import PrefixSalt
from serving.engines.registry import EngineRegistry, Replica
from serving.generation.continuation import PartialAnswer, StreamSplicer, has_penalties, rest_of
from serving.generation.target import TargetFailed
from serving.observability.tracing import Span, Tracing
from serving.privacy.markers import without_marks
from serving.protocol.check import for_engines
from serving.protocol.record import RequestRecord
from serving.protocol.request import CHAT, GenerationRequest
from serving.protocol.response import ResponseWriter
from serving.protocol.sse import DONE, events_of
from serving.protocol.stream_usage import StreamMeter, usage_of_body, with_running_counts
from serving.protocol.usage import Segment, Usage

log = logging.getLogger(__name__)

TRIES = 3
ENDED_FOR_IT_S = 10.0  # a constrained request that had its engine this long when it was lost
ERROR_EVENT = b'data: {"error"'  # no text can look like it: its quotes would be escaped
COUNTED = {"include_usage": True}


class LocalTarget:
    """One model of the catalogue, or an adapter on one.

    Args:
        model: its id.
        gate: admits requests to its engines; an adapter's is that of the model below it.
        engine_registry: picks the replica.
        engines: the HTTP client.
        tracing: gets a span for each try.
        salt: says whose part of the engine's prefix cache a request may hit.
        ttft_timeout_s: from asking an engine for a stream to its first event; None: no limit but the request's.
        stall_timeout_s: between two events of a stream; None: likewise.

    """

    def __init__(
        self,
        model: str,
        *,
        gate: Gate,
        engine_registry: EngineRegistry,
        engines: EngineClient,
        tracing: Tracing,
        salt: PrefixSalt,
        ttft_timeout_s: float | None = None,
        stall_timeout_s: float | None = None,
    ) -> None:
        self.model = model
        self._gate = gate
        self._engine_registry = engine_registry
        self._engines = engines
        self._tracing = tracing
        self._salt = salt
        self._ttft_timeout_s = ttft_timeout_s
        self._stall_timeout_s = stall_timeout_s

    async def answer(
        self,
        call: GenerationRequest,
        reply: ResponseWriter,
        entry: RequestRecord,
        *,
        reason: str,
        beginning: PartialAnswer | None,
    ) -> None:
        """See `serving.generation.target.Target`."""
        self._choose()  # with no engine there is nothing to wait for
        try:
            async with self._gate.enter(call.class_, call.app, call.user, sequences=call.sequences):
                await self._answer(call, reply, entry, reason, beginning)
        except errors.CallerQueueFull:
            raise  # the client's own doing: nobody else answers for it
        except (errors.QueueFull, errors.QueueTimeout) as problem:
            raise TargetFailed("queue", problem) from problem

    def _choose(self, avoid: Collection[Replica] = ()) -> Replica:
        try:
            return self._engine_registry.choose(self.model, avoid)
        except errors.EngineUnavailable as problem:
            raise TargetFailed("unavailable", problem) from problem

    async def _answer(
        self,
        call: GenerationRequest,
        reply: ResponseWriter,
        entry: RequestRecord,
        reason: str,
        beginning: PartialAnswer | None,
    ) -> None:
        tried: list[Replica] = []
        for _ in range(TRIES):
            replica = self._choose(tried)
            salt = self._salt.of(call)
            attempt = _Attempt(
                self.model, replica, self._engines, self._tracing, salt, call, reply, entry, reason, beginning
            )
            replica.outstanding += 1
            try:
                with attempt.span():
                    await attempt.run(self._ttft_timeout_s, self._stall_timeout_s)
                return
            except TargetFailed as failure:
                tried.append(replica)
                if attempt.told or failure.reason != "engine_error" or self._choose(tried) in tried:
                    raise
            except ConnectionLost as loss:
                replica.broken(f"it {'broke off an answer' if attempt.told else 'cannot be reached'} ({loss})")
                log.info("engine %s lost: %s", replica.report["replica_id"], loss)
                if not attempt.told and _may_have_caused(call, attempt):
                    raise errors.EngineFailed("The engine stopped while it worked on this request.") from loss
                if attempt.told:
                    message = "The engine stopped in the middle of this answer."
                    raise TargetFailed("engine_lost", errors.EngineFailed(message)) from loss
            finally:
                replica.outstanding -= 1
                attempt.note()
        message = "Every engine that was tried broke the connection."
        raise TargetFailed("engine_lost", errors.EngineFailed(message))


class _Attempt:
    """One request to one replica."""

    def __init__(
        self,
        model: str,
        replica: Replica,
        engines: EngineClient,
        tracing: Tracing,
        salt: str,
        call: GenerationRequest,
        reply: ResponseWriter,
        entry: RequestRecord,
        reason: str,
        beginning: PartialAnswer | None,
    ) -> None:
        self.told = False  # something of its answer has gone to the client
        self._model = model
        self._label = replica.label(model)
        self._replica = replica
        self._engines = engines
        self._tracing = tracing
        self._salt = salt
        self._call = call
        self._reply = reply
        self._entry = entry
        self._reason = reason
        self._beginning = beginning
        self._splice = beginning and StreamSplicer(beginning, call)
        self._meter = StreamMeter(COUNTED if beginning else call.stream_options)
        self._usage = Usage()
        entry.counting = lambda: self._meter.usage
        self._loop = asyncio.get_running_loop()
        self._began_s = self._loop.time()

    @property
    def age_s(self) -> float:
        """Seconds since it was asked."""
        return self._loop.time() - self._began_s

    def span(self) -> AbstractContextManager[Span]:
        """What traces see of it."""
        what = "chat" if self._call.path == CHAT else "text_completion"
        report = self._replica.report
        attributes = {
            "gen_ai.operation.name": what,
            "gen_ai.provider.name": "vllm",
            "gen_ai.request.model": self._model,
            "server.address": report["address"].removeprefix("http://"),
            "bondhu.replica": report["replica_id"],
        }
        return self._tracing.child(f"{what} {self._model}", attributes, outgoing=True)

    async def run(self, ttft_timeout_s: float | None, stall_timeout_s: float | None) -> None:
        """Ask, and pass the answer on. Raises ConnectionLost, TargetFailed."""
        body = for_engines(without_marks(await self._body()))
        if not self._call.streams:
            await self._post(body)
            return
        try:
            async with asyncio.timeout(ttft_timeout_s) as limit:
                await self._post(with_running_counts(body), limit, stall_timeout_s)
        except TimeoutError:
            told = "sent nothing more" if self.told else "did not begin"
            timeout_s = stall_timeout_s if self.told else ttft_timeout_s
            error = errors.EngineTimeout(f"The model {told} within {timeout_s:g} s.")
            if self.told:
                self._replica.broken(f"it {told} within {timeout_s:g} s")
            raise TargetFailed("stalled" if self.told else "ttft_timeout", error) from None

    def note(self) -> None:
        """Write down what it came to, if it came to anything."""
        segment = self._segment()
        self._entry.counting = None
        if self.told or segment.prompt_tokens + segment.to_token > segment.from_token:
            self._entry.add(segment, continues=self._beginning is not None)

    def _segment(self) -> Segment:
        report = self._replica.report
        return self._entry.segment(
            self._model,
            report["revision"],
            report["quantization"],
            usage=self._meter.usage if self._call.streams else self._usage,
            reason=self._reason,
            engine_s=self.age_s,
        )

    async def _body(self) -> Mapping[str, Any]:
        ours = {"model": self._model, "cache_salt": self._salt}  # a client's own is never taken
        if self._beginning is None:
            return {**self._call.parsed, **ours}
        tokens = await self._tokens(self._beginning.text) if has_penalties(self._call.parsed) else ()
        return {**rest_of(self._call, self._beginning, tokens), **ours}

    async def _tokens(self, text: str) -> list[int]:
        """The ids of a text's tokens, as the engine cuts it."""
        report = self._replica.report
        body = orjson.dumps({"model": self._model, "prompt": text, "add_special_tokens": False})
        upstream = await self._engines.post(report["address"], "/tokenize", report["key"], body)
        try:
            return list(orjson.loads(await upstream.body())["tokens"])
        finally:
            self._engines.release(upstream)

    async def _post(
        self, body: Mapping[str, Any], limit: asyncio.Timeout | None = None, stall_timeout_s: float | None = None
    ) -> None:
        report = self._replica.report
        payload, headers = orjson.dumps(body), self._tracing.upstream_headers()
        upstream = await self._engines.post(report["address"], self._call.path, report["key"], payload, headers)
        try:
            if upstream.status != 200:
                await self._pass_error(upstream.status, await upstream.body())
            elif limit is not None and upstream.content_type.startswith(b"text/event-stream"):
                await self._pass_stream(upstream, limit, stall_timeout_s)
                self._replica.proven(self._loop.time())
            else:
                try:
                    whole = await upstream.body()
                except TooLarge:
                    raise errors.AnswerTooLarge from None
                self._usage = usage_of_body(whole)
                self.told = True
                await self._reply.whole(200, whole, self._label)
                self._replica.proven(self._loop.time())
        finally:
            self._engines.release(upstream)

    async def _pass_stream(
        self, upstream: EngineResponse, limit: asyncio.Timeout, stall_timeout_s: float | None
    ) -> None:
        while block := await upstream.block():
            events = self._meter.feed(block)
            if ERROR_EVENT in events:  # vLLM checks some of a streamed request only after its 200
                events = await self._error_within(events)
                if self._reply.finished:
                    return
            if self._splice:
                events = self._spliced(self._splice, events)
            if events:
                self.told = True
                limit.reschedule(None)  # a client that reads slowly is no engine that stalls
                await self._reply.event(events, self._label)
            if self._meter.problem:
                raise ConnectionLost(self._meter.problem)
            if stall_timeout_s is not None and self.told:
                limit.reschedule(self._loop.time() + stall_timeout_s)
        if not self._meter.is_complete:
            raise ConnectionLost("a stream without an end")
        await self._reply.end()

    async def _error_within(self, events: bytes) -> bytes:
        """The events before an error; the error itself is told, or raised for another to answer."""
        before, _, told = events.partition(ERROR_EVENT)
        error = vllm_errors.translate_event(ERROR_EVENT[len(b"data: ") :] + told.partition(b"\n\n")[0], self._parts())
        if error.status >= 500:
            if before:
                self.told = True
                await self._reply.event(before, self._label)
            raise TargetFailed("engine_error", error)
        if not self._reply.started:
            await self._reply.whole(error.status, error.body(), self._label)
        else:
            await self._reply.event(before, self._label)
            await self._reply.broken(error)
        self.told = True
        return b""

    def _spliced(self, splice: StreamSplicer, events: bytes) -> bytes:
        chunks = [splice.chunk(chunk) for chunk in events_of([events])]
        told = [b"data: " + orjson.dumps(chunk) + b"\n\n" for chunk in chunks if chunk is not None]
        if DONE in events:
            told += [splice.provenance([*self._entry.segments, self._segment()]), DONE]
        return b"".join(told)

    async def _pass_error(self, status: int, body: bytes) -> None:
        if status >= 500 and b"EngineCore" in body:  # vLLM's server outlives its core for a moment, and says so
            raise ConnectionLost("its core died")
        error = vllm_errors.translate(status, body, self._parts())
        if error.status >= 500 or self._reply.started:
            raise TargetFailed("engine_error", error)
        await self._reply.whole(error.status, error.body(), self._label)

    def _parts(self) -> "set[str]":
        return set(self._call.parsed)


def _may_have_caused(call: GenerationRequest, attempt: _Attempt) -> bool:
    """Whether the loss of its engine may be the request's own doing: then no other engine is given it."""
    return attempt.age_s > ENDED_FOR_IT_S and any(call.parsed.get(name) for name in vllm_errors.CONSTRAINTS)
