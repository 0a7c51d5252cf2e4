"""What the engines of each model do now: state, memory, last use; a part of `bondhu models list`."""

import os
from typing import Any

from serving.cluster.directory import DirectoryApi
from serving.cluster.serve_api import ClusterError
from serving.config.addresses import ingress_url
from serving.config.credentials import CLUSTER_KEY, read_env_file, secrets_env
from serving.config.schema import Settings
from serving.engines.wire import DirectoryAnswer

STATES = ("ready", "waking", "starting", "asleep", "draining", "failed")  # of several replicas, the first one here


def directory_api(settings: Settings) -> DirectoryApi:
    """The directory of the service that runs on this machine, if any."""
    key = os.environ.get(CLUSTER_KEY) or read_env_file(secrets_env(settings.var_dir)).get(CLUSTER_KEY, "")
    return DirectoryApi(ingress_url(settings), key)


def read_states(settings: Settings) -> dict[str, dict[str, Any]]:
    """State, replicas, memory_bytes and last_used_s of each model that is served; empty while the cluster is away."""
    try:
        answer = directory_api(settings).read()
    except ClusterError:
        return {}
    bases = answer["routing"].get("bases", {})
    models = {bases.get(name, name) for name in answer["routing"]["models"]}
    return {model: _state(model, answer, bases) for model in models}


def _state(model: str, answer: DirectoryAnswer, bases: dict[str, str]) -> dict[str, Any]:
    replicas = [report for report in answer["replicas"] if report["model"] == model]
    states = {report["state"] for report in replicas}
    gone = "asleep" if model in answer["routing"].get("on_demand", []) else "no replica"
    used = [age_s for name, age_s in answer.get("last_used", {}).items() if bases.get(name, name) == model]
    return {
        "state": next((state for state in STATES if state in states), gone),
        "replicas": len(replicas),
        "memory_bytes": sum(report.get("memory_bytes", 0) for report in replicas),
        "last_used_s": min(used, default=None),
    }


def age(seconds: float | None) -> str:
    """How long ago something was, in one unit."""
    if seconds is None:
        return "never"
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"
