"""The messages between engine replicas, the directory and gateways: typed dicts, sent as JSON."""

from typing import Any, Literal, NotRequired, TypedDict

from serving.config import reloadable
from serving.config.schema import Settings

ReplicaState = Literal["starting", "ready", "draining", "failed", "stopped", "asleep", "waking"]
RESTING: tuple[ReplicaState, ...] = ("asleep", "waking")  # a request wakes it


class ReplicaReport(TypedDict):
    """One engine replica's report about itself."""

    replica_id: str  # stable over restarts in place
    epoch: int  # incremented at each start of vLLM's server
    model: str  # the model id that it serves
    fingerprint: str  # fingerprint of its configuration
    revision: str  # revision of the weights
    quantization: str  # e.g. "W4A16"; "none" where weights are not quantised
    adapters: NotRequired[dict[str, str]]  # model ids of its LoRA adapters -> revision of their weights
    adapter_names: NotRequired[dict[str, str]]  # the names that its engine knows them by, where these differ
    adapter_problems: NotRequired[dict[str, str]]  # why its engine refused one
    state: ReplicaState
    reason: str  # why it is not ready; "" if it is
    address: str  # "http://host:port"; "" until vLLM's server listens
    key: str  # API key of this boot of vLLM's server
    running: int  # requests in the running batch
    waiting: int  # requests in the engine's queue
    kv_cache_usage: float  # 0..1
    ready_in_s: NotRequired[float]  # how long it still takes, or would take, until it is ready; by its last start
    start_s: NotRequired[float]  # how long its last start took; 0: none has ended
    memory_bytes: NotRequired[int]  # resident, of its engine's processes


def serves(report: ReplicaReport, model: str) -> bool:
    """Whether `model` is the replica's model or an adapter on it."""
    return report["model"] == model or model in report.get("adapters", {})


def engine_model(report: ReplicaReport, model: str) -> str:
    """The name of `model` in requests to the replica's engine."""
    return report.get("adapter_names", {}).get(model, model)


def label(report: ReplicaReport, model: str) -> str:
    """The value of `x-bondhu-model` for a response of `model`; an adapter is named with its base model."""
    adapter = report.get("adapters", {}).get(model)
    weights = f"revision={report['revision']}; quantization={report['quantization']}"
    if adapter is None:
        return f"{report['model']}; {weights}"
    return f"{model}; adapter={adapter}; base={report['model']}; {weights}"


class Traffic(TypedDict):
    """How the requests of engines with one configuration went, as gateways counted them."""

    requests: int
    failed: int
    streams: int  # those whose first token was timed
    ttft_s: float  # sum of their times to it


class Version(TypedDict):
    """Which configuration of a model answers which share of its requests, since when (epoch seconds), by whom."""

    model: str
    fingerprint: str
    share: float
    since: float
    by: str


class Canary(TypedDict):
    """A share of the requests for `model` goes to `to`, on engines with this fingerprint, until that epoch second."""

    model: str
    to: str
    fingerprint: str
    share: float
    until: float


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
    bases: NotRequired[dict[str, str]]  # adapter -> the model that it is on
    live: NotRequired[dict[str, Any]]  # reloadable settings (serving.config.reloadable)
    # The current embedder, then the next one; read by jobs.embedding_backfill.
    embedders: NotRequired[list[EmbedderRoute]]
    on_demand: NotRequired[list[str]]  # models that may have no replica: a request for one makes it
    versions: NotRequired[list[Version]]
    expected: NotRequired[dict[str, float]]  # model -> epoch seconds at which its engine should be ready
    canary: NotRequired[Canary]


class DirectoryAnswer(TypedDict):
    """The response of the directory."""

    routing: Routing
    replicas: list[ReplicaReport]
    traffic: NotRequired[dict[str, Traffic]]  # by fingerprint
    last_used: NotRequired[dict[str, float]]  # model id -> seconds since a request named it
    # Of models that Ray starts on demand and that have no ready replica: seconds until there is one, by the last start.
    ready_in: NotRequired[dict[str, float]]


class GatewayReport(TypedDict):
    """What a gateway worker tells the directory when it polls it; an apply tells it what to wake."""

    worker: str
    traffic: dict[str, Traffic]  # by fingerprint, since the worker's start
    used: dict[str, float]  # model id -> seconds since a request named it
    wake: NotRequired[list[str]]  # applications of which Ray should start a replica if it has none


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
        "bases": {
            adapter: spec.id
            for adapter in settings.ids.of("adapter", served=True)
            if (spec := settings.base_of(adapter))
        },
        "on_demand": [
            spec.id
            for spec in settings.served()
            if spec.deployment.autoscaling is not None and spec.deployment.autoscaling.min_replicas == 0
        ],
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
