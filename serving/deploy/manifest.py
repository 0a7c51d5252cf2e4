"""Ray Serve's declarative configuration, built from settings. No Ray import: it is plain data.

The same document is PUT to a cluster's REST API by `bondhu apply` and can stand in a KubeRay RayService.
One application per engine, named after its configuration: a changed engine is another application beside the
first, which is what lets a swap lose nothing.
https://docs.ray.io/en/latest/serve/production-guide/config.html
"""

from pathlib import Path
from typing import Any

from models import engine_args
from serving import live
from serving.config_schema import (
    AutoscalingSpec,
    BatchedSpec,
    DeploymentSpec,
    EmbedderSpec,
    LlamaCppSpec,
    ModelSpec,
    Settings,
)
from serving.replica import Routing

ENGINE_PREFIX = "engine-"
SHUTDOWN_MARGIN_S = 20.0  # beyond the drain: settling, and vLLM's own end

Application = dict[str, Any]
Manifest = dict[str, Any]


def build(settings: Settings) -> Manifest:
    """What should run: directory, embedders, reranker and one engine application per active model."""
    engines = [engine_application(settings, spec) for spec in settings.served()]
    return assemble(settings, routing(settings), engines)


def assemble(settings: Settings, routes: Routing, engines: list[Application]) -> Manifest:
    """A whole document with these routes and these engine applications."""
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


def routing(settings: Settings) -> Routing:
    """The routing table that the settings ask for, and what else a running gateway is to know."""
    return {
        "alias": settings.models.alias,
        "active": settings.catalogue[settings.models.active].default_name,
        "models": {name: spec.fingerprint() for spec in settings.served() for name in spec.names},
        "live": live.sent(settings),
        "embedders": [
            {
                "model": spec.id,
                "revision": spec.revision,
                "dimensions": spec.dimensions,
                "route": f"/{spec.application}",
            }
            for spec in settings.embedder.in_use
        ],
    }


def engine_name(spec: ModelSpec) -> str:
    """The application's name: another configuration, another name."""
    return f"{ENGINE_PREFIX}{spec.id}-{spec.fingerprint()}"


def engine_application(settings: Settings, spec: ModelSpec) -> Application:
    """One model's engine."""
    placement = spec.deployment
    directory = spec.directory(settings.root)
    adapters = {each.id: str(settings.root / each.path) for each in spec.adapters}
    deployment: dict[str, Any] = {
        "name": "Engine",
        "graceful_shutdown_timeout_s": placement.drain_s + SHUTDOWN_MARGIN_S,
        "ray_actor_options": {"num_cpus": placement.num_cpus, "num_gpus": placement.num_gpus},
        "autoscaling_config": _autoscaling(placement),
    }
    return {
        "name": engine_name(spec),
        "route_prefix": None,
        "import_path": "serving.deploy.engine:build",
        "args": {
            "model": spec.id,
            "fingerprint": spec.fingerprint(),
            "path": str(directory) if directory else spec.path,
            "revision": spec.revision,
            "quantization": spec.quantization,
            "arguments": _arguments(settings, spec, directory is not None),
            "adapters": adapters,
            "runs": "llama_cpp" if spec.runs_llama_cpp else "vllm",
            "environment": spec.env,
            "startup_timeout_s": placement.startup_timeout_s,
            "drain_s": placement.drain_s,
            "max_restarts": placement.max_restarts,
            "loopback": settings.ray.address is None,
        },
        "deployments": [deployment],
    }


def _arguments(settings: Settings, spec: ModelSpec, is_local: bool) -> list[str]:
    """The command line of the model's server, less what the replica adds: model, adapters, address, key."""
    if spec.runs_llama_cpp:
        return llama_cpp_arguments(spec.llama_cpp or LlamaCppSpec(), settings.root)
    arguments = engine_args.command_line(spec.engine_arguments, spec.server_arguments(settings.root))
    return arguments + ([] if is_local or not spec.revision else ["--revision", spec.revision])


def llama_cpp_arguments(spec: LlamaCppSpec, root: Path) -> list[str]:
    """llama.cpp's server's part of a model file as `models.llama_cpp` takes it."""
    numbers = ("context_tokens", "parallel", "threads", "batch_tokens")
    arguments = [f"--{name.replace('_', '-')}={getattr(spec, name)}" for name in numbers]
    return arguments + ([f"--chat-template={root / spec.chat_template}"] if spec.chat_template else [])


def embedder_application(spec: EmbedderSpec) -> Application:
    """An embedder, named after its model: when the next one becomes the present one, its replicas stay."""
    return _batched(spec.application, "Embedder", spec, spec.path)


def _batched(name: str, deployment: str, spec: BatchedSpec, path: str) -> Application:
    return {
        "name": name,
        "route_prefix": f"/{name}",
        "import_path": f"serving.deploy.{deployment.lower()}:build",
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
    """The directory with its routing table."""
    return {
        "name": "directory",
        "route_prefix": "/directory",
        "import_path": "serving.deploy.directory:build",
        "args": {},
        "deployments": [{"name": "Directory", "user_config": dict(routes), "ray_actor_options": {"num_cpus": 0}}],
    }


def _autoscaling(placement: DeploymentSpec) -> dict[str, Any]:
    """Bounds and target; a fixed number is both bounds.

    Serve restarts all replicas when the policy comes, goes or changes, its arguments included. So it is always there,
    takes no arguments, and reads the target where Serve's own policy would.
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
        "policy": {"policy_function": "serving.deploy.autoscaling:engine_load"},
    }
