"""The supervisor of a stack: starts its processes, restarts those that die, stops all in order.

    python -m serving.supervisor.supervisor --lock-fd N        (by `bondhu up`, under a reaper)

Every process runs under its own reaper, so that all its descendants end with it: if `ray start` is killed, its daemons,
workers and engines are ended before it is restarted. After each start of Ray, the Serve applications are applied by
`bondhu apply` in a separate process, which only needs memory while it runs and whose failure stops nothing. The
processes are defined in `serving.supervisor.processes`.
"""

import argparse
import asyncio
import contextlib
import logging
import os
import resource
import shutil
import signal
import stat
import sys
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import IO

from serving.config.addresses import dashboard_url, gateway_url
from serving.config.credentials import load_secrets
from serving.config.load import load_settings
from serving.config.private_files import keep_private, mend, private_paths
from serving.config.schema import Settings
from serving.supervisor import reaper, run_files
from serving.supervisor.processes import Component, components, environment, without_secrets

log = logging.getLogger("supervisor")

PROBE_INTERVAL_S = 2.0
MISSES_ALLOWED = 3
BACKOFF_S = (0.5, 1, 2, 5, 10, 30)
RESTARTS_KEPT = 10
SETTLED_S = 60.0  # a process that ran this long resets its restart delay
LOG_LIMIT_BYTES = 20 * 2**20
APPLY = (sys.executable, "-m", "serving.cli", "apply")
APPLY_RETRY_S = (1, 2, 5, 10, 30, 60)
APPLY_UNREACHABLE = 4  # exit code of `bondhu apply` when Ray does not respond: retry


@dataclass
class Status:
    """The state of one process, shown by `bondhu status`; times are Unix seconds."""

    state: str = "stopped"
    pid: int | None = None
    restarts: int = 0
    restarted_at: tuple[float, ...] = ()  # the last ones: who counts since his own start misses those before it
    since: float = field(default_factory=time.time)
    detail: str = ""

    def restarted(self) -> None:
        """Count a restart."""
        self.restarts += 1
        self.restarted_at = (*self.restarted_at, time.time())[-RESTARTS_KEPT:]


