"""A fallback chain as a `ChatModel`, in process, on the gateway's own generation: the model of an agent run.

Each call is a `serving.generation.pipeline.Generation` like a client's, with the same admission, fallback, consent,
cache and timeouts. The run's own request has reserved the limits, so a call reserves none, and its record is a part of
the run's in the ledger. A call over HTTP would need to identify its sender again and would be counted twice.

A call has the class of the run: a person waits for it as for a plain chat. This module does not know what agents ask.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import orjson

from models.chat import ChatFailure, ChatReply, ChatRequest, CutStream, Json, TextDelta
from models.openai_format import StreamedReply, body_of, failure_of, reply_of
from serving.errors import ApiError
from serving.limits.limiter import Reservation
from serving.limits.redis_store import Record
from serving.protocol.record import RequestRecord
from serving.protocol.request import CHAT, GenerationRequest
from serving.protocol.response import DEGRADED_HEADER, MODEL_HEADER, Collected, Headers, Source
from serving.protocol.sse import events_of
from serving.resilience.tasks import stopped


class TakenByTheRun:
    """The limits of calls within a run: none, because the run's request has reserved them."""

    async def reserve(
        self, app: str, user: str | None, tier: str, tokens: int, request_id: str, requests: int = 1
    ) -> Reservation:
        """Reserve nothing; never refuses."""
        return Reservation(Record(app, user or "", request_id, tokens, requests), began=0.0, is_closed=True)

    async def settle(self, reservation: Reservation, tokens_used: int) -> None:
        """Do nothing: the run settles what its parts used."""

    async def refund(self, reservation: Reservation) -> None:
        """Do nothing."""


class ChainModel:
    """The model of one run; see `models.chat.ChatModel`.

    Args:
        model: the model id.
        request: the run's request; calls have its application, user and permissions.
        new_record: makes the record of a call, such as a part of the run's (`RequestRecord.part`).
        generate: makes the response of a call, which has its own record.

    Attributes:
        label: `x-bondhu-model` of the last response; "": none yet.
        degraded: `x-bondhu-degraded` of the last response.

    """

    def __init__(
        self,
        model: str,
        *,
        request: GenerationRequest,
        new_record: Callable[[], RequestRecord],
        generate: Callable[[GenerationRequest, RequestRecord], Source],
    ) -> None:
        self.model = model
        self.label = ""
        self.degraded = ""
        self._request = request
        self._new_record = new_record
        self._generate = generate

    async def complete(self, request: ChatRequest) -> ChatReply:
        """The whole reply; raises ChatFailure."""
        reply = Collected()
        with _failures():
            await self._source(body_of(request, self.model)).run(reply)
            self._note(reply.headers)
            return reply_of(_whole(reply.status, reply.body), request, self.model)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[TextDelta | ChatReply, None]:
        """The reply's text as it arrives, and finally the whole reply; raises ChatFailure."""
        body = body_of(request, self.model) | {"stream": True, "stream_options": {"include_usage": True}}
        streamed, blocks = StreamedReply(request, self.model), _Blocks()
        answering = asyncio.create_task(_run(self._source(body), blocks))
        refusal: list[bytes] = []
        try:
            with _failures():
                while (block := await blocks.next()) is not None:
                    self._note(blocks.headers)
                    if blocks.status != 200:
                        refusal.append(block)
                        continue
                    for event in events_of([block]):
                        if text := streamed.feed(event):
                            yield TextDelta(text)
                await answering
                if blocks.status != 200:
                    _whole(blocks.status, b"".join(refusal))
                reply = streamed.whole()
            yield reply
        finally:
            if not answering.done():
                await stopped(answering)

    def _source(self, body: Json) -> Source:
        request = replace(self._request, path=CHAT, parsed=body, model=self.model)
        return self._generate(request, self._new_record())

    def _note(self, headers: Headers) -> None:
        by_name = dict(headers)
        self.label = by_name.get(MODEL_HEADER, b"").decode()
        self.degraded = by_name.get(DEGRADED_HEADER, b"").decode()


class _Blocks:
    """A sink: the blocks of one response, for whoever awaits them."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: Headers = []
        self._blocks: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def start(self, status: int, headers: Headers) -> None:
        """Note the status and the headers."""
        self.status, self.headers = status, headers

    async def write(self, events: bytes) -> None:
        """Take a block."""
        self._blocks.put_nowait(events)

    async def end(self, rest: bytes = b"") -> None:
        """Take the last block."""
        self._blocks.put_nowait(rest)

    def close(self) -> None:
        """Let `next` return None after the last block."""
        self._blocks.put_nowait(None)

    async def next(self) -> bytes | None:
        """The next block; None after the last one."""
        return await self._blocks.get()


async def _run(source: Source, blocks: _Blocks) -> None:
    try:
        await source.run(blocks)
    finally:
        blocks.close()


def _whole(status: int, body: bytes) -> Any:
    answer = orjson.loads(body)
    if status != 200:
        raise failure_of(status, answer.get("error"))
    return answer


@contextmanager
def _failures() -> Iterator[None]:
    """Convert API errors to the failures of `models.chat`."""
    try:
        yield
    except ApiError as problem:
        retry_after = None if problem.retry_after_s is None else str(problem.retry_after_s)
        raise failure_of(problem.status, {"code": problem.code, "param": problem.param}, retry_after) from problem
    except ChatFailure:
        raise
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as problem:
        raise CutStream(f"The response is malformed ({type(problem).__name__}).") from problem
