"""The translation of OpenAI's requests for Gemini: what becomes of each field, and what is refused by name."""

import base64
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.chat import BadRequest
from models.gemini.errors import Unsupported
from models.gemini.messages import NO_SIGNATURE
from models.gemini.request import GeminiRequest, translate

FLASH, SIGNING = "gemini-2.5-flash", "gemini-3-flash-preview"
USER = {"role": "user", "content": "hi"}
PNG = base64.b64encode(b"png").decode()
IMAGE = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
FUNCTION = {"name": "weather", "description": "of a city", "parameters": {"type": "object", "$comment": "kept"}}
TOOLS = [{"type": "function", "function": FUNCTION}]


def translated(model: str = FLASH, /, **request: Any) -> GeminiRequest:
    """The call for a request, which says hi if nothing else."""
    return translate({"messages": [USER], **request}, model=model, thinking_tokens=0)


def called(*ids: str, arguments: str = '{"city": "Dhaka"}', **extra: Any) -> dict[str, Any]:
    """An assistant's message that calls the weather."""
    function = {"name": "weather", "arguments": arguments}
    return {"role": "assistant", "tool_calls": [{"id": each, "function": function, **extra} for each in ids]}


def call_part(call_id: str) -> dict[str, Any]:
    """What a call becomes."""
    return {"function_call": {"id": call_id, "name": "weather", "args": {"city": "Dhaka"}}}


def result_part(call_id: str, output: str) -> dict[str, Any]:
    """What a tool's message becomes."""
    return {"function_response": {"id": call_id, "name": "weather", "response": {"output": output}}}


