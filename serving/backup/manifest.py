"""What an archive says of itself: `manifest.json` and `erasures.json`, its first two members."""

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


class KeptFile(Frozen):
    """A file: the archive's member, and where it belongs (`path` below `base`)."""

    member: str
    base: Base
    path: str
    part: Part
    sha256: str


class Manifest(Frozen):
    """All of an archive but its content.

    `database` None: it has the list of erasures only. `tables` are rows by table, counted in the same snapshot.
    `environment` names the variables that held settings, which no archive has.
    """

    format: Literal[1] = 1
    version: str
    made_at: datetime
    database: Database | None
    dump_sha256: str | None = None
    tables: dict[str, int] = {}
    files: tuple[KeptFile, ...] = ()
    environment: tuple[str, ...] = ()


class ErasureEntry(Frozen):
    """One of `storage.erasure.log`'s."""

    id: str
    digest: str
    at: datetime


class ErasureList(Frozen):
    """All entries of a database, and the key that they were made with."""

    key: str
    entries: tuple[ErasureEntry, ...]
