"""The bundled channels: id, title, language, topics, how long a video of theirs usually is, where the id comes from.

Ids are never invented: each stands, beside that title, in a public list. `source` names it:
`telecast`: github.com/surprisetalk/telecast (main.ts of 2024-12-08); `nixos`: github.com/MithicSpirit/nixos
(home/newsboat/urls.nix); `bengali`: github.com/Animesh6096/bengali-vsr-dataset (its guide of sources, where they were
read from YouTube); `several`: at least two independent public lists agree. `minutes` is an estimate.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

DATA = Path(__file__).parent / "data"


class Channel(BaseModel):
    """A YouTube channel."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern=r"^UC[\w-]{22}$")
    title: str = Field(min_length=1)
    language: str = Field(pattern="^[a-z]{2}$")
    topics: str = Field(pattern="^[a-z ]+$")
    minutes: int = Field(ge=1)
    source: str = Field(min_length=1)

    @property
    def url(self) -> str:
        """The address of its page."""
        return f"https://www.youtube.com/channel/{self.id}"


@lru_cache
def read_channels(path: Path = DATA / "channels.tsv") -> Sequence[Channel]:
    """The bundled channels; raises ValueError with the line if the file is invalid."""
    head, *lines = path.read_text(encoding="utf-8").splitlines()
    names = head.split("\t")
    channels = []
    for number, line in enumerate(lines, 2):
        try:
            channels.append(Channel.model_validate(dict(zip(names, line.split("\t"), strict=True))))
        except ValueError as failure:
            raise ValueError(f"{path.name}, line {number}: {failure}") from failure
    return tuple(channels)


def all_topics() -> frozenset[str]:
    """All topics of the bundled channels."""
    return frozenset(topic for channel in read_channels() for topic in channel.topics.split())


def words_of(text: str) -> list[str]:
    r"""The words in lower case, with the vowel signs of Bengali and Hindi, which `\w` leaves out."""
    return re.findall(r"[\w\u0900-\u0963\u0970-\u09ff]+", text.casefold())
