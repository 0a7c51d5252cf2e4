"""Erasures as keyed hashes, so that they can be repeated in a restored backup (`storage.erasure.replay`).

An entry is written in the transaction that deletes, so a database has either both or neither: the entries that a
restored database lacks are exactly the erasures to repeat. Without the key, an entry shows only that something was
erased, and when.
"""

import hmac
import secrets
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Literal, NamedTuple

from sqlalchemy import String, insert
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import Mapped, mapped_column

from storage.memory.owner import Owner
from storage.tables import Base, UtcDateTime

Kind = Literal["application", "person", "conversation", "turn", "memory", "document"]
SEPARATOR = "\x1f"


class Erasure(Base):
    """One erasure; `digest` identifies its subject."""

    __tablename__ = "erasures"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    digest: Mapped[str] = mapped_column(String(64))
    at: Mapped[datetime] = mapped_column(UtcDateTime)


class Erased(NamedTuple):
    """The subject of an erasure: a kind, and the names that identify it."""

    kind: Kind
    names: tuple[str, ...]

    @classmethod
    def whom(cls, whom: Owner | str) -> "Erased":
        """A person, or all people of an application."""
        return cls("application", (whom,)) if isinstance(whom, str) else cls("person", (whom.app, whom.user))

    @classmethod
    def item(cls, kind: Kind, owner: Owner, id_: str) -> "Erased":
        """A conversation (by its id at the application), a turn or a memory of a person."""
        return cls(kind, (owner.app, owner.user, id_))


class ErasureLog:
    """Records erasures.

    Args:
        key: of the hashes; the same for as long as there are backups.
        now: the time, aware.

    """

    def __init__(self, key: str, now: Callable[[], datetime]) -> None:
        self._key = key.encode()
        self._now = now

    def digest(self, erased: Erased) -> str:
        """Its HMAC-SHA256, in hex."""
        message = SEPARATOR.join((erased.kind, *erased.names))
        return hmac.digest(self._key, message.encode(errors="surrogatepass"), "sha256").hex()

    async def note(self, connection: AsyncConnection, erased: Iterable[Erased]) -> None:
        """Record them, within the transaction that erases them."""
        now = self._now()
        rows = [{"id": secrets.token_hex(16), "digest": self.digest(each), "at": now} for each in erased]
        if rows:
            await connection.execute(insert(Erasure), rows)
