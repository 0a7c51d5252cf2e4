"""The load of a soak: people who talk with memory, one message after another, and an agent now and then.

Each person is a thread with one connection; between an answer and the next message they wait. Their messages differ in
length, so that the engine and the embedder see the shapes that real people cause.
"""

import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import httpx

from bench.load.generator import WORDS

TIMEOUT_S = 120.0
LONGEST_WORDS = 120


@dataclass
class Tally:
    """What came of the messages so far."""

    answered: int = 0
    tokens: int = 0
    latencies_s: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)


class People:
    """So many people who talk until `stop`, with memory or without; `pause_s` is their mean wait between messages."""

    def __init__(self, url: str, key: str, number: int, pause_s: float, *, memory: bool = True) -> None:
        self._url, self._key, self._pause_s = url, key, pause_s
        self._memory = "on" if memory else "off"
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._tally = Tally()
        self._threads = [threading.Thread(target=self._talk, args=(each,), daemon=True) for each in range(number)]

    def start(self) -> None:
        """Let them talk."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let each end with the message at hand."""
        self._over.set()
        for thread in self._threads:
            thread.join(TIMEOUT_S)

    def take(self) -> Tally:
        """What came of the messages since the last call."""
        with self._lock:
            tally, self._tally = self._tally, Tally()
        return tally

    def _talk(self, person: int) -> None:
        dice, past = random.Random(person), list[dict[str, str]]()
        headers = {"authorization": f"Bearer {self._key}", "x-bondhu-memory": self._memory, "x-bondhu-cache": "off"}
        with httpx.Client(base_url=self._url, headers=headers, timeout=TIMEOUT_S) as client:
            number = 0
            while not self._over.wait(self._pause_s and dice.expovariate(1 / self._pause_s)):
                number += 1
                words = " ".join(dice.choices(WORDS, k=round(LONGEST_WORDS ** dice.random()) + 2))
                past = [*past[-6:], {"role": "user", "content": f"Message {number}: {words}."}]
                model = "bondhu/chat" if number % 5 == 0 else "bondhu"
                self._say(client, person, model, past)

    def _say(self, client: httpx.Client, person: int, model: str, past: list[dict[str, str]]) -> None:
        body = {"model": model, "user": f"soak-{person}", "messages": past, "max_tokens": 48}
        began, error, tokens = time.monotonic(), "", 0
        try:
            reply = client.post("/v1/chat/completions", json=body)
            if reply.status_code == 200:
                answer = reply.json()
                tokens = answer["usage"]["completion_tokens"]
                past.append({"role": "assistant", "content": answer["choices"][0]["message"]["content"] or "..."})
            else:
                error = f"status {reply.status_code}"
        except httpx.HTTPError as problem:
            error = type(problem).__name__
        with self._lock:
            if error:
                self._tally.errors[error] += 1
            else:
                self._tally.answered += 1
                self._tally.tokens += tokens
                self._tally.latencies_s.append(time.monotonic() - began)
        if error:
            self._over.wait(1)
