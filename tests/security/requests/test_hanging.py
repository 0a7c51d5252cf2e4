"""A process that lives, and whose connections the kernel accepts, is not one that serves: it is found and replaced."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from serving.config.schema import ModelsSettings, Settings
from serving.supervisor.probe import Probe
from serving.supervisor.processes import Component
from serving.supervisor.supervisor import Stack, prepare_directories
from tests.support.databases.redis_process import RedisProcess
from tests.support.gateway_process import DEADLINE_S, GatewayProcess, free_port

# Answers while there is no file `hangs`, and takes the file away when it starts.
SERVER = """
import os, socket, sys, time
folder = sys.argv[1]
if os.path.exists(folder + "/hangs"):
    os.remove(folder + "/hangs")
if os.path.exists(folder + "/socket"):
    os.remove(folder + "/socket")
server = socket.socket(socket.AF_UNIX)
server.bind(folder + "/socket")
server.listen()
while True:
    client = server.accept()[0]
    while os.path.exists(folder + "/hangs"):
        time.sleep(0.01)
    client.sendall(b"HTTP/1.1 200 OK\\r\\n\\r\\n")
    client.close()
"""
# A loop that is held by a regular expression, which keeps the interpreter from every other thread.
HELD = """
import asyncio, re, sys
from serving.gateway.watchdog import Watchdog
def held_up():
    re.match("(a*)*b", "a" * 40)
async def main():
    watching = asyncio.create_task(Watchdog(1).run())
    await asyncio.sleep(2)
    print("still here", flush=True)
    if sys.argv[1] == "hang":
        held_up()
    watching.cancel()
asyncio.run(main())
"""


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Return a socket whose connections the kernel accepts, and nobody else."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


async def test_an_accepted_connection_is_no_answer(listener: socket.socket) -> None:
    """Nor is a closed one, nor half of an answer that does not go on."""
    probe = Probe.http(listener.getsockname(), "/health", 0.5)
    assert not await probe.answers()
    assert not await Probe.http(("127.0.0.1", free_port()), "/health", 0.5).answers()
    for data, is_answer in ((b"", False), (b"HTTP", False), (b"SSH-2.0-x ", False), (b"HTTP/1.1 503 ", True)):
        server = await asyncio.start_server(_telling(data), "127.0.0.1", 0)
        async with server:
            probe = Probe.http(server.sockets[0].getsockname(), "/health", 0.5)
            assert await probe.answers() == is_answer, data


async def until(condition: Callable[[], bool]) -> None:
    """Poll until `condition` holds."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


def _telling(data: bytes) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        if not data:
            writer.close()

    return answer


async def test_who_accepts_and_does_not_answer_is_replaced(tmp_path: Path) -> None:
    """A supervised process that hangs is ended and started again."""
    settings = Settings(
        root=tmp_path,
        var_dir=tmp_path / "var",
        runtime_dir=tmp_path / "run",
        models=ModelsSettings(active="none"),
        catalogue={},
    )
    prepare_directories(settings)
    probe = Probe.http(tmp_path / "socket", "/health", 0.5)
    part = Component("gateway", (sys.executable, "-c", SERVER, str(tmp_path)), {}, probe, 20, 5)
    stack = Stack(settings, (part,), dict(os.environ), ("true",))
    stop = asyncio.Event()
    work = asyncio.create_task(stack.run(stop))
    try:
        await asyncio.wait_for(stack.up["gateway"].wait(), DEADLINE_S)
        (tmp_path / "hangs").touch()
        await until(lambda: stack.status["gateway"].restarts == 1)
        await until(lambda: stack.status["gateway"].state == "running")
    finally:
        stop.set()
        await asyncio.wait_for(work, DEADLINE_S)


def test_a_gateway_that_stands_still_is_seen(tmp_path: Path) -> None:
    """What `bondhu up` asks of a real one is answered while it works, and not while it is stopped."""
    with GatewayProcess(tmp_path) as gateway:
        assert gateway.serves()
        gateway.send(signal.SIGSTOP)
        assert not gateway.serves()
        gateway.send(signal.SIGCONT)
        assert gateway.serves()


async def test_a_redis_that_stands_still_is_seen(redis_process: RedisProcess) -> None:
    """It is asked for a PONG."""
    probe = Probe(redis_process.socket, b"PING\r\n", (b"+PONG",), 1)
    assert await probe.answers()
    redis_process.send(signal.SIGSTOP)
    assert not await probe.answers()
    redis_process.send(signal.SIGCONT)
    assert await probe.answers()


@pytest.mark.parametrize(("what", "status"), [("hang", 1), ("work", 0)])
def test_a_loop_that_stands_still_ends_its_process(what: str, status: int) -> None:
    """Even when the interpreter is held by C code; its stack says by what. A loop that turns is left alone."""
    ended = subprocess.run([sys.executable, "-c", HELD, what], capture_output=True, text=True, timeout=DEADLINE_S)
    assert ended.returncode == status, ended.stderr
    assert ended.stdout == "still here\n"
    assert ("held_up" in ended.stderr) == (what == "hang")
