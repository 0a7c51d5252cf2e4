"""A reply names the turn that it answers, so that another answer to the same turn takes its place."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("messages", sa.Column("answers", sa.String(64), nullable=True))


def downgrade() -> None:
    op.drop_column("messages", "answers")
