"""A model that says what a test has it say, whole or streamed, over OpenAI's protocol.

with ScriptServer(port) as server:
    server.answers += ["a text", call("find", q="x"), 429, CUT]  # an answer each; then `always`

A text is streamed word by word, a call's arguments in two pieces. Compact JSON, as vLLM's server writes it.
"""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from tests.support.servers.engine import MODEL, EngineServer, Json

CUT = object()  # a connection that ends in the middle of an answer
JUNK = object()  # an answer that is no JSON
SILENT = object()  # an answer that never comes
HELD = object()  # a stream that begins and does not go on


@dataclass(frozen=True)
class Ended:
    """An answer that ends for another reason than its kind does; `stop_reason` is vLLM's, the stop string found."""

    answer: Any
    finish_reason: str
    stop_reason: str | None = None


class ScriptServer(EngineServer):
    """The server; a context manager.

    Attributes:
        answers: the next ones: a text, calls, a text and calls, Ended, the status of an error, CUT, JUNK, SILENT, HELD.
        always: what it says when there is none.
        headers: of the requests that came in, beside `requests`.
        retry_after: what an error says of the next try.
        has_index: whether pieces of a call say which call they are of.
        delay_s: how long it thinks before its first token.
        cached_tokens: of the prompt that it had in its cache.

    """

    def __init__(self, port: int, **options: Any) -> None:
        super().__init__(port, **options)
        self.base_url = f"http://127.0.0.1:{port}/v1"
        self.answers: list[Any] = []
        self.always: Any = "All right."
        self.headers: list[dict[str, str]] = []
        self.retry_after: str | None = None
        self.has_index = True
        self.delay_s = 0.0
        self.cached_tokens = 0

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body: Json = await request.json()
        if body.get("prompt") == "Hi":  # the gateway proves that the engine generates
            return web.json_response({"choices": [], "usage": {}})
        self.requests.append(body)
        self.headers.append(dict(request.headers))
        answer = self.answers.pop(0) if self.answers else self.always
        end = answer if isinstance(answer, Ended) else Ended(answer, "")
        answer = end.answer
        await asyncio.sleep(self.delay_s)
        if isinstance(answer, int):
            headers = {} if self.retry_after is None else {"retry-after": self.retry_after}
            error = {"error": {"message": "secret words", "type": "t", "code": "busy", "param": "tools"}}
            return web.json_response(error, status=answer, headers=headers)
        if answer is JUNK:
            return web.Response(text="<html>", content_type="text/html")
        if answer is SILENT:
            await self._stopping.wait()
        if body.get("stream"):
            return await self._tell(request, end)
        if answer is CUT:
            response = web.StreamResponse(headers={"content-length": "1000"})
            await response.prepare(request)
            await response.write(b'{"choices": [')
            assert request.transport is not None
            request.transport.close()
            return response
        text, calls = _parts(answer)
        message: Json = {"role": "assistant", "content": text or None} | ({"tool_calls": calls} if calls else {})
        choice = {"index": 0, "message": message, **_ended(end, calls)}
        return _json({**_head("chat.completion"), "choices": [choice], "usage": self._counts()})

    def _counts(self) -> Json:
        cached = {"prompt_tokens_details": {"cached_tokens": self.cached_tokens}} if self.cached_tokens else {}
        return {**_USAGE, **cached}

    async def _tell(self, request: web.Request, end: Ended) -> web.StreamResponse:
        answer = end.answer
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        if answer is CUT:
            await response.write(_event({"content": "So I"}))
            assert request.transport is not None
            request.transport.close()
            return response
        if answer is HELD:
            await response.write(_event({"content": "So"}))
            try:
                await self._stopping.wait()
            except asyncio.CancelledError:
                self.aborted += 1
                raise
        text, calls = _parts(answer)
        if text:
            for piece in text.replace(" ", "\0 ").split("\0"):
                await response.write(_event({"content": piece}))
        for index, whole in enumerate(calls):
            for piece in _pieces(whole):
                await response.write(_event({"tool_calls": [{"index": index, **piece} if self.has_index else piece]}))
        await response.write(_event({}, **_ended(end, calls)))
        usage = {**_head("chat.completion.chunk"), "choices": [], "usage": self._counts()}
        await response.write(b"data: " + json.dumps(usage, separators=(",", ":")).encode() + b"\n\ndata: [DONE]\n\n")
        return response


def call(name: str, **arguments: Any) -> list[Json]:
    """A call of one tool."""
    return [{"id": f"call-{name}", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}]


_USAGE = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}


def _head(kind: str) -> Json:
    return {"id": "chatcmpl-1", "object": kind, "created": 1, "model": MODEL}


def _parts(answer: Any) -> tuple[str, list[Json]]:
    return answer if isinstance(answer, tuple) else (answer, []) if isinstance(answer, str) else ("", answer)


def _ended(end: Ended, calls: list[Json]) -> Json:
    finish_reason = end.finish_reason or ("tool_calls" if calls else "stop")
    return {"finish_reason": finish_reason, "stop_reason": end.stop_reason}


def _event(delta: Json, finish_reason: str | None = None, stop_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason, "stop_reason": stop_reason}
    event = {**_head("chat.completion.chunk"), "choices": [choice]}
    return b"data: " + json.dumps(event, separators=(",", ":")).encode() + b"\n\n"


def _json(value: Json) -> web.Response:
    return web.Response(body=json.dumps(value, separators=(",", ":")).encode(), content_type="application/json")


def _pieces(whole: Json) -> list[Json]:
    arguments = whole["function"]["arguments"]
    middle = len(arguments) // 2
    first = {**whole, "function": {"name": whole["function"]["name"], "arguments": arguments[:middle]}}
    return [first, {"function": {"arguments": arguments[middle:]}}]
