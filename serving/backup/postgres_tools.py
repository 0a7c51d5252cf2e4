"""Find pg_dump, pg_restore and psql, and run them on the database.

Addresses go through their environment (https://www.postgresql.org/docs/current/libpq-envars.html): a command line is
everybody's to read. A dump can be read by programs as new as the server or newer.
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

LAST_WORDS_CHARS = 600
_PLAIN = {"sslmode": "PGSSLMODE", "ssl": "PGSSLMODE", "host": "PGHOST", "port": "PGPORT"}
_PLAIN |= {name: f"PG{name.upper()}" for name in TLS}


def run(program: str, arguments: Sequence[str], url: str | None, folder: Path | None) -> str:
    """Run it, from `folder` or PATH, on the database `url`; returns what it printed. Raises ToolFailed."""
    command = _found(program, folder)
    environ = dict(os.environ) | ({} if url is None else address(url))
    done = subprocess.run([command, *arguments], env=environ, capture_output=True, check=False)
    if done.returncode:
        raise ToolFailed(f"{program}: {_last_words(done.stderr)}")
    return done.stdout.decode(errors="replace")


def transaction(
    script: Callable[[IO[bytes]], None], url: str, folder: Path | None, before_commit: Callable[[], None]
) -> None:
    """Run what `script` writes as one transaction of psql's; raises ToolFailed, and then nothing has changed.

    It is committed only on a last word from here, so that a process that is killed before that leaves no psql behind
    which goes on to commit.
    """
    arguments = ["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--output=/dev/null"]
    environ = dict(os.environ) | address(url)
    with tempfile.TemporaryFile() as errors:
        command = [_found("psql", folder), *arguments]
        psql = subprocess.Popen(command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
        assert psql.stdin is not None and psql.stdout is not None, "they are pipes"  # noqa: PT018 - one thought
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
        except BrokenPipeError:  # it has ended; why, is in its errors
            pass
        if psql.wait():
            errors.seek(0)
            raise ToolFailed(f"psql: {_last_words(errors.read())}")


def _found(program: str, folder: Path | None) -> str:
    command = str(folder / program) if folder is not None else program
    if shutil.which(command) is None:
        raise ToolFailed(
            f"{program} was not found: install the Postgres client programs, or give their folder with --postgres-bin"
        )
    return command


def _last_words(errors: bytes) -> str:
    return errors.decode(errors="replace").strip()[-LAST_WORDS_CHARS:]


def address(url: str) -> dict[str, str]:
    """The variables that lead libpq to where SQLAlchemy's address `url` leads."""
    parts = make_url(url)
    given = {
        "PGHOST": parts.host,
        "PGPORT": None if parts.port is None else str(parts.port),
        "PGUSER": parts.username,
        "PGPASSWORD": None if parts.password is None else str(parts.password),
        "PGDATABASE": parts.database,
    }
    given |= {_PLAIN[name]: str(value) for name, value in parts.query.items() if name in _PLAIN}
    return {name: value for name, value in given.items() if value}
