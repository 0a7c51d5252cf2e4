"""A real PgBouncer of the tests' own, before a real Postgres: transaction mode, fewer server connections than clients.

The program is Debian's: installed, or unpacked into the virtual environment (deploy/unpack-pgbouncer.sh).
"""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

DEADLINE_S = 30.0
UNPACKED = Path(sys.prefix) / "pgbouncer"
SETTINGS = """\
[databases]
* = host={postgres}
[pgbouncer]
listen_port = {port}
unix_socket_dir = {folder}
auth_type = trust
auth_file = {folder}/users
pool_mode = transaction
default_pool_size = {server_connections}
query_wait_timeout = {wait_s}
logfile = {folder}/log
"""


def find_pgbouncer() -> Path | None:
    """Return the program, of the system or unpacked into the virtual environment."""
    folders = [*os.environ.get("PATH", "").split(os.pathsep), "/usr/sbin", str(UNPACKED / "usr/sbin")]
    found = shutil.which("pgbouncer", path=os.pathsep.join(folders))
    return None if found is None else Path(found)


class PgBouncer:
    """Pools connections to the Postgres whose socket is in `postgres`; `stop` it at the end.

    Args:
        program: PgBouncer's.
        postgres: the folder of the server's socket.
        server_connections: most of them for a database and user.
        wait_s: how long a client waits for one; then PgBouncer hangs up.
        port: it listens there when `more` has a listen_addr; else its socket has a name of it.
        more: further lines of its settings.
        files: what those name; they are copied to where it runs.

    """

    def __init__(
        self,
        program: Path,
        postgres: Path,
        *,
        server_connections: int = 2,
        wait_s: int = 30,
        port: int = 6432,
        more: str = "",
        files: Iterable[Path] = (),
    ) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="bondhu-pgb-"))  # short: a socket's path has 107 characters
        self._socket = self._folder / f".s.PGSQL.{port}"
        settings = SETTINGS.format(
            postgres=postgres, folder=self._folder, server_connections=server_connections, wait_s=wait_s, port=port
        )
        (self._folder / "ini").write_text(settings + more)
        (self._folder / "users").write_text('"bondhu" ""\n')
        user = "nobody" if os.getuid() == 0 else None  # PgBouncer refuses root
        for file in files:
            shutil.copy(file, self._folder)
        for each in (self._folder, *self._folder.iterdir()):
            if user:
                shutil.chown(each, user)
        libraries = [str(each) for each in UNPACKED.glob("**/lib/*/") if program.is_relative_to(UNPACKED)]
        environ = {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(libraries)}
        quiet = subprocess.DEVNULL
        command = [str(program), str(self._folder / "ini")]
        self._process = subprocess.Popen(command, user=user, cwd=self._folder, env=environ, stdout=quiet, stderr=quiet)
        self.url = f"postgresql+asyncpg://bondhu@/postgres?host={self._folder}&port={port}"
        deadline = time.monotonic() + DEADLINE_S
        while not self._listens():
            assert time.monotonic() < deadline, (self._folder / "log").read_text()
            time.sleep(0.02)

    def stop(self) -> None:
        """End it immediately, and delete its files."""
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._folder)

    def _listens(self) -> bool:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
            client.connect(str(self._socket))
            return True
        return False
