"""People's accounts at outside services: link, renew by one process at a time, unlink with all their data.

Secrets are encrypted before they get here. An authorisation is found by a digest of its `state`, which only the service
and the person's browser know; this is the only statement here that does not start with an owner.
"""

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, or_
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.database import upsert
from storage.memory.owner import Owner
from storage.services.tables import RemotePlaylist, ServiceAuthorization, ServiceLink

LINKED, RECONNECT = "linked", "reconnect"
AUTHORIZATION_LASTS = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Link:
    """An account at a service; see `storage.services.tables.ServiceLink`."""

    service: str
    state: str
    account: str
    secret: bytes | None
    expires_at: datetime | None
    heard_until: datetime | None
    linked_at: datetime


@dataclass(frozen=True, slots=True)
class Authorization:
    """A person who was sent to a service, and their pending data."""

    owner: Owner
    service: str
    secret: bytes


class SqlLinks:
    """Links in SQL.

    Args:
        engine: the pool.
        now: the time, aware.

    """

    def __init__(self, engine: AsyncEngine, now: Callable[[], datetime]) -> None:
        self._engine = engine
        self._now = now

    async def all_of(self, owner: Owner) -> list[Link]:
        """The person's accounts, by service."""
        query = owner.select(ServiceLink, *_COLUMNS).order_by(ServiceLink.service)
        async with self._engine.connect() as connection:
            return [Link(*row) for row in await connection.execute(query)]

    async def find(self, owner: Owner, service: str) -> Link | None:
        """The person's account at a service; None if there is none."""
        query = owner.select(ServiceLink, *_COLUMNS).where(ServiceLink.service == service)
        async with self._engine.connect() as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else Link(*row)

    async def link(
        self, owner: Owner, service: str, account: str, *, secret: bytes | None, expires_at: datetime | None
    ) -> None:
        """Link an account, replacing an earlier one."""
        now = self._now()
        values = {"state": LINKED, "account": account, "secret": secret, "expires_at": expires_at, "updated_at": now}
        values |= {"renewed_until": None, "renewed_by": None, "linked_at": now, "heard_until": None}
        async with self._engine.begin() as connection:
            new = upsert(ServiceLink, connection.dialect.name).values(**owner.columns, service=service, **values)
            await connection.execute(
                new.on_conflict_do_update(index_elements=["app", "end_user", "service"], set_=values)
            )

    async def unlink(self, owner: Owner, service: str) -> bool:
        """Delete it with all its data; False if there was none."""
        async with self._engine.begin() as connection:
            for table in (RemotePlaylist, ServiceAuthorization):
                await connection.execute(owner.delete(table).where(table.service == service))
            gone = await connection.execute(owner.delete(ServiceLink).where(ServiceLink.service == service))
            return bool(gone.rowcount)

    async def begin_renewal(self, owner: Owner, service: str, *, lasts: timedelta) -> str | None:
        """Claim the renewal of its secret for this time; None while another process has it."""
        now, by = self._now(), secrets.token_hex(16)
        free = or_(ServiceLink.renewed_until.is_(None), ServiceLink.renewed_until <= now)
        take = owner.update(ServiceLink).where(ServiceLink.service == service, ServiceLink.state == LINKED, free)
        async with self._engine.begin() as connection:
            claimed = await connection.execute(take.values(renewed_until=now + lasts, renewed_by=by))
        return by if claimed.rowcount else None

    async def end_renewal(
        self,
        owner: Owner,
        service: str,
        by: str,
        *,
        secret: bytes | None = None,
        expires_at: datetime | None = None,
        state: str = LINKED,
    ) -> bool:
        """Store the result if the claim still holds; without a secret the old one stays."""
        values: dict[str, Any] = {"renewed_until": None, "renewed_by": None, "state": state, "updated_at": self._now()}
        if secret is not None:
            values |= {"secret": secret, "expires_at": expires_at}
        mine = owner.update(ServiceLink).where(ServiceLink.service == service, ServiceLink.renewed_by == by)
        async with self._engine.begin() as connection:
            return bool((await connection.execute(mine.values(values))).rowcount)

    async def authorize(self, owner: Owner, service: str, state: str, secret: bytes) -> None:
        """Record that the person was sent there."""
        now = self._now()
        row = {"id": _digest(state), "service": service, "secret": secret, "expires_at": now + AUTHORIZATION_LASTS}
        async with self._engine.begin() as connection:
            await connection.execute(delete(ServiceAuthorization).where(ServiceAuthorization.expires_at <= now))
            await connection.execute(
                upsert(ServiceAuthorization, connection.dialect.name).values(**owner.columns, **row)
            )

    async def authorized(self, service: str, state: str) -> Authorization | None:
        """The pending authorization of this state, once; None if unknown or expired."""
        mine = delete(ServiceAuthorization).where(
            ServiceAuthorization.id == _digest(state),
            ServiceAuthorization.service == service,
            ServiceAuthorization.expires_at > self._now(),
        )
        columns = (ServiceAuthorization.app, ServiceAuthorization.end_user, ServiceAuthorization.secret)
        async with self._engine.begin() as connection:
            row = (await connection.execute(mine.returning(*columns))).one_or_none()
        return None if row is None else Authorization(Owner(row.app, row.end_user), service, row.secret)


def _digest(state: str) -> str:
    return hashlib.sha256(state.encode()).hexdigest()


_COLUMNS = [getattr(ServiceLink, name) for name in Link.__dataclass_fields__]