@pytest.mark.parametrize(
    ("messages", "contents"),
    [
        ([USER], [("user", [{"text": "hi"}])]),
        ([USER, {"role": "user", "content": "there"}], [("user", [{"text": "hi"}, {"text": "there"}])]),
        (
            [USER, {"role": "assistant", "content": "hello"}, USER],
            [("user", [{"text": "hi"}]), ("model", [{"text": "hello"}]), ("user", [{"text": "hi"}])],
        ),
        ([{"role": "assistant", "content": ""}, USER], [("user", [{"text": "hi"}])]),
        ([USER, {"role": "assistant", "content": None, "refusal": "no"}, USER], [("user", [{"text": "hi"}] * 2)]),
        (
            [{"role": "user", "content": [{"type": "text", "text": "what is it?"}, IMAGE]}],
            [("user", [{"text": "what is it?"}, {"inline_data": {"mime_type": "image/png", "data": b"png"}}])],
        ),
        (
            [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": PNG, "format": "wav"}}]}],
            [("user", [{"inline_data": {"mime_type": "audio/wav", "data": b"png"}}])],
        ),
        (
            [
                {
                    "role": "user",
                    "content": [{"type": "file", "file": {"file_data": f"data:application/pdf;base64,{PNG}"}}],
                }
            ],
            [("user", [{"inline_data": {"mime_type": "application/pdf", "data": b"png"}}])],
        ),
        (
            [
                USER,
                called("a", "b"),
                {"role": "tool", "tool_call_id": "a", "content": "18"},
                {"role": "tool", "tool_call_id": "b", "content": [{"type": "text", "text": "19"}]},
                USER,
            ],
            [
                ("user", [{"text": "hi"}]),
                ("model", [call_part("a"), call_part("b")]),
                ("user", [result_part("a", "18"), result_part("b", "19"), {"text": "hi"}]),
            ],
        ),
    ],
)
def test_messages_become_turns(messages: list[Any], contents: list[Any]) -> None:
    """Roles alternate, parts keep their order, a tool's result knows its function's name."""
    assert translated(messages=messages).contents == [{"role": role, "parts": parts} for role, parts in contents]


def test_system_messages_become_the_system_instruction() -> None:
    """System and developer messages, wherever they stand, are told apart from the conversation."""
    parts = [{"type": "text", "text": "in "}, {"type": "text", "text": "Bengali"}]
    call = translated(
        messages=[{"role": "system", "content": "be kind"}, USER, {"role": "developer", "content": parts}]
    )
    assert call.config["system_instruction"] == "be kind\n\nin Bengali"
    assert call.contents == [{"role": "user", "parts": [{"text": "hi"}]}]


def test_signatures_come_back_from_the_history() -> None:
    """The client's is used; where none is, only Gemini 3 gets the stand-in, and for the first of parallel calls."""
    signature = base64.b64encode(b"signed").decode()
    result = {"role": "tool", "tool_call_id": "a", "content": "18"}
    kept = called("a", extra_content={"google": {"thought_signature": signature}})

    def signatures(model: str, message: dict[str, Any]) -> list[bytes | None]:
        contents = translated(model, messages=[USER, message, result]).contents
        return [part.get("thought_signature") for part in contents[1]["parts"]]

    assert signatures(FLASH, kept) == signatures(SIGNING, kept) == [b"signed"]
    assert signatures(FLASH, called("a", "b")) == [None, None]
    assert signatures(SIGNING, called("a", "b")) == [NO_SIGNATURE, None]


@pytest.mark.parametrize(
    ("fields", "config"),
    [
        ({"temperature": 0, "top_p": 0.9, "top_k": 40}, {"temperature": 0, "top_p": 0.9, "top_k": 40}),
        ({"top_k": -1, "presence_penalty": 0, "frequency_penalty": 0.0}, {}),
        ({"presence_penalty": 0.5, "frequency_penalty": -1}, {"presence_penalty": 0.5, "frequency_penalty": -1}),
        ({"seed": 2**33 + 5}, {"seed": 5}),
        ({"stop": "END"}, {"stop_sequences": ["END"]}),
        ({"stop": ["a", "", "b"]}, {"stop_sequences": ["a", "b"]}),
        ({"stop": []}, {}),
        ({"max_tokens": 10}, {"max_output_tokens": 10}),
        ({"max_tokens": 10, "max_completion_tokens": 20}, {"max_output_tokens": 20}),
        ({"response_format": {"type": "text"}}, {}),
        ({"response_format": {"type": "json_object"}}, {"response_mime_type": "application/json"}),
        ({"temperature": None, "stop": None, "tools": None, "n": None, "logprobs": None}, {}),
        ({"model": "x", "stream": True, "stream_options": {"include_usage": True}, "user": "u"}, {}),
        ({"n": 1, "logprobs": False, "logit_bias": {}, "min_p": 0.0, "modalities": ["text"]}, {}),
    ],
)
def test_fields_become_the_config(fields: dict[str, Any], config: dict[str, Any]) -> None:
    """What Gemini has is translated; what asks for nothing is left out."""
    assert translated(**fields).config == {"thinking_config": {"thinking_budget": 0}, **config}


@pytest.mark.parametrize(
    ("choice", "calling"),
    [
        (None, {"mode": "AUTO"}),
        ("auto", {"mode": "AUTO"}),
        ("none", {"mode": "NONE"}),
        ("required", {"mode": "ANY"}),
        (
            {"type": "function", "function": {"name": "weather"}},
            {"mode": "ANY", "allowed_function_names": ["weather"]},
        ),
    ],
)
def test_tools_are_declared_with_their_choice(choice: Any, calling: dict[str, Any]) -> None:
    """A function's schema goes as it is."""
    config = translated(tools=TOOLS, tool_choice=choice).config
    declaration = {"name": "weather", "description": "of a city", "parameters_json_schema": FUNCTION["parameters"]}
    assert config["tools"] == [{"function_declarations": [declaration]}]
    assert config["tool_config"] == {"function_calling_config": calling}


def test_a_function_without_parameters_is_declared() -> None:
    """No schema is made up."""
    tools = [{"type": "function", "function": {"name": "now", "parameters": {}}}]
    assert translated(tools=tools).config["tools"] == [{"function_declarations": [{"name": "now"}]}]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"logit_bias": {"5": 1}}, "logit_bias"),
        ({"min_p": 0.1}, "min_p"),
        ({"repetition_penalty": 1.2}, "repetition_penalty"),
        ({"structured_outputs": {"regex": "a+"}}, "structured_outputs"),
        ({"ignore_eos": True}, "ignore_eos"),
        ({"add_special_tokens": True}, "add_special_tokens"),
        ({"functions": [FUNCTION]}, "functions"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"something_of_tomorrow": 1}, "something_of_tomorrow"),
        ({"stop": ["a", "b", "c", "d", "e", "f"]}, "stop"),
        ({"response_format": {"type": "structural_tag"}}, "response_format"),
        ({"response_format": {"type": "json_object"}, "tools": TOOLS}, "response_format"),
        ({"tools": TOOLS, "tool_choice": {"type": "allowed_tools"}}, "tool_choice"),
        ({"tools": [{"type": "custom", "custom": {}}]}, "tools.0.type"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "system", "content": "be kind"}]}, "messages"),
        ({"messages": [USER, {"role": "assistant", "content": "I"}]}, "messages"),
        ({"messages": [{"role": "system", "content": [IMAGE]}, USER]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": [{"type": "thing"}]}]}, "messages.0.content.0.type"),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://a/b.png"}}]}
                ]
            },
            "messages.0.content.0.image_url.url",
        ),
    ],
)
def test_what_gemini_cannot_do_is_refused_by_name(fields: dict[str, Any], field: str) -> None:
    """The next in the chain may be able to; the client is told which field it was."""
    with pytest.raises(Unsupported) as raised:
        translated(**fields)
    assert raised.value.field == field
    assert str(raised.value).startswith(f"{field}: ")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"messages": "hi"}, "messages"),
        ({"messages": ["hi"]}, "messages.0"),
        ({"messages": [{"role": "wizard"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages.0.content.0.text"),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:a/b;base64,?"}}]}
                ]
            },
            "messages.0.content.0.image_url.url",
        ),
        ({"messages": [USER, called("a", arguments="{")]}, "messages.1.tool_calls.0.function.arguments"),
        ({"messages": [USER, called("a", arguments="[]")]}, "messages.1.tool_calls.0.function.arguments"),
        ({"messages": [{"role": "tool", "tool_call_id": "a", "content": "18"}]}, "messages.0.tool_call_id"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [{"type": "function"}]}, "tools.0.function"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"seed": "one"}, "seed"),
        ({"stop": 5}, "stop"),
        ({"reasoning_effort": "heroic"}, "reasoning_effort"),
        ({"response_format": "json"}, "response_format"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
    ],
)
def test_a_malformed_request_names_its_field(fields: dict[str, Any], field: str) -> None:
    """The path is the client's own."""
    with pytest.raises(BadRequest) as raised:
        translated(**fields)
    assert not isinstance(raised.value, Unsupported)
    assert raised.value.field == field


