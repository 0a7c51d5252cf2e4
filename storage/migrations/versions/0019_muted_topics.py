"""What a person does not want to be reminded of, also by what they say later."""

import sqlalchemy as sa
from alembic import op

from storage.tables import UtcDateTime

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "muted_topics",
        sa.Column("app", sa.String(64), nullable=False),
        sa.Column("end_user", sa.String(256), nullable=False),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("about", sa.Text(), nullable=False),
        sa.Column("language", sa.String(8), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["app", "end_user"], ["people.app", "people.end_user"], name=op.f("fk_muted_topics_app_people")
        ),
        sa.PrimaryKeyConstraint("app", "end_user", "id", name=op.f("pk_muted_topics")),
    )


def downgrade() -> None:
    op.drop_table("muted_topics")
