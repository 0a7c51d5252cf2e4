"""A migration of a version to come: a column and a table that this version does not know."""

import sqlalchemy as sa
from alembic import op

revision = "next"
down_revision = "HEAD"


def upgrade() -> None:
    """Add both."""
    op.add_column("messages", sa.Column("of_the_next_version", sa.String(20), nullable=True))
    op.create_table("of_the_next_version", sa.Column("id", sa.Integer, primary_key=True))


def downgrade() -> None:
    """Remove both."""
    op.drop_table("of_the_next_version")
    op.drop_column("messages", "of_the_next_version")
