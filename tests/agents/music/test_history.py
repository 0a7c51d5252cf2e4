"""What somebody listened to, against a local server that speaks ListenBrainz's and Last.fm's protocols."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from agents.music.history import History, LastFmHistory, ListenBrainzHistory, signals_of
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
SERVICES: dict[str, Callable[[OutsideHttp], History]] = {
    "listenbrainz": ListenBrainzHistory,
    "lastfm": lambda http: LastFmHistory(http, "key"),
}


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


@pytest.mark.parametrize("fault", [403, 500, 502, CUT, SLOW, JUNK])
@pytest.mark.parametrize("service", SERVICES)
async def test_a_fault_is_reported(server: OutsideServer, http: OutsideHttp, service: str, fault: Any) -> None:
    """By its own name, of each service."""
    server.faults = [fault]
    with pytest.raises(ServiceFailed) as failure:
        await SERVICES[service](http).since("mina b", None)
    assert failure.value.status in (None, fault)


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize(
    ("headers", "waits"),
    [({"Retry-After": "2"}, [2.0]), ({}, [1.0]), ({"X-RateLimit-Reset-In": "3"}, [3.0]), ({"Retry-After": "90"}, [])],
)
async def test_a_429_is_waited_for_once(
    server: OutsideServer, service: str, headers: dict[str, str], waits: list[float]
) -> None:
    """As long as the service says, a second when it says nothing; what takes longer is told, with how long."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    server.headers, server.faults = headers, [429]
    async with aiohttp.ClientSession() as session:
        history = SERVICES[service](OutsideHttp(session, server.url, timeout_s=1.0, sleep=sleep))
        if waits:
            assert await history.since("mina b", None)
        else:
            with pytest.raises(ServiceFailed) as failure:
                await history.since("mina b", None)
            assert (failure.value.status, failure.value.retry_after_s) == (429, 90.0)
    assert slept == waits


@pytest.mark.parametrize("body", [{"error": 29, "message": "Rate Limit Exceeded"}, {"recenttracks": {}}, []])
async def test_an_error_of_lastfm_in_a_whole_answer_is_one(server: OutsideServer, http: OutsideHttp, body: Any) -> None:
    """It tells some with a status of 200."""
    server.bodies["/2.0/"] = body
    with pytest.raises(ServiceFailed):
        await LastFmHistory(http, "key").since("mina", None)


async def test_a_job_leaves_a_service_alone_for_as_long_as_it_asks(
    engine: AsyncEngine, server: OutsideServer, http: OutsideHttp
) -> None:
    """A Retry-After of an hour is an hour, however soon a first retry would be."""
    server.headers, server.faults = {"Retry-After": "3600"}, [429]

    async def read(job: Any) -> Any:
        return await read_history(job, {"listenbrainz": ListenBrainzHistory(http)})

    await SqlLinks(engine, lambda: NOW).link(MINA, "listenbrainz", "mina b", secret=None, expires_at=None)
    id_ = await add_job(engine, MINA, "history", now=NOW)
    assert id_ is not None
    await run_job(engine, {"history": Handler(read)}, id_, now=lambda: NOW, jitter=lambda: 0.0)
    job = await board.find_job(engine, id_)
    assert job is not None
    assert (job.state, job.error) == ("queued", "listenbrainz 429")
    assert (job.due_at - NOW).total_seconds() == 3600


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
