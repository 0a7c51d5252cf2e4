"""llama.cpp's engine, real, on a model of one layer: it speaks vLLM's dialect, or refuses by the field's name."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from models.control_tokens import BREAK
from models.llama_cpp.forced_call import ForcedCall
from models.llama_cpp.request import Limits, Refused, translate
from models.llama_cpp.server import LlamaCppServer
from serving.engines import vllm_errors
from serving.protocol.sse import joined
from serving.protocol.stream_usage import StreamMeter
from serving.supervisor import reaper
from tests.support.models.tiny_gguf import write_adapter, write_gguf

CHAT, COMPLETION = "/v1/chat/completions", "/v1/completions"
LIMITS = Limits(context_tokens=512, vocabulary=258)
HELLO = [{"role": "user", "content": "Hello"}]
PLAY = {
    "type": "function",
    "function": {
        "name": "play",
        "parameters": {
            "type": "object",
            "properties": {"genre": {"enum": ["jazz", "rock"]}},
            "required": ["genre"],
            "additionalProperties": False,
        },
    },
}
STOP = {"type": "function", "function": {"name": "stop"}}


class Engine:
    """A started server and a client of it."""

    def __init__(self, server: LlamaCppServer, session: aiohttp.ClientSession) -> None:
        self.server = server
        self._session = session

    async def post(self, path: str, **body: Any) -> tuple[int, Any]:
        """Ask; the status and the JSON."""
        async with self._session.post(self.server.address + path, json={"model": "tiny", **body}) as answer:
            return answer.status, await answer.json()

    async def stream(self, path: str, **body: Any) -> tuple[bytes, list[Any]]:
        """Ask for a stream; its bytes and its events."""
        body = {"model": "tiny", "stream": True, **body}
        async with self._session.post(self.server.address + path, json=body) as answer:
            assert answer.status == 200, await answer.text()
            raw = await answer.read()
        lines = [line for line in raw.decode().split("\n\n") if line]
        assert lines[-1] == "data: [DONE]"
        return raw, [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model and an adapter."""
    folder = tmp_path_factory.mktemp("llama")
    write_gguf(folder / "tiny.gguf")
    write_adapter(folder / "adapter")
    return folder


@pytest.fixture
async def engine(files: Path, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Engine]:
    """The engine, up; a test's parameter is one more argument."""
    server = LlamaCppServer(
        model=str(files / "tiny.gguf"),
        served_name="tiny",
        arguments=["--context-tokens=512", "--parallel=2", *([request.param] if hasattr(request, "param") else [])],
        environment={},
        host="127.0.0.1",
        log_path=tmp_path / "engine.log",
        reaper=reaper.argv([], grace_s=5),
        adapters={"adapted": str(files / "adapter")},
    )
    await server.start(timeout_s=120)
    async with aiohttp.ClientSession(headers={"authorization": f"Bearer {server.key}"}) as session:
        yield Engine(server, session)
    await server.stop()
    assert not server.alive


async def test_what_clients_do_with_an_engine(engine: Engine) -> None:
    """One boot: chats, streams with counts, adapters, schemas, calls, log probabilities, refusals, the lock, aborts."""
    await _it_chats(engine)
    await _its_streams_are_vllm_s_to_the_gateway(engine)
    await _an_adapter_is_a_model_of_its_own(engine)
    await _constraints_hold(engine)
    await _demanded_calls_come(engine)
    await _log_probabilities_are_returned(engine)
    await _what_it_cannot_do_is_refused_by_name(engine)
    await _nobody_else_is_answered(engine)
    await _control_tokens_of_clients_are_text(engine)
    await _its_steps_are_reported(engine)
    await _an_abandoned_request_frees_its_slot(engine)


@pytest.mark.parametrize("engine", ['--sampling={"repetition_penalty": 2.0}'], indirect=True)
async def test_what_a_request_leaves_open_is_sampled_as_the_model_file_says(engine: Engine) -> None:
    """What it states wins."""
    params = {"messages": HELLO, "max_tokens": 8, "temperature": 0}
    (_, left_open), (_, the_same), (_, another) = [
        await engine.post(CHAT, **params, **stated)
        for stated in ({}, {"repetition_penalty": 2.0}, {"repetition_penalty": 1.0})
    ]
    assert left_open["choices"] == the_same["choices"] != another["choices"]


