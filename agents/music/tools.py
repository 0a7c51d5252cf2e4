"""The tools of the music agent: find songs, rate them, propose playlists, list them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, Field

from agents.base import RunContext
from agents.events import Action, Card
from agents.music.catalogue import Track, features_of, normal
from agents.music.chooser import Choice, Chooser
from agents.music.playlists import CREATE, MIRROR, UPDATE, Playlists
from agents.music.query import TrackQuery, parse_query
from agents.music.rating import parse_feedback
from agents.ranking.feedback import Feedback, FeedbackBook
from agents.ranking.shown import pointed_at, remember_shown, shown_before
from agents.ranking.taste import Signal
from agents.ranking.verdict import verdict_of
from agents.tool import NoParams, ProposedEffect, Tool, ToolResult
from storage.media.playlists import StoredPlaylist
from storage.memory.owner import Owner

AGENT = "music"
PLAYLIST_COUNT = 12
_NOTHING = "I know no songs that are all of that. Ask for less of it, and I find some."
_NO_PLACE = "I cannot keep playlists here: the request names no user, or there is no database."
_NONE_YET = 'You have no playlist yet. Say "make a playlist".'
_FOR = {"study": "Study", "sleep": "Sleep", "run": "Run", "work": "Work", "party": "Party"}


class Utterance(BaseModel):
    """The person's words."""

    words: str = Field(max_length=2000)


@dataclass(frozen=True, slots=True)
class Renewal:
    """The additions and removals of a playlist."""

    playlist: StoredPlaylist
    new: Sequence[Choice]
    gone: Sequence[Mapping[str, Any]]

    @property
    def add(self) -> list[dict[str, Any]]:
        """The new items."""
        return [_item(choice.track) for choice in self.new]

    @property
    def effect(self) -> ProposedEffect:
        """The renewal as an effect, which waits for a yes."""
        return ProposedEffect(
            UPDATE,
            f'Change the playlist "{self.playlist.name}": {len(self.new)} new, {len(self.gone)} out',
            {"id": self.playlist.id, "add": self.add, "remove": list(self.gone)},
        )


