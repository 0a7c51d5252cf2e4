"""Brings the running cluster to the configuration without losing a request.

A changed or new engine starts beside the old one; once it is ready, the routing table points to it; only then is the
old one drained and stopped. An engine that fails to load is removed, and the old one keeps serving. `plan` shows the
steps in advance; `restore` restores what was last applied after a restart of Ray.
"""

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from serving.cluster import manifest
from serving.cluster.manifest import ENGINE_PREFIX, Application, Manifest
from serving.cluster.serve_api import ClusterError, ServeApi
from serving.config import addresses, credentials
from serving.config.schema import Settings
from serving.engines.wire import routing

Report = Callable[[str], None]
Action = Literal["start", "stop", "restart", "reconfigure", "route", "keep"]

POLL_S = 1.0
DEPLOY_FAILED = "DEPLOY_FAILED"
FAILED = (DEPLOY_FAILED, "UNHEALTHY")
GONE_WITHIN_S = 60.0
PACKAGE, FORMER_PACKAGE = "serving.deployments", "serving.deploy"  # of import paths; the old one was used before 0.1.0


class ApplyFailed(RuntimeError):
    """A new application failed to start; the previous state is still serving. The message says why."""


@dataclass(frozen=True)
class Step:
    """One change of one Serve application."""

    action: Action
    target: str
    why: str


@dataclass(frozen=True)
class Plan:
    """The steps of an apply, in order, and the resulting document."""

    steps: tuple[Step, ...]
    desired: Manifest
    running: dict[str, Application]  # the current configurations by application name

    @property
    def changes(self) -> bool:
        """Whether there are any changes."""
        return any(step.action != "keep" for step in self.steps)


def plan(settings: Settings) -> Plan:
    """Compare the configuration with the cluster; raises ClusterError."""
    desired = manifest.build(settings)
    running = _running(_api(settings))
    return Plan(tuple(_steps(running, _by_name(desired))), desired, running)


def execute(plan: Plan, settings: Settings, report: Report, *, replace: bool = False) -> None:
    """Execute the plan and return when it is done; `report` is called with each step.

    With `replace`, old engines stop before new ones start, for a machine without room for both; requests get 503
    meanwhile.

    Raises:
        ApplyFailed: a new engine, or the embedder, did not start; the previous state was restored.
        ClusterError: the cluster cannot be reached.

    """
    api = _api(settings)
    desired = _by_name(plan.desired)
    old_engines = [app for name, app in plan.running.items() if _is_engine(name) and name not in desired]
    before = {**plan.desired, "applications": list(plan.running.values())}
    if replace or not old_engines:
        if old_engines:
            report("stopping " + ", ".join(app["name"] for app in old_engines))
        _put(api, plan.desired)
        try:
            _wait_until_running(api, list(desired), settings, report)
        except ApplyFailed:
            if old_engines:
                api.put(before)
            raise
        _remember(settings, plan.desired)
        return
    routes_now = _routes(plan.running)
    starting = [step.target for step in plan.steps if step.action == "start"]
    beside = manifest.assemble(settings, routes_now, [*old_engines, *_engines(plan.desired)])
    report("starting the new engines beside the old ones" if starting else "nothing new to start")
    _put(api, beside)
    try:
        _wait_until_running(api, list(desired), settings, report)
    except ApplyFailed:
        api.put(before)
        raise
    report("routing new requests to the new engine")
    api.put(manifest.assemble(settings, routing(settings), [*old_engines, *_engines(plan.desired)]))
    time.sleep(3 * settings.gateway.directory_poll_s + 1)  # by then every gateway has polled the new routes
    report("draining and stopping " + ", ".join(app["name"] for app in old_engines))
    api.put(plan.desired)
    _remember(settings, plan.desired)
    _wait_until_gone(api, [app["name"] for app in old_engines], settings)


def restore(settings: Settings, report: Report) -> None:
    """After a restart of Ray: restore what was last applied, or apply the configuration if nothing was."""
    document = last_applied(settings) or manifest.build(settings)
    api = _api(settings)
    _put(api, document)
    _wait_until_running(api, list(_by_name(document)), settings, report)


def last_applied(settings: Settings) -> Manifest | None:
    """The last applied document, with the module paths of this version; None if there is none."""
    saved = _memory(settings)
    if not saved.is_file():
        return None
    document: Manifest = json.loads(saved.read_text().replace(f'"{FORMER_PACKAGE}.', f'"{PACKAGE}.'))
    return document


def _put(api: ServeApi, document: Manifest) -> None:
    """Put a document; failed applications are removed first, because Serve does not retry them."""
    failed = {name for name, app in api.applications().items() if app.get("status") == DEPLOY_FAILED}
    if failed:
        api.put({**document, "applications": [app for app in document["applications"] if app["name"] not in failed]})
        deadline = time.monotonic() + GONE_WITHIN_S
        while time.monotonic() < deadline and failed & api.applications().keys():
            time.sleep(POLL_S)
    api.put(document)