@pytest.mark.parametrize(
    ("schema", "strict", "refused"),
    [
        ({"type": "object", "properties": {"pattern": {"type": "string"}}}, True, False),
        ({"type": "object", "properties": {"a": {"type": "string", "pattern": "a+"}}}, True, True),
        ({"$defs": {"A": {"minLength": 1}}, "$ref": "#/$defs/A"}, True, True),
        ({"type": "array", "items": {"anyOf": [{"type": "integer", "multipleOf": 2}]}}, True, True),
        ({"type": "string", "pattern": "a+"}, False, False),
        ({"type": "string", "enum": ["pattern"], "$schema": "x"}, True, False),
    ],
)
def test_a_strict_schema_must_be_one_that_gemini_keeps(schema: dict[str, Any], strict: bool, refused: bool) -> None:
    """Strict means that the answer obeys all of it; otherwise it is a wish."""
    response_format = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": strict}}
    if refused:
        with pytest.raises(Unsupported, match=r"response_format\.json_schema\.schema"):
            translated(response_format=response_format)
    else:
        assert translated(response_format=response_format).config["response_json_schema"] == schema


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
NAMES = ("messages", "tools", "tool_choice", "response_format", "stop", "seed", "max_tokens", "reasoning_effort", "n")
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant", "tool"])},
    optional={
        "content": JSON | st.lists(st.dictionaries(st.sampled_from(["type", "text", "image_url", "file"]), JSON)),
        "tool_calls": st.lists(st.dictionaries(st.sampled_from(["id", "function", "extra_content"]), JSON)),
        "tool_call_id": JSON,
    },
)


@settings(deadline=None, max_examples=100)
@given(request=st.dictionaries(st.sampled_from(NAMES), JSON), messages=JSON | st.lists(MESSAGE, max_size=3))
def test_whatever_a_client_sends_is_translated_or_refused(request: dict[str, Any], messages: Any) -> None:
    """No shape of a request is a bug of ours."""
    refusal = None
    try:
        translate({**request, "messages": messages}, model=SIGNING, thinking_tokens=0)
    except BadRequest as raised:
        refusal = raised
    assert refusal is None or refusal.field