class MusicTools:
    """The tools.

    Args:
        chooser: of songs.
        playlists: stores playlists; None: there is no store.
        has_spotify: whether playlists can be put on Spotify.

    """

    def __init__(self, chooser: Chooser, playlists: Playlists | None, *, has_spotify: bool = False) -> None:
        self._chooser = chooser
        self._playlists = playlists
        self._has_spotify = has_spotify
        self.tools: Sequence[Tool[Any]] = (
            Tool(
                "find_songs",
                "Finds songs by mood, genre, language, artist, decade, or what they are for.",
                TrackQuery,
                self.find,
                lambda text: parse_query(text, chooser.vocabulary),
            ),
            Tool(
                "rate",
                "Takes in that they like, skip or never want a song, artist or kind.",
                Utterance,
                self.rate,
                _utterance,
                writes=True,
            ),
            Tool(
                "make_playlist",
                "Makes a playlist.",
                TrackQuery,
                self.make,
                lambda text: parse_query(text, chooser.vocabulary, count=PLAYLIST_COUNT),
            ),
            Tool(
                "update_playlist",
                "Brings new songs into a playlist that they have.",
                Utterance,
                self.update,
                _utterance,
            ),
            Tool("put_at_spotify", "Puts a playlist that they have at Spotify.", Utterance, self.mirror, _utterance),
            Tool("list_playlists", "Shows their playlists.", NoParams, self.list_all, lambda text: NoParams()),
        )

    async def find(self, query: TrackQuery, context: RunContext) -> ToolResult:
        """Songs, each with a reason."""
        book = FeedbackBook(AGENT, context)
        choices = await self._chooser.choose(query, await book.read(), context)
        if not choices:
            return ToolResult(_NOTHING, is_final=True)
        await book.show([choice.track.id for choice in choices])
        await remember_shown(AGENT, context, [_shown(choice.track, query) for choice in choices])
        lines = [f"{number}. {_named(choice.track)}: {choice.why}." for number, choice in enumerate(choices, 1)]
        plain = "\n".join(["These may be for you:", *lines, 'Say "like 2" or "never 1 again", and I learn.'])
        return ToolResult(
            plain,
            facts="\n".join(lines),
            is_outside=any(choice.is_outside for choice in choices),
            cards=[_card(number, choice) for number, choice in enumerate(choices, 1)],
        )

    async def rate(self, utterance: Utterance, context: RunContext) -> ToolResult:
        """Store the person's rating."""
        verdict = verdict_of(utterance.words)
        if verdict is None:
            return ToolResult("Say what you think of a song, e.g. like 2 or skip 1.", is_final=True)
        book, now = FeedbackBook(AGENT, context), context.now()
        before = await shown_before(AGENT, context)
        about, features = parse_feedback(utterance.words, self._chooser.vocabulary)
        items = [] if features and about.artists else pointed_at(utterance.words, before)
        if not items and not features:
            return ToolResult("Which song do you mean? Say its number.", is_final=True)
        signals = [Signal(item["id"], item["features"], verdict.reward, now, item["context"]) for item in items]
        if not items:
            name = "+".join(sorted(features))
            signals = [Signal(f"said:{name}", features, verdict.reward, now, about.context)]
        kept = await book.add(signals)
        if verdict.never:
            for item in items:
                await book.block(item=item["id"])
            for artist in about.artists if not items else ():
                await book.block(group=normal(artist))
        what = ", ".join(str(item["title"]) for item in items) or ", ".join(each.partition(":")[2] for each in features)
        consequence = "never again" if verdict.never else "more like it" if verdict.reward > 0 else "less like it"
        ending = "" if kept else " (For this moment only: I do not know who you are.)"
        return ToolResult(f"Noted: {what} - {consequence}.{ending}", is_final=True)

    async def make(self, query: TrackQuery, context: RunContext) -> ToolResult:
        """The contents of a new playlist; nothing is created before a yes."""
        choices = await self._chooser.choose(query, await FeedbackBook(AGENT, context).read(), context)
        if not choices:
            return ToolResult(_NOTHING, is_final=True)
        name, items = _name(query), [_item(choice.track) for choice in choices]
        lines = [f"{number}. {_named(choice.track)}: {choice.why}." for number, choice in enumerate(choices, 1)]
        shown = [item | {"why": choice.why} for item, choice in zip(items, choices, strict=True)]
        card = Card("playlist", name, {"title": name, "subtitle": f"{len(items)} songs", "items": shown})
        plain = "\n".join([f'A playlist, "{name}":', *lines])
        if self._playlists is None or context.owner is None or context.state is None:
            return ToolResult(f"{plain}\n{_NO_PLACE}", cards=[card], is_final=True)
        effect = ProposedEffect(
            CREATE,
            f'Make the playlist "{name}" with {len(items)} songs',
            {"name": name, "items": items, "wanted": query.model_dump()},
        )
        return ToolResult(f"{plain}\nShall I keep it?", cards=[card], proposed=[effect], is_final=True)

    async def update(self, utterance: Utterance, context: RunContext) -> ToolResult:
        """The changes of a playlist: disliked songs leave, and a third is new."""
        if self._playlists is None or context.owner is None:
            return ToolResult(_NO_PLACE, is_final=True)
        playlist = await self._meant(utterance, self._playlists, context.owner)
        if playlist is None:
            return ToolResult(_NONE_YET, is_final=True)
        return await self._proposed_update(playlist, context)

    async def mirror(self, utterance: Utterance, context: RunContext) -> ToolResult:
        """The playlist to put on Spotify; nothing happens before a yes."""
        if not self._has_spotify:
            return ToolResult("I cannot put playlists on Spotify: it has not been set up here.", is_final=True)
        if self._playlists is None or context.owner is None:
            return ToolResult(_NO_PLACE, is_final=True)
        playlist = await self._meant(utterance, self._playlists, context.owner)
        if playlist is None:
            return ToolResult(_NONE_YET, is_final=True)
        summary = f'Put the playlist "{playlist.name}" with {len(playlist.items)} songs at Spotify'
        effect = ProposedEffect(MIRROR, summary, {"id": playlist.id})
        return ToolResult(f"{summary}. Shall I?", proposed=[effect], is_final=True)

    async def _meant(self, utterance: Utterance, playlists: Playlists, owner: Owner) -> StoredPlaylist | None:
        """The playlist that they name, otherwise the one changed last."""
        found = await playlists.all_of(owner)
        folded = utterance.words.casefold()
        return next((each for each in found if each.name.casefold() in folded), found[0] if found else None)

    async def renewal_of(self, playlist: StoredPlaylist, context: RunContext) -> Renewal | None:
        """The changes of a playlist; None if no new songs are known."""
        feedback = await FeedbackBook(AGENT, context).read()
        unwanted = _unwanted(feedback)
        gone = [item for item in playlist.items if item["id"] in unwanted or normal(item["artist"]) in unwanted]
        stays = [item for item in playlist.items if item not in gone]
        gone += stays[: max(len(playlist.items) // 3 - len(gone), 0)]
        query = TrackQuery.model_validate(dict(playlist.wanted)).model_copy(update={"count": max(len(gone), 1)})
        there = [item["id"] for item in playlist.items]
        new = await self._chooser.choose(query, feedback, context, not_items=there)
        return Renewal(playlist, new, gone) if new else None

    async def _proposed_update(self, playlist: StoredPlaylist, context: RunContext) -> ToolResult:
        renewal = await self.renewal_of(playlist, context)
        if renewal is None:
            return ToolResult(f'I know nothing new for "{playlist.name}".', is_final=True)
        add, gone = renewal.add, renewal.gone
        lines = [*(f"+ {_named(choice.track)}: {choice.why}." for choice in renewal.new)]
        lines += [f"- {item['artist']}, {item['title']}" for item in gone]
        shown = [item | {"why": choice.why} for item, choice in zip(add, renewal.new, strict=True)]
        card = Card(
            "playlist", playlist.name, {"title": playlist.name, "subtitle": "changes", "add": shown, "remove": gone}
        )
        plain = "\n".join([f'"{playlist.name}" would change:', *lines, "Shall I?"])
        return ToolResult(plain, cards=[card], proposed=[renewal.effect], is_final=True)

    async def list_all(self, _: NoParams, context: RunContext) -> ToolResult:
        """The person's playlists."""
        if self._playlists is None or context.owner is None:
            return ToolResult(_NO_PLACE, is_final=True)
        found = await self._playlists.all_of(context.owner)
        if not found:
            return ToolResult(_NONE_YET, is_final=True)
        cards = [
            Card(
                "playlist",
                each.name,
                {"title": each.name, "subtitle": f"{len(each.items)} songs", "items": list(each.items)},
                [Action("Refresh", f"update my playlist {each.name}")],
            )
            for each in found
        ]
        lines = [f"- {each.name} ({len(each.items)} songs)" for each in found]
        return ToolResult("\n".join(["Your playlists:", *lines]), cards=cards, is_final=True)


def _utterance(text: str) -> Utterance:
    return Utterance(words=text[:2000])


def _unwanted(feedback: Feedback) -> set[str]:
    disliked = {each.item for each in feedback.signals if each.reward < 0}
    return disliked | {*feedback.blocked_items, *feedback.blocked_groups}


def _named(track: Track) -> str:
    return f"{track.artist}, {track.title}" + (f" ({track.year})" if track.year else "")


def _name(query: TrackQuery) -> str:
    parts = [*query.moods[:1], *query.genres[:1], *query.artists[:1], _FOR.get(query.context, "")]
    parts += [f"{query.decade}s"] if query.decade else []
    name = " ".join(dict.fromkeys(re.sub(r"^\w", lambda first: first[0].upper(), part) for part in parts if part))
    return name or "For you"


def _item(track: Track) -> dict[str, Any]:
    item: dict[str, Any] = {"id": track.id, "artist": track.artist, "title": track.title, "year": track.year}
    return item | {"isrc": track.isrc} if track.isrc else item


def _shown(track: Track, query: TrackQuery) -> Mapping[str, Any]:
    return {"id": track.id, "title": track.title, "features": features_of(track), "context": query.context}


def _card(number: int, choice: Choice) -> Card:
    track = choice.track
    data = {
        "title": track.title,
        "subtitle": f"{track.artist}, {track.year}" if track.year else track.artist,
        "why": choice.why,
        "url": track.url,
        "image": None,
        "stale": choice.is_stale,
    }
    actions = [Action("Like", f"like {number}"), Action("Skip", f"skip {number}")]
    return Card("music", track.title, data, [*actions, Action("Never again", f"never {number} again")])
