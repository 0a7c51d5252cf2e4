"""Keys get a tier, an expiry and a consent; those that exist become `standard`, without expiry or consent."""

import sqlalchemy as sa
from alembic import op

from storage.tables import UtcDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("api_keys") as table:
        table.add_column(sa.Column("tier", sa.String(32), nullable=False, server_default="standard"))
        table.add_column(sa.Column("allow_external", sa.Boolean(), nullable=False, server_default=sa.false()))
        table.add_column(sa.Column("expires_at", UtcDateTime(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("api_keys") as table:
        table.drop_column("expires_at")
        table.drop_column("allow_external")
        table.drop_column("tier")
