"""What somebody listened to, against a local server that speaks ListenBrainz's and Last.fm's protocols."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from agents.music.history import LastFmHistory, ListenBrainzHistory, signals_of
from agents.music.tools import AGENT
from agents.outside.http import OutsideHttp, ServiceFailed
from agents.ranking.feedback import FeedbackBook
from agents.ranking.taste import Taste
from jobs.kinds.history import read_history
from jobs.runner import Handler, run_job
from storage.agents.states import SqlStates
from storage.jobs import board
from storage.jobs.queue import add_job
from storage.memory.owner import Owner
from storage.services.links import SqlLinks
from tests.agents.run_context import NOW, MakeContext
from tests.support.servers.outside import CUT, JUNK, SLOW, OutsideServer

MINA = Owner("app", "mina")
AT = int(NOW.timestamp())


def listens(*names: tuple[str, str, int]) -> dict[str, Any]:
    """Return them as ListenBrainz does."""
    rows = [
        {"listened_at": at, "track_metadata": {"artist_name": artist, "track_name": title}}
        for artist, title, at in names
    ]
    return {"payload": {"count": len(rows), "listens": rows}}


@pytest.fixture
async def server() -> AsyncIterator[OutsideServer]:
    """Return a server where Mina listened."""
    async with OutsideServer() as server:
        played = [
            ("Nina Simone", "Sinnerman", AT - 9),
            ("Nina Simone", "Baltimore", AT - 5),
            ("New <<<", "One", AT - 7),
        ]
        server.bodies["/1/user/mina b/listens"] = listens(*played)
        tracks = [{"artist": {"#text": "Nina Simone"}, "name": "Sinnerman", "date": {"uts": str(AT)}}, {"name": "now"}]
        server.bodies["/2.0/"] = {"recenttracks": {"track": tracks}}
        yield server


@pytest.fixture
async def http(server: OutsideServer) -> AsyncIterator[OutsideHttp]:
    """Return reads of it."""
    async with aiohttp.ClientSession() as session:
        yield OutsideHttp(session, server.url, timeout_s=1.0)


async def test_both_services_are_read(server: OutsideServer, http: OutsideHttp) -> None:
    """What is just playing is left out; the next time only what is new is asked for."""
    found = await ListenBrainzHistory(http).since("mina b", None)
    assert [each.title for each in found] == ["Sinnerman", "Baltimore", "One"]
    assert [each.title for each in await LastFmHistory(http, "key").since("mina", NOW)] == ["Sinnerman"]
    assert server.requests[-1][1]["from"] == [str(AT + 1)]
    with pytest.raises(ServiceFailed) as unknown:
        await ListenBrainzHistory(http).since("nobody", None)
    assert unknown.value.status == 404


@pytest.mark.parametrize("fault", [500, CUT, SLOW, JUNK])
async def test_a_fault_is_reported(server: OutsideServer, http: OutsideHttp, fault: Any) -> None:
    """By its own name."""
    server.faults = [fault]
    with pytest.raises(ServiceFailed):
        await ListenBrainzHistory(http).since("mina b", None)


async def test_what_was_heard_becomes_taste_once(
    engine: AsyncEngine, server: OutsideServer, http: OutsideHttp, make_context: MakeContext
) -> None:
    """By a job, in the transaction that ends it; an account that is unknown there ends in a failure with its kind."""
    links, services = SqlLinks(engine, lambda: NOW), {"listenbrainz": ListenBrainzHistory(http)}

    async def read(job: Any) -> Any:
        return await read_history(job, services)

    handlers = {"history": Handler(read)}
    await links.link(MINA, "listenbrainz", "mina b", secret=None, expires_at=None)
    for _ in range(2):
        id_ = await add_job(engine, MINA, "history", now=NOW)
        assert id_ is not None
        await run_job(engine, handlers, id_, now=lambda: NOW, jitter=lambda: 0.0)
    context = make_context(state=SqlStates(engine, lambda: NOW), owner=MINA)
    feedback = await FeedbackBook(AGENT, context).read()
    assert len(feedback.signals) == 2
    taste = Taste(feedback.signals, NOW)
    assert "artist:Nina Simone" in taste.liked({"artist:Nina Simone": 1.0})
    found = await links.find(MINA, "listenbrainz")
    assert found is not None
    assert found.heard_until is not None
    assert server.requests[-1][1]["min_ts"] == [str(AT - 5)]
    await links.link(MINA, "listenbrainz", "nobody", secret=None, expires_at=None)
    id_ = await add_job(engine, MINA, "history", now=NOW)
    assert id_ is not None
    await run_job(engine, handlers, id_, now=lambda: NOW, jitter=lambda: 0.0)
    job = await board.find_job(engine, id_)
    assert job is not None
    assert (job.state, job.error) == ("queued", "listenbrainz 404")


def test_few_signals_are_made_of_many_listens() -> None:
    """And none weighs as much as what somebody says."""
    from agents.music.history import Listen

    many = [Listen(f"Artist {number % 50}", "x", NOW) for number in range(5000)]
    made = signals_of(many, source="lastfm")
    assert len(made) == 30
    assert all(0 < each.reward <= 0.61 for each in made)
