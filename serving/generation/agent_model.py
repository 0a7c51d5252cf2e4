"""The model that an agent asks: a `ChatModel` over the gateway's own generation, in process.

Each question is a `serving.generation.pipeline.Generation` like a client's: the same admission, fallback, consent,
cache and watch over its time. What differs is whose it is: limits were taken once, by the run's own request, so a
question takes none, and its entry is a part of the run's in the ledger. A call over HTTP would have had to say who asks
a second time, and would have had to be kept from being counted twice; here neither can go wrong.

A question has the class of the run: a person waits for it as for a plain chat. It does not know what agents ask.
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
    """An ASGI response that may raise ApiError before it begins."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""


class TakenByTheRun:
    """The limits of a question within a run: the run's request has taken them, so it takes none."""

    async def reserve(
        self, app: str, user: str | None, tier: str, tokens: int, request_id: str, requests: int = 1
    ) -> Reservation:
        """Nothing; never refuses."""
        return Reservation(Record(app, user or "", request_id, tokens, requests), began=0.0, is_closed=True)

    async def settle(self, reservation: Reservation, tokens_used: int) -> None:
        """Nothing: the run settles what its parts used."""

    async def refund(self, reservation: Reservation) -> None:
        """Nothing."""


class AgentModel:
    """A run's model.

    Args:
        model: the id that is asked.
        call: the run's request; questions are its caller's, and may leave for a model outside where it may.
        entry: the run's in the ledger.
        generate: makes the answer of a question, which has an entry of its own.

    Attributes:
        label: who answered last, as `x-bondhu-model` says it; "": nobody yet.
        degraded: why the last answer was not all that was asked for, as `x-bondhu-degraded` says it.

    """

    def __init__(
        self,
        model: str,
        *,
        call: GenerationRequest,
        entry: RequestRecord,
        generate: Callable[[GenerationRequest, RequestRecord], Answers],
    ) -> None:
        self.model = model
        self.label = ""
        self.degraded = ""
        self._call = call
        self._entry = entry
        self._generate = generate

    async def complete(self, request: ChatRequest) -> ChatReply:
        """The whole answer; raises ChatFailure."""
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
        """The answer's text as it comes, and at the end all of it; raises ChatFailure."""
        body = body_of(request, self.model) | {"stream": True, "stream_options": {"include_usage": True}}
        streamed = StreamedReply(request, self.model)
        told: asyncio.Queue[Message | None] = asyncio.Queue()
        answering = asyncio.create_task(_run(self._generation(body), told))
        refusal: list[bytes] = []
        status = 0
        try:
            with _failures():
                while (message := await told.get()) is not None:
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
        call = replace(self._call, path=CHAT, parsed=body, model=self.model)
        return self._generate(call, self._entry.part())

    def _begun(self, message: Message) -> int | None:
        """The status, of the message that tells it; what its headers say is noted."""
        if message["type"] != "http.response.start":
            return None
        headers = dict(message["headers"])
        self.label = headers.get(MODEL_HEADER, b"").decode()
        self.degraded = headers.get(DEGRADED_HEADER, b"").decode()
        return int(message["status"])


async def _run(generation: Answers, told: "asyncio.Queue[Message | None]") -> None:
    try:
        await generation({}, _never, told.put)
    finally:
        told.put_nowait(None)


async def _never() -> Message:
    """The client of a question does not leave: its run cancels it."""
    await asyncio.Event().wait()
    raise AssertionError("nobody sets it")


def _whole(status: int, blocks: list[bytes]) -> Any:
    answer = orjson.loads(b"".join(blocks))
    if status != 200:
        raise failure_of(status, answer.get("error"))
    return answer


@contextmanager
def _failures() -> Any:
    """Turn a failure as clients are told it into one of `models.chat`."""
    try:
        yield
    except ApiError as problem:
        retry_after = None if problem.retry_after_s is None else str(problem.retry_after_s)
        raise failure_of(problem.status, {"code": problem.code, "param": problem.param}, retry_after) from problem
    except ChatFailure:
        raise
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as problem:
        raise CutStream(f"The answer was no answer ({type(problem).__name__}).") from problem
