"""The process of llama.cpp's engine: llama.cpp's own server, and in front of it a server that speaks vLLM's dialect.

Streams pass event by event; when a client leaves, its generation ends. The key of this run is in the environment
(BONDHU_ENGINE_KEY); llama.cpp's own HTTP port, which renders prompts and tokenises texts, has another key. It knows
neither Ray nor the callers.

    python -m models.llama_cpp.front --model=FILE.gguf --served-name=ID --host=127.0.0.1 --port=8100
"""

import argparse
import asyncio
import contextlib
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from models.control_tokens import Neutraliser, neutral_chat
from models.engine_log import HEADER, log_request
from models.engine_process import KEY_VARIABLE
from models.llama_cpp import response
from models.llama_cpp.forced_call import ForcedCall, forced_call
from models.llama_cpp.generations import Generations
from models.llama_cpp.request import Body, Limits, Refused, translate
from models.llama_cpp.response import Teller

CHAT, COMPLETION = "/v1/chat/completions", "/v1/completions"
OF_TEMPLATE = ("messages", "tools", "chat_template_kwargs")  # fields of a chat that make its prompt
MAX_BODY_BYTES = 64 * 2**20  # the gateway's own bound is lower
KEEP_ALIVE_S = 75.0  # a gateway lets an idle connection go before the engine does
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Front:
    """Answers for llama.cpp's server.

    Args:
        generations: of llama.cpp's server.
        address: of its HTTP server.
        key: of its HTTP server.
        models: the number of the adapter for each accepted model id; None: the model itself.
        limits: of the model.
        session: the HTTP client.
        neutraliser: makes control tokens in clients' texts plain text.
        sampling: values of vLLM's sampling fields for requests without them.

    """

    def __init__(
        self,
        generations: Generations,
        address: str,
        key: str,
        models: Mapping[str, int | None],
        limits: Limits,
        session: aiohttp.ClientSession,
        neutraliser: Neutraliser,
        sampling: Mapping[str, float],
    ) -> None:
        self._generations = generations
        self._address = address
        self._headers = {"authorization": f"Bearer {key}"}
        self._models = models
        self._limits = limits
        self._session = session
        self._neutraliser = neutraliser
        self._sampling = sampling

    async def generate(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/chat/completions and /v1/completions."""
        try:
            body = json.loads(await request.read())
            chats = request.path == CHAT
            adapter = self._adapter(body)
            body |= {name: value for name, value in self._sampling.items() if body.get(name) is None}
            if chats:
                body = neutral_chat(body, self._neutraliser)
            forced = forced_call(body, _call_id) if chats else None
            params = {**translate(body, self._limits, chats=chats), "lora": adapter, "timings_per_token": True}
            if forced is not None:
                params = await self._forced(params, body, forced)
        except Refused as refusal:
            return _json(response.error(refusal.message, status=refusal.status, param=refusal.param), refusal.status)
        except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as problem:
            return _json(response.error(f"The request cannot be read: {problem!r}.", status=400), 400)
        streams, options = bool(body.get("stream")), body.get("stream_options") or {}
        teller = Teller(
            model=body["model"],
            chats=chats,
            forced=forced,
            wants_last=not streams or bool(options.get("include_usage")),
            wants_all=streams and bool(options.get("continuous_usage_stats")),
            top_logprobs=body.get("top_logprobs") or 0,
        )
        chunks = self._generations.stream(params, chats=chats and forced is None)
        async with contextlib.aclosing(chunks):
            first = await anext(chunks, {"error": {"code": 500, "message": "llama.cpp said nothing"}})
            if "error" in first:
                error = response.of_error(first)
                return _json(error, 400 if error["error"]["code"] < 500 else 500)
            if streams:
                return await self._stream(request, first, chunks, teller)
            events = [*teller.first(first), *teller.chunk(first)]
            async for chunk in chunks:
                if "error" in chunk:
                    return _json(response.of_error(chunk), 500)
                events += teller.chunk(chunk)
            return _json(response.whole([*events, *teller.last()], chats=chats))

    async def tokenize(self, request: web.Request) -> web.StreamResponse:
        """POST /tokenize, of a text or of a chat's messages."""
        body = json.loads(await request.read())
        prompt = body.get("prompt")
        try:
            if prompt is None:
                body = neutral_chat(body, self._neutraliser)
                prompt = await self._prompt_of(translate(body, self._limits, chats=True))
        except Refused as refusal:
            return _json(response.error(refusal.message, status=refusal.status, param=refusal.param), refusal.status)
        params = {"content": prompt, "add_special": bool(body.get("add_special_tokens")), "parse_special": True}
        async with self._post("/tokenize", params) as answer:
            tokens = (await answer.json())["tokens"]
        return _json({"count": len(tokens), "max_model_len": self._limits.context_tokens, "tokens": tokens})

    async def detokenize(self, request: web.Request) -> web.StreamResponse:
        """POST /detokenize."""
        tokens = json.loads(await request.read())["tokens"]
        if any(token >= self._limits.vocabulary for token in tokens):
            message = f"tokens: a number is no token id of this model (0 to {self._limits.vocabulary - 1})."
            return _json(response.error(message, status=400, param="tokens"), 400)
        async with self._post("/detokenize", {"tokens": tokens}) as answer:
            return _json({"prompt": (await answer.json())["content"]})

    async def metrics(self, _request: web.Request) -> web.StreamResponse:
        """GET /metrics: running and waiting requests, and generated tokens, under llama.cpp's own names."""
        numbers = {
            "requests_processing": self._generations.running,
            "requests_deferred": self._generations.waiting,
            "tokens_predicted_total": self._generations.steps,
        }
        return web.Response(text="".join(f"llamacpp:{name} {value}\n" for name, value in numbers.items()))

    async def health(self, _request: web.Request) -> web.StreamResponse:
        """GET /health: the process answers."""
        return web.Response()

    async def _stream(
        self, request: web.Request, first: dict[str, Any], rest: AsyncIterator[dict[str, Any]], teller: Teller
    ) -> web.StreamResponse:
        stream = web.StreamResponse(headers={"content-type": "text/event-stream; charset=utf-8"})
        await stream.prepare(request)
        for event in (*teller.first(first), *teller.chunk(first)):
            await stream.write(response.event(event))
        async for chunk in rest:
            await stream.write(b"".join(map(response.event, teller.chunk(chunk))))
        await stream.write(b"".join(map(response.event, teller.last())) + response.DONE)
        await stream.write_eof()
        return stream

    async def _forced(self, params: Body, body: Mapping[str, Any], forced: ForcedCall) -> Body:
        """The completion that writes the call."""
        for field in ("response_format", "structured_outputs"):
            if body.get(field):
                raise Refused(field, f"{field}: does not go together with a tool call that is demanded.", 400)
        prompt = await self._prompt_of(params)
        kept = {name: value for name, value in params.items() if name not in {*OF_TEMPLATE, "reasoning_format"}}
        return {**kept, "prompt": prompt, "json_schema": forced.schema()}

    async def _prompt_of(self, params: Body) -> str:
        """The prompt of a chat, rendered by the model's template; raises Refused."""
        of_template: Body = {name: params[name] for name in OF_TEMPLATE if name in params}
        async with self._post("/apply-template", of_template) as answer:
            if answer.status != 200:
                problem = response.of_error(await answer.json())["error"]
                raise Refused(problem["param"] or "messages", problem["message"], 400)
            return str((await answer.json())["prompt"])

    def _adapter(self, body: Mapping[str, Any]) -> list[dict[str, float]]:
        model = body.get("model")
        if not isinstance(model, str) or model not in self._models:
            raise Refused("model", f"The model `{model}` does not exist.", 404)
        mine = self._models[model]
        numbers = sorted(number for number in self._models.values() if number is not None)
        return [{"id": number, "scale": float(number == mine)} for number in numbers]

    def _post(self, path: str, body: Mapping[str, Any]) -> "contextlib.AbstractAsyncContextManager[Any]":
        return self._session.post(self._address + path, data=response.dump(body), headers=self._headers)


def build_app(front: Front, key: str) -> web.Application:
    """The application: every path except /health requires `key`."""

    @web.middleware
    async def require_key(request: web.Request, handler: Handler) -> web.StreamResponse:
        authorization = request.headers.get("authorization", "")
        if request.path != "/health" and not secrets.compare_digest(authorization.encode(), f"Bearer {key}".encode()):
            return _json(response.error("this engine answers only its own service", status=401), 401)
        began_s = time.monotonic()
        try:
            return await handler(request)
        finally:
            if request_id := request.headers.get(HEADER):
                log_request(request_id, request.path, time.monotonic() - began_s)

    app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[require_key])
    app.router.add_post(CHAT, front.generate)
    app.router.add_post(COMPLETION, front.generate)
    app.router.add_post("/tokenize", front.tokenize)
    app.router.add_post("/detokenize", front.detokenize)
    app.router.add_get("/metrics", front.metrics)
    app.router.add_get("/health", front.health)
    return app


