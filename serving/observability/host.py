"""What the service has of its machine, or of its container where that has limits (cgroup v2), and how much is used."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import psutil

CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class HostReading:
    """At one moment; CPU as seconds used so far (it goes up), by `cores` at most."""

    memory_used_bytes: int
    memory_bytes: int
    cpu_used_s: float
    cores: float
    disk_free_bytes: int
    disk_bytes: int

    @property
    def memory_ratio(self) -> float:
        """Memory in use; what the kernel would drop for whoever needs it is not."""
        return self.memory_used_bytes / self.memory_bytes

    @property
    def disk_ratio(self) -> float:
        """Disk in use."""
        return 1 - self.disk_free_bytes / self.disk_bytes


def read_host(folder: Path, cgroup: Path = CGROUP) -> HostReading:
    """Look; `folder` says whose disk. Raises OSError."""
    disk = shutil.disk_usage(folder)
    memory = psutil.virtual_memory()
    used, size = memory.total - memory.available, memory.total
    if (limit := _number(cgroup / "memory.max")) is not None and limit < size:
        used, size = _used(cgroup), limit
    times = psutil.cpu_times()
    spent, cores = sum(times[:3]) + sum(times[5:8]), float(os.cpu_count() or 1)  # not idle, not waiting for a disk
    if (quota := _quota(cgroup)) is not None and quota < cores:
        spent, cores = _statistics(cgroup / "cpu.stat").get("usage_usec", 0) / 1e6, quota
    return HostReading(used, size, spent, cores, disk.free, disk.total)


def _used(cgroup: Path) -> int:
    """Without the page cache that can go."""
    statistics = _statistics(cgroup / "memory.stat")
    return max(0, (_number(cgroup / "memory.current") or 0) - statistics.get("inactive_file", 0))


def _quota(cgroup: Path) -> float | None:
    """Cores that the control group may use; None: all."""
    try:
        most, period = (cgroup / "cpu.max").read_text().split()
    except (OSError, ValueError):
        return None
    return None if most == "max" else int(most) / int(period)


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):  # not there, or "max"
        return None


def _statistics(file: Path) -> dict[str, int]:
    try:
        lines = [line.split() for line in file.read_text().splitlines()]
    except OSError:
        return {}
    return {line[0]: int(line[1]) for line in lines if len(line) == 2}