def _steps(running: dict[str, Application], desired: dict[str, Application]) -> list[Step]:
    steps = []
    for name, app in desired.items():
        if name not in running:
            model = app["args"].get("model") if _is_engine(name) else None
            twins = [other for other in running if model and running[other].get("args", {}).get("model") == model]
            changed = _differing(running[twins[0]]["args"], app["args"]) if twins else []
            steps.append(Step("start", name, f"{model}: changed {', '.join(changed)}" if twins else "not running yet"))
        elif _settled(running[name]) != _settled(app):
            what = _differing(_settled(running[name]), _settled(app))
            steps.append(Step(_change(name, what), name, "changed " + ", ".join(what)))
        else:
            steps.append(Step("keep", name, "unchanged"))
    steps += [Step("stop", name, "no longer configured") for name in running if name not in desired]
    order = {"keep": 0, "start": 1, "restart": 2, "reconfigure": 3, "route": 4, "stop": 5}
    return sorted(steps, key=lambda step: order[step.action])


def _change(name: str, what: list[str]) -> Action:
    """What Serve does to an application when these values change."""
    if any(value.startswith(("args.", "import_path")) or ".ray_actor_options" in value for value in what):
        return "restart"
    return "route" if name == "directory" else "reconfigure"


def _differing(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """The names of values that differ, nested ones with dots."""
    names = []
    for key in sorted({*old, *new} - {"fingerprint"}):
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            names += [f"{key}.{inner}" for inner in _differing(before, after)]
        elif before != after:
            if isinstance(before, list) and isinstance(after, list):
                before, after = [v for v in before if v not in after], [v for v in after if v not in before]
            names.append(f"{key} ({_brief(before)} → {_brief(after)})")
    return names


def _brief(value: Any) -> str:
    words = isinstance(value, list) and value and all(isinstance(v, str) for v in value)
    text = " ".join(value) if words else json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _settled(app: Application) -> dict[str, Any]:
    """The parts of an application's configuration that we set, with deployments by name."""
    deployments = {item["name"]: {k: v for k, v in item.items() if k != "name"} for item in app.get("deployments", [])}
    return {"import_path": app.get("import_path"), "args": app.get("args", {}), **deployments}


def _wait_until_running(api: ServeApi, names: list[str], settings: Settings, report: Report) -> None:
    slowest = max(spec.deployment.startup_timeout_s for spec in settings.served())
    began = time.monotonic()
    last = ""
    while True:
        found = api.applications()
        states = {name: found.get(name, {}).get("status", "NOT_STARTED") for name in names}
        for name, state in states.items():
            if state in FAILED:
                raise ApplyFailed(f"{name} did not start: {_reason(found[name])}")
        waiting = [name for name, state in states.items() if state != "RUNNING"]
        if not waiting:
            return
        waited = time.monotonic() - began
        if waited > slowest + 60:
            raise ApplyFailed(
                f"{', '.join(waiting)} did not start within {waited:.0f} s: {_reason(found.get(waiting[0], {}))}"
            )
        now = "waiting for " + ", ".join(waiting)
        if now != last:
            report(now)
            last = now
        time.sleep(POLL_S)


def _wait_until_gone(api: ServeApi, names: list[str], settings: Settings) -> None:
    longest = max((spec.deployment.drain_s for spec in settings.catalogue.values()), default=30.0)
    deadline = time.monotonic() + longest + 2 * manifest.SHUTDOWN_MARGIN_S
    while time.monotonic() < deadline and any(name in api.applications() for name in names):
        time.sleep(POLL_S)


def _reason(app: dict[str, Any]) -> str:
    """Serve's error message, reduced to the engine's own message if it contains one."""
    messages = [app.get("message", "")]
    messages += [deployment.get("message", "") for deployment in app.get("deployments", {}).values()]
    text = "\n".join(message for message in messages if message)
    for line in reversed(text.splitlines()):
        if "EngineStartError" in line:
            return line.partition("EngineStartError:")[2].strip()
    return " ".join(text.split())[-500:] or "no reason given"


def _api(settings: Settings) -> ServeApi:
    url = settings.ray.address or addresses.dashboard_url(settings)
    return ServeApi(url, credentials.load_secrets(settings.var_dir, os.environ).ray_token)


def _running(api: ServeApi) -> dict[str, Application]:
    found = api.applications()
    return {
        name: app["deployed_app_config"]
        for name, app in found.items()
        if app.get("deployed_app_config") and app.get("status") not in ("DELETING", DEPLOY_FAILED)
    }


def _routes(running: dict[str, Application]) -> Any:
    return running["directory"]["deployments"][0]["user_config"]


def _by_name(document: Manifest) -> dict[str, Application]:
    return {app["name"]: app for app in document["applications"]}


def _engines(document: Manifest) -> list[Application]:
    return [app for app in document["applications"] if _is_engine(app["name"])]


def _is_engine(name: str) -> bool:
    return name.startswith(ENGINE_PREFIX)


def _memory(settings: Settings) -> Path:
    return settings.var_dir / "run/applied.json"


def _remember(settings: Settings, document: Manifest) -> None:
    path = _memory(settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(json.dumps(document))
    new.replace(path)


__all__ = ["ApplyFailed", "ClusterError", "Plan", "Step", "execute", "last_applied", "plan", "restore"]
