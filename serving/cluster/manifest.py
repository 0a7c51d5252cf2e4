"""Builds Ray Serve's declarative configuration from settings, as plain data without importing Ray.

`bondhu apply` sends the document to a cluster's REST API; it can also be used in a KubeRay RayService. Each engine is
an application named after its configuration: a changed engine is a second application beside the first, so that a swap
loses no request.
https://docs.ray.io/en/latest/serve/production-guide/config.html
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from models.adapters.revision import adapter_revision
from models.vllm import arguments as engine_args
from serving.config.schema import (
    AutoscalingSpec,
    BatchedSpec,
    DeploymentSpec,
    EmbedderSpec,
    LlamaCppSpec,
    ModelSpec,
    Settings,
)
from serving.engines.wire import Routing, routing

ENGINE_PREFIX = "engine-"
SHUTDOWN_MARGIN_S = 20.0  # in addition to the drain: settling, and vLLM's own shutdown

NOTES = ("versions", "expected", "canary")  # of the routing table: what an apply notes in it

Application = dict[str, Any]
Manifest = dict[str, Any]


def build(settings: Settings) -> Manifest:
    """The whole document: directory, embedders, reranker and one engine application per served model."""
    engines = [engine_application(settings, spec) for spec in settings.served()]
    return assemble(settings, routing(settings), engines)


def assemble(settings: Settings, routes: Routing, engines: list[Application]) -> Manifest:
    """A document with these routes and engine applications."""
    beside = [embedder_application(spec) for spec in settings.embedder.in_use]
    if settings.reranker is not None:
        beside.append(_batched("reranker", "Reranker", settings.reranker, settings.reranker.path))
    return {
        "proxy_location": "HeadOnly" if settings.ray.address is None else "EveryNode",
        "http_options": {
            "host": "127.0.0.1" if settings.ray.address is None else "0.0.0.0",  # noqa: S104 - the cluster's network
            "port": settings.ray.ingress_port,
        },
        "applications": [directory_application(routes), *beside, *engines],
    }


def is_engine(name: str) -> bool:
    """Whether an application is a model's engine, by its name."""
    return name.startswith(ENGINE_PREFIX)


def engines_of(document: Manifest) -> list[Application]:
    """The engine applications of a document."""
    return [app for app in document["applications"] if is_engine(app["name"])]


def routes_of(document: Manifest) -> Routing:
    """The routing table in a document."""
    (directory,) = (app for app in document["applications"] if app["name"] == "directory")
    routes: Routing = directory["deployments"][0]["user_config"]
    return routes


def adapters_of(app: Application) -> dict[str, dict[str, str]]:
    """The adapters that an engine's replicas load while they run: path and revision by id."""
    adapters: dict[str, dict[str, str]] = (app["deployments"][0].get("user_config") or {}).get("adapters", {})
    return adapters


def scales_to_zero(app: Application) -> bool:
    """Whether Ray removes an engine's last replica when it is idle, and starts one for the next request."""
    return bool((app["deployments"][0].get("user_config") or {}).get("scales_to_zero"))


def changed(document: Manifest, routes: Routing, engines: Sequence[Application]) -> Manifest:
    """The document with another routing table and other engine applications."""
    beside = [app for app in document["applications"] if not is_engine(app["name"]) and app["name"] != "directory"]
    return {**document, "applications": [directory_application(routes), *beside, *engines]}


def without_notes(routes: Mapping[str, Any]) -> dict[str, Any]:
    """The routing table as the configuration makes it."""
    return {key: value for key, value in routes.items() if key not in NOTES}


def engine_name(spec: ModelSpec) -> str:
    """The application's name, which differs for each configuration."""
    return f"{ENGINE_PREFIX}{spec.id}-{spec.fingerprint()}"


