"""Spotify against a local server with its faults: linked with PKCE, renewed once, nothing written twice."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import aiohttp
import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from agents.base import AgentRequest, RunContext
from agents.events import Event, Proposal, Token
from agents.music.agent import MusicAgent
from agents.outside.http import ServiceFailed
from agents.outside.options import ServiceOptions, music_services, spotify_tokens
from agents.outside.tokens import NotAuthorized, NotLinked, Tokens
from agents.outside.vault import Locked, Vault
from agents.running import run_agent
from models.chat import ChatMessage
from storage.agents.states import SqlStates
from storage.media.playlists import SqlPlaylists
from storage.memory import erasure
from storage.memory.other_rows import read_other_rows
from storage.memory.owner import Owner
from storage.services.links import SqlLinks
from storage.services.tables import ServiceLink
from tests.agents.run_context import NOW, MakeContext
from tests.support.servers.outside import CUT, JUNK, SLOW
from tests.support.servers.spotify import After, Refused, SpotifyServer

MINA, RAFI = Owner("app", "mina"), Owner("app", "rafi")
KEY = "a key of at least thirty-two characters"
ITEMS = [
    {"id": "a/one", "artist": "Ánn", "title": "One", "year": 2000, "isrc": "X1"},
    {"id": "b/two", "artist": "Ben", "title": "Two", "year": 2000},
    {"id": "c/gone", "artist": "Cy", "title": "Gone", "year": 2000},
]
ONE, TWO = "spotify:track:1", "spotify:track:2"


class Clock:
    """A time that a test moves."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        """Return the time."""
        return self.now


class Environment:
    """A gateway's parts on one database, with a server."""

    def __init__(self, engine: AsyncEngine, session: aiohttp.ClientSession, server: SpotifyServer) -> None:
        self.engine = engine
        self.server = server
        self.clock = Clock()
        self.options = ServiceOptions(
            spotify_client_id="app-id",
            spotify_url=server.url,
            spotify_accounts_url=server.url,
            tokens_key=KEY,
            timeout_s=1.0,
        )
        self.links = SqlLinks(engine, self.clock)
        self.playlists = SqlPlaylists(engine, self.clock)
        self.tokens = self.make_tokens(session)
        self.agent = MusicAgent(music_services(self.options, session, engine, self.clock))

    def make_tokens(self, session: aiohttp.ClientSession) -> Tokens:
        """Return what another process has of the same."""
        made = spotify_tokens(self.options, session, self.engine, self.clock)
        assert made is not None
        return made

    async def link(self, owner: Owner = MINA) -> None:
        """Link an account as a person does."""
        state, code = self.server.consent(await self.tokens.begin(owner))
        assert await self.tokens.finish(state, code) == "mina-at-spotify"

    async def say(self, context: RunContext, text: str, **more: Any) -> list[Event]:
        """All that the agent tells."""
        request = AgentRequest([ChatMessage("user", text)], **more)
        return [event async for event in run_agent(self.agent, request, context)]

    async def mirror(self, context: RunContext) -> tuple[str, str]:
        """Have the playlist put at Spotify; the proposal's id, and what was told."""
        events = await self.say(context, "put my playlist on spotify")
        proposal = next(event for event in events if isinstance(event, Proposal))
        return proposal.id, text_of(await self.say(context, "", confirm=proposal.id))

    @property
    def uris(self) -> list[list[str]]:
        """What each playlist there has."""
        return [each["uris"] for each in self.server.playlists.values()]


def text_of(events: list[Event]) -> str:
    """Its words."""
    return "".join(event.text for event in events if isinstance(event, Token))


