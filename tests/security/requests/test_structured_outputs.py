"""What constrains an answer is bounded before an engine sees it, and refused with its name and what is allowed."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from serving.config.schema import DEFAULT_TIERS, StructuredOutputsSpec
from serving.errors import InvalidRequest
from serving.protocol.structured_outputs import check_structured_outputs

ROOT = Path(__file__).resolve().parents[3]
BOUNDS = StructuredOutputsSpec()
BOMB = "((((a{0,99}){0,99}){0,99}){0,99}){0,99}"


def nested(levels: int) -> dict[str, Any]:
    """A schema of arrays within arrays."""
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(levels):
        schema = {"type": "array", "items": schema}
    return schema


def schema(value: dict[str, Any]) -> dict[str, Any]:
    """A request for an answer by a schema."""
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": value}}}


def tool(parameters: Any, *, strict: bool = False) -> dict[str, Any]:
    """A request with a tool."""
    return {"tools": [{"type": "function", "function": {"name": "f", "parameters": parameters, "strict": strict}}]}


def grammar(text: str) -> dict[str, Any]:
    """A request for an answer by a grammar."""
    return {"structured_outputs": {"grammar": text}}


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "repetition of repetition": ({"structured_outputs": {"regex": BOMB}}, "structured_outputs.regex"),
    "the same in a schema": (schema({"type": "string", "pattern": BOMB}), "response_format"),
    "the same in a tool": (tool({"properties": {"a": {"type": "string", "pattern": BOMB}}}), "tools.0"),
    "the same as a property's name": (schema({"patternProperties": {BOMB: {}}}), "response_format"),
    "the same in JSON in a string": (
        {"structured_outputs": {"json": json.dumps({"pattern": BOMB})}},
        "structured_outputs.json",
    ),
    "the same in a structural tag": (
        {"structured_outputs": {"structural_tag": json.dumps({"format": {"type": "regex", "pattern": BOMB}})}},
        "structured_outputs.structural_tag",
    ),
    "the same through a grammar's rules": (
        grammar("root ::= a{0,99}\na ::= b{0,99}\nb ::= c{0,99}\nc ::= [a]{0,99}"),
        "structured_outputs.grammar",
    ),
    "the same in Lark's words": (
        grammar('start: a~0..99\na: b~0..99\nb: c~0..99\nc: "x"~0..99'),
        "structured_outputs.grammar",
    ),
    "a long grammar": (grammar("root ::= " + '"a" ' * 35_000), "structured_outputs.grammar"),
    "a deep grammar": (grammar("root ::= " + "(" * 500 + '"a"' + ")" * 500), "structured_outputs.grammar"),
    "a deep expression": ({"structured_outputs": {"regex": "(" * 500 + "a" + ")" * 500}}, "structured_outputs.regex"),
    "a deep schema": (schema(nested(60)), "response_format"),
    "a deep schema in a string": (
        {"structured_outputs": {"json": json.dumps(nested(400))}},
        "structured_outputs.json",
    ),
    "many values": (schema({"enum": list(range(5000))}), "response_format"),
    "many long values": (schema({"enum": [f"value {i}" for i in range(50_000)]}), "response_format"),
    "many choices": ({"structured_outputs": {"choice": ["a"] * 5000}}, "structured_outputs.choice"),
    "many properties": (tool({"properties": {f"p{i}": {} for i in range(2000)}}), "tools.0"),
    "great numbers": (schema({"type": "array", "minItems": 10**9}), "response_format"),
    "many tools": ({"tools": tool({"enum": ["x" * 2000]})["tools"] * 20}, "tools.15"),
    "great numbers in a tool": (tool({"type": "array", "minItems": 10**9}), "tools.0"),
    "great numbers in a strict tool": (tool({"type": "array", "maxItems": 10**9}, strict=True), "tools.0"),
    "JSON that is none": ({"structured_outputs": {"json": "{"}}, "structured_outputs.json"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_constraint_beyond_the_bounds_is_refused_by_name(name: str) -> None:
    """The field is named, and what would be accepted."""
    parsed, param = REFUSED[name]
    with pytest.raises(InvalidRequest) as refusal:
        check_structured_outputs(parsed, BOUNDS)
    assert refusal.value.param == param
    assert (
        "at most" in refusal.value.message or "deeper than" in refusal.value.message or "JSON" in refusal.value.message
    )


ACCEPTED = {
    "a date": {"structured_outputs": {"regex": r"\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2})?)?"}},
    "braces that are text": {"structured_outputs": {"regex": r"\{0,99\}[{0,99}]{1,3}"}},
    "a choice": {"structured_outputs": {"choice": ["yes", "no"]}},
    "any object": {"response_format": {"type": "json_object"}},
    "nothing": {"messages": [{"role": "user", "content": BOMB}]},
    "a grammar": grammar('root ::= (word " "){1,20} "."  # {0,99}{0,99}\nword ::= [a-z]{1,30} | "{0,99}{0,99}{0,99}"'),
    "a grammar that names itself": grammar('root ::= "(" root{0,9} ")" | "x"'),
    "a schema": schema(
        {"type": "object", "properties": {"a": {"type": "string", "maxLength": 2000}}, "required": ["a"]}
    ),
    "a tool": tool({"type": "object", "properties": {"city": {"type": "string", "enum": ["Pune", "Oslo"]}}}),
    "a schema of ten levels": schema(nested(10)),
    "tools with long descriptions, and a maximum beyond any answer": {
        "tools": tool({"type": "string", "description": "x" * 20_000, "maxLength": 524_288})["tools"] * 3
    },
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_people_use_is_accepted(name: str) -> None:
    """Constraints of ordinary size."""
    check_structured_outputs(ACCEPTED[name], BOUNDS)


def test_a_tier_bounds_them() -> None:
    """And every tier has bounds, unless its configuration says otherwise."""
    regex = {"structured_outputs": {"regex": "(ab){1,50}"}}
    check_structured_outputs(regex, BOUNDS)
    with pytest.raises(InvalidRequest, match="at most 10 times"):
        check_structured_outputs(regex, StructuredOutputsSpec(max_repetition=10))
    with pytest.raises(InvalidRequest, match="at most 0 bytes"):
        check_structured_outputs(regex, StructuredOutputsSpec(max_bytes=0))
    assert all(tier.structured_outputs == BOUNDS for tier in DEFAULT_TIERS.values())


LONGEST = BOUNDS.max_bytes - 50
PUMPS = ["(", "(a{1}", "a ", "a::= ", "a{0,9}", '"', "'", "[", "\\", "{", "~1", "a b|", "#", " ", "(a)", "{2}", "\n"]


def test_any_constraint_is_measured_at_once() -> None:
    """In a process that the kernel ends: the longest texts that are read at all, and one of many rules."""
    rules = " ".join(f"a{index:x}" for index in range(3000))
    texts = [(pump * LONGEST)[:LONGEST] for pump in PUMPS] + [f"({rules})" + "{2}" * 3000 + " x" * 2000]
    texts += ["\n".join(f"r{i} ::= r{i + 1}" + "{1,2}" * 2 for i in range(1200))]
    script = (
        "import signal, sys, orjson\n"
        "from serving.config.schema import StructuredOutputsSpec\n"
        "from serving.errors import InvalidRequest\n"
        "from serving.protocol.structured_outputs import check_structured_outputs\n"
        "for text in orjson.loads(sys.stdin.buffer.read()):\n"
        "    for name in ('regex', 'grammar', 'json', 'structural_tag'):\n"
        "        signal.setitimer(signal.ITIMER_PROF, 2)\n"
        "        try:\n"
        "            check_structured_outputs({'structured_outputs': {name: text}}, StructuredOutputsSpec())\n"
        "        except InvalidRequest:\n"
        "            pass\n"
    )
    command = [sys.executable, "-c", script]
    ended = subprocess.run(command, input=orjson.dumps(texts), cwd=ROOT, capture_output=True, timeout=200, check=False)
    assert ended.returncode == 0, ended.stderr.decode()[-500:]
