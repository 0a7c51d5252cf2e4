"""Measures the cost of a grammar outside the engine, in a process with limits, before the engine uses it.

An engine compiles and follows grammars in the process that generates for everybody, without limits. So each grammar is
first tried in a worker (`models.grammar_worker`), which the kernel kills if it takes too much time or memory. Results
are cached. This module does not know requests or HTTP.
"""

import asyncio
import hashlib
import json
import logging
import os
import signal
import sys
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

log = logging.getLogger(__name__)

LIMITS_VARIABLE = "BONDHU_GRAMMAR_LIMITS"  # GrammarLimits as JSON, for the engine's server
START_WITHIN_S = 120.0
MAX_REMEMBERED = 4096
TIMEOUT_FACTOR = 10  # of the CPU time that a grammar may take: the machine may be busy
LINE_BYTES = 2**26
SECRET = ("KEY", "TOKEN", "PASSWORD", "SECRET", "URL")  # endings of variables that a worker does not get


@dataclass(frozen=True)
class GrammarLimits:
    """The maximum cost of a grammar.

    `cpu_s` for compiling it and its first steps, `memory_mb` meanwhile, `step_s` for the longest step; `workers` run at
    the same time, and `max_waiting` grammars may wait.
    """

    cpu_s: float = 2.0
    memory_mb: int = 512
    step_s: float = 0.2
    workers: int = 1
    max_waiting: int = 64


class PoolBusy(Exception):
    """Too many grammars wait to be tried."""


class GrammarPool:
    """Measures grammars.

    Args:
        limits: the maximum cost of a grammar.
        header: makes the first line of a worker's input; called when the first worker starts.

    """

    def __init__(self, limits: GrammarLimits, header: Callable[[], Awaitable[str]]) -> None:
        self._limits = limits
        self._header = header
        self._idle: list[asyncio.subprocess.Process] = []
        self._slots = asyncio.Semaphore(limits.workers)
        self._waiting = 0
        self._found: OrderedDict[bytes, str | None] = OrderedDict()

    async def problem(self, kind: str, spec: str) -> str | None:
        """The reason to refuse a grammar; None if it is accepted. Raises PoolBusy.

        Args:
            kind: "regex", "grammar" (EBNF), "json" (a schema) or "structural_tag".
            spec: the grammar.

        """
        key = hashlib.blake2b(f"{kind} {spec}".encode(errors="surrogatepass"), digest_size=16).digest()
        if key in self._found:
            self._found.move_to_end(key)
            return self._found[key]
        if self._waiting >= self._limits.max_waiting:
            raise PoolBusy
        self._waiting += 1
        try:
            async with self._slots:
                if key not in self._found:
                    self._found[key] = await self._try(kind, spec)
                    if len(self._found) > MAX_REMEMBERED:
                        self._found.popitem(last=False)
                return self._found[key]
        finally:
            self._waiting -= 1

    async def close(self) -> None:
        """End the workers."""
        while self._idle:
            await _end(self._idle.pop())

    async def _try(self, kind: str, spec: str) -> str | None:
        worker = self._idle.pop() if self._idle else await self._start_worker()
        assert worker.stdin is not None
        assert worker.stdout is not None
        is_reusable = False
        try:
            worker.stdin.write(json.dumps({"kind": kind, "spec": spec}).encode() + b"\n")
            async with asyncio.timeout(self._limits.cpu_s * TIMEOUT_FACTOR + 5):
                line = await worker.stdout.readline()
                is_reusable = bool(line)
                status = None if line else await worker.wait()
        except (TimeoutError, ConnectionError):
            line, status = b"", -signal.SIGPROF
        finally:
            if is_reusable:
                self._idle.append(worker)
            else:
                await _end(worker)
        if not line:
            return self._excess(status)
        step_s = json.loads(line).get("step_s", 0.0)  # the engine itself refuses what xgrammar rejects
        return self._slow() if step_s > self._limits.step_s else None

    def _excess(self, status: int | None) -> str:
        if status == -signal.SIGPROF:
            return f"compiling it takes longer than the maximum of {self._limits.cpu_s:g} s"
        return f"compiling it takes more memory than the maximum of {self._limits.memory_mb} MB"

    def _slow(self) -> str:
        return f"choosing a token by it takes longer than the maximum of {self._limits.step_s * 1000:g} ms"

    async def _start_worker(self) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        command = (sys.executable, "-m", "models.grammar_worker")
        environment = {name: value for name, value in os.environ.items() if not name.endswith(SECRET)}
        worker = await asyncio.create_subprocess_exec(
            *command, stdin=pipe, stdout=pipe, limit=LINE_BYTES, env={**environment, "OMP_NUM_THREADS": "1"}
        )
        assert worker.stdin is not None
        assert worker.stdout is not None
        try:
            async with asyncio.timeout(START_WITHIN_S):
                worker.stdin.write((await self._header()).encode() + b"\n")
                await worker.stdin.drain()
                if not await worker.stdout.readline():
                    raise RuntimeError(f"the grammar worker ended with status {await worker.wait()} at its start")
        except BaseException:
            await _end(worker)
            raise
        return worker


async def _end(worker: asyncio.subprocess.Process) -> None:
    if worker.returncode is None:
        worker.kill()
    await worker.wait()
