"""The tables of outside services: shared answers, and a person's accounts and playlists.

Also the daily usage of applications, in anonymous numbers.
"""

from datetime import date, datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Date, Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from storage.memory.tables import Owned
from storage.tables import Base, UtcDateTime


class OutsideAnswer(Base):
    """An answer of a service to a request without personal data, shared by all people."""

    __tablename__ = "outside_answers"

    key: Mapped[str] = mapped_column(String(200), primary_key=True)
    document: Mapped[Any] = mapped_column(JSON)
    fetched_at: Mapped[datetime] = mapped_column(UtcDateTime)

    __table_args__ = (Index(None, "fetched_at"),)


class ServiceLink(Owned):
    """A person's account at a service. `secret` is encrypted (`agents.outside.vault`); None if none is needed.

    `state` is `linked`, or `reconnect` if the service no longer accepts the secret. A renewal holds the row until
    `renewed_until`. `heard_until` is how far their history has been read.
    """

    __tablename__ = "service_links"

    service: Mapped[str] = mapped_column(String(16), primary_key=True)
    state: Mapped[str] = mapped_column(String(16))
    account: Mapped[str] = mapped_column(String(256))
    secret: Mapped[bytes | None] = mapped_column(LargeBinary)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    renewed_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    renewed_by: Mapped[str | None] = mapped_column(String(32))
    heard_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    linked_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)


class ServiceAuthorization(Owned):
    """A pending authorisation at a service: valid once, for some minutes."""

    __tablename__ = "service_authorizations"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)  # a digest of its `state`
    service: Mapped[str] = mapped_column(String(16))
    secret: Mapped[bytes] = mapped_column(LargeBinary)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)

    __table_args__ = (Index("ix_service_authorizations_id", "id", unique=True),)


class RemotePlaylist(Owned):
    """A playlist that exists at a service too. `remote_id` None: it is being created, under the mark `mark`."""

    __tablename__ = "remote_playlists"

    service: Mapped[str] = mapped_column(String(16), primary_key=True)
    playlist: Mapped[str] = mapped_column(String(64), primary_key=True)
    mark: Mapped[str] = mapped_column(String(32))
    remote_id: Mapped[str | None] = mapped_column(String(64))
    unresolved: Mapped[int]
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)


class AppDay(Base):
    """The usage of an application on a day (UTC), in anonymous numbers, so an erasure does not change it.

    `people` were active, `new_people` of them for the first time; of the people who were new one, seven and thirty days
    before, `returned_1`, `returned_7` and `returned_30` were active again. `agents` counts requests by model id.
    """

    __tablename__ = "app_days"

    app: Mapped[str] = mapped_column(String(64), primary_key=True)
    day: Mapped[date] = mapped_column(Date, primary_key=True)
    people: Mapped[int]
    new_people: Mapped[int]
    returned_1: Mapped[int]
    returned_7: Mapped[int]
    returned_30: Mapped[int]
    requests: Mapped[int]
    sessions: Mapped[int]
    seconds: Mapped[int] = mapped_column(BigInteger)
    agents: Mapped[dict[str, Any]] = mapped_column(JSON)
    counted_at: Mapped[datetime] = mapped_column(UtcDateTime)
