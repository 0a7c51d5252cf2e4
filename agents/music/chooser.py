"""Chooses songs for a person: candidates from catalogue, import, radio and MusicBrainz, filtered and ranked."""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from pydantic import ValidationError

from agents.base import RunContext
from agents.budget import LimitReached
from agents.music.catalogue import Track, features_of, normal
from agents.music.query import TrackQuery, fit_of
from agents.music.radio import CachedRadio, Heard
from agents.music.reasons import why_of
from agents.music.vocabulary import Known, Vocabulary
from agents.outside.http import ServiceFailed
from agents.personality.use import lambda_for
from agents.ranking.candidate import Candidate, Ranked
from agents.ranking.feedback import Feedback
from agents.ranking.rank import MAX_PER_GROUP, rank
from agents.ranking.taste import Taste

log = logging.getLogger(__name__)
TAG_CALLS, ARTIST_CALLS, SIMILAR_CALLS = 2, 1, 3  # of a radio by tags, a search by artist, a radio by artist


class ImportedTracks(Protocol):
    """Recordings that the operator imported (`storage.media.imported_tracks`)."""

    async def find(
        self, *, genres: Collection[str] = (), languages: Collection[str] = (), limit: int = 500
    ) -> Sequence[Mapping[str, Any]]:
        """The documents of matching recordings."""

    async def genres(self, *, limit: int) -> Sequence[str]:
        """The genres of all, the shortest names first."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A song and the reason; `is_outside`: its names come from a service; `is_stale`: over a day ago."""

    track: Track
    why: str
    is_outside: bool = False
    is_stale: bool = False


class Chooser:
    """Chooses songs.

    Args:
        tracks: the bundled catalogue.
        imported: what was imported; None: nothing.
        radio: recordings by tags; None: no service is called.
        artists: recordings by an artist; None: no service is called.
        similar: recordings of artists like one, and of that one; None: no service is called.

    """

    def __init__(
        self,
        tracks: Sequence[Track],
        imported: ImportedTracks | None = None,
        radio: CachedRadio | None = None,
        artists: CachedRadio | None = None,
        similar: CachedRadio | None = None,
    ) -> None:
        self.tracks = tracks
        self._imported = imported
        self._radio = radio
        self._artists = artists
        self._similar = similar
        self._known = Known(tracks, imported)

    @property
    def vocabulary(self) -> Vocabulary:
        """The names in requests, as last read."""
        return self._known.vocabulary

    async def refresh(self, now: datetime) -> Vocabulary:
        """The names in requests; what was imported meanwhile is among them a minute later."""
        return await self._known.refresh(now)

    async def choose(
        self, query: TrackQuery, feedback: Feedback, context: RunContext, *, not_items: Collection[str] = ()
    ) -> list[Choice]:
        """The best songs for the person; fewer than requested if there are not enough."""
        radio = await self._from_outside(query, context)
        known = {track.id: track for track in [*radio.tracks, *await self._from_import(query), *self.tracks]}
        allowed = [track for track in known.values() if query.explicit or not track.explicit]
        heard_with = {track.id for track in radio.tracks} if query.similar else set[str]()
        strict = [track for track in allowed if _must(track, query, is_like=track.id in heard_with)]
        taste = Taste(feedback.signals, context.now(), query.context)
        blocked = {*feedback.blocked_items, *not_items}
        if len(strict) > 3 * query.count:
            blocked |= set(feedback.shown)
        whole = [track for track in strict if fit_of(track, query) >= 1.0]
        rest = [track for track in strict if track not in whole]
        ranked: list[Ranked] = []
        variety = await lambda_for(context)
        is_by_artist = query.artists and not heard_with
        max_per_artist = query.count if is_by_artist else MAX_PER_GROUP
        for pool in (whole, rest):  # what is all that was asked for comes before what is some of it
            ranked += rank(
                [Candidate(each.id, normal(each.artist), features_of(each), fit_of(each, query)) for each in pool],
                taste,
                context.rng,
                limit=max(query.count - len(ranked), 0),
                not_items=blocked,
                not_groups={*feedback.blocked_groups, *_full(ranked, max_per_artist)},
                max_per_group=max_per_artist,
                lambda_=variety,
            )
        bundled = {track.id for track in self.tracks}
        stale = {track.id for track in radio.tracks} - bundled if radio.is_stale else set()
        chosen = [(known[each.candidate.id], each.liked) for each in ranked]
        return [
            Choice(
                track,
                why_of(track, query, liked, is_like=track.id in heard_with),
                track.id not in bundled,
                track.id in stale,
            )
            for track, liked in chosen
        ]

    async def _from_import(self, query: TrackQuery) -> list[Track]:
        if self._imported is None:
            return []
        found = await self._imported.find(genres=query.genres, languages=query.languages)
        tracks = []
        for document in found:
            try:
                tracks.append(Track.model_validate(document))
            except ValidationError:
                log.warning("an imported recording is no longer valid")
        return tracks

    async def _from_outside(self, query: TrackQuery, context: RunContext) -> Heard:
        """Of artists like one, of the artist who is asked for, else by genre and mood."""
        if query.artists and query.similar:
            found = await _heard(self._similar, query.artists[:1], SIMILAR_CALLS, context)
            if found.tracks:
                return found
        if query.artists:
            return await _heard(self._artists, query.artists[:1], ARTIST_CALLS, context)
        tags = [*query.genres, *query.moods][:3]
        if not tags or query.languages:
            return Heard(())
        return await _heard(self._radio, tags, TAG_CALLS, context)


async def _heard(service: CachedRadio | None, words: Sequence[str], calls: int, context: RunContext) -> Heard:
    """The answer of a service, within the run's limits; nothing if there is none."""
    if service is None:
        return Heard(())
    try:
        fresh = await service.fresh(words)
        if fresh is not None:
            return fresh
        for _ in range(calls):
            context.budget.take_outside_call()
        return await service.ask(words)
    except LimitReached:
        return Heard(())
    except ServiceFailed as failure:
        log.info("nothing from outside: %s", failure)
        return Heard(())


def _full(ranked: Sequence[Ranked], max_per_artist: int) -> list[str]:
    """Artists that have reached the maximum."""
    groups = [each.candidate.group for each in ranked]
    return [group for group in set(groups) if groups.count(group) >= max_per_artist]


def _must(track: Track, query: TrackQuery, *, is_like: bool = False) -> bool:
    """The hard conditions: a person who asks for Bengali songs gets Bengali songs.

    `is_like`: those who hear the artist that was named hear this, which is what was asked for.
    """
    if query.languages and track.language not in query.languages:
        return False
    if query.decade and track.year // 10 * 10 != query.decade:
        return False
    if query.genres and track.genre not in query.genres:
        return False
    return not query.artists or is_like or track.artist in query.artists
