"""Memories may be marked as painful, or not to be brought up."""

import sqlalchemy as sa
from alembic import op

from storage.tables import UtcDateTime

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("memories", sa.Column("painful_at", UtcDateTime(), nullable=True))
    op.add_column("memories", sa.Column("muted", sa.Boolean(), server_default=sa.false(), nullable=False))


def downgrade() -> None:
    op.drop_column("memories", "muted")
    op.drop_column("memories", "painful_at")
