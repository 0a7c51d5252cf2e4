"""What an engine replica, the directory and the gateways tell one another: plain typed dicts, JSON on the wire."""

from typing import Any, Literal, NotRequired, TypedDict

from serving.config import reloadable
from serving.config.schema import Settings

ReplicaState = Literal["starting", "ready", "draining", "failed", "stopped"]


class ReplicaReport(TypedDict):
    """One engine replica, as it describes itself."""

    replica_id: str  # stable over restarts in place
    epoch: int  # one higher at each start of vLLM's server
    model: str  # the model id that it serves
    fingerprint: str  # of the configuration that it was started with
    revision: str  # of the weights
    quantization: str  # e.g. "W4A16"; "none" where weights are not quantised
    adapters: NotRequired[dict[str, str]]  # model ids of its LoRA adapters -> revision of their weights
    state: ReplicaState
    reason: str  # why it is not ready; "" when it is
    address: str  # "http://host:port"; "" until vLLM's server listens
    key: str  # what this boot of it answers to
    running: int  # requests in the running batch
    waiting: int  # requests in the engine's queue
    kv_cache_usage: float  # 0..1


def serves(report: ReplicaReport, model: str) -> bool:
    """Whether `model` is its model, or an adapter on it."""
    return report["model"] == model or model in report.get("adapters", {})


def label(report: ReplicaReport, model: str) -> str:
    """What `x-bondhu-model` says of an answer of `model`: who really answers, an adapter with the model below it."""
    adapter = report.get("adapters", {}).get(model)
    weights = f"revision={report['revision']}; quantization={report['quantization']}"
    if adapter is None:
        return f"{report['model']}; {weights}"
    return f"{model}; adapter={adapter}; base={report['model']}; {weights}"


class EmbedderRoute(TypedDict):
    """An embedder that is deployed: whose vectors it makes, and where it answers on the private ingress."""

    model: str
    revision: str
    dimensions: int
    route: str


class Routing(TypedDict):
    """Which models clients reach."""

    alias: str  # the name that always means the active model
    active: str  # model id
    models: dict[str, str]  # model id -> fingerprint that new requests go to
    live: NotRequired[dict[str, Any]]  # settings that reach a running gateway (serving.config.reloadable)
    # the present one first, then the next; jobs.embedding_backfill reads it
    embedders: NotRequired[list[EmbedderRoute]]


class DirectoryAnswer(TypedDict):
    """What GET /directory returns."""

    routing: Routing
    replicas: list[ReplicaReport]


def routing(settings: Settings) -> Routing:
    """The routing table that the settings ask for, and what else a running gateway is to know."""
    return {
        "alias": settings.models.alias,
        "active": settings.catalogue[settings.models.active].default_name,
        "models": {name: spec.fingerprint() for spec in settings.served() for name in spec.names},
        "live": reloadable.sent(settings),
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
