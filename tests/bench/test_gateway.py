"""The parts of the gateway's benchmark: arrivals, the stub in front of the real load generator, and the arithmetic."""

import asyncio
import random
from collections.abc import AsyncIterator
from itertools import pairwise

import orjson
import pytest

from bench.gateway import stub
from bench.gateway.litellm_proxy import PINNED, CannotInstall, pinned_version
from bench.gateway.report import markdown
from bench.gateway.rounds import Condition, Sample
from bench.gateway.summary import DIRECT, LITELLM, ON, summarise
from bench.load import generator as load
from bench.load.arrivals import instants
from bench.load.generator import Block, Seen
from serving.engines.wire import ReplicaReport, Routing
from serving.protocol.sse import joined
from serving.protocol.stream_usage import StreamMeter, usage_of_body

ROUTING: Routing = {"alias": "bondhu", "active": "m", "models": {"m": "f"}}
REPLICA: ReplicaReport = {
    "replica_id": "bench",
    "epoch": 1,
    "model": "m",
    "fingerprint": "f",
    "revision": "none",
    "quantization": "none",
    "state": "ready",
    "reason": "",
    "address": "",
    "key": "k",
    "running": 0,
    "waiting": 0,
    "kv_cache_usage": 0.0,
}


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """The stub, with a first byte after 20 ms and a token each 2 ms."""
    server, port = await stub.serve(stub.Plan(ROUTING, REPLICA, first_s=0.02))
    async with server:
        yield f"http://127.0.0.1:{port}"


def block(url: str, *, stream: bool, rate_per_s: float) -> Block:
    """A short block."""
    return Block(url, "k", "m", stream, 2, 5, 0.1, 0.3, seed=3, rate_per_s=rate_per_s, arrivals_seed=1)


@pytest.mark.parametrize("rate_per_s", [0.0, 100.0])
@pytest.mark.parametrize("stream", [False, True])
async def test_the_stub_answers_the_load_generator(url: str, *, stream: bool, rate_per_s: float) -> None:
    """Every request gets exactly the tokens that it asked for, in a closed loop and at a rate."""
    seen = await load.run(block(url, stream=stream, rate_per_s=rate_per_s))
    assert seen.requests > 0
    assert seen.errors == {}
    assert seen.output_tokens == 5 * seen.requests
    assert seen.answered >= seen.requests
    assert len(seen.ttft_ms) == (seen.requests if stream else 0)
    assert len(seen.late_ms) == (seen.answered if rate_per_s else 0)
    assert min(seen.e2e_ms) >= 20


def test_arrivals_are_a_poisson_process_of_the_rate() -> None:
    """As many arrivals as the rate says, about as spread as chance makes them, and the same for the same seed."""
    found = instants(50, 200, random.Random(1))
    gaps = [later - earlier for earlier, later in pairwise(found)]
    mean = sum(gaps) / len(gaps)
    assert len(found) == pytest.approx(10_000, rel=0.05)
    assert found == sorted(found)
    assert max(found) < 200
    assert sum((gap - mean) ** 2 for gap in gaps) / len(gaps) == pytest.approx(mean**2, rel=0.1)
    assert found == instants(50, 200, random.Random(1))


