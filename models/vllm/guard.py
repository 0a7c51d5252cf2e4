"""Protects vLLM's own server from the content of requests: ASGI middleware that the server loads (`--middleware`).

* Control tokens in messages and tools become plain text (`models.control_tokens`); they are those of the server's own
  tokenizer, so this works for every model.
* Grammars are first compiled in another process (`models.grammar_pool`).
* Messages in the form of other protocols are converted (`models.openai_format`).
* Error messages are sanitised in linear time (`models.vllm.sanitiser`).
* Required tool calls are bounded in number (`models.vllm.required_calls`).
* A JSON schema of which a part would be ignored is refused (`models.constraints.json_schema`).

It knows neither clients nor tiers, which the gateway checks.
"""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from typing import Any

import orjson

from models.constraints.json_schema import XGRAMMAR, unenforced
from models.control_tokens import Neutraliser, control_tokens, neutral_chat
from models.grammar_pool import LIMITS_VARIABLE, GrammarLimits, GrammarPool, PoolBusy
from models.openai_format import with_plain_messages
from models.vllm import adapter_names, required_calls, sanitiser

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

CHAT_PATHS = ("/v1/chat/completions", "/tokenize")  # where messages become a prompt
COMPLETION_PATH = "/v1/completions"  # here the client writes the whole prompt, control tokens included
_CONSTRAINED = (b"structured_outputs", b"response_format")


class RequestGuard:
    """Changes or refuses requests that would harm the engine, or forge a part of its prompt."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self._app = app
        self._neutraliser: Neutraliser | None = None
        self._pool: GrammarPool | None = None
        self._has_opened_pool = False  # or has found that none is needed
        self._limits = GrammarLimits(**json.loads(os.environ.get(LIMITS_VARIABLE, "{}")))
        sanitiser.install()
        required_calls.install()
        adapter_names.install()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request to vLLM without control tokens in its messages, or refuse it."""
        is_chat = scope.get("path") in CHAT_PATHS
        if scope["type"] != "http" or not (is_chat or scope.get("path") == COMPLETION_PATH):
            await self._app(scope, receive, send)
            return
        body = await _body(receive)
        if body is None:
            return  # the client has left
        if is_chat or any(name in body for name in _CONSTRAINED):
            try:
                parsed = orjson.loads(body)
            except orjson.JSONDecodeError:
                await _refuse(send, "The request body is not valid JSON.", None)
                return
            if isinstance(parsed, dict):
                refusal = await self._refused_constraint(scope, parsed)
                if refusal is not None:
                    await _refuse(send, *refusal)
                    return
                if is_chat:
                    body = self._without_control_tokens(scope, parsed, body)
        headers = [(name, value) for name, value in scope["headers"] if name != b"content-length"]
        headers.append((b"content-length", str(len(body)).encode()))
        await self._app({**scope, "headers": headers}, _replaying(body, receive), send)

    def _without_control_tokens(self, scope: Scope, parsed: dict[str, Any], body: bytes) -> bytes:
        if self._neutraliser is None:
            self._neutraliser = Neutraliser(tokens_of(scope["app"].state))
        changed = neutral_chat(with_plain_messages(parsed), self._neutraliser)
        return body if changed is parsed else orjson.dumps(changed)

    async def _refused_constraint(self, scope: Scope, parsed: Mapping[str, Any]) -> tuple[str, str] | None:
        for where, kind, spec in constraints_of(parsed):
            if not self._has_opened_pool:
                self._pool, self._has_opened_pool = self._open_pool(scope["app"].state), True
            if self._pool is None:
                return None
            ignored = unenforced(orjson.loads(spec), XGRAMMAR) if kind == "json" and _is_json(spec) else None
            if ignored is not None and (not where.startswith("tools.") or _demands_calls(parsed)):
                return f"{where}: {ignored}.", where
            try:
                problem = await self._pool.problem(kind, spec)
            except PoolBusy:
                return f"{where}: too many new grammars wait to be compiled; try again later.", where
            if problem is not None:
                return f"{where}: {problem}.", where
        return None

    def _open_pool(self, state: Any) -> GrammarPool | None:
        rules = state.vllm_config.structured_outputs_config
        if rules.backend not in ("auto", "xgrammar"):
            return None  # what a grammar costs another backend is not known here

        async def header() -> str:
            tokenizer = await asyncio.to_thread(_tokenizer_json, state)
            return json.dumps(
                {
                    "tokenizer": tokenizer,
                    "any_whitespace": not rules.disable_any_whitespace,
                    "memory_mb": self._limits.memory_mb,
                    "cpu_s": self._limits.cpu_s,
                }
            )

        return GrammarPool(self._limits, header)