@pytest.fixture
async def environment(engine: AsyncEngine) -> AsyncIterator[Environment]:
    """Return it, with a playlist of Mina's whose third song is not known at Spotify."""
    async with SpotifyServer() as server, aiohttp.ClientSession() as session:
        server.tracks = [
            (ONE, "X1", "One (Remastered)", "Another"),
            (TWO, "X2", "Two", "BEN"),
            ("u", "X3", "Two", "Eve"),
        ]
        server.playlists = {f"old{n}": {"id": f"old{n}", "name": "", "description": "", "uris": []} for n in range(12)}
        made = Environment(engine, session, server)
        await made.playlists.create(MINA, key="mine", name="Mine", items=ITEMS, wanted={"moods": ["calm"]})
        yield made


@pytest.fixture
def context(environment: Environment, states: SqlStates, make_context: MakeContext) -> RunContext:
    """Return what a run of Mina's has."""
    return make_context(state=states, owner=MINA)


async def test_an_account_is_linked_once_and_its_tokens_are_encrypted(environment: Environment) -> None:
    """A state is good once, for its person, for ten minutes; neither database nor export has a token."""
    url = await environment.tokens.begin(MINA)
    state, code = environment.server.consent(url)
    await environment.tokens.finish(state, code)
    with pytest.raises(NotAuthorized):
        await environment.tokens.finish(state, code)
    late, code = environment.server.consent(await environment.tokens.begin(RAFI))
    environment.clock.now += timedelta(minutes=11)
    with pytest.raises(NotAuthorized):
        await environment.tokens.finish(late, code)
    assert await environment.links.find(RAFI, "spotify") is None
    async with environment.engine.connect() as connection:
        (secret,) = (await connection.execute(select(ServiceLink.secret))).scalars()
    assert b"access" not in secret
    assert b"refresh" not in secret
    link = (await read_other_rows(environment.engine, MINA))["service_links"][0]
    assert link["account"] == "mina-at-spotify"
    assert "secret" not in link
    await erasure.erase(environment.engine, MINA)
    assert not any((await erasure.count(environment.engine, MINA)).values())


def test_a_secret_opens_for_its_person_alone() -> None:
    """And under its key alone."""
    locked = Vault(KEY).lock(MINA, "spotify", {"a": 1})
    assert Vault(KEY).open(MINA, "spotify", locked) == {"a": 1}
    for vault, owner, service in (
        (Vault(KEY), RAFI, "spotify"),
        (Vault(KEY), MINA, "lastfm"),
        (Vault(KEY + "!"), MINA, "spotify"),
    ):
        with pytest.raises(Locked):
            vault.open(owner, service, locked)
    with pytest.raises(ValueError, match="BONDHU_TOKENS_KEY"):
        Vault("short")


async def test_a_user_who_is_not_on_the_list_is_not_linked(environment: Environment) -> None:
    """Spotify's 403 is told as such."""
    environment.server.is_listed = False
    state, code = environment.server.consent(await environment.tokens.begin(MINA))
    with pytest.raises(ServiceFailed) as refused:
        await environment.tokens.finish(state, code)
    assert refused.value.status == 403
    assert await environment.links.find(MINA, "spotify") is None


@pytest.mark.parametrize("answered", [None, ""])
async def test_of_many_renewals_at_once_one_is_made(environment: Environment, answered: str | None) -> None:
    """All get its token; a refresh token that is not answered, or empty, leaves the old one in force."""
    await environment.link()
    environment.server.refresh_token, environment.server.refresh_s = answered, 0.2
    for times in (1, 2):
        environment.clock.now += timedelta(hours=1)
        async with aiohttp.ClientSession() as session:
            others = [environment.make_tokens(session) for _ in range(4)]
            found = await asyncio.gather(*(each.access(MINA) for each in [environment.tokens, *others]))
        assert len(set(found)) == 1
        assert environment.server.refreshed == times


