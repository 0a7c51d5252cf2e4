"""API keys: `bd-` and 43 URL-safe characters (256 random bits), shown once, stored as SHA-256.

A key belongs to an application and names a tier. This module does not know HTTP, caches, or what a tier allows; the
caller decides how often to query.
"""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import ColumnElement, insert, or_, select, update
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from storage.tables import ApiKey

PREFIX = "bd-"
SHOWN_CHARACTERS = 7
Notices = Literal["agents", "on", "off"]


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """Everything about a key except the key itself.

    `prefix` is its first characters. `allow_external` is the application's consent to send requests to an external
    model, `allow_sensitive` to include private content. `memory`: its chats use memory unless a request declines.
    `own_safety`: why the application does without the safety step here; None: it has it. `notices`: whether people are
    told that they talk to a program by agents only, always, or never, because the application tells them itself.
    """

    id: str
    app: str
    name: str
    prefix: str
    tier: str
    allow_external: bool
    allow_sensitive: bool
    memory: bool
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    own_safety: str | None = None
    notices: Notices = "agents"


@dataclass(frozen=True, slots=True)
class NewKey:
    """A new key; `secret` exists nowhere else."""

    record: KeyRecord
    secret: str


def hash_key(secret: str) -> str:
    """Return the SHA-256 of a key in hexadecimal, as stored."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


async def create_key(
    engine: AsyncEngine,
    *,
    app: str,
    name: str,
    now: datetime,
    tier: str = "standard",
    expires_at: datetime | None = None,
    allow_external: bool = False,
    allow_sensitive: bool = False,
    memory: bool = False,
    own_safety: str | None = None,
    notices: Notices = "agents",
) -> NewKey:
    """Make and store a key for application `app`; `name` is a label for people."""
    made = _new_key(
        app=app,
        name=name,
        now=now,
        tier=tier,
        expires_at=expires_at,
        allow_external=allow_external,
        allow_sensitive=allow_sensitive,
        memory=memory,
        own_safety=own_safety,
        notices=notices,
    )
    async with engine.begin() as connection:
        await _store(connection, made)
    return made


async def rotate_key(engine: AsyncEngine, key_id: str, *, now: datetime, overlap: timedelta) -> NewKey | None:
    """Replace a key by a new one with the same app, name, tier and consent; the old one expires at `now` + `overlap`.

    A key with a limited lifetime gets the same lifetime again. None, and nothing changed, if no valid key has this id.
    """
    ends = now + overlap
    valid = (ApiKey.id == key_id, ApiKey.revoked_at.is_(None), _unexpired(now))
    async with engine.begin() as connection:
        # First a write, so that two who rotate one key take turns.
        await connection.execute(update(ApiKey).where(*valid).values(last_used_at=ApiKey.last_used_at))
        row = (await connection.execute(select(ApiKey.__table__).where(*valid))).one_or_none()
        if row is None:
            return None
        old = _record(row)
        lifetime = None if old.expires_at is None else old.expires_at - old.created_at
        made = _new_key(
            app=old.app,
            name=old.name,
            now=now,
            tier=old.tier,
            expires_at=None if lifetime is None else now + lifetime,
            allow_external=old.allow_external,
            allow_sensitive=old.allow_sensitive,
            memory=old.memory,
            own_safety=old.own_safety,
            notices=old.notices,
        )
        await _store(connection, made)
        if old.expires_at is None or ends < old.expires_at:
            await connection.execute(update(ApiKey).where(ApiKey.id == key_id).values(expires_at=ends))
    return made


async def list_keys(engine: AsyncEngine, *, app: str | None = None) -> list[KeyRecord]:
    """Return all keys, revoked ones too, oldest first; of one application when `app` is given."""
    query = select(ApiKey.__table__).order_by(ApiKey.created_at, ApiKey.id)
    if app is not None:
        query = query.where(ApiKey.app == app)
    async with engine.connect() as connection:
        return [_record(row) for row in await connection.execute(query)]


async def revoke_key(engine: AsyncEngine, key_id: str, *, now: datetime) -> KeyRecord | None:
    """Revoke a key permanently; None if there is no such id. Revoking again keeps the first time."""
    async with engine.begin() as connection:
        await connection.execute(
            update(ApiKey).where(ApiKey.id == key_id, ApiKey.revoked_at.is_(None)).values(revoked_at=now)
        )
        row = (await connection.execute(select(ApiKey.__table__).where(ApiKey.id == key_id))).one_or_none()
    return None if row is None else _record(row)


async def find_key(engine: AsyncEngine, key_hash: str, now: datetime) -> KeyRecord | None:
    """Return the key with this hash (see `hash_key`); None when there is none, or it is revoked or expired."""
    query = select(ApiKey.__table__).where(ApiKey.hash == key_hash, ApiKey.revoked_at.is_(None), _unexpired(now))
    async with engine.connect() as connection:
        row = (await connection.execute(query)).one_or_none()
    return None if row is None else _record(row)


async def note_uses(engine: AsyncEngine, uses: Mapping[str, datetime]) -> None:
    """Record when keys (by id) were last used; never moves a time backwards, so repeating it is harmless."""
    async with engine.begin() as connection:
        for key_id, used_at in uses.items():
            older = or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at < used_at)
            await connection.execute(update(ApiKey).where(ApiKey.id == key_id, older).values(last_used_at=used_at))


def _record(row: Row[tuple[object, ...]]) -> KeyRecord:
    fields = dict(row._mapping)
    del fields["hash"]
    return KeyRecord(**fields)


def _unexpired(now: datetime) -> ColumnElement[bool]:
    return or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > now)


def _new_key(
    *,
    app: str,
    name: str,
    now: datetime,
    tier: str,
    expires_at: datetime | None,
    allow_external: bool,
    allow_sensitive: bool,
    memory: bool,
    own_safety: str | None,
    notices: Notices,
) -> NewKey:
    secret = PREFIX + secrets.token_urlsafe(32)
    record = KeyRecord(
        id=secrets.token_hex(6),
        app=app,
        name=name,
        prefix=secret[:SHOWN_CHARACTERS],
        tier=tier,
        allow_external=allow_external,
        allow_sensitive=allow_sensitive,
        memory=memory,
        created_at=now,
        expires_at=expires_at,
        revoked_at=None,
        last_used_at=None,
        own_safety=own_safety,
        notices=notices,
    )
    return NewKey(record, secret)


async def _store(connection: AsyncConnection, made: NewKey) -> None:
    await connection.execute(insert(ApiKey).values(hash=hash_key(made.secret), **asdict(made.record)))
