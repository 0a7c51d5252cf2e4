"""People: a profile, and the counter of changes by which every gateway worker knows whether what it holds is current.

Every change of anything of a person's starts with `bump`, in its own transaction. That takes the person's row first, so
that writers of one person take turns and a counter's value, once seen, has all changes up to it.
"""

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.sql.dml import ReturningInsert

from storage.database import upsert
from storage.memory.owner import WHOEVER, Owner
from storage.memory.tables import Person

ZONE = "timezone"  # the detail of a profile that names an IANA zone
PERSON = "user"  # who speaks, where the profile has no name


@dataclass(frozen=True, slots=True)
class Version:
    """How far a person's data has come; a greater `version` of the same `era` is a later one.

    What was read at `rewritten` or after can be brought up to date by reading what changed since; what was read before,
    or in another era, has to be read anew. `name` is the profile's, as of this version.
    """

    era: str
    version: int
    rewritten: int
    name: str | None


@dataclass(frozen=True, slots=True)
class Profile:
    """What the application says of the person; `name` is what they are called as a speaker of conversations."""

    name: str | None
    details: dict[str, Any]


async def bump(connection: AsyncConnection, owner: Owner, *, now: datetime, rewrites: bool = False) -> int:
    """Begin a change: the version that it makes. `rewrites`: it takes away or alters what recall has read before."""
    first = {"era": secrets.token_hex(8), "version": 1, "rewritten": 0, "name": None, "profile": {}, "created_at": now}
    statement = _bump(connection.dialect.name, rewrites=rewrites)
    return int((await connection.execute(statement, owner.columns | first)).scalar_one())


async def read_version(engine: AsyncEngine, owner: Owner) -> Version | None:
    """How far the person's data has come; None when there is nothing of theirs."""
    async with engine.connect() as connection:
        row = (await connection.execute(_VERSION, owner.columns)).one_or_none()
    return None if row is None else Version(*row)


async def read_eras(engine: AsyncEngine, owners: Iterable[Owner]) -> dict[Owner, str]:
    """The era of each of `owners` (some hundreds at most) of whom there is anything."""
    named = tuple_(Person.app, Person.end_user).in_([(owner.app, owner.user) for owner in owners])
    async with engine.connect() as connection:
        rows = await connection.execute(select(Person.app, Person.end_user, Person.era).where(named))
        return {Owner(app, user): era for app, user, era in rows}


async def read_profile(engine: AsyncEngine, owner: Owner) -> Profile:
    """What the application said of the person; empty when it said nothing."""
    async with engine.connect() as connection:
        row = (await connection.execute(owner.select(Person, Person.name, Person.profile))).one_or_none()
    return Profile(None, {}) if row is None else Profile(row.name, row.profile)


async def write_profile(engine: AsyncEngine, owner: Owner, profile: Profile, *, now: datetime) -> None:
    """Replace it."""
    async with engine.begin() as connection:
        await bump(connection, owner, now=now)
        await connection.execute(owner.update(Person).values(name=profile.name, profile=profile.details))


def zone_of(details: Mapping[str, Any] | None) -> tzinfo | None:
    """Where the person is, as the `timezone` of their profile's details names it (IANA); None when it does not."""
    named = (details or {}).get(ZONE)
    try:
        return ZoneInfo(named) if isinstance(named, str) else None
    except (ValueError, OSError):
        return None


def names_of(owner: Owner, name: str | None) -> frozenset[str]:
    """What a person is called as a speaker, case folded: as their profile says (`name`), or else by the application."""
    return frozenset(each.casefold() for each in (PERSON, owner.user, name) if each)


@cache
def _bump(dialect: str, *, rewrites: bool) -> ReturningInsert[int]:
    new = upsert(Person, dialect)
    version = Person.version + 1
    return new.on_conflict_do_update(
        index_elements=["app", "end_user"],
        set_={"version": version, "rewritten": version if rewrites else Person.rewritten},
    ).returning(Person.version)


_VERSION = WHOEVER.select(Person, Person.era, Person.version, Person.rewritten, Person.name)
