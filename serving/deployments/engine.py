"""The engine deployment: a Ray Serve replica that supervises vLLM's own OpenAI server, or llama.cpp's.

Ray places, health-checks, restarts and autoscales it; tokens do not pass through it. It starts the server, restarts it
in place when it dies, reports to the directory, and drains before it stops. For autoscaling it reports the engine's own
load, because requests go directly to that server and Serve's counters do not see them.
"""

import asyncio
import contextlib
import itertools
import json
import logging
import os
from pathlib import Path
from typing import Any

import ray
from ray import serve

from models.adapters.revision import weights_revision
from models.engine_process import EngineProcess, EngineStartError, Load
from models.grammar_pool import LIMITS_VARIABLE
from models.llama_cpp.server import LlamaCppServer
from models.stall_watch import StallWatch
from models.vllm.server import VllmServer
from serving.deployments.adapters import ReplicaAdapters
from serving.deployments.rest import Rest
from serving.engines.wire import ReplicaReport, ReplicaState
from serving.supervisor import reaper

log = logging.getLogger("ray.serve")

REPORT_INTERVAL_S = 2.0
MEMORY_EVERY = 5  # reports between two looks at the engine's memory
SETTLE_S = 3.0  # longer than a poll: until then gateways may still send requests to a draining replica
LOADING = "the engine is loading the model"
STABLE_AFTER_S = 120.0  # a boot that lasted this long resets the count of failures


