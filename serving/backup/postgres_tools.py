"""Finds pg_dump, pg_restore and psql, and runs them on the database.

Addresses are passed in environment variables (https://www.postgresql.org/docs/current/libpq-envars.html), because all
users can read a command line. The programs must not be older than the server.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from sqlalchemy.engine import make_url

from serving.backup.errors import ToolFailed
from storage.postgres_url import TLS

ERROR_TAIL_CHARS = 600
_PLAIN = {"sslmode": "PGSSLMODE", "ssl": "PGSSLMODE", "host": "PGHOST", "port": "PGPORT"}
_PLAIN |= {name: f"PG{name.upper()}" for name in TLS}


def run(program: str, arguments: Sequence[str], url: str | None, folder: Path | None) -> str:
    """Run a program from `folder` or PATH on the database `url`; returns its output. Raises ToolFailed."""
    command = _command_of(program, folder)
    environ = dict(os.environ) | ({} if url is None else address(url))
    process = subprocess.run([command, *arguments], env=environ, capture_output=True, check=False)
    if process.returncode:
        raise ToolFailed(f"{program}: {_tail(process.stderr)}")
    return process.stdout.decode(errors="replace")


def transaction(
    script: Callable[[IO[bytes]], None], url: str, folder: Path | None, before_commit: Callable[[], None]
) -> None:
    """Run what `script` writes as one transaction in psql; raises ToolFailed, and then nothing has changed.

    COMMIT is sent separately at the end, so that psql cannot commit after this process was killed.
    """
    arguments = ["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--output=/dev/null"]
    environ = dict(os.environ) | address(url)
    with tempfile.TemporaryFile() as errors:
        command = [_command_of("psql", folder), *arguments]
        psql = subprocess.Popen(command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
        assert psql.stdin is not None and psql.stdout is not None, "they are pipes"  # noqa: PT018 - one condition
        try:
            psql.stdin.write(b"BEGIN;\n")
            script(psql.stdin)
            psql.stdin.write(b"\n\\echo ready\n")
            psql.stdin.flush()
            if psql.stdout.readline().strip() == b"ready":
                before_commit()
                psql.stdin.write(b"COMMIT;\n")
                psql.stdin.flush()
            psql.stdin.close()
        except BrokenPipeError:  # psql has ended; its errors say why
            pass
        if psql.wait():
            errors.seek(0)
            raise ToolFailed(f"psql: {_tail(errors.read())}")


def _command_of(program: str, folder: Path | None) -> str:
    command = str(folder / program) if folder is not None else program
    if shutil.which(command) is None:
        raise ToolFailed(
            f"{program} was not found: install the Postgres client programs, or give their folder with --postgres-bin"
        )
    return command


def _tail(errors: bytes) -> str:
    return errors.decode(errors="replace").strip()[-ERROR_TAIL_CHARS:]


def address(url: str) -> dict[str, str]:
    """Return libpq's environment variables for SQLAlchemy's address `url`."""
    location = make_url(url)
    variables = {
        "PGHOST": location.host,
        "PGPORT": None if location.port is None else str(location.port),
        "PGUSER": location.username,
        "PGPASSWORD": None if location.password is None else str(location.password),
        "PGDATABASE": location.database,
    }
    variables |= {_PLAIN[name]: str(value) for name, value in location.query.items() if name in _PLAIN}
    return {name: value for name, value in variables.items() if value}
