"""The engine registry of a gateway worker: polled from the directory, verified by generations.

Each worker polls the directory, probes every replica periodically with a one-token generation (unless a real request
has just succeeded), and reacts to refused connections at once. The last known state stays in use while the directory is
unavailable. This module does not know Ray, nor what a request contains.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

import aiohttp

from models.serve_ingress import CLUSTER_HEADER
from serving.engines import prefix_salt
from serving.engines.wire import DirectoryAnswer, ReplicaReport, Routing, label, serves
from serving.errors import EngineUnavailable

log = logging.getLogger(__name__)

RETRY_PROBE_S = 0.5  # interval of probing a replica that should work but failed


@dataclass(eq=False)
class Replica:
    """One boot of an engine, with this worker's view of its health."""

    report: ReplicaReport
    outstanding: int = 0
    proven_at: float | None = None  # monotonic seconds of the last successful generation
    tried_at: float = float("-inf")
    problem: str = "it has not generated a token yet"

    def label(self, model: str) -> str:
        """The value of `x-bondhu-model` for its responses as `model`."""
        return label(self.report, model)

    def proven(self, now: float) -> None:
        """Note a successful generation."""
        self.proven_at, self.problem = now, ""

    def broken(self, problem: str) -> None:
        """Note a failed connection: the replica is not used until a probe succeeds."""
        self.proven_at, self.problem = None, problem


@dataclass(frozen=True)
class ModelState:
    """Whether a model is ready, and why not."""

    ready: bool
    state: str
    reason: str | None
    replicas: int
    last_generation_age_s: float | None