def start_llama_cpp(options: argparse.Namespace, adapters: Sequence[Path], key: str) -> Any:
    """Load the model and return llama.cpp's running server; raises what xllamacpp raises."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(options.model)
    params.n_parallel = options.parallel
    params.n_ctx = options.context_tokens * options.parallel
    params.n_batch = params.n_ubatch = options.batch_tokens
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = options.threads
    params.hostnames, params.port, params.api_keys = ["127.0.0.1"], 0, [key]
    params.ui, params.endpoint_slots, params.endpoint_metrics = False, False, True
    params.use_jinja, params.fit_params = True, False
    params.cache_ram_mib = 0  # finished prompts stay in their slots only: the machine is small
    params.verbosity = 1  # errors
    if options.chat_template:
        params.chat_template = options.chat_template.read_text(encoding="utf-8")
    if adapters:
        params.lora_adapters = [_lora(xllamacpp, path) for path in adapters]
        params.lora_init_without_apply = True
    return xllamacpp.Server(params)


def _lora(xllamacpp: Any, path: Path) -> Any:
    adapter = xllamacpp.CommonAdapterLoraInfo()
    adapter.path, adapter.scale = str(path), 1.0
    return adapter


def _as_gguf(adapters: Mapping[str, Path], base: Path, scratch: Path) -> list[Path]:
    """The adapters as GGUF files, in order; converted in a separate process, whose libraries are not needed again."""
    files = []
    for number, path in enumerate(adapters.values()):
        if path.is_dir():
            made = scratch / f"{number}.gguf"
            subprocess.run([sys.executable, "-m", "models.llama_cpp.adapter", path, base, made], check=True)
            path = made
        files.append(path)
    return files


def _control_tokens(options: argparse.Namespace) -> list[str]:
    """The model's control tokens; read in a separate process, whose libraries are not needed again."""
    command = [sys.executable, "-m", "models.llama_cpp.control", options.model]
    command += [options.chat_template] if options.chat_template else []
    found: list[str] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return found


