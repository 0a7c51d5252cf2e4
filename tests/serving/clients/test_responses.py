"""POST /v1/responses: the official client's calls, and OpenAI's documented order of events."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from openai import APIError, BadRequestError, NotFoundError, OpenAI
from pydantic import BaseModel

from tests.serving.clients.conftest import FRESH
from tests.support.gateway_process import DEADLINE_S, GatewayProcess
from tests.support.polling import eventually
from tests.support.servers.engine import MODEL
from tests.support.servers.script import CUT, Ended, ScriptServer, call

PATH = "/v1/responses"
WEATHER: dict[str, Any] = {
    "type": "function",
    "name": "weather",
    "description": "The weather of a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    "strict": True,
}


@pytest.fixture
def client(gateway: GatewayProcess, engine: ScriptServer, key: str) -> Iterator[OpenAI]:
    """Return the official client; it tries nothing twice."""
    with OpenAI(
        base_url=f"{gateway.url}/v1", api_key=key, max_retries=0, timeout=DEADLINE_S, default_headers=FRESH
    ) as made:
        yield made


def test_a_text_is_answered(client: OpenAI, engine: ScriptServer) -> None:
    """The defaults of the official client work, and the usage is the engine's."""
    engine.answers = ["Good morning, Maya."]
    response = client.responses.create(model=MODEL, input="Good morning", instructions="Be kind.", store=True)
    assert response.output_text == "Good morning, Maya."
    assert (response.status, response.object, response.error) == ("completed", "response", None)
    assert response.usage is not None
    assert (response.usage.input_tokens, response.usage.output_tokens, response.usage.total_tokens) == (7, 5, 12)
    assert engine.requests[-1]["messages"] == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Good morning"},
    ]


