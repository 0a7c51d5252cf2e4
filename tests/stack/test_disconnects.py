"""A client that leaves stops the work that it asked for: shown from the engine's own numbers."""

import asyncio
import http.client
import json
import re
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI, OpenAI

from tests.support.local_stack import LocalStack
from tests.support.polling import eventually

CHOICES, TOKENS = 16, 1900  # far more than an engine says before the client is gone
FREED_WITHIN_S = 20.0
HELLO: Any = [{"role": "user", "content": "Tell me everything."}]
LONG: dict[str, Any] = {
    "model": "bondhu",
    "messages": HELLO,
    "n": CHOICES,
    "max_tokens": TOKENS,
    "ignore_eos": True,
}


class Engine:
    """The engine's numbers from before a test on."""

    def __init__(self, stack: LocalStack) -> None:
        self._stack = stack
        eventually(lambda: stack.unfinished() == 0, FREED_WITHIN_S, "a quiet engine")
        self._generated_before = self._generated()

    def until_busy(self) -> None:
        """Return once all of a request's choices run."""
        eventually(lambda: self._stack.unfinished() >= CHOICES, FREED_WITHIN_S, "the engine to work", every_s=0.02)

    def until_free(self) -> None:
        """Return once nothing runs; fails if that is so because the work was done to its end."""
        eventually(lambda: self._stack.unfinished() == 0, FREED_WITHIN_S, "the engine to be free", every_s=0.02)
        generated = self._generated() - self._generated_before
        assert generated < CHOICES * TOKENS, "it worked on to the end"

    def _generated(self) -> float:
        (replica,) = self._stack.replicas()
        headers = {"authorization": f"Bearer {replica['key']}"}
        text = httpx.get(f"{replica['address']}/metrics", headers=headers, timeout=10).text
        found = re.search(r"^vllm:generation_tokens_total\{[^}]*\} (\S+)$", text, re.M)
        assert found is not None
        return float(found[1])


@pytest.fixture
def engine(stack: LocalStack) -> Engine:
    """The engine, idle."""
    return Engine(stack)


def test_leaving_a_stream_frees_the_engine(engine: Engine, client: OpenAI) -> None:
    """Closing a stream after its first chunk ends its generation."""
    with client.chat.completions.create(
        model="bondhu", messages=HELLO, n=CHOICES, max_tokens=TOKENS, extra_body={"ignore_eos": True}, stream=True
    ) as stream:
        next(iter(stream))
        engine.until_busy()
    engine.until_free()


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
def test_leaving_a_plain_request_frees_the_engine(engine: Engine, stack: LocalStack, path: str) -> None:
    """Closing the connection while a request that does not stream is worked on ends its generation."""
    body = LONG if "chat" in path else {k: v for k, v in LONG.items() if k != "messages"} | {"prompt": "Hi"}
    connection = http.client.HTTPConnection("127.0.0.1", stack.ports["GATEWAY__PORT"], timeout=60)
    headers = {"authorization": f"Bearer {stack.api_key}", "content-type": "application/json"}
    connection.request("POST", path, json.dumps(body), headers)
    engine.until_busy()
    connection.close()
    engine.until_free()


async def test_cancelling_a_task_frees_the_engine(engine: Engine, async_client: AsyncOpenAI) -> None:
    """A cancelled call of the asynchronous client, as an application's own timeout makes it, ends its generation."""
    asking = asyncio.create_task(
        async_client.chat.completions.create(
            model="bondhu", messages=HELLO, n=CHOICES, max_tokens=TOKENS, extra_body={"ignore_eos": True}
        )
    )
    await asyncio.to_thread(engine.until_busy)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await asyncio.to_thread(engine.until_free)


async def test_who_stays_is_answered(engine: Engine, async_client: AsyncOpenAI) -> None:
    """Clients that leave take nothing from those that stay."""
    await asyncio.to_thread(engine.until_free)
    staying = [
        asyncio.create_task(
            async_client.chat.completions.create(
                model="bondhu", messages=HELLO, max_tokens=200, extra_body={"ignore_eos": True}
            )
        )
        for _ in range(4)
    ]
    leaving = [
        asyncio.create_task(
            async_client.chat.completions.create(
                model="bondhu", messages=HELLO, n=CHOICES, max_tokens=TOKENS, extra_body={"ignore_eos": True}
            )
        )
        for _ in range(2)
    ]
    await asyncio.to_thread(engine.until_busy)
    for task in leaving:
        task.cancel()
    answers = await asyncio.gather(*staying)
    assert [answer.usage and answer.usage.completion_tokens for answer in answers] == [200] * 4
    await asyncio.to_thread(engine.until_free)
