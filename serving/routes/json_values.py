"""How many values a JSON body may have, counted before it is parsed.

A parser keeps the interpreter until it has done, and a body of four megabytes may be one text, which takes it a
millisecond, or two million empty lists, which take a hundred times as long and become a hundred times as large. So it
is values that are bounded. Where commas and brackets are few nothing has to be looked at; else they are counted outside
of texts, a portion at a time.
"""

import asyncio
import re
from dataclasses import dataclass

from serving.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many values there may be, and how many arrays and objects among them."""

    values: int
    containers: int


# 2,048 texts to embed as the ids of 256 tokens each, and some. A parser takes 25 ms for so many, and 20 for the others.
GENERAL = Bounds(600_000, 100_000)
# 1,000 messages have 5,000. FastAPI makes a list of every single fault that it finds: of 20,000 in 80 ms.
MODELLED = Bounds(20_000, 10_000)
PORTION = 10_000  # found between two turns of the event loop
# A text, to its end or the body's, so that no match fails and none is tried twice; or what a further value begins with.
_FOUND = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|[\[{,]', re.DOTALL)
_TEXT, _COMMA = b'",'  # their codes


async def check_values(body: bytes, bounds: Bounds = GENERAL) -> None:
    """Raise InvalidRequest when there are too many, as far as that can be told of what may be no JSON."""
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
        if commas + containers > bounds.values or number > 3 * bounds.values:  # each may have a name, and be a text
            raise _too_many(bounds.values, "values")
        if number % PORTION == 0:
            await asyncio.sleep(0)


def _too_many(limit: int, what: str) -> InvalidRequest:
    return InvalidRequest(f"The request body has more than the {limit} JSON {what} that are accepted.")
