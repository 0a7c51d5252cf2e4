"""Simulated people with hidden tastes, and policies that recommend to them one song after another.

A person likes a song with the probability 1 / (1 + exp(-3 t)), where t is the sum of their hidden weights of its
features, drawn from a normal distribution. A policy sees whether they liked what it chose, and nothing else. The
regret of a round is what the best song's probability has over the chosen one's. What was heard does not come again.
Real tastes are not drawn like this, and people are not that patient: it shows that the ranking learns, not how well it
pleases.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np

from agents.music.catalogue import features_of, read_tracks
from agents.ranking.candidate import Candidate
from agents.ranking.rank import rank, similarity
from agents.ranking.taste import Signal, Taste

NOW = datetime(2026, 11, 27, 14, 0, tzinfo=UTC)
STEEPNESS = 3.0
LIST = 5  # songs that a person is shown together
Hidden = Mapping[str, float]
Policy = Callable[["Person", Sequence[Signal], Sequence[str], random.Random], Candidate]
CANDIDATES = [Candidate(track.id, track.artist, features_of(track)) for track in read_tracks()]
NAMES = sorted({name for each in CANDIDATES for name in each.features})


class Person:
    """Somebody with a hidden taste, drawn from a seed."""

    def __init__(self, seed: int) -> None:
        rng = random.Random(seed)
        self.hidden: Hidden = {name: rng.gauss(0, 1) for name in NAMES}
        self.appeals = {each.id: self._appeal(each) for each in CANDIDATES}
        self.best = max(self.appeals.values())

    def _appeal(self, candidate: Candidate) -> float:
        total = sum(self.hidden[name] * value for name, value in candidate.features.items())
        return float(1 / (1 + np.exp(-STEEPNESS * total)))


def ours(person: Person, signals: Sequence[Signal], heard: Sequence[str], rng: random.Random) -> Candidate:
    """The agents' ranking."""
    taste = Taste(signals, NOW + timedelta(minutes=len(signals)))
    return rank(CANDIDATES, taste, rng, limit=1, not_items=heard)[0].candidate


def greedy(person: Person, signals: Sequence[Signal], heard: Sequence[str], rng: random.Random) -> Candidate:
    """The same taste without exploration: always what seems best; at the same score, by chance."""
    taste = Taste(signals, NOW + timedelta(minutes=len(signals)))
    left = [each for each in CANDIDATES if each.id not in heard]
    return max(left, key=lambda each: (taste.score(each.features, taste.mean), rng.random()))


def by_chance(person: Person, signals: Sequence[Signal], heard: Sequence[str], rng: random.Random) -> Candidate:
    """Any song."""
    return rng.choice([each for each in CANDIDATES if each.id not in heard])


def by_popularity(people: Sequence[Person]) -> Policy:
    """The songs that most of these people like, for everybody: what popularity could be at best."""
    in_order = sorted(CANDIDATES, key=lambda each: -sum(person.appeals[each.id] for person in people))

    def choose(person: Person, signals: Sequence[Signal], heard: Sequence[str], rng: random.Random) -> Candidate:
        return next(each for each in in_order if each.id not in heard)

    return choose


def play(person: Person, policy: Policy, rng: random.Random, rounds: int) -> tuple[list[float], list[Signal]]:
    """The regret of each round, and what the policy knows in the end."""
    signals: list[Signal] = []
    heard: list[str] = []
    regrets = []
    for _ in range(rounds):
        chosen = policy(person, signals, heard, rng)
        likes = rng.random() < person.appeals[chosen.id]
        signals.append(Signal(chosen.id, chosen.features, 1.0 if likes else -1.0, NOW))
        heard.append(chosen.id)
        regrets.append(person.best - person.appeals[chosen.id])
    return regrets, signals


def list_of(signals: Sequence[Signal], rng: random.Random, *, lambda_: float, max_per_group: int) -> list[Candidate]:
    """The list that somebody with these signals is shown."""
    heard = [signal.item for signal in signals]
    ranked = rank(
        CANDIDATES,
        Taste(signals, NOW + timedelta(hours=1)),
        rng,
        limit=LIST,
        not_items=heard,
        lambda_=lambda_,
        max_per_group=max_per_group,
    )
    return [each.candidate for each in ranked]


def likeness(candidates: Sequence[Candidate]) -> float:
    """The mean cosine of the pairs of a list: 0 is all different, 1 all the same."""
    pairs = [(one, other) for number, one in enumerate(candidates) for other in candidates[number + 1 :]]
    return float(np.mean([similarity(one, other) for one, other in pairs]))
