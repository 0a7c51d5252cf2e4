"""A process that is killed at any step of a run: the same request once more leaves what one run would have left."""

import asyncio
import multiprocessing
import signal
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete

from agents.music.catalogue import read_tracks
from agents.outside.options import spotify_tokens
from storage import migrate
from storage.tables import Base
from tests.agents.run_steps import LATER, MINA, NOW, SCENARIOS, Place, kept, prepare, request, run, with_place
from tests.serving.agents.test_services_api import serving
from tests.support.servers.spotify import SpotifyServer

FORK = multiprocessing.get_context("forkserver")
FORK.set_forkserver_preload(["aiosqlite", "asyncpg", "numpy", "aiohttp", "tests.agents.run_steps"])  # once, not each
SLOW = [pytest.mark.slow, pytest.mark.timeout(1800)]
AT_SPOTIFY = "a playlist at Spotify"


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the address of a migrated database of each kind."""
    url = f"sqlite+aiosqlite:///{tmp_path / 'bondhu.db'}"
    if request.param == "postgres":
        url = str(request.getfixturevalue("postgres").url)
    migrate.upgrade(url)
    return url


class House:
    """A database, and Spotify where the scenario has it."""

    def __init__(self, url: str, name: str, spotify: SpotifyServer) -> None:
        self.url = url
        self.scenario = SCENARIOS[name]
        self.spotify = spotify
        self.address = spotify.url if name == AT_SPOTIFY else ""

    def fresh(self) -> None:
        """Empty both, link the account, and say what comes before."""
        self.spotify.playlists.clear()
        asyncio.run(with_place(self.url, self.address, NOW, self._prepare))

    async def _prepare(self, place: Place) -> None:
        async with place.engine.begin() as connection:
            for table in reversed(Base.metadata.sorted_tables):
                await connection.execute(delete(table))
        if self.address:
            tokens = spotify_tokens(place.options, place.session, place.engine, lambda: place.now)
            assert tokens is not None
            state, code = self.spotify.consent(await tokens.begin(MINA))
            await tokens.finish(state, code)
        await prepare(place, self.scenario)

    def request(self, *, later: bool = False) -> None:
        """Have it answered here; `later`: when nobody else can still be at it."""
        asyncio.run(with_place(self.url, self.address, LATER if later else NOW, self._request))

    async def _request(self, place: Place) -> None:
        await request(place, self.scenario)

    def kept(self) -> Any:
        """Return all that came of it."""
        stored = asyncio.run(with_place(self.url, self.address, NOW, kept))
        return stored, [each["uris"] for each in self.spotify.playlists.values()]


@pytest.mark.parametrize(
    ("name", "step"),
    [("a playlist by auto", 3), ("a move", 3), *(pytest.param(name, 1, marks=SLOW) for name in SCENARIOS)],
)
def test_a_kill_anywhere_and_once_more_is_once(url: str, name: str, step: int) -> None:
    """At every statement (or every so many) and around every commit, also those between which Spotify is written to."""
    spotify = SpotifyServer()
    spotify.tracks = [(f"spotify:track:{n}", "", each.title, each.artist) for n, each in enumerate(read_tracks())]
    with serving(spotify):
        house = House(url, name, spotify)
        house.fresh()
        before = house.kept()
        house.request()
        once = house.kept()
        assert once != before
        for moment in count(step=step):
            house.fresh()
            process = FORK.Process(target=run, args=(url, house.address, name, moment))
            process.start()
            process.join()
            if process.exitcode == 0:
                break
            assert process.exitcode == -signal.SIGKILL
            house.request(later=True)
            assert house.kept() == once, f"moment {moment}"
        assert moment >= 2
