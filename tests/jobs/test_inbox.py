"""What the friend leaves for who is away: only when they want it, once for an occasion, seldom, and never at night."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncEngine

from agents.inbox.box import Box, load_box, save_settings
from agents.inbox.settings import InboxSettings
from jobs.config import JobsPlan
from jobs.dispatch import send_due
from jobs.handlers import handlers_of
from jobs.kinds.inbox import Webhooks, look_after
from jobs.runner import JobRun, NotOurs, run_job
from jobs.schedule import Schedule, Schedules
from storage.agents.states import SqlStates
from storage.jobs import board as job_board
from storage.jobs.queue import DueJob, claim_job, find_due
from storage.memory.memories import NewMemory, add_memory
from storage.memory.owner import Owner
from storage.memory.people import Profile, write_profile
from tests.support.gateway_process import free_port

NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
MAYA = Owner("diary", "maya")
WANTS = InboxSettings(enabled=True)
HOUR = timedelta(hours=1)
SCHEDULES = Schedules({"inbox": Schedule(every_h=1)})


class House:
    """A database in which people plan things, and a clock that a test moves."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self.now = NOW
        self.states = SqlStates(engine, lambda: self.now)

    async def wants(self, settings: InboxSettings = WANTS, owner: Owner = MAYA, **details: Any) -> None:
        """Have somebody want messages."""
        await save_settings(self.states, owner, settings)
        await write_profile(self.engine, owner, Profile(None, details), now=self.now)

    async def plans(self, text: str, at: datetime, owner: Owner = MAYA, **more: Any) -> None:
        """Have them tell what is to happen; three days before NOW."""
        await add_memory(self.engine, owner, NewMemory(text, "event", event_at=at, **more), now=NOW - 3 * DAY)

    async def look(self, webhooks: Webhooks | None = None) -> int:
        """Have a worker do what is due at this hour; the number of new messages."""
        handlers, sent = handlers_of(JobsPlan(), webhooks=webhooks), list[DueJob]()
        await send_due(self.engine, handlers, SCHEDULES, sent.append, now=self.now)
        made = [await run_job(self.engine, handlers, job.id, now=lambda: self.now, jitter=lambda: 0.0) for job in sent]
        return sum(each or 0 for each in made)

    async def box(self, owner: Owner = MAYA) -> Box:
        """Return what is in somebody's inbox."""
        return await load_box(self.states, owner)


@pytest.fixture
def house(engine: AsyncEngine) -> House:
    """Return one on each database."""
    return House(engine)


async def test_an_occasion_has_one_message_before_and_one_after(house: House) -> None:
    """However often a worker looks, one or two at once."""
    await house.wants()
    await house.plans("The job interview at the library.", NOW + timedelta(hours=20))
    assert sum(await asyncio.gather(house.look(), house.look())) == 1
    house.now += HOUR
    assert await house.look() == 0
    (message,) = (await house.box()).messages
    assert message.text.startswith("Tomorrow it is: The job interview at the library.")
    house.now = NOW + timedelta(hours=25)
    assert await house.look() == 1
    assert (await house.box()).messages[-1].text.startswith("How did it go?")
    house.now += timedelta(hours=21)
    assert await house.look() == 0


async def test_nobody_gets_one_who_did_not_ask(house: House) -> None:
    """Nor who is known to be a minor, nor in quiet hours of their own clock."""
    await house.plans("An exam.", NOW + timedelta(hours=20))
    assert await house.look() == 0
    await house.wants(age=15)
    assert await house.look() == 0
    await house.wants(timezone="America/Los_Angeles")  # where it is four in the morning, then five
    house.now += HOUR
    assert await house.look() == 0
    await house.wants(timezone="Asia/Dhaka")
    house.now += HOUR
    assert await house.look() == 1
    jobs = await job_board.list_jobs(house.engine)
    assert {(job.kind, job.state) for job in jobs} == {("inbox", "done")}


