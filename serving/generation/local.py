"""A model on the service's own engines: bytes are forwarded as they arrive.

It chooses a replica, sends the request and forwards the response. When the client disconnects, the upstream connection
is closed, which makes vLLM abort the generation. If a replica fails before its first byte, another one is tried
(nothing has reached the client, and a generation has no side effects); after that, the fallback chain decides.
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
from serving.engines.wire import engine_model
from serving.generation.continuation import StreamSplicer, has_penalties, rest_of
from serving.generation.target import TargetCall, TargetFailed
from serving.observability.tracing import Span, Tracing
from serving.privacy.markers import without_marks
from serving.protocol.check import for_engines
from serving.protocol.request import CHAT, GenerationRequest
from serving.protocol.sse import CONTENT_TYPE, DATA, Event
from serving.protocol.stream_usage import StreamMeter, is_aborted, usage_of_body, with_running_counts
from serving.protocol.tool_calls import ToolCallRepair, tools_for_engines
from serving.protocol.usage import Segment, Usage
from serving.resilience.deadline import Stall

log = logging.getLogger(__name__)

TRIES = 3
WAKE_TIMEOUT_S = 60.0  # maximum wait for an engine that sleeps, where the model file has no ttft_timeout_s
ENDED_FOR_IT_S = 10.0  # a request with constraints that ran longer than this may have caused the loss of its engine
COUNTED = {"include_usage": True}


class LocalTarget:
    """One model of the catalogue, or an adapter on one.

    Args:
        model: its id.
        gate: admits requests to its engines; an adapter shares its base model's gate.
        engine_registry: chooses the replica.
        engines: the HTTP client.
        tracing: makes a span for each attempt.
        salt: computes the `cache_salt` of a request.
        ttft_timeout_s: timeout of a stream's first event; None: only the request's own timeout.
        stall_timeout_s: timeout between two events of a stream; None: likewise.

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

    async def answer(self, call: TargetCall) -> None:
        """See `serving.generation.target.Target`."""
        request = call.request
        await self._engine_registry.awake(self.model, self._ttft_timeout_s or WAKE_TIMEOUT_S)
        self._choose()  # fail before queueing if there is no engine
        try:
            async with self._gate.enter(request.class_, request.app, request.user, sequences=request.sequences):
                await self._answer(call)
        except errors.CallerQueueFull:
            raise  # caused by the client itself: no fallback
        except (errors.QueueFull, errors.QueueTimeout) as problem:
            raise TargetFailed("queue", problem) from problem

    def _choose(self, avoid: Collection[Replica] = ()) -> Replica:
        try:
            return self._engine_registry.choose(self.model, avoid)
        except errors.EngineUnavailable as problem:
            raise TargetFailed("unavailable", problem) from problem

    async def _answer(self, call: TargetCall) -> None:
        tried: list[Replica] = []
        for _ in range(TRIES):
            replica = self._choose(tried)
            salt = self._salt.of(call.request)
            attempt = _Attempt(self.model, replica, self._engines, self._tracing, salt, call)
            replica.outstanding += 1
            failed: bool | None = None  # neither, if the client leaves
            try:
                with attempt.span():
                    await attempt.run(self._ttft_timeout_s, self._stall_timeout_s)
                failed = False
                return
            except TargetFailed as failure:
                failed = True
                tried.append(replica)
                if attempt.forwarded or failure.reason != "engine_error" or self._choose(tried) in tried:
                    raise
            except ConnectionLost as loss:
                failed = True
                replica.broken(f"it {'broke off a response' if attempt.forwarded else 'cannot be reached'} ({loss})")
                log.info("engine %s lost: %s", replica.report["replica_id"], loss)
                if not attempt.forwarded and _may_have_caused(call.request, attempt):
                    raise errors.EngineFailed("The engine stopped while it processed this request.") from loss
                if attempt.forwarded:
                    message = "The engine stopped in the middle of this response."
                    raise TargetFailed("engine_lost", errors.EngineFailed(message)) from loss
            finally:
                replica.outstanding -= 1
                attempt.note()
                if failed is not None:
                    fingerprint = replica.report["fingerprint"]
                    self._engine_registry.traffic.count(fingerprint, failed=failed, ttft_s=attempt.ttft_s)
        message = "All engines that were tried failed."
        raise TargetFailed("engine_lost", errors.EngineFailed(message))


