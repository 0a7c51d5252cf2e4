"""A real gateway that is killed with an agent's run in flight, and the person whose run it was."""

import asyncio
import os
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import select

from serving.limits.redis_store import LimitStore
from serving.resilience.redis import GuardedRedis, open_redis
from storage.agents.states import SqlStates
from storage.database import open_engine
from storage.memory.owner import Owner
from storage.tables import Request
from tests.support.gateway_process import DEADLINE_S, ROOT, GatewayProcess, command_of
from tests.support.polling import eventually
from tests.support.workers.crash_hook import ARMED

APP = "diary"
Json = dict[str, Any]


def prepare_process(folder: Path) -> dict[str, str]:
    """Return the environment of a gateway that can be armed by the file `folder`/armed (`crash_hook`)."""
    site = folder / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text("from tests.support.workers.crash_hook import arm\n\narm()\n")
    return {"PYTHONPATH": os.pathsep.join([str(site), str(ROOT)]), ARMED: str(folder / "armed")}


class Visitor:
    """Somebody who talks to an agent, and says again what was not answered, as clients do.

    Attributes:
        unanswered: how many of their requests had no answer.

    """

    def __init__(self, gateway: GatewayProcess, key: str, name: str) -> None:
        self._gateway = gateway
        self._headers = {"authorization": f"Bearer {key}", "x-bondhu-user": name, "x-bondhu-memory": "on"}
        self._history: list[Json] = []
        self._requests = 0
        self.name = name
        self.unanswered = 0

    @property
    def owner(self) -> Owner:
        """Whose rows are theirs."""
        return Owner(APP, self.name)

    @property
    def next_id(self) -> str:
        """The id of their next request."""
        return f"{self.name}-{self._requests + 1}"

    def say(self, agent: str, text: str) -> str | None:
        """Return the answer; None: there is none, and what was said may be said again."""
        messages = [*self._history, {"role": "user", "content": text}]
        body = {"model": f"bondhu/{agent}", "messages": messages}
        headers = self._headers | {"x-request-id": self.next_id}
        self._requests += 1
        url = f"{self._gateway.url}/v1/chat/completions"
        try:
            answer = httpx.post(url, headers=headers, json=body, timeout=DEADLINE_S)
        except httpx.TransportError:
            self.unanswered += 1
            return None
        assert answer.status_code == 200, answer.text
        said = str(answer.json()["choices"][0]["message"]["content"])
        self._history = [*messages, {"role": "assistant", "content": said}]
        return said

    def export(self) -> Json:
        """Return all that is stored of them."""
        answer = httpx.get(f"{self._gateway.url}/api/v1/export", headers=self._headers, timeout=DEADLINE_S)
        document: Json = answer.raise_for_status().json()
        return document

    def turns(self) -> list[tuple[str, str]]:
        """Return who said what, in order."""
        messages = [turn for each in self.export()["conversations"] for turn in each["messages"]]
        return [(turn["speaker"], turn["text"]) for turn in messages]

    def counts(self, number: int) -> bool:
        """Whether so many turns of theirs are stored; False as well when nobody answers."""
        try:
            return len(self.turns()) == number
        except httpx.TransportError:
            return False

    def has_turns(self, number: int) -> None:
        """Wait until so many turns of theirs are stored: a reply is when its client has it."""
        found: list[tuple[str, str]] = []

        def are_there() -> bool:
            found[:] = self.turns()
            return len(found) == number

        try:
            eventually(are_there, DEADLINE_S, f"{number} turns to be stored")
        except AssertionError as failure:
            failure.add_note(f"there are {found}")
            raise

    def rows(self) -> Counter[str]:
        """Return how their requests ended, once each has its row in the ledger, and none has two."""
        found = eventually(lambda: asyncio.run(self._rows()), DEADLINE_S, "a row of each request")
        return Counter(outcome for _, outcome in found)

    async def _rows(self) -> list[tuple[str, str]]:
        """Return id and outcome of their requests to agents; empty until each has a row."""
        ids = [f"{self.name}-{number}" for number in range(1, self._requests + 1)]
        engine = open_engine(self._gateway.database_url)
        query = select(Request.request_id, Request.outcome).where(Request.request_id.in_(ids))
        async with engine.connect() as connection:
            found = [(id_, outcome) for id_, outcome in await connection.execute(query)]
        await engine.dispose()
        if {id_ for id_, _ in found} != set(ids):
            return []
        assert len(found) == len(ids), "a row of each"
        return found


class ArmedGateway:
    """The gateway, a key of its application, and the file that arms it."""

    key: str

    def __init__(self, process: GatewayProcess, folder: Path) -> None:
        self.process = process
        self._armed = folder / "armed"

    def arm(self, step: int, request: str) -> None:
        """Have it die at that step of the request with this id."""
        self._armed.write_text(f"{step} {request}")

    @property
    def died_at(self) -> str:
        """What it was about to do."""
        return self._armed.with_suffix(".at").read_text()

    def has_died(self) -> bool:
        """Whether it has."""
        return not command_of(self.process.pid)

    def come_back(self, visitor: Visitor) -> None:
        """Start it once more, without that, when nobody else can still be at what it did for this visitor."""
        self._armed.unlink()
        self.process.kill()
        asyncio.run(end_leases(self.process, visitor.owner))
        self.process.start()

    def disarm(self) -> None:
        """Let it live."""
        self._armed.unlink()


async def end_leases(process: GatewayProcess, owner: Owner) -> None:
    """End the time for which a run held each proposal of this person, as a minute later."""
    engine = open_engine(process.database_url)
    states = SqlStates(engine, lambda: datetime.now(UTC))
    for key, value in await states.of_person(owner):
        held = [each for each in value.get("entries", {}).values() if each.get("until")]
        for entry in held:
            entry["until"] = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
        kept = await states.load(key)
        if held and kept is not None:
            assert await states.save(key, value, expected=kept.version)
    await engine.dispose()


def has_no_open_reservation(process: GatewayProcess) -> bool:
    """Whether all that was reserved was settled or refunded."""

    async def totals() -> dict[str, int]:
        redis = open_redis(process.redis.url)
        try:
            return await LimitStore(GuardedRedis(redis, timeout_s=5.0), window_s=60, hold_s=60).totals(APP)
        finally:
            await redis.aclose()

    found = asyncio.run(totals())
    return not found["open_requests"] and all(
        found[f"reserved_{unit}"] == found[f"settled_{unit}"] + found[f"refunded_{unit}"]
        for unit in ("requests", "tokens")
    )
