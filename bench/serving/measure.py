"""Which load goes where, and when: short blocks on each side in turn, because the machine drifts.

Sides of a round, in an order that rotates from round to round:

    gateway  requests through Bondhu's gateway to its engine
    bare     the same engine process asked directly: same model, arguments, environment, with Ray beside
    control  as `bare`: what differs between these two is noise
    alone    a vLLM server of its own, same command line and environment, while all of Bondhu and Ray is stopped
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

from bench import processes
from bench.load.generator import Block, Seen
from bench.load.process import LoadGenerator
from bench.stack import Bondhu, Target, VllmAlone

SIDES = ("gateway", "bare", "control", "alone")
ENGINE_SETTLES_S = 1.3  # vLLM's worker goes on spinning for a second after its last request


@dataclass(frozen=True)
class Plan:
    """How long and how hard. Durations in seconds."""

    concurrencies: tuple[int, ...] = (1, 8, 32)
    rounds: int = 6
    warmup_s: float = 0.5
    duration_s: float = 3.0
    output_tokens: int = 16

    def blocks(self) -> int:
        """How many blocks it takes."""
        return len(self.concurrencies) * 2 * self.rounds * len(SIDES)


@dataclass(frozen=True)
class Measurement:
    """One block: what its clients saw, and what it cost each role in processor milliseconds a request."""

    side: str
    stream: bool
    concurrency: int
    round: int
    seen: Seen
    cpu_ms: dict[str, float]

    @property
    def requests_per_s(self) -> float:
        """Throughput."""
        return self.seen.requests / self.seen.duration_s

    @property
    def output_tokens_per_s(self) -> float:
        """Generated tokens a second."""
        return self.seen.output_tokens / self.seen.duration_s


def measure(plan: Plan, bondhu: Bondhu, alone: VllmAlone, advance: Callable[[str], None]) -> Iterator[Measurement]:
    """Yield each block's measurement; `advance` is told what is done next."""
    generator = LoadGenerator()
    engine = bondhu.engine()
    targets = {"gateway": bondhu.gateway(), "bare": engine, "control": engine, "alone": alone.target}
    pids = {"bondhu": bondhu.roles(), "alone": alone.roles()}
    seed = int(time.time())  # a run's prompts differ from those of the run before
    try:
        for stream in (False, True):
            for concurrency in plan.concurrencies:
                for number in range(plan.rounds):
                    for side in _rotated(SIDES, number):
                        advance(f"{'streamed' if stream else 'plain'}, {concurrency} at a time, {side}")
                        seed += 1
                        block = _block(plan, targets[side], stream, concurrency, seed)
                        roles = pids["alone" if side == "alone" else "bondhu"]
                        with _only(side, bondhu):
                            before = _cpu_s(roles)
                            seen = generator.run(block)
                            after = _cpu_s(roles)
                        served = max(1, seen.requests) * (plan.warmup_s + plan.duration_s) / plan.duration_s
                        cost = {role: round(1000 * (after[role] - before[role]) / served, 4) for role in roles}
                        yield Measurement(side, stream, concurrency, number, seen, cost)
    finally:
        generator.close()


@contextmanager
def _only(side: str, bondhu: Bondhu) -> Iterator[None]:
    """Nothing but what this side needs runs, now that the engine of the block before has come to rest."""
    if side == "alone":
        time.sleep(ENGINE_SETTLES_S)
    with bondhu.stopped() if side == "alone" else nullcontext():
        yield
        if side == "alone":
            time.sleep(ENGINE_SETTLES_S)


def _block(plan: Plan, target: Target, stream: bool, concurrency: int, seed: int) -> Block:
    return Block(
        url=target.url,
        key=target.key,
        model=target.model,
        stream=stream,
        concurrency=concurrency,
        output_tokens=plan.output_tokens,
        warmup_s=plan.warmup_s,
        duration_s=plan.duration_s,
        seed=seed,
    )


def _rotated(sides: tuple[str, ...], by: int) -> tuple[str, ...]:
    by %= len(sides)
    return sides[by:] + sides[:by]


def _cpu_s(roles: dict[str, list[int]]) -> dict[str, float]:
    return {role: sum(map(processes.cpu_s, pids)) for role, pids in roles.items()}
