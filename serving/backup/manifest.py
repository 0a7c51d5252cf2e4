"""The first two members of an archive: `manifest.json` and `erasures.json`."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

MANIFEST, ERASURES = "manifest.json", "erasures.json"
SQLITE_DUMP, POSTGRES_DUMP = "sql/bondhu.db", "sql/postgres.dump"

Base = Literal["var", "root", "absolute"]
Part = Literal["secrets", "journals", "applied", "audit", "configuration", "adapters"]
Database = Literal["sqlite", "postgresql"]


class Frozen(BaseModel):
    """Immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class BackupFile(Frozen):
    """A file: its member of the archive, and its original place (`path` below `base`)."""

    member: str
    base: Base
    path: str
    part: Part
    sha256: str


class Manifest(Frozen):
    """Describes an archive.

    `database` is None if it has only the list of erasures. `tables` are row counts in the same snapshot. `environment`
    names the environment variables with settings; their values are in no archive.
    """

    format: Literal[1] = 1
    version: str
    made_at: datetime
    database: Database | None
    dump_sha256: str | None = None
    tables: dict[str, int] = {}
    files: tuple[BackupFile, ...] = ()
    environment: tuple[str, ...] = ()


class ErasureEntry(Frozen):
    """An entry of `storage.erasure.log`."""

    id: str
    digest: str
    at: datetime


class ErasureList(Frozen):
    """All entries of a database, and the key of their digests."""

    key: str
    entries: tuple[ErasureEntry, ...]