def tokens_of(state: Any) -> set[str]:
    """The control tokens of the served model; `state` is that of vLLM's application."""
    tokenizer = state.engine_client.get_tokenizer()
    added = {str(each.content): bool(each.special) for each in getattr(tokenizer, "added_tokens_decoder", {}).values()}
    added |= dict.fromkeys(map(str, tokenizer.all_special_tokens), True)
    template = getattr(state.online_renderer, "chat_template", None) or getattr(tokenizer, "chat_template", None)
    return control_tokens(added, template if isinstance(template, str) else json.dumps(template))


def constraints_of(parsed: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield (field, kind, grammar) for each grammar of a request. Malformed fields are left for vLLM to refuse."""
    chosen = parsed.get("response_format")
    if isinstance(chosen, dict):
        described = chosen.get("json_schema")
        schema = described.get("schema") if isinstance(described, dict) else None
        if isinstance(schema, dict):
            yield "response_format", "json", orjson.dumps(schema).decode()
        if chosen.get("type") == "structural_tag":
            yield "response_format", "structural_tag", orjson.dumps(chosen).decode()
    outputs = parsed.get("structured_outputs")
    for name, value in outputs.items() if isinstance(outputs, dict) else ():
        where = f"structured_outputs.{name}"
        if name == "json" and isinstance(value, dict | str):
            yield where, "json", value if isinstance(value, str) else orjson.dumps(value).decode()
        elif name == "choice" and isinstance(value, list):
            yield where, "grammar", "root ::= " + " | ".join(json.dumps(str(each)) for each in value)
        elif name in ("regex", "structural_tag") and isinstance(value, str):
            yield where, name, value
        elif name == "grammar" and isinstance(value, str):
            yield where, name, _as_ebnf(value)
    tools = parsed.get("tools") if parsed.get("tool_choice") != "none" else None
    for index, tool in enumerate(tools if isinstance(tools, list) else ()):
        function = tool.get("function") if isinstance(tool, dict) else None
        parameters = function.get("parameters") if isinstance(function, dict) else None
        if isinstance(parameters, dict):
            yield f"tools.{index}", "json", orjson.dumps(parameters).decode()


def _demands_calls(parsed: Mapping[str, Any]) -> bool:
    """Whether the parameters of functions constrain the answer; otherwise they only stand in the prompt."""
    return parsed.get("tool_choice") not in (None, "none", "auto")


def _is_json(spec: str) -> bool:
    try:
        orjson.loads(spec)
    except orjson.JSONDecodeError:
        return False  # vLLM's to refuse
    return True


def _as_ebnf(grammar: str) -> str:
    from vllm.v1.structured_output.utils import convert_lark_to_ebnf, grammar_is_likely_lark

    try:
        return str(convert_lark_to_ebnf(grammar)) if grammar_is_likely_lark(grammar) else grammar
    except ValueError:
        return grammar  # vLLM reports what is wrong with it


def _tokenizer_json(state: Any) -> str | None:
    """The server's tokenizer as xgrammar's JSON; None if xgrammar does not support it."""
    import xgrammar

    tokenizer, size = state.engine_client.get_tokenizer(), state.vllm_config.model_config.get_vocab_size()
    try:
        return xgrammar.TokenizerInfo.from_huggingface(tokenizer, vocab_size=size).serialize_json()
    except (TypeError, ValueError):
        return None


async def _body(receive: Receive) -> bytes | None:
    pieces = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        pieces.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(pieces)


def _replaying(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that returns the body first, then the messages of the original one."""
    is_sent = False

    async def replay() -> Message:
        nonlocal is_sent
        if is_sent:
            return await receive()
        is_sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


async def _refuse(send: Send, message: str, param: str | None) -> None:
    body = orjson.dumps({"error": {"message": message, "type": "BadRequestError", "param": param, "code": 400}})
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 400, "headers": headers})
    await send({"type": "http.response.body", "body": body})
