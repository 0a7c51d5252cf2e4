"""Tool calls and JSON schemas on real engines, for what clients ran into."""

import json
from typing import Any

import httpx
import pytest
from openai import OpenAI

from tests.support.services import Service, of_each_engine

pytestmark = of_each_engine

MODEL, CHAT = "bondhu-demo", "/v1/chat/completions"
BODY: dict[str, Any] = {
    "model": MODEL,
    "messages": [{"role": "user", "content": "What is the weather in Oslo?"}],
    "temperature": 0,
}
CITY = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 12}}, "required": ["city"]}


def tool(name: str, **function: Any) -> dict[str, Any]:
    """A function that may be called."""
    return {"type": "function", "function": {"name": name, **function}}


WEATHER, NEWS = tool("weather", parameters=CITY), tool("news", parameters=CITY)


@pytest.mark.parametrize("more", [{}, {"parallel_tool_calls": False}], ids=["default", "one"])
@pytest.mark.parametrize("streams", [False, True])
def test_a_demanded_call_is_one_whole_call(client: OpenAI, streams: bool, more: dict[str, Any]) -> None:
    """`required` gives one call with arguments that fit, and does not fill all tokens with calls."""
    required = BODY | {"tools": [WEATHER, NEWS], "tool_choice": "required", "max_tokens": 200} | more
    if streams:
        chunks = list(client.chat.completions.create(**required, stream=True, stream_options={"include_usage": True}))
        pieces = [call for each in chunks for choice in each.choices for call in choice.delta.tool_calls or ()]
        names = [call.function.name for call in pieces if call.function.name]
        arguments = "".join(call.function.arguments or "" for call in pieces)
        (finish,) = [choice.finish_reason for each in chunks for choice in each.choices if choice.finish_reason]
        tokens = chunks[-1].usage.completion_tokens
    else:
        whole = client.chat.completions.create(**required)
        calls: Any = whole.choices[0].message.tool_calls
        names, arguments = [call.function.name for call in calls], calls[0].function.arguments
        finish, tokens = whole.choices[0].finish_reason, whole.usage.completion_tokens  # type: ignore[union-attr]
    assert names in (["weather"], ["news"])
    assert json.loads(arguments).keys() == {"city"}
    assert finish == "tool_calls"
    assert tokens < 200


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "weather"}}])
@pytest.mark.parametrize("streams", [False, True])
def test_a_call_that_was_cut_ends_with_length(http: httpx.Client, streams: bool, choice: Any) -> None:
    """Unfinished arguments are not handed out in a whole answer, and a stream says that it was cut."""
    body = BODY | {"tools": [WEATHER], "tool_choice": choice, "max_tokens": 4, "stream": streams}
    answer = http.post(CHAT, json=body)
    answer.raise_for_status()
    if streams:
        chunks = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
        reasons = [choice["finish_reason"] for each in chunks for choice in each["choices"] if choice["finish_reason"]]
        assert reasons == ["length"]
    else:
        first = answer.json()["choices"][0]
        assert first["finish_reason"] == "length"
        assert not first["message"].get("tool_calls")


@pytest.mark.parametrize("streams", [False, True])
def test_a_function_without_parameters_gets_an_empty_object(http: httpx.Client, streams: bool) -> None:
    """A model invents no arguments for it."""
    choice = {"type": "function", "function": {"name": "now"}}
    body = BODY | {"tools": [tool("now")], "tool_choice": choice, "max_tokens": 40, "stream": streams}
    answer = http.post(CHAT, json=body)
    answer.raise_for_status()
    if streams:
        chunks = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
        pieces = [
            call for each in chunks for choice in each["choices"] for call in choice["delta"].get("tool_calls") or ()
        ]
        arguments = "".join(call["function"].get("arguments") or "" for call in pieces)
    else:
        (call,) = answer.json()["choices"][0]["message"]["tool_calls"]
        arguments = call["function"]["arguments"]
    assert json.loads(arguments) == {}


def test_no_call_is_in_the_text_of_who_wants_none(client: OpenAI) -> None:
    """`none` hides the tools from the model, so that it writes none into its text."""
    whole = client.chat.completions.create(**BODY, tools=[WEATHER], tool_choice="none", max_tokens=60)  # type: ignore[list-item]
    assert not whole.choices[0].message.tool_calls
    assert "tool_call" not in (whole.choices[0].message.content or "")


def form(schema: Any) -> dict[str, Any]:
    """A body that wants an answer by this schema."""
    described = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    return BODY | {"response_format": described, "max_tokens": 120}


INTEGER = {"type": "integer", "minimum": 1, "maximum": 99}


@pytest.mark.parametrize(
    ("keyword", "schema"),
    [
        ("allOf", {"allOf": [{"type": "object", "properties": {name: INTEGER}} for name in "ab"]}),
        ("not", {"type": "integer", "not": {"const": 3}}),
        ("dependentRequired", {"type": "object", "properties": {"a": INTEGER}, "dependentRequired": {"a": ["b"]}}),
        ("uniqueItems", {"type": "array", "items": INTEGER, "uniqueItems": True}),
        ("example.org", {"$ref": "https://example.org/schema.json"}),
        ("zz", {"type": "object", "properties": {"a": INTEGER}, "required": ["zz"], "additionalProperties": False}),
    ],
)
def test_what_would_not_be_enforced_is_refused_by_name(http: httpx.Client, keyword: str, schema: Any) -> None:
    """Never ignored."""
    answer = http.post(CHAT, json=form(schema))
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["param"] == "response_format"
    assert keyword in error["message"]


def test_an_object_with_a_schema_is_by_the_schema(http: httpx.Client, engine_service: Service) -> None:
    """`json_object` with `schema`, as some clients send it."""
    schema = {"type": "object", "properties": {"n": INTEGER}, "required": ["n"], "additionalProperties": False}
    form_ = {"response_format": {"type": "json_object", "schema": schema}, "max_tokens": 60}
    answer = http.post(CHAT, json=BODY | form_)
    assert json.loads(answer.json()["choices"][0]["message"]["content"]).keys() == {"n"}


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "user", "content": ["Hello", "there"]}],
        [{"role": "user", "content": [{"type": "input_text", "text": "Hello"}]}],
        [
            {"role": "user", "content": "Hello"},
            {
                "role": "assistant",
                "tool_calls": [
                    {"id": "1", "type": "function", "function": {"name": "weather", "arguments": {"city": "Oslo"}}}
                ],
            },
            {"role": "tool", "tool_call_id": "1", "content": "snow"},
        ],
    ],
    ids=["texts", "input_text", "arguments as an object"],
)
def test_what_other_clients_write_is_taken(http: httpx.Client, messages: Any) -> None:
    """Parts that are texts, parts of the Responses protocol, arguments that are an object."""
    answer = http.post(CHAT, json=BODY | {"messages": messages, "max_tokens": 5})
    assert answer.status_code == 200, answer.text


def test_an_error_names_nothing_that_only_the_operator_has(http: httpx.Client) -> None:
    """The engine's own words mention environment variables."""
    for wrong in ({"n": 129}, {"stop": ["x"] * 5}, {"bad_words": ["x"] * 129}):
        answer = http.post(CHAT, json=BODY | wrong)
        assert answer.status_code == 400
        error = answer.json()["error"]
        assert error["param"] in wrong
        assert "VLLM" not in error["message"]
        assert "validation" not in error["message"]
