"""A model that says what a test has it say, as an engine behind the gateway or asked directly.

with ModelServer(port) as model:
    model.answers += [[operation(...)], 429, CUT, "no JSON"]  # an answer each; then no operations
"""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web

from tests.support.memory.word_embedder import WordEmbedder
from tests.support.servers.engine import MODEL, EngineServer, Json

CUT, JUNK = object(), object()  # a connection that ends in the middle of an answer; an answer that is no JSON
TOO_LONG = object()  # the prompt is longer than the model reads


class ModelServer(EngineServer):
    """The server; a context manager.

    Attributes:
        answers: the next answers: operations, a text, a status of an error, CUT, JUNK, or what returns one of these.
        always: what it says when there is none.
        headers: of the requests that came in, beside `requests`.
        retry_after_s: what an error says of the next try.

    """

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.url = f"http://127.0.0.1:{port}"
        self.answers: list[Any] = []
        self.always: Any = []
        self.headers: list[dict[str, str]] = []
        self.retry_after_s: float | None = None
        self._may_answer = threading.Event()
        self._may_answer.set()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep every answer back within."""
        self._may_answer.clear()
        try:
            yield
        finally:
            self._may_answer.set()

    def add_routes(self, app: web.Application) -> None:
        """Serve embeddings too."""
        app.router.add_post("/v1/embeddings", self._embed)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body: Json = await request.json()
        if body.get("prompt") == "Hi":  # the gateway proves that the engine generates
            return web.json_response({"choices": [], "usage": {}})
        answer = self.answers.pop(0) if self.answers else self.always
        self.headers.append(dict(request.headers))
        self.requests.append(body)
        await asyncio.to_thread(self._may_answer.wait)
        if callable(answer):
            answer = await asyncio.to_thread(answer)
        if answer is CUT:
            response = web.StreamResponse(headers={"content-type": "application/json", "content-length": "1000"})
            await response.prepare(request)
            await response.write(b'{"choices": [')
            assert request.transport is not None
            request.transport.close()
            return response
        if answer is JUNK:
            return web.Response(text="<html>", content_type="text/html")
        if answer is TOO_LONG:
            refusal = {"message": "too long", "type": "invalid_request_error", "code": "context_length_exceeded"}
            return web.json_response({"error": refusal}, status=400)
        if isinstance(answer, int):
            headers = {} if self.retry_after_s is None else {"retry-after": f"{self.retry_after_s:g}"}
            error = {"error": {"message": "no", "type": "t", "code": "busy"}}
            return web.json_response(error, status=answer, headers=headers)
        text = answer if isinstance(answer, str) else json.dumps({"operations": answer})
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": MODEL}
        usage = {"prompt_tokens": 7, "total_tokens": 12, "completion_tokens": 5}
        return web.json_response({**head, "choices": [choice], "usage": usage}, dumps=_compact)

    async def _embed(self, request: web.Request) -> web.Response:
        rows = await WordEmbedder().embed((await request.json())["input"])
        data = [{"object": "embedding", "index": n, "embedding": row.tolist()} for n, row in enumerate(rows)]
        return web.json_response({"object": "list", "model": MODEL, "data": data, "usage": {}})


def operation(turn: str, quote: str, text: str, *, op: str = "ADD", target: str | None = None, **others: Any) -> Json:
    """An operation that a model proposes."""
    about = {"kind": "fact", "event_at": None, "sensitivity": "ordinary", "confidence": 0.9}
    return {"turn": turn, "quote": quote, "op": op, "target": target, "text": text, **about, **others}


def _compact(value: Json) -> str:
    return json.dumps(value, separators=(",", ":"))  # as vLLM's server writes it
