"""People: a profile, and the change counter that tells gateway workers whether their data is current.

Every change of a person's data starts with `bump` in its transaction. It locks the person's row first, so writers of
one person take turns, and once a counter value is visible, so are all changes up to it.
"""

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone, tzinfo
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
    """The state of a person's data; a greater `version` of the same `era` is later.

    Data read at `rewritten` or later is updated by reading the changes since then; data read earlier, or in another
    era, must be read again completely. `name` and `details` are the profile's at this version; `utc_offset_s` is that
    of their turns.
    """

    era: str
    version: int
    rewritten: int
    name: str | None
    details: Mapping[str, Any]
    utc_offset_s: int | None

    @property
    def zone(self) -> tzinfo | None:
        """Where the person is, by their profile, else by their turns; None if neither says so."""
        own = None if self.utc_offset_s is None else timezone(timedelta(seconds=self.utc_offset_s))
        return zone_of(self.details) or own


@dataclass(frozen=True, slots=True)
class Profile:
    """The application's description of the person; `name` is their name as a speaker."""

    name: str | None
    details: dict[str, Any]


async def bump(connection: AsyncConnection, owner: Owner, *, now: datetime, rewrites: bool = False) -> int:
    """Begin a change; returns its version. `rewrites`: it alters or removes data that recall may have read."""
    first = {"era": secrets.token_hex(8), "version": 1, "rewritten": 0, "name": None, "profile": {}, "created_at": now}
    statement = _bump(connection.dialect.name, rewrites=rewrites)
    return int((await connection.execute(statement, owner.columns | first)).scalar_one())


async def read_version(engine: AsyncEngine, owner: Owner) -> Version | None:
    """The current version of the person's data; None if there is none."""
    async with engine.connect() as connection:
        row = (await connection.execute(_VERSION, owner.columns)).one_or_none()
    return None if row is None else Version(*row)


async def read_eras(engine: AsyncEngine, owners: Iterable[Owner]) -> dict[Owner, str]:
    """The eras of those `owners` (a few hundred at most) that have data."""
    named = tuple_(Person.app, Person.end_user).in_([(owner.app, owner.user) for owner in owners])
    async with engine.connect() as connection:
        rows = await connection.execute(select(Person.app, Person.end_user, Person.era).where(named))
        return {Owner(app, user): era for app, user, era in rows}


async def read_profile(engine: AsyncEngine, owner: Owner) -> Profile:
    """The profile that the application set; empty if it set none."""
    async with engine.connect() as connection:
        row = (await connection.execute(_PROFILE, owner.columns)).one_or_none()
    return Profile(None, {}) if row is None else Profile(row.name, row.profile)


async def write_profile(engine: AsyncEngine, owner: Owner, profile: Profile, *, now: datetime) -> None:
    """Replace the profile."""
    async with engine.begin() as connection:
        await bump(connection, owner, now=now)
        await connection.execute(owner.update(Person).values(name=profile.name, profile=profile.details))


async def note_offset(connection: AsyncConnection, owner: Owner, said_at: datetime) -> None:
    """Note the offset of this time within an open change; 0 says nothing, as UTC is what clocks of servers have."""
    if offset := said_at.utcoffset():
        await connection.execute(owner.update(Person).values(utc_offset_s=int(offset.total_seconds())))


def zone_of(details: Mapping[str, Any] | None) -> tzinfo | None:
    """The `timezone` (IANA) in the details of the profile; None if there is none."""
    named = (details or {}).get(ZONE)
    try:
        return ZoneInfo(named) if isinstance(named, str) else None
    except (ValueError, OSError, KeyError):  # ZoneInfoNotFoundError is a KeyError
        return None


def names_of(owner: Owner, name: str | None) -> frozenset[str]:
    """The person's names as a speaker, case folded: the profile's `name`, or the application's user name."""
    return frozenset(each.casefold() for each in (PERSON, owner.user, name) if each)


@cache
def _bump(dialect: str, *, rewrites: bool) -> ReturningInsert[int]:
    new = upsert(Person, dialect)
    version = Person.version + 1
    return new.on_conflict_do_update(
        index_elements=["app", "end_user"],
        set_={"version": version, "rewritten": version if rewrites else Person.rewritten},
    ).returning(Person.version)


_VERSION = WHOEVER.select(
    Person, Person.era, Person.version, Person.rewritten, Person.name, Person.profile, Person.utc_offset_s
)
_PROFILE = WHOEVER.select(Person, Person.name, Person.profile)