async def test_a_refused_grant_asks_for_reconnection_and_an_outage_does_not(environment: Environment) -> None:
    """Nothing is deleted; linking again is enough."""
    await environment.link()
    environment.clock.now += timedelta(hours=1)
    environment.server.faults["POST /api/token"] = [Refused(503)]
    with pytest.raises(ServiceFailed):
        await environment.tokens.access(MINA)
    assert await environment.tokens.access(MINA)
    environment.server.grants = False
    environment.clock.now += timedelta(hours=1)
    with pytest.raises(NotLinked) as refused:
        await environment.tokens.access(MINA)
    assert refused.value.reconnect
    found = await environment.links.find(MINA, "spotify")
    assert found is not None
    assert found.state == "reconnect"
    assert found.secret is not None
    environment.server.grants = True
    await environment.link()
    assert await environment.tokens.access(MINA)


async def test_a_playlist_is_put_there_changed_by_difference_and_taken_back(
    environment: Environment, context: RunContext
) -> None:
    """Resolved by ISRC, then by names; what is unknown is counted; what the person added there stays."""
    await environment.link()
    made, summary = await environment.mirror(context)
    assert "Spotify does not know 1 of them" in summary
    assert environment.uris[-1] == [ONE, TWO]
    environment.uris[-1].append("spotify:track:theirs")
    await environment.say(context, "update my playlist")
    await environment.say(context, "yes")
    [now] = await environment.playlists.all_of(MINA)
    kept = [uri for item, uri in ((ITEMS[0], ONE), (ITEMS[1], TWO)) if item["id"] in {each["id"] for each in now.items}]
    assert environment.uris[-1] == [*kept, "spotify:track:theirs"]
    assert len(kept) == 1
    await environment.say(context, "", undo=made)
    assert len(environment.server.playlists) == 12


FAULTS: list[tuple[str, Any]] = [
    ("POST /me/playlists", After(502)),
    ("POST /me/playlists", CUT),
    ("POST /me/playlists", JUNK),
    ("POST /playlists/", After(502)),
    ("POST /playlists/", CUT),
    ("GET /me/playlists", Refused(429, {"Retry-After": "1"})),
    ("GET /search", Refused(429)),
    ("GET /playlists/", CUT),
    ("GET /search", SLOW),
    ("POST /playlists/", Refused(429, {"Retry-After": "1"})),
    ("POST /me/playlists", Refused(500)),
    ("GET /search", Refused(429, {"Retry-After": "900"}, "QUOTA_EXCEEDED")),
]


@pytest.mark.parametrize(("where", "fault"), FAULTS, ids=[f"{where}-{n}" for n, (where, _) in enumerate(FAULTS)])
async def test_no_fault_makes_anything_twice(
    environment: Environment, context: RunContext, where: str, fault: Any
) -> None:
    """Whether a try is told as done or as failed, one more leaves one playlist with each song once."""
    await environment.link()
    environment.server.faults[where] = [fault]
    id_, _ = await environment.mirror(context)
    await environment.say(context, "", confirm=id_)
    assert environment.uris[12:] == [[ONE, TWO]]
    await environment.say(context, "", undo=id_)
    assert len(environment.server.playlists) == 12


async def test_a_spent_quota_is_not_waited_for(environment: Environment, context: RunContext) -> None:
    """One call, and words for the person."""
    await environment.link()
    environment.server.faults["GET /search"] = [Refused(429, {"Retry-After": "1"}, "QUOTA_EXCEEDED")]
    _, summary = await environment.mirror(context)
    assert "Say yes again" in summary
    assert environment.server.requests.count("GET /search") == 1


async def test_without_a_linked_account_the_reason_is_given(environment: Environment, context: RunContext) -> None:
    """And who is refused; after unlinking nothing of theirs is left."""
    assert "not connected" in (await environment.mirror(context))[1]
    await environment.link()
    environment.server.is_listed = False
    assert "refuses your account" in (await environment.mirror(context))[1]
    environment.server.is_listed = True
    await environment.mirror(context)
    assert await environment.links.unlink(MINA, "spotify")
    left = await erasure.count(environment.engine, MINA)
    assert (left["service_links"], left["remote_playlists"], left["service_authorizations"]) == (0, 0, 0)
