"""A real worker and its real broker, which are killed again and again while there are jobs of every kind to do."""

import asyncio
import random
import time
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from jobs.dispatch import SEND_AGAIN
from storage.agents.states import SqlStates, StateKey
from storage.database import open_engine
from storage.jobs import board
from storage.jobs import queue as jobs
from storage.media.tables import PlaylistChange
from storage.memory.memories import MemoryFilter, list_memories
from tests.jobs.steps import ANN, BEN, KINDS, prepare
from tests.support.gateway_process import GatewayProcess
from tests.support.polling import eventually
from tests.support.workers.month import move_clock
from tests.support.workers.worker_process import PATIENT_S, WorkerProcess

PAUSE = timedelta(minutes=5)  # longer than the lease of a job that its worker died over
SERVICE_KINDS = ("expire_videos", "stats", "retention")


class KilledHouse:
    """Two people with jobs of every kind, and what came of them."""

    def __init__(self, gateway: GatewayProcess, folder: Path, clock: Path, now: datetime, moved: Any) -> None:
        self.gateway = gateway
        self.worker = WorkerProcess(gateway, folder, moved)
        self._clock = clock
        self._now = now
        self.kills = 0

    def begin(self) -> int:
        """Give them their past, and add all jobs; returns how many."""
        return asyncio.run(self._begin())

    async def _begin(self) -> int:
        engine = open_engine(self.gateway.database_url)
        await prepare(engine)
        added = [
            await jobs.add_job(engine, owner, kind, now=self._now, slot=self._now.date().isoformat())
            for kind in KINDS
            for owner in ([jobs.SERVICE] if kind in SERVICE_KINDS else [ANN, BEN])
        ]
        await engine.dispose()
        return len([id_ for id_ in added if id_ is not None])

    def kill_often(self, rng: random.Random, what: str, times: int) -> None:
        """Start the worker, and kill it, or Redis beneath it, after a moment; `times` over, or until all is done."""
        for _ in range(times):
            self.worker.launch()
            eventually(lambda: "ready." in self.worker.log, PATIENT_S, "the worker to be ready")
            time.sleep(rng.uniform(0.2, 2.5))
            if what in ("redis", "both"):
                self.gateway.redis.kill()
                self.gateway.redis.start()
                time.sleep(rng.uniform(0.0, 1.0))
            if what in ("worker", "both"):
                self.worker.kill()
            else:
                self.worker.stop()
            self.kills += 1
            self._now += PAUSE
            move_clock(self._clock, self._now)

    def finish(self) -> None:
        """Let a worker do what is left, when what a dead broker lost is sent again."""
        self._now += SEND_AGAIN
        move_clock(self._clock, self._now)
        with self.worker:
            eventually(lambda: not asyncio.run(self._left()), PATIENT_S, "all jobs to be done", 0.5)

    async def _left(self) -> list[board.JobRecord]:
        engine = open_engine(self.gateway.database_url)
        found = await board.list_jobs(engine)
        await engine.dispose()
        assert not [each for each in found if each.state == "dead"], found
        return [each for each in found if each.state != "done"]

    def outcome(self) -> dict[str, Any]:
        """Return what was done, each thing with how often."""
        return asyncio.run(self._outcome())

    async def _outcome(self) -> dict[str, Any]:
        engine = open_engine(self.gateway.database_url)
        states = SqlStates(engine, lambda: self._now)
        done = Counter((each.end_user, each.kind, each.state) for each in await board.list_jobs(engine))
        outcome: dict[str, Any] = {"jobs": dict(done)}
        for owner in (ANN, BEN):
            box = await states.load(StateKey(owner, "inbox", "", "messages"))
            prepared = await states.load(StateKey(owner, "video", "", "prepared"))
            summaries = await list_memories(engine, owner, MemoryFilter(kinds=("summary",)), limit=50)
            async with engine.connect() as connection:
                changes = select(func.count()).select_from(PlaylistChange).where(owner.has(PlaylistChange))
                outcome[owner.user] = {
                    "messages": [each["id"] for each in box.value["messages"]] if box else [],
                    "prepared": len(prepared.value["items"]) if prepared else 0,
                    "summaries": len(summaries),
                    "playlist changes": (await connection.execute(changes)).scalar_one(),
                }
        await engine.dispose()
        return outcome
