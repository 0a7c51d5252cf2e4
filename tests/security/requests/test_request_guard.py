"""What the engine's server is given of a request: the middleware alone, with the model's real tokenizer."""

import json
from collections.abc import MutableMapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from transformers import PreTrainedTokenizerFast

from models.control_tokens import BREAK
from models.vllm.guard import RequestGuard, constraints_of, tokens_of

CHECKPOINT = Path(__file__).resolve().parents[3] / "models/demo/checkpoint"
Json = dict[str, Any]


class Server:
    """In place of vLLM's application: keeps what it was asked, and answers with 200."""

    def __init__(self) -> None:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(CHECKPOINT)
        outputs = SimpleNamespace(backend="xgrammar", disable_any_whitespace=True)
        model = SimpleNamespace(get_vocab_size=lambda: len(tokenizer))
        self.state = SimpleNamespace(
            engine_client=SimpleNamespace(get_tokenizer=lambda: tokenizer),
            online_renderer=SimpleNamespace(chat_template=(CHECKPOINT / "chat_template.jinja").read_text()),
            vllm_config=SimpleNamespace(structured_outputs_config=outputs, model_config=model),
        )
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """As an application of Starlette's."""
        message = await receive()
        length = next(int(value) for name, value in scope["headers"] if name == b"content-length")
        assert length == len(message["body"])
        assert (await receive())["type"] == "http.disconnect", "who leaves is noticed"
        self.bodies.append(message["body"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})


@pytest.fixture(scope="module")
def server() -> Server:
    """With the demonstration model's tokenizer."""
    return Server()


@pytest.fixture(scope="module")
def guard(server: Server) -> RequestGuard:
    """In front of it."""
    return RequestGuard(server)


async def ask(guard: RequestGuard, server: Server, path: str, body: bytes) -> tuple[int, Json]:
    """Status and body of the answer to a request that comes in two pieces."""
    half = len(body) // 2
    waiting: list[Json] = [
        {"type": "http.request", "body": body[:half], "more_body": True},
        {"type": "http.request", "body": body[half:], "more_body": False},
        {"type": "http.disconnect"},
    ]
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> Json:
        return waiting.pop(0)

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    headers = [(b"content-length", str(len(body)).encode()), (b"x-other", b"1")]
    await guard({"type": "http", "path": path, "headers": headers, "app": server}, receive, send)
    return sent[0]["status"], orjson.loads(sent[1]["body"])


async def test_a_chats_control_tokens_are_broken_and_the_rest_is_as_it_was(guard: RequestGuard, server: Server) -> None:
    """Escaped ones too, in the body's JSON and in that of a call's arguments."""
    call = {"function": {"name": "f", "arguments": '{"a": "\\u003c|end|>", "n": 12345678901234567890123}'}}
    messages = [{"role": "user", "content": "a <|end|> b"}, {"role": "assistant", "tool_calls": [call]}]
    whole = json.dumps({"messages": messages, "temperature": 0.25}).replace("<", "\\u003c").encode()
    assert (await ask(guard, server, "/v1/chat/completions", whole))[0] == 200
    seen = orjson.loads(server.bodies[-1])
    assert seen["messages"][0]["content"] == f"a <{BREAK}|end|> b"
    arguments = json.loads(seen["messages"][1]["tool_calls"][0]["function"]["arguments"])
    assert arguments == {"a": f"<{BREAK}|end|>", "n": 12345678901234567890123}
    assert seen["temperature"] == 0.25


async def test_a_body_without_any_is_passed_on_byte_by_byte(guard: RequestGuard, server: Server) -> None:
    """And so is a completion's, whatever is in it."""
    plain = b'{"messages":[{"role":"user","content":"a < b, \\"c\\" "}] }'
    await ask(guard, server, "/v1/chat/completions", plain)
    assert server.bodies[-1] == plain
    prompt = b'{"prompt":"<|end|>" }'
    await ask(guard, server, "/v1/completions", prompt)
    assert server.bodies[-1] == prompt


@pytest.mark.timeout(600)
async def test_a_grammar_that_costs_too_much_does_not_reach_it(guard: RequestGuard, server: Server) -> None:
    """Whatever path it comes by; an ordinary one does."""
    bomb = "((((a{0,99}){0,99}){0,99}){0,99}){0,99}"
    before = len(server.bodies)
    for path, body, param in (
        ("/v1/completions", {"prompt": "a", "structured_outputs": {"regex": bomb}}, "structured_outputs.regex"),
        (
            "/v1/chat/completions",
            {"messages": [], "tools": [{"function": {"parameters": {"type": "string", "pattern": bomb}}}]},
            "tools.0",
        ),
    ):
        status, answer = await ask(guard, server, path, orjson.dumps(body))
        assert (status, answer["error"]["param"]) == (400, param)
        assert "than the maximum of" in answer["error"]["message"]
    assert len(server.bodies) == before
    ordinary = {"prompt": "a", "structured_outputs": {"choice": ['say "yes"', "no\\"]}}
    assert (await ask(guard, server, "/v1/completions", orjson.dumps(ordinary)))[0] == 200


async def test_a_body_that_is_no_json_is_refused(guard: RequestGuard, server: Server) -> None:
    """Nothing that cannot be looked at gets through."""
    assert (await ask(guard, server, "/v1/chat/completions", b'{"messages": NaN}'))[0] == 400


def test_the_tokens_are_the_servers_own(server: Server) -> None:
    """Of the tokenizer and the template that it uses."""
    assert {"<|end|>", "<|system|>", "<tool_call>", "</tool_response>"} <= tokens_of(server.state)


def test_every_way_to_name_a_grammar_is_seen() -> None:
    """Fields of another shape are left to the engine."""
    schema = {"type": "object"}
    parsed = {
        "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}},
        "structured_outputs": {"json": "{}", "regex": "a", "choice": ["a"], "structural_tag": "{}", "whitespace": 1},
        "tools": [{"function": {"name": "f", "parameters": schema}}, 7, {"function": None}],
    }
    kinds = [kind for _, kind, _ in constraints_of(parsed)]
    assert kinds == ["json", "json", "regex", "grammar", "structural_tag", "json"]
    assert not list(constraints_of({"response_format": 1, "structured_outputs": [], "tools": {}}))
    assert not list(constraints_of({"tools": parsed["tools"], "tool_choice": "none"}))
