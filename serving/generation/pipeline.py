"""One generation, from its admission to its row in the ledger: the response object of the generating routes.

It takes what the limits allow, looks for a kept answer, else asks the model's chain of targets one after another until
one answers, settles what was used, and ends the ledger's entry, whatever happens in between. When the client leaves,
everything stops at once. It does not know how a target answers, nor HTTP beyond ASGI.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from serving import errors
from serving.cache.response_cache import Lookup
from serving.cache.stored_response import StoredResponse
from serving.chat_memory.session import ChatMemory
from serving.generation.continuation import PartialAnswer, can_be_continued, is_spent, read_back
from serving.generation.degraded import Degraded, is_for_a_person
from serving.generation.target import Target, TargetFailed, Withheld
from serving.limits.limiter import Reservation
from serving.protocol.record import RequestRecord, outcome_of
from serving.protocol.request import GenerationRequest
from serving.protocol.response import ResponseWriter
from serving.protocol.sse import DONE
from serving.protocol.usage import Usage
from serving.resilience.drain import Drain

log = logging.getLogger(__name__)

MAX_SWITCHES = 4  # within one stream; a model that breaks again and again is not gone on with for ever


@dataclass(frozen=True, slots=True)
class Sent:
    """What a client has of a stream from a gateway worker that is gone, and the tokens that it took."""

    events: list[bytes]
    counted: Usage


class Limits(Protocol):
    """What may be used: see `serving.limits.limiter.Limiter`."""

    async def reserve(
        self, app: str, user: str | None, tier: str, tokens: int, request_id: str, requests: int = 1
    ) -> Reservation:
        """Take it; raises ApiError."""

    async def settle(self, reservation: Reservation, tokens_used: int) -> None:
        """Charge what was used."""

    async def refund(self, reservation: Reservation) -> None:
        """Give it back."""


class Generation(Response):
    """Answers `call`.

    Args:
        call: the request.
        chain: who may answer it, in order.
        entry: its entry in the ledger, begun.
        limiter: what the key may use.
        lookup: makes a request's lookup in the cache of answers.
        recollection: the past of whom it is for; None: the request is all that the model is told.
        degraded: answers what nobody may be asked.
        tier: of the key.
        tokens: the most that it can use, as far as can be told before.
        timeout_s: for the whole request.
        drain: ends it when the worker stops.
        hands_over: whether another worker can go on with a stream that the end of this one breaks off; then it just
            stops, and the entry says so.
        sent: its beginning, by another worker; None: there is none.

    Raises (when called, before anything was sent):
        ApiError: a limit refuses it, nobody answered, or not in time.

    """

    def __init__(
        self,
        *,
        call: GenerationRequest,
        chain: Sequence[Target],
        entry: RequestRecord,
        limiter: Limits,
        lookup: Callable[[GenerationRequest], Lookup],
        recollection: ChatMemory | None,
        degraded: Degraded,
        tier: str,
        tokens: int,
        timeout_s: float,
        drain: Drain,
        hands_over: bool = False,
        sent: Sent | None = None,
    ) -> None:
        super().__init__()
        self._call = call
        self._chain = chain
        self._entry = entry
        self._limiter = limiter
        self._lookup_of = lookup
        self._lookup = lookup(call)
        self._recollection = recollection
        self._handed_over = False
        self._is_charged = False  # though it failed
        self._degraded = degraded
        self._withheld: frozenset[str] = frozenset()  # what is private in it, if that kept it from being answered
        self._tier = tier
        self._tokens = tokens
        self._timeout_s = timeout_s
        self._drain = drain
        self._hands_over = hands_over
        self._sent = sent
        self._earlier = sent.counted if sent else Usage()

    @property
    def counted(self) -> Usage:
        """The answer's tokens so far, an earlier worker's included."""
        earlier, own = self._earlier, self._entry.so_far()
        return Usage(
            earlier.prompt_tokens or own.prompt_tokens,
            earlier.cached_tokens or own.cached_tokens,
            earlier.completion_tokens + own.completion_tokens,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer; returns early when the client leaves."""
        call = self._call
        with self._entry as entry:
            try:
                reservation = await self._limiter.reserve(
                    call.app, call.user, self._tier, self._tokens, entry.id, call.sequences
                )
            except errors.ApiError as problem:
                if await self._degraded.comfort(call, ResponseWriter(send, entry, [], keeps=False), entry, problem):
                    return
                raise
            headers = [(name.encode(), value.encode()) for name, value in reservation.headers.items()]
            reply = ResponseWriter(send, entry, headers, keeps=self._keeps())
            if self._sent:
                reply.resume(self._sent.events)
            try:
                await self._until_departure(receive, reply)
            except errors.ApiError as problem:
                if not await self._degraded.comfort(self._call, reply, entry, problem):
                    entry.status = problem.status
                    self._is_charged = isinstance(problem, errors.AnswerTooLarge)
                    entry.end(outcome_of(problem.status), error_code=problem.code)
                    raise
            finally:
                await self._settle(reservation, reply)
        await self._keep(reply)
        if self._recollection is not None and not self._handed_over:
            await self._recollection.keep(reply)

    def _keeps(self) -> bool:
        """Whether what is sent is needed afterwards."""
        return self._lookup.keeps or self._recollection is not None or can_be_continued(self._call)

    async def _until_departure(self, receive: Receive, reply: ResponseWriter) -> None:
        answering = asyncio.current_task()
        assert answering is not None, "a server runs every request in a task"
        departure = asyncio.create_task(_on_departure(receive, reply, answering))
        try:
            async with asyncio.timeout(self._timeout_s) as limit:
                with self._drain.ends(limit):
                    await self._answer(reply)
        except TimeoutError:
            await self._run_out(reply)
        except asyncio.CancelledError:
            if not departure.done():
                raise  # the server is shutting down
            answering.uncancel()
            self._entry.end("aborted")
        finally:
            departure.cancel()

    async def _answer(self, reply: ResponseWriter) -> None:
        """Answer from the cache, or by asking."""
        if self._recollection is not None:
            self._call = await self._recollection.inform(reply)
            self._lookup = self._lookup_of(self._call)
        kept = None if self._sent else await self._lookup.find()
        self._entry.cache = self._lookup.use
        if kept is None:
            await self._ask(reply)
            return
        if kept.streams:
            await reply.event(kept.body, kept.label)
            await reply.end()
        else:
            await reply.whole(200, kept.body, kept.label)
        self._entry.end("ok")

    async def _ask(self, reply: ResponseWriter) -> None:
        """Ask one target after another; after the first token, again from the first, to go on where it stopped."""
        why = "worker_lost" if self._sent else "asked"
        told: errors.ApiError | None = None  # what is wrong with the model that was asked for, not with its stand-ins
        beginning: PartialAnswer | None = None
        for _ in range(MAX_SWITCHES):
            if reply.started:
                beginning = self._beginning(reply)
                if beginning is None:
                    break
                if beginning.finished or is_spent(self._call, beginning):
                    await reply.event(DONE, "")
                    await reply.end()
                    self._entry.end("ok")
                    return
            reason, why = why, ""
            for target in self._chain:
                try:
                    await target.answer(self._call, reply, self._entry, reason=reason, beginning=beginning)
                    self._entry.end("degraded" if reply.degraded else outcome_of(self._entry.status or 200))
                    return
                except TargetFailed as failure:
                    log.info("%s did not answer %s: %s", target.model, self._entry.id, failure)
                    why, told = why or failure.reason, told or failure.error
                    if isinstance(failure, Withheld):
                        self._withheld |= failure.classes
                    if not reply.started:
                        reason = why
                    if reply.started and self._has_gone_on(beginning):
                        break
            else:
                break  # nobody is left to ask
        if self._withheld and not reply.started and is_for_a_person(self._call):
            await self._degraded.answer(self._call, reply, self._entry, self._withheld)
        else:
            await self._give_up(reply, told or errors.EngineFailed("No model is configured to answer this."))

    def _has_gone_on(self, beginning: PartialAnswer | None) -> bool:
        """Whether the client has more of the answer than when the target was asked."""
        return beginning is None or self.counted.completion_tokens > beginning.completion_tokens

    def _beginning(self, reply: ResponseWriter) -> PartialAnswer | None:
        if not reply.is_kept or not can_be_continued(self._call):
            return None
        counted = self.counted
        return read_back(reply.sent, completion_tokens=counted.completion_tokens, prompt_tokens=counted.prompt_tokens)

    async def _run_out(self, reply: ResponseWriter) -> None:
        """The time is over: the request's, or the worker's."""
        if not self._drain.is_over:
            await self._give_up(reply, errors.EngineTimeout(f"No complete answer within {self._timeout_s:g} s."))
        elif self._hands_over and reply.started:
            self._handed_over = True
            self._entry.end("degraded", error_code="handed_over")
        else:
            await self._give_up(reply, errors.ShuttingDown())

    async def _give_up(self, reply: ResponseWriter, error: errors.ApiError) -> None:
        """Tell of a failure as the state of the answer allows: an error response, or the stream's last event."""
        if not reply.started:
            raise error
        if await self._degraded.comfort(self._call, reply, self._entry, error):
            return
        await reply.broken(error)
        self._entry.end(outcome_of(error.status), error_code=error.code)

    async def _keep(self, reply: ResponseWriter) -> None:
        """Have the cache keep a complete answer of the model that was asked for; the client has it already."""
        segments = self._entry.segments
        if self._entry.status == 200 and reply.is_kept and [segment.reason for segment in segments] == ["asked"]:
            await self._lookup.keep(StoredResponse(self._call.streams, b"".join(reply.sent), reply.label))

    async def _settle(self, reservation: Reservation, reply: ResponseWriter) -> None:
        entry = self._entry
        used = entry.prompt_tokens + entry.completion_tokens
        is_free = (
            entry.is_free or entry.cache == "hit" or entry.status != 200 or (reply.degraded and not entry.segments)
        )
        if used or (reply.started and is_free):
            await self._limiter.settle(reservation, used)
        elif reply.started or entry.status is None or self._is_charged:
            # Left before the engine told anything of it, which of a request without a stream it never does.
            await self._limiter.settle(reservation, reservation.record.tokens)
        else:
            await self._limiter.refund(reservation)


async def _on_departure(receive: Receive, reply: ResponseWriter, answering: "asyncio.Task[None]") -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    if not reply.finished:
        answering.cancel()
