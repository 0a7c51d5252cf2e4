"""One request's way to an engine and back: bytes forwarded as they come, never a stream held back.

A `Relay` is the response object of a route. It picks a replica, opens the upstream request, and answers with what the
engine says. When the client leaves, its upstream connection is closed, which makes vLLM abort the generation. A
connection that breaks before the first byte is tried on another replica (nothing has reached the client, and a
generation has no side effects); after it, the stream ends with a typed error.
"""

import asyncio
import logging
from collections.abc import Collection
from contextlib import AbstractContextManager

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from serving import engine_errors, errors
from serving.engine_client import Answer, ConnectionLost, EngineClient
from serving.fleet import Fleet, Replica
from serving.traces import Span, Tracing

log = logging.getLogger(__name__)

TRIES = 3
MODEL_HEADER = b"x-bondhu-model"
ERROR_EVENT, EVENT_END = b'data: {"error"', b"\n\n"  # no text can look like the first: its quotes would be escaped


class EngineLost(Exception):
    """The connection to this replica broke before it sent anything."""


class Relay(Response):
    """Forwards one JSON request to an engine of `model` and its answer to the client.

    Args:
        fleet: picks the replica.
        engines: the HTTP client.
        model: the model id.
        path: the engine's path, e.g. "/v1/chat/completions".
        payload: the JSON body, as it goes to the engine.
        asked: the names of the fields in it.
        timeout_s: for the whole request.
        tracing: gets a span for each try.

    Raises (when called, before anything was sent):
        ApiError: the engine cannot be reached, or did not answer in time.

    """

    def __init__(
        self,
        *,
        fleet: Fleet,
        engines: EngineClient,
        model: str,
        path: str,
        payload: bytes,
        asked: Collection[str],
        timeout_s: float,
        tracing: Tracing,
    ) -> None:
        super().__init__()
        self._fleet = fleet
        self._engines = engines
        self._model = model
        self._path = path
        self._payload = payload
        self._asked = asked
        self._timeout_s = timeout_s
        self._tracing = tracing
        self._answered = False  # the last byte has been handed to the server
        self._started = False  # the status line has been

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer; returns early, with the upstream connection closed, when the client leaves."""
        relaying = asyncio.current_task()
        assert relaying is not None, "a server runs every request in a task"
        departure = asyncio.create_task(self._on_departure(receive, relaying))
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._relay(send)
        except TimeoutError:
            await self._fail(send, errors.EngineTimeout(f"The model did not finish within {self._timeout_s:g} s."))
        except asyncio.CancelledError:
            if not departure.done():
                raise  # the server is shutting down
            relaying.uncancel()
        finally:
            departure.cancel()

    async def _on_departure(self, receive: Receive, relaying: "asyncio.Task[None]") -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        if not self._answered:
            relaying.cancel()

    async def _relay(self, send: Send) -> None:
        for _ in range(TRIES):
            replica = self._fleet.choose(self._model)
            replica.outstanding += 1
            try:
                with self._try(replica) as span:
                    await self._ask(replica, send, span)
                return
            except EngineLost as loss:
                replica.broken(f"it cannot be reached ({loss})")
                log.info("engine %s lost: %s", replica.report["replica_id"], loss)
            finally:
                replica.outstanding -= 1
        self._fleet.choose(self._model)  # raises what there is to say, unless another replica has just come up
        raise errors.EngineFailed("Every engine that was tried broke the connection.")

    def _try(self, replica: Replica) -> AbstractContextManager[Span]:
        what = "chat" if self._path.startswith("/v1/chat") else "text_completion"
        attributes = {
            "gen_ai.operation.name": what,
            "gen_ai.provider.name": "vllm",
            "gen_ai.request.model": self._model,
            "server.address": replica.report["address"].removeprefix("http://"),
            "bondhu.replica": replica.report["replica_id"],
        }
        return self._tracing.child(f"{what} {self._model}", attributes, outgoing=True)

    async def _ask(self, replica: Replica, send: Send, span: Span) -> None:
        report = replica.report
        try:
            headers = self._tracing.upstream_headers()
            answer = await self._engines.post(report["address"], self._path, report["key"], self._payload, headers)
            span.note("http.response.status_code", answer.status)
            try:
                if answer.status != 200:
                    await self._pass_error(replica, answer.status, await answer.body(), send)
                elif answer.content_type.startswith(b"text/event-stream"):
                    await self._pass_stream(replica, answer, send)
                else:
                    await self._finish(200, await answer.body(), replica, send)
            finally:
                self._engines.release(answer)
        except ConnectionLost as problem:
            if not self._started:
                raise EngineLost(str(problem)) from problem
            span.note("error.type", type(problem).__name__)
            replica.broken(f"it broke off an answer ({problem})")
            await self._fail(send, errors.EngineFailed("The engine stopped in the middle of this answer."))
        else:
            if answer.status == 200:
                replica.proven(asyncio.get_running_loop().time())

    async def _pass_stream(self, replica: Replica, answer: Answer, send: Send) -> None:
        while block := await answer.block():
            if ERROR_EVENT in block:  # vLLM checks some of a streamed request only after its 200
                error, block = await self._read_error(block, answer)
                if not self._started:
                    await self._finish(error.status, error.body(), replica, send)
                    return
            if not self._started:
                await self._start(200, [(b"content-type", b"text/event-stream; charset=utf-8")], replica, send)
            await send({"type": "http.response.body", "body": block, "more_body": True})
        if not self._started:
            raise EngineLost("an empty stream")
        self._answered = True
        await send({"type": "http.response.body", "body": b""})

    async def _read_error(self, block: bytes, answer: Answer) -> tuple[errors.ApiError, bytes]:
        """The error that an event in `block` tells of, and the block with it as OpenAI would tell it."""
        before, _, event = block.partition(ERROR_EVENT)
        while EVENT_END not in event and (more := await answer.block()):
            event += more
        told, _, after = event.partition(EVENT_END)
        error = engine_errors.translate_event(b'{"error"' + told, self._asked)
        return error, before + errors.stream_event(error) + after

    async def _pass_error(self, replica: Replica, status: int, body: bytes, send: Send) -> None:
        if status >= 500 and b"EngineCore" in body:  # vLLM's server outlives its core for a moment, and says so
            raise EngineLost("its core died")
        error = engine_errors.translate(status, body, self._asked)
        await self._finish(error.status, error.body(), replica, send)

    async def _finish(self, status: int, body: bytes, replica: Replica, send: Send) -> None:
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await self._start(status, headers, replica, send)
        self._answered = True
        await send({"type": "http.response.body", "body": body})

    async def _start(self, status: int, headers: list[tuple[bytes, bytes]], replica: Replica, send: Send) -> None:
        headers.append((MODEL_HEADER, replica.label.encode()))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        self._started = True

    async def _fail(self, send: Send, error: errors.ApiError) -> None:
        """Tell of a failure as the state of the answer allows: an error response, or the stream's last event."""
        if not self._started:
            raise error
        self._answered = True
        await send({"type": "http.response.body", "body": errors.stream_event(error)})
