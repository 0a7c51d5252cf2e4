"""Long turns get vectors of their parts: those that they have are of their beginning only, and are made again."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

LONG = 180  # characters; a part has 750 bytes (memory.embedding.parts), and a character up to four


def upgrade() -> None:
    op.add_column("embeddings", sa.Column("parts", sa.LargeBinary(), nullable=True))
    for kind, table in (("turn", "messages"), ("memory", "memories")):
        op.execute(
            f"DELETE FROM embeddings WHERE kind = '{kind}' AND EXISTS (SELECT 1 FROM {table} AS item"  # noqa: S608
            " WHERE item.app = embeddings.app AND item.end_user = embeddings.end_user"
            f" AND item.id = embeddings.item_id AND length(item.text) > {LONG})"
        )


def downgrade() -> None:
    op.drop_column("embeddings", "parts")
