"""Music and video: playlists, imported recordings, videos of feeds, used quota."""

import sqlalchemy as sa
from alembic import op

from storage.tables import UtcDateTime

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "playlists",
        sa.Column("app", sa.String(64), nullable=False),
        sa.Column("end_user", sa.String(256), nullable=False),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("items", sa.JSON(), nullable=False),
        sa.Column("wanted", sa.JSON(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("app", "end_user", "id", name=op.f("pk_playlists")),
    )
    op.create_table(
        "playlist_changes",
        sa.Column("app", sa.String(64), nullable=False),
        sa.Column("end_user", sa.String(256), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("playlist", sa.String(64), nullable=False),
        sa.Column("added", sa.JSON(), nullable=False),
        sa.Column("removed", sa.JSON(), nullable=False),
        sa.Column("is_new", sa.Boolean(), nullable=False),
        sa.Column("undone", sa.Boolean(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("app", "end_user", "key", name=op.f("pk_playlist_changes")),
    )
    op.create_table(
        "imported_tracks",
        sa.Column("id", sa.String(420), nullable=False),
        sa.Column("genre", sa.String(40), nullable=False),
        sa.Column("language", sa.String(3), nullable=False),
        sa.Column("mood", sa.String(16), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_imported_tracks")),
    )
    op.create_index(op.f("ix_imported_tracks_genre"), "imported_tracks", ["genre"])
    op.create_index(op.f("ix_imported_tracks_language"), "imported_tracks", ["language"])
    op.create_table(
        "feed_videos",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("channel", sa.String(32), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("published_at", UtcDateTime(), nullable=False),
        sa.Column("duration_s", sa.Integer(), nullable=True),
        sa.Column("fetched_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_feed_videos")),
    )
    op.create_index(op.f("ix_feed_videos_channel"), "feed_videos", ["channel"])
    op.create_index(op.f("ix_feed_videos_fetched_at"), "feed_videos", ["fetched_at"])
    op.create_table(
        "quota_uses",
        sa.Column("bucket", sa.String(64), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("used", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("bucket", "day", name=op.f("pk_quota_uses")),
    )


def downgrade() -> None:
    for table in ("quota_uses", "feed_videos", "imported_tracks", "playlist_changes", "playlists"):
        op.drop_table(table)
