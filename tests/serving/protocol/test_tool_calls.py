"""Unfinished calls are never handed out as complete ones, and functions without parameters get `{}`."""

from typing import Any

import orjson
import pytest

from serving.protocol.sse import Event, joined, split
from serving.protocol.tool_calls import NO_PARAMETERS, ToolCallRepair, tools_for_engines

Json = dict[str, Any]


def call(arguments: str, index: int | None = None) -> Json:
    """A call, whole or a piece of one."""
    of_call = {} if index is None else {"index": index}
    return {**of_call, "id": "1", "type": "function", "function": {"name": "f", "arguments": arguments}}


def body(calls: list[Json], finish: str, content: str | None = None) -> Json:
    """A whole answer, repaired."""
    message: Json = {"role": "assistant", "content": content, "tool_calls": calls}
    whole = {"choices": [{"index": 0, "message": message, "finish_reason": finish}]}
    repaired: Json = orjson.loads(ToolCallRepair().on_body(orjson.dumps(whole)))
    return dict(repaired["choices"][0])


def stream(*deltas: tuple[Json, str | None]) -> list[Json]:
    """The choices of a stream of these deltas and finish reasons, repaired, each event for itself."""
    repair = ToolCallRepair()
    found = []
    for delta, finish in deltas:
        chunk = {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
        event = Event.of(chunk)
        repair.on_events([event])
        found.append(orjson.loads(event.data.removeprefix(b"data: "))["choices"][0])
    return found


@pytest.mark.parametrize("finish", ["length", "tool_calls", "stop"])
def test_a_whole_answer_has_no_unfinished_call(finish: str) -> None:
    """Those before it stay, and the reason of the end says that it was cut."""
    choice = body([call('{"a": 1}'), call('{"a": ')], finish)
    assert [each["function"]["arguments"] for each in choice["message"]["tool_calls"]] == ['{"a": 1}']
    assert choice["finish_reason"] == "length"
    alone = body([call('{"a": ')], finish)
    assert "tool_calls" not in alone["message"]
    assert (alone["message"]["content"], alone["finish_reason"]) == ("", "length")


def test_a_stream_that_was_cut_in_a_call_ends_with_length() -> None:
    """Whatever the engine calls it."""
    cut = stream(({"tool_calls": [call('{"a"', 0)]}, None), ({}, "tool_calls"))
    assert cut[-1]["finish_reason"] == "length"
    whole = stream(({"tool_calls": [call('{"a"', 0)]}, None), ({"tool_calls": [call(": 1}", 0)]}, "tool_calls"))
    assert whole[-1]["finish_reason"] == "tool_calls"


def test_empty_arguments_are_an_empty_object() -> None:
    """Whole and streamed; not where the answer was cut before them."""
    assert body([call("")], "tool_calls")["message"]["tool_calls"][0]["function"]["arguments"] == "{}"
    assert "tool_calls" not in body([call("")], "length")["message"]
    *_, last = stream(({"tool_calls": [call("", 0)]}, None), ({}, "tool_calls"))
    assert last["delta"]["tool_calls"] == [{"index": 0, "function": {"arguments": "{}"}}]
    *_, last = stream(({"tool_calls": [call("", 0)]}, None), ({}, "length"))
    assert last == {"index": 0, "delta": {}, "finish_reason": "length"}


def test_what_is_right_passes_byte_by_byte() -> None:
    """Texts, whole calls, [DONE] and comments."""
    block = b'data: {"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":null}]}\n\n: hi\n\ndata: [DONE]\n\n'
    events = split(block)
    ToolCallRepair().on_events(events)
    assert joined(events) == block
    whole = b'{"choices": [{"index": 0, "message": {"content": "x"}, "finish_reason": "stop"}]}'
    assert ToolCallRepair().on_body(whole) == whole


def test_engines_see_parameters_of_every_function_and_no_tools_that_must_not_be_called() -> None:
    """Otherwise a model invents arguments, or writes calls into its text."""
    bare: Json = {"type": "function", "function": {"name": "f"}}
    full: Json = {"type": "function", "function": {"name": "g", "parameters": {"type": "object", "properties": {}}}}
    changed = tools_for_engines({"model": "m", "tools": [bare, full]})
    assert [tool["function"]["parameters"] for tool in changed["tools"]] == [
        NO_PARAMETERS,
        full["function"]["parameters"],
    ]
    assert tools_for_engines({"model": "m", "tools": [full], "tool_choice": "none"}) == {"model": "m"}
    untouched = {"model": "m", "tools": [full]}
    assert tools_for_engines(untouched) is untouched


def test_engines_see_no_maximum_beyond_any_answer() -> None:
    """A grammar of half a million letters takes too long to compile; `strict` tools are as they are."""
    long, short = {"type": "string", "maxLength": 524_288}, {"type": "string", "maxLength": 100}
    parameters = {"type": "object", "properties": {"code": long, "name": short, "lines": {"items": [long]}}}
    function: Json = {"name": "run", "parameters": parameters}
    (changed,) = tools_for_engines({"tools": [{"type": "function", "function": function}]})["tools"]
    properties = changed["function"]["parameters"]["properties"]
    assert properties == {"code": {"type": "string"}, "name": short, "lines": {"items": [{"type": "string"}]}}
    strict = {"tools": [{"type": "function", "function": {**function, "strict": True}}]}
    assert tools_for_engines(strict) is strict
