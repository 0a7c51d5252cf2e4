"""The latency that the gateway adds to a single request, more precisely than `bench.serving` can measure it.

    python -m bench.serving.added [--pairs 300]

On a slow processor whole requests vary by tens of milliseconds, which hides the few that the gateway adds. So this
sends requests of one token (later tokens are only passed through) to the gateway and to its engine in turn, in pairs in
random order. The result is the median of the differences within pairs, with a 95 % interval by bootstrap (Efron, 1979).
"""

import http.client
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Annotated, Any
from urllib.parse import urlsplit

import orjson
import typer
from rich.console import Console
from rich.progress import track

from bench.environment import RESULTS, commit, machine
from bench.stack import Bondhu, Target

RESAMPLES = 2000
WARM_UP_PAIRS = 20
console = Console(stderr=True)


class Client:
    """One kept connection to one target."""

    def __init__(self, target: Target, *, stream: bool) -> None:
        address = urlsplit(target.url)
        assert address.hostname is not None, "a complete address"
        self._connection = http.client.HTTPConnection(address.hostname, address.port, timeout=60)
        self._headers = {"authorization": f"Bearer {target.key}", "content-type": "application/json"}
        self._headers["cache-control"] = "no-cache"  # what is measured is the way to the engine
        self._body = {"model": target.model, "max_tokens": 1, "stream": stream}

    def ask_s(self, prompt: str) -> float:
        """Ask for one token; seconds until the answer is complete."""
        body = orjson.dumps({**self._body, "messages": [{"role": "user", "content": prompt}]})
        began = time.perf_counter()
        self._connection.request("POST", "/v1/chat/completions", body, self._headers)
        answer = self._connection.getresponse()
        text = answer.read()
        took = time.perf_counter() - began
        if answer.status != 200:
            raise RuntimeError(f"{answer.status}: {text[:300]!r}")
        return took


def compare(
    pairs: int, one: Callable[[str], float], other: Callable[[str], float], dice: random.Random
) -> list[tuple[float, float]]:
    """Ask both, pair by pair, in random order; no two prompts are alike, so that no prefix cache helps either."""
    seen = []
    for number in track(range(pairs + WARM_UP_PAIRS), console=console, transient=True):
        prompt = f"{number} {dice.random()}: how was your day?"
        if dice.random() < 0.5:
            first = one(f"A {prompt}")
            seen.append((first, other(f"B {prompt}")))
        else:
            second = other(f"A {prompt}")
            seen.append((one(f"B {prompt}"), second))
    return seen[WARM_UP_PAIRS:]


def interval(values: Sequence[float], dice: random.Random) -> tuple[float, float]:
    """A 95 % interval of the median, by bootstrap."""
    medians = sorted(median(dice.choices(values, k=len(values))) for _ in range(RESAMPLES))
    return medians[int(RESAMPLES * 0.025)], medians[int(RESAMPLES * 0.975)]


def main(
    pairs: Annotated[int, typer.Option(min=20, help="Pairs of requests, streamed and not each.")] = 300,
    seed: Annotated[int, typer.Option(help="Of orders and prompts.")] = 1,
) -> None:
    """Measure what the gateway adds to a request at concurrency 1."""
    dice = random.Random(seed)
    result: dict[str, Any] = {"commit": commit(), "at": datetime.now(UTC).isoformat(timespec="seconds")}
    result |= {"machine": machine(), "pairs": pairs, "seed": seed, "added_ms": {}}
    with tempfile.TemporaryDirectory(prefix="bondhu-bench-") as directory:
        bondhu = Bondhu(Path(directory), {})
        try:
            with console.status("bondhu up"):
                bondhu.start()
            time.sleep(5)  # what start-up left to do
            for name, stream in (("plain", False), ("streamed", True)):
                gateway, bare = (Client(target, stream=stream) for target in (bondhu.gateway(), bondhu.engine()))
                again = Client(bondhu.engine(), stream=stream)
                result["added_ms"][name] = _summary(compare(pairs, gateway.ask_s, bare.ask_s, dice), dice)
                result["added_ms"][f"{name}, control"] = _summary(compare(pairs, again.ask_s, bare.ask_s, dice), dice)
        finally:
            bondhu.stop()
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "added.json").write_bytes(orjson.dumps(result, option=orjson.OPT_INDENT_2))
    for name, figures in result["added_ms"].items():
        low, high = figures["interval_ms"]
        typer.echo(
            f"{name}: {figures['median_ms']:+.2f} ms ({low:+.2f} to {high:+.2f}) on {figures['engine_p50_ms']:.1f} ms"
        )
    console.print("written: bench/results/added.json")


def _summary(seen: Sequence[tuple[float, float]], dice: random.Random) -> dict[str, Any]:
    differences = [(one - other) * 1000 for one, other in seen]
    return {
        "median_ms": round(median(differences), 3),
        "interval_ms": [round(edge, 3) for edge in interval(differences, dice)],
        "engine_p50_ms": round(median(other for _, other in seen) * 1000, 3),
    }


if __name__ == "__main__":
    typer.run(main)
