"""One generation, from admission to its row in the ledger: it executes a plan and sends the response to a sink.

It reserves the limits, looks in the response cache, otherwise runs the model's fallback chain
(`serving.generation.chain`), settles what was used, and always ends the ledger's record. When nobody needs the response
any more, everything stops at once. It does not know who answers, who receives the response, nor HTTP.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from serving import errors
from serving.cache.response_cache import Lookup
from serving.cache.stored_response import StoredResponse
from serving.chat_memory.session import ChatMemory
from serving.generation import fixed_text
from serving.generation.chain import Chain
from serving.generation.continuation import can_be_continued
from serving.generation.degraded import Degraded, is_for_a_person
from serving.generation.target import Target, TargetCall, TargetFailed, Withheld
from serving.limits.limiter import Reservation
from serving.protocol.record import NOTHING, RequestRecord, outcome_of
from serving.protocol.request import GenerationRequest
from serving.protocol.response import ResponseWriter, Sink
from serving.protocol.sse import DONE, split
from serving.protocol.usage import Usage
from serving.resilience.drain import Drain
from serving.resilience.tasks import CancelScope
from serving.safety.gate import Opening, SafetyGate
from serving.safety.reply_guard import ReplyStopped, usage_event

log = logging.getLogger(__name__)

FIXED_LABEL = "bondhu-safety"  # the model id of an answer in a danger


@dataclass(frozen=True, slots=True)
class SentEvents:
    """The events of a stream that a lost worker has sent, and their token usage."""

    events: list[bytes]
    counted: Usage


class Limits(Protocol):
    """The rate limits: see `serving.limits.limiter.Limiter`."""

    async def reserve(
        self, app: str, user: str | None, tier: str, tokens: int, request_id: str, requests: int = 1
    ) -> Reservation:
        """Reserve; raises ApiError."""

    async def settle(self, reservation: Reservation, tokens_used: int) -> None:
        """Charge the tokens used."""

    async def refund(self, reservation: Reservation) -> None:
        """Refund the reservation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a generation uses.

    Attributes:
        request: the request.
        chain: the targets to try in order.
        limiter: the rate limits.
        lookup: makes the request's lookup in the response cache.
        memory: the person's memory; None: off.
        degraded: sends the fixed answer when no model may answer.
        safety: reads request and response for danger; None: that is done for the whole of which this is a part.
        tier: the key's tier.
        tokens: estimate of the maximum tokens that it can use.
        timeout_s: timeout of the whole request.
        drain: ends it when the worker stops.
        is_repeatable: whether another worker can continue it; a run of an agent has side effects.

    """

    request: GenerationRequest
    chain: Sequence[Target]
    limiter: Limits
    lookup: Callable[[GenerationRequest], Lookup]
    memory: ChatMemory | None
    degraded: Degraded
    tier: str
    tokens: int
    timeout_s: float
    drain: Drain
    safety: SafetyGate | None = None
    is_repeatable: bool = True


class Generation:
    """Generates the response to a request; a `serving.protocol.response.Source`.

    Args:
        plan: the plan.
        record: the request's record in the ledger.
        hands_over: whether another worker may continue the stream if this one stops; then the stream just stops, and
            the record says so.
        sent: its beginning, sent by another worker; None: there is none.

    """

    def __init__(
        self, plan: Plan, record: RequestRecord, *, hands_over: bool = False, sent: SentEvents | None = None
    ) -> None:
        self._plan = plan
        self._request = plan.request  # with what safety and memory add
        self._record = record
        self._lookup = plan.lookup(plan.request)
        self._hands_over = hands_over and plan.is_repeatable
        self._sent = sent
        self._earlier = sent.counted if sent else NOTHING
        self._chain = Chain(plan.chain, self._earlier)
        self._opening: Opening | None = None
        self._scope = CancelScope()
        self._response: ResponseWriter | None = None
        self._handed_over = False
        self._is_charged = False  # the reserved tokens are charged although it failed
        self._is_altered = False  # the response differs from the model's output

    @property
    def counted(self) -> Usage:
        """The tokens so far, including those of an earlier worker."""
        return self._record.so_far(self._earlier)

    def abandon(self) -> None:
        """Stop: nobody needs the response any more; a complete one is still settled and stored."""
        if self._response is None or not self._response.finished:
            self._scope.cancel()

    async def run(self, sink: Sink) -> None:
        """Send the response to `sink`; returns early if it is abandoned.

        Raises, before anything was sent:
            ApiError: a limit refuses it, no target answered, or it timed out.
        """
        plan, request = self._plan, self._request
        with self._record as record:
            try:
                reservation = await plan.limiter.reserve(
                    request.app, request.user, plan.tier, plan.tokens, record.id, request.sequences
                )
            except errors.ApiError as problem:
                if await plan.degraded.answer_crisis(
                    request, ResponseWriter(sink, record, [], keeps=False), record, problem
                ):
                    return
                raise
            headers = [(name.encode(), value.encode()) for name, value in reservation.headers.items()]
            response = self._response = ResponseWriter(sink, record, headers, keeps=self._keeps())
            if self._sent:
                response.resume(self._sent.events)
            try:
                await self._until_abandoned(response)
            except errors.ApiError as problem:
                if not await plan.degraded.answer_crisis(self._request, response, record, problem):
                    record.status = problem.status
                    self._is_charged = isinstance(problem, errors.AnswerTooLarge)
                    record.end(outcome_of(problem.status), error_code=problem.code)
                    raise
            finally:
                await self._settle(reservation, response)
        await self._keep(response)
        if plan.memory is not None and not self._handed_over:
            await plan.memory.remember(response)
        if plan.safety is not None and self._opening is not None and response.started:
            await plan.safety.settle(self._opening)

    def _keeps(self) -> bool:
        """Whether what is sent must be remembered."""
        return self._lookup.keeps or self._plan.memory is not None or can_be_continued(self._request)

    async def _until_abandoned(self, response: ResponseWriter) -> None:
        with self._scope:
            try:
                async with asyncio.timeout(self._plan.timeout_s) as limit:
                    with self._plan.drain.ends(limit):
                        await self._answer(response)
            except TimeoutError:
                await self._run_out(response)
        if self._scope.was_cut:
            self._record.end("aborted")

    async def _answer(self, response: ResponseWriter) -> None:
        """Answer with the fixed text of a danger, from the cache or from a target."""
        if self._plan.safety is not None:
            opening = self._opening = await self._plan.safety.open(self._request)
            self._request = opening.request
            for name, value in opening.headers:
                response.add_header(name, value)
            if opening.fixed is not None and not self._sent:
                await self._send_fixed(opening.fixed, response)
                return
            response.guard = opening.guard
            try:
                await self._answer_after_safety(response)
            except ReplyStopped as stop:
                await self._stop(stop, response)
            return
        await self._answer_after_safety(response)

    async def _answer_after_safety(self, response: ResponseWriter) -> None:
        parsed = self._request.parsed
        if self._plan.memory is not None:
            self._request = await self._plan.memory.augment(response)
        if self._opening is not None:
            self._request = self._opening.applied(self._request)
        if self._request.parsed is not parsed:
            self._lookup = self._plan.lookup(self._request)
        cached = None if self._sent else await self._lookup.find()
        self._record.cache = self._lookup.use
        if cached is None:
            await self._run_chain(response)
            return
        if cached.streams:
            await response.events(split(cached.body), cached.label, is_last=True)
        else:
            await response.whole(200, cached.body, cached.label)
        self._record.end("ok")

    async def _send_fixed(self, text: str, response: ResponseWriter) -> None:
        """Respond with a fixed text; the person's message is stored as usual, in the background."""
        if self._plan.memory is not None:
            self._plan.memory.begin()
        chunks = fixed_text.chunks_of(
            self._request, text, label=FIXED_LABEL, id_=self._record.id[-24:], created=int(time.time())
        )
        self._record.is_free = True
        await fixed_text.send(self._request, response, chunks, FIXED_LABEL)
        self._record.end("degraded")  # as for any fixed text: the ledger must not show that anybody is in danger

    async def _stop(self, stop: ReplyStopped, response: ResponseWriter) -> None:
        """The reply became unsafe: end the stream with a fixed sentence."""
        log.warning("the response to %s was stopped: %s", self._record.id, stop)
        self._is_altered = True
        closing = stop.closing
        if self._request.stream_options.get("include_usage"):
            closing += usage_event(stop.closing, self.counted)
        await response.stopped(closing + DONE, stop.closing)
        self._record.end("degraded")

    async def _run_chain(self, response: ResponseWriter) -> None:
        """Run the fallback chain."""
        reason = "worker_lost" if self._sent else "asked"
        try:
            await self._chain.answer(TargetCall(self._request, response, self._record, reason))
        except TargetFailed as failure:
            withheld: Collection[str] = failure.classes if isinstance(failure, Withheld) else ()
            if withheld and not response.started and is_for_a_person(self._request):
                await self._plan.degraded.answer(self._request, response, self._record, withheld)
            else:
                await self._give_up(response, failure.error)
            return
        self._record.end("degraded" if response.degraded else outcome_of(self._record.status or 200))

    async def _run_out(self, response: ResponseWriter) -> None:
        """Handle the timeout of the request, or the end of the worker."""
        if not self._plan.drain.is_over:
            message = f"The response was not complete within {self._plan.timeout_s:g} s."
            await self._give_up(response, errors.EngineTimeout(message))
        elif self._hands_over and response.started:
            self._handed_over = True
            self._record.end("degraded", error_code="handed_over")
        else:
            await self._give_up(response, errors.ShuttingDown())

    async def _give_up(self, response: ResponseWriter, error: errors.ApiError) -> None:
        """Report a failure as an error response, or as the last event of a stream that has started."""
        if not response.started:
            raise error
        if await self._plan.degraded.answer_crisis(self._request, response, self._record, error):
            return
        await response.broken(error)
        self._record.end(outcome_of(error.status), error_code=error.code)

    async def _keep(self, response: ResponseWriter) -> None:
        """Store a complete response of the requested model in the cache, after the client has received it."""
        if self._is_altered:
            return
        segments = self._record.segments
        if self._record.status == 200 and response.is_kept and [segment.reason for segment in segments] == ["asked"]:
            await self._lookup.keep(StoredResponse(self._request.streams, b"".join(response.sent), response.label))

    async def _settle(self, reservation: Reservation, response: ResponseWriter) -> None:
        record = self._record
        used = record.prompt_tokens + record.completion_tokens
        is_free = (
            record.is_free
            or record.cache == "hit"
            or record.status != 200
            or (response.degraded and not record.segments)
        )
        if used or (response.started and is_free):
            await self._plan.limiter.settle(reservation, used)
        elif response.started or record.status is None or self._is_charged:
            # The client left before the engine reported usage, which it never does for a request without a stream.
            await self._plan.limiter.settle(reservation, reservation.record.tokens)
        else:
            await self._plan.limiter.refund(reservation)