def test_a_stream_has_the_documented_events_in_their_order(client: OpenAI, engine: ScriptServer) -> None:
    """Created, in progress, one item with one part, its deltas, and the whole response at the end."""
    engine.answers = ["I am here"]
    events = list(client.responses.create(model=MODEL, input="Are you there?", stream=True))
    assert [event.type for event in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    last = events[-1]
    assert last.type == "response.completed"
    assert last.response.output_text == "I am here"
    assert last.response.usage is not None
    assert last.response.usage.total_tokens == 12


def test_the_stream_helper_gathers_the_response(client: OpenAI, engine: ScriptServer) -> None:
    """`responses.stream` of the official client, with a format, parses the text."""

    class Mood(BaseModel):
        mood: str

    engine.answers = ['{"mood": "calm"}']
    with client.responses.stream(model=MODEL, input="How am I?", text_format=Mood) as stream:
        final = stream.get_final_response()
    assert final.output_parsed == Mood(mood="calm")
    schema = engine.requests[-1]["response_format"]["json_schema"]
    assert schema["schema"]["required"] == ["mood"]


@pytest.mark.parametrize("streams", [False, True])
def test_a_function_is_called_and_its_output_answered(client: OpenAI, engine: ScriptServer, streams: bool) -> None:
    """A call is an item with its arguments; sent back with its output, both become the chat's messages."""
    engine.answers = [("Let me look.", call("weather", city="Oslo")), "It snows."]
    tools: Any = [WEATHER]
    history: list[Any] = [{"role": "user", "content": "Oslo?"}]
    if streams:
        with client.responses.stream(model=MODEL, input=history, tools=tools) as stream:
            first: Any = stream.get_final_response()
    else:
        first = client.responses.create(model=MODEL, input=history, tools=tools)
    message, called = first.output
    assert (message.type, called.type, called.name, called.status) == (
        "message",
        "function_call",
        "weather",
        "completed",
    )
    assert called.arguments == '{"city": "Oslo"}'
    assert engine.requests[-1]["tools"][0]["function"]["parameters"] == WEATHER["parameters"]
    history += [item.model_dump(exclude_none=True, exclude={"parsed_arguments"}) for item in first.output]
    history.append({"type": "function_call_output", "call_id": called.call_id, "output": "-3 degrees, snow"})
    second = client.responses.create(model=MODEL, input=history, tools=tools)
    assert second.output_text == "It snows."
    _, assistant, result = engine.requests[-1]["messages"]
    assert assistant["content"] == "Let me look."
    assert assistant["tool_calls"][0]["function"] == {"name": "weather", "arguments": '{"city": "Oslo"}'}
    assert result == {"role": "tool", "tool_call_id": called.call_id, "content": "-3 degrees, snow"}


@pytest.mark.parametrize("streams", [False, True])
def test_an_answer_that_was_cut_is_incomplete(client: OpenAI, engine: ScriptServer, streams: bool) -> None:
    """`max_output_tokens` that are used up say so; the last item is incomplete too."""
    engine.answers = [Ended("So I", "length")]
    if streams:
        events = list(client.responses.create(model=MODEL, input="Tell me", max_output_tokens=2, stream=True))
        assert events[-1].type == "response.incomplete"
        response = events[-1].response
    else:
        response = client.responses.create(model=MODEL, input="Tell me", max_output_tokens=2)
    assert response.status == "incomplete"
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"
    assert response.output[-1].status == "incomplete"
    assert engine.requests[-1]["max_completion_tokens"] == 2


def test_a_stream_that_breaks_ends_with_error_and_failed(client: OpenAI, engine: ScriptServer) -> None:
    """An engine that is lost in a call, which nobody can continue, is told in the stream."""
    engine.always = CUT
    try:
        events = list(client.responses.create(model=MODEL, input="Tell me", tools=[WEATHER], stream=True))
    finally:
        engine.always = "All right."
    assert [event.type for event in events[-2:]] == ["error", "response.failed"]
    assert events[-1].type == "response.failed"
    assert events[-1].response.error is not None
    assert events[-1].response.error.code == "server_error"


def test_an_error_is_openais(client: OpenAI) -> None:
    """An unknown model, and a field of the chat's that is called otherwise here."""
    with pytest.raises(NotFoundError) as unknown:
        client.responses.create(model="gpt-4", input="Hi")
    assert unknown.value.code == "model_not_found"
    with pytest.raises(BadRequestError) as wrong:
        client.responses.create(model=MODEL, input="Hi", max_output_tokens=0)
    assert wrong.value.param == "max_output_tokens"


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"previous_response_id": "resp_1"}, "previous_response_id", "not stored"),
    ({"conversation": "conv_1"}, "conversation", "not stored"),
    ({"background": True}, "background", "not stored"),
    ({"prompt": {"id": "p"}}, "prompt", "instructions"),
    ({"truncation": "auto"}, "truncation", "disabled"),
    ({"tools": [{"type": "web_search"}]}, "tools.0.type", "web_search"),
    ({"tool_choice": "required"}, "tool_choice", "no tools"),
    ({"tools": [WEATHER], "tool_choice": {"type": "file_search"}}, "tool_choice.type", "function"),
    ({"input": []}, "input", "at least 1"),
    ({"input": [{"type": "item_reference", "id": "x"}]}, "input.0", "not stored"),
    ({"input": [{"type": "computer_call"}]}, "input.0.type", "function_call_output"),
    ({"input": [{"role": "wizard", "content": "x"}]}, "input.0.role", "developer"),
    ({"input": [{"role": "user", "content": ["x"]}]}, "input.0.content.0.type", "input_text"),
    ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]}, "input.0.content.0", "see"),
    ({"input": [{"type": "function_call_output", "call_id": "1", "output": 5}]}, "input.0.output", "text"),
    ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "text.format.schema", "required"),
    ({"messages": []}, "messages", "not accepted"),
    ({"max_tokens": 5}, "max_tokens", "not accepted"),
    ({"top_logprobs": 50}, "top_logprobs", "20"),
]


