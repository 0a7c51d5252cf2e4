"""The agent for videos. It needs no key and no account; without a network it still knows channels."""

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from agents.base import AgentRequest, Need, PassedOn, RunContext, check_fields
from agents.events import Event
from agents.loop import run_toolbox
from agents.ranking.verdict import is_rating, is_small_talk
from agents.toolbox import ANSWER, Toolbox
from agents.video.channels import read_channels
from agents.video.data_api import DataApi
from agents.video.feeds import Feeds
from agents.video.finder import Finder, Videos
from agents.video.query import is_named
from agents.video.tools import AGENT, VideoTools
from storage.media.videos import MemoryVideos

_SHOW_LATER = re.compile(r"\b(?:my|show|list|what).*\b(?:watch[- ]?later|for later|list)\b", re.IGNORECASE)
_LATER = re.compile(
    r"^\s*(?:later|keep|save|watch later|remember)\b|\bfor later\b|\bto (?:my )?watch[- ]?later\b", re.IGNORECASE
)

if TYPE_CHECKING:
    from agents.registry import Parts
_FIND = re.compile(r"\b(?:videos?|watch|youtube|documentar\w+|clips?|vlogs?|channels?|tutorials?)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class VideoServices:
    """Optional services beside the bundled channels; None: not available."""

    videos: Videos | None = None
    feeds: Feeds | None = None
    api: DataApi | None = None


class VideoAgent:
    """See `agents.base.Agent`."""

    id = AGENT
    description = "Finds videos to watch by topic, language and the time that they have; keeps some for later."
    needs: frozenset[Need] = frozenset()
    passes_on: frozenset[PassedOn] = frozenset()

    def __init__(self, services: VideoServices = VideoServices()) -> None:
        videos = services.videos or MemoryVideos(lambda: datetime.now(UTC))
        tools = VideoTools(Finder(read_channels(), videos, services.feeds, services.api))
        self._box = Toolbox(
            self.id,
            tools.tools,
            about="You are a friend who knows what is worth watching. Name no videos but those that you are told.",
            route=route,
            default="find_videos",
            plain_answer='Tell me a topic and how long you have: "something about space, 10 minutes".',
        )

    async def is_named(self, text: str, context: RunContext) -> bool:
        """Whether a topic of the channels is asked for by name, with how long: "Ten minutes of comedy"."""
        return is_named(text)

    async def run(self, request: AgentRequest, context: RunContext) -> AsyncGenerator[Event, None]:
        """Answer; raises Unsupported."""
        check_fields(self, request)
        async with aclosing(run_toolbox(self._box, request, context)) as events:
            async for event in events:
                yield event


def route(text: str) -> str | None:
    """The tool that a message clearly means; None if it is not clear."""
    if _SHOW_LATER.search(text):
        return "list_later"
    if _LATER.search(text):
        return "watch_later"
    if is_rating(text):
        return "rate"
    if is_small_talk(text):
        return ANSWER
    return "find_videos" if _FIND.search(text) else None


def make_agent(parts: "Parts") -> VideoAgent:
    """The agent for videos."""
    return VideoAgent(parts.video)
