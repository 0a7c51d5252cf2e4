"""Ranking: simulated people with hidden tastes, decay, contexts, diversity, what is blocked."""

import random
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from agents.music.catalogue import features_of, read_tracks
from agents.ranking.candidate import Candidate
from agents.ranking.rank import rank
from agents.ranking.taste import Signal, Taste

NOW = datetime(2026, 11, 27, 14, 0, tzinfo=UTC)
PEOPLE, ROUNDS = 24, 30
TRACKS = read_tracks()
CANDIDATES = [Candidate(track.id, track.artist, features_of(track)) for track in TRACKS]
BY_ID = {each.id: each for each in CANDIDATES}


def appeal(candidate: Candidate, hidden: dict[str, float]) -> float:
    """How likely it is that they like it."""
    total = sum(hidden.get(name, 0.0) * value for name, value in candidate.features.items())
    return float(1 / (1 + np.exp(-3 * total)))


def hidden_taste(rng: random.Random) -> dict[str, float]:
    """Somebody who loves a few features and dislikes others."""
    names = sorted({name for each in CANDIDATES for name in each.features})
    return {name: rng.gauss(0, 1) for name in names}


def learned(hidden: dict[str, float], rng: random.Random) -> list[float]:
    """The regret of each round of ranking with what was learned so far."""
    best, signals, heard, regrets = max(appeal(each, hidden) for each in CANDIDATES), [], [], []
    for number in range(ROUNDS):
        taste = Taste(signals, NOW + timedelta(minutes=number))
        chosen = rank(CANDIDATES, taste, rng, limit=1, not_items=heard)[0].candidate
        likes = rng.random() < appeal(chosen, hidden)
        signals.append(Signal(chosen.id, chosen.features, 1.0 if likes else -1.0, NOW))
        heard.append(chosen.id)
        regrets.append(best - appeal(chosen, hidden))
    return regrets


def test_regret_falls_below_popularity_and_random() -> None:
    """Within 30 interactions, on average over people, in the last ten and from the first on together."""
    people = [hidden_taste(random.Random(seed)) for seed in range(PEOPLE)]
    popular = sorted(CANDIDATES, key=lambda each: -sum(appeal(each, hidden) for hidden in people))[:ROUNDS]
    ours, by_popularity, by_chance = [], [], []
    for seed, hidden in enumerate(people):
        best = max(appeal(each, hidden) for each in CANDIDATES)
        rng = random.Random(1000 + seed)
        ours.append(learned(hidden, rng))
        by_popularity.append([best - appeal(each, hidden) for each in popular])
        by_chance.append([best - appeal(each, hidden) for each in rng.sample(CANDIDATES, ROUNDS)])
    for rounds in (slice(20, None), slice(None)):
        own, popularity, chance = (
            float(np.mean([each[rounds] for each in regrets])) for regrets in (ours, by_popularity, by_chance)
        )
        assert own < popularity, (own, popularity)
        assert own < chance, (own, chance)


def liked(name: str, days: float = 0.0, context: str = "", reward: float = 1.0) -> Signal:
    """A signal about one feature."""
    return Signal(name, {name: 1.0}, reward, NOW - timedelta(days=days), context)


def test_what_was_liked_long_ago_weighs_less() -> None:
    """And what is liked now, more."""
    taste = Taste([liked("old", days=300), liked("new")], NOW)
    assert taste.score({"new": 1}, taste.mean) > 2 * taste.score({"old": 1}, taste.mean) > 0


def test_taste_is_of_a_context() -> None:
    """What somebody runs to is not what they sleep to."""
    signals = [liked("fast", context="run"), liked("slow", context="sleep")]
    asleep = Taste(signals, NOW, "sleep")
    assert asleep.score({"slow": 1}, asleep.mean) > asleep.score({"fast": 1}, asleep.mean)


def test_at_most_two_of_a_group() -> None:
    """Even when all of the best are of one."""
    many = [Candidate(f"a{n}", "a", {"x": 1.0}, fit=1.0) for n in range(10)]
    others = [Candidate(f"b{n}", f"b{n}", {"y": 1.0}) for n in range(10)]
    chosen = rank([*many, *others], Taste([], NOW), random.Random(1), limit=6)
    assert len(chosen) == 6
    assert sum(each.candidate.group == "a" for each in chosen) == 2


def test_likeness_is_spread() -> None:
    """Eight songs for somebody who loves rock are not eight times the same."""
    taste = Taste([liked("genre:rock"), liked("genre:rock", days=1)], NOW)
    chosen = rank(CANDIDATES, taste, random.Random(3), limit=8)
    assert len({each.candidate.group for each in chosen}) >= 4
    assert len({frozenset(each.candidate.features) for each in chosen}) >= 5


@pytest.mark.parametrize("blocked", [{"not_items": ["a"]}, {"not_groups": ["g"]}])
def test_what_is_blocked_never_comes(blocked: dict[str, list[str]]) -> None:
    """An item, or all of a group."""
    candidates = [Candidate("a", "g", {"x": 1.0}, fit=1.0), Candidate("b", "h", {"x": 1.0}, fit=-1.0)]
    chosen = rank(candidates, Taste([], NOW), random.Random(1), limit=5, **blocked)  # type: ignore[arg-type]
    assert [each.candidate.id for each in chosen] == ["b"]


def test_nothing_known_of_somebody_is_no_error() -> None:
    """There is something for everybody, and nothing where there is nothing."""
    assert len(rank(CANDIDATES, Taste([], NOW), random.Random(1), limit=5)) == 5
    assert rank([], Taste([], NOW), random.Random(1), limit=5) == []
