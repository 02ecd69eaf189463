"""Adding storage service tables"""

import sqlalchemy as sa
from alembic import op

revision = "df765afa2ffa"
down_revision = "8d2a3a110aaa"


def upgrade() -> None:
    op.create_table(
        "file_meta_data",
        sa.Column("file_uuid", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("file_uuid", name="file_meta_data_pkey"),
    )


def downgrade() -> None:
    op.drop_table("file_meta_data")
