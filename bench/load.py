"""The load generator: a process of its own that keeps N requests in flight for a few seconds and reports what it saw.

    python -m bench.load        one `Block` as a JSON line in, one `Seen` as a JSON line out, until the input ends

A closed loop: every client holds one keep-alive connection and sends its next request when the last is answered.
The bodies' bytes are kept with their arrival times and parsed after the block, so that measuring costs little while
it matters; `cpu_share` says how little. Every prompt is different, over all blocks with the same `seed`: no request
profits from another's prefix cache.
"""

import asyncio
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import count, pairwise

import orjson
import uvloop

from bench.connection import Connection, Exchange

WORDS = (  # noqa: SIM905 - as a list literal it is a page
    "rain music window garden quiet morning friend story coffee river summer paper letter train winter song bread "
    "light mountain evening holiday kitchen sister brother film game guitar piano book walk dream city village sea"
).split()


@dataclass(frozen=True)
class Block:
    """A stretch of load on one address. Durations in seconds; what falls into the warm-up is not counted."""

    url: str
    key: str
    model: str
    stream: bool
    concurrency: int
    output_tokens: int
    warmup_s: float
    duration_s: float
    seed: int
    headers: str = ""  # further ones, each with its line end


@dataclass(frozen=True)
class Seen:
    """What the clients saw of a block's counted part; latencies in milliseconds, a value a request (or a token)."""

    requests: int
    output_tokens: int
    errors: dict[str, int]
    duration_s: float
    e2e_ms: list[float]
    ttft_ms: list[float]
    inter_token_ms: list[float]
    cpu_share: float  # of one core, used by the load generator


def requests(block: Block) -> Iterator[bytes]:
    """Request bodies without end, no two of a run alike; each generates exactly `output_tokens` tokens."""
    chance = random.Random(block.seed)
    options: dict[str, object] = {"stream": True, "stream_options": {"include_usage": True}} if block.stream else {}
    for number in count(block.seed % 100_000 * 100_000):
        content = f"Message {number}: tell me about {' and '.join(chance.choices(WORDS, k=8))}."
        yield orjson.dumps(
            {
                "model": block.model,
                "messages": [{"role": "user", "content": content}],
                "max_tokens": block.output_tokens,
                "ignore_eos": True,  # else the model ends when it likes
                "temperature": 0.7,
                **options,
            }
        )


async def run(block: Block) -> Seen:
    """Put the load on and return what was seen."""
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {block.key}\r\n"
        f"content-type: application/json\r\ncache-control: no-cache\r\n{block.headers}"
    ).encode()
    connections = [await Connection.open(block.url) for _ in range(block.concurrency)]
    bodies = requests(block)
    exchanges: list[Exchange] = []
    broken: Counter[str] = Counter()
    started_at = time.monotonic()
    counted_from, until = started_at + block.warmup_s, started_at + block.warmup_s + block.duration_s

    async def client(connection: Connection) -> None:
        while time.monotonic() < until:
            try:
                exchanges.append(await connection.post(head, next(bodies)))
            except ConnectionError as problem:
                broken[type(problem).__name__] += 1
                connection = await Connection.open(block.url)
        connection.close()

    cpu_before = time.process_time()
    await asyncio.gather(*(client(connection) for connection in connections))
    cpu_share = (time.process_time() - cpu_before) / (time.monotonic() - started_at)
    counted = [exchange for exchange in exchanges if counted_from <= exchange.ended_at < until]
    return _seen(block, counted, broken, cpu_share)


def _seen(block: Block, exchanges: list[Exchange], broken: Counter[str], cpu_share: float) -> Seen:
    tokens = 0
    e2e: list[float] = []
    ttft: list[float] = []
    inter_token: list[float] = []
    for exchange in exchanges:
        if exchange.status != 200:
            broken[f"status {exchange.status}"] += 1
            continue
        generated, arrivals = _stream(exchange) if block.stream else _plain(exchange)
        if generated != block.output_tokens:
            broken[f"{generated} tokens instead of {block.output_tokens}"] += 1
        tokens += generated
        e2e.append(1000 * (exchange.ended_at - exchange.sent_at))
        if arrivals:
            ttft.append(1000 * (arrivals[0] - exchange.sent_at))
            inter_token += [1000 * (later - earlier) for earlier, later in pairwise(arrivals)]
    return Seen(len(e2e), tokens, dict(broken), block.duration_s, e2e, ttft, inter_token, cpu_share)


def _plain(exchange: Exchange) -> tuple[int, list[float]]:
    answer = orjson.loads(b"".join(piece for _, piece in exchange.pieces))
    return int(answer["usage"]["completion_tokens"]), []


def _stream(exchange: Exchange) -> tuple[int, list[float]]:
    """The number of tokens, and when each event that carried some arrived."""
    tokens, arrivals, rest = 0, list[float](), b""
    for arrived_at, piece in exchange.pieces:
        *events, rest = (rest + piece).split(b"\n\n")
        for event in events:
            if not event.startswith(b"data: {"):
                continue  # [DONE]
            chunk = orjson.loads(event[6:])
            if chunk.get("usage"):
                tokens = int(chunk["usage"]["completion_tokens"])
            if any(choice["delta"].get("content") for choice in chunk.get("choices", ())):
                arrivals.append(arrived_at)
    return tokens, arrivals


async def _serve() -> None:
    """Answer blocks from stdin."""
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.buffer.readline):
        seen = await run(Block(**orjson.loads(line)))
        sys.stdout.buffer.write(orjson.dumps(asdict(seen)) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    uvloop.run(_serve())
