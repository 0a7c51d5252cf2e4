"""Which engines an apply checks, and beside which engine that serves now; those that sleep are woken for it.

An engine is checked if it is new or has other adapters than before. It does not know what the checks demand
(`serving.cluster.checks`), nor what follows from a failure.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from models.vllm.adapter_names import engine_name
from serving.cluster.checks import CheckFailed, Engine, Golden, Now, ask, run_checks
from serving.cluster.directory import DirectoryApi
from serving.cluster.manifest import Application, adapters_of, is_engine, scales_to_zero
from serving.cluster.plan import Plan, by_name
from serving.config.schema import CheckSpec, ModelSpec
from serving.engines.wire import RESTING, ReplicaReport, Routing, serves

ServingNow = Callable[[ModelSpec], Now | None]


@dataclass(frozen=True)
class EngineChecks:
    """The checks of one apply.

    Args:
        directory: the cluster's directory of engines.
        plan: what changes.
        start_s: how long an engine may take until it is awake, seconds.
        poll_s: between two looks, seconds.
        report: gets a line about each check.

    """

    directory: DirectoryApi
    plan: Plan
    start_s: float
    poll_s: float
    report: Callable[[str], None]

    def run(self, engines: Sequence[Application], now: ServingNow) -> None:
        """Check those of the engines that need it, beside what serves now; raises CheckFailed."""
        for app, spec in self._checked(engines):
            wanted = adapters_of(by_name(self.plan.desired)[app["name"]])
            new = _Trial(self._awake(app), spec, wanted)
            run_checks(spec.checks, new.engine, now(spec), self.report)

    def serving_now(self, routes_now: Routing) -> ServingNow:
        """What serves by this routing table, asked when it is compared."""

        def now(spec: ModelSpec) -> Now | None:
            engine = self._serving_now(spec.default_name, routes_now)
            return None if engine is None else partial(ask, engine)

        return now

    def asked_now(self, engines: Sequence[Application], routes_now: Routing) -> ServingNow:
        """The same, asked at once: it will be gone when the engines are checked."""
        answers: dict[str, list[Golden | CheckFailed]] = {}
        for _, spec in self._checked(engines):
            now = None
            with suppress(CheckFailed):  # what sleeps and cannot be woken serves nothing
                now = self.serving_now(routes_now)(spec)
            if now is not None:
                answers[spec.id] = [_asked(now, check) for check in spec.checks]

        def answer(spec: ModelSpec, check: CheckSpec) -> Golden:
            found = answers[spec.id][spec.checks.index(check)]
            if isinstance(found, CheckFailed):
                raise found
            return found

        return lambda spec: partial(answer, spec) if spec.id in answers else None

    def _checked(self, engines: Sequence[Application]) -> Iterator[tuple[Application, ModelSpec]]:
        for app in engines:
            spec = self.plan.specs.get(app["args"]["model"])
            if spec is not None and spec.checks and self._is_new(app):
                yield app, spec

    def _is_new(self, app: Application) -> bool:
        running = self.plan.running.get(app["name"])
        changes = running is None or adapters_of(running) != adapters_of(app)
        return changes and app["name"] in by_name(self.plan.desired)

    def _serving_now(self, model: str, routes_now: Routing) -> Engine | None:
        """What answers for `model` now, else what the alias means; None if nothing serves."""
        name = model if model in routes_now["models"] else routes_now["active"]
        fingerprint = routes_now["models"].get(name, "")
        running = (app for key, app in self.plan.running.items() if is_engine(key))
        app = next((app for app in running if app["args"]["fingerprint"] == fingerprint), None)
        replica = self._awake(app) if app is not None and self._sleeps(app) else self._ready(fingerprint)
        return Engine(replica, name) if replica is not None and serves(replica, name) else None

    def _sleeps(self, app: Application) -> bool:
        """Whether no replica is up, and one comes when it is wanted."""
        states = [report["state"] for report in self.directory.replicas(app["args"]["fingerprint"])]
        if not states:
            return scales_to_zero(app)
        return "ready" not in states and any(state in RESTING for state in states)

    def _awake(self, app: Application) -> ReplicaReport:
        """A ready replica, woken if it sleeps or Ray has none; raises CheckFailed if none is ready in time."""
        fingerprint, deadline = app["args"]["fingerprint"], time.monotonic() + self.start_s
        replica = self._ready(fingerprint)
        if replica is None:
            self.report(f"waking {app['name']} for the checks")
        while replica is None:
            if time.monotonic() > deadline:
                raise CheckFailed(f"{app['name']} has no replica that could be checked")
            self.directory.wake(app["args"]["model"], app["name"])
            time.sleep(self.poll_s)
            replica = self._ready(fingerprint)
        return replica

    def _ready(self, fingerprint: str) -> ReplicaReport | None:
        ready = (report for report in self.directory.replicas(fingerprint) if report["state"] == "ready")
        return next(ready, None)


@dataclass(frozen=True)
class _Trial:
    """A replica on trial."""

    report: ReplicaReport
    spec: ModelSpec
    wanted: Mapping[str, Mapping[str, str]]  # adapters, by id

    def engine(self, check: CheckSpec) -> Engine:
        """What answers the check: a new revision of an adapter has a name of its own until it takes over."""
        name = check.model or self.spec.default_name
        trial = engine_name(name, self.wanted[name]["revision"]) if name in self.wanted else name
        return Engine(self.report, trial if serves(self.report, trial) else name)


def _asked(now: Now, check: CheckSpec) -> Golden | CheckFailed:
    try:
        return now(check)
    except CheckFailed as problem:
        return problem
