"""Requests to the private ingress, over real HTTP: what comes back, and each way in which nothing does."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from models.serve_ingress import Away, Refused, ask
from serving.engines.embedder import EmbedderClient
from serving.errors import EngineTimeout, EngineUnavailable, InvalidRequest
from tests.support.gateway_process import free_port
from tests.support.memory.word_embedder import DIMENSIONS
from tests.support.servers.embedder import EmbedderServer

KEY = "the-key-of-the-cluster"
LONG = {"index": 2, "error": "has 600 tokens, more than the model's window of 256", "code": "context_length_exceeded"}


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """Return the base URL of a server that refuses, breaks, hangs, or repeats what it is sent, by path."""

    async def refuse(_: web.Request) -> web.Response:
        return web.json_response(LONG, status=400)

    async def hang(_: web.Request) -> web.Response:
        await asyncio.sleep(60)
        return web.Response()

    async def repeat(request: web.Request) -> web.Response:
        assert request.headers["x-bondhu-cluster-key"] == KEY
        return web.Response(body=request.method.encode() + await request.read(), headers={"x-bondhu-tokens": "3"})

    app = web.Application()
    app.router.add_post("/refuse", refuse)
    app.router.add_post("/hang", hang)
    app.router.add_route("*", "/repeat", repeat)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


def client(
    session: aiohttp.ClientSession, url: str, dimensions: int = DIMENSIONS, timeout_s: float = 5
) -> EmbedderClient:
    """Return the gateway's client of an embedder, which has answered before."""
    embedder = EmbedderClient(
        url=url,
        cluster_key=KEY,
        session=session,
        model="words",
        dimensions=dimensions,
        probe_interval_s=5,
        retry_after_s=5,
        timeout_s=timeout_s,
    )
    embedder.problem = None
    return embedder


async def test_each_end_of_a_request_has_its_type(url: str) -> None:
    """An answer, a refused input, another status, nobody there, and no answer in time."""
    async with aiohttp.ClientSession() as session:
        answer, headers = await ask(session, f"{url}/repeat", KEY, {"inputs": ["a"]}, timeout_s=5)
        assert (answer, headers["x-bondhu-tokens"]) == (b'POST{"inputs":["a"]}', "3")
        assert (await ask(session, f"{url}/repeat", KEY, None, timeout_s=5))[0] == b"GET"
        with pytest.raises(Refused) as refused:
            await ask(session, f"{url}/refuse", KEY, {}, timeout_s=5)
        assert (refused.value.index, refused.value.code) == (2, "context_length_exceeded")
        with pytest.raises(Away, match="404"):
            await ask(session, f"{url}/nothing", KEY, {}, timeout_s=5)
        with pytest.raises(Away, match="cannot be reached"):
            await ask(session, f"http://127.0.0.1:{free_port()}", KEY, {}, timeout_s=5)
        with pytest.raises(TimeoutError):
            await ask(session, f"{url}/hang", KEY, {}, timeout_s=0.1)


async def test_the_gateway_tells_its_clients(url: str) -> None:
    """A refused input is named in a 400; an embedder that is not there, or not in time, is a 503 and a 504."""
    async with aiohttp.ClientSession() as session:
        with pytest.raises(InvalidRequest, match=r"^input\[2\] has 600 tokens") as invalid:
            await client(session, f"{url}/refuse").embed(["a"])
        assert (invalid.value.param, invalid.value.code) == ("input", "context_length_exceeded")
        with pytest.raises(EngineTimeout):
            await client(session, f"{url}/hang", timeout_s=0.1).embed(["a"])
        gone = client(session, f"{url}/nothing")
        with pytest.raises(EngineUnavailable):
            await gone.embed(["a"])
        assert gone.problem == "it answered 404"


async def test_vectors_of_another_length_are_nobodys() -> None:
    """A model that is not what the configuration says is not ready, and says why."""
    port = free_port()
    with EmbedderServer(port):
        async with aiohttp.ClientSession() as session:
            url = f"http://127.0.0.1:{port}/embedder"
            rows, _ = await client(session, url).embed(["a", "b"])
            assert len(rows) == 2 * 4 * DIMENSIONS
            wrong = client(session, url, dimensions=DIMENSIONS + 1)
            with pytest.raises(EngineUnavailable):
                await wrong.embed(["a", "b"])
            assert not wrong.ready
            assert "embedder.dimensions" in (wrong.problem or "")
