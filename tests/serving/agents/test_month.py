"""A month of two people: a real gateway and a real worker whose clocks are moved, Redis as broker, each database.

With an engine that says what it was told, and with the default model's own: what is checked is what came of it and what
the model was told, not how it put it. They tell, contradict, ask, skip, thumb up, plan, forget, travel, live through
the change to summer time, come back, and one of them leaves.
"""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from serving.config.load import load_settings
from storage import migrate
from storage.database import open_engine
from storage.memory.erasure import KEPT, count
from storage.memory.owner import Owner
from tests.support.faketime import faked, without_leftovers
from tests.support.gateway_process import DEADLINE_S, GatewayProcess
from tests.support.memory.word_embedder import DIMENSIONS
from tests.support.models.llama_service import REPOSITORY, LlamaEngine, edited_root, naming_weights
from tests.support.polling import eventually
from tests.support.servers.engine import EngineServer
from tests.support.servers.relay import RelayServer
from tests.support.workers.month import BEGINNING, Month, Person, move_clock
from tests.support.workers.worker_process import PATIENT_S, WorkerProcess

DEFAULT = "smollm2-135m-instruct-gguf"  # the default model, under the engine that is ready within seconds
WEIGHTS = REPOSITORY / "var/models"
DHAKA, BERLIN = ZoneInfo("Asia/Dhaka"), ZoneInfo("Europe/Berlin")
SCHEDULES = {  # of the night in which clocks change, the hour that there is not
    "inbox": {"every_h": 1},
    "personality": {"at": "02:30"},
    "playlists": {"weekday": "mon"},
    "stats": {"at": "04:00"},
    "retention": {"at": "03:30"},
}


@contextmanager
def default_model(folder: Path) -> Iterator[tuple[Callable[[int], EngineServer], dict[str, str]]]:
    """The default model's own engine, under llama.cpp; returns what makes the way to it, and what configures it."""
    root = edited_root(folder, DEFAULT, naming_weights(DEFAULT, WEIGHTS))
    environ = {"BONDHU_ROOT": str(root), "BONDHU__MODELS__ACTIVE": DEFAULT}
    settings = load_settings(environ=environ)
    with LlamaEngine(folder, settings, settings.catalogue[DEFAULT]) as engine:
        yield lambda port: RelayServer(port, engine), environ


@contextmanager
def scripted(_: Path) -> Iterator[tuple[Callable[[int], EngineServer], dict[str, str]]]:
    """An engine that says what it was told."""
    yield lambda port: EngineServer(port, echoes=True, embeds=True), {}


@pytest.fixture(
    params=[("sqlite", scripted), ("postgres", scripted), ("sqlite", default_model)],
    ids=["sqlite", "postgres", "default model"],
)
def month(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Month]:
    """Return the house, on the first day."""
    database, engine_of = request.param
    clock = tmp_path / "clock"
    move_clock(clock, BEGINNING)
    moved = faked(clock)
    environ = {
        "BONDHU__EMBEDDER__DIMENSIONS": str(DIMENSIONS),
        "BONDHU__JOBS__EVERY_S": "1",
        "BONDHU__JOBS__SCHEDULES": json.dumps(SCHEDULES),
    }
    if database == "postgres":
        environ["DATABASE_URL"] = request.getfixturevalue("postgres").url
        migrate.downgrade(environ["DATABASE_URL"])
    with without_leftovers(), engine_of(tmp_path) as (make_engine, configured):
        gateway = GatewayProcess(tmp_path, process_environ=moved, **environ, **configured)
        with make_engine(gateway.ingress_port) as engine, gateway:
            eventually(lambda: gateway.get("/ready").status_code == 200, DEADLINE_S, "the model to be known")
            key = gateway.make_key("diary", tier="admin", memory=True)
            with WorkerProcess(gateway, tmp_path, moved) as worker:
                yield Month(gateway, engine, worker, clock, key)


