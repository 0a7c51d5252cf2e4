"""The engine registry of a gateway worker: polled from the directory, verified by generations.

Each worker polls the directory, probes every replica periodically with a one-token generation (unless a real request
has just succeeded), and reacts to refused connections at once. The last known state stays in use while the directory is
unavailable. This module does not know Ray, nor what a request contains.
"""

import asyncio
import contextlib
import logging
import math
import random
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

import aiohttp

from models.serve_ingress import CLUSTER_HEADER
from serving.engines import prefix_salt
from serving.engines.traffic import TrafficCounter
from serving.engines.wire import (
    RESTING,
    Canary,
    DirectoryAnswer,
    ReplicaReport,
    ReplicaState,
    Routing,
    label,
    serves,
)
from serving.errors import EngineUnavailable

log = logging.getLogger(__name__)

WAKING = "its engine is being woken"
UP: tuple[ReplicaState, ...] = ("ready", "draining")  # an engine that answers
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
        now: seconds since the epoch.
        draw: a number of 0..1, by which a request goes to a canary.

    Attributes:
        traffic: counts this worker's requests; the directory is told with each poll.

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
        now: Callable[[], float] = time.time,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._directory_url = directory_url
        self._headers = {CLUSTER_HEADER: cluster_key}
        self._session = session
        self._poll_s = poll_s
        self._probe_interval_s = probe_interval_s
        self._ready_within_s = ready_within_s
        self._retry_after_s = retry_after_s
        self._clock = clock
        self._now = now
        self._draw = draw
        self.traffic = TrafficCounter(clock)
        self.routing = routing
        self.directory_problem: str | None = "it has not been reached yet"
        self._active = routing["active"]
        self._ready_in: dict[str, float] = {}  # of models that have no replica until one is wanted
        self._replicas: dict[tuple[str, int], Replica] = {}
        self._probes: set[asyncio.Task[None]] = set()
        self._proven = asyncio.Event()  # set, and replaced, whenever a probe succeeds

    async def run(self) -> None:
        """Poll and probe until cancelled."""
        try:
            while True:
                await self._tell()
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

    def choose_active(self) -> str:
        """What the alias means for one request: the active model, or its canary for a share of them."""
        canary = self._canary_of(self._active)
        takes = canary is not None and canary["to"] != self._active and self._usable(canary["to"])
        return canary["to"] if canary is not None and takes and self._draw() < canary["share"] else self._active

    def choose(self, model: str, avoid: Collection[Replica] = ()) -> Replica:
        """The ready replica of `model` with the fewest requests of this worker; raises EngineUnavailable.

        Replicas in `avoid` are only chosen if there is no other.
        """
        usable = self._usable(model)
        canary = self._canary_of(model)
        if canary is not None and canary["to"] == model and not avoid and self._draw() < canary["share"]:
            usable = self._with_fingerprint(model, canary["fingerprint"]) or usable
        if avoid:
            usable = [replica for replica in usable if replica not in avoid] or usable
        if not usable:
            state = self.state(model)
            raise EngineUnavailable(
                f"The model '{model}' is not available right now ({state.state}: {state.reason or WAKING}).",
                retry_after_s=self.retry_after_s(model),
            )
        return usable[0] if len(usable) == 1 else min(usable, key=lambda replica: replica.outstanding)

    def retry_after_s(self, model: str) -> int:
        """After how many seconds a request for `model`, which is not ready, should come again."""
        left_s = self.routing.get("expected", {}).get(self._base(model), 0.0) - self._now()
        if left_s <= 0:
            left_s = self._ready_in_s(model)
        return math.ceil(left_s + self._poll_s) if left_s > 0 else self._retry_after_s

    async def awake(self, model: str, timeout_s: float) -> None:
        """Wake the engine of `model` if it sleeps, and return when it is ready or will not be within `timeout_s`.

        If it takes longer by what its last start took, this returns at once, and the engine is woken all the same.
        """
        self.traffic.use(model)
        if self._usable(model) or not self._rests(model):
            return
        await self._tell()
        if self._ready_in_s(model) > timeout_s:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not self._usable(model):
                    await self._proven.wait()

    def state(self, model: str) -> ModelState:
        """Whether `model` is ready, and if not, why."""
        replicas = [replica for replica in self._replicas.values() if serves(replica.report, model)]
        usable = self._usable(model)
        if usable:
            newest = max(replica.proven_at or 0.0 for replica in usable)
            return ModelState(True, "ready", None, len(usable), round(self._clock() - newest, 3))
        if self._rests(model):
            return ModelState(True, "asleep", None, 0, None)
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
        up = [replica for replica in replicas if replica.report["state"] in UP]
        return {(replica.report["fingerprint"], replica.label(model)) for replica in up}

    def reports(self) -> list[ReplicaReport]:
        """The last reports of the replicas."""
        return [replica.report for replica in self._replicas.values()]

    def _base(self, model: str) -> str:
        """The model that an adapter is on; a model itself."""
        return self.routing.get("bases", {}).get(model, model)

    def _rests(self, model: str) -> bool:
        """Whether no engine is up for `model`, and a request wakes one."""
        base = self._base(model)
        states = [each.report["state"] for each in self._replicas.values() if each.report["model"] == base]
        on_demand = base in self.routing.get("on_demand", [])
        if not states:
            return on_demand and self.directory_problem is None
        return any(state in RESTING or (on_demand and state == "starting") for state in states)

    def _ready_in_s(self, model: str) -> float:
        base = self._base(model)
        times = [each.report.get("ready_in_s", 0.0) for each in self._replicas.values() if each.report["model"] == base]
        return min(times, default=0.0) or self._ready_in.get(base, 0.0)

    def _canary_of(self, model: str) -> Canary | None:
        """The canary that takes a share of the requests for `model`; it ends by itself if its apply does not end it."""
        canary = self.routing.get("canary")
        return canary if canary is not None and canary["model"] == model and canary["until"] > self._now() else None

    def _with_fingerprint(self, model: str, fingerprint: str) -> list[Replica]:
        alive = [replica for replica in self._alive(model) if replica.report["state"] == "ready"]
        return [replica for replica in alive if replica.report["fingerprint"] == fingerprint]

    def _alive(self, model: str) -> list[Replica]:
        oldest = self._clock() - self._ready_within_s
        return [
            replica
            for replica in self._replicas.values()
            if replica.proven_at is not None and replica.proven_at > oldest
            if replica.report["state"] in UP and serves(replica.report, model)
        ]

    def _usable(self, model: str) -> list[Replica]:
        alive = self._alive(model)
        fingerprint = self.routing["models"].get(model)
        current = [replica for replica in alive if replica.report["fingerprint"] == fingerprint]
        serving = [replica for replica in current or alive if replica.report["state"] == "ready"]
        return serving or current or alive

    def _follow_active(self) -> None:
        """Point the alias to the active model once it is ready; until then it points to the previous one."""
        active = self.routing["active"]
        if active != self._active and (not self._active or self._usable(active) or not self._usable(self._active)):
            self._active = active

    async def _tell(self) -> None:
        """Tell the directory what this worker counted; what it did not hear, it hears with the next poll."""
        if not self.traffic.has_news:
            return
        report = self.traffic.report()
        timeout = aiohttp.ClientTimeout(total=2.0)
        try:
            async with self._session.post(
                self._directory_url, json=report, headers=self._headers, timeout=timeout
            ) as response:
                self.traffic.has_news = response.status >= 500
        except (aiohttp.ClientError, TimeoutError, OSError) as problem:
            log.debug("the directory was not told of this worker's requests: %s", problem)

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
        self._ready_in = directory.get("ready_in", {})
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
        return any(
            replica.proven_at is None and replica.report["state"] != "asleep" for replica in self._replicas.values()
        )

    def _probe_where_due(self) -> None:
        now = self._clock()
        for replica in self._replicas.values():
            wait = RETRY_PROBE_S if replica.proven_at is None else self._probe_interval_s
            last = max(replica.tried_at, replica.proven_at or float("-inf"))
            if replica.report["state"] in UP and now - last >= wait:
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
                    self._proven.set()
                    self._proven = asyncio.Event()
                else:
                    replica.broken(f"a one-token generation failed with status {response.status}")
        except TimeoutError:
            replica.problem = "a one-token generation timed out"  # it may only be busy: its last success decides
        except (aiohttp.ClientError, OSError) as problem:
            replica.broken(f"it cannot be reached ({type(problem).__name__})")
