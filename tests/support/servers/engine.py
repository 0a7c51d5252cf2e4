"""An engine and its directory as the gateway sees them, with answers that a test steers token by token.

Speaks what `serving.engines.registry` polls and what vLLM's server streams (its compact JSON, running counts when asked
for). An answer is " w0 w1 ..." up to `max_tokens`; one that is asked to continue goes on with the next word, so that a
test can see whether a spliced text is whole. With `echoes` an answer begins with all that the engine was told. With
`embeds` it is an embedder as well; `adapters` are on its model, and `absent` are models of which no engine runs. It is
in a thread of its own:

    with EngineServer(port) as engine:
        engine.allow(3)  # tokens of every answer, until more are allowed
        ...
        engine.allow(None)
"""

import asyncio
import json
from collections.abc import Sequence
from itertools import count
from typing import Any

import numpy as np
from aiohttp import web

from tests.support.memory.word_embedder import WordEmbedder
from tests.support.servers.threaded import ThreadedServer

MODEL = "bondhu-demo"
PROMPT_TOKENS = 7
DEFAULT_TOKENS = 3
Json = dict[str, Any]


class EngineServer(ThreadedServer):
    """The server; a context manager.

    Attributes:
        requests: the bodies of the requests that came in, without probes.
        aborted: how many of them were left by their client before their end.
        reported: what the directory says of the engine besides the usual; None: the directory fails.

    """

    def __init__(
        self,
        port: int,
        *,
        echoes: bool = False,
        embeds: bool = False,
        adapters: Sequence[str] = (),
        absent: Sequence[str] = (),
    ) -> None:
        super().__init__(port)
        self._echoes = echoes
        self._adapters = adapters
        self._absent = absent
        self._embeds = embeds
        self._ids = count(1)
        self.requests: list[Json] = []
        self.aborted = 0
        self.reported: Json | None = {}
        self._allowed: int | None = None
        self._spoilt: tuple[int, bytes] | None = None
        self._changed = asyncio.Event()

    def allow(self, tokens: int | None) -> None:
        """Hold every answer after this many tokens; None: hold none."""

        def change() -> None:
            self._allowed = tokens
            self._changed.set()
            self._changed = asyncio.Event()

        self._loop.call_soon_threadsafe(change)

    def spoil(self, after: int, event: bytes) -> None:
        """Send `event` instead of the next stream's token number `after`, and end that stream as if it were whole."""
        self._spoilt = (after, event)

    def add_routes(self, app: web.Application) -> None:
        """Serve more than that: for subclasses."""

    def _serve(self, app: web.Application) -> None:
        app.router.add_get("/directory", self._directory)
        app.router.add_post("/v1/completions", self._answer)
        app.router.add_post("/v1/chat/completions", self._answer)
        app.router.add_post("/tokenize", self._tokenize)
        app.router.add_post("/detokenize", self._detokenize)
        if self._embeds:
            app.router.add_post("/{embedder:embedder-[0-9a-f]+}", _embed)
            app.router.add_post("/reranker", _score)
        self.add_routes(app)

    async def _directory(self, _: web.Request) -> web.Response:
        if self.reported is None:
            return web.Response(status=503)
        report = {
            "replica_id": "scripted",
            "epoch": 1,
            "model": MODEL,
            "fingerprint": "f",
            "revision": "r",
            "quantization": "none",
            "adapters": dict.fromkeys(self._adapters, "r"),
            "state": "ready",
            "reason": "",
            "address": f"http://127.0.0.1:{self._port}",
            "key": "engine-key",
            "running": 0,
            "waiting": 0,
            "kv_cache_usage": 0.0,
        }
        models = dict.fromkeys((MODEL, *self._adapters), "f") | dict.fromkeys(self._absent, "g")
        routing = {"alias": "bondhu", "active": MODEL, "models": models}
        return web.json_response({"routing": routing, "replicas": [report | self.reported]})

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body: Json = await request.json()
        if body.get("prompt") == "Hi":  # the gateway proves that the engine generates
            return web.json_response({"choices": [], "usage": {}})
        self.requests.append(body)
        try:
            if body.get("stream"):
                return await self._stream(request, body)
            words = [word async for word in self._words(body)]
            whole = _compact(_whole(next(self._ids), "".join(words), len(words)))
            return web.Response(body=whole, content_type="application/json")
        except (asyncio.CancelledError, ConnectionError):
            self.aborted += 1
            raise

    async def _tokenize(self, request: web.Request) -> web.Response:
        """A token for each word, as its length."""
        body: Json = await request.json()
        self.requests.append(body)
        text = body.get("prompt") or " ".join(str(message.get("content")) for message in body["messages"])
        tokens = [len(word) for word in text.split()]
        return web.json_response({"count": len(tokens), "max_model_len": 2048, "tokens": tokens})

    async def _detokenize(self, request: web.Request) -> web.Response:
        body: Json = await request.json()
        self.requests.append(body)
        return web.json_response({"prompt": " ".join("x" * token for token in body["tokens"])})

    async def _stream(self, request: web.Request, body: Json) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        completion_tokens, id_ = 0, next(self._ids)
        await response.write(_event(id_, {"role": "assistant", "content": ""}, None, completion_tokens))
        spoilt, self._spoilt = self._spoilt, None
        async for word in self._words(body):
            if spoilt is not None and completion_tokens == spoilt[0]:
                await response.write(spoilt[1])
                return response
            completion_tokens += 1
            await response.write(_event(id_, {"content": word}, None, completion_tokens))
        await response.write(_event(id_, {}, "stop", completion_tokens))
        last = {"id": f"chatcmpl-{id_}", "object": "chat.completion.chunk", "created": 1, "model": MODEL, "choices": []}
        await response.write(_line({**last, "usage": _usage(completion_tokens)}))
        await response.write(b"data: [DONE]\n\n")
        return response

    async def _words(self, body: Json) -> Any:
        if self._echoes:
            yield json.dumps(body.get("messages"), ensure_ascii=False)
        last = (body.get("messages") or [{"role": "user"}])[-1]
        first = len(last["content"].split()) if last["role"] == "assistant" else 0
        for number in range(first, first + body.get("max_tokens", DEFAULT_TOKENS)):
            while self._allowed is not None and number >= self._allowed:
                await self._changed.wait()
            yield f" w{number}"


