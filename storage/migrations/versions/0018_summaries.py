"""Summaries of conversations: memories of a kind of their own, each with the turns that it was made from."""

import sqlalchemy as sa
from alembic import op

from storage.tables import UtcDateTime

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

BEFORE = "kind IN ('fact', 'preference', 'event', 'feeling', 'person', 'goal')"
AFTER = "kind IN ('fact', 'preference', 'event', 'feeling', 'person', 'goal', 'summary')"
UNSUMMARISED = sa.text("summarised_at IS NULL")


def upgrade() -> None:
    op.add_column("messages", sa.Column("summarised_at", UtcDateTime(), nullable=True))
    op.create_index(
        "ix_messages_unsummarised",
        "messages",
        ["app", "end_user", "conversation_id"],
        sqlite_where=UNSUMMARISED,
        postgresql_where=UNSUMMARISED,
    )
    _accept_kinds(AFTER)
    op.create_table(
        "memory_sources",
        *owner(),
        sa.Column("memory_id", sa.String(64), nullable=False),
        sa.Column("message_id", sa.String(64), nullable=False),
        sa.ForeignKeyConstraint(
            ["app", "end_user", "memory_id"],
            ["memories.app", "memories.end_user", "memories.id"],
            name=op.f("fk_memory_sources_app_memories"),
        ),
        sa.ForeignKeyConstraint(
            ["app", "end_user", "message_id"],
            ["messages.app", "messages.end_user", "messages.id"],
            name=op.f("fk_memory_sources_app_messages"),
        ),
        sa.PrimaryKeyConstraint("app", "end_user", "memory_id", "message_id", name=op.f("pk_memory_sources")),
    )
    op.create_index("ix_memory_sources_message", "memory_sources", ["app", "end_user", "message_id"])


def downgrade() -> None:
    op.drop_table("memory_sources")
    op.execute(
        "DELETE FROM embeddings WHERE kind = 'memory' AND item_id IN (SELECT id FROM memories WHERE kind = 'summary')"
    )
    op.execute(
        "DELETE FROM given WHERE kind = 'memory' AND item_id IN (SELECT id FROM memories WHERE kind = 'summary')"
    )
    op.execute("DELETE FROM memories WHERE kind = 'summary'")
    _accept_kinds(BEFORE)
    op.drop_index("ix_messages_unsummarised", table_name="messages")
    op.drop_column("messages", "summarised_at")


def _accept_kinds(kinds: str) -> None:
    """Change the constraint; SQLite changes none, so the table is made again there, with its rows."""
    if op.get_bind().dialect.name != "sqlite":
        op.drop_constraint(op.f("ck_memories_kind"), "memories", type_="check")
        op.create_check_constraint(op.f("ck_memories_kind"), "memories", kinds)
        return
    with op.batch_alter_table("memories", copy_from=_memories(kinds), recreate="always"):
        pass


def _memories(kinds: str) -> sa.Table:
    table = sa.Table(
        "memories",
        sa.MetaData(),
        *owner(),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("speaker", sa.String(256), nullable=True),
        sa.Column("quote", sa.Text(), nullable=True),
        sa.Column("message_id", sa.String(64), nullable=True),
        sa.Column("event_at", UtcDateTime(), nullable=True),
        sa.Column("valid_from", UtcDateTime(), nullable=True),
        sa.Column("valid_until", UtcDateTime(), nullable=True),
        sa.Column("confidence", sa.Double(), nullable=False),
        sa.Column("sensitivity", sa.String(16), nullable=False),
        sa.Column("pinned", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("superseded_by", sa.String(64), nullable=True),
        sa.Column("painful_at", UtcDateTime(), nullable=True),
        sa.Column("muted", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("changed_in", sa.BigInteger(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint(kinds, name=op.f("ck_memories_kind")),
        sa.CheckConstraint("sensitivity IN ('ordinary', 'sensitive')", name=op.f("ck_memories_sensitivity")),
        sa.CheckConstraint("valid_until > valid_from", name=op.f("ck_memories_interval")),
        sa.CheckConstraint("confidence >= 0 AND confidence <= 1", name=op.f("ck_memories_confidence")),
        sa.ForeignKeyConstraint(
            ["app", "end_user"], ["people.app", "people.end_user"], name=op.f("fk_memories_app_people")
        ),
        sa.PrimaryKeyConstraint("app", "end_user", "id", name=op.f("pk_memories")),
    )
    sa.Index("ix_memories_changed_in", table.c.app, table.c.end_user, table.c.changed_in)
    return table


def owner() -> tuple[sa.Column[str], sa.Column[str]]:
    return sa.Column("app", sa.String(64), nullable=False), sa.Column("end_user", sa.String(256), nullable=False)
