"""Radio with a cache: a service's answer for tags is used for a day, and longer while the service is down.

Answers older than a day are always marked as stale. All people share them, because tags identify nobody.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from agents.music.catalogue import Track
from agents.outside.http import ServiceFailed
from storage.services.answers import SqlAnswers

log = logging.getLogger(__name__)
FRESH = timedelta(hours=24)


class Radio(Protocol):
    """Finds recordings by tags (`agents.music.listenbrainz`)."""

    async def by_tags(self, tags: Sequence[str]) -> list[Track]:
        """Recordings with any of these tags; raises ServiceFailed."""


@dataclass(frozen=True, slots=True)
class Heard:
    """Recordings; `is_stale`: older than a day, and could not be refreshed."""

    tracks: Sequence[Track]
    is_stale: bool = False


class CachedRadio:
    """The radio with its stored answers.

    Args:
        radio: calls the service.
        answers: stores its answers.
        now: the time, aware.

    """

    def __init__(self, radio: Radio, answers: SqlAnswers, now: Callable[[], datetime]) -> None:
        self._radio = radio
        self._answers = answers
        self._now = now

    async def fresh(self, tags: Sequence[str]) -> Heard | None:
        """The answer of the last day; None if it must be requested."""
        kept = await self._answers.load(_key(tags))
        if kept is None or self._now() - kept.fetched_at > FRESH:
            return None
        return Heard([Track.model_validate(each) for each in kept.document])

    async def ask(self, tags: Sequence[str]) -> Heard:
        """Request an answer, or use a stale one; raises ServiceFailed if there is neither."""
        try:
            tracks = await self._radio.by_tags(tags)
        except ServiceFailed as failure:
            return await self.stale(tags, failure)
        await self._answers.save(_key(tags), [track.model_dump() for track in tracks])
        return Heard(tracks)

    async def stale(self, tags: Sequence[str], failure: Exception) -> Heard:
        """The last stored answer; raises the failure if there is none."""
        kept = await self._answers.load(_key(tags))
        if kept is None:
            raise failure
        log.info("radio of %s: %s", kept.fetched_at.date(), failure)
        return Heard([Track.model_validate(each) for each in kept.document], is_stale=True)


def _key(tags: Sequence[str]) -> str:
    return "radio:" + ",".join(sorted(tags))
