"""POST /v1/messages: Anthropic's own client, and the documented order of events."""

from collections.abc import Iterator
from typing import Any

import anthropic
import httpx
import pytest

from tests.serving.clients.conftest import FRESH
from tests.support.gateway_process import DEADLINE_S, GatewayProcess
from tests.support.polling import eventually
from tests.support.servers.engine import MODEL
from tests.support.servers.script import CUT, Ended, ScriptServer, call

PATH = "/v1/messages"
HI: dict[str, Any] = {"model": MODEL, "max_tokens": 32, "messages": [{"role": "user", "content": "Hi"}]}
WEATHER: dict[str, Any] = {
    "name": "weather",
    "description": "The weather of a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


@pytest.fixture
def client(gateway: GatewayProcess, engine: ScriptServer, key: str) -> Iterator[anthropic.Anthropic]:
    """Return Anthropic's client, which sends its key as `x-api-key`; it tries nothing twice."""
    with anthropic.Anthropic(
        base_url=gateway.url, api_key=key, max_retries=0, timeout=DEADLINE_S, default_headers=FRESH
    ) as made:
        yield made


def test_a_message_is_answered(client: anthropic.Anthropic, engine: ScriptServer) -> None:
    """The defaults of the client work; system, stop sequences and the person arrive as a chat has them."""
    engine.answers = [Ended("Good morning,", "stop", "Maya")]
    message = client.messages.create(
        **HI | {"system": [{"type": "text", "text": "Be kind.", "cache_control": {"type": "ephemeral"}}]},
        stop_sequences=["Maya"],
        metadata={"user_id": "maya"},
        extra_body={"top_k": 5},
    )
    assert [block.to_dict() for block in message.content] == [{"type": "text", "text": "Good morning,"}]
    assert (message.role, message.type, message.model) == ("assistant", "message", MODEL)
    assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", "Maya")
    assert (message.usage.input_tokens, message.usage.output_tokens) == (7, 5)
    sent = engine.requests[-1]
    assert sent["messages"] == [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}]
    assert (sent["stop"], sent["user"], sent["max_tokens"], sent["top_k"]) == (["Maya"], "maya", 32, 5)


def test_a_stream_has_the_documented_events_in_their_order(client: anthropic.Anthropic, engine: ScriptServer) -> None:
    """Start, one block with its deltas, the reason of the end with the usage, stop."""
    engine.answers = ["I am here"]
    events = list(client.messages.create(**HI, stream=True))
    assert [event.type for event in events] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    last = events[-2]
    assert last.type == "message_delta"
    assert (last.delta.stop_reason, last.usage.output_tokens, last.usage.input_tokens) == ("end_turn", 5, 7)


@pytest.mark.parametrize("streams", [False, True])
def test_a_tool_is_used_and_its_result_answered(
    client: anthropic.Anthropic, engine: ScriptServer, streams: bool
) -> None:
    """A call is a block with its input; sent back with its result, both become the chat's messages."""
    engine.answers = [("Let me look.", call("weather", city="Oslo")), "It snows."]
    tools: Any = [WEATHER]
    history: list[Any] = [{"role": "user", "content": "Oslo?"}]
    sent: dict[str, Any] = {"model": MODEL, "max_tokens": 64, "tools": tools}
    choice: Any = {"type": "any", "disable_parallel_tool_use": True}
    if streams:
        with client.messages.stream(**sent, messages=history, tool_choice=choice) as stream:
            first: Any = stream.get_final_message()
    else:
        first = client.messages.create(**sent, messages=history, tool_choice=choice)
    text, used = first.content
    assert (first.stop_reason, text.text, used.type, used.name) == ("tool_use", "Let me look.", "tool_use", "weather")
    assert used.input == {"city": "Oslo"}
    chat = engine.requests[-1]
    assert (chat["tool_choice"], chat["parallel_tool_calls"]) == ("required", False)
    assert chat["tools"][0]["function"]["parameters"] == WEATHER["input_schema"]
    history.append({"role": "assistant", "content": [block.to_dict() for block in first.content]})
    result = {"type": "tool_result", "tool_use_id": used.id, "content": [{"type": "text", "text": "snow"}]}
    history.append({"role": "user", "content": [result, {"type": "text", "text": "Well?"}]})
    second: Any = client.messages.create(**sent, messages=history)
    assert second.content[0].text == "It snows."
    _, assistant, tool, person = engine.requests[-1]["messages"]
    assert assistant["tool_calls"][0]["function"]["arguments"] == '{"city":"Oslo"}'
    assert tool == {"role": "tool", "tool_call_id": used.id, "content": "snow"}
    assert person == {"role": "user", "content": "Well?"}


