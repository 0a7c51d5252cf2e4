"""A tool call that the request demands (`tool_choice` required, or a named function), enforced by a JSON schema.

llama.cpp enforces the form of a call only once the model has begun one. So the prompt is rendered with the tools, the
model completes it under a schema, and the text is streamed as the call's arguments. One call per request. This module
does not know HTTP.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from models.llama_cpp.request import Refused, check_schema, terse

_HEAD = re.compile(r'\{\s*"name"\s*:\s*"(?P<name>[^"]*)"\s*,\s*"arguments"\s*:\s*')


class ForcedCall:
    """The schema of a demanded call, and a parser of its text as it arrives.

    Args:
        functions: the schemas of the functions that may be called, by name; one or more.
        new_id: makes the call's id.

    """

    def __init__(self, functions: Mapping[str, Any], new_id: Callable[[], str]) -> None:
        self._functions = functions
        self._id = new_id()
        self._head = ""
        self._name: str | None = None
        self._arguments = _OneObject()

    def schema(self) -> dict[str, Any]:
        """Of the JSON to write: the name first, then the arguments."""
        calls = [
            {
                "type": "object",
                "properties": {"name": {"const": name}, "arguments": parameters},
                "required": ["name", "arguments"],
                "additionalProperties": False,
            }
            for name, parameters in self._functions.items()
        ]
        schema: dict[str, Any] = terse(calls[0] if len(calls) == 1 else {"anyOf": calls})
        return schema

    def feed(self, text: str) -> list[dict[str, Any]]:
        """Return the `tool_calls` deltas (OpenAI's format) for the new `text`."""
        deltas: list[dict[str, Any]] = []
        if self._name is None:
            self._head += text
            head = _HEAD.match(self._head)
            if head is None:
                return []
            self._name, text = head["name"], self._head[head.end() :]
            function = {"name": self._name, "arguments": ""}
            deltas.append({"index": 0, "id": self._id, "type": "function", "function": function})
        if arguments := self._arguments.take(text):
            deltas.append({"index": 0, "function": {"arguments": arguments}})
        return deltas


class _OneObject:
    """Takes one JSON object from the start of a text that arrives in pieces."""

    def __init__(self) -> None:
        self._depth = 0
        self._in_string = self._escaped = self._ended = False

    def take(self, text: str) -> str:
        """Return the part of `text` that belongs to the object, without blanks before it."""
        if self._depth == 0 and not self._ended:
            text = text.lstrip()
        for position, sign in enumerate(text):
            if self._ended:
                return text[:position]
            if self._in_string:
                self._in_string = self._escaped or sign != '"'
                self._escaped = sign == "\\" and not self._escaped
            elif sign == '"':
                self._in_string = True
            elif sign in "{[":
                self._depth += 1
            elif sign in "}]":
                self._depth -= 1
                self._ended = self._depth == 0
        return text


def forced_call(body: Mapping[str, Any], new_id: Callable[[], str]) -> ForcedCall | None:
    """Return the call that the request demands, or None; raises Refused."""
    choice = body.get("tool_choice")
    if choice in (None, "none", "auto"):
        return None
    functions = {tool["function"]["name"]: _parameters(tool["function"]) for tool in body.get("tools") or ()}
    if not functions:
        raise Refused("tool_choice", "tool_choice: there are no tools to choose from.", 400)
    if choice == "required":
        _check(functions)
        return ForcedCall(functions, new_id)
    named = choice.get("function", {}).get("name") if isinstance(choice, dict) else None
    if not isinstance(named, str) or named not in functions:
        raise Refused("tool_choice", f"tool_choice: {json.dumps(choice)} names none of the tools.", 400)
    _check({named: functions[named]})
    return ForcedCall({named: functions[named]}, new_id)


def _check(functions: Mapping[str, Any]) -> None:
    for schema in functions.values():
        check_schema("tools", schema)


def _parameters(function: Mapping[str, Any]) -> Any:
    schema = function.get("parameters") or {"properties": {}, "additionalProperties": False}
    return {"type": "object", **schema} if isinstance(schema, dict) else schema
