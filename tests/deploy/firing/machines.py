"""A small machine for one process: control groups whose limits it sees as those of its container.

Needs root, and the first version of control groups (`/sys/fs/cgroup/memory`).
"""

import os
from pathlib import Path
from typing import Self

CGROUP = Path("/sys/fs/cgroup")
CONTROLLERS = ("memory", "cpu", "cpuacct")
PERIOD_US = 100_000
INACTIVE = "total_inactive_file"  # page cache that the kernel gives back first


def is_possible() -> bool:
    """Whether this machine lets us make one."""
    return os.geteuid() == 0 and (CGROUP / "memory/memory.limit_in_bytes").exists()


class SmallMachine:
    """Control groups named `name`; a context manager that removes them, once their processes have ended.

    `command` starts a program inside; limits come later, so that it can start.
    """

    def __init__(self, name: str) -> None:
        self._folders = {controller: CGROUP / controller / name for controller in CONTROLLERS}

    def __enter__(self) -> Self:
        for folder in self._folders.values():
            folder.mkdir()
        return self

    def __exit__(self, *_: object) -> None:
        for folder in self._folders.values():
            folder.rmdir()

    @property
    def command(self) -> tuple[str, ...]:
        """What to put before a program's command line: it joins the groups, and sees them as the root of all."""
        steps = [f"echo $$ > {folder}/cgroup.procs" for folder in self._folders.values()]
        steps += [f"mount --bind {folder} {CGROUP / controller}" for controller, folder in self._folders.items()]
        return ("unshare", "--mount", "sh", "-c", " && ".join([*steps, 'exec "$0" "$@"']))

    def limit_memory(self, used: float) -> None:
        """Set the limit so that this share of it is in use now."""
        memory = self._folders["memory"]
        usage = int((memory / "memory.usage_in_bytes").read_text())
        lines = dict(line.split() for line in (memory / "memory.stat").read_text().splitlines())
        limit = int((usage - int(lines[INACTIVE])) / used)
        (memory / "memory.limit_in_bytes").write_text(str(limit))

    def limit_cpu(self, cores: float) -> None:
        """Allow this many cores."""
        (self._folders["cpu"] / "cpu.cfs_period_us").write_text(str(PERIOD_US))
        (self._folders["cpu"] / "cpu.cfs_quota_us").write_text(str(int(cores * PERIOD_US)))