async def serve(options: argparse.Namespace) -> None:
    """Serve until cancelled."""
    key = secrets.token_urlsafe(24)
    neutraliser = Neutraliser(_control_tokens(options))
    adapters = {name: Path(path) for name, _, path in (each.partition("=") for each in options.adapter)}
    with tempfile.TemporaryDirectory(prefix="bondhu-lora-") as scratch:
        files = _as_gguf(adapters, options.model, Path(scratch))
        llama = await asyncio.to_thread(start_llama_cpp, options, files, key)
    models: dict[str, int | None] = {options.served_name: None}
    models |= {name: number for number, name in enumerate(adapters)}
    generations = Generations(llama.handle_chat_completions, llama.handle_completions, options.parallel)
    async with aiohttp.ClientSession() as session:
        limits = Limits(options.context_tokens, await _vocabulary(session, llama.listening_address, key))
        front = Front(generations, llama.listening_address, key, models, limits, session, neutraliser, options.sampling)
        app = build_app(front, os.environ[KEY_VARIABLE])
        runner = web.AppRunner(app, handler_cancellation=True, keepalive_timeout=KEEP_ALIVE_S, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, options.host, options.port).start()
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()


async def _vocabulary(session: aiohttp.ClientSession, address: str, key: str) -> int:
    async with session.get(f"{address}/v1/models", headers={"authorization": f"Bearer {key}"}) as answer:
        return int((await answer.json())["data"][0]["meta"]["n_vocab"])


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m models.llama_cpp.front")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--served-name", required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--adapter", action="append", default=[], metavar="ID=PATH")
    parser.add_argument("--context-tokens", type=int, default=2048)
    parser.add_argument("--parallel", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch-tokens", type=int, default=512)
    parser.add_argument("--chat-template", type=Path, default=None)
    parser.add_argument(
        "--sampling", type=json.loads, default={}, metavar="JSON", help="of requests that leave it open"
    )
    return parser.parse_args(arguments)


def _json(content: Mapping[str, Any], status: int = 200) -> web.Response:
    return web.Response(body=response.dump(content), status=status, content_type="application/json")


def _call_id() -> str:
    return f"chatcmpl-tool-{secrets.token_hex(8)}"


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(parse()))
