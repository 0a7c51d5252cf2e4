"""A fallback chain as a `ChatModel`, in process, on the gateway's own generation: the model of an agent run.

Each call is a `serving.generation.pipeline.Generation` like a client's, with the same admission, fallback, consent,
cache and timeouts. The run's own request has reserved the limits, so a call reserves none, and its record is a part of
the run's in the ledger. A call over HTTP would need to identify its sender again and would be counted twice.

A call has the class of the run: a person waits for it as for a plain chat. This module does not know what agents ask.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Protocol

import orjson
from starlette.types import Message, Receive, Scope, Send

from models.chat import ChatFailure, ChatReply, ChatRequest, CutStream, Json, TextDelta
from models.openai_format import StreamedReply, body_of, failure_of, reply_of
from serving.errors import ApiError
from serving.limits.limiter import Reservation
from serving.limits.redis_store import Record
from serving.protocol.record import RequestRecord
from serving.protocol.request import CHAT, GenerationRequest
from serving.protocol.response import DEGRADED_HEADER, MODEL_HEADER
from serving.protocol.sse import events_of
from serving.resilience.tasks import stopped


class Answers(Protocol):
    """An ASGI response that may raise ApiError before it starts."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response."""


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
        record: the run's record in the ledger.
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
        record: RequestRecord,
        generate: Callable[[GenerationRequest, RequestRecord], Answers],
    ) -> None:
        self.model = model
        self.label = ""
        self.degraded = ""
        self._request = request
        self._record = record
        self._generate = generate

    async def complete(self, request: ChatRequest) -> ChatReply:
        """The whole reply; raises ChatFailure."""
        blocks: list[bytes] = []
        status = 0

        async def send(message: Message) -> None:
            nonlocal status
            status = self._begun(message) or status
            blocks.append(message.get("body", b""))

        with _failures():
            await self._generation(body_of(request, self.model))({}, _never, send)
            return reply_of(_whole(status, blocks), request, self.model)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[TextDelta | ChatReply, None]:
        """The reply's text as it arrives, and finally the whole reply; raises ChatFailure."""
        body = body_of(request, self.model) | {"stream": True, "stream_options": {"include_usage": True}}
        streamed = StreamedReply(request, self.model)
        messages: asyncio.Queue[Message | None] = asyncio.Queue()
        answering = asyncio.create_task(_run(self._generation(body), messages))
        refusal: list[bytes] = []
        status = 0
        try:
            with _failures():
                while (message := await messages.get()) is not None:
                    status = self._begun(message) or status
                    if status != 200:
                        refusal.append(message.get("body", b""))
                        continue
                    for event in events_of([message.get("body", b"")]):
                        if text := streamed.feed(event):
                            yield TextDelta(text)
                await answering
                if status != 200:
                    _whole(status, refusal)
                reply = streamed.whole()
            yield reply
        finally:
            if not answering.done():
                await stopped(answering)

    def _generation(self, body: Json) -> Answers:
        request = replace(self._request, path=CHAT, parsed=body, model=self.model)
        return self._generate(request, self._record.part())

    def _begun(self, message: Message) -> int | None:
        """The status if this message starts the response, else None; notes the label and degradation headers."""
        if message["type"] != "http.response.start":
            return None
        headers = dict(message["headers"])
        self.label = headers.get(MODEL_HEADER, b"").decode()
        self.degraded = headers.get(DEGRADED_HEADER, b"").decode()
        return int(message["status"])


async def _run(generation: Answers, messages: "asyncio.Queue[Message | None]") -> None:
    try:
        await generation({}, _never, messages.put)
    finally:
        messages.put_nowait(None)


async def _never() -> Message:
    """A call's client never disconnects: the run cancels the call instead."""
    await asyncio.Event().wait()
    raise AssertionError("the event is never set")


def _whole(status: int, blocks: list[bytes]) -> Any:
    answer = orjson.loads(b"".join(blocks))
    if status != 200:
        raise failure_of(status, answer.get("error"))
    return answer


@contextmanager
def _failures() -> Any:
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
