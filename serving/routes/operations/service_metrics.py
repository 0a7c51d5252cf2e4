"""What the service as a whole looks like at a scrape: engines, dependencies, jobs that wait, people who are there.

Unlike a worker's own gauges these would be the same from any worker, so only the one that answers tells them. What
cannot be learned in time is left out: a gap in a graph is true, an old number is not.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from serving.engines.embedder import EmbedderClient
from serving.engines.registry import EngineRegistry
from serving.observability.active_users import ActiveUsers

WITHIN_S = 0.5  # for everything that waits for another process
JOBS_QUEUES = ("jobs", "jobs.1", "jobs.2", "jobs.3")
JOBS_PREFIX = "bondhu:celery:"  # before a queue's name, where Celery's Redis transport keeps it: see jobs.app

NAMES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "bondhu_dependency_up": ("Whether it answered within half a second", ("dependency",)),
    "bondhu_jobs_waiting": ("Tasks that no Celery worker has taken yet", ("queue",)),
    "bondhu_active_users": ("End users (or applications) of the last five minutes, estimated", ()),
    "bondhu_directory_up": ("Whether the directory of engines answered the last poll", ()),
    "bondhu_model_ready": ("Whether the model can answer now", ("model",)),
    "bondhu_replicas": ("Engine replicas, as they report themselves", ("model", "state")),
    "bondhu_engine_requests": ("Requests in the engines of a model", ("model", "state")),
    "bondhu_engine_kv_cache_usage_ratio": ("KV cache in use, of the fullest engine", ("model",)),
}


@dataclass(frozen=True, slots=True)
class Sample:
    """A value of one of NAMES; `labels` in their order."""

    name: str
    labels: tuple[str, ...]
    value: float


class Overview(Collector):
    """Samples, as a registry takes them."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        self._samples = tuple(samples)

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """The gauges that have samples."""
        for name, (says, labels) in NAMES.items():
            mine = [sample for sample in self._samples if sample.name == name]
            if mine:
                family = GaugeMetricFamily(name, says, labels=labels)
                for sample in mine:
                    family.add_metric(sample.labels, sample.value)
                yield family


async def survey(
    *,
    engine_registry: EngineRegistry,
    embedder: EmbedderClient | None,
    redis: Redis,
    database: AsyncEngine,
    users: ActiveUsers,
) -> Overview:
    """Ask everything, at the same time and for at most WITHIN_S."""
    redis_up, sql_up, active, *waiting = await asyncio.gather(
        _learn(redis.ping),
        _learn(lambda: _select(database)),
        _learn(users.count),
        *(_learn(partial(redis.llen, JOBS_PREFIX + queue)) for queue in JOBS_QUEUES),
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
    return Overview([*samples, *engines(engine_registry)])


def engines(engine_registry: EngineRegistry) -> Iterable[Sample]:
    """What this worker knows of the engines."""
    for model in engine_registry.models():
        yield Sample("bondhu_model_ready", (model,), float(engine_registry.state(model).ready))
    reports = engine_registry.reports()
    for (model, state), count in Counter((report["model"], report["state"]) for report in reports).items():
        yield Sample("bondhu_replicas", (model, state), count)
    for model in {report["model"] for report in reports}:
        mine = [report for report in reports if report["model"] == model]
        yield Sample("bondhu_engine_requests", (model, "running"), sum(report["running"] for report in mine))
        yield Sample("bondhu_engine_requests", (model, "waiting"), sum(report["waiting"] for report in mine))
        fullest = max(report["kv_cache_usage"] for report in mine)
        yield Sample("bondhu_engine_kv_cache_usage_ratio", (model,), fullest)


async def _learn(ask: Callable[[], Awaitable[float]]) -> float | None:
    try:
        async with asyncio.timeout(WITHIN_S):
            return await ask()
    except (RedisError, SQLAlchemyError, OSError):  # a TimeoutError is an OSError
        return None


async def _select(database: AsyncEngine) -> float:
    async with database.connect() as connection:
        await connection.execute(text("SELECT 1"))
    return 1.0