def text_of(tokens: int) -> str:
    """A whole answer of so many tokens."""
    return "".join(f" w{number}" for number in range(tokens))


def _usage(completion_tokens: int) -> Json:
    return {
        "prompt_tokens": PROMPT_TOKENS,
        "total_tokens": PROMPT_TOKENS + completion_tokens,
        "completion_tokens": completion_tokens,
    }


async def _score(request: web.Request) -> web.Response:
    """Score texts by how many of the question's words they have."""
    body = await request.json()
    words = set(body["question"].split())
    scores = [float(len(words & set(text.split()))) for text in body["texts"]]
    return web.Response(body=np.array(scores, dtype="<f4").tobytes())


async def _embed(request: web.Request) -> web.Response:
    vectors = await WordEmbedder().embed((await request.json())["inputs"])
    return web.Response(body=vectors.astype("<f4").tobytes(), headers={"x-bondhu-tokens": "1"})


def _event(id_: int, delta: Json, finish: str | None, completion_tokens: int) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    head = {"id": f"chatcmpl-{id_}", "object": "chat.completion.chunk", "created": 1, "model": MODEL}
    return _line({**head, "choices": [choice], "usage": _usage(completion_tokens)})


def _line(event: Json) -> bytes:
    return b"data: " + _compact(event) + b"\n\n"


def _compact(value: Json) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _whole(id_: int, text: str, completion_tokens: int) -> Json:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    head = {"id": f"chatcmpl-{id_}", "object": "chat.completion", "created": 1, "model": MODEL}
    return {**head, "choices": [choice], "usage": _usage(completion_tokens)}
