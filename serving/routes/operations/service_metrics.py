"""Metrics of the whole service at a scrape: engines, dependencies, waiting jobs, active users.

They would be the same from any worker, so only the worker that serves the scrape reports them. A value that cannot be
read in time is left out, because a gap in a graph is better than an outdated value.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from operator import methodcaller

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from serving.engines.embedder import EmbedderClient
from serving.engines.registry import EngineRegistry
from serving.generation.catalogue import ModelCatalogue
from serving.observability.active_users import ActiveUsers
from serving.resilience.redis import AWAY, GuardedRedis

WITHIN_S = 0.5  # timeout of calls to other processes
JOBS_QUEUES = ("jobs", "jobs.1", "jobs.2", "jobs.3")
JOBS_PREFIX = "bondhu:celery:"  # prefix of queue names in Celery's Redis transport: see jobs.app

NAMES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "bondhu_dependency_up": ("Whether the dependency responded within half a second", ("dependency",)),
    "bondhu_jobs_waiting": ("Tasks that wait for a Celery worker", ("queue",)),
    "bondhu_active_users": ("Estimated end users (or applications) of the last five minutes", ()),
    "bondhu_directory_up": ("Whether the engine directory responded to the last poll", ()),
    "bondhu_model_ready": ("Whether the model is ready", ("model",)),
    "bondhu_replicas": ("Engine replicas by reported state", ("model", "state")),
    "bondhu_engine_requests": ("Requests in the engines of a model", ("model", "state")),
    "bondhu_engine_kv_cache_usage_ratio": ("KV cache usage of the fullest engine", ("model",)),
}


@dataclass(frozen=True, slots=True)
class Sample:
    """A value of one of NAMES; `labels` are in the order of its label names."""

    name: str
    labels: tuple[str, ...]
    value: float


class Overview(Collector):
    """A Prometheus collector of samples."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        self._samples = tuple(samples)

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """The gauges that have samples."""
        for name, (help_text, labels) in NAMES.items():
            samples = [sample for sample in self._samples if sample.name == name]
            if samples:
                family = GaugeMetricFamily(name, help_text, labels=labels)
                for sample in samples:
                    family.add_metric(sample.labels, sample.value)
                yield family


async def survey(
    *,
    models: ModelCatalogue,
    engine_registry: EngineRegistry,
    embedder: EmbedderClient | None,
    redis: GuardedRedis,
    database: AsyncEngine,
    users: ActiveUsers,
) -> Overview:
    """Read all values concurrently, for at most WITHIN_S."""
    redis_up, sql_up, active, *waiting = await asyncio.gather(
        redis.asked(methodcaller("ping"), WITHIN_S),
        _learn(lambda: _select(database)),
        _learn(users.count),
        *(redis.asked(methodcaller("llen", JOBS_PREFIX + queue), WITHIN_S) for queue in JOBS_QUEUES),
    )
    samples = [
        Sample("bondhu_dependency_up", ("redis",), float(redis_up is not None)),
        Sample("bondhu_dependency_up", ("sql",), float(sql_up is not None)),
        Sample("bondhu_directory_up", (), float(engine_registry.directory_problem is None)),
    ]
    for queue, jobs in zip(JOBS_QUEUES, waiting, strict=True):
        if jobs is not None:
            samples.append(Sample("bondhu_jobs_waiting", (queue,), jobs))
    if active is not None:
        samples.append(Sample("bondhu_active_users", (), active))
    if embedder is not None:
        samples.append(Sample("bondhu_model_ready", (embedder.model,), float(embedder.ready)))
    return Overview([*samples, *engines(models, engine_registry)])


def engines(models: ModelCatalogue, engine_registry: EngineRegistry) -> Iterable[Sample]:
    """This worker's samples of the engines."""
    for model, model_state in models.states().items():
        yield Sample("bondhu_model_ready", (model,), float(model_state.ready))
    reports = engine_registry.reports()
    for (model, state), count in Counter((report["model"], report["state"]) for report in reports).items():
        yield Sample("bondhu_replicas", (model, state), count)
    for model in {report["model"] for report in reports}:
        of_model = [report for report in reports if report["model"] == model]
        yield Sample("bondhu_engine_requests", (model, "running"), sum(report["running"] for report in of_model))
        yield Sample("bondhu_engine_requests", (model, "waiting"), sum(report["waiting"] for report in of_model))
        fullest = max(report["kv_cache_usage"] for report in of_model)
        yield Sample("bondhu_engine_kv_cache_usage_ratio", (model,), fullest)


async def _learn(read: Callable[[], Awaitable[float]]) -> float | None:
    try:
        async with asyncio.timeout(WITHIN_S):
            return await read()
    except (SQLAlchemyError, *AWAY):
        return None


async def _select(database: AsyncEngine) -> float:
    async with database.connect() as connection:
        await connection.execute(text("SELECT 1"))
    return 1.0
