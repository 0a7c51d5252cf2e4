"""The agent for music. It needs no account and no network; available services add candidates."""

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agents.base import AgentRequest, Need, PassedOn, RunContext, check_fields
from agents.events import Event
from agents.loop import run_toolbox
from agents.music.catalogue import read_tracks
from agents.music.chooser import Chooser, ImportedTracks
from agents.music.playlists import (
    CREATE,
    MIRROR,
    UPDATE,
    CreatePlaylist,
    MirrorPlaylist,
    Playlists,
    UpdatePlaylist,
)
from agents.music.radio import CachedRadio
from agents.music.spotify.mirror import SpotifyMirror
from agents.music.tools import AGENT, MusicTools
from agents.proposals import EffectHandler
from agents.ranking.verdict import is_rating, is_small_talk
from agents.toolbox import ANSWER, Toolbox

if TYPE_CHECKING:
    from agents.registry import Parts

_MIRROR = re.compile(r"\b(?:to|on|at|in|into|with) spotify\b", re.IGNORECASE)
_UPDATE = re.compile(r"\b(?:update|refresh|renew|change|freshen)\b.*\bplaylist", re.IGNORECASE)
_MAKE = re.compile(r"\b(?:make|create|build|save|put together|want|need|give)\b.*\bplaylist\b", re.IGNORECASE)
_LIST = re.compile(r"\b(?:my|which|show|list|what)\b.*\bplaylists?\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class MusicServices:
    """Optional services beside the catalogue; None: not available."""

    playlists: Playlists | None = None
    imported: ImportedTracks | None = None
    radio: CachedRadio | None = None
    spotify: SpotifyMirror | None = None
    artists: CachedRadio | None = None
    similar: CachedRadio | None = None


class MusicAgent:
    """See `agents.base.Agent`."""

    id = AGENT
    description = "Finds songs for a mood, a language, a moment; learns what they like; makes playlists."
    needs: frozenset[Need] = frozenset()
    passes_on: frozenset[PassedOn] = frozenset()

    def __init__(self, services: MusicServices = MusicServices()) -> None:
        self._chooser = chooser = Chooser(
            read_tracks(), services.imported, services.radio, services.artists, services.similar
        )
        tools = MusicTools(chooser, services.playlists, has_spotify=services.spotify is not None)
        effects: dict[str, EffectHandler] = {}
        if services.playlists is not None:
            backends = services.playlists, services.spotify
            effects = {
                CREATE: CreatePlaylist(*backends),
                UPDATE: UpdatePlaylist(*backends),
                MIRROR: MirrorPlaylist(*backends),
            }
        self._box = Toolbox(
            self.id,
            tools.tools,
            about="You are a friend who loves music of all countries. Name no songs but those that you are told.",
            route=route,
            default="find_songs",
            plain_answer='Tell me a mood, a language, or what it is for: "calm songs to study", "Bengali rock".',
            effects=effects,
        )

    async def is_named(self, text: str, context: RunContext) -> bool:
        """Whether a genre or an artist is asked for by name: "Could you find me some reggae?"."""
        return (await self._chooser.refresh(context.now())).is_wanted(text)

    async def run(self, request: AgentRequest, context: RunContext) -> AsyncGenerator[Event, None]:
        """Answer; raises Unsupported."""
        check_fields(self, request)
        await self._chooser.refresh(context.now())
        async with aclosing(run_toolbox(self._box, request, context)) as events:
            async for event in events:
                yield event


def route(text: str) -> str | None:
    """The tool that a message clearly means; None if it is not clear."""
    if _MIRROR.search(text):
        return "put_at_spotify"
    if _UPDATE.search(text):
        return "update_playlist"
    if _MAKE.search(text):
        return "make_playlist"
    if _LIST.search(text):
        return "list_playlists"
    if is_rating(text):
        return "rate"
    if is_small_talk(text):
        return ANSWER
    return "find_songs" if re.search(r"\b(?:songs?|music|play|tunes?|tracks?|listen)\b", text, re.IGNORECASE) else None


def make_agent(parts: "Parts") -> MusicAgent:
    """The agent for music."""
    return MusicAgent(parts.music)
