"""The messages between engine replicas, the directory and gateways: typed dicts, sent as JSON."""

from typing import Any, Literal, NotRequired, TypedDict

from serving.config import reloadable
from serving.config.schema import Settings

ReplicaState = Literal["starting", "ready", "draining", "failed", "stopped"]


class ReplicaReport(TypedDict):
    """One engine replica's report about itself."""

    replica_id: str  # stable over restarts in place
    epoch: int  # incremented at each start of vLLM's server
    model: str  # the model id that it serves
    fingerprint: str  # fingerprint of its configuration
    revision: str  # revision of the weights
    quantization: str  # e.g. "W4A16"; "none" where weights are not quantised
    adapters: NotRequired[dict[str, str]]  # model ids of its LoRA adapters -> revision of their weights
    state: ReplicaState
    reason: str  # why it is not ready; "" if it is
    address: str  # "http://host:port"; "" until vLLM's server listens
    key: str  # API key of this boot of vLLM's server
    running: int  # requests in the running batch
    waiting: int  # requests in the engine's queue
    kv_cache_usage: float  # 0..1


def serves(report: ReplicaReport, model: str) -> bool:
    """Whether `model` is the replica's model or an adapter on it."""
    return report["model"] == model or model in report.get("adapters", {})


def label(report: ReplicaReport, model: str) -> str:
    """The value of `x-bondhu-model` for a response of `model`; an adapter is named with its base model."""
    adapter = report.get("adapters", {}).get(model)
    weights = f"revision={report['revision']}; quantization={report['quantization']}"
    if adapter is None:
        return f"{report['model']}; {weights}"
    return f"{model}; adapter={adapter}; base={report['model']}; {weights}"


class EmbedderRoute(TypedDict):
    """A deployed embedder: its model, and its route on the private ingress."""

    model: str
    revision: str
    dimensions: int
    route: str


class Routing(TypedDict):
    """The routing table: which models requests can use."""

    alias: str  # the name that always means the active model
    active: str  # model id
    models: dict[str, str]  # model id -> fingerprint of the configuration that new requests go to
    live: NotRequired[dict[str, Any]]  # reloadable settings (serving.config.reloadable)
    # The current embedder, then the next one; read by jobs.embedding_backfill.
    embedders: NotRequired[list[EmbedderRoute]]


class DirectoryAnswer(TypedDict):
    """The response of GET /directory."""

    routing: Routing
    replicas: list[ReplicaReport]


def routing(settings: Settings) -> Routing:
    """The routing table for the settings."""
    return {
        "alias": settings.models.alias,
        "active": settings.ids.answers(settings.models.alias),
        "models": {
            name: spec.fingerprint()
            for name in settings.ids.of("model", "adapter", served=True)
            if (spec := settings.base_of(name))
        },
        "live": reloadable.to_json(settings),
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
