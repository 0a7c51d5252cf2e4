"""Verifies a backup completely, without touching the running service."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from serving.backup import archive, collect, postgres_tools, snapshot
from serving.backup.errors import Damaged
from serving.backup.manifest import POSTGRES_DUMP, SQLITE_DUMP, Manifest


def verify(file: Path, identities: Sequence[str], *, postgres_bin: Path | None = None) -> Manifest:
    """Verify a backup and return its manifest; raises Damaged, Locked, ToolFailed."""
    with tempfile.TemporaryDirectory(prefix="bondhu-verify.") as name:
        return unpack_checked(file, identities, Path(name), postgres_bin=postgres_bin)


def unpack_checked(file: Path, identities: Sequence[str], into: Path, *, postgres_bin: Path | None) -> Manifest:
    """Unpack a backup, and check its members by the manifest and its database; raises the same errors."""
    manifest = archive.unpack(file, identities, into)
    for member in manifest.files:
        _check(into / member.member, member.sha256)
    if manifest.database == "sqlite":
        dump = into / SQLITE_DUMP
        _check(dump, manifest.dump_sha256)
        snapshot.check_sqlite(dump)
        if (counts := snapshot.count_sqlite(dump)) != manifest.tables:
            raise Damaged(f"{file}: the tables have {counts} rows instead of {manifest.tables}")
    elif manifest.database == "postgresql":
        _check(into / POSTGRES_DUMP, manifest.dump_sha256)
        postgres_tools.run("pg_restore", ["--file=/dev/null", str(into / POSTGRES_DUMP)], None, postgres_bin)
    return manifest


def _check(member: Path, sha256: str | None) -> None:
    if not member.is_file():
        raise Damaged(f"{member.name} is missing")
    if collect.sha256(member) != sha256:
        raise Damaged(f"{member.name} differs from its hash in the manifest")
