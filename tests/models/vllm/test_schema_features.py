"""What xgrammar would ignore of a JSON schema is seen, and what it enforces stays with it."""

from types import SimpleNamespace
from typing import Any

import pytest

from models.vllm.required_calls import MAX_CALLS, bounded
from models.vllm.schema_features import is_enforced_in_part

INTEGER = {"type": "integer"}
OBJECT: dict[str, Any] = {"type": "object", "properties": {"a": INTEGER}, "required": ["a"]}


@pytest.mark.parametrize(
    "schema",
    [
        {"not": {"const": 3}, **INTEGER},
        OBJECT | {"if": {"required": ["a"]}},
        OBJECT | {"dependentRequired": {"a": ["b"]}},
        OBJECT | {"required": ["a", "b"]},
        OBJECT | {"allOf": [{"required": ["a"]}]},
        OBJECT | {"anyOf": [{"required": ["a"]}, {"required": ["b"]}]},
        {"allOf": [OBJECT, OBJECT]},
        {"multipleOf": 7},
        {"type": "array", "items": INTEGER, "uniqueItems": True},
        {"$ref": "https://example.org/schema.json"},
        {"$defs": {"n": INTEGER}, "$ref": "#/$defs/n", "minimum": 5},
        {"type": "object", "properties": {"deep": {"items": {"not": {}}}}, "required": ["deep"]},
        {"$defs": {"n": {"propertyNames": {"pattern": "^a"}}}, "$ref": "#/$defs/n"},
    ],
    ids=str,
)
def test_what_would_be_ignored_is_seen(schema: dict[str, Any]) -> None:
    """Wherever it stands."""
    assert is_enforced_in_part(schema)


@pytest.mark.parametrize(
    "schema",
    [
        OBJECT,
        {"type": "object", "properties": {"not": INTEGER, "if": INTEGER}, "required": ["not"]},
        {"enum": [{"not": 1}], "description": "x"},
        {"anyOf": [INTEGER, {"type": "null"}], "default": None, "title": "Age"},
        {"allOf": [{"$ref": "#/$defs/n"}], "$defs": {"n": INTEGER}, "description": "x"},
        {"oneOf": [INTEGER, {"type": "string"}], "discriminator": {"propertyName": "kind"}},
    ],
    ids=str,
)
def test_what_is_enforced_stays(schema: dict[str, Any]) -> None:
    """Properties that are called like a keyword are none, and annotations constrain nothing."""
    assert not is_enforced_in_part(schema)


def request(**fields: Any) -> Any:
    """A request of vLLM's after its parser has made the list of calls a constraint."""
    schema = {"type": "array", "minItems": 1, "items": {}}
    outputs = SimpleNamespace(json=schema)
    defaults = {"tool_choice": "required", "parallel_tool_calls": True, "model_fields_set": set(fields)}
    return SimpleNamespace(structured_outputs=outputs, **(defaults | fields))


@pytest.mark.parametrize(
    ("fields", "calls"),
    [({}, 1), ({"parallel_tool_calls": False}, 1), ({"parallel_tool_calls": True}, MAX_CALLS)],
)
def test_demanded_calls_have_an_end(fields: dict[str, Any], calls: int) -> None:
    """One, or as many as were asked for."""
    assert bounded(request(**fields)).structured_outputs.json["maxItems"] == calls


def test_other_requests_stay_as_they_are() -> None:
    """A choice by the model, and a named function."""
    for choice in ("auto", "none", SimpleNamespace(function=SimpleNamespace(name="f"))):
        assert "maxItems" not in bounded(request(tool_choice=choice)).structured_outputs.json
