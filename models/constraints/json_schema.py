"""Finds the part of a JSON schema that an engine would ignore, so that the request can be refused by name instead.

vLLM's xgrammar and llama.cpp compile a schema to a grammar and ignore keywords that they do not support, so an answer
could violate the schema. vLLM (0.29) has only one such compiler in an engine, so there is no alternative.

`oneOf` counts as `anyOf`, as the compilers treat it. This module does not know requests.
Schemas: https://json-schema.org/draft/2020-12/json-schema-validation.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

IGNORED = frozenset(
    {
        *("not", "if", "then", "else", "dependentRequired", "dependentSchemas", "dependencies", "propertyNames"),
        *("unevaluatedProperties", "unevaluatedItems", "contains", "minContains", "maxContains", "uniqueItems"),
        *("multipleOf", "patternProperties", "$dynamicRef", "$recursiveRef"),
    }
)
_ANNOTATIONS = frozenset(
    {
        *("title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "$comment"),
        *("$defs", "definitions", "$schema", "$id", "$anchor", "discriminator", "type", "x-guidance"),
    }
)
_BRANCHES = ("anyOf", "oneOf", "allOf", "$ref")
_NAMED = ("properties", "$defs", "definitions")  # name -> schema
_PLAIN = ("enum", "const", "default", "examples", "required")  # not schemas
_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")


@dataclass(frozen=True)
class Compiler:
    """What a compiler enforces: formats of strings, and bounds of numbers that are not integers."""

    name: str
    formats: frozenset[str]
    bounds_numbers: bool


XGRAMMAR = Compiler(
    "xgrammar",
    frozenset(
        {
            *("email", "date", "time", "date-time", "duration", "ipv4", "ipv6", "hostname", "uuid", "uri"),
            *("uri-reference", "uri-template", "json-pointer", "relative-json-pointer"),
        }
    ),
    bounds_numbers=True,
)
LLAMA_CPP = Compiler("llama.cpp", frozenset({"date", "time", "date-time", "uuid"}), bounds_numbers=False)


def unenforced(schema: Any, compiler: Compiler) -> str | None:
    """The first keyword in a schema that the compiler would ignore, for a message; None if it enforces everything."""
    level = [schema]
    while level:
        schemas = [each for each in level if isinstance(each, Mapping)]
        for each in schemas:
            if (found := next(_ignored(each, compiler), None)) is not None:
                return f"{found} would not be enforced ({compiler.name}); leave it out, or check the answer yourself"
        level = [inner for each in schemas for inner in _inside(each)]
    return None


def _ignored(schema: Mapping[str, Any], compiler: Compiler) -> Iterator[str]:
    yield from (name for name in schema if name in IGNORED)
    reference = schema.get("$ref")
    if isinstance(reference, str) and not reference.startswith("#"):
        yield f"$ref to another document ({reference[:64]})"
    for name in _BRANCHES:
        if name in schema and not schema.keys() <= _ANNOTATIONS | {name}:
            beside = sorted(schema.keys() - _ANNOTATIONS - {name})[0]
            yield f"{name} beside {beside}"
    all_of = schema.get("allOf")
    if isinstance(all_of, list) and len(all_of) > 1:
        yield "allOf of several schemas"
    properties, required = schema.get("properties"), schema.get("required")
    names = properties if isinstance(properties, Mapping) else {}
    missing = [each for each in required if each not in names] if isinstance(required, list) else ()
    yield from (f"required '{str(each)[:64]}', which is not in properties," for each in missing)
    kind, form = schema.get("type"), schema.get("format")
    if kind == "string" and isinstance(form, str) and form not in compiler.formats:
        yield f"format '{form[:64]}'"
    if kind == "string" and ("pattern" in schema or form) and ("minLength" in schema or "maxLength" in schema):
        yield "minLength or maxLength beside pattern or format"
    if kind == "number" and not compiler.bounds_numbers:
        yield from (f"{name} of a number" for name in _BOUNDS if name in schema)


def _inside(schema: Mapping[str, Any]) -> Iterator[Any]:
    for name, value in schema.items():
        if name in _NAMED and isinstance(value, Mapping):
            yield from value.values()
        elif name not in _PLAIN:
            yield from value if isinstance(value, list) else (value,)
