"""Collects the measurements for the checks in a gateway worker, concurrently and each within a timeout."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime
from operator import methodcaller
from pathlib import Path
from typing import Any, NamedTuple

from prometheus_client import Metric
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from serving.doctor import certificates, levels, restarts
from serving.doctor.advice import advise
from serving.doctor.checks import CHECKS
from serving.doctor.finding import Report
from serving.doctor.history import History, Moment
from serving.doctor.reading import Expiry, Reading, RedisReading, Settled, SqlReading
from serving.doctor.samples import Samples
from serving.engines.registry import EngineRegistry
from serving.generation.catalogue import ModelCatalogue
from serving.observability.business_metrics import BusinessMetrics
from serving.observability.host import HostReading, read_host
from serving.observability.host_metrics import HostMetrics
from serving.observability.metrics import Readings
from serving.resilience.redis import GuardedRedis
from storage import migrate
from storage.api_keys import list_keys
from storage.business import BusinessFigures, read_figures
from storage.database import AWAY

SLOW_EVERY_S = 60.0
TIMEOUT_S, METRICS_TIMEOUT_S = 2.0, 0.5


class Doctor:
    """Finds problems of the service from one gateway worker, and gives advice.

    Args:
        var_dir: the disk that is checked, and where the supervisor keeps its state.
        families: all metrics of the gateway.
        models: the ids, and whether each can answer.
        engine_registry: knows the replicas.
        redis: Redis, guarded.
        database: a pool.
        readings: this worker's own state.
        queue_keys: where Redis keeps the queues of background tasks, by name.
        settled: settings that advice is about.
        certificate_addresses: files, and host:port, of the certificates that are checked.
        backup_folder: where backups are; None: not configured.
        window_s: how far back rates go.
        every_s: time between two samples, s.

    """

    def __init__(
        self,
        *,
        var_dir: Path,
        families: Callable[[], Iterable[Metric]],
        models: ModelCatalogue,
        engine_registry: EngineRegistry,
        redis: GuardedRedis,
        database: AsyncEngine,
        readings: Readings,
        queue_keys: Mapping[str, str],
        settled: Settled,
        certificate_addresses: tuple[str, ...],
        backup_folder: Path | None,
        window_s: float,
        every_s: float,
    ) -> None:
        self._var_dir = var_dir
        self._families = families
        self._models = models
        self._engine_registry = engine_registry
        self._redis = redis
        self._database = database
        self._readings = readings
        self._queue_keys = queue_keys
        self._settled = settled
        self._certificate_addresses = certificate_addresses
        self._backup_folder = backup_folder
        self._slow_values: _Slow | None = None
        self._window_s = window_s
        self._history = History(self._look, window_s=window_s, every_s=every_s)

    async def run(self) -> None:
        """Take samples until cancelled."""
        await self._history.run()

    async def report(self, overview: Iterable[Metric] = ()) -> Report:
        """Return the current report; `overview` are metrics of the whole service (`serving.routes.operations`)."""
        (first, last), redis, sql, keys, ends = await asyncio.gather(
            self._history.present(),
            self._redis_reading(),
            self._sql_reading(),
            self._keys(),
            asyncio.to_thread(certificates.expiries, self._certificate_addresses, datetime.now(UTC)),
        )
        reading = self._reading(first, last, redis, sql, keys, ends, Samples.of(overview))
        findings = tuple(finding for check in CHECKS for finding in check(reading))
        return Report(findings, advise(reading, findings), reading.window_s)

    async def collectors(self) -> tuple[HostMetrics, BusinessMetrics]:
        """Return the metrics of the machine and of the usage for Prometheus.

        Slow ones (certificates of servers, sums over SQL) are at most SLOW_EVERY_S old.
        """
        stats, slow = await asyncio.gather(
            self._redis.asked(methodcaller("info", "stats"), METRICS_TIMEOUT_S), self._slow()
        )
        host = HostMetrics(
            self._host(),
            restarts=self._restarts(),
            evicted=None if stats is None else float(stats.get("evicted_keys", 0)),
            loop_lag_s=self._history.loop_lag_s,
            backup_age_s=self._backup_age_s(),
            expiries={expiry.name: expiry.left_s for expiry in slow.expiries},
        )
        return host, BusinessMetrics(slow.figures)

    async def _slow(self) -> "_Slow":
        if self._slow_values is None or time.monotonic() - self._slow_values.at_s >= SLOW_EVERY_S:
            now = datetime.now(UTC)
            ends, figures = await asyncio.gather(
                asyncio.to_thread(certificates.expiries, self._certificate_addresses, now),
                _try(lambda: read_figures(self._database, now=now)),
            )
            self._slow_values = _Slow(time.monotonic(), ends, figures)
        return self._slow_values

    def _reading(
        self,
        first: Moment,
        last: Moment,
        redis: RedisReading,
        sql: SqlReading,
        keys: tuple[Expiry, ...],
        ends: tuple[Expiry, ...],
        overview: Samples,
    ) -> Reading:
        window_s = max(last.at_s - first.at_s, 1e-3)
        lately = restarts.lately(self._var_dir, time.time() - self._window_s)
        host = self._host()
        cpu = None
        if host is not None and first.cpu_used_s is not None and last.cpu_used_s is not None and window_s >= 1:
            cpu = (last.cpu_used_s - first.cpu_used_s) / window_s / host.cores
        evicted = max(0.0, (last.evicted or 0.0) - (first.evicted or 0.0)) if first.evicted is not None else 0.0
        return Reading(
            window_s=window_s,
            host=host,
            cpu_ratio=cpu,
            during=last.counted.since(first.counted),
            now=Samples({**last.counted.values, **overview.values}),
            redis=RedisReading(
                is_up=redis.is_up,
                evicted=evicted,
                memory_ratio=redis.memory_ratio,
                policy=redis.policy,
                clock_off_s=redis.clock_off_s,
            ),
            sql=sql,
            settled=self._settled,
            loop_lag_s=self._history.loop_lag_s,
            restarts={
                name: max(count - first.restarts.get(name, count), lately.get(name, 0))
                for name, count in last.restarts.items()
            },
            queues={name: (first.queues.get(name, waiting), waiting) for name, waiting in last.queues.items()},
            not_ready=self._not_ready(),
            breakers=tuple(name for name, is_open in self._readings.breakers_open().items() if is_open),
            keys=keys,
            certificates=ends,
            backup_age_s=self._backup_age_s(),
            wants_backups=self._backup_folder is not None,
        )

    async def _look(self) -> Moment:
        host = self._host()
        queues, redis_stats = await asyncio.gather(
            self._queues(), self._redis.asked(methodcaller("info", "stats"), TIMEOUT_S)
        )
        counted = await asyncio.to_thread(lambda: Samples.of(self._families()))
        evicted_keys = None if redis_stats is None else float(redis_stats.get("evicted_keys", 0))
        cpu = None if host is None else host.cpu_used_s
        return Moment(time.monotonic(), counted, cpu, evicted_keys, queues, self._restarts())

    def _host(self) -> HostReading | None:
        try:
            return read_host(self._var_dir)
        except OSError:
            return None

    async def _queues(self) -> Mapping[str, float]:
        queues = {}
        for name, key in self._queue_keys.items():
            waiting = await self._redis.asked(methodcaller("llen", key), TIMEOUT_S)
            if waiting is not None:
                queues[name] = float(waiting)
        return queues

    def _restarts(self) -> Mapping[str, float]:
        """Restart counts of the supervisor's processes and of engines."""
        found: dict[str, float] = defaultdict(float, restarts.counts(self._var_dir))
        for report in self._engine_registry.reports():
            found[f"engine {report['model']}"] += max(0, report["epoch"] - 1)  # the first start is none
        return dict(found)

    async def _redis_reading(self) -> RedisReading:
        memory, moment = await asyncio.gather(
            self._redis.asked(methodcaller("info", "memory"), TIMEOUT_S),
            self._redis.asked(methodcaller("time"), TIMEOUT_S),
        )
        if memory is None or moment is None:
            return RedisReading(is_up=False)
        max_bytes = float(memory.get("maxmemory", 0))
        return RedisReading(
            is_up=True,
            memory_ratio=float(memory["used_memory"]) / max_bytes if max_bytes else None,
            policy=str(memory.get("maxmemory_policy", "")),
            clock_off_s=moment[0] + moment[1] / 1e6 - time.time(),
        )

    async def _sql_reading(self) -> SqlReading:
        is_sqlite = self._database.dialect.name == "sqlite"

        async def query() -> tuple[float | None, bool]:
            async with self._database.connect() as connection:
                clock = None
                if not is_sqlite:
                    database_s = (
                        await connection.execute(text("SELECT extract(epoch FROM clock_timestamp())"))
                    ).scalar_one()
                    clock = float(database_s) - time.time()
                return clock, await connection.run_sync(migrate.is_at_least)

        pool = self._readings.sql_connections()
        used = int(pool.get("used", 0))
        pool_max = None if is_sqlite else self._settled.pool_max
        state = await _try(query)
        if state is None:  # it is away, or all connections are in use
            return SqlReading(is_up=False, is_sqlite=is_sqlite, pool_used=used, pool_max=pool_max)
        clock, current = state
        return SqlReading(
            is_up=True, is_sqlite=is_sqlite, pool_used=used, pool_max=pool_max, clock_off_s=clock, is_current=current
        )

    async def _keys(self) -> tuple[Expiry, ...]:
        """API keys that expire soon or expired in the last days."""
        keys = await _try(lambda: list_keys(self._database))
        now = datetime.now(UTC)
        expiring = []
        for key in keys or ():
            if key.expires_at is None or key.revoked_at is not None:
                continue
            left_s = (key.expires_at - now).total_seconds()
            if -levels.EXPIRES_S[1] < left_s < levels.EXPIRES_S[0]:
                expiring.append(Expiry(name=f"key {key.id} of {key.app}", left_s=left_s))
        return tuple(expiring)

    def _not_ready(self) -> Mapping[str, str]:
        states = self._models.states()
        away = {name: state.reason or "not ready" for name, state in states.items() if not state.ready}
        if not states:
            away["models"] = self._engine_registry.directory_problem or "no models are known"
        return away

    def _backup_age_s(self) -> float | None:
        if self._backup_folder is None or not self._backup_folder.is_dir():
            return None
        times = [path.stat().st_mtime for path in self._backup_folder.glob("bondhu-*.tar.age")]
        return time.time() - max(times) if times else None


class _Slow(NamedTuple):
    at_s: float
    expiries: tuple[Expiry, ...]
    figures: BusinessFigures | None


async def _try(query: Callable[[], Awaitable[Any]], timeout_s: float = TIMEOUT_S) -> Any:
    """Await a query; None if it fails or does not respond in time."""
    try:
        async with asyncio.timeout(timeout_s):
            return await query()
    except AWAY:
        return None
