"""The benchmark's arithmetic, and its load generator against a real socket."""

import asyncio
from functools import partial

import orjson
import pytest

from bench.load import generator as load
from bench.load.generator import Block, Seen
from bench.percentiles import percentile
from bench.serving import admission, summary
from bench.serving.measure import Measurement


def block(url: str = "http://127.0.0.1:1", *, stream: bool = False, concurrency: int = 2) -> Block:
    """A short block."""
    return Block(url, "key", "model", stream, concurrency, output_tokens=3, warmup_s=0.1, duration_s=0.3, seed=7)


def measured(side: str, number: int, requests: int) -> Measurement:
    """A block in which `requests` were served in one second, in 10 ms each."""
    return Measurement(side, False, 1, number, Seen(requests, requests, {}, 1.0, [10.0] * requests, [], [], 0.1), {})


def test_percentiles_interpolate() -> None:
    """Between two values the percentile lies on the line between them; without values there is none."""
    assert percentile([1, 2, 3, 4, 5], 50) == 3
    assert percentile([10, 20], 50) == 15
    assert percentile(list(range(101)), 99) == 99
    assert percentile([], 50) is None


def test_ratios_pair_blocks_of_the_same_round() -> None:
    """A machine that is half as fast in the second round does not show in the ratio."""
    both = [measured("bare", 0, 100), measured("gateway", 0, 90), measured("gateway", 1, 45), measured("bare", 1, 50)]
    found = summary.ratio(both, "gateway", "bare", summary.requests_per_s)
    assert found.rounds == [0.9, 0.9]
    assert (found.median, found.low, found.high) == (0.9, 0.9, 0.9)


def test_every_prompt_of_a_run_is_different() -> None:
    """Two blocks of a run share no prompt, so no side profits from the other's prefix cache."""
    seen: list[bytes] = []

    for seed in (7, 8):
        bodies = load.requests(Block("", "", "m", False, 1, 3, 0, 0, seed))
        seen += [next(bodies) for _ in range(1000)]
    assert len(set(seen)) == len(seen)


EVENTS = [
    {"choices": [{"delta": {"role": "assistant", "content": ""}}]},
    {"choices": [{"delta": {"content": "a"}}]},
    {"choices": [{"delta": {"content": "b"}}]},
    {"choices": [{"delta": {"content": "c"}, "finish_reason": "length"}]},
    {"choices": [], "usage": {"completion_tokens": 3}},
]


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, heads: list[bytes] | None = None) -> None:
    """An engine of three tokens, 20 ms apart; appends the head of each request to `heads`."""
    while True:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return
        if heads is not None:
            heads.append(head)
        length = next(int(line[16:]) for line in head.split(b"\r\n") if line.startswith(b"content-length: "))
        request = orjson.loads(await reader.readexactly(length))
        if not request.get("stream"):
            await asyncio.sleep(0.02)
            body = orjson.dumps({"usage": {"completion_tokens": 3}})
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
            continue
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for event in [*map(orjson.dumps, EVENTS), b"[DONE]"]:
            await asyncio.sleep(0.02)
            data = b"data: " + event + b"\n\n"
            writer.write(b"%x\r\n%b\r\n" % (len(data), data))
        writer.write(b"0\r\n\r\n")


@pytest.mark.parametrize("stream", [False, True])
async def test_the_load_generator_counts_what_it_saw(stream: bool) -> None:
    """Tokens come from the engine's own usage, latencies from arrivals; a full answer is no error."""
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        seen = await load.run(block(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", stream=stream))
    assert seen.requests > 0
    assert seen.errors == {}
    assert seen.output_tokens == 3 * seen.requests
    assert len(seen.e2e_ms) == seen.requests
    assert len(seen.ttft_ms) == (seen.requests if stream else 0)
    assert len(seen.inter_token_ms) == (2 * seen.requests if stream else 0)
    assert all(first < whole for first, whole in zip(seen.ttft_ms, seen.e2e_ms, strict=False))


async def test_each_side_of_the_admission_benchmark_names_its_class() -> None:
    """Background work calls itself interactive or a job as the side wants, and the table tells what it added."""
    heads: list[bytes] = []
    server = await asyncio.start_server(partial(answer, heads=heads), "127.0.0.1", 0)
    plan = admission.Plan(
        interactive=1, background=1, interactive_tokens=3, background_tokens=3, duration_s=1, warmup_s=0
    )
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        sides = await admission.on_a_server(plan, url, "key", "m", "x-class", rounds=1)
    assert [side.name for side in sides][2] == "admitted as jobs"
    assert {b"x-class: job" in head for head in heads} == {True, False}
    assert all(b"x-class: interactive\r\n" in head or b"x-class: job\r\n" in head for head in heads)
    assert all(side.ttft_ms and not side.errors for side in sides)
    assert [row["background_requests_per_s"] > 0 for row in admission.summarise(sides)] == [False, True, True]
    assert "| alone |" in admission.markdown(admission.summarise(sides))
