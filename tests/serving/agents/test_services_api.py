"""Services outside as the gateway and the worker use them: switched on by configuration, linked over HTTP."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.agents.video.test_video_agent import feed
from tests.jobs.test_extraction_worker import working
from tests.serving.agents.test_agents_and_people import Person
from tests.support.gateway_process import GatewayProcess
from tests.support.polling import eventually
from tests.support.servers.outside import OutsideServer
from tests.support.servers.spotify import SpotifyServer

KEY = "a key of at least thirty-two characters"


@contextmanager
def serving(*servers: OutsideServer | SpotifyServer) -> Iterator[None]:
    """Have them serve from a thread of their own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    stack = AsyncExitStack()

    async def start() -> None:
        for server in servers:
            await stack.enter_async_context(server)

    asyncio.run_coroutine_threadsafe(start(), loop).result(30)
    try:
        yield
    finally:
        asyncio.run_coroutine_threadsafe(stack.aclose(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture(scope="module")
def outside() -> Iterator[tuple[OutsideServer, SpotifyServer]]:
    """Return a server of feeds, and Spotify."""
    feeds, spotify = OutsideServer(), SpotifyServer()
    feeds.bodies["/feeds/videos.xml"] = lambda query: feed(query["channel_id"], ["Part 1", "Part 2"], datetime.now(UTC))
    with serving(feeds, spotify):
        yield feeds, spotify


@pytest.fixture(scope="module")
def gateway(
    outside: tuple[OutsideServer, SpotifyServer], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """Return a gateway that may use them."""
    feeds, spotify = outside
    settings = {
        "BONDHU__SERVICES__FEEDS": "true",
        "BONDHU__SERVICES__FEEDS_URL": feeds.url,
        "BONDHU__SERVICES__SPOTIFY_CLIENT_ID": "app-id",
        "BONDHU__SERVICES__SPOTIFY_URL": spotify.url,
        "BONDHU__SERVICES__SPOTIFY_ACCOUNTS_URL": spotify.url,
        "BONDHU_TOKENS_KEY": KEY,
        "BONDHU__EMBEDDER__ENABLED": "false",
    }
    with GatewayProcess(tmp_path_factory.mktemp("services"), **settings) as process:
        yield process


@pytest.fixture(scope="module")
def key(gateway: GatewayProcess) -> str:
    """Return a key of an application."""
    return gateway.make_key("diary", tier="admin")


def test_videos_come_from_feeds_and_a_worker_prepares_some(
    gateway: GatewayProcess, key: str, outside: tuple[OutsideServer, SpotifyServer], tmp_path: Path
) -> None:
    """The gateway fetches what somebody waits for; beat, queue and worker do the job that they asked for."""
    person = Person(gateway, key, "video-mina")
    answer = person.ask(
        "POST", "/api/v1/agents/video/runs", {"messages": [{"role": "user", "content": "space videos"}]}
    )
    cards = [event for event in answer.json()["events"] if event["type"] == "card"]
    assert {card["data"]["title"] for card in cards} <= {"Part 1", "Part 2"}
    assert not any(card["data"]["stale"] for card in cards)
    requests_before = len(outside[0].requests)
    assert requests_before > 0
    job = person.ask("POST", "/api/v1/jobs", {"kind": "videos", "params": {"topics": ["food"]}}).json()["id"]
    environ = {
        "BONDHU_JOBS": '{"every_s": 1, "max_attempts": 3, "zone": "UTC", "schedules": {}}',
        "BONDHU_SERVICES": f'{{"feeds": true, "feeds_url": "{outside[0].url}"}}',
    }
    with working(gateway.redis.url, gateway.database_url, tmp_path, environ):
        eventually(lambda: person.ask("GET", f"/api/v1/jobs/{job}").json()["state"] == "done", 60, "the job", 0.2)
    assert len(outside[0].requests) > requests_before
    videos = person.ask("GET", "/api/v1/recommendations").json()["data"]
    assert {each["title"] for each in videos} <= {"Part 1", "Part 2"}
    assert all("food" in each["why"] for each in videos)


def test_an_account_is_linked_and_unlinked(
    gateway: GatewayProcess, key: str, outside: tuple[OutsideServer, SpotifyServer]
) -> None:
    """By the address that is answered and the callback that takes no key; nobody else's, and gone on request."""
    person, other = Person(gateway, key, "spotify-mina"), Person(gateway, key, "spotify-rafi")
    card = person.ask("POST", "/api/v1/services/spotify/link", {}).json()
    state, code = outside[1].consent(card["url"])
    callback = f"/api/v1/services/spotify/callback?state={state}&code={code}"
    page = gateway.get(callback)
    assert page.status_code == 200, page.text
    assert page.headers["content-security-policy"] == "default-src 'none'"
    assert gateway.get(callback).status_code == 400
    assert gateway.get("/api/v1/services/spotify/callback?error=access_denied").status_code == 400
    found = {each["id"]: each for each in person.ask("GET", "/api/v1/services").json()["data"]}
    assert (found["spotify"]["state"], found["spotify"]["account"]) == ("linked", "mina-at-spotify")
    assert (found["lastfm"]["configured"], found["lastfm"]["state"]) == (False, "unlinked")
    theirs = {each["id"]: each["state"] for each in other.ask("GET", "/api/v1/services").json()["data"]}
    assert theirs["spotify"] == "unlinked"
    assert other.ask("DELETE", "/api/v1/services/spotify").json()["state"] == "unlinked"
    assert "mina-at-spotify" in person.ask("GET", "/api/v1/export").text
    refused = person.ask("POST", "/api/v1/services/listenbrainz/link", {"account": "mina"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "service_not_configured")
    assert person.ask("POST", "/api/v1/services/none/link", {}).json()["error"]["code"] == "service_not_found"
    assert person.ask("DELETE", "/api/v1/services/spotify").json()["state"] == "unlinked"
    assert "mina-at-spotify" not in person.ask("GET", "/api/v1/export").text
