"""What people said and what is remembered of them."""

import sqlalchemy as sa
from alembic import op

from storage.tables import UtcDateTime

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

OF_PERSON = (["app", "end_user"], ["people.app", "people.end_user"])
OF_CONVERSATION = (
    ["app", "end_user", "conversation_id"],
    ["conversations.app", "conversations.end_user", "conversations.id"],
)
KINDS = "kind IN ('fact', 'preference', 'event', 'feeling', 'person', 'goal')"


def upgrade() -> None:
    op.create_table(
        "people",
        *owner(),
        sa.Column("era", sa.String(16), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("rewritten", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(256), nullable=True),
        sa.Column("profile", sa.JSON(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("app", "end_user", name=op.f("pk_people")),
    )
    op.create_table(
        "conversations",
        *owner(),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("external_id", sa.String(256), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(*OF_PERSON, name=op.f("fk_conversations_app_people")),
        sa.PrimaryKeyConstraint("app", "end_user", "id", name=op.f("pk_conversations")),
        sa.UniqueConstraint("app", "end_user", "external_id", name=op.f("uq_conversations_app")),
    )
    op.create_table(
        "messages",
        *owner(),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("conversation_id", sa.String(64), nullable=False),
        sa.Column("external_id", sa.String(256), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("speaker", sa.String(256), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("said_at", UtcDateTime(), nullable=False),
        sa.Column("changed_in", sa.BigInteger(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(*OF_CONVERSATION, name=op.f("fk_messages_app_conversations")),
        sa.PrimaryKeyConstraint("app", "end_user", "id", name=op.f("pk_messages")),
        sa.UniqueConstraint("app", "end_user", "conversation_id", "external_id", name=op.f("uq_messages_app")),
    )
    op.create_index("ix_messages_changed_in", "messages", ["app", "end_user", "changed_in"])
    op.create_index("ix_messages_order", "messages", ["app", "end_user", "conversation_id", "said_at", "position"])
    op.create_table(
        "memories",
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
        sa.Column("changed_in", sa.BigInteger(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint(KINDS, name=op.f("ck_memories_kind")),
        sa.CheckConstraint("sensitivity IN ('ordinary', 'sensitive')", name=op.f("ck_memories_sensitivity")),
        sa.CheckConstraint("valid_until > valid_from", name=op.f("ck_memories_interval")),
        sa.CheckConstraint("confidence >= 0 AND confidence <= 1", name=op.f("ck_memories_confidence")),
        sa.ForeignKeyConstraint(*OF_PERSON, name=op.f("fk_memories_app_people")),
        sa.PrimaryKeyConstraint("app", "end_user", "id", name=op.f("pk_memories")),
    )
    op.create_index("ix_memories_changed_in", "memories", ["app", "end_user", "changed_in"])
    op.create_table(
        "embeddings",
        *owner(),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("item_id", sa.String(64), nullable=False),
        sa.Column("model", sa.String(128), nullable=False),
        sa.Column("revision", sa.String(64), nullable=False),
        sa.Column("single", sa.LargeBinary(), nullable=False),
        sa.Column("window", sa.LargeBinary(), nullable=True),
        sa.Column("changed_in", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("kind IN ('turn', 'memory')", name=op.f("ck_embeddings_kind")),
        sa.ForeignKeyConstraint(*OF_PERSON, name=op.f("fk_embeddings_app_people")),
        sa.PrimaryKeyConstraint("app", "end_user", "kind", "item_id", "model", "revision", name=op.f("pk_embeddings")),
    )
    op.create_index("ix_embeddings_changed_in", "embeddings", ["app", "end_user", "changed_in"])


def owner() -> tuple[sa.Column[str], sa.Column[str]]:
    return sa.Column("app", sa.String(64), nullable=False), sa.Column("end_user", sa.String(256), nullable=False)


def downgrade() -> None:
    op.drop_index("ix_embeddings_changed_in", table_name="embeddings")
    op.drop_table("embeddings")
    op.drop_index("ix_memories_changed_in", table_name="memories")
    op.drop_table("memories")
    op.drop_index("ix_messages_order", table_name="messages")
    op.drop_index("ix_messages_changed_in", table_name="messages")
    op.drop_table("messages")
    op.drop_table("conversations")
    op.drop_table("people")
