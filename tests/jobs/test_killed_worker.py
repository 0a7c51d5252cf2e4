"""Worker and broker killed with SIGKILL while jobs run: in the end each was done once, and none is lost."""

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from storage import migrate
from tests.jobs.steps import NOW
from tests.support.faketime import faked, without_leftovers
from tests.support.gateway_process import GatewayProcess
from tests.support.workers.killed import KilledHouse
from tests.support.workers.month import move_clock

KILLS = 12


@contextmanager
def house(folder: Path, database_url: str = "") -> Iterator[KilledHouse]:
    """Return a house whose worker lives at NOW."""
    folder.mkdir()
    clock = folder / "clock"
    move_clock(clock, NOW)
    moved = faked(clock)
    environ = {
        "BONDHU__JOBS__EVERY_S": "1",
        "BONDHU__JOBS__SCHEDULES": json.dumps({}),
        "BONDHU__MEMORY__SUMMARIES__TURNS": "2",
        "BONDHU__MEMORY__SUMMARIES__NEWER": "0",
        "BONDHU__EMBEDDER__ENABLED": "false",
        **({"DATABASE_URL": database_url} if database_url else {}),
    }
    with without_leftovers(), GatewayProcess(folder, **environ) as gateway:
        yield KilledHouse(gateway, folder, clock, NOW, moved)


@pytest.mark.slow  # a minute or two each
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("database", ["sqlite", "postgres"])
@pytest.mark.parametrize("what", ["worker", "redis", "both"])
def test_jobs_survive_their_worker_and_their_broker(
    request: pytest.FixtureRequest, tmp_path: Path, what: str, database: str
) -> None:
    """Compared with a worker that was left alone: the same messages, summaries, playlists and lists, each once."""
    url = request.getfixturevalue("postgres").url if database == "postgres" else ""
    outcomes = []
    for times in (0, KILLS):
        if url:
            migrate.downgrade(url)
        with house(tmp_path / str(times), url) as here:
            added = here.begin()
            here.kill_often(random.Random(what + database), what, times)
            here.finish()
            outcomes.append(here.outcome())
            assert here.kills == times
    assert outcomes[0] == outcomes[1]
    assert sum(outcomes[0]["jobs"].values()) == added
    assert outcomes[0]["ann"]["messages"]
    assert (outcomes[0]["ann"]["summaries"], outcomes[0]["ann"]["playlist changes"]) == (1, 2), "made, and renewed"
