"""What an engine would ignore of a JSON schema is named, and what it enforces passes."""

from types import SimpleNamespace
from typing import Any

import pytest

from models.constraints.json_schema import LLAMA_CPP, XGRAMMAR, unenforced
from models.vllm.required_calls import MAX_CALLS, bounded

INTEGER = {"type": "integer"}
OBJECT: dict[str, Any] = {"type": "object", "properties": {"a": INTEGER}, "required": ["a"]}


@pytest.mark.parametrize(
    ("keyword", "schema"),
    [
        ("not", {"not": {"const": 3}, **INTEGER}),
        ("if", OBJECT | {"if": {"required": ["a"]}}),
        ("dependentRequired", OBJECT | {"dependentRequired": {"a": ["b"]}}),
        ("required 'b'", OBJECT | {"required": ["a", "b"]}),
        ("allOf beside properties", OBJECT | {"allOf": [OBJECT]}),
        ("anyOf beside properties", OBJECT | {"anyOf": [{"required": ["a"]}, {"required": ["b"]}]}),
        ("allOf of several", {"allOf": [OBJECT, OBJECT]}),
        ("multipleOf", {"multipleOf": 7}),
        ("uniqueItems", {"type": "array", "items": INTEGER, "uniqueItems": True}),
        ("$ref to another document", {"$ref": "https://example.org/schema.json"}),
        ("$ref beside minimum", {"$defs": {"n": INTEGER}, "$ref": "#/$defs/n", "minimum": 5}),
        ("not", {"type": "object", "properties": {"deep": {"items": {"not": {}}}}, "required": ["deep"]}),
        ("propertyNames", {"$defs": {"n": {"propertyNames": {"pattern": "^a"}}}, "$ref": "#/$defs/n"}),
        ("format 'credit-card'", {"type": "string", "format": "credit-card"}),
        ("minLength or maxLength", {"type": "string", "pattern": "a+", "maxLength": 3}),
    ],
)
@pytest.mark.parametrize("compiler", [XGRAMMAR, LLAMA_CPP])
def test_what_would_be_ignored_is_named(keyword: str, schema: dict[str, Any], compiler: Any) -> None:
    """Wherever it stands."""
    assert (unenforced(schema, compiler) or "").startswith(keyword)


def test_compilers_differ() -> None:
    """In formats and in bounds of numbers."""
    email, bounded_number = {"type": "string", "format": "email"}, {"type": "number", "minimum": 0}
    assert unenforced(email, XGRAMMAR) is unenforced(bounded_number, XGRAMMAR) is None
    assert "email" in (unenforced(email, LLAMA_CPP) or "")
    assert "minimum" in (unenforced(bounded_number, LLAMA_CPP) or "")


@pytest.mark.parametrize(
    "schema",
    [
        OBJECT,
        {"type": "object", "properties": {"not": INTEGER, "if": INTEGER}, "required": ["not"]},
        {"enum": [{"not": 1}], "description": "x"},
        {"anyOf": [INTEGER, {"type": "null"}], "default": None, "title": "Age"},
        {"type": "object", "anyOf": [OBJECT, OBJECT]},
        {"allOf": [{"$ref": "#/$defs/n"}], "$defs": {"n": INTEGER}, "description": "x"},
        {"oneOf": [INTEGER, {"type": "string"}], "discriminator": {"propertyName": "kind"}},
        True,
    ],
    ids=str,
)
def test_what_is_enforced_passes(schema: Any) -> None:
    """Properties that are called like a keyword are none, and annotations constrain nothing."""
    assert unenforced(schema, XGRAMMAR) is None
    assert unenforced(schema, LLAMA_CPP) is None


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
