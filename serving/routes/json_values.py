"""How many values a JSON body may have, counted before it is parsed.

A parser keeps the interpreter until it has done, and a body of four megabytes may be one text, which takes it a
millisecond, or two million empty lists, which take a hundred times as long and become a hundred times as large. So it
is values that are bounded. Where commas and brackets are few nothing has to be looked at; else they are counted outside
of texts, a portion at a time.
"""

import asyncio
import re

from serving.errors import InvalidRequest

MAX_VALUES = 600_000  # 2,048 texts to embed as the ids of 256 tokens each, and some; a parser takes 25 ms for them
MAX_CONTAINERS = 100_000  # arrays and objects among them, which take it 20 ms
PORTION = 10_000  # found between two turns of the event loop
# A text, to its end or the body's, so that no match fails and none is tried twice; or what a further value begins with.
_FOUND = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|[\[{,]', re.DOTALL)
_TEXT, _COMMA = b'",'  # their codes


async def check_values(body: bytes) -> None:
    """Raise InvalidRequest when there are too many, as far as that can be told of what may be no JSON."""
    containers = body.count(b"[") + body.count(b"{")
    if containers < MAX_CONTAINERS and containers + body.count(b",") < MAX_VALUES:
        return
    commas = containers = 0
    for number, found in enumerate(_FOUND.finditer(body)):
        first = body[found.start()]
        commas += first == _COMMA
        containers += first not in (_COMMA, _TEXT)
        if containers > MAX_CONTAINERS:
            raise _too_many(MAX_CONTAINERS, "arrays and objects")
        if commas + containers > MAX_VALUES or number > 3 * MAX_VALUES:  # each may have a name, and be a text
            raise _too_many(MAX_VALUES, "values")
        if number % PORTION == 0:
            await asyncio.sleep(0)


def _too_many(limit: int, what: str) -> InvalidRequest:
    return InvalidRequest(f"The request body has more than the {limit} JSON {what} that are accepted.")
