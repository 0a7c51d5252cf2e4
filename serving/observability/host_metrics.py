"""The machine, restarts, evictions and the loop's lag as Prometheus metrics: alerts go by the doctor's thresholds."""

from collections.abc import Iterable, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from serving.observability.host import HostReading


class HostMetrics(Collector):
    """What was read, as a registry takes it; what is None is left out."""

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
        """The families."""
        if self._host is not None:
            yield _gauge(
                "bondhu_memory_used_ratio",
                "Memory in use, of the machine's or the container's",
                self._host.memory_ratio,
            )
            yield _gauge("bondhu_disk_used_ratio", "Of the disk of var_dir", self._host.disk_ratio)
            yield _gauge("bondhu_cpu_cores", "Cores that may be used", self._host.cores)
            spent = CounterMetricFamily("bondhu_cpu_seconds", "CPU used, of the machine or the container")
            spent.add_metric([], self._host.cpu_used_s)
            yield spent
        yield _gauge(
            "bondhu_event_loop_lag_seconds", "Longest standstill of the loop in the last minutes", self._loop_lag_s
        )
        restarts = CounterMetricFamily("bondhu_restarts", "Processes and engines started again", labels=["process"])
        for name, count in self._restarts.items():
            restarts.add_metric([name], count)
        yield restarts
        if self._evicted is not None:
            evicted = CounterMetricFamily("bondhu_redis_evicted_keys", "Keys that Redis threw away for want of memory")
            evicted.add_metric([], self._evicted)
            yield evicted
        if self._backup_age_s is not None:
            yield _gauge("bondhu_backup_age_seconds", "Age of the newest backup in backup.folder", self._backup_age_s)
        ends = GaugeMetricFamily("bondhu_certificate_left_seconds", "Until a certificate ends", labels=["place"])
        for place, left_s in self._expiries.items():
            ends.add_metric([place], left_s)
        yield ends


def _gauge(name: str, says: str, value: float) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, says)
    family.add_metric([], value)
    return family