@pytest.mark.slow  # minutes on each database
@pytest.mark.timeout(3600)
def test_a_month_of_two_people(month: Month) -> None:
    """Whatever they do has its effect, once, and on nobody else."""
    asha, ben = Person(month, "asha"), Person(month, "ben")
    asha("PUT", "/api/v1/profile", {"name": "Asha", "details": {"timezone": "Asia/Dhaka", "age": 30}})
    asha("PUT", "/api/v1/inbox/settings", {"enabled": True})
    ben("PUT", "/api/v1/profile", {"name": "Ben", "details": {"timezone": "America/New_York", "age": 41}})
    asha.say("My cat is called Pixel")
    ben.say("My dog is called Bruno")
    plan_and_look_back(month, asha, ben)
    contradict(month, asha)
    never = listen_and_judge(month, asha, ben)
    playlist = make_a_playlist(asha)
    summarise_and_forget(month, asha)
    travel_into_summer_time(month, asha)
    assert month.ended["ben", "personality"] == 0

    # They come back, and are still known; nobody is taken for the other.
    for person, question, name in ((asha, "What is my cat called?", "Pixel"), (ben, "What is my dog called?", "Bruno")):

        def is_known(person: Person = person, question: str = question, name: str = name) -> bool:
            return name in person.told(question)  # a recall that takes too long is done without

        eventually(is_known, DEADLINE_S, f"{name} to be recalled")
    assert "Bruno" not in asha.past()
    assert "Pixel" not in ben.past()

    # A month later the playlist has new songs, and still not what was never to come again.
    month.until(48)
    [renewed] = asha("GET", "/api/v1/export")["others"]["playlists"]
    assert renewed["id"] == playlist["id"]
    assert [each["id"] for each in renewed["items"]] != [each["id"] for each in playlist["items"]]
    assert never not in [each["title"] for each in renewed["items"]]
    assert month.ended["", "stats"] >= 47, "once a day"

    # One of them leaves; of the other everything stays.
    kept = asha.past()
    assert ben("POST", "/api/v1/forget", {})["complete"]
    assert "Bruno" not in ben.past()
    assert asha.past() == kept
    eventually(lambda: asyncio.run(rows_of(month, Owner("diary", "ben"))) == 0, DEADLINE_S, "nothing of Ben's")
    month.until(50)
    assert asyncio.run(rows_of(month, Owner("diary", "ben"))) == 0, "no job brings anything back"


def plan_and_look_back(month: Month, asha: Person, ben: Person) -> None:
    """Who wants messages gets one before and one after, by day; who comes back is asked in the chat, once."""
    exam = {"text": "The piano exam", "kind": "event", "event_at": (BEGINNING + timedelta(days=3)).isoformat()}
    for person in (asha, ben):
        person("POST", "/api/v1/memories", exam)
    month.until(6, every_h=6)
    inbox = asha("GET", "/api/v1/inbox")["data"]
    assert [each["text"].split(":")[0] for each in reversed(inbox)] == [
        "Tomorrow it is",
        "How did it go? You had told me",
    ]
    hours = [datetime.fromisoformat(each["created_at"]).astimezone(DHAKA).hour for each in inbox]
    assert all(8 <= hour < 22 for hour in hours), hours
    assert ben("GET", "/api/v1/inbox")["data"] == []
    back = "They are back after a while."
    eventually(lambda: back in ben.told("Hello again!"), PATIENT_S, "to be asked how it went")
    assert back not in ben.told("So, where were we?")


def contradict(month: Month, asha: Person) -> None:
    """The old holds for the past alone."""
    old = asha("POST", "/api/v1/memories", {"text": "Lives in Dhaka", "valid_from": BEGINNING.isoformat()})
    month.until(8)
    moved = {"text": "Lives in Berlin", "supersedes": old["id"], "valid_from": month.now().isoformat()}
    asha("POST", "/api/v1/memories", moved)
    assert "Lives in Dhaka" not in asha.texts(holding_at=month.now().isoformat())
    assert "Lives in Berlin" in asha.texts(holding_at=month.now().isoformat())
    assert "Lives in Dhaka" in asha.texts(holding_at=(BEGINNING + timedelta(days=7)).isoformat())