async def test_no_more_than_they_want(house: House) -> None:
    """One a day, so many a week."""
    await house.wants(but(WANTS, max_per_week=2))
    for number in range(12):
        await house.plans(f"Thing {number}.", NOW + number * timedelta(hours=12) + timedelta(hours=1))
    for _ in range(6 * 4):
        await house.look()
        house.now += timedelta(hours=6)
    box = await house.box()
    assert len(box.messages) == 2
    first, second = (datetime.fromisoformat(each.created_at) for each in box.messages)
    assert second - first >= timedelta(hours=20)


async def test_what_hurts_or_is_sensitive_is_not_named(house: House) -> None:
    """Who looks over a shoulder reads nothing of it; what is muted is not thought of at all."""
    await house.wants()
    await house.plans("The biopsy at the clinic.", NOW + timedelta(hours=5), sensitivity="sensitive")
    await house.plans("A muted thing.", NOW + timedelta(hours=5), muted=True)
    await house.look()
    house.now = NOW + timedelta(hours=21)
    await house.plans("The break-up.", NOW - 3 * DAY, painful_at=NOW - 2 * DAY)
    for _ in range(4):
        await house.look()
        house.now += timedelta(hours=21)
    texts = [each.text + each.why for each in (await house.box()).messages]
    assert len(texts) >= 2
    assert not [text for text in texts if "biopsy" in text or "break-up" in text or "muted" in text.lower()]


async def test_an_attempt_that_was_lost_stores_nothing(house: House) -> None:
    """What a worker finds out when another has its job: the message is that one's, and there is one."""
    await house.wants()
    await house.plans("An exam.", NOW + timedelta(hours=20))
    handlers, sent = handlers_of(JobsPlan()), list[DueJob]()
    await send_due(house.engine, handlers, SCHEDULES, sent.append, now=house.now)
    (job,) = sent
    until = house.now + timedelta(minutes=1)
    first = await claim_job(house.engine, job.id, now=house.now, until=until, max_attempts=5)
    assert first is not None
    house.now = until
    assert await find_due(house.engine, now=house.now, limit=9) == [job]
    assert await run_job(house.engine, handlers, job.id, now=lambda: house.now, jitter=lambda: 0.0) == 1
    with pytest.raises(NotOurs):
        await look_after(JobRun(house.engine, first, lambda: house.now), None)
    assert len((await house.box()).messages) == 1


class Receiver:
    """An application's own address."""

    def __init__(self) -> None:
        self.port = free_port()
        self.status = 503
        self.got: list[tuple[str, bytes]] = []

    async def take(self, request: web.Request) -> web.Response:
        """Keep what comes."""
        self.got.append((request.headers["x-bondhu-signature"], await request.read()))
        return web.Response(status=self.status)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Return one that listens."""
    made = Receiver()
    app = web.Application()
    app.router.add_post("/hook", made.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", made.port).start()
    yield made
    await runner.cleanup()


async def test_a_message_is_handed_on_signed_until_it_is_taken(house: House, receiver: Receiver) -> None:
    """And not again; of who did not want that, nothing is."""
    webhooks = Webhooks({"diary": f"http://127.0.0.1:{receiver.port}/hook"}, "shared")
    quiet = Owner("diary", "quiet")
    await house.wants(but(WANTS, webhook=True))
    await house.wants(owner=quiet)
    for owner in (MAYA, quiet):
        await house.plans("An exam.", NOW + timedelta(hours=20), owner)
    assert await house.look(webhooks) == 2
    receiver.status = 204
    for _ in range(2):
        house.now += HOUR
        await house.look(webhooks)
    assert len(receiver.got) == 2
    signature, body = receiver.got[-1]
    at, made = (part.split("=")[1] for part in signature.split(","))
    assert made == hmac.new(b"shared", f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    assert json.loads(body)["user"] == "maya"
    assert len({json.loads(each)["message"]["id"] for _, each in receiver.got}) == 1


def but(settings: InboxSettings, **changes: Any) -> InboxSettings:
    """Return them changed."""
    return InboxSettings.model_validate(settings.model_dump() | changes)