@pytest.mark.parametrize("streams", [False, True])
def test_an_answer_that_was_cut_says_so(client: anthropic.Anthropic, engine: ScriptServer, streams: bool) -> None:
    """`max_tokens` is the reason of the end, and an unfinished call is not handed out as a whole one."""
    half = [{"id": "1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Os'}}]
    engine.answers = [Ended(("Let me look.", half), "length")]
    if streams:
        with client.messages.stream(**HI, tools=[WEATHER]) as stream:  # type: ignore[list-item]
            message: Any = stream.get_final_message()
    else:
        message = client.messages.create(**HI, tools=[WEATHER])
        assert [block.type for block in message.content] == ["text"]
    assert message.stop_reason == "max_tokens"


def test_a_last_message_of_the_assistants_is_continued(client: anthropic.Anthropic, engine: ScriptServer) -> None:
    """What the answer begins with can be said beforehand."""
    messages: list[Any] = [*HI["messages"], {"role": "assistant", "content": "Once"}]
    client.messages.create(**HI | {"messages": messages})
    sent = engine.requests[-1]
    assert (sent["continue_final_message"], sent["add_generation_prompt"]) == (True, False)


def test_a_default_for_larger_models_is_no_bound(client: anthropic.Anthropic, engine: ScriptServer) -> None:
    """`max_tokens` is required here, and clients' defaults exceed a small model's context."""
    client.messages.create(**HI | {"max_tokens": 16_384})
    assert "max_tokens" not in engine.requests[-1]


def test_a_format_is_the_chats(client: anthropic.Anthropic, engine: ScriptServer) -> None:
    """`output_config.format` constrains the text."""
    schema = {"type": "object", "properties": {"mood": {"type": "string"}}, "required": ["mood"]}
    engine.answers = ['{"mood": "calm"}']
    config: Any = {"format": {"type": "json_schema", "schema": schema}}
    client.messages.create(**HI, output_config=config)
    assert engine.requests[-1]["response_format"]["json_schema"]["schema"] == schema


def test_errors_are_anthropics(client: anthropic.Anthropic, gateway: GatewayProcess) -> None:
    """Anthropic's client raises its own kinds: from the key to the model."""
    with pytest.raises(anthropic.NotFoundError) as unknown:
        client.messages.create(**HI | {"model": "claude-3"})
    assert unknown.value.body == {
        "type": "error",
        "error": {"type": "not_found_error", "message": unknown.value.body["error"]["message"]},  # type: ignore[index]
        "request_id": unknown.value.response.headers["x-request-id"],
    }
    with (
        anthropic.Anthropic(base_url=gateway.url, api_key="sk-none", max_retries=0) as stranger,
        pytest.raises(anthropic.AuthenticationError),
    ):
        stranger.messages.create(**HI)
    wrong = httpx.get(gateway.url + PATH)
    assert (wrong.status_code, wrong.json()["type"], wrong.headers["allow"]) == (405, "error", "POST")


def test_a_stream_that_breaks_raises(client: anthropic.Anthropic, engine: ScriptServer) -> None:
    """An engine that is lost in a stream with tools, which nobody can continue, is an error event."""
    engine.always = CUT
    try:
        with pytest.raises(anthropic.APIError, match="api_error"):
            list(client.messages.create(**HI, tools=[WEATHER], stream=True))
    finally:
        engine.always = "All right."


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"max_tokens": None}, "max_tokens"),
    ({"messages": []}, "messages"),
    ({"messages": [{"role": "wizard", "content": "x"}]}, "messages.0.role"),
    ({"messages": [{"role": "user", "content": ["x"]}]}, "messages.0.content"),
    ({"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]}, "cannot see images"),
    ({"messages": [{"role": "user", "content": [{"type": "document"}]}]}, "tool_result"),
    ({"messages": [{"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "f"}]}]}, "input"),
    ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "web_search_20250305"),
    ({"tools": [WEATHER], "tool_choice": {"type": "tool"}}, "tool_choice.name"),
    ({"mcp_servers": [{"type": "url"}]}, "mcp_servers"),
    ({"container": "x"}, "container"),
    ({"stop_sequences": ["x"] * 5}, "stop_sequences"),
]


@pytest.mark.parametrize(("fields", "words"), REFUSED, ids=[each[1] for each in REFUSED])
def test_what_cannot_be_had_is_refused_by_name(
    http: httpx.Client, engine: ScriptServer, fields: dict[str, Any], words: str
) -> None:
    """What is wrong, or needs Anthropic's servers, is a 400 in Anthropic's shape that names it."""
    answer = http.post(PATH, json=HI | fields)
    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (400, "invalid_request_error"), error
    assert words in error["message"]
    assert not engine.requests


def test_it_is_recorded_limited_and_counted_like_a_chat(gateway: GatewayProcess, engine: ScriptServer) -> None:
    """Its row has the endpoint and the tokens, and a tier's limit refuses it in Anthropic's shape."""
    limited = gateway.make_key("limited-messages", tier="few")
    with httpx.Client(base_url=gateway.url, headers={"x-api-key": limited} | FRESH) as http:
        first = http.post(PATH, json=HI | {"metadata": {"user_id": "maya"}})
        last = [http.post(PATH, json=HI) for _ in range(4)][-1]
        assert (last.status_code, last.json()["error"]["type"]) == (429, "rate_limit_error")
        assert int(last.headers["retry-after"]) > 0
        path = f"/v1/usage/{first.headers['x-request-id']}"
        row = eventually(lambda: (found := http.get(path)).status_code == 200 and found.json(), 15, "the row")
    assert (row["endpoint"], row["prompt_tokens"], row["completion_tokens"], row["user"]) == (PATH, 7, 5, "maya")


@pytest.mark.parametrize("streams", [False, True])
def test_an_agent_answers(client: anthropic.Anthropic, streams: bool) -> None:
    """Agents are models here too."""
    sent = HI | {"model": "bondhu/chat"}
    if streams:
        with client.messages.stream(**sent) as stream:
            message: Any = stream.get_final_message()
    else:
        message = client.messages.create(**sent)
    assert message.stop_reason == "end_turn"
    assert message.content[0].text
