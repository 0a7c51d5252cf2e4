"""A month of two people: a real gateway whose clock is moved, its Redis and SQL, and all jobs.

They tell, contradict, ask, skip, forget, travel over the change to summer time, come back, and one of them leaves. Jobs
are found and run as the worker's tasks do it, by the same clock; the broker between is tested elsewhere.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest

from jobs.config import JobsPlan
from jobs.dispatch import send_due
from jobs.handlers import handlers_of
from jobs.runner import run_job
from jobs.schedule import Schedule, Schedules
from storage.database import open_engine
from storage.jobs import board
from storage.jobs.queue import DueJob
from storage.memory.owner import Owner
from storage.memory.set_aside import wipe_expired
from tests.support.faketime import find_faketime, without_leftovers
from tests.support.gateway_process import DEADLINE_S, GatewayProcess
from tests.support.memory.word_embedder import DIMENSIONS
from tests.support.polling import eventually
from tests.support.servers.engine import EngineServer

BEGINNING = datetime(2027, 3, 2, 8, 0, tzinfo=UTC)  # a Tuesday; Berlin's clocks change on the 28th
DHAKA, BERLIN = ZoneInfo("Asia/Dhaka"), ZoneInfo("Europe/Berlin")
SCHEDULES = Schedules(
    {"inbox": Schedule(every_h=1), "personality": Schedule(), "playlists": Schedule(weekday=0), "stats": Schedule()}
)
Json = dict[str, Any]


class Month:
    """The house, and what time it is there."""

    def __init__(self, gateway: GatewayProcess, clock: Path, key: str) -> None:
        self.gateway = gateway
        self.key = key
        self._clock = clock
        self.ended: Counter[tuple[str, str]] = Counter()

    def now(self) -> datetime:
        """Return the time in the house."""
        return datetime.now(UTC) + timedelta(seconds=int(self._clock.read_text()))

    def until(self, day: int, every_h: int = 6) -> None:
        """Let time go by until this day from the beginning, with a worker that looks every so many hours."""
        end = BEGINNING + timedelta(days=day)
        while (now := self.now()) < end:
            move_clock(self._clock, min(now + timedelta(hours=every_h), end))
            asyncio.run(self._work())

    async def _work(self) -> None:
        engine, handlers, sent = open_engine(self.gateway.database_url), handlers_of(JobsPlan()), list[DueJob]()
        now = self.now()
        await send_due(engine, handlers, SCHEDULES, sent.append, now=now)
        for job in sent:
            await run_job(engine, handlers, job.id, now=lambda: now, jitter=lambda: 0.0)
        await wipe_expired(engine, now=now)
        for job in sent:
            record = await board.find_job(engine, job.id)
            assert record is None or record.state == "done", record
            if record is not None:
                self.ended[record.end_user, record.kind] += 1
        await engine.dispose()


class Person:
    """Somebody who lives through it."""

    def __init__(self, month: Month, name: str) -> None:
        self.month = month
        self.name = name

    def __call__(self, method: str, path: str, body: Any = None, **params: Any) -> Json:
        """Ask; what is refused fails the test."""
        headers = {"authorization": f"Bearer {self.month.key}", "x-bondhu-user": self.name, "x-bondhu-memory": "on"}
        url = self.month.gateway.url + path
        answer = httpx.request(method, url, headers=headers, json=body, params=params, timeout=DEADLINE_S)
        assert answer.status_code < 300, (path, answer.text)
        answered: Json = answer.json()
        return answered

    def say(self, text: str, agent: str = "chat", **fields: Any) -> Json:
        """Say something to an agent; return its message."""
        body = {"model": f"bondhu/{agent}", "messages": [{"role": "user", "content": text}], **fields}
        message: Json = self("POST", "/v1/chat/completions", body)["choices"][0]["message"]
        return message

    def cards(self, text: str, agent: str) -> list[Json]:
        """Say something; return the cards that come of it."""
        return [each for each in self.say(text, agent)["bondhu"]["events"] if each["type"] == "card"]

    def texts(self, **filters: Any) -> list[str]:
        """Return what is remembered of them."""
        return [each["text"] for each in self("GET", "/api/v1/memories", limit=100, **filters)["data"]]

    def past(self) -> str:
        """Return all that is stored of them."""
        return str(self("GET", "/api/v1/export"))


def move_clock(clock: Path, to: datetime) -> None:
    """Set it, as libfaketime reads it: by an offset."""
    clock.write_text(f"{(to - datetime.now(UTC)).total_seconds():+.0f}")


@pytest.fixture
def month(tmp_path: Path) -> Iterator[Month]:
    """Return the house, on the first day."""
    clock = tmp_path / "clock"
    move_clock(clock, BEGINNING)
    moved = {
        "LD_PRELOAD": str(find_faketime()),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    environ = {"BONDHU__EMBEDDER__DIMENSIONS": str(DIMENSIONS)}
    with without_leftovers():
        gateway = GatewayProcess(tmp_path, process_environ=moved, **environ)
        with EngineServer(gateway.ingress_port, echoes=True, embeds=True), gateway:
            eventually(lambda: gateway.get("/ready").status_code == 200, DEADLINE_S, "the model to be known")
            yield Month(gateway, clock, gateway.make_key("diary", tier="admin", memory=True))


@pytest.mark.slow
def test_a_month_of_two_people(month: Month) -> None:
    """Whatever they do has its effect, once, and on nobody else."""
    asha, ben = Person(month, "asha"), Person(month, "ben")
    asha("PUT", "/api/v1/profile", {"name": "Asha", "details": {"timezone": "Asia/Dhaka", "age": 30}})
    asha("PUT", "/api/v1/inbox/settings", {"enabled": True})
    ben("PUT", "/api/v1/profile", {"name": "Ben", "details": {"timezone": "America/New_York", "age": 41}})
    asha.say("My cat is called Pixel")
    ben.say("My dog is called Bruno")

    # They plan; who wants messages gets one before and one after, by day; the other gets none.
    exam = {"text": "The piano exam", "kind": "event", "event_at": (BEGINNING + timedelta(days=3)).isoformat()}
    for person in (asha, ben):
        person("POST", "/api/v1/memories", exam)
    month.until(6, every_h=1)
    inbox = asha("GET", "/api/v1/inbox")["data"]
    assert [each["text"].split(":")[0] for each in reversed(inbox)] == [
        "Tomorrow it is",
        "How did it go? You had told me",
    ]
    hours = [datetime.fromisoformat(each["created_at"]).astimezone(DHAKA).hour for each in inbox]
    assert all(8 <= hour < 22 for hour in hours), hours
    assert ben("GET", "/api/v1/inbox")["data"] == []

    # They contradict themselves: the old holds for the past alone.
    old = asha("POST", "/api/v1/memories", {"text": "Lives in Dhaka", "valid_from": BEGINNING.isoformat()})
    month.until(8)
    moved = {"text": "Lives in Berlin", "supersedes": old["id"], "valid_from": month.now().isoformat()}
    asha("POST", "/api/v1/memories", moved)
    assert "Lives in Dhaka" not in asha.texts(holding_at=month.now().isoformat())
    assert "Lives in Dhaka" in asha.texts(holding_at=(BEGINNING + timedelta(days=7)).isoformat())

    # They ask for music, and say what they never want again; it does not come again in days.
    shown = asha.cards("play some jazz songs", "music")
    never = shown[1]["title"]
    asha.say("never 2 again", "music")
    for day in (9, 10, 11):
        month.until(day)
        assert never not in [card["title"] for card in asha.cards("play some jazz songs", "music")]
    assert shown[0]["title"]

    # A playlist is proposed, made with a yes, once.
    asha.say("make me a calm playlist", "music")
    assert "playlists" not in asha("GET", "/api/v1/export")["others"]
    asha.say("yes", "music")
    asha.say("yes", "music")
    (playlist,) = asha("GET", "/api/v1/export")["others"]["playlists"]

    # A long conversation is summarised, with its messages.
    turns = [
        {
            "external_id": f"l{n}",
            "speaker": "Asha" if n % 2 == 0 else "assistant",
            "text": f"In my garden the marigolds have grown, day {n}." if n % 2 == 0 else "How lovely!",
            "said_at": (month.now() - timedelta(minutes=100 - n)).isoformat(),
        }
        for n in range(50)
    ]
    asha("POST", "/api/v1/conversations", {"external_id": "garden", "messages": turns})
    month.until(12)
    summaries = asha("GET", "/api/v1/memories", kind="summary")["data"]
    (of_garden,) = [each for each in summaries if "marigolds" in each["text"]]
    assert len(of_garden["sources"]) == 40

    # They forget: at once, with a day to think better of it; the summary goes with what it was made of.
    asha.say("Forget everything I told you about the marigolds")
    assert not [each for each in asha.texts() if "marigolds" in each]
    (wish,) = asha("GET", "/api/v1/wishes")["data"]
    assert wish["turns"] > 0
    month.until(14)
    assert asha("GET", "/api/v1/wishes")["data"] == []
    assert "marigolds have grown" not in asha.past()

    # They allow that how they write is read; every night of their own clock once, over travel and summer time.
    asha("POST", "/api/v1/personality/answers", {"answers": {"1": 5, "6": 1}})
    asha("PUT", "/api/v1/personality", {"reads_language": True})
    month.until(20)
    asha("PUT", "/api/v1/profile", {"name": "Asha", "details": {"timezone": "Europe/Berlin", "age": 30}})
    before = month.ended["asha", "personality"]
    began = month.now().astimezone(BERLIN).date()
    month.until(29)
    nights = (month.now().astimezone(BERLIN).date() - began).days
    assert month.ended["asha", "personality"] - before == nights == 9
    assert month.ended["ben", "personality"] == 0
    assert asha("GET", "/api/v1/personality")["answered"] == 2

    # They come back, and are still known; nobody is taken for the other.
    for person, question, name in ((asha, "What is my cat called?", "Pixel"), (ben, "What is my dog called?", "Bruno")):

        def is_known(person: Person = person, question: str = question, name: str = name) -> bool:
            return name in person.say(question)["content"]  # a recall that takes too long is done without

        eventually(is_known, DEADLINE_S, f"{name} to be recalled")
    assert "Bruno" not in asha.past()
    assert "Pixel" not in ben.past()

    # A month later the playlist has new songs.
    month.until(48)
    (renewed,) = asha("GET", "/api/v1/export")["others"]["playlists"]
    assert renewed["id"] == playlist["id"]
    assert [each["id"] for each in renewed["items"]] != [each["id"] for each in playlist["items"]]

    # One of them leaves; of the other everything stays.
    kept = asha.past()
    assert ben("POST", "/api/v1/forget", {})["complete"]
    assert "Bruno" not in ben.past()
    assert asha.past() == kept
    eventually(lambda: asyncio.run(_rows(month, Owner("diary", "ben"))) == 0, DEADLINE_S, "nothing of Ben's")


async def _rows(month: Month, owner: Owner) -> int:
    """Return how many rows there are of somebody's, without the ledger's."""
    from storage.memory.erasure import KEPT, count

    engine = open_engine(month.gateway.database_url)
    found = await count(engine, owner)
    await engine.dispose()
    return sum(number for table, number in found.items() if table not in KEPT)
