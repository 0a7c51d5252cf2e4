"""Clients that chat continuously, with and without streaming, and record every failure."""

import threading
from types import TracebackType
from typing import Any, Self

import httpx

from tests.support.local_stack import LocalStack
from tests.support.polling import eventually

SHORT: dict[str, Any] = {"messages": [{"role": "user", "content": "Hi, how was your day?"}], "max_tokens": 24}
THINK_S = 0.2  # between an answer and the next request: an engine that starts beside needs processor time, too


class ClientLoad:
    """`clients` threads that send requests, every other one streaming, while the context is entered.

    `failures` lists requests without a full answer; `answered_by` has each client's sequence of answering models (the
    `x-bondhu-model` header), without immediate repetitions.
    """

    def __init__(self, stack: LocalStack, model: str, clients: int = 4) -> None:
        self._stack, self._model = stack, model
        self._stop = threading.Event()
        self.failures: list[str] = []
        self.answered = 0
        self.answered_by: list[list[str]] = [[] for _ in range(clients)]
        self._threads = [threading.Thread(target=self._chat, args=(number,)) for number in range(clients)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def until_all_have_met(self, model: str, within_s: float = 60) -> None:
        """Return once every client's latest answer came from `model`."""
        eventually(
            lambda: all(met and met[-1].startswith(f"{model};") for met in self.answered_by),
            within_s,
            f"all clients to be answered by {model}",
        )

    def until_answered(self, more: int, within_s: float = 120) -> None:
        """Return once so many more requests have been answered, or one has failed."""
        target = self.answered + more
        eventually(lambda: self.failures or self.answered >= target, within_s, f"{more} more answers")

    def _chat(self, number: int) -> None:
        is_streaming = number % 2 == 0
        body = SHORT | {"model": self._model, "stream": is_streaming}
        headers = {"authorization": f"Bearer {self._stack.api_key}"}
        with httpx.Client(base_url=self._stack.url, headers=headers, timeout=60) as client:
            while not self._stop.wait(THINK_S):
                try:
                    answer = client.post("/v1/chat/completions", json=body)
                except httpx.HTTPError as problem:
                    self.failures.append(repr(problem))
                    continue
                whole = answer.text.endswith("data: [DONE]\n\n") if is_streaming else "choices" in answer.text
                if answer.status_code != 200 or not whole:
                    self.failures.append(f"{answer.status_code}: {answer.text[-300:]}")
                    continue
                self.answered += 1
                met = self.answered_by[number]
                if not met or met[-1] != answer.headers["x-bondhu-model"]:
                    met.append(answer.headers["x-bondhu-model"])
