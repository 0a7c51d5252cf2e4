"""When a model's engine does not answer, another does: before the first token unseen, after it where it stopped.

The engine is stopped (SIGSTOP), which is what a hang looks like from outside: connections stay open, nothing comes.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import pytest
from gemini_server import GeminiServer, quota_daily
from local_stack import LocalStack
from openai import APIError, APIStatusError, OpenAI

CORE = "VLLM::EngineCore"
HELLO: Any = [{"role": "user", "content": "Tell me about your day."}]
STREAM: Any = {"messages": HELLO, "max_tokens": 1500, "stream": True}


@contextmanager
def frozen(cores: list[psutil.Process]) -> Iterator[None]:
    """Within it, no engine goes on."""
    for core in cores:
        core.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for core in cores:
            core.send_signal(signal.SIGCONT)


@pytest.fixture
def cores(stack: LocalStack) -> list[psutil.Process]:
    """The engines' processes; found before a test begins, for an answer takes a fraction of a second."""
    return stack.processes(CORE)


def usage(client: OpenAI, request_id: str) -> dict[str, Any]:
    """What the ledger says of a request."""
    answer: Any = client.get(f"/usage/{request_id}", cast_to=object)
    assert isinstance(answer, dict)
    return answer


def test_a_request_whose_engine_hangs_is_answered_outside(
    stack: LocalStack, cores: list[psutil.Process], outgoing: OpenAI, gemini: GeminiServer
) -> None:
    """No first token in time: the model outside answers, reply and ledger say so, and the client saw one answer."""
    with frozen(cores):
        answer = outgoing.chat.completions.with_raw_response.create(
            model="bondhu", messages=HELLO, max_tokens=20, stream=True, extra_headers={"x-request-id": "hung"}
        )
        chunks = list(answer.parse())
    assert answer.headers["x-bondhu-model"].startswith("gemini;")
    assert {chunk.model for chunk in chunks} == {"gemini"}
    assert chunks[-1].choices[0].finish_reason
    (segment,) = usage(outgoing, "hung")["segments"]
    assert (segment["model"], segment["reason"]) == ("gemini", "ttft_timeout")
    assert "gemini" in (stack.var_dir / "logs/gateway.log").read_text()


def test_a_stream_whose_engine_hangs_is_continued_outside(
    stack: LocalStack, cores: list[psutil.Process], outgoing: OpenAI, gemini: GeminiServer
) -> None:
    """After a stall the model outside goes on from the text, in one stream with one id, and both are on record."""
    answer = outgoing.chat.completions.with_raw_response.create(
        model="bondhu", **STREAM, stream_options={"include_usage": True}, extra_headers={"x-request-id": "stalled"}
    )
    stream = iter(answer.parse())
    chunks = [next(stream)]
    asked_before = len(gemini.requests)
    with frozen(cores):
        chunks += list(stream)
    assert len({chunk.id for chunk in chunks}) == 1
    finish, counted, last = chunks[-3:]
    assert finish.choices[0].finish_reason
    row = usage(outgoing, "stalled")
    first, second = row["segments"]
    assert (first["reason"], second["model"], second["reason"]) == ("asked", "gemini", "stalled")
    assert (first["from_token"], first["to_token"]) == (0, second["from_token"])
    assert row["outcome"] == "ok"
    final = counted.usage
    assert final is not None
    assert final.completion_tokens == second["to_token"] == row["completion_tokens"]
    provenance: Any = (last.model_extra or {})["bondhu"]["segments"]
    assert [segment | {"engine_s": 0} for segment in provenance] == [
        segment | {"engine_s": 0} for segment in row["segments"]
    ]
    sent = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    (asked,) = gemini.requests[asked_before:]
    told = [
        part["text"] for content in asked.body["contents"] for part in content["parts"] if content["role"] == "model"
    ]
    assert sent.startswith("".join(told))


def test_nothing_leaves_without_consent(
    stack: LocalStack, cores: list[psutil.Process], client: OpenAI, gemini: GeminiServer
) -> None:
    """A key that may not go outside gets an error, in the stream or as its status, and nothing is sent outside."""
    asked_before = len(gemini.requests)
    stream = iter(client.chat.completions.create(model="bondhu", **STREAM))
    next(stream)
    with frozen(cores):
        with pytest.raises(APIError) as broken:
            list(stream)
        with pytest.raises(APIStatusError) as refused:
            client.chat.completions.create(model="bondhu", messages=HELLO, stream=True)
    assert broken.value.code in ("engine_timeout", "model_not_ready")
    assert refused.value.status_code in (503, 504)
    assert len(gemini.requests) == asked_before


def test_guided_output_is_never_spliced(
    stack: LocalStack, cores: list[psutil.Process], outgoing: OpenAI, gemini: GeminiServer
) -> None:
    """Half a JSON document is not gone on with by another model: the stream ends with an error."""
    asked_before = len(gemini.requests)
    schema = {
        "type": "object",
        "properties": {"words": {"type": "array", "minItems": 400, "items": {"type": "string"}}},
    }
    shape: Any = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    stream = iter(outgoing.chat.completions.create(model="bondhu", **STREAM, response_format=shape))
    next(stream)
    with frozen(cores), pytest.raises(APIError):
        list(stream)
    assert len(gemini.requests) == asked_before


def test_a_quota_of_the_day_closes_the_way_out(
    stack: LocalStack, cores: list[psutil.Process], outgoing: OpenAI, gemini: GeminiServer
) -> None:
    """After Gemini says that the day's quota is used up, nobody asks it again."""
    gemini.script(quota_daily())
    asked_before = len(gemini.requests)
    with frozen(cores):
        for _ in range(2):
            with pytest.raises(APIStatusError) as refused:
                outgoing.chat.completions.create(model="bondhu", messages=HELLO, stream=True)
            assert refused.value.status_code in (502, 503, 504)
    assert len(gemini.requests) == asked_before + 1
