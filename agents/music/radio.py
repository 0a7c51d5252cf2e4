"""Recordings of a service with a cache: an answer for words is used for a day, and longer while the service is down.

The words are tags or an artist. Answers older than a day are always marked as stale. All people share them, because
such words identify nobody.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from agents.music.catalogue import Track
from agents.outside.http import ServiceFailed
from storage.services.answers import SqlAnswers

log = logging.getLogger(__name__)
FRESH = timedelta(hours=24)


Find = Callable[[Sequence[str]], Awaitable[list[Track]]]


@dataclass(frozen=True, slots=True)
class Heard:
    """Recordings; `is_stale`: older than a day, and could not be refreshed."""

    tracks: Sequence[Track]
    is_stale: bool = False


class CachedRadio:
    """A service with its stored answers.

    Args:
        find: calls the service: recordings for these words; raises ServiceFailed.
        answers: stores its answers.
        now: the time, aware.
        name: of the service among the stored answers.

    """

    def __init__(self, find: Find, answers: SqlAnswers, now: Callable[[], datetime], name: str = "radio") -> None:
        self._find = find
        self._name = name
        self._answers = answers
        self._now = now

    async def fresh(self, words: Sequence[str]) -> Heard | None:
        """The answer of the last day; None if it must be requested."""
        kept = await self._answers.load(self._key(words))
        if kept is None or self._now() - kept.fetched_at > FRESH:
            return None
        return Heard([Track.model_validate(each) for each in kept.document])

    async def ask(self, words: Sequence[str]) -> Heard:
        """Request an answer, or use a stale one; raises ServiceFailed if there is neither."""
        try:
            tracks = await self._find(words)
        except ServiceFailed as failure:
            return await self.stale(words, failure)
        await self._answers.save(self._key(words), [track.model_dump() for track in tracks])
        return Heard(tracks)

    async def stale(self, words: Sequence[str], failure: Exception) -> Heard:
        """The last stored answer; raises the failure if there is none."""
        kept = await self._answers.load(self._key(words))
        if kept is None:
            raise failure
        log.info("%s of %s: %s", self._name, kept.fetched_at.date(), failure)
        return Heard([Track.model_validate(each) for each in kept.document], is_stale=True)

    def _key(self, words: Sequence[str]) -> str:
        return f"{self._name}:" + ",".join(sorted(words))
