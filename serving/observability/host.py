"""Reads the memory, CPU and disk of the machine, or of the container if it has limits (both versions of cgroups)."""

import contextlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import psutil

CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class HostReading:
    """One measurement; `cpu_used_s` is a counter, `cores` the number of usable cores."""

    memory_used_bytes: int
    memory_bytes: int
    cpu_used_s: float
    cores: float
    disk_free_bytes: int
    disk_bytes: int

    @property
    def memory_ratio(self) -> float:
        """Share of memory in use, without what the kernel can reclaim."""
        return self.memory_used_bytes / self.memory_bytes

    @property
    def disk_ratio(self) -> float:
        """Share of the disk in use."""
        return 1 - self.disk_free_bytes / self.disk_bytes


def read_host(folder: Path, cgroup: Path = CGROUP) -> HostReading:
    """Measure; the disk is that of `folder`. Raises OSError."""
    disk = shutil.disk_usage(folder)
    memory = psutil.virtual_memory()
    used, size = memory.total - memory.available, memory.total
    limit = _number(cgroup / "memory.max", cgroup / "memory/memory.limit_in_bytes")
    if limit is not None and limit < size:
        used, size = _used(cgroup), limit
    times = psutil.cpu_times()
    spent, cores = sum(times[:3]) + sum(times[5:8]), float(os.cpu_count() or 1)  # without idle and iowait
    if (quota := _quota(cgroup)) is not None and quota < cores:
        spent, cores = _spent_s(cgroup), quota
    return HostReading(used, size, spent, cores, disk.free, disk.total)


def _used(cgroup: Path) -> int:
    """Memory of the control group, without inactive page cache."""
    statistics = _statistics(cgroup / "memory.stat") or _statistics(cgroup / "memory/memory.stat")
    inactive = statistics.get("total_inactive_file", statistics.get("inactive_file", 0))  # version 1 has both
    return max(0, (_number(cgroup / "memory.current", cgroup / "memory/memory.usage_in_bytes") or 0) - inactive)


def _quota(cgroup: Path) -> float | None:
    """Cores that the control group may use; None: no limit."""
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
    except (OSError, ValueError):
        one = _number(cgroup / "cpu/cpu.cfs_quota_us")
        each = _number(cgroup / "cpu/cpu.cfs_period_us")
        return one / each if one is not None and each and one > 0 else None
    return None if quota == "max" else int(quota) / int(period)


def _spent_s(cgroup: Path) -> float:
    """CPU time of the control group."""
    if usage_us := _statistics(cgroup / "cpu.stat").get("usage_usec"):
        return usage_us / 1e6
    return (_number(cgroup / "cpuacct/cpuacct.usage") or 0) / 1e9


def _number(*files: Path) -> int | None:
    """The number in the first file that has one."""
    for file in files:
        with contextlib.suppress(OSError, ValueError):  # missing, or "max"
            return int(file.read_text())
    return None


def _statistics(file: Path) -> dict[str, int]:
    try:
        lines = [line.split() for line in file.read_text().splitlines()]
    except OSError:
        return {}
    return {line[0]: int(line[1]) for line in lines if len(line) == 2}
