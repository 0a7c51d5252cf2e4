"""The genres and artists that are known by name: those of the bundled catalogue, and the genres of what was imported.

An import is noticed within a minute, as many processes read the same database. Of what an import calls a genre, only
some are read (`MAX_GENRES`), the shortest names first.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Protocol

from agents.music.catalogue import Track, normal

LASTS = timedelta(minutes=1)
MAX_GENRES = 500
MIN_LETTERS = 3  # of a name that is looked for in what somebody says
_OTHER_MEANINGS = {"film", "son", "unknown", "other", "none"}  # genres whose word alone asks for no music
_POLITE = (
    r"please|hey|hi|ok|okay|so|well|now|could you|can you|would you|will you|i would (?:like|love) to|"
    r"i'?d (?:like|love) to|i (?:want|wanna|need) to|let me|let us|let's|i feel like|how about|what about"
)
_VERBS = (
    r"play|put(?: on)?|turn on|find|give|hear|hearing|listen to|listening to|queue(?: up)?|line up|pull up|recommend|"
    r"suggest|start|i (?:want|need|feel like)|any|some|i'?m in the mood for|(?:\w{1,10} ){1,2}(?:minutes|hours) of"
)
_WANTED = re.compile(
    rf"^\W*(?:(?:{_POLITE})[\s,]{{1,3}}){{0,3}}(?:{_VERBS})\s{{1,3}}(?:me\s|us\s|on\s|for\s)?(.{{2,80}})",
    re.IGNORECASE | re.DOTALL,
)
_BEFORE_NAME = re.compile(
    r"^(?:(?:some|any|more|a bit of|a little|a few|lots of|good|nice|great|old|new|classic|slow|fast|soft|calm|happy|"
    r"sad|something by|anything by|something from|songs by|music by|the best of|best of)[\s,]{1,3}){0,4}",
    re.IGNORECASE,
)
_AFTER_NAME = re.compile(
    r"^(?:\W*$|\W*(?:please|tonight|today|now|again|instead|then|on|for|from|by|to|while|in|at|with|music|songs?|hits|"
    r"classics|tunes|and|or)\b)",
    re.IGNORECASE,
)


class GenresOf(Protocol):
    """Where imported recordings are."""

    async def genres(self, *, limit: int) -> Sequence[str]:
        """Their genres, the shortest first."""


@dataclass(frozen=True)
class Vocabulary:
    """Names to look for in a request; genres as recordings write them, by their names in lower case."""

    genres: Mapping[str, Sequence[str]]
    artists: Sequence[str]

    @cached_property
    def names(self) -> frozenset[str]:
        """All of them, normalised."""
        found = {normal(each) for each in (*self.genres, *self.artists)}
        return frozenset(each for each in found if len(each) >= MIN_LETTERS) - _OTHER_MEANINGS

    def genres_in(self, text: str) -> list[str]:
        """The genres that a text in lower case names, the longest first."""
        words = f"-{normal(text)}-"
        names = [each for each in self.genres if f"-{normal(each)}-" in words or f"-{normal(each)}s-" in words]
        return [genre for name in sorted(names, key=len, reverse=True) for genre in self.genres[name]]

    def artists_in(self, text: str) -> list[str]:
        """The artists that a text names."""
        words = f"-{normal(text)}-"
        return sorted({each for each in self.artists if len(each) > MIN_LETTERS and f"-{normal(each)}-" in words})

    def is_wanted(self, text: str) -> bool:
        """Whether a text asks for something by its name: "Could you find me some reggae?"."""
        found = _WANTED.match(text)
        if found is None:
            return False
        phrase = _BEFORE_NAME.sub("", found[1])
        words = phrase.split()
        return any(
            normal(" ".join(words[:count])) in self.names and _AFTER_NAME.match(" " + " ".join(words[count:]))
            for count in range(1, min(len(words), 6) + 1)
        )


def vocabulary_of(tracks: Sequence[Track], imported: Sequence[str] = ()) -> Vocabulary:
    """The names of these recordings, and these further genres."""
    genres: dict[str, list[str]] = {}
    for genre in dict.fromkeys([*(track.genre for track in tracks), *imported]):
        if len(genre) >= MIN_LETTERS:
            genres.setdefault(genre.casefold(), []).append(genre)
    return Vocabulary(genres, sorted({track.artist for track in tracks}))


class Known:
    """The vocabulary as of now.

    Args:
        tracks: of the bundled catalogue.
        imported: None: nothing was imported.

    """

    def __init__(self, tracks: Sequence[Track], imported: GenresOf | None = None) -> None:
        self._tracks = tracks
        self._imported = imported
        self._read_at: datetime | None = None
        self.vocabulary = vocabulary_of(tracks)

    async def refresh(self, now: datetime) -> Vocabulary:
        """Read it again if it is older than a minute."""
        if self._imported is not None and (self._read_at is None or not now - LASTS < self._read_at <= now):
            self._read_at = now
            self.vocabulary = vocabulary_of(self._tracks, await self._imported.genres(limit=MAX_GENRES))
        return self.vocabulary
