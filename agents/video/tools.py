"""The tools of the video agent: find videos, rate them, save some for later."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from agents.base import RunContext
from agents.events import Action, Card
from agents.ranking.feedback import FeedbackBook
from agents.ranking.shown import pointed_at, remember_shown, shown_before
from agents.ranking.taste import Signal
from agents.ranking.verdict import verdict_of
from agents.tool import NoParams, Tool, ToolFailed, ToolResult
from agents.video.finder import Finder, Pick, features_of, minutes_of
from agents.video.query import VideoQuery, parse_query

AGENT = "video"
PREPARED = "prepared"  # the document of what a job has found for them
MAX_LATER = 100
ATTEMPTS = 5
_NOTHING = "I find nothing that fits all of that. Give me another topic, or more time."
_UNKNOWN = "(For this moment only: I do not know who you are.)"


class Utterance(BaseModel):
    """The person's words."""

    words: str = Field(max_length=2000)


class VideoTools:
    """The tools; `finder` finds videos."""

    def __init__(self, finder: Finder) -> None:
        self._finder = finder
        self.tools: Sequence[Tool[Any]] = (
            Tool(
                "find_videos",
                "Finds videos to watch by topic, language and the time that they have.",
                VideoQuery,
                self.find,
                parse_query,
            ),
            Tool(
                "rate",
                "Takes in that they like a video, or never want it again.",
                Utterance,
                self.rate,
                _utterance,
                writes=True,
            ),
            Tool("watch_later", "Keeps videos for later.", Utterance, self.keep, _utterance, writes=True),
            Tool("list_later", "Shows what they keep for later.", NoParams, self.list_later, lambda text: NoParams()),
        )

    async def find(self, query: VideoQuery, context: RunContext) -> ToolResult:
        """Videos, each with a reason."""
        book = FeedbackBook(AGENT, context)
        picks = await self._finder.find(query, await book.read(), context)
        if not picks:
            return ToolResult(_NOTHING, is_final=True)
        await book.show([pick.id for pick in picks if pick.video is not None])
        await remember_shown(AGENT, context, [_shown(pick) for pick in picks])
        lines = [f"{number}. {_named(pick)}: {pick.why}." for number, pick in enumerate(picks, 1)]
        is_of_channels = picks[0].video is None
        first = "I cannot look for new videos now; these channels fit:" if is_of_channels else "You could watch:"
        return ToolResult(
            "\n".join([first, *lines, 'Say "later 1", "like 2" or "not 1 again".']),
            facts="\n".join(lines),
            is_outside=not is_of_channels,
            cards=[_card(number, pick) for number, pick in enumerate(picks, 1)],
        )

    async def rate(self, utterance: Utterance, context: RunContext) -> ToolResult:
        """Store the person's rating."""
        verdict = verdict_of(utterance.words)
        items = pointed_at(utterance.words, await shown_before(AGENT, context))
        if verdict is None or not items:
            return ToolResult("Which one do you mean? Say, for example, like 2 or not 1 again.", is_final=True)
        book = FeedbackBook(AGENT, context)
        signals = [Signal(item["id"], item["features"], verdict.reward, context.now()) for item in items]
        kept = await book.add(signals)
        if verdict.never:
            is_channel = "channel" in utterance.words.casefold()
            for item in items:
                await book.block(item=item["id"], group=item["channel"] if is_channel or item["is_channel"] else "")
        consequence = "not again" if verdict.never else "more like it" if verdict.reward > 0 else "less like it"
        titles = ", ".join(str(item["title"]) for item in items)
        return ToolResult(
            f"Noted: {titles} - {consequence}.{'' if kept else ' ' + _UNKNOWN}", is_outside=True, is_final=True
        )

    async def keep(self, utterance: Utterance, context: RunContext) -> ToolResult:
        """Save the videos that they point at; repeating it changes nothing."""
        items = pointed_at(utterance.words, await shown_before(AGENT, context))
        if not items:
            return ToolResult("Which one? Say, for example, later 1.", is_final=True)
        if context.state is None or context.owner is None:
            return ToolResult("I cannot keep it: I do not know who you are.", is_final=True)
        key = context.state_key(AGENT, "later", of_person=True)
        for _ in range(ATTEMPTS):
            kept = await context.state.load(key)
            before = [] if kept is None else list(kept.value["items"])
            there = {item["id"] for item in before}
            new = [{name: item[name] for name in ("id", "title", "url")} for item in items if item["id"] not in there]
            document = {"items": [*before, *new][-MAX_LATER:]}
            if await context.state.save(key, document, expected=0 if kept is None else kept.version):
                titles = ", ".join(str(item["title"]) for item in items)
                return ToolResult(f"Kept for later: {titles}.", is_outside=True, is_final=True)
        raise ToolFailed("Too much happens at once here. Try again in a moment.")

    async def list_later(self, _: NoParams, context: RunContext) -> ToolResult:
        """The saved videos."""
        kept = None
        if context.state is not None and context.owner is not None:
            kept = await context.state.load(context.state_key(AGENT, "later", of_person=True))
        items = [] if kept is None else list(kept.value["items"])
        if not items:
            return ToolResult('You keep nothing for later yet. Say "later 1" when I show you some.', is_final=True)
        lines = [f"- {item['title']}: {item['url']}" for item in items]
        card = Card("watch_later", "Watch later", {"title": "Watch later", "items": items})
        return ToolResult("\n".join(["For later:", *lines]), cards=[card], is_outside=True, is_final=True)


def prepared_of(picks: Sequence[Pick], *, at: datetime) -> dict[str, Any]:
    """The document of the videos that were prepared for them at this time."""
    items = [{**_shown(pick), "why": pick.why, "minutes": minutes_of(pick.video, pick.channel)[0]} for pick in picks]
    return {"at": at.isoformat(), "items": items}


def _utterance(text: str) -> Utterance:
    return Utterance(words=text[:2000])


def _title(pick: Pick) -> str:
    return pick.channel.title if pick.video is None else pick.video.title


def _named(pick: Pick) -> str:
    if pick.video is None:
        return pick.channel.title
    minutes, is_known = minutes_of(pick.video, pick.channel)
    length = f"{minutes} min" if is_known else f"usually {minutes} min"
    stale = ", not checked today" if pick.is_stale else ""
    return f"{pick.video.title} ({pick.channel.title}, {length}{stale})"


def _url(pick: Pick) -> str:
    return pick.channel.url if pick.video is None else f"https://www.youtube.com/watch?v={pick.video.id}"


def _shown(pick: Pick) -> dict[str, Any]:
    return {
        "id": pick.id,
        "title": _title(pick),
        "url": _url(pick),
        "channel": pick.channel.id,
        "is_channel": pick.video is None,
        "features": features_of(pick.channel),
    }


def _card(number: int, pick: Pick) -> Card:
    minutes, is_known = minutes_of(pick.video, pick.channel)
    data = {
        "title": _title(pick),
        "subtitle": pick.channel.title,
        "why": pick.why,
        "url": _url(pick),
        "image": None if pick.video is None else f"https://i.ytimg.com/vi/{pick.video.id}/hqdefault.jpg",
        "minutes": minutes,
        "minutes_known": is_known,
        "stale": pick.is_stale,
    }
    actions = [Action("Later", f"later {number}"), Action("Like", f"like {number}")]
    return Card("video", _title(pick), data, [*actions, Action("Not this again", f"not {number} again")])