@serve.deployment(
    name="Engine",
    max_ongoing_requests=16,
    health_check_period_s=5,
    health_check_timeout_s=20,
    max_constructor_retry_count=1,  # report a model that cannot load at once, not after three attempts
)
class Engine:
    """One replica of one model.

    Args:
        spec: the application's arguments: runs (vllm or llama_cpp), model, fingerprint, path, revision, quantization,
            arguments, adapters, environment, startup_timeout_s, step_timeout_s, grammars, drain_s, max_restarts,
            loopback, has_sleep_mode.

    """

    async def __init__(self, spec: dict[str, Any]) -> None:  # type: ignore[misc]  # Serve awaits an async constructor
        self._spec = spec
        self._loop = asyncio.get_running_loop()
        self._replica_id = serve.get_replica_context().replica_id.unique_id
        self._host = "127.0.0.1" if spec["loopback"] else ray.util.get_node_ip_address()
        self._state: ReplicaState = "starting"
        self._reason = LOADING
        self._epoch = 0
        self._failures = 0
        self._load = Load()
        self._server: EngineProcess | None = None
        self._stalls: StallWatch | None = None  # while the engine serves
        self._stalled = ""
        self._probe: asyncio.Task[None] | None = None
        self._rest = Rest()
        self._waking: asyncio.Task[None] | None = None
        self._memory_bytes = 0
        self._revision = spec["revision"] or await asyncio.to_thread(weights_revision, Path(spec["path"]))
        self._adapters = await asyncio.to_thread(ReplicaAdapters, spec["adapters"])
        self._reports = asyncio.create_task(self._report_for_ever())
        try:
            await self._boot()
        except EngineStartError as problem:
            await self._become("failed", str(problem))
            self._reports.cancel()
            raise
        self._watch = asyncio.create_task(self._keep_alive())

    async def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Serve other adapters: Serve calls this at the start and at every change of the deployment's `user_config`."""
        self._rest.idle_s, self._rest.removes = user_config.get("idle_s"), user_config.get("scales_to_zero", False)
        is_up = self._state in ("ready", "draining")
        await self._adapters.want(user_config.get("adapters", {}), self._server if is_up else None)
        await self._report_to_directory()

    async def check_health(self) -> None:
        """Raise once the server has failed too often in a row, so that Ray replaces this replica."""
        if self._state == "failed":
            raise RuntimeError(self._reason)

    def record_autoscaling_stats(self) -> dict[str, float]:
        """Metrics for the autoscaling policy: running plus waiting requests, KV cache usage (0..1), 1 while ready.

        `idle` is 1 when the replica could be removed: no request came for `idle_s`, or that is not set. Serve calls
        this in a thread of its own, which has no loop.
        """
        return {
            "idle": float(self._rest.is_over(self._loop.time())),
            "ready": float(self._state == "ready"),
            "load": float(self._load.running + self._load.waiting),
            "kv_cache_usage": self._load.kv_cache_usage,
        }

    async def describe(self) -> ReplicaReport:
        """This replica's report."""
        return self._report()

    async def __del__(self) -> None:  # Serve awaits it at a graceful stop
        """Drain, then stop the server."""
        with contextlib.suppress(AttributeError):  # the constructor failed before the watch existed
            self._watch.cancel()
        if self._server is not None and self._state == "ready":
            await self._become("draining", "this replica is being stopped")
            await asyncio.sleep(SETTLE_S)
            await self._server.drain(self._spec["drain_s"])
        self._reports.cancel()
        if self._waking is not None:
            self._waking.cancel()
        if self._probe is not None:
            self._probe.cancel()
        if self._server is not None:
            await self._server.stop()
        await self._become("stopped", "")

    async def _boot(self, again: str = "") -> None:
        self._epoch += 1
        spec = self._spec
        log_name = f"engine-{spec['model']}-{self._replica_id}.log"
        server = LlamaCppServer if spec["runs"] == "llama_cpp" else VllmServer
        self._server = server(
            model=spec["path"],
            served_name=spec["model"],
            arguments=spec["arguments"],
            adapters=spec["adapters"],
            environment={LIMITS_VARIABLE: json.dumps(spec["grammars"]), **spec["environment"]},
            host=self._host,
            log_path=Path(os.environ["BONDHU_VAR_DIR"]) / "logs" / log_name,
            reaper=reaper.argv([], grace_s=5),
        )
        self._adapters.forget()
        loop = asyncio.get_running_loop()
        self._rest.starts(loop.time())
        state: ReplicaState = "waking" if self._state == "asleep" else "starting"
        await self._become(state, f"{LOADING} again: {again}" if again else LOADING)
        await self._server.start(spec["startup_timeout_s"])
        await self._adapters.settle(self._server)
        self._rest.started(loop.time())
        self._stalls = StallWatch(spec["step_timeout_s"], asyncio.get_running_loop().time())
        await self._become("ready", "")

    async def _keep_alive(self) -> None:
        """Restart the server whenever it exits, until it has failed too often in a row."""
        while True:
            assert self._server is not None, "booted in the constructor"
            booted_at = asyncio.get_running_loop().time()
            status = await self._server.wait_exit()
            self._stalls = None
            if asyncio.get_running_loop().time() - booted_at > STABLE_AFTER_S:
                self._failures = 0
            ended = f"{self._server.program}'s server ended with status {status}: {self._server.last_error()}"
            reason, self._stalled = self._stalled or ended, ""
            log.warning("engine %s: %s; restarting it", self._spec["model"], reason)
            await self._become("starting", reason)
            await self._server.stop()
            while True:
                self._failures += 1
                if self._failures > self._spec["max_restarts"]:
                    await self._become("failed", reason)
                    return
                try:
                    await self._boot(reason)
                    break
                except EngineStartError as problem:
                    reason = str(problem)
                    await self._server.stop()

    def _report(self) -> ReplicaReport:
        return {
            "replica_id": self._replica_id,
            "epoch": self._epoch,
            "model": self._spec["model"],
            "fingerprint": self._spec["fingerprint"],
            "revision": self._revision,
            "quantization": self._spec["quantization"],
            "adapters": self._adapters.revisions,
            "adapter_names": self._adapters.names,
            "adapter_problems": self._adapters.problems,
            "state": self._state,
            "reason": self._reason,
            "address": self._server.address if self._server else "",
            "key": self._server.key if self._server else "",
            "running": self._load.running,
            "waiting": self._load.waiting,
            "kv_cache_usage": self._load.kv_cache_usage,
            "ready_in_s": self._rest.ready_in_s(self._state, asyncio.get_running_loop().time()),
            "start_s": self._rest.start_s,
            "memory_bytes": self._memory_bytes,
        }

    async def _become(self, state: ReplicaState, reason: str) -> None:
        self._state, self._reason = state, reason
        await self._report_to_directory()

    async def _report_for_ever(self) -> None:
        for number in itertools.count():
            if self._server is not None and self._state in ("ready", "draining"):
                await self._look_at(self._server)
            if number % MEMORY_EVERY == 0:
                self._memory_bytes = await asyncio.to_thread(self._server.memory_bytes) if self._server else 0
            await self._report_to_directory()
            await self._sleep_or_wake()
            await asyncio.sleep(REPORT_INTERVAL_S)

    async def _sleep_or_wake(self) -> None:
        """Let the engine sleep when no request came for long enough; wake it when one did."""
        now_s = asyncio.get_running_loop().time()
        is_idle = self._load.running + self._load.waiting == 0
        if self._state == "ready" and not self._rest.removes and is_idle and self._rest.is_due(now_s):
            await self._fall_asleep()
        elif self._state == "asleep" and self._rest.was_used_since_asleep():
            await self._wake()

    async def _fall_asleep(self) -> None:
        assert self._server is not None, "booted in the constructor"
        loop = asyncio.get_running_loop()
        self._rest.falls_asleep(loop.time())
        await self._become("asleep", f"no request came for {self._rest.idle_s:g} s")
        await asyncio.sleep(SETTLE_S)  # until then gateways may still send requests
        await self._look_at(self._server)
        await self._report_to_directory()
        if self._load.running + self._load.waiting or self._rest.was_used_since_asleep():
            await self._become("ready", "")
            return
        self._stalls = None
        if self._spec.get("has_sleep_mode") and await self._server.sleep():
            return
        self._watch.cancel()
        await self._server.stop()
        self._adapters.forget()

    async def _wake(self) -> None:
        assert self._server is not None, "booted in the constructor"
        self._waking = asyncio.create_task(self._wake_up(self._server))

    async def _wake_up(self, server: EngineProcess) -> None:
        """Return when the engine generates again; reports go on meanwhile."""
        loop = asyncio.get_running_loop()
        if server.alive:
            self._rest.starts(loop.time())
            await self._become("waking", "the engine wakes")
            if await server.wake():
                self._rest.started(loop.time())
                self._stalls = StallWatch(self._spec["step_timeout_s"], loop.time())
                await self._become("ready", "")
                return
            self._watch.cancel()
            await server.stop()
        try:
            await self._boot()
        except (EngineStartError, OSError) as problem:  # of the start of a process, too
            await self._become("failed", str(problem))
            return
        self._watch = asyncio.create_task(self._keep_alive())

    async def _look_at(self, server: EngineProcess) -> None:
        """Note the load; stop a server that hangs, which `_keep_alive` then restarts."""
        load = None
        with contextlib.suppress(OSError, TimeoutError):  # the last known load stays
            load = self._load = await server.load()
        if self._stalls is None:
            return
        now_s = asyncio.get_running_loop().time()
        if stall := self._stalls.look(load, now_s):
            self._stalls, self._stalled = None, f"{server.program} was stopped because it hung: {stall}"
            server.note(self._stalled)
            await server.stop(grace_s=0)
        elif self._stalls.needs_probe(now_s):
            self._stalls.probe_started(now_s)
            self._probe = asyncio.create_task(self._run_probe(server, self._stalls))

    async def _run_probe(self, server: EngineProcess, stalls: StallWatch) -> None:
        """Request a token; without an answer, `look` reports that the engine hangs before this times out."""
        if await server.answers(2 * self._spec["step_timeout_s"]):
            stalls.probe_answered(asyncio.get_running_loop().time())
        else:
            stalls.probe_ended()

    async def _report_to_directory(self) -> None:
        try:
            directory = serve.get_deployment_handle("Directory", app_name="directory")
            used_s_ago = await asyncio.wait_for(directory.report.remote(self._report()), timeout=REPORT_INTERVAL_S)
            self._rest.used(used_s_ago, asyncio.get_running_loop().time())
        except Exception as problem:  # noqa: BLE001 - no problem of the directory may affect the engine
            log.debug("the report to the directory failed: %s", problem)


def build(args: dict[str, Any]) -> serve.Application:
    """The Serve application of one model; `args` is the replica's `spec`."""
    return Engine.bind(args)  # type: ignore[attr-defined]  # added by Serve's decorator
