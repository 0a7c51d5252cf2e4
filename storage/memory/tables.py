"""The tables of conversations and memories: every row belongs to a person of an application.

Every table here has `app` and `end_user` first in its primary key, so an id means something within its owner only, and
a history may be moved to another owner with its ids. What has `changed_in` can be read as a feed: rows are delivered
again after each change, by the owner's counter (`storage.memory.people`).
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Dialect,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from storage.tables import Base, UtcDateTime, one_of

StatedKind = Literal["fact", "preference", "event", "feeling", "person", "goal"]  # of what a person says
MemoryKind = Literal[StatedKind, "summary"]
Sensitivity = Literal["ordinary", "sensitive"]
ItemKind = Literal["turn", "memory"]
JobState = Literal[
    "queued",
    "running",
    "done",
    "dead",  # given up: it waits for an operator
    "cancelled",
]
ENDED: tuple[JobState, ...] = ("done", "cancelled")

UNREAD, UNDONE = text("read_at IS NULL"), text("state NOT IN ('done', 'cancelled')")
UNSUMMARISED = text("summarised_at IS NULL")
NO_WORDS = text("'[]'")
_OF_PERSON = (["app", "end_user"], ["people.app", "people.end_user"])


class Words(TypeDecorator[tuple[str, ...]]):
    """A few words in order, as JSON."""

    impl = JSON
    cache_ok = True

    def process_bind_param(self, value: Sequence[str] | None, dialect: Dialect) -> list[str]:
        """A list, which JSON has."""
        return list(value or ())

    def process_result_value(self, value: Sequence[str] | None, dialect: Dialect) -> tuple[str, ...]:
        """A tuple, which cannot change."""
        return tuple(value or ())


class Owned(Base):
    """Base of rows that belong to one end user of one application."""

    __abstract__ = True

    app: Mapped[str] = mapped_column(String(64), primary_key=True, sort_order=-2)
    end_user: Mapped[str] = mapped_column(String(256), primary_key=True, sort_order=-1)


class Person(Owned):
    """An end user: their profile, and the counter of all changes to their data.

    `era` is random for each new row, so that a counter that starts again differs from the earlier one. `rewritten` is
    the counter's value at the last change that did more than add. `utc_offset_s` came with their last turns, if it was
    not 0.
    """

    __tablename__ = "people"

    era: Mapped[str] = mapped_column(String(16))
    version: Mapped[int] = mapped_column(BigInteger)
    rewritten: Mapped[int] = mapped_column(BigInteger)
    name: Mapped[str | None] = mapped_column(String(256))
    profile: Mapped[dict[str, Any]] = mapped_column(JSON)
    utc_offset_s: Mapped[int | None]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Conversation(Owned):
    """A sequence of turns."""

    __tablename__ = "conversations"
    __table_args__ = (
        ForeignKeyConstraint(*_OF_PERSON),
        UniqueConstraint("app", "end_user", "external_id"),
    )

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    external_id: Mapped[str] = mapped_column(String(256))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Message(Owned):
    """One turn; turns of a conversation are ordered by `said_at`, then by `position`.

    `read_at`: when extraction processed it; None: it may still yield memories. `summarised_at`: when it went into a
    summary of its conversation, or was left out of one for good. `answers`: the id of the turn that it is the reply to;
    None: it is none, or that is not known.
    """

    __tablename__ = "messages"
    __table_args__ = (
        ForeignKeyConstraint(
            ["app", "end_user", "conversation_id"],
            ["conversations.app", "conversations.end_user", "conversations.id"],
        ),
        UniqueConstraint("app", "end_user", "conversation_id", "external_id"),
        Index("ix_messages_changed_in", "app", "end_user", "changed_in"),
        Index("ix_messages_order", "app", "end_user", "conversation_id", "said_at", "position"),
        Index("ix_messages_unread", "app", "end_user", sqlite_where=UNREAD, postgresql_where=UNREAD),
        Index(
            "ix_messages_unsummarised",
            "app",
            "end_user",
            "conversation_id",
            sqlite_where=UNSUMMARISED,
            postgresql_where=UNSUMMARISED,
        ),
    )

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    conversation_id: Mapped[str] = mapped_column(String(64))
    external_id: Mapped[str] = mapped_column(String(256))
    position: Mapped[int] = mapped_column(BigInteger)
    speaker: Mapped[str] = mapped_column(String(256))
    text: Mapped[str] = mapped_column(Text)
    said_at: Mapped[datetime] = mapped_column(UtcDateTime)
    changed_in: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    read_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    summarised_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    answers: Mapped[str | None] = mapped_column(String(64))


class Memory(Owned):
    """One memory, valid from `valid_from` until before `valid_until`; None is open.

    `quote` occurs word for word in the message `message_id`; `superseded_by` is the memory that replaced it.
    `painful_at`: when it was marked as painful. A `muted` memory is kept but not recalled. `tags` are the application's
    words for it. One that belongs to a `persona` or a `conversation` (by the application's name) is recalled only
    there.
    """

    __tablename__ = "memories"
    __table_args__ = (
        ForeignKeyConstraint(*_OF_PERSON),
        one_of("kind", MemoryKind, "kind"),
        one_of("sensitivity", Sensitivity, "sensitivity"),
        CheckConstraint("valid_until > valid_from", name="interval"),
        CheckConstraint("confidence >= 0 AND confidence <= 1", name="confidence"),
        Index("ix_memories_changed_in", "app", "end_user", "changed_in"),
    )

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    text: Mapped[str] = mapped_column(Text)
    speaker: Mapped[str | None] = mapped_column(String(256))
    quote: Mapped[str | None] = mapped_column(Text)
    message_id: Mapped[str | None] = mapped_column(String(64))
    event_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    valid_from: Mapped[datetime | None] = mapped_column(UtcDateTime)
    valid_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    confidence: Mapped[float]
    sensitivity: Mapped[str] = mapped_column(String(16))
    pinned: Mapped[bool] = mapped_column(server_default=false())
    superseded_by: Mapped[str | None] = mapped_column(String(64))
    painful_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    muted: Mapped[bool] = mapped_column(server_default=false())
    tags: Mapped[tuple[str, ...]] = mapped_column(Words, server_default=NO_WORDS)
    persona: Mapped[str | None] = mapped_column(String(256))
    conversation: Mapped[str | None] = mapped_column(String(256))
    changed_in: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)


class MemorySource(Owned):
    """A turn that a summary was made from; with any of them, the summary goes (`storage.memory.summaries`)."""

    __tablename__ = "memory_sources"
    __table_args__ = (
        ForeignKeyConstraint(["app", "end_user", "memory_id"], ["memories.app", "memories.end_user", "memories.id"]),
        ForeignKeyConstraint(["app", "end_user", "message_id"], ["messages.app", "messages.end_user", "messages.id"]),
        Index("ix_memory_sources_message", "app", "end_user", "message_id"),
    )

    memory_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    message_id: Mapped[str] = mapped_column(String(64), primary_key=True)


class Embedding(Owned):
    """The vectors of an item by one model's revision: float32, little-endian, unit length.

    `single` is of the item's own text, `parts` (one vector after another) of those of a long one
    (`memory.embedding.parts`); `window` of a turn with its neighbours, None until it is made (again). While a new
    model's vectors are made, the old ones remain, so both spaces can be searched.
    """

    __tablename__ = "embeddings"
    __table_args__ = (
        ForeignKeyConstraint(*_OF_PERSON),
        one_of("kind", ItemKind, "kind"),
        Index("ix_embeddings_changed_in", "app", "end_user", "changed_in"),
    )

    kind: Mapped[str] = mapped_column(String(8), primary_key=True)
    item_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    model: Mapped[str] = mapped_column(String(128), primary_key=True)
    revision: Mapped[str] = mapped_column(String(64), primary_key=True)
    single: Mapped[bytes] = mapped_column(LargeBinary)
    window: Mapped[bytes | None] = mapped_column(LargeBinary)
    parts: Mapped[bytes | None] = mapped_column(LargeBinary)
    changed_in: Mapped[int] = mapped_column(BigInteger)


class ReplyContextItem(Owned):
    """An item in the context of a reply: its rank, from 1, and the reasons (`ranking.Ranked`).

    It has no text of its own, and is deleted with the reply or the item.
    """

    __tablename__ = "given"
    __table_args__ = (
        ForeignKeyConstraint(*_OF_PERSON),
        one_of("kind", ItemKind, "kind"),
        Index("ix_given_item", "app", "end_user", "kind", "item_id"),
    )

    message_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    kind: Mapped[str] = mapped_column(String(8), primary_key=True)
    item_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    rank: Mapped[int]
    score: Mapped[float]
    said: Mapped[dict[str, Any]] = mapped_column(JSON)
    factors: Mapped[dict[str, Any]] = mapped_column(JSON)


class SetAside(Owned):
    """A complete turn or memory that a wish removed, until `expires_at`; no other table has it.

    `message_id` is the turn, or the one that a memory quotes; `conversation` is the turn's, by the application's name.
    """

    __tablename__ = "set_aside"
    __table_args__ = (
        ForeignKeyConstraint(*_OF_PERSON),
        one_of("kind", ItemKind, "kind"),
        Index("ix_set_aside_expires_at", "expires_at"),
    )

    wish_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    kind: Mapped[str] = mapped_column(String(8), primary_key=True)
    item_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    message_id: Mapped[str | None] = mapped_column(String(64))
    conversation: Mapped[str | None] = mapped_column(String(256))
    content: Mapped[dict[str, Any]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)


class MutedTopic(Owned):
    """A muted topic in the person's own words; it also applies to what they say later."""

    __tablename__ = "muted_topics"
    __table_args__ = (ForeignKeyConstraint(*_OF_PERSON),)

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    about: Mapped[str] = mapped_column(Text)
    language: Mapped[str] = mapped_column(String(8))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Job(Owned):
    """A background job for a person, or for the service (`storage.jobs.queue.SERVICE`).

    An owner has at most one unfinished job of each kind (`storage.jobs.kinds`). `due_at`: when to send it to a worker
    (again), or when a running job counts as lost. `error` is the kind of the last failure, `result` contains numbers
    and ids: never people's words. The random id is all that the queue knows of it. A person with jobs need not have a
    row in `people`: they may have only playlists.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        one_of("state", JobState, "state"),
        Index("ix_jobs_id", "id", unique=True),
        Index("ix_jobs_due", "state", "due_at"),
        Index("ix_jobs_undone", "app", "end_user", "kind", unique=True, sqlite_where=UNDONE, postgresql_where=UNDONE),
    )

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    kind: Mapped[str] = mapped_column(String(32))
    state: Mapped[str] = mapped_column(String(16))
    priority: Mapped[int] = mapped_column(server_default=text("1"))
    params: Mapped[dict[str, Any]] = mapped_column(JSON, server_default=text("'{}'"))
    result: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    progress_done: Mapped[int] = mapped_column(server_default=text("0"))
    progress_of: Mapped[int] = mapped_column(server_default=text("0"))
    attempts: Mapped[int]
    error: Mapped[str | None] = mapped_column(String(64))
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)


class JobSlot(Owned):
    """The last slot of the schedule for which a job of this kind was added; a slot has at most one job."""

    __tablename__ = "job_slots"

    kind: Mapped[str] = mapped_column(String(32), primary_key=True)
    slot: Mapped[str] = mapped_column(String(32))
