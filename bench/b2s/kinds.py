"""What is sent: the kinds of requests that the small machine's figures are about, each with its bound and its rates.

A kind is one path and an endless supply of bodies. It does not know how it is sent, nor what is measured.
"""

import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

USER = "bench-b2s"
OURS = (10.0, 25.0, 100.0, 250.0)  # requests/s: the guide's two rates, and ten times both
CHATS = (0.5, 1.0, 2.0, 3.0)
TALKING = (10 / 30, 20 / 30, 50 / 30)  # people who say something every half minute
TURNS = 200  # of the person who is recalled

Bodies = Callable[[random.Random], Iterator[bytes]]


@dataclass(frozen=True)
class Kind:
    """Requests of one kind.

    Attributes:
        name: for tables.
        guide: what is promised, in the guide's words.
        bound_s: the p95 latency up to which a rate counts as held.
        rates: to try, requests/s, rising; the first that is not held is the last one tried.
        duration_s: of each rate.
        method, path, headers: of every request.
        bodies: the bodies, for a source of randomness.

    """

    name: str
    guide: str
    bound_s: float
    rates: tuple[float, ...]
    duration_s: float
    method: str
    path: str
    bodies: Bodies
    headers: str = ""

    def head(self, key: str) -> bytes:
        """The request's head, but for the content length."""
        return (
            f"{self.method} {self.path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {key}\r\n"
            f"content-type: application/json\r\n{self.headers}"
        ).encode()


def nothing(_dice: random.Random) -> Iterator[bytes]:
    """No body."""
    return itertools.repeat(b"")


def recall(dice: random.Random) -> Iterator[bytes]:
    """Questions about what a person of TURNS turns said."""
    while True:
        yield orjson.dumps({"user": USER, "query": f"What about garden {dice.randrange(TURNS)}?", "limit": 5})


def chats(tokens: int, hit_share: float = 0.0, **fields: Any) -> Bodies:
    """Chats of exactly `tokens` tokens each, of which `hit_share` are repeated and may be answered from the cache."""

    def bodies(dice: random.Random) -> Iterator[bytes]:
        for number in itertools.count(dice.randrange(10**9)):
            is_hit = dice.random() < hit_share
            words = "Tell me about tea." if is_hit else f"Message {number}: tell me about rain in winter."
            messages = [{"role": "user", "content": words}]
            body = {"model": "bondhu", "user": USER, "messages": messages, "max_tokens": tokens, "temperature": 0}
            yield orjson.dumps(body | ({} if is_hit else {"ignore_eos": True}) | fields)

    return bodies


def agent(name: str, words: str) -> Bodies:
    """What somebody says to an agent, a different person each time."""

    def bodies(dice: random.Random) -> Iterator[bytes]:
        while True:
            messages = [{"role": "user", "content": words}]
            user = f"{USER}-{dice.randrange(10**9)}"
            yield orjson.dumps({"model": f"bondhu/{name}", "user": user, "messages": messages, "max_tokens": 48})

    return bodies


CHAT = "/v1/chat/completions"
KINDS = (
    Kind("health", "below 50 ms", 0.05, OURS, 8, "GET", "/health", nothing),
    Kind("simple API: models", "100 to 300 ms; 10/s, 25/s for 30 s", 0.3, OURS, 8, "GET", "/v1/models", nothing),
    Kind(
        f"simple API: recall, {TURNS} turns", "100 to 300 ms; 10/s, 25/s for 30 s", 0.3, OURS, 8, "POST",
        "/api/v1/recall", recall,
    ),
    Kind("chat, all from the cache", "10/s, 25/s for 30 s", 0.3, OURS, 8, "POST", CHAT, chats(32, 1.0)),
    Kind("chat, 80 % from the cache", "", 3.0, (1.0, 3.0, 5.0, 10.0), 15, "POST", CHAT, chats(32, 0.8)),
    Kind("chat, 50 % from the cache", "", 3.0, (1.0, 2.0, 3.0, 5.0), 15, "POST", CHAT, chats(32, 0.5)),
    Kind("chat, 16 tokens", "1 to 3 s; 2 to 3/s", 3.0, CHATS, 20, "POST", CHAT, chats(16)),
    Kind("chat, 32 tokens", "1 to 3 s; 2 to 3/s", 3.0, CHATS, 20, "POST", CHAT, chats(32)),
    Kind("chat, 96 tokens", "1 to 3 s; 2 to 3/s", 3.0, CHATS, 20, "POST", CHAT, chats(96)),
    Kind(
        "people who talk, with memory (a message each 30 s)", "10 to 20 talking, of 20 to 50", 3.0, TALKING, 30, "POST",
        CHAT, chats(32), "x-bondhu-memory: on\r\nx-bondhu-cache: off\r\n",
    ),
    Kind("music", "3 to 8 s", 8.0, (0.2, 0.5), 15, "POST", CHAT, agent("music", "Some quiet songs, please.")),
    Kind("video", "2 to 5 s", 5.0, (0.2, 0.5), 15, "POST", CHAT, agent("video", "Something to watch about space?")),
)  # fmt: skip
