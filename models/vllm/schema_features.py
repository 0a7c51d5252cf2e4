"""Which JSON schemas xgrammar enforces only in part, so that vLLM gives them to llguidance instead.

xgrammar (0.2, in vLLM 0.29) ignores several keywords: the answer would not be what the schema says. llguidance enforces
more of them, and refuses the others by name (`Unimplemented keys: ["not"]`). vLLM's "auto" backend asks two functions
which of the two to use, and `install` puts these in their place. Whoever chose a backend gets that one, or a refusal.

One of several (`oneOf`) stays with xgrammar, which enforces it as `anyOf`. This module does not know requests.
"""

import importlib
from collections.abc import Callable, Mapping
from typing import Any

XGRAMMAR = "vllm.v1.structured_output.backend_xgrammar"
GUIDANCE = "vllm.v1.structured_output.backend_guidance"
IGNORED = frozenset(  # by xgrammar, wherever they stand in a schema
    {
        *("not", "if", "then", "else", "dependentRequired", "dependentSchemas", "dependencies", "propertyNames"),
        *("unevaluatedProperties", "unevaluatedItems", "contains", "minContains", "maxContains", "uniqueItems"),
        *("multipleOf", "patternProperties", "$dynamicRef", "$recursiveRef"),
    }
)
_ANNOTATIONS = frozenset(
    {
        *("title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "$comment"),
        *("$defs", "definitions", "$schema", "$id", "$anchor", "discriminator"),
    }
)
_NAMED = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")  # name -> schema
_PLAIN = ("enum", "const", "default", "examples", "required")  # not schemas


def install() -> None:
    """Put the functions in place; raises ImportError or AttributeError where vLLM has moved its own."""
    xgrammar, guidance = importlib.import_module(XGRAMMAR), importlib.import_module(GUIDANCE)
    own: Callable[[Any], bool] = xgrammar.has_xgrammar_unsupported_json_features
    if getattr(own, "knows_more", False):
        return

    def has_unsupported(schema: Any) -> bool:
        return own(schema) or is_enforced_in_part(schema)

    has_unsupported.knows_more = True  # type: ignore[attr-defined]  # read above
    xgrammar.has_xgrammar_unsupported_json_features = has_unsupported
    assert callable(guidance.has_guidance_unsupported_json_features), "called by name, see above"
    guidance.has_guidance_unsupported_json_features = lambda _: False  # what it cannot do, it refuses by name


def is_enforced_in_part(schema: Any) -> bool:
    """Whether xgrammar would ignore something in a JSON schema."""
    level = [schema]
    while level:
        schemas = [each for each in level if isinstance(each, Mapping)]
        if any(_ignores(each) for each in schemas):
            return True
        level = [inner for each in schemas for inner in _inside(each)]
    return False


def _ignores(schema: Mapping[str, Any]) -> bool:
    if not IGNORED.isdisjoint(schema):
        return True
    reference = schema.get("$ref")
    if isinstance(reference, str) and (not reference.startswith("#") or _has_more(schema, "$ref")):
        return True
    all_of = schema.get("allOf")
    if isinstance(all_of, list) and (len(all_of) > 1 or _has_more(schema, "allOf")):
        return True
    if any(isinstance(schema.get(name), list) and _has_more(schema, name) for name in ("anyOf", "oneOf")):
        return True
    required, properties = schema.get("required"), schema.get("properties")
    names = properties if isinstance(properties, Mapping) else {}
    return isinstance(required, list) and any(isinstance(name, str) and name not in names for name in required)


def _has_more(schema: Mapping[str, Any], name: str) -> bool:
    """Whether a constraint stands beside this one."""
    return not schema.keys() <= _ANNOTATIONS | {name}


def _inside(schema: Mapping[str, Any]) -> list[Any]:
    inner: list[Any] = []
    for name, value in schema.items():
        if name in _NAMED and isinstance(value, Mapping):
            inner += value.values()
        elif name not in _PLAIN:
            inner += value if isinstance(value, list) else [value]
    return inner
