"""Reads the operations of an answer that was cut, or that has text around its JSON: each complete object counts.

A model may reach its token limit, or write a sentence before or after the JSON. The complete operations are as good as
those of a complete answer, because each operation is checked separately.
"""

import json
from typing import Any

_DECODER = json.JSONDecoder()
KEY = '"operations"'


def salvaged(text: str) -> list[Any] | None:
    """The complete operations of an answer; None if there is no list of operations in it."""
    key = text.find(KEY)
    start = text.find("[", key + len(KEY)) if key >= 0 else -1
    if start < 0 or text[key + len(KEY) : start].strip() != ":":
        return None
    found: list[Any] = []
    place = start + 1
    while place < len(text):
        while place < len(text) and text[place] in " \t\r\n,":
            place += 1
        if place >= len(text) or text[place] != "{":
            break
        try:
            operation, place = _DECODER.raw_decode(text, place)
        except (json.JSONDecodeError, RecursionError):
            break
        found.append(operation)
    return found
