"""Memories have tags, and may belong to a persona or a conversation."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("memories", sa.Column("tags", sa.JSON(), server_default=sa.text("'[]'"), nullable=False))
    op.add_column("memories", sa.Column("persona", sa.String(256), nullable=True))
    op.add_column("memories", sa.Column("conversation", sa.String(256), nullable=True))


def downgrade() -> None:
    for column in ("conversation", "persona", "tags"):
        op.drop_column("memories", column)
