"""Recordings to choose from: the bundled catalogue, and what ranking sees of a recording.

`data/catalogue.tsv` was written for this project. Languages are ISO 639 codes (`zxx`: no words), countries ISO 3166;
energy goes from 1 (still) to 5 (loud and fast).
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal, get_args
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field

from memory.unicode_text import without_accents

DATA = Path(__file__).parent / "data"
Mood = Literal[
    "calm", "cool", "dark", "dreamy", "happy", "hopeful", "intense", "longing", "party", "romantic", "sad", "unknown"
]
MOODS = get_args(Mood)


class Track(BaseModel):
    """A recording."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    artist: str = Field(min_length=1, max_length=200)
    title: str = Field(min_length=1, max_length=200)
    year: int = Field(ge=0, le=2100, description="0: not known")
    country: str = Field(default="", pattern="^([A-Z]{2})?$")
    language: str = Field(default="", pattern="^([a-z]{2,3})?$")
    genre: str = Field(default="", max_length=40)
    mood: Mood = "unknown"
    energy: int = Field(default=3, ge=1, le=5)
    explicit: bool = False
    isrc: str = Field(default="", pattern=r"^([A-Z]{2}[A-Z0-9]{3}\d{7})?$", description="of ISO 3901, where known")

    @property
    def id(self) -> str:
        """The id, made of normalised artist and title; spelling variants of a recording share it."""
        return f"{normal(self.artist)}/{normal(self.title)}"

    @property
    def url(self) -> str:
        """A search address; nothing is called before the person opens it."""
        return f"https://musicbrainz.org/search?type=recording&query={quote(f'{self.artist} {self.title}')}"


def normal(text: str) -> str:
    """A name in lower case without accents and marks, with hyphens for spaces."""
    return re.sub(r"[\W_]+", "-", without_accents(text.casefold())).strip("-")


@lru_cache
def read_tracks(path: Path = DATA / "catalogue.tsv") -> Sequence[Track]:
    """The bundled recordings; raises ValueError with the line if the file is invalid."""
    head, *lines = path.read_text(encoding="utf-8").splitlines()
    names = head.split("\t")
    tracks = []
    for number, line in enumerate(lines, 2):
        try:
            tracks.append(Track.model_validate(dict(zip(names, line.split("\t"), strict=True))))
        except ValueError as failure:
            raise ValueError(f"{path.name}, line {number}: {failure}") from failure
    return tuple(tracks)


def features_of(track: Track) -> dict[str, float]:
    """The features from which taste is learned."""
    features = {f"artist:{track.artist}": 0.7, f"mood:{track.mood}": 0.8, f"energy:{_pace(track.energy)}": 0.6}
    if track.genre:
        features[f"genre:{track.genre}"] = 1.0
    if track.language:
        features[f"language:{track.language}"] = 0.7
    if track.year:
        features[f"decade:{track.year // 10 * 10}"] = 0.5
    return features


def _pace(energy: int) -> str:
    return "slow" if energy <= 2 else "fast" if energy >= 4 else "medium"
