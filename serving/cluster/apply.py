"""Brings the running cluster to the configuration without losing a request.

`plan` shows the steps in advance, `execute` makes them (`serving.cluster.rollout`), `roll_back` goes to the last
document that served before, and `restore` puts back what was last applied after a restart of Ray.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path

from serving.cluster import manifest
from serving.cluster import plan as planning
from serving.cluster.directory import DirectoryApi
from serving.cluster.manifest import Manifest
from serving.cluster.plan import Plan, Step
from serving.cluster.rollout import ApplyFailed, Rollout, Timing
from serving.cluster.serve_api import ClusterError, ServeApi
from serving.cluster.start_times import StartTimes
from serving.config import addresses, credentials
from serving.config.schema import CanarySpec, Settings

Report = Callable[[str], None]

PACKAGE, FORMER_PACKAGE = "serving.deployments", "serving.deploy"  # of import paths; the old one was used before 0.1.0


def plan(settings: Settings) -> Plan:
    """Compare the configuration with the cluster; raises ClusterError, ConfigError if an adapter does not fit."""
    return planning.plan(settings, _api(settings))


def plan_back(settings: Settings, document: Manifest) -> Plan:
    """Compare a document that was applied before with the cluster; raises ClusterError."""
    return planning.plan_to(document, _api(settings), {})


def execute(
    plan: Plan, settings: Settings, report: Report, *, by: str, replace: bool = False, canary: CanarySpec | None = None
) -> Manifest:
    """Execute the plan and return, when it is done, the document that serves; `report` is called with each step.

    With `replace`, old engines stop before new ones start, for a machine without room for both; requests get 503
    meanwhile, or an answer of the fallback chain.

    Raises:
        ApplyFailed: a new engine or the embedder did not start, or did worse than the old one; the previous state was
            restored.
        ClusterError: the cluster cannot be reached.

    """
    document = _rollout(plan, settings, report, by).run(replace=replace, canary=canary)
    _remember(settings, document)
    return document


def restore(settings: Settings, report: Report, *, by: str) -> Manifest:
    """After a restart of Ray: restore what was last applied, or apply the configuration if nothing was."""
    document = last_applied(settings)
    desired = document or manifest.build(settings)
    plan = planning.plan_to(desired, _api(settings), {})
    done = _rollout(plan, settings, report, by).start(desired)
    if document is None:
        _remember(settings, done)
    return done


def last_applied(settings: Settings) -> Manifest | None:
    """The last applied document, with the module paths of this version; None if there is none."""
    saved = _memory(settings)
    if not saved.is_file():
        return None
    document: Manifest = json.loads(saved.read_text().replace(f'"{FORMER_PACKAGE}.', f'"{PACKAGE}.'))
    return document


def _rollout(plan: Plan, settings: Settings, report: Report, by: str) -> Rollout:
    secrets = credentials.load_secrets(settings.var_dir, os.environ)
    specs = settings.catalogue.values()
    return Rollout(
        api=_api(settings),
        directory=DirectoryApi(addresses.ingress_url(settings), secrets.cluster_key),
        plan=plan,
        timing=Timing(
            start_s=max(spec.deployment.startup_timeout_s for spec in settings.served()),
            drain_s=max((spec.deployment.drain_s for spec in specs), default=30.0),
            polls_s=3 * settings.gateway.directory_poll_s + 1,
        ),
        starts=StartTimes(settings.var_dir / "run/start_times.json"),
        by=by,
        report=report,
    )


def _api(settings: Settings) -> ServeApi:
    url = settings.ray.address or addresses.dashboard_url(settings)
    return ServeApi(url, credentials.load_secrets(settings.var_dir, os.environ).ray_token)


def _memory(settings: Settings) -> Path:
    return settings.var_dir / "run/applied.json"


def _remember(settings: Settings, document: Manifest) -> None:
    path = _memory(settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(json.dumps(document))
    new.replace(path)


__all__ = ["ApplyFailed", "ClusterError", "Plan", "Step", "execute", "last_applied", "plan", "plan_back", "restore"]
