"""Requests that read along with another, or on from its recording, say so in `cache`."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

BEFORE = ("hit", "miss", "bypass")
SINCE = (*BEFORE, "shared", "resumed")


def upgrade() -> None:
    _accept(SINCE)


def downgrade() -> None:
    op.execute("UPDATE requests SET cache = NULL WHERE cache IN ('shared', 'resumed')")
    _accept(BEFORE)


def _accept(values: tuple[str, ...]) -> None:
    accepted = ", ".join(f"'{value}'" for value in values)
    with op.batch_alter_table("requests") as table:
        table.drop_constraint(op.f("ck_requests_cache"), type_="check")
        table.create_check_constraint(op.f("ck_requests_cache"), f"cache IN ({accepted})")
