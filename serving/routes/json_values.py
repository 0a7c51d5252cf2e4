"""Limits the number of values in a JSON body before it is parsed.

A parser blocks the interpreter until it is done. A body of four megabytes can be one string, which takes a millisecond,
or two million empty lists, which take a hundred times as long and a hundred times the memory. So the number of values
is limited. If there are few commas and brackets, nothing else is checked; otherwise they are counted outside of
strings, a portion at a time.
"""

import asyncio
import re
from dataclasses import dataclass

from serving.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class Bounds:
    """The maximum number of values, and of arrays and objects among them."""

    values: int
    containers: int


# Enough for 2,048 texts of 256 token ids each. Parsing takes 25 ms for so many values, and 4 ms for the
# containers; checking the fields of that many messages takes 40 ms.
GENERAL = Bounds(600_000, 10_000)
# 1,000 messages have 5,000 values. FastAPI lists every single error: 20,000 in 80 ms.
MODELLED = Bounds(20_000, 10_000)
PORTION = 10_000  # matches between two turns of the event loop
# A string up to its end or the end of the body, so that no match fails or is tried twice; or the start of a value.
_FOUND = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|[\[{,]', re.DOTALL)
_TEXT, _COMMA = b'",'  # their codes


async def check_values(body: bytes, bounds: Bounds = GENERAL) -> None:
    """Raise InvalidRequest if there are too many values; the body may be invalid JSON."""
    containers = body.count(b"[") + body.count(b"{")
    if containers < bounds.containers and containers + body.count(b",") < bounds.values:
        return
    commas = containers = 0
    for number, found in enumerate(_FOUND.finditer(body)):
        first = body[found.start()]
        commas += first == _COMMA
        containers += first not in (_COMMA, _TEXT)
        if containers > bounds.containers:
            raise _too_many(bounds.containers, "arrays and objects")
        if commas + containers > bounds.values or number > 3 * bounds.values:  # a value can have a name and be a string
            raise _too_many(bounds.values, "values")
        if number % PORTION == 0:
            await asyncio.sleep(0)


def _too_many(limit: int, what: str) -> InvalidRequest:
    return InvalidRequest(f"The request body has too many JSON {what}: at most {limit} are accepted.")
