"""The containers of docker-compose.cpu.yml from outside: their CPU quota, what they used, the first key."""

import re
import subprocess
from dataclasses import dataclass

MEASURED = ("api",)  # a look costs a second: the others' share is small
# Cores for each: the compose file's limits, and what a B2s may use for ever (20 % of each of its two cores).
BURST = {"redis": 0.25, "api": 0.75, "celery-worker": 0.5}
SUSTAINED = {"redis": 0.04, "api": 0.32, "celery-worker": 0.04}


class NotRunning(RuntimeError):
    """A container is not there."""


@dataclass(frozen=True)
class Containers:
    """The engine's command (docker, podman)."""

    command: tuple[str, ...]

    def name(self, service: str) -> str:
        """A service's container. Raises NotRunning."""
        names = self._run("ps", "--format", "{{.Names}}").split()
        pattern = re.compile(rf"^bondhu[-_]{re.escape(service)}[-_]1$")
        found = next((name for name in names if pattern.match(name)), None)
        if found is None:
            raise NotRunning(f"{service} is not running: make compose-test COMPOSE_TEST='--keep --no-faults'")
        return found

    def inside(self, service: str, *words: str) -> str:
        """Run a command in a container; return what it printed."""
        return self._run("exec", self.name(service), *words)

    def limit(self, cores: dict[str, float]) -> None:
        """Set every container's CPU quota."""
        for service, quota in cores.items():
            self._run("update", "--cpus", str(quota), self.name(service))

    def key(self) -> str:
        """The first key that `bondhu init` made."""
        lines = self.inside("api", "cat", "/var/lib/bondhu/dev.env").splitlines()
        return next(line.partition("=")[2] for line in lines if line.startswith("OPENAI_API_KEY="))

    def used(self) -> dict[str, tuple[float, float]]:
        """CPU seconds so far, and memory now in MiB, of each container."""
        script = (
            "cd /sys/fs/cgroup; grep -h ^usage_usec cpu.stat 2>/dev/null || cat cpuacct/cpuacct.usage; "
            "cat memory.current 2>/dev/null || cat memory/memory.usage_in_bytes"
        )
        found = {}
        for service in MEASURED:
            cpu, memory = self.inside(service, "sh", "-c", script).splitlines()[:2]
            cpu_s = float(cpu.split()[1]) / 1e6 if cpu.startswith("usage") else float(cpu) / 1e9
            found[service] = (cpu_s, float(memory) / 2**20)
        return found

    def redis_operations(self) -> float:
        """Redis operations a second, the generator in the same container and its quota."""
        out = self.inside("redis", "redis-benchmark", "-t", "get,set", "-n", "20000", "-c", "20", "--csv")
        rates = [float(line.split(",")[1].strip('"')) for line in out.splitlines() if line.startswith(('"SET', '"GET'))]
        return min(rates)

    def _run(self, *words: str) -> str:
        done = subprocess.run([*self.command, *words], capture_output=True, text=True, check=False)
        if done.returncode:
            raise NotRunning(f"{' '.join((*self.command, *words))}: {(done.stderr or done.stdout).strip()[-500:]}")
        return done.stdout