def listen_and_judge(month: Month, asha: Person, ben: Person) -> str:
    """A thumb up, a skip and a "never" are kept once, of their person alone; returns what is never to come again."""
    shown = asha.cards("play some jazz songs", "music")
    never = str(shown[1]["title"])
    for text in ("never 2 again", "like 1", "like 1", "skip 3"):
        asha.say(text, "music")
    feedback = asha.kept("music", "feedback")
    assert sorted(each["reward"] for each in feedback["signals"]) == [-1.0, -0.7, 1.0]
    assert len(feedback["blocked_items"]) == 1
    assert ben.kept("music", "feedback") == {}
    for day in (9, 10, 11):
        month.until(day)
        assert never not in [card["title"] for card in asha.cards("play some jazz songs", "music")]
    whys = str(asha.cards("play something", "music"))
    assert "you like" in whys, "the thumb up is a reason"
    assert "you like" not in str(ben.cards("play something", "music"))
    return never


def make_a_playlist(asha: Person) -> dict[str, object]:
    """Proposed, and made with a yes, once."""
    asha.say("make me a calm playlist", "music")
    assert "playlists" not in asha("GET", "/api/v1/export")["others"]
    asha.say("yes", "music")
    asha.say("yes", "music")
    [playlist] = asha("GET", "/api/v1/export")["others"]["playlists"]
    made: dict[str, object] = playlist
    return made


def summarise_and_forget(month: Month, asha: Person) -> None:
    """A long conversation is summarised, with its messages; the summary goes with what it was made of."""
    messages = [
        {
            "external_id": f"l{n}",
            "speaker": "Asha" if n % 2 == 0 else "assistant",
            "text": f"In my garden the marigolds have grown, day {n}." if n % 2 == 0 else "How lovely!",
            "said_at": (month.now() - timedelta(minutes=100 - n)).isoformat(),
        }
        for n in range(50)
    ]
    asha("POST", "/api/v1/conversations", {"external_id": "garden", "messages": messages})
    month.until(12, every_h=6)  # a conversation at a time is summarised, the chat of all days first
    summaries = asha("GET", "/api/v1/memories", kind="summary")["data"]
    [of_garden] = [each for each in summaries if "marigolds" in each["text"]]
    assert len(of_garden["sources"]) == 40
    # They forget: at once, with a day to think better of it.
    asha.say("Forget everything I told you about the marigolds")
    assert not [each for each in asha.texts() if "marigolds" in each]
    [wish] = asha("GET", "/api/v1/wishes")["data"]
    assert wish["turns"] > 0
    month.until(14)
    assert asha("GET", "/api/v1/wishes")["data"] == []
    assert "marigolds have grown" not in asha.past()


def travel_into_summer_time(month: Month, asha: Person) -> None:
    """How they write is read every night of their own clock once, over travel and a night without that hour."""
    asha("POST", "/api/v1/personality/answers", {"answers": {"1": 5, "6": 1}})
    asha("PUT", "/api/v1/personality", {"reads_language": True})
    month.until(20)
    asha("PUT", "/api/v1/profile", {"name": "Asha", "details": {"timezone": "Europe/Berlin", "age": 30}})
    before = month.ended["asha", "personality"]
    began = month.now().astimezone(BERLIN).date()
    month.until(25.5)
    month.until(26.5, every_h=3)
    month.until(29)
    nights = (month.now().astimezone(BERLIN).date() - began).days
    assert month.ended["asha", "personality"] - before == nights == 9
    assert asha("GET", "/api/v1/personality")["answered"] == 2


async def rows_of(month: Month, owner: Owner) -> int:
    """Return how many rows there are of somebody's, without the ledger's."""
    engine = open_engine(month.gateway.database_url)
    found = await count(engine, owner)
    await engine.dispose()
    return sum(number for table, number in found.items() if table not in KEPT)
