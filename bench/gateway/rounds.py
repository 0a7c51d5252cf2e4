"""Which side of `bench.gateway` gets which load, and when: every condition on every side in turn, in random order.

Rates are open loops with the same arrivals for each side of a round; saturation is a closed loop. A side that cannot
keep up with a rate skips it in later rounds, because its latency would only measure the backlog.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench import processes
from bench.load.generator import Block, Seen
from bench.load.process import LoadGenerator
from bench.stack import Target

OVERDUE = 0.1  # share of a block's requests; beyond, the side does not keep up
SPARE_CONNECTIONS = 16  # opened before an open loop begins


@dataclass(frozen=True)
class Condition:
    """A kind of load: `rate_per_s`, or (0) as much as `concurrency` clients get through."""

    stream: bool
    rate_per_s: float
    concurrency: int = SPARE_CONNECTIONS

    @property
    def name(self) -> str:
        """For people."""
        load = f"{self.rate_per_s:g}/s" if self.rate_per_s else f"saturated, {self.concurrency} clients"
        return f"{'streamed' if self.stream else 'plain'}, {load}"


@dataclass(frozen=True)
class Side:
    """Where requests go, with which headers, and whose processor time they cost."""

    name: str
    target: Target
    headers: str
    roles: Mapping[str, Sequence[int]]


@dataclass(frozen=True)
class Plan:
    """How long and how hard. Durations in seconds."""

    conditions: tuple[Condition, ...]
    rounds: int
    duration_s: float
    warmup_s: float = 0.5
    output_tokens: int = 16
    seed: int = 1


@dataclass(frozen=True)
class Sample:
    """One block: what its clients saw, and what it cost in processor seconds by role, of the side and upstream."""

    side: str
    condition: Condition
    round: int
    seen: Seen
    cpu_s: Mapping[str, float]

    @property
    def keeps_up(self) -> bool:
        """Whether answers came as fast as requests."""
        lost = sum(self.seen.errors.values())
        return self.seen.overdue + lost <= OVERDUE * max(1, self.seen.requests + lost)


def measure(
    plan: Plan,
    sides: Sequence[Side],
    upstream: Mapping[str, Sequence[int]],
    generator: LoadGenerator,
    advance: Callable[[str], None],
) -> Iterator[Sample]:
    """Yield each block's sample; `upstream` are the processes behind all sides, `advance` is told what is next."""
    dice, number = random.Random(plan.seed), plan.seed * 10_000
    hopeless = set[tuple[str, Condition]]()
    for round_ in range(plan.rounds):
        for condition in dice.sample(plan.conditions, len(plan.conditions)):
            for side in dice.sample(sides, len(sides)):
                number += 1
                advance(f"round {round_ + 1}: {condition.name}, {side.name}")
                if (side.name, condition) in hopeless:
                    continue
                block = _block(plan, side, condition, number, arrivals_seed=round_)
                roles = {**upstream, **side.roles}
                before = _cpu_s(roles)
                seen = generator.run(block)
                spent = {role: after - before[role] for role, after in _cpu_s(roles).items()}
                sample = Sample(side.name, condition, round_, seen, spent)
                if condition.rate_per_s and not sample.keeps_up:
                    hopeless.add((side.name, condition))
                yield sample


def _block(plan: Plan, side: Side, condition: Condition, number: int, arrivals_seed: int) -> Block:
    return Block(
        url=side.target.url,
        key=side.target.key,
        model=side.target.model,
        stream=condition.stream,
        concurrency=condition.concurrency,
        output_tokens=plan.output_tokens,
        warmup_s=plan.warmup_s,
        duration_s=plan.duration_s,
        seed=number,
        headers=side.headers,
        temperature=0.0,  # so that a cache of answers is consulted
        rate_per_s=condition.rate_per_s,
        arrivals_seed=arrivals_seed,
    )


def _cpu_s(roles: Mapping[str, Sequence[int]]) -> dict[str, float]:
    return {role: sum(map(processes.cpu_s, pids)) for role, pids in roles.items()}
