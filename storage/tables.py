"""The tables. Column types are those that SQLite and Postgres share; every instant is UTC and aware."""

from datetime import UTC, date, datetime
from typing import Any, Literal, get_args

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    DateTime,
    Dialect,
    Index,
    MetaData,
    String,
    TypeDecorator,
    false,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

NAMING = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

Outcome = Literal[
    "ok",
    "degraded",  # answered, but not by the model that was asked for, or not in full
    "client_error",
    "rate_limited",
    "unavailable",  # nothing could answer
    "blocked",  # an external model refused the content
    "engine_error",
    "timeout",
    "aborted",  # the client left
    "lost",  # the gateway worker died with it
    "internal_error",
]
RequestClass = Literal["interactive", "agent", "job"]
CacheUse = Literal[
    "hit",
    "miss",
    "bypass",
    "shared",  # read along with an identical request, whose row has the tokens
    "resumed",  # read on from another request's recording, whose row has the tokens
]


def one_of(column: str, choices: Any, name: str) -> CheckConstraint:
    """A constraint that the column holds one of the Literal `choices`."""
    accepted = ", ".join(f"'{choice}'" for choice in get_args(choices))
    return CheckConstraint(f"{column} IN ({accepted})", name=name)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC instant; SQLite stores no zone, so it is removed on writing and restored on reading."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert to UTC; a naive value is a bug (ValueError)."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a naive datetime cannot be stored: {value}")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the instant as aware UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """All tables; constraints have names, so that migrations can change them on any database."""

    metadata = MetaData(naming_convention=NAMING)


class ApiKey(Base):
    """A caller's key, as a plain SHA-256: with 256 random bits there is nothing to guess.

    `own_safety` is the reason why its application does not need the safety step here. `notices` is `agents`, `on` or
    `off`.
    """

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(String(16), primary_key=True)
    app: Mapped[str] = mapped_column(String(64), index=True)
    name: Mapped[str] = mapped_column(String(128))
    prefix: Mapped[str] = mapped_column(String(16))
    hash: Mapped[str] = mapped_column(String(64), unique=True)
    tier: Mapped[str] = mapped_column(String(32), server_default="standard")
    allow_external: Mapped[bool] = mapped_column(server_default=false())
    allow_sensitive: Mapped[bool] = mapped_column(server_default=false())
    memory: Mapped[bool] = mapped_column(server_default=false())
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    own_safety: Mapped[str | None] = mapped_column(String(200))
    notices: Mapped[str] = mapped_column(String(8), server_default="agents")


class Consent(Base):
    """The consent of one end user of an application; no row: they were never asked."""

    __tablename__ = "consents"

    app: Mapped[str] = mapped_column(String(64), primary_key=True)
    end_user: Mapped[str] = mapped_column(String(256), primary_key=True)
    allow_external: Mapped[bool]
    allow_sensitive: Mapped[bool]
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Request(Base):
    """One finished request. `id` is the gateway's own: a client may repeat a `request_id`.

    Token counts are the engine's; 0 if it reported none. `steps` are those of an agent's run
    (`serving.ledger.run_steps`). `day` is the UTC day of `started_at`, stored because the two databases compute it
    differently.
    """

    __tablename__ = "requests"
    __table_args__ = (
        one_of("outcome", Outcome, "outcome"),
        one_of("class", RequestClass, "class"),
        one_of("cache", CacheUse, "cache"),
        Index("ix_requests_app_request_id", "app", "request_id"),
        Index("ix_requests_app_started_at", "app", "started_at"),
        Index("ix_requests_started_at", "started_at"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    request_id: Mapped[str] = mapped_column(String(128))
    app: Mapped[str] = mapped_column(String(64))
    end_user: Mapped[str | None] = mapped_column(String(256))
    key_id: Mapped[str] = mapped_column(String(16))
    class_: Mapped[str] = mapped_column("class", String(16))
    endpoint: Mapped[str] = mapped_column(String(64))
    model_asked: Mapped[str | None] = mapped_column(String(128))
    model: Mapped[str | None] = mapped_column(String(128))
    segments: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    steps: Mapped[list[dict[str, Any]] | None] = mapped_column(JSON(none_as_null=True))
    tokens_reserved: Mapped[int] = mapped_column(BigInteger)
    prompt_tokens: Mapped[int] = mapped_column(BigInteger)
    cached_tokens: Mapped[int] = mapped_column(BigInteger)
    completion_tokens: Mapped[int] = mapped_column(BigInteger)
    cache: Mapped[str | None] = mapped_column(String(8))
    outcome: Mapped[str] = mapped_column(String(16))
    status: Mapped[int | None]
    error_code: Mapped[str | None] = mapped_column(String(64))
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    day: Mapped[date]
    latency_s: Mapped[float | None]
    ttft_s: Mapped[float | None]
    cost_microusd: Mapped[int] = mapped_column(BigInteger)
