"""What replies were given of people's pasts, and keys that ask for that by default."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

OF_PERSON = (["app", "end_user"], ["people.app", "people.end_user"])


def upgrade() -> None:
    op.create_table(
        "given",
        sa.Column("app", sa.String(64), nullable=False),
        sa.Column("end_user", sa.String(256), nullable=False),
        sa.Column("message_id", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("item_id", sa.String(64), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("said", sa.JSON(), nullable=False),
        sa.Column("factors", sa.JSON(), nullable=False),
        sa.CheckConstraint("kind IN ('turn', 'memory')", name=op.f("ck_given_kind")),
        sa.ForeignKeyConstraint(*OF_PERSON, name=op.f("fk_given_app_people")),
        sa.PrimaryKeyConstraint("app", "end_user", "message_id", "kind", "item_id", name=op.f("pk_given")),
    )
    op.create_index("ix_given_item", "given", ["app", "end_user", "kind", "item_id"])
    op.add_column("api_keys", sa.Column("memory", sa.Boolean(), server_default=sa.false(), nullable=False))


def downgrade() -> None:
    op.drop_column("api_keys", "memory")
    op.drop_index("ix_given_item", table_name="given")
    op.drop_table("given")
