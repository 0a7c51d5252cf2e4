"""Jobs of every kind: priorities, parameters, progress, results; cancelled ones; slots of the schedule.

And what jobs make: what was used by day, what services outside told. The table of jobs is made anew: nothing is lost
with its rows, for extraction's jobs are found again by the turns that are unread.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

from storage.tables import UtcDateTime

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

UNDONE, WAS_UNDONE = sa.text("state NOT IN ('done', 'cancelled')"), sa.text("state <> 'done'")


def upgrade() -> None:
    op.drop_table("jobs")
    op.create_table(
        "jobs",
        *owner(),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("priority", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("params", sa.JSON(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("result", sa.JSON(), nullable=True),
        sa.Column("progress_done", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("progress_of", sa.Integer(), server_default=sa.text("0"), nullable=False),
        *times(),
        sa.CheckConstraint("state IN ('queued', 'running', 'done', 'dead', 'cancelled')", name=op.f("ck_jobs_state")),
        sa.PrimaryKeyConstraint("app", "end_user", "id", name=op.f("pk_jobs")),
    )
    create_indexes(UNDONE)
    op.create_table(
        "job_slots",
        *owner(),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("slot", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("app", "end_user", "kind", name=op.f("pk_job_slots")),
    )
    numbers = ("people", "new_people", "returned_1", "returned_7", "returned_30", "requests", "sessions")
    op.create_table(
        "app_days",
        sa.Column("app", sa.String(64), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in numbers),
        sa.Column("seconds", sa.BigInteger(), nullable=False),
        sa.Column("agents", sa.JSON(), nullable=False),
        sa.Column("counted_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("app", "day", name=op.f("pk_app_days")),
    )
    op.create_table(
        "outside_answers",
        sa.Column("key", sa.String(200), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.Column("fetched_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_outside_answers")),
    )
    op.create_index(op.f("ix_outside_answers_fetched_at"), "outside_answers", ["fetched_at"])


def downgrade() -> None:
    op.drop_table("outside_answers")
    op.drop_table("app_days")
    op.drop_table("job_slots")
    op.drop_table("jobs")
    op.create_table(
        "jobs",
        *owner(),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        *times(),
        sa.CheckConstraint("kind IN ('extract')", name=op.f("ck_jobs_kind")),
        sa.CheckConstraint("state IN ('queued', 'running', 'done', 'dead')", name=op.f("ck_jobs_state")),
        sa.ForeignKeyConstraint(
            ["app", "end_user"], ["people.app", "people.end_user"], name=op.f("fk_jobs_app_people")
        ),
        sa.PrimaryKeyConstraint("app", "end_user", "id", name=op.f("pk_jobs")),
    )
    create_indexes(WAS_UNDONE)


def owner() -> tuple[sa.Column[Any], ...]:
    return (sa.Column("app", sa.String(64), nullable=False), sa.Column("end_user", sa.String(256), nullable=False))


def times() -> tuple[sa.Column[Any], ...]:
    return (
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("error", sa.String(64), nullable=True),
        sa.Column("due_at", UtcDateTime(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
    )


def create_indexes(undone: sa.TextClause) -> None:
    op.create_index("ix_jobs_id", "jobs", ["id"], unique=True)
    op.create_index("ix_jobs_due", "jobs", ["state", "due_at"])
    op.create_index(
        "ix_jobs_undone",
        "jobs",
        ["app", "end_user", "kind"],
        unique=True,
        sqlite_where=undone,
        postgresql_where=undone,
    )
