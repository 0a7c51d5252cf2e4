"""Keys say whether their application has a safety step of its own, and whether its people are told of programs."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("own_safety", sa.String(200), nullable=True))
    op.add_column("api_keys", sa.Column("notices", sa.String(8), server_default="agents", nullable=False))


def downgrade() -> None:
    with op.batch_alter_table("api_keys") as table:
        table.drop_column("notices")
        table.drop_column("own_safety")
