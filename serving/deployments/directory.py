"""The directory: the engine replicas with their addresses and states, and the routing table.

It is a small deployment on the private ingress. Replicas report to it through a Serve handle; gateways poll it over
HTTP. It only has soft state: after a restart the next reports fill it again. The routing table is its `user_config`, so
that changing it restarts nothing.
"""

import asyncio
import logging
import time
from typing import Any

from ray import serve
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from serving.deployments.cluster_key import ClusterKey
from serving.engines.wire import DirectoryAnswer, GatewayReport, ReplicaReport, Routing, Traffic

log = logging.getLogger("ray.serve")

STALE_AFTER_S = 15.0  # after several missed reports, the replica or its node is gone
MAX_WORKERS = 64  # gateway workers whose counts are kept, the newest ones


@serve.deployment(name="Directory", num_replicas=1, max_ongoing_requests=64)
class Directory:
    """Responds with a `DirectoryAnswer` to GET, and to POST with a `GatewayReport`; needs the cluster key."""

    def __init__(self) -> None:
        self._routing: Routing = {"alias": "", "active": "", "models": {}}
        self._seen: dict[str, tuple[float, ReplicaReport]] = {}
        self._key = ClusterKey()
        self._traffic: dict[str, dict[str, Traffic]] = {}  # by worker
        self._used_at: dict[str, float] = {}  # monotonic seconds, by model id
        self._start_s: dict[str, float] = {}  # of the last start, by model
        self._woken_at: dict[str, float] = {}  # monotonic seconds, by model that has no ready replica since
        self._calls: dict[str, asyncio.Task[None]] = {}  # by application

    def reconfigure(self, user_config: Routing) -> None:
        """Set the routing table; Serve calls this at start and on every change."""
        self._routing = user_config

    async def report(self, replica: ReplicaReport) -> float | None:
        """Store a replica's report; the state ``stopped`` removes it.

        Returns the seconds since a request named its model or an adapter on it; None if none did.
        """
        if replica["state"] == "stopped":
            self._seen.pop(replica["replica_id"], None)
        else:
            self._seen[replica["replica_id"]] = (time.monotonic(), replica)
            if replica["state"] == "ready":
                self._woken_at.pop(replica["model"], None)
                self._start_s[replica["model"]] = replica.get("start_s", 0.0)
        bases = self._routing.get("bases", {})
        used = [at for model, at in self._used_at.items() if bases.get(model, model) == replica["model"]]
        return time.monotonic() - max(used) if used else None

    async def __call__(self, request: Request) -> Response:
        """The whole table as JSON; 401 without the cluster key."""
        if (refusal := self._key.refusal(request)) is not None:
            return refusal
        if request.method == "POST":
            self._note(await request.json())
        now = time.monotonic()
        self._seen = {name: seen for name, seen in self._seen.items() if seen[0] > now - STALE_AFTER_S}
        answer: DirectoryAnswer = {
            "routing": self._routing,
            "replicas": [report for _, report in self._seen.values()],
            "traffic": self._sums(),
            "last_used": {model: round(now - at, 1) for model, at in self._used_at.items()},
            "ready_in": self._ready_in(now),
        }
        return JSONResponse(answer)

    def _note(self, gateway: GatewayReport) -> None:
        self._traffic.pop(gateway["worker"], None)
        self._traffic[gateway["worker"]] = gateway["traffic"]
        while len(self._traffic) > MAX_WORKERS:
            del self._traffic[next(iter(self._traffic))]
        for name in gateway.get("wake", ()):
            self._wake(name)
        now = time.monotonic()
        for model, age_s in gateway["used"].items():
            used_at, before = now - age_s, self._used_at.get(model, float("-inf"))
            if used_at > before + 1e-3:
                self._used_at[model] = used_at
                self._wake_if_gone(self._routing.get("bases", {}).get(model, model), age_s)

    def _ready_in(self, now: float) -> dict[str, float]:
        """How long a request for a model that Ray starts on demand has to wait for its first replica."""
        ready = {replica["model"] for _, replica in self._seen.values() if replica["state"] == "ready"}
        return {
            model: max(0.0, round(self._start_s[model] - (now - self._woken_at.get(model, now)), 1))
            for model in self._routing.get("on_demand", [])
            if model not in ready and model in self._start_s
        }

    def _wake_if_gone(self, model: str, age_s: float) -> None:
        """Make Ray start a replica of a model that has none: a call to it that waits is what its autoscaling sees."""
        has_replica = any(replica["model"] == model for _, replica in self._seen.values())
        if has_replica or age_s > STALE_AFTER_S or model not in self._routing.get("on_demand", []):
            return
        self._woken_at.setdefault(model, time.monotonic())
        self._wake(f"engine-{model}-{self._routing['models'].get(model, '')}")

    def _wake(self, name: str) -> None:
        if name not in self._calls or self._calls[name].done():
            self._calls[name] = asyncio.create_task(_call(name))

    def _sums(self) -> dict[str, Traffic]:
        sums: dict[str, Traffic] = {}
        for counts in self._traffic.values():
            for fingerprint, traffic in counts.items():
                known = sums.setdefault(fingerprint, {"requests": 0, "failed": 0, "streams": 0, "ttft_s": 0.0})
                known["requests"] += traffic["requests"]
                known["failed"] += traffic["failed"]
                known["streams"] += traffic["streams"]
                known["ttft_s"] += traffic["ttft_s"]
        return sums


async def _call(application: str) -> None:
    try:
        engine = serve.get_deployment_handle("Engine", app_name=application)
        await engine.describe.remote()
    except Exception as problem:  # noqa: BLE001 - whatever hinders Ray, the next request calls again
        log.info("%s was not woken: %s", application, problem)


def build(args: dict[str, Any]) -> serve.Application:
    """The Serve application `directory` (no arguments)."""
    return Directory.bind()  # type: ignore[attr-defined]  # added by Serve's decorator
