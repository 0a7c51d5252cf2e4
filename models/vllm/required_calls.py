"""Bounds the number of calls with vLLM's `tool_choice: "required"`.

vLLM (0.29) constrains the answer to an unbounded list of calls: a small model fills all its tokens with calls, never
closes the list, and vLLM returns none of them. `install` bounds the list to one call, or to MAX_CALLS for a request
with `parallel_tool_calls: true`.
"""

import importlib
from typing import Any

PARSERS = "vllm.tool_parsers.abstract_tool_parser"
MAX_CALLS = 8


def install() -> None:
    """Bound the calls in all of vLLM's parsers.

    Raises ImportError or AttributeError if vLLM has moved them; then the server must not start.
    """
    parser = importlib.import_module(PARSERS).ToolParser
    if getattr(parser.adjust_request, "bounds_calls", False):
        return
    original = parser.adjust_request

    def adjust_request(self: Any, request: Any) -> Any:
        return bounded(original(self, request))

    adjust_request.bounds_calls = True  # type: ignore[attr-defined]  # read above
    parser.adjust_request = adjust_request


def bounded(request: Any) -> Any:
    """The request with a bounded list of calls, if it requires calls."""
    outputs: Any = getattr(request, "structured_outputs", None)
    schema = getattr(outputs, "json", None)
    if getattr(request, "tool_choice", None) != "required" or not isinstance(schema, dict):
        return request
    if schema.get("type") == "array" and "maxItems" not in schema:
        wants_many = request.parallel_tool_calls and "parallel_tool_calls" in request.model_fields_set
        outputs.json = {**schema, "maxItems": MAX_CALLS if wants_many else 1}
    return request
