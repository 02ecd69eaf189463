"""Added column to file_meta_data

Revision: d92233541b7a
Revises: df765afa2ffa
Created: 2026-11-22 16:37:20.799246
"""

import sqlalchemy as sa
from alembic import op

revision = "d92233541b7a"
down_revision = "df765afa2ffa"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "file_meta_data",
        sa.Column(
            "entity_tag",
            sa.Text(),
            nullable=True,
            comment="Checksum of the content as the object store reports it (ETag)",
        ),
    )


def downgrade() -> None:
    op.drop_column("file_meta_data", "entity_tag")
