"""A change of the engines as a transaction: new ones start, are checked, get traffic, and only then old ones stop.

Until the last step everything that serves stays as it was; what fails puts back the document of before. Applications
and the routing table are those of `serving.cluster.manifest`; this module does not know where they come from, nor who
asked for the change.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from models.vllm.adapter_names import engine_name
from serving.cluster import manifest
from serving.cluster.canary import CanaryFailed, Pair, traffic_now, watch
from serving.cluster.checks import CheckFailed
from serving.cluster.directory import DirectoryApi
from serving.cluster.engine_checks import EngineChecks
from serving.cluster.manifest import Application, Manifest, is_engine
from serving.cluster.plan import DEPLOY_FAILED, Plan, by_name
from serving.cluster.serve_api import ServeApi
from serving.cluster.start_times import StartTimes
from serving.config.schema import CanarySpec
from serving.engines.wire import Routing

Report = Callable[[str], None]

FAILED = (DEPLOY_FAILED, "UNHEALTHY")
GONE_WITHIN_S = 60.0
SILENT_S = 20.0  # replicas that do not report for so long after their start have none that could


class ApplyFailed(RuntimeError):
    """The change did not happen; what served before still serves. The message says why."""


@dataclass(frozen=True)
class Timing:
    """How long parts of a change may take, seconds.

    Attributes:
        start_s: until the slowest engine generates.
        drain_s: until the requests of the slowest engine have ended.
        polls_s: until every gateway has read a new routing table.
        poll_s: between two looks at the cluster.

    """

    start_s: float
    drain_s: float
    polls_s: float
    poll_s: float = 1.0


@dataclass
class Rollout:
    """One change.

    Args:
        api: the cluster.
        directory: its directory of engines.
        plan: what changes.
        timing: how long parts of it may take.
        starts: how long engines took to start before.
        by: who changes it, for the routing table's notes.
        report: gets a line about each step.
        clock: seconds since the epoch.

    """

    api: ServeApi
    directory: DirectoryApi
    plan: Plan
    timing: Timing
    starts: StartTimes
    by: str
    report: Report
    clock: Callable[[], float] = time.time
    _began_s: float = field(default=0.0, init=False)

    def run(self, *, replace: bool, canary: CanarySpec | None) -> Manifest:
        """Make the change; return the document that serves. Raises ApplyFailed, ClusterError."""
        desired, running = self.plan.desired, self.plan.running
        self._began_s = time.monotonic()
        old = [app for name, app in running.items() if is_engine(name) and name not in by_name(desired)]
        routes = manifest.routes_of(desired)
        final = manifest.changed(desired, self._noted(routes), manifest.engines_of(desired))
        if "directory" not in running or not (old or self._new_engines() or self._changes_adapters()):
            self._put(final)
            self._wait_until_running(list(by_name(final)))
            self._note_start_times()
        elif replace and old:
            self._replace(final, old)
        else:
            self._beside(final, old, canary)
        return final

    def start(self, document: Manifest) -> Manifest:
        """Start everything of a document where nothing runs yet; return it with its notes. Raises ApplyFailed."""
        self._began_s = time.monotonic()
        routes = manifest.routes_of(document)
        if "versions" not in routes:
            document = manifest.changed(document, self._noted(routes), manifest.engines_of(document))
        self._put(document)
        self._wait_until_running(list(by_name(document)))
        self._note_start_times()
        return document

    def _beside(self, final: Manifest, old: Sequence[Application], canary: CanarySpec | None) -> None:
        """New engines and adapters start beside the old ones, which stop once nobody is sent to them."""
        before = self._before()
        routes_now = manifest.routes_of(before)
        both = [*old, *map(self._with_old_adapters, manifest.engines_of(final))]
        if self._new_engines():
            self.report("starting the new engines beside the old ones")
        elif not self._changes_adapters():
            self.report("nothing new to start")
        self._put(manifest.changed(final, routes_now, both))
        try:
            self._wait_until_running(list(by_name(final)))
            self._note_start_times()
            self._wait_for_adapters(both)
            self._checks.run(both, self._checks.serving_now(routes_now))
            if canary is not None and old:
                self._canary(canary, final, both, routes_now)
        except (ApplyFailed, CheckFailed, CanaryFailed) as problem:
            self._put(before)
            raise ApplyFailed(f"{problem}. What served before goes on") from problem
        self.report("routing new requests to the new engine" if old else "routing requests to what is new")
        self.api.put(manifest.changed(final, manifest.routes_of(final), both))
        time.sleep(self.timing.polls_s)  # by then every gateway has polled the new routes
        if old:
            self.report("draining and stopping " + ", ".join(app["name"] for app in old))
        self.api.put(final)
        self._wait_until_gone([app["name"] for app in old])

    def _replace(self, final: Manifest, old: Sequence[Application]) -> None:
        """The old engines stop first; one that cannot take their place is stopped and they come back."""
        before = self._before()
        names = [app["name"] for app in old]
        now = self._checks.asked_now(manifest.engines_of(final), manifest.routes_of(before))
        self.report("stopping " + ", ".join(names))
        stays = [app for app in manifest.engines_of(final) if app["name"] in self.plan.running]
        stopping = self._stopping(before, final)
        self._put(manifest.changed(before, stopping, manifest.engines_of(before)))
        time.sleep(self.timing.polls_s)  # by then every gateway can tell its clients when to come again
        self.api.put(manifest.changed(final, stopping, stays))
        self._wait_until_gone(names)
        self._began_s = time.monotonic()
        self._put(self._expected(final))
        try:
            self._wait_until_running(list(by_name(final)))
            self._wait_for_adapters(manifest.engines_of(final))
            self._checks.run(manifest.engines_of(final), now)
        except (ApplyFailed, CheckFailed) as problem:
            self.report(f"{problem}; starting {', '.join(names)} again")
            self._put(self._expected(before))
            try:
                self._wait_until_running(names)
            except ApplyFailed as second:
                raise ApplyFailed(f"{problem}. What served before did not start again: {second}") from problem
            self.api.put(before)
            raise ApplyFailed(f"{problem}. What served before serves again") from problem
        self._note_start_times()
        self.api.put(final)

    def _canary(self, canary: CanarySpec, final: Manifest, both: Sequence[Application], routes_now: Routing) -> None:
        """Send a share of the requests to the new engine of the active model, and watch how it does."""
        pair = Pair.of(routes_now, manifest.routes_of(final))
        if pair is None:
            return
        until = self.clock() + canary.minutes * 60 + self.timing.polls_s
        versions = [
            self._version(pair.old_base, pair.old, 1 - canary.share, routes_now),
            self._version(pair.new_base, pair.new, canary.share, routes_now),
        ]
        self.report(f"canary: {canary.share:.1%} of the requests for {pair.model} go to {pair.to} ({pair.new})")
        began = traffic_now(self.directory) or {}  # before the first request: an engine may fail at once
        self.api.put(manifest.changed(final, pair.routes(routes_now, canary, until, versions), both))
        time.sleep(self.timing.polls_s)
        watch(canary, self.directory, began, old=pair.old, new=pair.new, report=self.report)
        self._checks.run(both, self._checks.serving_now(routes_now))

    # ---- parts

    def _before(self) -> Manifest:
        return {**self.plan.desired, "applications": list(self.plan.running.values())}

    def _new_engines(self) -> list[Application]:
        return [app for app in manifest.engines_of(self.plan.desired) if app["name"] not in self.plan.running]

    def _changes_adapters(self) -> bool:
        for app in manifest.engines_of(self.plan.desired):
            running = self.plan.running.get(app["name"])
            if running is not None and manifest.adapters_of(running) != manifest.adapters_of(app):
                return True
        return False

    def _with_old_adapters(self, app: Application) -> Application:
        """The engine with the adapters that it has, beside those that it is going to have."""
        running = self.plan.running.get(app["name"])
        if running is None or not manifest.adapters_of(running):
            return app
        (deployment,) = app["deployments"]
        adapters = dict(manifest.adapters_of(running))
        for name, each in manifest.adapters_of(app).items():
            is_other = name in adapters and adapters[name]["revision"] != each["revision"]
            adapters[engine_name(name, each["revision"]) if is_other else name] = each
        user_config = {**deployment["user_config"], "adapters": adapters}
        return {**app, "deployments": [{**deployment, "user_config": user_config}]}

    def _noted(self, routes: Routing) -> Routing:
        """The routing table with a note for each model: which version serves, since when, by whom."""
        before: Any = {}
        if "directory" in self.plan.running:
            before = manifest.routes_of(self._before())
        bases = routes.get("bases", {})
        versions = [
            self._version(model, fingerprint, 1.0, before)
            for model, fingerprint in routes["models"].items()
            if model not in bases
        ]
        noted: Any = {**manifest.without_notes(routes), "versions": versions}
        return cast("Routing", noted)

    def _version(self, model: str, fingerprint: str, share: float, before: Mapping[str, Any]) -> dict[str, Any]:
        version = {"model": model, "fingerprint": fingerprint, "share": share}
        for known in before.get("versions", []):
            if all(known.get(key) == value for key, value in version.items()):
                return dict(known)
        return {**version, "since": round(self.clock(), 3), "by": self.by}

    def _stopping(self, before: Manifest, final: Manifest) -> Routing:
        """The routing table of before, with what the new models fall back to, and when those should be ready."""
        now, then = manifest.routes_of(before), manifest.routes_of(final)
        took_s = self._start_s(then.get("bases", {}).get(then["active"], then["active"]))
        ready_at = {} if took_s is None else dict.fromkeys(now["models"], self.clock() + self.timing.polls_s + took_s)
        return self._with_chains({**now, "expected": ready_at})

    def _expected(self, document: Manifest) -> Manifest:
        """The document, with the times at which its engines should be ready."""
        ready_at = {}
        for app in manifest.engines_of(document):
            took_s = self._start_s(app["args"]["model"])
            if took_s is not None:
                ready_at[app["args"]["model"]] = self.clock() + took_s
        routes = self._with_chains({**manifest.routes_of(document), "expected": ready_at})
        return manifest.changed(document, routes, manifest.engines_of(document))

    def _with_chains(self, routes: Mapping[str, Any]) -> Routing:
        """The table with the fallback chains of the models before and after: gateways read them a moment later."""
        table, live = dict(routes), routes.get("live")
        if live:
            both = (manifest.routes_of(each).get("live", {}) for each in (self.plan.desired, self._before()))
            known = {model: chain for each in both for model, chain in each.get("fallback", {}).items()}
            table["live"] = {**live, "fallback": {**known, **live.get("fallback", {})}}
        return cast("Routing", table)

    def _start_s(self, model: str) -> float | None:
        """How long a model's last start took, or that of the model which is active; None: neither is known."""
        known = self.starts.of(model)
        if known is not None or "directory" not in self.plan.running:
            return known
        routes = manifest.routes_of(self._before())
        return self.starts.of(routes.get("bases", {}).get(routes["active"], routes["active"]))

    @property
    def _checks(self) -> EngineChecks:
        return EngineChecks(self.directory, self.plan, self.timing.start_s, self.timing.poll_s, self.report)

    # ---- waiting

    def _put(self, document: Manifest) -> None:
        """Put a document; failed applications are removed first, because Serve does not retry them."""
        failed = {name for name, app in self.api.applications().items() if app.get("status") == DEPLOY_FAILED}
        if failed:
            left = [app for app in document["applications"] if app["name"] not in failed]
            self.api.put({**document, "applications": left})
            deadline = time.monotonic() + GONE_WITHIN_S
            while time.monotonic() < deadline and failed & self.api.applications().keys():
                time.sleep(self.timing.poll_s)
        self.api.put(document)

    def _wait_until_running(self, names: list[str]) -> None:
        began = time.monotonic()
        last = ""
        while True:
            found = self.api.applications()
            states = {name: found.get(name, {}).get("status", "NOT_STARTED") for name in names}
            for name, state in states.items():
                if state in FAILED:
                    raise ApplyFailed(f"{name} did not start: {_reason(found[name])}")
            waiting = [name for name, state in states.items() if state != "RUNNING"]
            if not waiting:
                return
            waited = time.monotonic() - began
            if waited > self.timing.start_s + 60:
                raise ApplyFailed(
                    f"{', '.join(waiting)} did not start within {waited:.0f} s: {_reason(found.get(waiting[0], {}))}"
                )
            now = "waiting for " + ", ".join(waiting)
            if now != last:
                self.report(now)
                last = now
            time.sleep(self.timing.poll_s)

    def _wait_for_adapters(self, engines: Sequence[Application]) -> None:
        """Return once every replica serves its adapters; raises ApplyFailed with the reason if one does not."""
        began = time.monotonic()
        while missing := list(self._missing_adapters(engines, is_silent=time.monotonic() - began > SILENT_S)):
            if time.monotonic() - began > self.timing.start_s + 60:
                raise ApplyFailed(f"{', '.join(sorted(set(missing)))} was not loaded in time")
            time.sleep(self.timing.poll_s)

    def _missing_adapters(self, engines: Sequence[Application], *, is_silent: bool) -> Iterator[str]:
        for app in engines:
            wanted = manifest.adapters_of(app)
            if not wanted:
                continue
            reports = self.directory.replicas(app["args"]["fingerprint"])
            if not reports and not is_silent:
                yield from wanted
            for report in reports:
                if report["state"] not in ("starting", "ready"):
                    continue
                for adapter, each in wanted.items():
                    if problem := report.get("adapter_problems", {}).get(adapter):
                        raise ApplyFailed(f"{app['args']['model']} did not load the adapter {adapter}: {problem}")
                    loaded = report.get("adapters", {}).get(adapter)
                    if loaded is None or each["revision"] not in ("", loaded):
                        yield adapter

    def _wait_until_gone(self, names: list[str]) -> None:
        deadline = time.monotonic() + self.timing.drain_s + 2 * manifest.SHUTDOWN_MARGIN_S
        while time.monotonic() < deadline and any(name in self.api.applications() for name in names):
            time.sleep(self.timing.poll_s)

    def _note_start_times(self) -> None:
        for app in self._new_engines():
            if not manifest.scales_to_zero(app):  # such a one runs without a replica
                self.starts.note(app["args"]["model"], time.monotonic() - self._began_s)


def _reason(app: Mapping[str, Any]) -> str:
    """Serve's error message, reduced to the engine's own message if it contains one."""
    messages = [app.get("message", "")]
    messages += [deployment.get("message", "") for deployment in app.get("deployments", {}).values()]
    text = "\n".join(message for message in messages if message)
    for line in reversed(text.splitlines()):
        if "EngineStartError" in line:
            return line.partition("EngineStartError:")[2].strip()
    return " ".join(text.split())[-500:] or "no reason given"
