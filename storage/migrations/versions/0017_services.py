"""People's accounts at services outside, and their playlists there."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from storage.tables import UtcDateTime

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "service_links",
        *owner(),
        sa.Column("service", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("account", sa.String(256), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=True),
        sa.Column("expires_at", UtcDateTime(), nullable=True),
        sa.Column("renewed_until", UtcDateTime(), nullable=True),
        sa.Column("renewed_by", sa.String(32), nullable=True),
        sa.Column("heard_until", UtcDateTime(), nullable=True),
        sa.Column("linked_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("app", "end_user", "service", name=op.f("pk_service_links")),
    )
    op.create_table(
        "service_authorizations",
        *owner(),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("service", sa.String(16), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("app", "end_user", "id", name=op.f("pk_service_authorizations")),
    )
    op.create_index("ix_service_authorizations_id", "service_authorizations", ["id"], unique=True)
    op.create_table(
        "remote_playlists",
        *owner(),
        sa.Column("service", sa.String(16), nullable=False),
        sa.Column("playlist", sa.String(64), nullable=False),
        sa.Column("mark", sa.String(32), nullable=False),
        sa.Column("remote_id", sa.String(64), nullable=True),
        sa.Column("unresolved", sa.Integer(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("app", "end_user", "service", "playlist", name=op.f("pk_remote_playlists")),
    )


def downgrade() -> None:
    for table in ("remote_playlists", "service_authorizations", "service_links"):
        op.drop_table(table)


def owner() -> tuple[sa.Column[Any], ...]:
    return (sa.Column("app", sa.String(64), nullable=False), sa.Column("end_user", sa.String(256), nullable=False))
