"""Added column to file_meta_data"""

import sqlalchemy as sa
from alembic import op

revision = "d92233541b7a"
down_revision = "df765afa2ffa"


def upgrade() -> None:
    op.add_column("file_meta_data", sa.Column("entity_tag", sa.Text()))


def downgrade() -> None:
    op.drop_column("file_meta_data", "entity_tag")
