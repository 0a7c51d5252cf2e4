"""People's own consent; keys get one for private content, which those that exist do not have."""

import sqlalchemy as sa
from alembic import op

from storage.tables import UtcDateTime

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "consents",
        sa.Column("app", sa.String(64), nullable=False),
        sa.Column("end_user", sa.String(256), nullable=False),
        sa.Column("allow_external", sa.Boolean(), nullable=False),
        sa.Column("allow_sensitive", sa.Boolean(), nullable=False),
        sa.Column("changed_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("app", "end_user", name=op.f("pk_consents")),
    )
    with op.batch_alter_table("api_keys") as table:
        table.add_column(sa.Column("allow_sensitive", sa.Boolean(), nullable=False, server_default=sa.false()))


def downgrade() -> None:
    with op.batch_alter_table("api_keys") as table:
        table.drop_column("allow_sensitive")
    op.drop_table("consents")
