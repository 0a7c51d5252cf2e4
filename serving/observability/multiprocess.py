"""Sums the metrics of all gateway workers in one scrape, from their files in one directory.

prometheus_client stores a worker's values in files named after its process id, which survive the worker. Each worker
also holds a lock here, so that dead workers are found without relying on process ids. The counters and histograms of a
dead worker are added to shared files, because a counter must not decrease; its gauges are deleted. So the number of
files stays bounded.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

ENDED = "ended"


class MetricFiles(Collector):
    """Registers this worker in `directory` until its process ends; create it before any metric."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        with self._locked():
            self._mine = os.open(directory / f"{os.getpid()}.worker", os.O_CREAT | os.O_RDWR, 0o600)
            fcntl.flock(self._mine, fcntl.LOCK_EX)

    def collect(self) -> list[Metric]:
        """The metrics of all workers, dead or alive."""
        with self._locked():
            self._settle_the_dead()
            return list(MultiProcessCollector(None, str(self._directory)).collect())

    def _settle_the_dead(self) -> None:
        for held in self._directory.glob("*.worker"):
            lock = os.open(held, os.O_RDWR)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            finally:
                os.close(lock)
            for kind in ("counter", "histogram"):
                self._add_to_ended(kind, held.stem)
            for gauges in self._directory.glob(f"gauge_*_{held.stem}.db"):
                gauges.unlink()
            held.unlink()

    def _add_to_ended(self, kind: str, pid: str) -> None:
        source = self._directory / f"{kind}_{pid}.db"
        if not source.exists():
            return
        ended = MmapedDict(str(self._directory / f"{kind}_{ENDED}.db"))
        for key, value, _, _ in MmapedDict.read_all_values_from_file(str(source)):
            ended.write_value(key, ended.read_value(key)[0] + value, 0.0)
        ended.close()
        source.unlink()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Lock the directory: a file that is being merged must not be counted twice."""
        with (self._directory / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