async def test_latency_counts_from_the_instant_that_was_drawn() -> None:
    """A server that answers nobody until the last has come is charged for everybody's wait, not for one a client."""
    due = instants(100, 0.4, random.Random(1))
    came, opened = list[None](), asyncio.Event()

    async def stalls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[16:]) for line in head.split(b"\r\n") if line.startswith(b"content-length: "))
        await reader.readexactly(length)
        came.append(None)
        if len(came) == len(due):
            opened.set()
        await opened.wait()
        writer.write(stub.plain("m", 5))

    server = await asyncio.start_server(stalls, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        seen = await load.run(block(url, stream=False, rate_per_s=100.0))
    counted = [at for at in due if at >= 0.1]
    assert seen.requests == len(counted)
    for ms, at in zip(sorted(seen.e2e_ms, reverse=True), counted, strict=True):
        assert ms >= 1000 * (due[-1] - at) - 0.01


async def test_the_directory_names_the_stub_itself(url: str) -> None:
    """A gateway that polls it finds one ready replica, at the stub's address."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    writer.write(b"GET /directory HTTP/1.1\r\nhost: bench\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(int(line[16:]) for line in head.split(b"\r\n") if line.startswith(b"content-length: "))
    answer = orjson.loads(await reader.readexactly(length))
    writer.close()
    assert answer["routing"] == ROUTING
    assert [(each["state"], each["address"]) for each in answer["replicas"]] == [("ready", url)]


def test_the_gateway_reads_the_stubs_counts() -> None:
    """What the gateway's meter takes for vLLM's counts it finds in the stub's answers, running ones and the last."""
    body = stub.plain("m", 5).partition(b"\r\n\r\n")[2]
    assert usage_of_body(body).completion_tokens == 5
    meter = StreamMeter(None)
    for piece in stub.streamed("m", 5, counts=True, running=True):
        for chunk in piece.split(b"\r\n"):
            if chunk.startswith(b"data: "):
                assert b"usage" not in joined(meter.feed(chunk))
    assert meter.usage.completion_tokens == 5


def test_trojanised_versions_are_refused() -> None:
    """The pinned version of LiteLLM is an exact one, and never one of the two that stole credentials."""
    assert pinned_version(PINNED.read_text()) not in {"1.82.7", "1.82.8"}
    for requirements in ("litellm==1.82.7\n", "aiohttp==3\nlitellm==1.82.8\n", "litellm>=1.83\n"):
        with pytest.raises(CannotInstall):
            pinned_version(requirements)


def sample(side: str, round_: int, rate_per_s: float, ms: float, cpu_s: float, *, overdue: int = 0) -> Sample:
    """A hundred requests in one second, of `ms` each."""
    seen = Seen(100, 500, {}, 1.0, [ms] * 100, [], [], 0.1, overdue=overdue, answered=100)
    return Sample(side, Condition(False, rate_per_s), round_, seen, {"proxy": cpu_s, "stub": 9.0})


def test_added_latency_is_what_the_upstream_does_not_take() -> None:
    """Rounds in which everything is slower do not show in the difference; ratios are of what was added."""
    samples = []
    for round_, slower in enumerate((0.0, 5.0)):
        samples += [sample(DIRECT, round_, 50, 1 + slower, 0), sample(ON, round_, 50, 3 + slower, 0)]
        samples.append(sample(LITELLM, round_, 50, 9 + slower, 0))
    (summary,) = summarise(samples, 1)
    assert summary["added_ms"][ON]["e2e_p50"] == {"value": 2.0, "low": 2.0, "high": 2.0}
    assert summary["of_litellm"][ON]["added_p50"]["value"] == 0.25


def test_cost_is_of_the_sides_own_processes() -> None:
    """Requests a processor second leave the upstream's time out; they are compared with LiteLLM's."""
    samples = [sample(DIRECT, 0, 0, 1, 0), sample(ON, 0, 0, 1, 0.5), sample(LITELLM, 0, 0, 1, 2.0)]
    (summary,) = summarise(samples, 1)
    assert summary["of_litellm"][ON]["requests_per_cpu_s"]["value"] == 4.0
    assert summary["sides"][ON]["cpu_ms_a_request"] == {"proxy": 5.0, "stub": 90.0}


def test_a_side_that_does_not_keep_up_has_no_added_latency() -> None:
    """How long requests waited for a server that is too slow for the rate says nothing; the table says that it is."""
    samples = [sample(DIRECT, 0, 50, 1, 0), sample(ON, 0, 50, 3, 0), sample(LITELLM, 0, 50, 900, 0, overdue=50)]
    conditions = summarise(samples, 1)
    assert list(conditions[0]["added_ms"]) == [ON]
    assert conditions[0]["of_litellm"] == {}
    assert "does not keep up" in markdown({"conditions": conditions, "memory_after": {}, "memory_before": {}})
