"""A real redis-server that a test may kill, freeze, fill and start again."""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

from serving.supervisor.processes import redis_server

DEADLINE_S = 30.0


class RedisProcess:
    """One server on a Unix socket in `directory`, without persistence."""

    def __init__(self, directory: Path, **environ: str) -> None:
        self.socket = directory / "redis.sock"
        self.url = f"unix://{self.socket}"
        self._directory = directory
        self._environ = {**os.environ, **environ}
        self._server: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, empty, and wait until it listens."""
        self.socket.unlink(missing_ok=True)
        flags = ["--port", "0", "--unixsocket", str(self.socket), "--dir", str(self._directory), "--save", ""]
        self._server = subprocess.Popen([redis_server(), *flags], env=self._environ, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + DEADLINE_S
        while not self._listens():
            assert time.monotonic() < deadline, "redis-server does not listen"
            time.sleep(0.02)

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as client:  # the path is there a moment before anybody listens on it
            return client.connect_ex(str(self.socket)) == 0

    def send(self, number: signal.Signals) -> None:
        """Send it a signal: SIGSTOP freezes it, SIGCONT lets it go on."""
        assert self._server is not None
        self._server.send_signal(number)

    def kill(self) -> None:
        """SIGKILL it; its memory is gone."""
        if self._server is not None:
            self._server.kill()
            self._server.wait()
            self._server = None
