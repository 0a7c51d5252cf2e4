"""What is due by the clock: in each person's zone, once a slot, over a change to and from summer time."""

from collections import Counter
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from jobs.config import read_jobs
from jobs.schedule import Schedule, Schedules, add_scheduled, slot_of
from serving.config.schema import JobsSettings
from storage.agents.states import SqlStates, StateKey
from storage.jobs import board as job_board
from storage.jobs import queue as jobs
from storage.memory.owner import Owner
from storage.memory.people import Profile, write_profile

BERLIN, KOLKATA = ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Kolkata")
ANN, BEN = Owner("app", "ann"), Owner("app", "ben")


@pytest.mark.parametrize(
    ("first", "at", "expected"),
    [
        # 02:30 does not exist in Berlin on 2026-03-29: due at 03:00, which is 01:00 UTC
        (datetime(2026, 3, 28, tzinfo=UTC), time(2, 30), {"Berlin": ["28T01:30", "29T01:00", "30T00:30"]}),
        # 02:30 comes twice on 2026-10-25: due the first time
        (datetime(2026, 10, 24, tzinfo=UTC), time(2, 30), {"Berlin": ["24T00:30", "25T00:30", "26T01:30"]}),
    ],
    ids=["to-summer-time", "to-winter-time"],
)
async def test_a_day_has_one_slot_in_each_zone(
    engine: AsyncEngine, first: datetime, at: time, expected: dict[str, list[str]]
) -> None:
    """Of a person in Berlin and one in Kolkata, minute by minute over three days."""
    for owner, zone in ((ANN, BERLIN), (BEN, KOLKATA)):
        await write_profile(engine, owner, Profile(None, {"timezone": str(zone)}), now=first)
        await SqlStates(engine, lambda: first).save(StateKey(owner, "video", "c", "shown"), {"items": []}, expected=0)
    schedules, added = Schedules({"videos": Schedule(at)}), dict[str, list[str]]()
    for minutes in range(0, 3 * 24 * 60, 15):
        now = first + timedelta(minutes=minutes)
        for id_ in await add_scheduled(engine, schedules, ["videos"], now=now):
            job = await job_board.find_job(engine, id_)
            assert job is not None
            added.setdefault(job.end_user, []).append(f"{now:%dT%H:%M}")
            await job_board.cancel_job(engine, id_, now=now)
    berlin = added["ann"]
    # Berlin is ahead of UTC: the slot of the first local day may have begun before the first look at it
    assert berlin[-3:] == expected["Berlin"]
    assert Counter(len(times) for times in added.values()) == Counter([3, 4])
    assert [each[3:] for each in added["ben"][1:]] == ["21:00"] * 3


def test_a_traveller_has_no_slot_twice() -> None:
    """West and back east within a day: the slot is the local day, and a later one is greater."""
    schedule, now = Schedule(time(4)), datetime(2026, 5, 2, 2, 0, tzinfo=UTC)
    east, west = ZoneInfo("Asia/Tokyo"), ZoneInfo("America/Los_Angeles")
    slots = [slot_of(schedule, now, zone) for zone in (east, west, east)]
    assert slots == ["2026-05-02", "2026-05-01", "2026-05-02"]


def test_weekly_and_hourly_slots() -> None:
    """A week's slot begins on its day and lasts until the week ends; hours are UTC's."""
    weekly = Schedule(time(5, 30), weekday=2)  # Wednesday
    monday = datetime(2026, 3, 2, 12, tzinfo=UTC)
    days = [slot_of(weekly, monday + timedelta(days=number), UTC) for number in range(8)]
    assert days == [None, None, *["2026-03-04"] * 5, None]
    six = Schedule(every_h=6)
    hours = [slot_of(six, monday + timedelta(hours=number), UTC) for number in (-1, 0, 5, 6)]
    assert hours == ["2026-03-02T06", "2026-03-02T12", "2026-03-02T12", "2026-03-02T18"]


async def test_the_service_has_its_own_zone(engine: AsyncEngine) -> None:
    """One job, for any owner."""
    schedules = Schedules({"stats": Schedule(time(4))}, KOLKATA)
    early, late = datetime(2026, 3, 2, 22, 0, tzinfo=UTC), datetime(2026, 3, 2, 22, 30, tzinfo=UTC)
    assert await add_scheduled(engine, schedules, ["stats"], now=early) == []
    assert len(await add_scheduled(engine, schedules, ["stats"], now=late)) == 1
    assert await add_scheduled(engine, schedules, ["stats"], now=late) == []
    (job,) = await job_board.list_jobs(engine)
    assert Owner(job.app, job.end_user) == jobs.SERVICE


def test_the_worker_reads_what_the_settings_say() -> None:
    """As the configuration has it by default; what is switched off is not there."""
    settings = JobsSettings.model_validate({"zone": "Asia/Dhaka", "schedules": {"stats": {"enabled": False}}})
    assert dict(read_jobs({"BONDHU_JOBS": settings.model_dump_json()}).schedules.by_kind) == {}
    plan = read_jobs({"BONDHU_JOBS": JobsSettings().model_dump_json()})
    assert plan.schedules.by_kind["videos"] == Schedule(time(5))
    assert plan.schedules.by_kind["playlists"] == Schedule(time(5, 30), weekday=0)
    assert plan.schedules.by_kind["stats"].every_h == 1
    with pytest.raises(ValueError, match="must be one of"):
        JobsSettings.model_validate({"schedules": {"fly": {}}})
