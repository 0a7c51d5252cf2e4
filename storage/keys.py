"""API keys: `bd-` and 43 URL-safe characters (256 random bits), shown once, stored as SHA-256.

It does not know of HTTP, caches or limits; who asks decides how often.
"""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import insert, or_, select, update
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.schema import ApiKey

PREFIX = "bd-"
SHOWN_CHARACTERS = 7


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """What may be shown of a key: everything but the key. `prefix` is its first characters."""

    id: str
    app: str
    name: str
    prefix: str
    created_at: datetime
    revoked_at: datetime | None
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just made; `secret` exists nowhere else."""

    record: KeyRecord
    secret: str


def hash_key(secret: str) -> str:
    """Return the SHA-256 of a key in hexadecimal, as stored."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


async def create_key(engine: AsyncEngine, *, app: str, name: str, now: datetime) -> NewKey:
    """Make and store a key for application `app`; `name` is a label for people."""
    secret = PREFIX + secrets.token_urlsafe(32)
    record = KeyRecord(secrets.token_hex(6), app, name, secret[:SHOWN_CHARACTERS], now, None, None)
    row = {
        "id": record.id,
        "app": app,
        "name": name,
        "prefix": record.prefix,
        "hash": hash_key(secret),
        "created_at": now,
    }
    async with engine.begin() as connection:
        await connection.execute(insert(ApiKey).values(row))
    return NewKey(record, secret)


async def list_keys(engine: AsyncEngine, *, app: str | None = None) -> list[KeyRecord]:
    """Return all keys, revoked ones too, oldest first; of one application when `app` is given."""
    query = select(ApiKey.__table__).order_by(ApiKey.created_at, ApiKey.id)
    if app is not None:
        query = query.where(ApiKey.app == app)
    async with engine.connect() as connection:
        return [_record(row) for row in await connection.execute(query)]


async def revoke_key(engine: AsyncEngine, key_id: str, *, now: datetime) -> KeyRecord | None:
    """Revoke a key for good; None when there is no such id. Revoking again keeps the first instant."""
    async with engine.begin() as connection:
        await connection.execute(
            update(ApiKey).where(ApiKey.id == key_id, ApiKey.revoked_at.is_(None)).values(revoked_at=now)
        )
        row = (await connection.execute(select(ApiKey.__table__).where(ApiKey.id == key_id))).one_or_none()
    return None if row is None else _record(row)


async def find_key(engine: AsyncEngine, key_hash: str) -> KeyRecord | None:
    """Return the key with this hash (see `hash_key`); None when there is none or it is revoked."""
    query = select(ApiKey.__table__).where(ApiKey.hash == key_hash, ApiKey.revoked_at.is_(None))
    async with engine.connect() as connection:
        row = (await connection.execute(query)).one_or_none()
    return None if row is None else _record(row)


async def note_uses(engine: AsyncEngine, uses: Mapping[str, datetime]) -> None:
    """Record when keys (by id) were last used; never moves an instant back, so repeating it is harmless."""
    async with engine.begin() as connection:
        for key_id, used_at in uses.items():
            older = or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at < used_at)
            await connection.execute(update(ApiKey).where(ApiKey.id == key_id, older).values(last_used_at=used_at))


def _record(row: Row[tuple[object, ...]]) -> KeyRecord:
    fields = dict(row._mapping)
    del fields["hash"]
    return KeyRecord(**fields)
