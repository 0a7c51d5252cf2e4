"""The steps of a switch: migrate, start the new colour, wait until it generates, drain the old one, stop it.

HAProxy takes a colour in by itself as soon as it is ready, and is told through its socket which one gets no more
requests.
The socket is inside its container; perl-base is what every Debian image has that can speak to one.
"""

import csv
import time
from collections.abc import Callable
from typing import Protocol

COLOURS = ("blue", "green")
FILES = ("docker-compose.cpu.yml", "docker-compose.blue-green.yml")
BACKENDS = ("ready", "alive")
SOCKET = "/run/haproxy/admin.sock"
ASK = (
    "my $s = IO::Socket::UNIX->new(Peer => shift) or die qq(no socket: $!\\n); "
    "print $s join(q( ), @ARGV), qq(\\n); print while <$s>;"
)
POLL_S = 0.5


class NotSwitched(Exception):
    """The switch was given up; the old colour serves as before."""


class Containers(Protocol):
    """The two commands for containers, as `compose_test.engine` has them."""

    def run(self, *words: str, check: bool = True) -> str:
        """Run `compose` with these words; return its output."""

    def inside(self, service: str, *words: str) -> tuple[int, str]:
        """Run a command in a service's container; return its status and output."""


class Switch:
    """Switches colours; `say` is called with each step.

    Attributes:
        ready_s: longest wait for the new colour.
        drain_s: longest wait for requests that the old colour has open. What is open then gets its gateway's own grace
            (`gateway.drain_s`); streams with ids are continued by the new colour after that.

    """

    def __init__(
        self,
        engine: Containers,
        *,
        ready_s: float,
        drain_s: float,
        poll_s: float = POLL_S,
        say: Callable[[str], None] = print,
    ) -> None:
        self._engine, self._say, self._poll_s = engine, say, poll_s
        self.ready_s, self.drain_s = ready_s, drain_s

    def to(self, new: str) -> None:
        """Have `new` serve, and nothing else. Raises NotSwitched, with the old colour as it was."""
        (old,) = set(COLOURS) - {new}
        profile = ("--profile", new)
        self._say(f"migrating with the images of {new}")
        self._engine.run(*profile, "run", "--rm", "--no-deps", f"worker-{new}", "init")
        self._say(f"starting api-{new}")
        self._set(new, "ready", "ready")
        self._set(new, "drain", "alive")  # it lives before it can answer
        self._engine.run(*profile, "up", "-d", "--no-deps", f"api-{new}")
        began = time.monotonic()
        while not self.is_up(new):
            if time.monotonic() - began > self.ready_s:
                self._engine.run(*profile, "stop", f"api-{new}", check=False)
                raise NotSwitched(f"api-{new} is not ready after {self.ready_s:.0f} s and was stopped; {old} serves on")
            time.sleep(self._poll_s)
        self._set(new, "ready", "alive")
        self._say(f"{new} is ready after {time.monotonic() - began:.0f} s and gets requests")
        self._set(old, "drain", *BACKENDS)
        self._say(f"{old} gets no more; {self._drain(old)}")
        self._move_worker(old, new)
        self._engine.run("--profile", old, "stop", f"api-{old}", check=False)
        self._say(f"api-{old} is stopped; {new} serves")

    def show(self) -> str:
        """What HAProxy says of each colour."""
        lines = [
            f"{row['svname']}: {row['status']}, {row['scur']} open requests, {row['stot']} so far"
            for row in self._rows("ready")
        ]
        return "\n".join(lines)

    def is_up(self, colour: str) -> bool:
        """Whether HAProxy gives this colour requests because it is ready."""
        return any(row["svname"] == colour and row["status"] == "UP" for row in self._rows("ready"))

    def open_requests(self, colour: str) -> int:
        """Requests that a colour has not finished."""
        return sum(int(row["scur"]) for name in BACKENDS for row in self._rows(name) if row["svname"] == colour)

    def _drain(self, colour: str) -> str:
        began = time.monotonic()
        while left := self.open_requests(colour):
            if time.monotonic() - began > self.drain_s:
                return f"{left} requests were still open after {self.drain_s:.0f} s"
            time.sleep(self._poll_s)
        return f"its open requests ended within {time.monotonic() - began:.0f} s"

    def _move_worker(self, old: str, new: str) -> None:
        self._engine.run("--profile", old, "stop", f"worker-{old}", check=False)
        self._engine.run("--profile", new, "up", "-d", "--no-deps", f"worker-{new}")
        self._say(f"worker-{old} finished its task; worker-{new} consumes")

    def _set(self, colour: str, state: str, *backends: str) -> None:
        for backend in backends:
            answer = self._ask("set", "server", f"{backend}/{colour}", "state", state).strip()
            if answer:
                raise NotSwitched(f"HAProxy on {backend}/{colour} {state}: {answer}")

    def _rows(self, backend: str) -> list[dict[str, str]]:
        text = self._ask("show", "stat", backend, "4", "-1").removeprefix("# ")
        return list(csv.DictReader(text.strip().splitlines()))

    def _ask(self, *words: str) -> str:
        code, text = self._engine.inside("haproxy", "perl", "-MIO::Socket::UNIX", "-e", ASK, SOCKET, *words)
        if code:
            raise NotSwitched(f"HAProxy does not answer: {text.strip()}")
        return text