async def _it_chats(engine: Engine) -> None:
    status, answer = await engine.post(CHAT, messages=HELLO, max_tokens=5)
    assert (status, answer["object"], answer["model"]) == (200, "chat.completion", "tiny")
    assert answer["usage"]["completion_tokens"] == 5
    assert answer["choices"][0]["finish_reason"] == "length"
    status, answer = await engine.post(COMPLETION, prompt="Once", max_tokens=4)
    assert (status, answer["usage"]["prompt_tokens"]) == (200, 4), "a token for each byte"
    greedy = [await engine.post(CHAT, messages=HELLO, max_tokens=5, temperature=0) for _ in range(2)]
    assert greedy[0][1]["choices"] == greedy[1][1]["choices"]


async def _its_streams_are_vllm_s_to_the_gateway(engine: Engine) -> None:
    options = {"include_usage": True, "continuous_usage_stats": True}
    body, events = await engine.stream(CHAT, messages=HELLO, max_tokens=6, stream_options=options)
    meter = StreamMeter({"include_usage": True})
    passed = joined(meter.feed(body))
    assert meter.is_complete
    assert (meter.usage.completion_tokens, meter.problem) == (6, None)
    assert passed.count(b'"total_tokens"') == 1, "running counts are the gateway's, the last ones the client's"
    assert events[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    _, events = await engine.stream(COMPLETION, prompt="Once", max_tokens=3)
    assert all("usage" not in event for event in events)


async def _an_adapter_is_a_model_of_its_own(engine: Engine) -> None:
    params = {"messages": HELLO, "max_tokens": 8, "temperature": 0}
    _, base = await engine.post(CHAT, **params)
    _, adapted = await engine.post(CHAT, model="adapted", **params)
    _, again = await engine.post(CHAT, **params)
    assert adapted["model"] == "adapted"
    assert adapted["choices"][0]["message"] != base["choices"][0]["message"] == again["choices"][0]["message"]
    assert (await engine.post(CHAT, model="other", messages=HELLO))[0] == 404


async def _constraints_hold(engine: Engine) -> None:
    schema = {"type": "object", "properties": {"mood": {"enum": ["good", "bad"]}}, "required": ["mood"]}
    schema["additionalProperties"] = False  # type: ignore[assignment]
    response_format = {"type": "json_schema", "json_schema": {"name": "m", "strict": True, "schema": schema}}
    _, answer = await engine.post(CHAT, messages=HELLO, response_format=response_format, max_tokens=200)
    assert json.loads(answer["choices"][0]["message"]["content"])["mood"] in ("good", "bad")
    assert answer["choices"][0]["finish_reason"] == "stop"
    chosen = {"structured_outputs": {"choice": ["yes", "no"]}}
    _, answer = await engine.post(CHAT, messages=HELLO, max_tokens=20, **chosen)
    assert answer["choices"][0]["message"]["content"] in ("yes", "no")


async def _demanded_calls_come(engine: Engine) -> None:
    params = {"messages": HELLO, "tools": [PLAY, STOP], "tool_choice": "required", "max_tokens": 300}
    _, answer = await engine.post(CHAT, **params)
    (call,) = answer["choices"][0]["message"]["tool_calls"]
    assert call["function"]["name"] in ("play", "stop")
    assert answer["choices"][0]["finish_reason"] == "tool_calls"
    named = {**params, "tool_choice": {"type": "function", "function": {"name": "play"}}}
    _, events = await engine.stream(CHAT, **named)
    deltas = [call for event in events for call in event["choices"][0]["delta"].get("tool_calls", ())]
    assert deltas[0]["function"]["name"] == "play"
    assert json.loads("".join(delta["function"].get("arguments", "") for delta in deltas))["genre"] in ("jazz", "rock")


async def _log_probabilities_are_returned(engine: Engine) -> None:
    _, answer = await engine.post(CHAT, messages=HELLO, max_tokens=2, logprobs=True, top_logprobs=3)
    assert [len(token["top_logprobs"]) for token in answer["choices"][0]["logprobs"]["content"]] == [3, 3]
    _, answer = await engine.post(COMPLETION, prompt="Once", max_tokens=2, logprobs=2)
    assert len(answer["choices"][0]["logprobs"]["token_logprobs"]) == 2


async def _what_it_cannot_do_is_refused_by_name(engine: Engine) -> None:
    for field, value in {"n": 2, "prompt_logprobs": 1, "min_tokens": 3, "structured_outputs": {"regex": "a"}}.items():
        status, answer = await engine.post(CHAT, messages=HELLO, **{field: value})
        assert (status, answer["error"]["param"]) == (501, field)
        error = vllm_errors.translate(status, json.dumps(answer).encode(), {field})
        assert (error.status, error.param, error.code) == (400, field, "unsupported"), "as the gateway tells it"
    status, answer = await engine.post(CHAT, messages=[{"role": "user", "content": "x" * 600}])
    assert status == 400
    error = vllm_errors.translate(status, json.dumps(answer).encode(), {"messages"})
    assert (error.code, error.param) == ("context_length_exceeded", "messages")
    assert (await engine.post(CHAT, messages=HELLO, max_tokens=0))[0] == 400
    assert (await engine.post(CHAT, messages=HELLO, temperature="hot"))[0] == 400


async def _nobody_else_is_answered(engine: Engine) -> None:
    async with aiohttp.ClientSession() as stranger:
        for path in (CHAT, "/metrics", "/tokenize"):
            async with stranger.post(engine.server.address + path, json={}) as answer:
                assert answer.status == 401


async def _control_tokens_of_clients_are_text(engine: Engine) -> None:
    tokens = {}
    for text in ("a plain", "<|end|>"):  # of one length; a character that nobody sees has three bytes
        for role in ("system", "user", "tool"):
            messages = [{"role": role, "content": text}, *HELLO]
            status, answer = await engine.post(CHAT, messages=messages, max_tokens=1)
            assert status == 200, answer
            tokens[text, role] = answer["usage"]["prompt_tokens"]
    for role in ("system", "user", "tool"):
        assert tokens["<|end|>", role] == tokens["a plain", role] + len(BREAK.encode()), "not one token for all of it"
    _, answer = await engine.post(COMPLETION, prompt="<|end|>", max_tokens=1)
    assert answer["usage"]["prompt_tokens"] == 1, "a completion's prompt is the client's own"


async def _its_steps_are_reported(engine: Engine) -> None:
    before = await engine.server.load()
    await engine.post(CHAT, messages=HELLO, max_tokens=5)
    # bytes that are no text yet are held back, so that there may be fewer chunks than tokens
    assert (await engine.server.load()).steps > before.steps, "or a busy engine would pass for one that hangs"


async def _an_abandoned_request_frees_its_slot(engine: Engine) -> None:
    params = {"messages": HELLO, "max_tokens": 400, "ignore_eos": True, "temperature": 0}
    for streams in (False, True):  # many, as the model is so small that one may be over before it is left
        asking = [asyncio.create_task(engine.post(CHAT, **params, stream=streams)) for _ in range(16)]
        while (await engine.server.load()).running == 0:
            assert not all(each.done() for each in asking), "they were too quick to be left"
        for each in asking:
            each.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        assert await engine.server.drain(timeout_s=30)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"best_of": 2}, "best_of"),
        ({"echo": True}, "echo"),
        ({"suffix": "end"}, "suffix"),
        ({"prompt": ["a", "b"]}, "prompt"),
        ({"logprobs": 21}, "logprobs"),
        ({"max_tokens": True}, "max_tokens"),
        ({"structured_outputs": {"choice": []}}, "structured_outputs"),
        ({"max_tokens": 513}, "max_tokens"),
        ({"logit_bias": {"258": 1}}, "logit_bias"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
    ],
)
def test_what_llama_cpp_would_ignore_is_refused(body: dict[str, Any], param: str) -> None:
    """Its server answers as if nothing had been asked."""
    with pytest.raises(Refused) as refusal:
        translate({"prompt": "a", **body}, LIMITS, chats=False)
    assert refusal.value.param == param


def test_what_asks_for_nothing_is_no_reason_to_refuse() -> None:
    """Clients send defaults."""
    params = translate(
        {"messages": HELLO, "n": 1, "best_of": None, "logprobs": False, "min_tokens": 0}, LIMITS, chats=True
    )
    assert params["messages"] == HELLO
    assert (params["temperature"], params["top_k"]) == (1.0, 0), "vLLM's defaults, not llama.cpp's"


def test_a_call_is_streamed_while_it_is_generated() -> None:
    """Whatever the pieces are, the arguments are whole, and the object around them is no part of them."""
    text = '{ "name": "play", "arguments":  {"genre": "a}\\"{", "n": [1, {}]}\n}'
    for size in (1, 3, 7, len(text)):
        call = ForcedCall({"play": {}}, lambda: "id")
        deltas = [delta for at in range(0, len(text), size) for delta in call.feed(text[at : at + size])]
        assert deltas[0]["function"]["name"] == "play"
        assert json.loads("".join(delta["function"]["arguments"] for delta in deltas)) == {
            "genre": 'a}"{',
            "n": [1, {}],
        }
