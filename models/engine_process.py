"""The server of an engine as a supervised child process: one process, one port, one key.

Starts it under a reaper (so that it cannot outlive its starter), waits until it generates, reads its load and stops it.
The process boundary is HTTP. `models.vllm.server` and `models.llama_cpp.server` define the command. This module knows
neither Ray nor its callers.
"""

import asyncio
import json
import os
import re
import secrets
import socket
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import aiohttp
import psutil

KEY_VARIABLE = "BONDHU_ENGINE_KEY"
LOG_TAIL_LINES = 300  # a start that fails leaves the tracebacks of three processes
_PREFIX = re.compile(r"^(\(\w+ pid=\d+\) )?((ERROR|CRITICAL) \S+ \S+ \[[^\]]*\] )?")
_ERROR = re.compile(  # a traceback's last line, or argparse's
    r"[\w.]{0,200}(Error|Exception|Interrupt): \S|\S{1,200}: error: "
)
_CONSEQUENCE = re.compile(r"(Engine core|WorkerProc) initialization failed|EngineDeadError")


class EngineStartError(RuntimeError):
    """The server exited, or did not generate in time; the text gives the reason from its log."""


class CommandRefused(RuntimeError):
    """The server did not do what it was told; the text gives its reason."""


@dataclass(frozen=True)
class Load:
    """The load of an engine: running and waiting requests, and the used share of its KV cache (0..1).

    `steps` counts its steps since the start.
    """

    running: int = 0
    waiting: int = 0
    kv_cache_usage: float = 0.0
    steps: int = 0