class _Attempt:
    """One attempt to get a response from one replica."""

    def __init__(
        self,
        model: str,
        replica: Replica,
        engines: EngineClient,
        tracing: Tracing,
        salt: str,
        call: TargetCall,
    ) -> None:
        self.forwarded = False  # a part of its response was sent to the client
        self.ttft_s: float | None = None  # of a stream
        self._model = model
        self._label = replica.label(model)
        self._replica = replica
        self._engines = engines
        self._tracing = tracing
        self._salt = salt
        self._request, self._response, self._record = call.request, call.response, call.record
        self._reason, self._beginning = call.reason, call.beginning
        self._splice = call.beginning and StreamSplicer(call.beginning, call.request)
        self._repair = ToolCallRepair() if call.request.parsed.get("tools") else None
        self._meter = StreamMeter(COUNTED if call.beginning else call.request.stream_options)
        self._usage = Usage()
        call.record.counting = lambda: self._meter.usage
        self._loop = asyncio.get_running_loop()
        self._began_s = self._loop.time()

    @property
    def age_s(self) -> float:
        """Seconds since the attempt began."""
        return self._loop.time() - self._began_s

    def span(self) -> AbstractContextManager[Span]:
        """The trace span of the attempt."""
        what = "chat" if self._request.path == CHAT else "text_completion"
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
        """Send the request and forward the response; raises ConnectionLost, TargetFailed."""
        body = tools_for_engines(for_engines(without_marks(await self._body())))
        if not self._request.streams:
            await self._post(body)
            return
        try:
            async with asyncio.timeout(ttft_timeout_s) as limit:
                await self._post(with_running_counts(body), limit, stall_timeout_s)
        except TimeoutError:
            symptom = "sent no more tokens" if self.forwarded else "sent no token"
            timeout_s = stall_timeout_s if self.forwarded else ttft_timeout_s
            error = errors.EngineTimeout(f"The model {symptom} within {timeout_s:g} s.")
            if self.forwarded:
                self._replica.broken(f"it {symptom} within {timeout_s:g} s")
            raise TargetFailed("stalled" if self.forwarded else "ttft_timeout", error) from None

    def note(self) -> None:
        """Add the segment to the record, if there was any output or usage."""
        segment = self._segment()
        self._record.counting = None
        if self.forwarded or segment.prompt_tokens + segment.to_token > segment.from_token:
            self._record.add(segment, continues=self._beginning is not None)

    def _segment(self) -> Segment:
        report = self._replica.report
        adapter = report.get("adapters", {}).get(self._model)
        return self._record.segment(
            self._model,
            report["revision"],
            report["quantization"],
            base=None if adapter is None else report["model"],
            adapter=adapter,
            usage=self._meter.usage if self._request.streams else self._usage,
            reason=self._reason,
            engine_s=self.age_s,
        )

    async def _body(self) -> Mapping[str, Any]:
        model = engine_model(self._replica.report, self._model)
        ours = {"model": model, "cache_salt": self._salt}  # overrides the client's own
        if self._beginning is None:
            return {**self._request.parsed, **ours}
        tokens = await self._tokens(self._beginning.text) if has_penalties(self._request.parsed) else ()
        return {**rest_of(self._request, self._beginning, tokens), **ours}

    async def _tokens(self, text: str) -> list[int]:
        """The token ids of a text, from the engine's tokenizer."""
        report = self._replica.report
        model = engine_model(report, self._model)
        body = orjson.dumps({"model": model, "prompt": text, "add_special_tokens": False})
        upstream = await self._engines.post(report["address"], "/tokenize", report["key"], body)
        try:
            return list(orjson.loads(await upstream.body())["tokens"])
        finally:
            self._engines.release(upstream)

    async def _post(
        self, body: Mapping[str, Any], limit: asyncio.Timeout | None = None, stall_timeout_s: float | None = None
    ) -> None:
        report = self._replica.report
        payload = orjson.dumps(body)
        headers = {"x-request-id": self._request.request_id, **self._tracing.upstream_headers()}
        upstream = await self._engines.post(report["address"], self._request.path, report["key"], payload, headers)
        try:
            if upstream.status != 200:
                await self._pass_error(upstream.status, await upstream.body())
            elif limit is not None and upstream.content_type.startswith(CONTENT_TYPE):
                await self._pass_stream(upstream, limit, stall_timeout_s)
                self._replica.proven(self._loop.time())
            else:
                try:
                    whole = await upstream.body()
                except TooLarge:
                    raise errors.AnswerTooLarge from None
                if is_aborted(whole):
                    raise ConnectionLost("it is being stopped, and aborted the request")
                self._usage = usage_of_body(whole)
                self.forwarded = True
                whole = whole if self._repair is None else self._repair.on_body(whole)
                await self._response.whole(200, whole, self._label)
                self._replica.proven(self._loop.time())
        finally:
            self._engines.release(upstream)

    async def _pass_stream(
        self, upstream: EngineResponse, limit: asyncio.Timeout, stall_timeout_s: float | None
    ) -> None:
        with Stall(limit, stall_timeout_s) as stall:
            while block := await upstream.block():
                await self._pass_block(block, limit, stall)
                if self._response.finished:
                    break
        if not self._response.finished:
            raise ConnectionLost("the stream ended early")
        await upstream.until_complete()

    async def _pass_block(self, block: bytes, limit: asyncio.Timeout, stall: Stall) -> None:
        events = self._meter.feed(block)
        if self._meter.has_error:  # vLLM validates a part of a streaming request only after its 200
            await self._pass_error_event(events)
            return
        if self._splice:
            events = self._spliced(self._splice, events)
        if self._repair is not None:
            self._repair.on_events(events)
        if events:
            if not self.forwarded:
                self.forwarded = True
                self.ttft_s = self.age_s
                limit.reschedule(None)
            stall.rests()  # a slow client must not count as a stalled engine
            await self._response.events(events, self._label, is_last=self._meter.is_complete)
        if self._meter.problem:
            raise ConnectionLost(self._meter.problem)
        if self.forwarded:
            stall.moves()

    async def _pass_error_event(self, events: list[Event]) -> None:
        """Forward the events before an error and then the error; raise TargetFailed if another target may answer."""
        at = next(at for at, event in enumerate(events) if "error" in (event.chunk or ()))
        body = events[at].data.removeprefix(DATA)
        error = vllm_errors.translate_event(body, self._parts())
        if error.status >= 500:
            if at:
                self.forwarded = True
                await self._response.events(events[:at], self._label)
            if vllm_errors.is_ending(error.status, body):
                raise ConnectionLost("its server is ending")
            raise TargetFailed("engine_error", error)
        if not self._response.started:
            await self._response.whole(error.status, error.body(), self._label)
        else:
            await self._response.events(events[:at], self._label)
            await self._response.broken(error)
        self.forwarded = True

    def _spliced(self, splice: StreamSplicer, events: list[Event]) -> list[Event]:
        spliced = []
        for event in events:
            if event.chunk is None:
                spliced += [splice.provenance([*self._record.segments, self._segment()]), event]
            elif (chunk := splice.chunk(event.chunk)) is not None:
                spliced.append(Event.of(chunk))
        return spliced

    async def _pass_error(self, status: int, body: bytes) -> None:
        if vllm_errors.is_ending(status, body):
            raise ConnectionLost("its server is ending")
        error = vllm_errors.translate(status, body, self._parts())
        if error.status >= 500 or self._response.started:
            raise TargetFailed("engine_error", error)
        await self._response.whole(error.status, error.body(), self._label)

    def _parts(self) -> "set[str]":
        return set(self._request.parsed)


def _may_have_caused(request: GenerationRequest, attempt: _Attempt) -> bool:
    """Whether the request may have caused the loss of its engine, so that it must not be retried on another."""
    return attempt.age_s > ENDED_FOR_IT_S and any(request.parsed.get(name) for name in vllm_errors.CONSTRAINTS)
