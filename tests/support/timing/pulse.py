"""Asks a service for /health again and again, from a process of its own, and remembers how long each answer took.

    with Pulse(url) as pulse:
        began = time.monotonic()
        ...
        pulse.longest(began, time.monotonic())

Of its own, because a test that makes a body of some megabytes keeps its own threads waiting.
"""

import http.client
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

EVERY_S = 0.005
PASSES_S = 0.1  # after a window, for the answer that was on its way


class Pulse:
    """The process; a context manager."""

    def __init__(self, url: str, file: Path) -> None:
        self._command = [sys.executable, "-m", "tests.support.timing.pulse", url]
        self._file = file
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start it and wait for its first answer."""
        with self._file.open("wb") as output:
            self._process = subprocess.Popen(self._command, stdout=output)
        while not self._file.stat().st_size:
            assert self._process.poll() is None, "it ended"
            time.sleep(0.02)
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        """End it."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait()

    def longest(self, began_s: float, ended_s: float) -> float:
        """The longest wait of those that were not over when the window began, nor began after it, seconds."""
        time.sleep(PASSES_S)
        last = self._answers()
        while last and last[-1][0] < ended_s:  # one that began within it is still waited for
            time.sleep(0.02)
            last = self._answers()
        return max((took for at, took in last if at >= began_s and at - took <= ended_s), default=0.0)

    def _answers(self) -> list[tuple[float, float]]:
        lines = self._file.read_text().rpartition("\n")[0].splitlines()
        return [(float(at), float(took)) for at, took in (line.split() for line in lines)]


def main() -> None:
    """Poll until stopped; print a line per answer: its time by the monotonic clock, and its duration."""
    where = urlsplit(sys.argv[1])
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=60)
    while True:
        began = time.monotonic()
        connection.request("GET", "/health")
        connection.getresponse().read()
        ended = time.monotonic()
        print(f"{ended:.6f} {ended - began:.6f}", flush=True)  # noqa: T201 - its output
        time.sleep(EVERY_S)


if __name__ == "__main__":
    main()