class Stack:
    """The processes of one stack, with their states; without `to_files` they log to this process's standard output."""

    def __init__(
        self,
        settings: Settings,
        parts: tuple[Component, ...],
        env: Mapping[str, str],
        apply: tuple[str, ...] = APPLY,
        *,
        to_files: bool = True,
        probe_interval_s: float = PROBE_INTERVAL_S,
        log_limit_bytes: int = LOG_LIMIT_BYTES,
    ) -> None:
        self.settings, self.parts, self.env, self.apply, self.to_files = settings, parts, env, apply, to_files
        self._probe_interval_s, self._log_limit_bytes = probe_interval_s, log_limit_bytes
        self.status = {part.name: Status() for part in parts} | {"apply": Status()}
        self.up = {part.name: asyncio.Event() for part in parts}
        self.ray_down = asyncio.Event()  # never set if Ray is an external cluster
        self._applied = False
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Run all processes until `stop` is set, then stop them in reverse order."""
        for part in self.parts:
            self._tasks[part.name] = asyncio.create_task(self._keep(part))
        self._tasks["apply"] = asyncio.create_task(self._keep_applied())
        waiting = asyncio.create_task(stop.wait())
        done, _ = await asyncio.wait([waiting, *self._tasks.values()], return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        for name in reversed(self._tasks):
            self._tasks[name].cancel()
            await asyncio.wait([self._tasks[name]])
        for task in done - {waiting}:
            task.result()  # these tasks never return: this raises their error

    async def _keep(self, part: Component) -> None:
        if part.name == "worker" and "redis" in self.up:
            await self.up["redis"].wait()
        failures = 0
        while True:
            if part.name == "ray":
                shutil.rmtree(self.settings.runtime_dir / "ray", ignore_errors=True)
            started = time.monotonic()
            reason = await self._run_once(part)
            self._note_down(part.name)
            failures = 0 if time.monotonic() - started > SETTLED_S else failures + 1
            delay_s = BACKOFF_S[min(failures, len(BACKOFF_S)) - 1] if failures else BACKOFF_S[0]
            self.status[part.name].restarted()
            log.warning("%s %s; restarting it in %g s", part.name, reason, delay_s)
            self._note(part.name, "restarting", None, reason)
            await asyncio.sleep(delay_s)

    async def _run_once(self, part: Component) -> str:
        """Run the process until it ends or fails its probes; returns why."""
        async with self._started(part.name, part.command, part.environment, part.grace_s) as process:
            ended = asyncio.create_task(process.wait())
            if not await self._until_serving(part, ended):
                if not ended.done():
                    return f"was not ready within {part.start_timeout_s:g} s"
                return f"exited with status {ended.result()} while starting"
            self._note(part.name, "running", process.pid)
            self._note_up(part.name)
            misses = 0
            while misses < MISSES_ALLOWED:
                if (await asyncio.wait([ended], timeout=self._probe_interval_s))[0]:
                    return f"exited with status {ended.result()}"
                misses = 0 if await part.serves() else misses + 1
                self._trim_log(part.name)
            return "no longer responds"

    async def _until_serving(self, part: Component, ended: asyncio.Task[int]) -> bool:
        deadline = time.monotonic() + part.start_timeout_s
        while time.monotonic() < deadline:
            if (await asyncio.wait([ended], timeout=0.2))[0]:
                return False
            if await part.serves():
                return True
        return False

    async def _keep_applied(self) -> None:
        """Apply after each start of Ray; if Ray goes down, a running apply is cancelled."""
        while True:
            if "ray" in self.up:
                await self.up["ray"].wait()
            applying = asyncio.create_task(self._apply())
            try:
                await self.ray_down.wait()
            finally:
                applying.cancel()
                await asyncio.wait([applying])

    async def _apply(self) -> None:
        """Apply the Serve applications, with retries while that makes sense."""
        # After a restart of Ray, restore what was applied instead of a newer configuration. It worked before, so it is
        # retried until it works again; a new configuration that fails waits for the operator.
        restoring = self._applied
        command = (*self.apply, *(["--restore"] if restoring else []))
        for attempt in range(sys.maxsize):
            async with self._started("apply", command, {}, 5) as process:
                self._note("apply", "running", process.pid)
                status = await process.wait()
            detail = "" if status == 0 else self._last_line("apply")
            if status == APPLY_UNREACHABLE or (status and restoring):
                delay_s = APPLY_RETRY_S[min(attempt, len(APPLY_RETRY_S) - 1)]
                self._note("apply", "waiting" if status == APPLY_UNREACHABLE else "failed", None, detail)
                await asyncio.sleep(delay_s)
                continue
            self._applied = True
            self._note("apply", "failed" if status else "done", None, detail)
            return

    @contextlib.asynccontextmanager
    async def _started(
        self, name: str, command: tuple[str, ...], env: Mapping[str, str], grace_s: float
    ) -> AsyncIterator[Process]:
        """Run a process under a reaper; at the end of the context, it and its descendants are gone."""
        with self._log_file(name) as output:
            process = await asyncio.create_subprocess_exec(
                *reaper.argv(command, grace_s=grace_s),
                stdin=asyncio.subprocess.PIPE,
                stdout=output,
                stderr=output,
                cwd=self.settings.root,
                env=without_secrets({**self.env, **env}, name),
            )
        self._note(name, "starting", process.pid)
        log.info("%s started, process %d", name, process.pid)
        try:
            yield process
        finally:
            if process.returncode is None:
                self._note(name, "stopping", process.pid)
                with contextlib.suppress(ProcessLookupError):
                    process.terminate()
                await process.wait()
            log.info("%s exited with status %s", name, process.returncode)
            self._note(name, "stopped", None)

    def _log_file(self, name: str) -> contextlib.AbstractContextManager[IO[bytes] | None]:
        if not self.to_files:
            return contextlib.nullcontext()
        path = self.settings.var_dir / f"logs/{name}.log"
        if path.exists() and path.stat().st_size > self._log_limit_bytes:
            path.replace(path.with_suffix(".log.1"))
        return path.open("ab")

    def _trim_log(self, name: str) -> None:
        """Move a log above the size limit to .log.1; lines that are written meanwhile may be lost."""
        if not self.to_files:
            return
        path = self.settings.var_dir / f"logs/{name}.log"
        if path.stat().st_size > self._log_limit_bytes:
            shutil.copyfile(path, path.with_suffix(".log.1"))
            os.truncate(path, 0)  # the process goes on writing, because its file is open for appending

    def _last_line(self, name: str) -> str:
        if not self.to_files:
            return "see the log"
        lines = (self.settings.var_dir / f"logs/{name}.log").read_text(errors="replace").splitlines()
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    def _note_up(self, name: str) -> None:
        self.up[name].set()
        if name == "ray":
            self.ray_down.clear()

    def _note_down(self, name: str) -> None:
        self.up[name].clear()
        if name == "ray":
            self.ray_down.set()

    def _note(self, name: str, state: str, pid: int | None, detail: str = "") -> None:
        status = self.status[name]
        status.state, status.pid, status.since, status.detail = state, pid, time.time(), detail
        run_files.write_state(self.settings.var_dir, {name: asdict(status) for name, status in self.status.items()})


def prepare_directories(settings: Settings) -> None:
    """Create a stack's directories, private to its user; raises PermissionError if the runtime directory is not."""
    keep_private()
    if mended := mend(private_paths(settings)):
        log.warning("removed other users' permissions from %d files and folders", mended)
    (settings.var_dir / "logs").mkdir(parents=True, exist_ok=True)
    (settings.var_dir / "run").mkdir(exist_ok=True)
    (settings.var_dir / "redis").mkdir(exist_ok=True)
    runtime = settings.runtime_dir
    if runtime.is_dir() and not runtime.is_symlink() and runtime.stat().st_uid == os.getuid():
        shutil.rmtree(runtime)  # left by a stack that was killed, since this one holds the lock
    runtime.mkdir(mode=0o700, parents=True, exist_ok=True)
    about = runtime.lstat()
    if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.getuid() or about.st_mode & 0o077:
        raise PermissionError(f"{runtime} exists and is not private to this user: remove it or set runtime_dir")
    (runtime / "tmp").mkdir(exist_ok=True)


async def supervise(settings: Settings, say_started: Callable[[], None]) -> None:
    """Run the stack until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    prepare_directories(settings)
    env = environment(settings, load_secrets(settings.var_dir))
    say_started()
    await Stack(settings, components(settings), env).run(stop)


def main() -> None:
    """Run until SIGTERM or SIGINT; exit status 0 after a graceful stop."""
    parser = argparse.ArgumentParser(prog="python -m serving.supervisor.supervisor")
    parser.add_argument("--lock-fd", type=int, required=True, help="open file that holds var/run/up.lock")
    lock_fd: int = parser.parse_args().lock_fd
    os.set_inheritable(lock_fd, False)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    _, max_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max_files, max_files))  # connections are files; shells allow 1024
    settings = load_settings()

    def say_started() -> None:
        inner = os.getppid()
        details = {
            "reaper": reaper.parent_of(inner),
            "supervisor": os.getpid(),
            "started_at": time.time(),
            "gateway": gateway_url(settings),
            "dashboard": dashboard_url(settings),
        }
        run_files.write_lock(lock_fd, details)

    asyncio.run(supervise(settings, say_started))


if __name__ == "__main__":
    main()