@pytest.mark.parametrize(("fields", "param", "words"), REFUSED, ids=[each[1] for each in REFUSED])
def test_what_cannot_be_had_is_refused_by_name(
    http: httpx.Client, engine: ScriptServer, fields: dict[str, Any], param: str, words: str
) -> None:
    """A field that needs OpenAI's servers, or is wrong, is a 400 that names it and what to do."""
    answer = http.post(PATH, json={"model": MODEL, "input": "Hi"} | fields)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, param), error
    assert words in error["message"]
    assert not engine.requests


def test_stored_responses_are_a_clear_404(client: OpenAI) -> None:
    """Whoever fetches a response learns that there are none."""
    with pytest.raises(NotFoundError, match="not stored"):
        client.responses.retrieve("resp_123")


def test_it_is_recorded_limited_and_counted_like_a_chat(gateway: GatewayProcess, engine: ScriptServer) -> None:
    """Its row has the endpoint and the tokens, and a tier's limit refuses it."""
    limited = gateway.make_key("limited-responses", tier="few")
    with httpx.Client(base_url=gateway.url, headers={"authorization": f"Bearer {limited}"} | FRESH) as http:
        first = http.post(PATH, json={"model": MODEL, "input": "Hi", "user": "maya"})
        assert first.headers["x-ratelimit-limit-requests"] == "3"
        assert first.headers["x-bondhu-model"].startswith(MODEL)
        statuses = [http.post(PATH, json={"model": MODEL, "input": "Hi"}).status_code for _ in range(4)]
        assert statuses[-1] == 429
        path = f"/v1/usage/{first.headers['x-request-id']}"
        row = eventually(lambda: (found := http.get(path)).status_code == 200 and found.json(), 15, "the row")
    assert (row["endpoint"], row["prompt_tokens"], row["completion_tokens"], row["user"]) == (PATH, 7, 5, "maya")


def test_the_same_question_is_cached_across_both_protocols(http: httpx.Client, engine: ScriptServer) -> None:
    """A greedy question that a chat asked before is answered from the cache."""
    cached = {"cache-control": ""}
    body = {"model": MODEL, "temperature": 0}
    engine.answers = ["Blue."]
    question = {"messages": [{"role": "user", "content": "Which colour has the sky?"}]}
    http.post("/v1/chat/completions", json=body | question, headers=cached).raise_for_status()

    def hit() -> bool:
        answer = http.post(PATH, json=body | {"input": "Which colour has the sky?"}, headers=cached)
        assert answer.json()["output"][0]["content"][0]["text"]
        return answer.headers["x-bondhu-cache"] == "hit"

    eventually(hit, 10, "a hit")


@pytest.mark.parametrize("streams", [False, True])
def test_an_agent_answers_with_its_events(http: httpx.Client, engine: ScriptServer, streams: bool) -> None:
    """Agents are models here too; their cards stand under `bondhu` of the response."""
    body = {"model": "bondhu/chat", "input": "Hello", "user": "maya", "stream": streams}
    answer = http.post(PATH, json=body)
    answer.raise_for_status()
    if streams:
        *_, last = (line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: "))
        response = httpx.Response(200, content=last).json()["response"]
    else:
        response = answer.json()
    assert response["status"] == "completed"
    assert response["output"][0]["content"][0]["text"]
    assert response["bondhu"]["events"][-1]["type"] == "done"


@pytest.mark.parametrize("header", ["last-event-id", "x-bondhu-on-disconnect"])
def test_a_stream_cannot_be_resumed(http: httpx.Client, header: str) -> None:
    """What only chats have is refused by name."""
    answer = http.post(PATH, json={"model": MODEL, "input": "Hi", "stream": True}, headers={header: "finish"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, header)


def test_a_broken_stream_is_an_error_for_the_helper(client: OpenAI, engine: ScriptServer) -> None:
    """An engine that refuses to begin is an error of the official client's kind."""
    engine.answers = [500, 500, 500]
    with pytest.raises(APIError):
        client.responses.create(model=MODEL, input="Tell me", stream=True)
