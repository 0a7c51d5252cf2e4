"""The load generator: a process of its own that puts load on a server for a few seconds and reports what it saw.

    python -m bench.load.generator    reads a `Block` a line and writes a `Seen` a line, as JSON, until the input ends

A closed loop keeps N requests in flight: every client holds one keep-alive connection and sends its next request when
the last is answered. With `rate_per_s` the loop is open: see `bench.load.arrivals`. Response bytes are stored with
their arrival times and parsed after the block, so that measuring costs little during it; `cpu_share` says how little.
All prompts of a run differ, over all blocks with different `seed`s: no request profits from another's prefix cache.
"""

import asyncio
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from itertools import count, pairwise

import orjson
import uvloop

from bench.load.arrivals import Answered, instants, put_on
from bench.load.connection import Connection, Exchange

OVERDUE_S = 1.0
REFUSED_S = 1.0  # a client that is refused waits so long, else it would do nothing but ask
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
    temperature: float = 0.7
    rate_per_s: float = 0.0  # requests/s, however many are in flight; 0: a closed loop
    arrivals_seed: int = 0  # blocks with the same one have the same arrivals
    prompt_words: int = 8  # drawn words of the question; about a token each
    system: str = ""  # a system message that all requests share


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
    late_ms: list[float] = field(default_factory=list)  # open loop: how much later than due each request was sent
    overdue: int = 0  # open loop: counted requests that were not answered within OVERDUE_S after the block's end
    answered: int = 0  # all requests that were, the uncounted ones too: what the server's work went into
    tpot_ms: list[float] = field(default_factory=list)  # streams: mean time between tokens, a value a request


def requests(block: Block) -> Iterator[bytes]:
    """Request bodies without end, no two of a run alike; each generates exactly `output_tokens` tokens."""
    chance = random.Random(block.seed)
    options: dict[str, object] = {"stream": True, "stream_options": {"include_usage": True}} if block.stream else {}
    system = [{"role": "system", "content": block.system}] if block.system else []
    for number in count(block.seed % 100_000 * 100_000):
        content = f"Message {number}: tell me about {' and '.join(chance.choices(WORDS, k=8))}."
        if block.prompt_words > 8:
            content += " " + " ".join(chance.choices(WORDS, k=block.prompt_words - 8))
        yield orjson.dumps(
            {
                "model": block.model,
                "messages": [*system, {"role": "user", "content": content}],
                "max_tokens": block.output_tokens,
                "ignore_eos": True,  # else the model ends when it likes
                "temperature": block.temperature,
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
    started_at, cpu_before = time.monotonic(), time.process_time()
    counted_from, until = started_at + block.warmup_s, started_at + block.warmup_s + block.duration_s
    if block.rate_per_s:
        dice = random.Random(block.arrivals_seed)
        due_at = [started_at + at for at in instants(block.rate_per_s, until - started_at, dice)]
        results = await put_on(block.url, head, requests(block), due_at, connections)
        counted = [exchange for exchange in results.exchanges if counted_from <= exchange.sent_at]
    else:
        results = await _closed_loop(block, head, connections, until)
        counted = [exchange for exchange in results.exchanges if counted_from <= exchange.ended_at < until]
    cpu_share = (time.process_time() - cpu_before) / (time.monotonic() - started_at)
    return replace(
        _seen(block, counted, Counter(results.broken), cpu_share),
        late_ms=[1000 * late_s for late_s in results.late_s],
        overdue=sum(exchange.ended_at > until + OVERDUE_S for exchange in counted),
        answered=len(results.exchanges),
    )


async def _closed_loop(block: Block, head: bytes, connections: list[Connection], until: float) -> Answered:
    bodies, results = requests(block), Answered()

    async def client(connection: Connection) -> None:
        while time.monotonic() < until:
            try:
                exchange = await connection.post(head, next(bodies))
            except ConnectionError as problem:
                results.broken.append(type(problem).__name__)
                connection = await Connection.open(block.url)
                continue
            results.exchanges.append(exchange)
            if exchange.status != 200:
                await asyncio.sleep(REFUSED_S)
        connection.close()

    await asyncio.gather(*(client(connection) for connection in connections))
    return results


def _seen(block: Block, exchanges: list[Exchange], broken: Counter[str], cpu_share: float) -> Seen:
    tokens = 0
    e2e: list[float] = []
    ttft: list[float] = []
    inter_token: list[float] = []
    tpot: list[float] = []
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
            tpot.append(1000 * (arrivals[-1] - arrivals[0]) / max(1, generated - 1))
    return Seen(len(e2e), tokens, dict(broken), block.duration_s, e2e, ttft, inter_token, cpu_share, tpot_ms=tpot)


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
