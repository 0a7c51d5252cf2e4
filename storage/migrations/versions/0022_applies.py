"""Who changed which version's share of the requests, when, and how that ended."""

import sqlalchemy as sa
from alembic import op

from storage.tables import UtcDateTime

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "applies",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("by", sa.String(128), nullable=False),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("failure", sa.Text(), nullable=True),
        sa.Column("versions", sa.JSON(), nullable=False),
        sa.Column("document", sa.JSON(), nullable=True),
        sa.CheckConstraint("action IN ('apply', 'rollback', 'restore')", name=op.f("ck_applies_action")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_applies")),
    )


def downgrade() -> None:
    op.drop_table("applies")
