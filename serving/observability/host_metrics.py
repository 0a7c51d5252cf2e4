"""Prometheus metrics of the machine, restarts, evictions and event loop lag; alerts use the doctor's thresholds."""

from collections.abc import Iterable, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from serving.observability.host import HostReading


class HostMetrics(Collector):
    """A collector of measured values; values that are None are left out."""

    def __init__(
        self,
        host: HostReading | None,
        *,
        restarts: Mapping[str, float],
        evicted: float | None,
        loop_lag_s: float,
        backup_age_s: float | None,
        expiries: Mapping[str, float],
    ) -> None:
        self._host = host
        self._restarts = restarts
        self._evicted = evicted
        self._loop_lag_s = loop_lag_s
        self._backup_age_s = backup_age_s
        self._expiries = expiries

    def collect(self) -> Iterable[Metric]:
        """The metric families."""
        if self._host is not None:
            yield _gauge(
                "bondhu_memory_used_ratio",
                "Share of the memory of the machine or the container that is in use",
                self._host.memory_ratio,
            )
            yield _gauge("bondhu_disk_used_ratio", "Share of the disk of var_dir that is in use", self._host.disk_ratio)
            yield _gauge("bondhu_cpu_cores", "Usable cores", self._host.cores)
            spent = CounterMetricFamily("bondhu_cpu_seconds", "CPU time used by the machine or the container")
            spent.add_metric([], self._host.cpu_used_s)
            yield spent
        yield _gauge(
            "bondhu_event_loop_lag_seconds",
            "Longest time that the event loop was blocked in the last minutes",
            self._loop_lag_s,
        )
        restarts = CounterMetricFamily("bondhu_restarts", "Restarts of processes and engines", labels=["process"])
        for name, count in self._restarts.items():
            restarts.add_metric([name], count)
        yield restarts
        if self._evicted is not None:
            evicted = CounterMetricFamily(
                "bondhu_redis_evicted_keys", "Keys that Redis evicted because its memory was full"
            )
            evicted.add_metric([], self._evicted)
            yield evicted
        if self._backup_age_s is not None:
            yield _gauge("bondhu_backup_age_seconds", "Age of the newest backup in backup.folder", self._backup_age_s)
        lifetimes = GaugeMetricFamily(
            "bondhu_certificate_left_seconds", "Time until a certificate expires", labels=["place"]
        )
        for address, left_s in self._expiries.items():
            lifetimes.add_metric([address], left_s)
        yield lifetimes


def _gauge(name: str, help_text: str, value: float) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, help_text)
    family.add_metric([], value)
    return family
