"""What a wish in a chat reaches is set aside for a while before it is deleted, so that it can be had back."""

import sqlalchemy as sa
from alembic import op

from storage.schema import UtcDateTime

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

OF_PERSON = (["app", "end_user"], ["people.app", "people.end_user"])


def upgrade() -> None:
    op.create_table(
        "set_aside",
        sa.Column("app", sa.String(64), nullable=False),
        sa.Column("end_user", sa.String(256), nullable=False),
        sa.Column("wish_id", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("item_id", sa.String(64), nullable=False),
        sa.Column("message_id", sa.String(64), nullable=True),
        sa.Column("conversation", sa.String(256), nullable=True),
        sa.Column("content", sa.JSON(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint("kind IN ('turn', 'memory')", name=op.f("ck_set_aside_kind")),
        sa.ForeignKeyConstraint(*OF_PERSON, name=op.f("fk_set_aside_app_people")),
        sa.PrimaryKeyConstraint("app", "end_user", "wish_id", "kind", "item_id", name=op.f("pk_set_aside")),
    )
    op.create_index("ix_set_aside_expires_at", "set_aside", ["expires_at"])


def downgrade() -> None:
    op.drop_index("ix_set_aside_expires_at", table_name="set_aside")
    op.drop_table("set_aside")
