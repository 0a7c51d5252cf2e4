"""Jobs, and which turns extraction has dealt with.

No turn that is there has been read: once a model is set, it catches up on them.
"""

import sqlalchemy as sa
from alembic import op

from storage.tables import UtcDateTime

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

OF_PERSON = (["app", "end_user"], ["people.app", "people.end_user"])
UNREAD, UNDONE = sa.text("read_at IS NULL"), sa.text("state <> 'done'")


def upgrade() -> None:
    op.add_column("messages", sa.Column("read_at", UtcDateTime(), nullable=True))
    op.create_index("ix_messages_unread", "messages", ["app", "end_user"], sqlite_where=UNREAD, postgresql_where=UNREAD)
    op.create_table(
        "jobs",
        sa.Column("app", sa.String(64), nullable=False),
        sa.Column("end_user", sa.String(256), nullable=False),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("error", sa.String(64), nullable=True),
        sa.Column("due_at", UtcDateTime(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint("kind IN ('extract')", name=op.f("ck_jobs_kind")),
        sa.CheckConstraint("state IN ('queued', 'running', 'done', 'dead')", name=op.f("ck_jobs_state")),
        sa.ForeignKeyConstraint(*OF_PERSON, name=op.f("fk_jobs_app_people")),
        sa.PrimaryKeyConstraint("app", "end_user", "id", name=op.f("pk_jobs")),
    )
    op.create_index("ix_jobs_id", "jobs", ["id"], unique=True)
    op.create_index("ix_jobs_due", "jobs", ["state", "due_at"])
    op.create_index(
        "ix_jobs_undone",
        "jobs",
        ["app", "end_user", "kind"],
        unique=True,
        sqlite_where=UNDONE,
        postgresql_where=UNDONE,
    )


def downgrade() -> None:
    for index in ("undone", "due", "id"):
        op.drop_index(f"ix_jobs_{index}", table_name="jobs")
    op.drop_table("jobs")
    op.drop_index("ix_messages_unread", table_name="messages")
    op.drop_column("messages", "read_at")
