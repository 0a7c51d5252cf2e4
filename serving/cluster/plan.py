"""What an apply would change: the cluster's applications compared with the configuration's, as steps in words."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from serving.cluster import manifest
from serving.cluster.adapters import misfits
from serving.cluster.manifest import Application, Manifest, is_engine
from serving.cluster.serve_api import ServeApi
from serving.config.errors import ConfigError
from serving.config.schema import ModelSpec, Settings

Action = Literal["start", "stop", "restart", "reconfigure", "route", "keep"]
DEPLOY_FAILED = "DEPLOY_FAILED"


@dataclass(frozen=True)
class Step:
    """One change of one Serve application."""

    action: Action
    target: str
    why: str


@dataclass(frozen=True)
class Plan:
    """The steps of an apply, in order, and the resulting document.

    Attributes:
        steps: in order.
        desired: what the cluster will be told.
        running: the current configurations by application name.
        specs: the model files whose checks new engines must pass, by model id.

    """

    steps: tuple[Step, ...]
    desired: Manifest
    running: dict[str, Application]
    specs: Mapping[str, ModelSpec] = field(default_factory=dict)

    @property
    def changes(self) -> bool:
        """Whether there are any changes."""
        return any(step.action != "keep" for step in self.steps)


def plan(settings: Settings, api: ServeApi) -> Plan:
    """Compare the configuration with the cluster; raises ClusterError, ConfigError if an adapter does not fit."""
    if problems := misfits(settings):
        raise ConfigError(problems)
    specs = {spec.id: spec for spec in settings.served()}
    return plan_to(manifest.build(settings), api, specs)


def plan_to(desired: Manifest, api: ServeApi, specs: Mapping[str, ModelSpec]) -> Plan:
    """Compare a document with the cluster; raises ClusterError."""
    running = running_applications(api)
    return Plan(tuple(_steps(running, by_name(desired))), desired, running, specs)


def running_applications(api: ServeApi) -> dict[str, Application]:
    """The current configurations of the applications that were not given up."""
    return {
        name: app["deployed_app_config"]
        for name, app in api.applications().items()
        if app.get("deployed_app_config") and app.get("status") not in ("DELETING", DEPLOY_FAILED)
    }


def by_name(document: Manifest) -> dict[str, Application]:
    """The applications of a document."""
    return {app["name"]: app for app in document["applications"]}


def _steps(running: dict[str, Application], desired: dict[str, Application]) -> list[Step]:
    steps = []
    for name, app in desired.items():
        if name not in running:
            model = app["args"].get("model") if is_engine(name) else None
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
    """The parts of an application's configuration that we set, with deployments by name; not what an apply notes."""
    deployments = {}
    for item in app.get("deployments", []):
        settled = {key: value for key, value in item.items() if key != "name"}
        if app.get("name") == "directory":
            settled["user_config"] = manifest.without_notes(item.get("user_config") or {})
        deployments[item["name"]] = settled
    return {"import_path": app.get("import_path"), "args": app.get("args", {}), **deployments}
