"""An upstream that costs almost nothing, and the directory that announces it to a gateway.

    python -m bench.gateway.stub        one `Plan` as a JSON line in, its port as a line out; ends with its input

OpenAI's protocol in vLLM's compact JSON (https://platform.openai.com/docs/api-reference/chat): every answer has as many
tokens as `max_tokens` says; streams are written as an engine writes them, one token per step to each stream. It uses
asyncio's raw protocol, httptools and prepared answers, so that only the proxy's cost is measured.
It does not check keys or read prompts. `GET /directory` answers as `serving.deployments.directory` does.
"""

import asyncio
import sys
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import httptools
import orjson
import uvloop

from serving.engines.wire import DirectoryAnswer, ReplicaReport, Routing

PROMPT_TOKENS = 24  # what every prompt counts as
CHAT_ID = "chatcmpl-0123456789abcdef"


@dataclass(frozen=True)
class Plan:
    """How it answers. Durations in seconds; the replica without an address is this server itself."""

    routing: Routing
    replica: ReplicaReport
    first_s: float = 0.0  # before the first byte
    step_s: float = 0.002  # between two tokens of a stream


class Steps:
    """Writes the next piece of every stream at once, step by step, as an engine decodes."""

    def __init__(self, loop: asyncio.AbstractEventLoop, step_s: float) -> None:
        self._loop = loop
        self._step_s = step_s
        self._waiting: dict[asyncio.Transport, tuple[bytes, ...]] = {}
        self._is_running = False

    def add(self, transport: asyncio.Transport, pieces: tuple[bytes, ...]) -> None:
        """Write the first piece now, and one of the others a step."""
        transport.write(pieces[0])
        self._waiting[transport] = pieces[:0:-1]
        if not self._is_running:
            self._is_running = True
            self._loop.call_later(self._step_s, self._step)

    def forget(self, transport: asyncio.Transport) -> None:
        """The client has left."""
        self._waiting.pop(transport, None)

    def _step(self) -> None:
        for transport, pieces in list(self._waiting.items()):
            transport.write(pieces[-1])
            if len(pieces) > 1:
                self._waiting[transport] = pieces[:-1]
            else:
                del self._waiting[transport]
        self._is_running = bool(self._waiting)
        if self._is_running:
            self._loop.call_later(self._step_s, self._step)


class Stub(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, loop: asyncio.AbstractEventLoop, plan: Plan, steps: Steps, directory: bytes) -> None:
        self._loop = loop
        self._plan = plan
        self._steps = steps
        self._directory = directory
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._url = b""
        self._body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        """Parse."""
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop what is being written."""
        if self._transport is not None:
            self._steps.forget(self._transport)
            self._transport = None

    def on_url(self, url: bytes) -> None:
        """Keep what is asked for."""
        self._url = url

    def on_body(self, body: bytes) -> None:
        """Keep a piece of the request."""
        self._body += body

    def on_message_complete(self) -> None:
        """Answer."""
        body, self._body = self._body, b""
        if self._plan.first_s > 0 and body:
            self._loop.call_later(self._plan.first_s, self._answer, body)
        else:
            self._answer(body)

    def _answer(self, body: bytes) -> None:
        if self._transport is None:
            return
        if not self._url.startswith(b"/v1/"):  # of the directory, which gateways also tell what requests name
            self._transport.write(self._directory)
            return
        request = orjson.loads(body)
        tokens = request.get("max_tokens") or request.get("max_completion_tokens") or 16
        if not request.get("stream"):
            self._transport.write(plain(request["model"], tokens))
            return
        options = request.get("stream_options") or {}
        counts = bool(options.get("include_usage"))
        running = counts and bool(options.get("continuous_usage_stats"))
        self._steps.add(self._transport, streamed(request["model"], tokens, counts=counts, running=running))


@lru_cache
def plain(model: str, tokens: int) -> bytes:
    """A complete answer of `tokens` tokens."""
    message = {"role": "assistant", "content": " word" * tokens, "refusal": None, "reasoning": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "length", "stop_reason": None}
    head = {"id": CHAT_ID, "object": "chat.completion", "created": 1_790_000_000, "model": model}
    return _response({**head, "choices": [choice], "usage": _counts(tokens), "system_fingerprint": "stub"})


@lru_cache
def streamed(model: str, tokens: int, *, counts: bool, running: bool) -> tuple[bytes, ...]:
    """A stream of `tokens` tokens in as many pieces, each written at once; the counts at its end, or on each event."""
    head = {"id": CHAT_ID, "object": "chat.completion.chunk", "created": 1_790_000_000, "model": model}

    def event(delta: dict[str, str], count: int) -> bytes:
        ends = "length" if count == tokens else None
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": ends, "token_ids": None}
        return _event({**head, "choices": [choice], **({"usage": _counts(count)} if running else {})})

    pieces = [event({"content": " word"}, count) for count in range(1, tokens + 1)]
    pieces[0] = (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
        + event({"role": "assistant", "content": ""}, 0)
        + pieces[0]
    )
    if counts:
        pieces[-1] += _event({**head, "choices": [], "usage": _counts(tokens)})
    pieces[-1] += _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"
    return tuple(pieces)


def _counts(tokens: int) -> dict[str, int]:
    return {"prompt_tokens": PROMPT_TOKENS, "total_tokens": PROMPT_TOKENS + tokens, "completion_tokens": tokens}


def _response(content: Any) -> bytes:
    body = orjson.dumps(content)
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


def _event(content: Any) -> bytes:
    return _chunk(b"data: " + orjson.dumps(content) + b"\n\n")


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def serve(plan: Plan) -> tuple[asyncio.Server, int]:
    """Listen on a free port of the loopback; the server and its port."""
    loop = asyncio.get_running_loop()
    steps, directory = Steps(loop, plan.step_s), bytearray()
    server = await loop.create_server(lambda: Stub(loop, plan, steps, bytes(directory)), "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    replica: ReplicaReport = {**plan.replica, "address": plan.replica["address"] or f"http://127.0.0.1:{port}"}
    answer: DirectoryAnswer = {"routing": plan.routing, "replicas": [replica]}
    directory += _response(answer)
    return server, port


async def _main() -> None:
    plan = Plan(**orjson.loads(sys.stdin.buffer.readline()))
    server, port = await serve(plan)
    async with server:
        sys.stdout.write(f"{port}\n")
        sys.stdout.flush()
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.buffer.read)  # until whoever started it ends


if __name__ == "__main__":
    uvloop.run(_main())
