"""Suggests games: a list filtered by players, time and platform, ranked by mood, each with a reason."""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from agents.games.bundled.words import DATA

_MOODS = {
    "bored": "bored boring",
    "tired": "tired sleepy exhausted",
    "calm": "calm quiet relax relaxed relaxing peaceful chill",
    "stressed": "stressed stress anxious worried overwhelmed",
    "happy": "happy cheerful fun glad",
    "lonely": "lonely alone",
    "curious": "curious clever smart learn",
    "energetic": "energetic active energy",
    "competitive": "competitive compete challenge",
}
_PLATFORMS = {
    "board": "board boardgame",
    "cards": "card cards",
    "paper": "paper pencil pen",
    "party": "party",
    "outdoors": "outdoors outside outdoor park garden",
    "computer": "computer pc laptop console steam",
    "phone": "phone mobile android iphone",
    "chat": "here chat",
}
_PLAYERS = re.compile(r"\b(\d{1,2}|two|three|four|five|six)\s+(?:of us|people|players|friends|persons)\b")
_MINUTES = re.compile(r"\b(\d{1,3})\s*(?:min|minutes?|mins)\b")
_HOURS = re.compile(r"\b(?:an|one|(\d))\s*hours?\b")
_NUMBERS = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6}


class SuggestionQuery(BaseModel):
    """The kind of game that a person wants; empty fields allow any."""

    mood: str = ""
    minutes: int | None = None
    players: int | None = None
    platform: str = ""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A game; `engine` is the id of the bundled game, empty if it is played elsewhere."""

    name: str
    platform: str
    players: range
    minutes: int
    moods: frozenset[str]
    why: str
    engine: str


def read_suggestions(path: Path = DATA / "suggestions.tsv") -> Sequence[Suggestion]:
    """The list; raises ValueError for an invalid line."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#") or not line:
            continue
        name, platform, min_players, max_players, minutes, moods, why, engine = line.split("\t")
        players = range(int(min_players), int(max_players) + 1)
        played = "" if engine == "-" else engine
        found.append(Suggestion(name, platform, players, int(minutes), frozenset(moods.split()), why, played))
    return found


def parse_query(text: str) -> SuggestionQuery:
    """Parse the query from a text."""
    words = text.casefold()
    minutes = _MINUTES.search(words)
    hours = _HOURS.search(words)
    players = _PLAYERS.search(words)
    count = None if players is None else _NUMBERS.get(players[1]) or int(players[1])
    return SuggestionQuery(
        mood=_named(_MOODS, words),
        minutes=int(minutes[1]) if minutes else 60 * int(hours[1] or 1) if hours else None,
        players=count,
        platform=_named(_PLATFORMS, words),
    )


def suggest(
    suggestions: Sequence[Suggestion], query: SuggestionQuery, rng: random.Random, *, limit: int = 3
) -> list[tuple[Suggestion, str]]:
    """The best few, each with a reason, of those that fit players, time and platform. Ties are shuffled."""
    fitting = [
        each
        for each in suggestions
        if (query.players is None or query.players in each.players)
        and (query.minutes is None or each.minutes <= query.minutes)
        and (not query.platform or each.platform == query.platform)
    ]
    ranked = sorted(fitting, key=lambda each: (query.mood in each.moods, bool(each.engine), rng.random()), reverse=True)
    return [(each, _why(each, query)) for each in ranked[:limit]]


def _why(each: Suggestion, query: SuggestionQuery) -> str:
    fits = [f"good when you feel {query.mood}"] if query.mood in each.moods else []
    fits += [f"about {each.minutes} minutes"] if query.minutes is not None else []
    fits += [f"for {query.players}"] if query.players is not None else []
    return "; ".join([each.why, *fits])


def _named(words_of: dict[str, str], text: str) -> str:
    found = [name for name, words in words_of.items() if re.search(rf"\b(?:{'|'.join(words.split())})\b", text)]
    return found[0] if found else ""
