"""Bounds a request's structured outputs (regular expressions, grammars, JSON schemas, tools) by its key's tier.

A short constraint can slow every token of every request by seconds (`((a{0,99}){0,99}){0,99}`), or take gigabytes to
compile. This module bounds its size, nesting, number of values and repetition, in time linear in its length. A
constraint that is within the bounds but still too expensive is found by compiling it beside the engine
(`models.grammar_pool`). Validity is checked by the engine, not here.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import orjson

from serving.config.schema import StructuredOutputsSpec
from serving.errors import InvalidRequest
from serving.protocol.ebnf import repetition_of_grammar
from serving.protocol.expression_size import TooDeep, repetition_of
from serving.protocol.tool_calls import is_great

_COUNTS = ("maxItems", "minItems", "maxLength", "minLength", "maxProperties", "minProperties", "maxContains")
_VALUES = ("enum", "anyOf", "oneOf", "allOf", "prefixItems", "required", "type", "examples")
_NAMED = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependentRequired")
_WORDS = ("description", "title", "$comment")
_SMALL = re.compile(r"[A-Za-z0-9 _.,:;!?'\"-]{0,200}")  # an expression without any operator


def check_structured_outputs(parsed: Mapping[str, Any], bounds: StructuredOutputsSpec) -> None:
    """Raise InvalidRequest, with the field's name, for constraints beyond the bounds.

    Field types were validated before (`serving.protocol.check`); the engine refuses what is still of the wrong type.
    """
    total = 0
    for where, kind, value in _constraints(parsed):
        total += _size_bytes(value)
        if total > bounds.max_bytes:
            raise _refusal(where, f"{total} bytes of constraints", bounds.max_bytes, "bytes in a request")
        _CHECKS[kind](where, value, bounds)


def _size_bytes(value: Any) -> int:
    """The size of a constraint, without the descriptions in it: models read them, and no engine compiles them."""
    if isinstance(value, str):
        return len(value.encode())
    size_bytes, level = len(orjson.dumps(value)), [value]
    while level:
        described = [node[name] for node in level if isinstance(node, dict) for name in _WORDS if name in node]
        size_bytes -= sum(len(text.encode()) for text in described if isinstance(text, str))
        level = [inner for outer in level for inner in _inside(outer)]
    return size_bytes


def _constraints(parsed: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Yield (field path, kind, value) of each constraint in a request."""
    chosen = parsed.get("response_format")
    form: dict[str, Any] = chosen if isinstance(chosen, dict) else {}
    is_plain_object = form.get("type") == "json_object" and form.get("schema") is None
    if form.get("type") not in (None, "text") and not is_plain_object:
        yield "response_format", "document", chosen
    outputs = parsed.get("structured_outputs")
    for name, value in outputs.items() if isinstance(outputs, dict) else ():
        if isinstance(value, str | list | dict):
            yield f"structured_outputs.{name}", _KINDS.get(name, "document"), value
    for name in ("tools", "functions"):
        listed = parsed.get(name)
        for index, tool in enumerate(listed if isinstance(listed, list) else ()):
            yield f"{name}.{index}", "document" if _is_strict(tool) else "tool", tool


def _is_strict(tool: Any) -> bool:
    function = tool.get("function") if isinstance(tool, dict) else None
    return isinstance(function, dict) and bool(function.get("strict"))


_KINDS = {"regex": "regex", "whitespace_pattern": "regex", "grammar": "grammar", "choice": "choice"}


def _check_choice(where: str, value: Any, bounds: StructuredOutputsSpec) -> None:
    if isinstance(value, list) and len(value) > bounds.max_values:
        raise _refusal(where, f"{len(value)} values", bounds.max_values, "values")


def _check_regex(where: str, value: Any, bounds: StructuredOutputsSpec) -> None:
    if isinstance(value, str) and not _SMALL.fullmatch(value):
        _bounded_repetition(where, repetition_of, value, bounds)


def _check_grammar(where: str, value: Any, bounds: StructuredOutputsSpec) -> None:
    if isinstance(value, str):
        _bounded_repetition(where, repetition_of_grammar, value, bounds)


def _bounded_repetition(where: str, measure: Any, text: str, bounds: StructuredOutputsSpec) -> None:
    try:
        repetition = measure(text, bounds.max_depth)
    except TooDeep:
        raise InvalidRequest(f"{where}: nested deeper than {bounds.max_depth} levels.", param=where) from None
    if repetition > bounds.max_repetition:
        raise _refusal(where, f"repetition of {repetition} times, one within another", bounds.max_repetition, "times")


def _check_tool(where: str, value: Any, bounds: StructuredOutputsSpec) -> None:
    _check_document(where, value, bounds, is_strict=False)


def _check_document(where: str, value: Any, bounds: StructuredOutputsSpec, *, is_strict: bool = True) -> None:
    """Check a JSON schema or a document with schemas (tool, structural tag, response format), as JSON text too."""
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError as problem:
            raise InvalidRequest(f"{where}: not valid JSON: {problem}.", param=where) from None
    level: list[Any] = [value]
    depth = 0
    while level:
        depth += 1
        if depth > 2 * bounds.max_depth:  # one level of a schema takes two levels of JSON
            raise InvalidRequest(f"{where}: nested deeper than {2 * bounds.max_depth} levels of JSON.", param=where)
        for node in level:
            if isinstance(node, dict):
                _check_keywords(where, node, bounds, is_strict=is_strict)
        level = [inner for outer in level for inner in _inside(outer)]


def _check_keywords(where: str, schema: Mapping[str, Any], bounds: StructuredOutputsSpec, *, is_strict: bool) -> None:
    for name, value in schema.items():
        if name in ("pattern", "regex"):
            _check_regex(f"{where} ({name})", value, bounds)
        elif name == "grammar":
            _check_grammar(f"{where} ({name})", value, bounds)
        elif name == "patternProperties" and isinstance(value, dict):
            for pattern in value:
                _check_regex(f"{where} ({name})", pattern, bounds)
        elif not is_strict and is_great(name, value):
            pass  # no engine gets it
        elif name in _COUNTS and isinstance(value, int | float) and value > bounds.max_repetition:
            raise _refusal(f"{where} ({name})", f"{value:g}", bounds.max_repetition, "times")
        is_long = (name in _VALUES and isinstance(value, list)) or (name in _NAMED and isinstance(value, dict))
        if is_long and len(value) > bounds.max_values:
            raise _refusal(f"{where} ({name})", f"{len(value)} values", bounds.max_values, "values")
    if schema.get("type") == "regex":  # in a structural tag
        _check_regex(where, schema.get("pattern"), bounds)


def _inside(value: Any) -> Iterator[Any]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return (child for child in inner if isinstance(child, dict | list))


def _refusal(where: str, found: str, allowed: int, unit: str) -> InvalidRequest:
    return InvalidRequest(f"{where}: {found}; at most {allowed} {unit} are accepted.", param=where.partition(" (")[0])


_CHECKS: Mapping[str, Callable[[str, Any, StructuredOutputsSpec], None]] = {
    "choice": _check_choice,
    "regex": _check_regex,
    "grammar": _check_grammar,
    "document": _check_document,
    "tool": _check_tool,
}