class EngineProcess:
    """One run of an engine's server.

    Args:
        model: the weights: a directory, a file or a hub id, whatever the engine accepts.
        served_name: the model id in requests and probes.
        arguments: more arguments of its command line.
        environment: variables to add to this process's environment.
        host: the address to listen on.
        log_path: file that its output is appended to.
        reaper: command prefix that ends the process when its starter ends.
        adapters: LoRA adapters by their model ids.

    """

    program: ClassVar[str]  # name in messages
    gauges: ClassVar[Mapping[str, str]]  # Load's fields by the names of the engine's metrics

    def __init__(
        self,
        *,
        model: str,
        served_name: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        host: str,
        log_path: Path,
        reaper: Sequence[str],
        adapters: Mapping[str, str] | None = None,
    ) -> None:
        self.key = secrets.token_urlsafe(24)
        self.port = _free_port(host)
        self.address = f"http://{host}:{self.port}"
        self.served_name = served_name
        self._host = host
        self._model = model
        self._arguments = tuple(arguments)
        self._environment = dict(environment)
        self._adapters = dict(adapters or {})
        self._log_path = log_path
        self._reaper = tuple(reaper)
        self._process: asyncio.subprocess.Process | None = None
        self._session: aiohttp.ClientSession | None = None

    def command(self) -> Sequence[str]:
        """The server's command line, without the reaper."""
        raise NotImplementedError

    def environment(self) -> Mapping[str, str]:
        """The variables to add to this process's environment."""
        raise NotImplementedError

    @property
    def alive(self) -> bool:
        """Whether the process runs (it may still be loading)."""
        return self._process is not None and self._process.returncode is None

    async def start(self, timeout_s: float) -> None:
        """Start the process and return after it has generated one token.

        Raises:
            EngineStartError: it exited, or `timeout_s` passed; the message has the cause from its log.

        """
        self._log_path.parent.mkdir(parents=True, exist_ok=True)
        with self._log_path.open("ab") as log_file:
            self._process = await asyncio.create_subprocess_exec(
                *self._reaper,
                *self.command(),
                stdin=asyncio.subprocess.PIPE,
                stdout=log_file,
                stderr=log_file,
                # The key travels in the environment: a command line is visible to every user of the machine.
                env={**os.environ, **self.environment(), KEY_VARIABLE: self.key},
            )
        self._session = aiohttp.ClientSession(headers={"Authorization": f"Bearer {self.key}"})
        deadline = time.monotonic() + timeout_s
        while await self._probe(60) != 200:
            if not self.alive:
                raise EngineStartError(
                    f"{self.program} exited with status {self._process.returncode}: {self.last_error()}"
                )
            if time.monotonic() > deadline:
                await self.stop(grace_s=0)
                raise EngineStartError(f"{self.program} did not generate within {timeout_s:.0f} s: {self.last_error()}")
            await asyncio.sleep(0.25)

    async def wait_exit(self) -> int:
        """Return the exit status once the process has ended."""
        assert self._process is not None, "start it first"
        return await self._process.wait()

    async def load(self) -> Load:
        """The load by the engine's own metrics; raises OSError or TimeoutError if it does not answer."""
        assert self._session is not None, "start it first"
        try:
            async with self._session.get(f"{self.address}/metrics", timeout=_timeout(5)) as response:
                numbers = self._read_gauges(await response.text())
        except aiohttp.ClientError as problem:
            raise OSError(str(problem)) from problem
        return Load(
            running=int(numbers.get("running", 0)),
            waiting=int(numbers.get("waiting", 0)),
            kv_cache_usage=numbers.get("kv_cache_usage", 0.0),
            steps=int(numbers.get("steps", 0)),
        )

    def _read_gauges(self, text: str) -> dict[str, float]:
        found = re.findall(r"^([\w:]+)(?:\{[^}]*\})? (\S+)$", text, re.M)
        return {self.gauges[name]: float(value) for name, value in found if name in self.gauges}

    async def load_adapter(self, adapter: str, revision: str, path: str) -> str:
        """Load an adapter while the server runs, if it can; return its name in requests. Raises CommandRefused."""
        raise CommandRefused(f"{self.program} loads adapters only when it starts")

    async def unload_adapter(self, name: str) -> None:
        """Unload an adapter that `load_adapter` has loaded. Raises CommandRefused."""
        raise CommandRefused(f"{self.program} cannot unload adapters")

    async def sleep(self) -> bool:
        """Free the memory of the accelerator while the process stays; False if the engine has no such mode."""
        return False

    async def wake(self) -> bool:
        """End the sleep; False if it did not."""
        return False

    def memory_bytes(self) -> int:
        """The resident memory of its processes; 0 if there are none."""
        return resident_bytes(self._process.pid) if self._process is not None and self.alive else 0

    async def control(self, path: str, body: Mapping[str, Any]) -> None:
        """POST a command to the server; raises CommandRefused with its reason."""
        if self._session is None:
            raise CommandRefused(f"{self.program} is not running")
        try:
            async with self._session.post(f"{self.address}{path}", json=body, timeout=_timeout(60)) as response:
                if response.status != 200:
                    raise CommandRefused(_message(await response.text()))
        except (aiohttp.ClientError, TimeoutError) as problem:
            raise CommandRefused(f"{self.program} does not answer: {problem!r}") from problem

    async def answers(self, timeout_s: float) -> bool:
        """Whether it answers a request for one token, with any status."""
        return await self._probe(timeout_s) is not None

    async def drain(self, timeout_s: float) -> bool:
        """Wait until nothing runs or waits; False after `timeout_s`, or if the engine does not answer."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            try:
                load = await self.load()
            except (OSError, TimeoutError):
                return False
            if load.running + load.waiting == 0:
                return True
            await asyncio.sleep(0.25)
        return False

    async def stop(self, grace_s: float = 10.0) -> None:
        """End the process and all its children; returns when they are gone."""
        if self._session is not None:
            await self._session.close()
            self._session = None
        if self._process is None or self._process.returncode is not None:
            return
        self._process.terminate()  # the reaper, which ends all processes below it, after its own grace period by force
        try:
            await asyncio.wait_for(self._process.wait(), grace_s + 30)
        except TimeoutError:
            self._process.kill()  # the reaper's inner process still ends all processes below it
            await self._process.wait()

    def note(self, line: str) -> None:
        """Append a line to its log."""
        with self._log_path.open("a", encoding="utf-8") as log_file:
            log_file.write(f"{line}\n")

    def last_error(self) -> str:
        """The line near the log's end that most likely has the cause."""
        try:
            with self._log_path.open(encoding="utf-8", errors="replace") as log_file:
                tail = [line.rstrip() for line in deque(log_file, maxlen=LOG_TAIL_LINES)]
        except OSError:
            return "no log"
        lines = [_PREFIX.sub("", line) for line in tail]
        causes = [line for line in lines if _ERROR.match(line) and not _CONSEQUENCE.search(line)]
        return next(iter([*causes[-1:], *[line for line in reversed(lines) if line.strip()]]), "its log is empty")[:500]

    async def _probe(self, timeout_s: float) -> int | None:
        """Request one token; return the HTTP status, or None if there is no answer."""
        assert self._session is not None
        body = {"model": self.served_name, "prompt": "Hi", "max_tokens": 1}
        try:
            async with self._session.post(
                f"{self.address}/v1/completions", json=body, timeout=_timeout(timeout_s)
            ) as response:
                return response.status
        except (aiohttp.ClientError, TimeoutError):
            return None


def resident_bytes(pid: int) -> int:
    """The resident memory of a process and its descendants; those that end meanwhile count nothing."""
    try:
        root = psutil.Process(pid)
        family = [root, *root.children(recursive=True)]
    except psutil.Error:
        return 0
    total = 0
    for process in family:
        try:
            total += process.memory_info().rss
        except psutil.Error:
            continue
    return total


def _message(text: str) -> str:
    """The message of an error response in OpenAI's format, else its text."""
    try:
        return str(json.loads(text)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return text[:500]


def _timeout(total_s: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=total_s)


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
