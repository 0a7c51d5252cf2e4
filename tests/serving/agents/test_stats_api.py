"""What was used, what was prepared, and what can be asked for, over HTTP."""

import asyncio
from datetime import UTC, datetime
from itertools import count

from jobs.config import JobsPlan
from jobs.handlers import handlers_of
from jobs.runner import run_job
from storage.database import open_engine
from tests.serving.agents.test_agents_and_people import Person, person
from tests.support.gateway_process import GatewayProcess
from tests.support.polling import eventually

__all__ = ["person"]


def do(gateway: GatewayProcess, job: str) -> None:
    """Do a job as a worker does."""

    async def run() -> None:
        engine = open_engine(gateway.database_url)
        now, handlers = datetime.now(UTC), handlers_of(JobsPlan())
        await run_job(engine, handlers, job, now=lambda: now, jitter=lambda: 0.0)
        await engine.dispose()

    asyncio.run(run())


def test_a_persons_use_is_counted_and_moods_only_with_consent(
    person: Person, gateway: GatewayProcess, key: str
) -> None:
    """By agent and day; moods only with consent; another's is another's; forgotten with the person."""
    person.say("a riddle please", "bondhu/games")
    person.ask("POST", "/api/v1/memories", {"text": "Is sad about the move", "kind": "feeling"})

    def counted() -> bool:
        person.ask("PUT", "/api/v1/stats/moods", {"allowed": False})  # which has it counted anew
        return bool(person.ask("GET", "/api/v1/stats").json()["requests"] == 1)

    eventually(counted, 30, "the ledger to be written", 0.2)
    body = person.ask("GET", "/api/v1/stats").json()
    assert (body["agents"], body["conversations"], body["active_days"]) == ({"bondhu/games": 1}, 1, 1)
    assert body["minutes"] >= 1
    assert body["moods"] is None
    assert person.ask("PUT", "/api/v1/stats/moods", {"allowed": True}).status_code == 200
    assert person.ask("GET", "/api/v1/stats").json()["moods"] == {"sad": 1}
    stranger = Person(gateway, key, "a stranger to statistics")
    assert stranger.ask("GET", "/api/v1/stats").json()["requests"] == 0
    receipt = person.ask("POST", "/api/v1/forget", {}).json()
    assert receipt["complete"] is True
    assert receipt["remaining"]["documents"] == 0
    assert person.ask("GET", "/api/v1/stats").json()["moods"] is None


def test_an_applications_use_is_counted_by_a_job(gateway: GatewayProcess, engine: object) -> None:
    """In numbers that name nobody."""
    key = gateway.make_key("counted-app", tier="admin")
    for name in ("x", "y"):
        Person(gateway, key, name).say("hi", "bondhu/games")
    operator = Person(gateway, key, "")

    def counted() -> bool:
        do(gateway, operator.ask("POST", "/api/v1/jobs", {"kind": "stats"}).json()["id"])
        found = operator.ask("GET", f"/api/v1/stats?of=app&days={next(days)}").json()
        return bool(found["requests"] == 2 and found["people"] == 2)

    days = count(1)  # another number each time: what was told before is kept for a while
    eventually(counted, 30, "both requests to be counted", 0.2)
    body = operator.ask("GET", "/api/v1/stats?of=app&days=400").json()
    assert body["agents"] == {"bondhu/games": 2}
    assert body["retention"] == {"after_1_day": None, "after_7_days": None, "after_30_days": None}


def test_what_a_job_prepared_is_shown(person: Person, gateway: GatewayProcess) -> None:
    """Channels, where no feed is fetched: each with why."""
    assert person.ask("GET", "/api/v1/recommendations").json() == {"object": "list", "prepared_at": None, "data": []}
    person.say("something about space", "bondhu/video")
    job = person.ask("POST", "/api/v1/jobs", {"kind": "videos", "params": {"topics": ["space"]}}).json()["id"]
    do(gateway, job)
    assert person.ask("GET", f"/api/v1/jobs/{job}").json()["state"] == "done"
    person.ask("PUT", "/api/v1/stats/moods", {"allowed": False})
    body = person.ask("GET", "/api/v1/recommendations").json()
    assert len(body["data"]) >= 3
    assert all("space" in each["why"] and each["url"].startswith("https://www.youtube.com/") for each in body["data"])


def test_genres_are_listed(person: Person) -> None:
    """Of music, and topics of videos."""
    body = person.ask("GET", "/api/v1/genres").json()
    assert "jazz" in body["music"]
    assert "space" in body["video"]
