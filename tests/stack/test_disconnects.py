"""A client that leaves stops the work that it asked for: shown from the engine's own numbers."""

import asyncio
import http.client
import json
from typing import Any
from urllib.parse import urlsplit

import pytest
from openai import AsyncOpenAI, OpenAI

from tests.support.polling import eventually
from tests.support.services import Service, of_each_engine

pytestmark = of_each_engine
FREED_WITHIN_S = 20.0
HELLO: Any = [{"role": "user", "content": "Tell me everything."}]


class Engine:
    """The engine's numbers from before a test on, and the longest request that it takes."""

    def __init__(self, service: Service) -> None:
        self._service = service
        # far more than it says before the client is gone; llama.cpp gives one choice only, but of a longer context
        self.choices, self.tokens = (16, 1900) if service.kind == "vllm" else (1, 7900)
        eventually(lambda: service.unfinished() == 0, FREED_WITHIN_S, "a quiet engine")
        self._generated_before = service.generated()

    def long(self) -> dict[str, Any]:
        """The parameters of a chat that keeps it at work."""
        choices = {"n": self.choices, "max_tokens": self.tokens, "extra_body": {"ignore_eos": True}}
        return {"model": "bondhu", "messages": HELLO, **choices}

    def until_busy(self) -> None:
        """Return once all of a request's choices run."""
        eventually(lambda: self._service.unfinished() >= self.choices, FREED_WITHIN_S, "the engine to work", 0.02)

    def until_free(self) -> None:
        """Return once nothing runs; fails if that is so because the work was done to its end."""
        eventually(lambda: self._service.unfinished() == 0, FREED_WITHIN_S, "the engine to be free", 0.02)
        generated = self._service.generated() - self._generated_before
        assert generated < self.choices * self.tokens, "it worked on to the end"


@pytest.fixture
def engine(engine_service: Service) -> Engine:
    """The engine, idle."""
    return Engine(engine_service)


def test_leaving_a_stream_frees_the_engine(engine: Engine, client: OpenAI) -> None:
    """Closing a stream after its first chunk ends its generation."""
    with client.chat.completions.create(**engine.long(), stream=True) as stream:
        next(iter(stream))
        engine.until_busy()
    engine.until_free()


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
def test_leaving_a_plain_request_frees_the_engine(engine: Engine, engine_service: Service, path: str) -> None:
    """Closing the connection while a request that does not stream is worked on ends its generation."""
    body = engine.long()
    body |= body.pop("extra_body")
    if "chat" not in path:
        del body["messages"]
        body["prompt"] = "Hi"
    connection = http.client.HTTPConnection(urlsplit(engine_service.url).netloc, timeout=60)
    headers = {"authorization": f"Bearer {engine_service.api_key}", "content-type": "application/json"}
    connection.request("POST", path, json.dumps(body), headers)
    engine.until_busy()
    connection.close()
    engine.until_free()


async def test_cancelling_a_task_frees_the_engine(engine: Engine, async_client: AsyncOpenAI) -> None:
    """A cancelled call of the asynchronous client, as an application's own timeout makes it, ends its generation."""
    asking = asyncio.create_task(async_client.chat.completions.create(**engine.long()))
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
    leaving = [asyncio.create_task(async_client.chat.completions.create(**engine.long())) for _ in range(2)]
    await asyncio.to_thread(engine.until_busy)
    for task in leaving:
        task.cancel()
    answers = await asyncio.gather(*staying)
    assert [answer.usage and answer.usage.completion_tokens for answer in answers] == [200] * 4
    await asyncio.to_thread(engine.until_free)
