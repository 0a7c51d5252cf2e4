"""The LoRA adapters of one replica: what its engine has loaded, and what it should have.

What it should have is the deployment's `user_config`, which Ray Serve passes to every replica at its start and at each
change. A new revision is loaded beside the old one, which is unloaded once no gateway can know it any more. An adapter
that the engine refuses is not reported, so that no request is sent for it. This module does not know Ray.
"""

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict

from models.adapters.revision import UNKNOWN, adapter_revision
from models.engine_process import CommandRefused, EngineProcess

log = logging.getLogger("ray.serve")

UNLOAD_AFTER_S = 15.0  # several polls of a gateway, and the way of a request from its choice to the engine


class WantedAdapter(TypedDict):
    """One adapter that a replica should serve; a revision of "" is read from the files."""

    path: str
    revision: str


class ReplicaAdapters:
    """Loads and unloads adapters.

    Args:
        at_start: those that the engine loads itself at its start, by id: their folders.

    Attributes:
        revisions: of what the engine serves, by id.
        names: their names in requests to the engine, where these differ.
        problems: why the engine refused one, by id.

    """

    def __init__(self, at_start: Mapping[str, str]) -> None:
        self._at_start = {name: adapter_revision(Path(path)) for name, path in at_start.items()}
        self._wanted: Mapping[str, WantedAdapter] = {}
        self._lock = asyncio.Lock()
        self._unloading: set[asyncio.Task[None]] = set()
        self.revisions: dict[str, str] = {}
        self.names: dict[str, str] = {}
        self.problems: dict[str, str] = {}

    async def want(self, wanted: Mapping[str, WantedAdapter], server: EngineProcess | None) -> None:
        """Change what the engine should have, and make it so; `server` is None while it does not run."""
        self._wanted = wanted
        if server is not None:
            await self.settle(server)

    def forget(self) -> None:
        """The engine's process has ended, and with it what it had loaded."""
        self.revisions, self.names, self.problems = {}, {}, {}

    async def settle(self, server: EngineProcess) -> None:
        """Load what is missing; unload later what is no longer wanted."""
        async with self._lock:
            settled: Mapping[str, WantedAdapter] | None = None
            while settled is not self._wanted:  # it may change while something loads
                settled = self._wanted
                await self._settle(server, settled)

    async def _settle(self, server: EngineProcess, wanted: Mapping[str, WantedAdapter]) -> None:
        loaded, names, problems = dict(self._at_start), dict[str, str](), dict[str, str]()
        for adapter, each in wanted.items():
            revision, name = each["revision"], self.names.get(adapter)
            try:
                if name is None or not revision or self.revisions.get(adapter) != revision:
                    revision = await self._revision_on_disk(each)
                    name = await server.load_adapter(adapter, revision, each["path"])
            except CommandRefused as problem:
                log.warning("adapter %s was not loaded: %s", adapter, problem)
                problems[adapter] = str(problem)
                continue
            loaded[adapter], names[adapter] = revision, name
        stale = set(self.names.values()) - set(names.values())
        self.revisions, self.names, self.problems = loaded, names, problems
        for old in stale:
            task = asyncio.create_task(self._unload(old, server))
            self._unloading.add(task)
            task.add_done_callback(self._unloading.discard)

    async def _revision_on_disk(self, wanted: WantedAdapter) -> str:
        """The revision of the files; raises CommandRefused if another one is wanted, as after a roll-back."""
        found = await asyncio.to_thread(adapter_revision, Path(wanted["path"]))
        if wanted["revision"] and found not in (UNKNOWN, wanted["revision"]):
            raise CommandRefused(f"{wanted['path']} has the revision {found} now, not {wanted['revision']}")
        return wanted["revision"] or found

    async def _unload(self, name: str, server: EngineProcess) -> None:
        await asyncio.sleep(UNLOAD_AFTER_S)
        async with self._lock:
            if name in self.names.values():
                return  # it was wanted again meanwhile
            try:
                await server.unload_adapter(name)
            except CommandRefused as problem:
                log.info("adapter %s was not unloaded: %s", name, problem)