class EngineRegistry:
    """Knows the engines and chooses one for a request.

    Args:
        directory_url: URL of the directory.
        cluster_key: the key of the private ingress.
        session: the HTTP client.
        poll_s: interval of polling the directory.
        probe_interval_s: seconds without a successful generation after which a replica is probed.
        ready_within_s: maximum age of a ready replica's last successful generation.
        retry_after_s: Retry-After of errors while no replica is ready.
        routing: the routing table to use until the directory has been polled.
        clock: monotonic seconds.

    """

    def __init__(
        self,
        *,
        directory_url: str,
        cluster_key: str,
        session: aiohttp.ClientSession,
        poll_s: float,
        probe_interval_s: float,
        ready_within_s: float,
        retry_after_s: int,
        routing: Routing,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory_url = directory_url
        self._headers = {CLUSTER_HEADER: cluster_key}
        self._session = session
        self._poll_s = poll_s
        self._probe_interval_s = probe_interval_s
        self._ready_within_s = ready_within_s
        self._retry_after_s = retry_after_s
        self._clock = clock
        self.routing = routing
        self.directory_problem: str | None = "it has not been reached yet"
        self._active = routing["active"]
        self._replicas: dict[tuple[str, int], Replica] = {}
        self._probes: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Poll and probe until cancelled."""
        try:
            while True:
                await self._poll()
                self._probe_where_due()
                self._follow_active()
                await asyncio.sleep(min(self._poll_s, RETRY_PROBE_S) if self._anything_unproven() else self._poll_s)
        finally:
            for probe in self._probes:
                probe.cancel()

    @property
    def active(self) -> str:
        """The model that the alias means; "" as long as none is known."""
        return self._active

    def choose(self, model: str, avoid: Collection[Replica] = ()) -> Replica:
        """The ready replica of `model` with the fewest requests of this worker; raises EngineUnavailable.

        Replicas in `avoid` are only chosen if there is no other.
        """
        usable = self._usable(model)
        if avoid:
            usable = [replica for replica in usable if replica not in avoid] or usable
        if not usable:
            state = self.state(model)
            raise EngineUnavailable(
                f"The model '{model}' is not available right now ({state.state}: {state.reason}).",
                retry_after_s=self._retry_after_s,
            )
        return usable[0] if len(usable) == 1 else min(usable, key=lambda replica: replica.outstanding)

    def state(self, model: str) -> ModelState:
        """Whether `model` is ready, and if not, why."""
        replicas = [replica for replica in self._replicas.values() if serves(replica.report, model)]
        usable = self._usable(model)
        if usable:
            newest = max(replica.proven_at or 0.0 for replica in usable)
            return ModelState(True, "ready", None, len(usable), round(self._clock() - newest, 3))
        if not replicas:
            reason = "no replica has reported"
            if self.directory_problem:
                reason += f"; the directory cannot be reached: {self.directory_problem}"
            return ModelState(False, "absent", reason, 0, None)
        latest = replicas[-1]
        if latest.report["state"] == "ready":
            return ModelState(False, "unreachable", latest.problem, 0, None)
        return ModelState(False, latest.report["state"], latest.report["reason"], 0, None)

    def replicas(self, model: str) -> int:
        """The number of replicas that can answer for `model` now."""
        return len(self._usable(model))

    def fingerprint(self, model: str) -> str:
        """The fingerprint of the configuration that new requests for `model` go to; "" if it is not served."""
        return self.routing["models"].get(model, "")

    def labels(self, model: str) -> set[tuple[str, str]]:
        """(fingerprint, label) of each replica that serves `model` or is draining."""
        replicas = [replica for replica in self._replicas.values() if serves(replica.report, model)]
        up = [replica for replica in replicas if replica.report["state"] in ("ready", "draining")]
        return {(replica.report["fingerprint"], replica.label(model)) for replica in up}

    def reports(self) -> list[ReplicaReport]:
        """The last reports of the replicas."""
        return [replica.report for replica in self._replicas.values()]

    def _usable(self, model: str) -> list[Replica]:
        oldest = self._clock() - self._ready_within_s
        alive = [
            replica
            for replica in self._replicas.values()
            if replica.proven_at is not None and replica.proven_at > oldest and serves(replica.report, model)
        ]
        fingerprint = self.routing["models"].get(model)
        current = [replica for replica in alive if replica.report["fingerprint"] == fingerprint]
        serving = [replica for replica in current or alive if replica.report["state"] == "ready"]
        return serving or current or alive

    def _follow_active(self) -> None:
        """Point the alias to the active model once it is ready; until then it points to the previous one."""
        active = self.routing["active"]
        if active != self._active and (not self._active or self._usable(active) or not self._usable(self._active)):
            self._active = active

    async def _poll(self) -> None:
        try:
            timeout = aiohttp.ClientTimeout(total=2.0)
            async with self._session.get(self._directory_url, headers=self._headers, timeout=timeout) as response:
                if response.status != 200:
                    self.directory_problem = f"it answered {response.status}"
                    return
                directory: DirectoryAnswer = await response.json()
        except (aiohttp.ClientError, TimeoutError, OSError) as problem:
            self.directory_problem = type(problem).__name__
            return
        self.directory_problem = None
        if directory["routing"]["models"]:
            self.routing = directory["routing"]
        if not directory["replicas"] and any(replica.proven_at for replica in self._replicas.values()):
            return  # a directory that has just restarted knows no replicas yet
        known = self._replicas
        self._replicas = {}
        for report in directory["replicas"]:
            boot = (report["replica_id"], report["epoch"])
            replica = known.get(boot) or Replica(report)
            replica.report = report
            self._replicas[boot] = replica

    def _anything_unproven(self) -> bool:
        return any(replica.proven_at is None for replica in self._replicas.values())

    def _probe_where_due(self) -> None:
        now = self._clock()
        for replica in self._replicas.values():
            wait = RETRY_PROBE_S if replica.proven_at is None else self._probe_interval_s
            last = max(replica.tried_at, replica.proven_at or float("-inf"))
            if replica.report["state"] in ("ready", "draining") and now - last >= wait:
                replica.tried_at = now
                probe = asyncio.create_task(self._probe(replica))
                self._probes.add(probe)
                probe.add_done_callback(self._probes.discard)

    async def _probe(self, replica: Replica) -> None:
        report = replica.report
        body = {"model": report["model"], "prompt": "Hi", "max_tokens": 1, "cache_salt": prefix_salt.OWN}
        headers = {"authorization": f"Bearer {report['key']}"}
        timeout = aiohttp.ClientTimeout(total=self._ready_within_s)
        try:
            url = f"{report['address']}/v1/completions"
            async with self._session.post(url, json=body, headers=headers, timeout=timeout) as response:
                if response.status == 200:
                    replica.proven(self._clock())
                else:
                    replica.broken(f"a one-token generation failed with status {response.status}")
        except TimeoutError:
            replica.problem = "a one-token generation timed out"  # it may only be busy: its last success decides
        except (aiohttp.ClientError, OSError) as problem:
            replica.broken(f"it cannot be reached ({type(problem).__name__})")
