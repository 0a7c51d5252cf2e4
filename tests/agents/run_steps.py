"""Runs with something to store or to do, in a process that may be killed at any step; and what is there afterwards."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
from sqlalchemy.ext.asyncio import AsyncEngine

from agents.base import Agent, AgentRequest, RunContext
from agents.budget import RunBudget, RunLimits
from agents.chat.persona import read_personas
from agents.events import Event, Proposal, ToolStep
from agents.games.agent import make_agent as make_games
from agents.music.agent import MusicAgent, MusicServices
from agents.outside.options import ServiceOptions, music_services
from agents.personality.agent import make_agent as make_personality
from agents.proposals import LEASE_S
from agents.registry import Parts, make_agents
from agents.running import run_agent
from agents.video.agent import VideoAgent, VideoServices
from models.chat import ChatMessage
from storage.agents.states import SqlStates, StateKey
from storage.database import open_engine
from storage.media.playlists import SqlPlaylists
from storage.media.videos import SqlVideos
from storage.memory.owner import Owner
from tests.support.memory.crash_steps import arm

MINA = Owner("app", "mina")
NOW = datetime.fromisoformat("2026-11-27T14:00:00+00:00")
LATER = NOW + timedelta(seconds=LEASE_S + 1)
PERSONAS = read_personas(Path(__file__).parents[2] / "configs" / "personas")
KEY = "a key of at least thirty-two characters"


@dataclass(frozen=True)
class Place:
    """A process's parts on one database, at one time; `spotify`: the address of the service, if there is one."""

    engine: AsyncEngine
    session: aiohttp.ClientSession
    now: datetime
    spotify: str = ""

    def agent(self, id_: str) -> Agent:
        """Return one of them."""
        if id_ == "auto":
            music = MusicServices(SqlPlaylists(self.engine, lambda: self.now))
            found = make_agents(Parts(PERSONAS, "dost", music=music)).find(id_)
            assert found is not None
            return found
        if id_ == "games":
            return make_games(Parts({}, ""))
        if id_ == "personality":
            return make_personality(Parts({}, ""))
        if id_ == "video":
            return VideoAgent(VideoServices(SqlVideos(self.engine, lambda: self.now)))
        if not self.spotify:
            return MusicAgent(MusicServices(SqlPlaylists(self.engine, lambda: self.now)))
        return MusicAgent(music_services(self.options, self.session, self.engine, lambda: self.now))

    @property
    def options(self) -> ServiceOptions:
        """What the operator set."""
        return ServiceOptions(
            spotify_client_id="app-id",
            spotify_url=self.spotify,
            spotify_accounts_url=self.spotify,
            tokens_key=KEY,
            timeout_s=5.0,
        )

    async def say(self, agent: str, *texts: str, undo: str = "") -> list[Event]:
        """Have one run answer a conversation of these messages of the person; return its events."""
        context = RunContext(
            owner=MINA,
            conversation="c",
            budget=RunBudget(RunLimits(), time.monotonic),
            now=lambda: self.now,
            rng=random.Random(1),
            new_id=lambda: f"{random.SystemRandom().getrandbits(64):x}",
            state=SqlStates(self.engine, lambda: self.now),
        )
        request = AgentRequest([ChatMessage("user", text) for text in texts], undo=undo or None)
        return [event async for event in run_agent(self.agent(agent), request, context)]


@dataclass(frozen=True)
class Scenario:
    """What was said before, and the request in which the process is killed; `answers`: whom `auto` must choose."""

    agent: str
    before: tuple[str, ...]
    request: str
    answers: str = ""


SCENARIOS = {
    "a move": Scenario("games", ("play hangman",), "e"),
    "a thumb up": Scenario("music", ("play some jazz songs",), "like 1"),
    "never again": Scenario("music", ("play some jazz songs",), "never 2 again"),
    "kept for later": Scenario("video", ("space videos",), "later 1"),
    "an answer about oneself": Scenario("personality", ("start the personality test",), "4"),
    "a playlist": Scenario("music", ("make me a calm playlist",), "yes"),
    "a playlist by auto": Scenario("auto", ("make me a calm playlist",), "yes", "music"),
    "a game ended by auto": Scenario("auto", ("play hangman",), "stop", "games"),
    "a playlist undone": Scenario("music", ("make me a calm playlist", "yes"), "undo"),
    "new songs": Scenario("music", ("make me a calm playlist", "yes", "update my playlist"), "yes"),
    "a playlist at Spotify": Scenario("music", ("make me a calm playlist", "yes", "put my playlist on spotify"), "yes"),
}


async def prepare(place: Place, scenario: Scenario) -> None:
    """Say what comes before."""
    for number, text in enumerate(scenario.before, 1):
        await place.say(scenario.agent, *scenario.before[: number - 1], text)


async def request(place: Place, scenario: Scenario) -> None:
    """Say it; the same conversation each time."""
    if scenario.request == "undo":
        proposals = await SqlStates(place.engine, lambda: place.now).load(StateKey(MINA, "music", "c", "proposals"))
        assert proposals is not None
        [id_] = proposals.value["entries"]
        await place.say(scenario.agent, undo=id_)
        return
    events = await place.say(scenario.agent, *scenario.before, scenario.request)
    assert events
    assert not [each for each in events if isinstance(each, Proposal) and each.state == "pending"]
    chosen = events[0].detail if isinstance(events[0], ToolStep) else ""
    assert chosen.startswith(scenario.answers), chosen


async def kept(place: Place) -> dict[str, Any]:
    """Return what is stored of Mina, without random ids and times."""
    states = await SqlStates(place.engine, lambda: place.now).of_person(MINA)
    documents = {(key.agent, key.name): bare(value) for key, value in states}
    proposals = documents.pop(("music", "proposals"), {})
    documents.pop(("auto", "proposers"), None)  # ids of proposals
    settled = sorted(each["state"] for each in proposals.get("entries", {}).values())
    playlists = await SqlPlaylists(place.engine, lambda: place.now).all_of(MINA)
    lists = sorted((each.name, [item["id"] for item in each.items]) for each in playlists)
    return {"documents": repr(sorted(documents.items())), "proposals": settled, "playlists": lists}


def bare(value: Any) -> Any:
    """Without the times that a later attempt has otherwise."""
    if isinstance(value, dict):
        return {name: bare(each) for name, each in sorted(value.items()) if name not in ("at", "until")}
    return [bare(each) for each in value] if isinstance(value, list) else value


async def with_place(url: str, spotify: str, now: datetime, does: Callable[[Place], Awaitable[Any]]) -> Any:
    """Return what it does in a place of its own."""
    engine = open_engine(url)
    async with aiohttp.ClientSession() as session:
        try:
            return await does(Place(engine, session, now, spotify))
        finally:
            await engine.dispose()


def run(url: str, spotify: str, name: str, moment: int) -> None:
    """Have the request answered; SIGKILL this process at this moment (from 0) of what it writes, if it comes."""

    async def does(place: Place) -> None:
        arm(place.engine, moment)
        await request(place, SCENARIOS[name])

    asyncio.run(with_place(url, spotify, NOW, does))