def engine_application(settings: Settings, spec: ModelSpec) -> Application:
    """One model's engine."""
    placement = spec.deployment
    directory = spec.directory(settings.root)
    adapters = {adapter.id: settings.root / adapter.path for adapter in spec.adapters}
    loads_at_start = {name: str(path) for name, path in adapters.items()} if spec.runs_llama_cpp else {}
    deployment: dict[str, Any] = {
        "name": "Engine",
        "user_config": {
            "adapters": {} if spec.runs_llama_cpp else _wanted(adapters),
            "idle_s": placement.idle_s,
            "scales_to_zero": placement.autoscaling is not None and placement.autoscaling.min_replicas == 0,
        },
        "graceful_shutdown_timeout_s": placement.drain_s + SHUTDOWN_MARGIN_S,
        "ray_actor_options": {"num_cpus": placement.num_cpus, "num_gpus": placement.num_gpus},
        "autoscaling_config": _autoscaling(placement),
    }
    return {
        "name": engine_name(spec),
        "route_prefix": None,
        "import_path": "serving.deployments.engine:build",
        "args": {
            "model": spec.id,
            "fingerprint": spec.fingerprint(),
            "path": str(directory) if directory else spec.path,
            "revision": spec.revision,
            "quantization": spec.quantization,
            "arguments": _arguments(settings, spec, directory is not None),
            "adapters": loads_at_start,
            "runs": "llama_cpp" if spec.runs_llama_cpp else "vllm",
            "environment": spec.env,
            "startup_timeout_s": placement.startup_timeout_s,
            "step_timeout_s": placement.step_timeout_s,
            "grammars": placement.grammars.model_dump(),
            "drain_s": placement.drain_s,
            "max_restarts": placement.max_restarts,
            "loopback": settings.ray.address is None,
            "has_sleep_mode": not spec.runs_llama_cpp and spec.engine_arguments.get("enable_sleep_mode") is True,
        },
        "deployments": [deployment],
    }


def _wanted(adapters: Mapping[str, Path]) -> dict[str, dict[str, str]]:
    """The adapters that replicas load while they run; of files that are not here, replicas read the revision."""
    return {
        name: {"path": str(path), "revision": adapter_revision(path) if path.exists() else ""}
        for name, path in adapters.items()
    }


def _arguments(settings: Settings, spec: ModelSpec, is_local: bool) -> list[str]:
    """The arguments of the model's server, without those that the replica adds: model, adapters, address, key."""
    if spec.runs_llama_cpp:
        sampling = [f"--sampling={json.dumps(spec.sampling.stated)}"] if spec.sampling.stated else []
        return llama_cpp_arguments(spec.llama_cpp or LlamaCppSpec(), settings.root) + sampling
    arguments = engine_args.command_line(spec.engine_arguments, spec.server_arguments(settings.root))
    return arguments + ([] if is_local or not spec.revision else ["--revision", spec.revision])


def llama_cpp_arguments(spec: LlamaCppSpec, root: Path) -> list[str]:
    """The arguments of `models.llama_cpp` for a model file."""
    numbers = ("context_tokens", "parallel", "threads", "batch_tokens")
    arguments = [f"--{name.replace('_', '-')}={getattr(spec, name)}" for name in numbers]
    return arguments + ([f"--chat-template={root / spec.chat_template}"] if spec.chat_template else [])


def embedder_application(spec: EmbedderSpec) -> Application:
    """An embedder's application, named after its model, so that its replicas stay when it becomes the current one."""
    made = _batched(spec.application, "Embedder", spec, spec.path)
    made["args"]["runtime"] = "torch" if spec.num_gpus else spec.runtime
    return made


def _batched(name: str, deployment: str, spec: BatchedSpec, path: str) -> Application:
    return {
        "name": name,
        "route_prefix": f"/{name}",
        "import_path": f"serving.deployments.{deployment.lower()}:build",
        "args": {
            "path": path,
            "max_batch_size": spec.max_batch_size,
            "batch_wait_s": spec.batch_wait_s,
            "threads": max(1, int(spec.num_cpus)),
        },
        "deployments": [
            {
                "name": deployment,
                "num_replicas": spec.replicas,
                "ray_actor_options": {"num_cpus": spec.num_cpus, "num_gpus": spec.num_gpus},
            }
        ],
    }


def directory_application(routes: Routing) -> Application:
    """The directory's application, with its routing table."""
    return {
        "name": "directory",
        "route_prefix": "/directory",
        "import_path": "serving.deployments.directory:build",
        "args": {},
        "deployments": [{"name": "Directory", "user_config": dict(routes), "ray_actor_options": {"num_cpus": 0}}],
    }


def _autoscaling(placement: DeploymentSpec) -> dict[str, Any]:
    """Bounds and target; a fixed number of replicas is both bounds.

    Serve restarts all replicas when the policy is added, removed or changed, including its arguments. So the policy is
    always set, has no arguments, and reads the target from the same place as Serve's own policy.
    """
    fixed = {"min_replicas": placement.replicas, "max_replicas": placement.replicas, "upscale_delay_s": 0}
    spec = placement.autoscaling or AutoscalingSpec(**fixed)
    return {
        "min_replicas": spec.min_replicas,
        "max_replicas": spec.max_replicas,
        "target_ongoing_requests": spec.target_load,
        "upscale_delay_s": spec.upscale_delay_s,
        "downscale_delay_s": spec.downscale_delay_s,
        "metrics_interval_s": 2.0,
        "look_back_period_s": 6.0,
        "policy": {"policy_function": "serving.deployments.autoscaling:engine_load"},
    }
