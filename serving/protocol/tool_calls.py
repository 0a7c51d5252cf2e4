"""Repairs tool calls in an engine's answer, so that clients can rely on them.

If an answer is cut within a call's arguments, engines still report the finish reason `tool_calls`, and return the
unfinished arguments. They also let a model invent arguments for a function without parameters. Here an answer with an
unfinished call ends with `length`, a complete answer contains no unfinished call, and empty arguments are `{}`.

This module only sees answers to requests with tools.
"""

import operator
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from serving.protocol.sse import Event

Json = dict[str, Any]
MAXIMA = ("maxItems", "maxLength", "maxProperties", "maxContains")
GREATEST = 10_000  # what would exceed it is hardly generated, and a grammar of it takes long to compile
NO_PARAMETERS: Json = {"type": "object", "properties": {}, "additionalProperties": False}
CALLS, LENGTH = "tool_calls", "length"


def tools_for_engines(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The body with parameters for every function, without tools that must not be called and maxima beyond any answer.

    A model that sees tools writes calls although `tool_choice` is none, and they would be left in the text.
    """
    tools = body.get("tools")
    if not tools:
        return body
    if body.get("tool_choice") == "none":
        return {name: value for name, value in body.items() if name not in ("tools", "tool_choice")}
    changed = [_for_engines(tool) for tool in tools]
    return body if all(map(operator.is_, changed, tools)) else {**body, "tools": changed}


def _for_engines(tool: Json) -> Json:
    function = tool["function"]
    parameters = function.get("parameters") or NO_PARAMETERS
    if not function.get("strict"):
        parameters = _without_great_maxima(parameters)
    return (
        tool
        if parameters is function.get("parameters")
        else {**tool, "function": {**function, "parameters": parameters}}
    )


def _without_great_maxima(schema: Any) -> Any:
    """The schema without maxima above GREATEST; the same object if there are none."""
    if isinstance(schema, list):
        items = [_without_great_maxima(item) for item in schema]
        return schema if all(map(operator.is_, items, schema)) else items
    if not isinstance(schema, dict):
        return schema
    kept = {name: _without_great_maxima(value) for name, value in schema.items() if not is_great(name, value)}
    return schema if len(kept) == len(schema) and all(kept[name] is schema[name] for name in kept) else kept


def is_great(keyword: str, value: Any) -> bool:
    """Whether a maximum in a tool that is not `strict` is too great to be enforced."""
    return keyword in MAXIMA and isinstance(value, int | float) and value > GREATEST


class ToolCallRepair:
    """Repairs the calls of one answer."""

    def __init__(self) -> None:
        self._arguments: dict[tuple[int, int], list[str]] = {}  # by choice and call

    def on_body(self, body: bytes) -> bytes:
        """The repaired body of a complete answer."""
        completion: Json = orjson.loads(body)
        changes = [_repaired(choice) for choice in completion.get("choices") or ()]
        return orjson.dumps(completion) if any(changes) else body

    def on_events(self, events: Iterable[Event]) -> None:
        """Repair the next events of a stream."""
        for event in events:
            changes = [self._on_choice(choice) for choice in (event.chunk or {}).get("choices") or ()]
            if any(changes):
                event.rewrite()

    def _on_choice(self, choice: Json) -> bool:
        """Note a delta's calls; at the end of the choice, repair it. Returns whether it was changed."""
        index, delta = choice.get("index", 0), choice.get("delta") or {}
        for position, call in enumerate(delta.get("tool_calls") or ()):
            pieces = self._arguments.setdefault((index, call.get("index", position)), [])
            pieces.append((call.get("function") or {}).get("arguments") or "")
        if choice.get("finish_reason") is None:
            return False
        calls = {position: "".join(pieces) for (of, position), pieces in self._arguments.items() if of == index}
        empty = [position for position, arguments in calls.items() if not arguments.strip()]
        unfinished = any(not _is_whole(arguments) for position, arguments in calls.items() if position not in empty)
        if choice["finish_reason"] == LENGTH or (not empty and not unfinished):
            return False
        if empty:
            added = [{"index": position, "function": {"arguments": "{}"}} for position in empty]
            choice["delta"] = {**delta, "tool_calls": [*(delta.get("tool_calls") or ()), *added]}
        if unfinished:
            choice["finish_reason"] = LENGTH
        return True


def _repaired(choice: Json) -> bool:
    """Repair a choice of a whole answer; returns whether it was changed."""
    message = choice.get("message") or {}
    calls = message.get("tool_calls")
    if not calls:
        return False
    before = [call["function"].get("arguments") for call in calls]
    is_cut = choice.get("finish_reason") == LENGTH
    for call in calls:
        if not (call["function"].get("arguments") or "").strip() and not is_cut:
            call["function"]["arguments"] = "{}"
    whole = [call for call in calls if _is_whole(call["function"].get("arguments") or "")]
    if len(whole) < len(calls):
        choice["finish_reason"] = LENGTH
        message.pop("tool_calls")
        if whole:
            message["tool_calls"] = whole
        message["content"] = message.get("content") or (None if whole else "")
    return len(whole) < len(calls) or before != [call["function"].get("arguments") for call in calls]


def _is_whole(arguments: str) -> bool:
    try:
        orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return False
    return True
