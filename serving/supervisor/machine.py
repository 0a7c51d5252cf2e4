"""Facts about this machine, read on each call: `serving.supervisor.preflight` checks them, and tests replace them."""

import errno
import os
import platform
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Gpu:
    """One NVIDIA GPU; `capability` is its CUDA compute capability, such as 8.9."""

    name: str
    memory_bytes: int
    capability: float


@dataclass(frozen=True, slots=True)
class PortTrouble:
    """Why a port cannot be bound: `reason` is an errno; `owner` is the process that uses it, if visible."""

    reason: int
    owner: str = ""


class Machine:
    """This machine. Linux only."""

    def python(self) -> tuple[int, int]:
        """Return the running Python's version."""
        return sys.version_info[:2]

    def architecture(self) -> str:
        """Return the CPU architecture: x86_64, aarch64, ..."""
        return platform.machine()

    def cpu_flags(self) -> frozenset[str]:
        """Return the first CPU's feature flags, with the kernel's names."""
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() in ("flags", "Features"):
                return frozenset(value.split())
        return frozenset()

    def available_memory_bytes(self) -> int:
        """Return the memory that can still be allocated, on the machine or in its memory cgroup."""
        meminfo = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) * 1024 for line in meminfo if line.startswith("MemAvailable:"))
        return min([free, *_cgroup_room_bytes()])

    def free_disk_bytes(self, path: Path) -> int:
        """Return the free disk space at `path`, which may not exist yet."""
        while not path.exists():
            path = path.parent
        return shutil.disk_usage(path).free

    def port_trouble(self, host: str, port: int) -> PortTrouble | None:
        """Try to listen on a port; None if it works."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
                probe.listen(1)
            except OSError as problem:
                number = problem.errno or 0
                return PortTrouble(number, _owner(port) if number == errno.EADDRINUSE else "")
        return None

    def gpus(self) -> tuple[Gpu, ...] | None:
        """Return the NVIDIA GPUs that the driver sees; None without a working driver."""
        query = ["nvidia-smi", "--query-gpu=name,memory.total,compute_cap", "--format=csv,noheader,nounits"]
        try:
            output = subprocess.run(query, capture_output=True, text=True, timeout=30, check=True).stdout
        except (OSError, subprocess.SubprocessError):
            return None
        rows = (line.split(",") for line in output.splitlines() if line.count(",") == 2)
        return tuple(Gpu(name.strip(), int(float(mib)) * 2**20, float(cap)) for name, mib, cap in rows)

    def has_package(self, name: str) -> bool:
        """Whether a package is installed; only imports the parents of a dotted name."""
        try:
            return find_spec(name) is not None
        except ModuleNotFoundError:
            return False


def _cgroup_room_bytes() -> list[int]:
    """Memory left below the limit of this process's root cgroup (of a container), v2 or v1."""
    for limit_file, used_file in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        try:
            limit, used = Path(limit_file).read_text().strip(), int(Path(used_file).read_text())
        except (OSError, ValueError):
            continue
        return [] if limit == "max" else [max(0, int(limit) - used)]
    return []


def _owner(port: int) -> str:
    """Return `name (process 123)` of the process that listens on `port`; empty if not visible to this user."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            rows = [line.split() for line in Path(table).read_text().splitlines()[1:]]
        except OSError:
            continue
        inodes |= {row[9] for row in rows if row[3] == "0A" and int(row[1].rpartition(":")[2], 16) == port}
    sockets = {f"socket:[{inode}]" for inode in inodes}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(os.readlink(link) in sockets for link in (process / "fd").iterdir()):
                return f"{(process / 'comm').read_text().strip()} (process {process.name})"
        except OSError:
            continue
    return ""
