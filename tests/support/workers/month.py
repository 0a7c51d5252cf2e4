"""A house with a clock of its own: a real gateway, worker, broker and database, and people who live through it.

The clock of gateway and worker is moved by libfaketime. After each step the worker's beat has looked for jobs twice, as
the first look may have begun before the step, and no due job is left: then the next step comes.
"""

import asyncio
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from jobs.dispatch import SEND_AGAIN
from storage.database import open_engine
from storage.jobs import board
from tests.support.gateway_process import GatewayProcess
from tests.support.polling import eventually
from tests.support.servers.engine import EngineServer
from tests.support.workers.worker_process import PATIENT_S, WorkerProcess

BEGINNING = datetime(2027, 3, 2, 8, 0, tzinfo=UTC)  # a Tuesday; Berlin's clocks change on the 28th
Json = dict[str, Any]


class Month:
    """The house, and what time it is there."""

    def __init__(
        self, gateway: GatewayProcess, engine: EngineServer, worker: WorkerProcess, clock: Path, key: str
    ) -> None:
        self.gateway = gateway
        self.engine = engine
        self.worker = worker
        self.key = key
        self._clock = clock
        self._ended: dict[str, tuple[str, str]] = {}

    def now(self) -> datetime:
        """Return the time in the house."""
        return datetime.now(UTC) + timedelta(seconds=int(self._clock.read_text()))

    def until(self, day: float, every_h: float = 24) -> None:
        """Let time go by until this day from the beginning, in steps of so many hours; the worker does what is due."""
        end = BEGINNING + timedelta(days=day)
        while (now := self.now()) < end:
            move_clock(self._clock, min(now + timedelta(hours=every_h), end))
            self.settle()

    def settle(self) -> None:
        """Wait until the worker has done all that is due."""
        before = self.worker.passes()
        eventually(lambda: self.worker.passes() >= before + 2, PATIENT_S, "the beat to look for jobs")
        eventually(lambda: asyncio.run(self._is_idle()), PATIENT_S, "the jobs to be done")

    async def _is_idle(self) -> bool:
        """Whether nothing due is left; what was tried in vain fails the test."""
        engine = open_engine(self.gateway.database_url)
        try:
            jobs = await board.list_jobs(engine)
        finally:
            await engine.dispose()
        assert not [job for job in jobs if job.state == "dead" or job.error], jobs
        self._ended |= {job.id: (job.end_user, job.kind) for job in jobs if job.state == "done"}
        soon = self.now() + SEND_AGAIN + timedelta(minutes=1)  # one that was sent is due again after that time
        return not [job for job in jobs if job.state in ("queued", "running") and job.due_at <= soon]

    @property
    def ended(self) -> Counter[tuple[str, str]]:
        """How many jobs were done, by whose they are and their kind."""
        return Counter(self._ended.values())


class Person:
    """Somebody who lives through it."""

    def __init__(self, month: Month, name: str) -> None:
        self.month = month
        self.name = name

    def __call__(self, method: str, path: str, body: Any = None, **params: Any) -> Json:
        """Ask; what is refused fails the test."""
        headers = {"authorization": f"Bearer {self.month.key}", "x-bondhu-user": self.name, "x-bondhu-memory": "on"}
        url = self.month.gateway.url + path
        answer = httpx.request(method, url, headers=headers, json=body, params=params, timeout=PATIENT_S)
        assert answer.status_code < 300, (path, answer.text)
        document: Json = answer.json() if answer.content else {}
        return document

    def say(self, text: str, agent: str = "chat", **fields: Any) -> Json:
        """Say something to an agent; return its message."""
        body = {"model": f"bondhu/{agent}", "messages": [{"role": "user", "content": text}], **fields}
        message: Json = self("POST", "/v1/chat/completions", body)["choices"][0]["message"]
        return message

    def told(self, text: str) -> str:
        """Say something to the friend; return all that their model was told with it."""
        said = self.say(text)["content"]
        assert said.strip(), "the friend says something"
        bodies = [body for body in reversed(self.month.engine.requests) if text in str(body["messages"][-1])]
        return json.dumps(bodies[0]["messages"], ensure_ascii=False)

    def cards(self, text: str, agent: str) -> list[Json]:
        """Say something; return the cards that come of it."""
        return [each for each in self.say(text, agent)["bondhu"]["events"] if each["type"] == "card"]

    def texts(self, **filters: Any) -> list[str]:
        """Return what is remembered of them."""
        return [each["text"] for each in self("GET", "/api/v1/memories", limit=100, **filters)["data"]]

    def past(self) -> str:
        """Return all that is stored of them."""
        return str(self("GET", "/api/v1/export"))

    def kept(self, agent: str, name: str) -> Json:
        """Return a document that an agent keeps of them; empty: there is none."""
        stored = self("GET", "/api/v1/export")["agents"]
        return next((each["value"] for each in stored if (each["agent"], each["name"]) == (agent, name)), {})


def move_clock(clock: Path, to: datetime) -> None:
    """Set it, as libfaketime reads it: by an offset. At once: half a file would be the real time."""
    new = clock.with_suffix(".new")
    new.write_text(f"{(to - datetime.now(UTC)).total_seconds():+.0f}")
    new.replace(clock)
