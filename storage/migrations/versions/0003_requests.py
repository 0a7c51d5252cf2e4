"""The ledger: one row for every request that ended."""

import sqlalchemy as sa
from alembic import op

from storage.tables import UtcDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

OUTCOMES = (
    "outcome IN ('ok', 'degraded', 'client_error', 'rate_limited', 'unavailable', 'blocked', 'engine_error', "
    "'timeout', 'aborted', 'lost', 'internal_error')"
)


def upgrade() -> None:
    op.create_table(
        "requests",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("request_id", sa.String(128), nullable=False),
        sa.Column("app", sa.String(64), nullable=False),
        sa.Column("end_user", sa.String(256), nullable=True),
        sa.Column("key_id", sa.String(16), nullable=False),
        sa.Column("class", sa.String(16), nullable=False),
        sa.Column("endpoint", sa.String(64), nullable=False),
        sa.Column("model_asked", sa.String(128), nullable=True),
        sa.Column("model", sa.String(128), nullable=True),
        sa.Column("segments", sa.JSON(), nullable=False),
        sa.Column("tokens_reserved", sa.BigInteger(), nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cached_tokens", sa.BigInteger(), nullable=False),
        sa.Column("completion_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cache", sa.String(8), nullable=True),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("error_code", sa.String(64), nullable=True),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("latency_s", sa.Double(), nullable=True),
        sa.Column("ttft_s", sa.Double(), nullable=True),
        sa.Column("cost_microusd", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(OUTCOMES, name=op.f("ck_requests_outcome")),
        sa.CheckConstraint("class IN ('interactive', 'agent', 'job')", name=op.f("ck_requests_class")),
        sa.CheckConstraint("cache IN ('hit', 'miss', 'bypass')", name=op.f("ck_requests_cache")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_requests")),
    )
    op.create_index("ix_requests_app_request_id", "requests", ["app", "request_id"])
    op.create_index("ix_requests_app_started_at", "requests", ["app", "started_at"])
    op.create_index("ix_requests_started_at", "requests", ["started_at"])


def downgrade() -> None:
    op.drop_index("ix_requests_started_at", table_name="requests")
    op.drop_index("ix_requests_app_started_at", table_name="requests")
    op.drop_index("ix_requests_app_request_id", table_name="requests")
    op.drop_table("requests")
