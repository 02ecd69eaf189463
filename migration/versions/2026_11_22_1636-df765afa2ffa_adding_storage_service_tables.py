"""Adding storage service tables

Revision: df765afa2ffa
Revises: 8d2a3a110aaa
Created: 2026-11-22 16:36:19.591546
"""

import sqlalchemy as sa
from alembic import op

revision = "df765afa2ffa"
down_revision = "8d2a3a110aaa"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "file_meta_data",
        sa.Column(
            "file_uuid", sa.Text(), nullable=False, comment="Path of the file within its location"
        ),
        sa.Column(
            "location_id", sa.Text(), nullable=False, comment="Number of the storage location"
        ),
        sa.Column("location", sa.Text(), nullable=False, comment="Name of the storage location"),
        sa.Column("bucket_name", sa.Text(), nullable=False, comment="Bucket of the object store"),
        sa.Column(
            "object_name", sa.Text(), nullable=False, comment="Key of the object in its bucket"
        ),
        sa.Column(
            "project_id", sa.Text(), nullable=True, comment="Uuid of the project, as projects.uuid"
        ),
        sa.Column("project_name", sa.Text(), nullable=True),
        sa.Column(
            "node_id", sa.Text(), nullable=True, comment="Uuid of the node that wrote the file"
        ),
        sa.Column("node_name", sa.Text(), nullable=True),
        sa.Column("file_name", sa.Text(), nullable=True),
        sa.Column("user_id", sa.BigInteger(), nullable=True, comment="The owner, as users.id"),
        sa.Column("user_name", sa.Text(), nullable=True),
        sa.Column(
            "file_id", sa.Text(), nullable=True, comment="Identifier of the file at its location"
        ),
        sa.Column(
            "raw_file_path", sa.Text(), nullable=True, comment="Path as the location writes it"
        ),
        sa.Column("display_file_path", sa.Text(), nullable=True, comment="Path as users see it"),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column(
            "last_modified",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("file_size", sa.BigInteger(), nullable=True, comment="Bytes"),
        sa.PrimaryKeyConstraint("file_uuid", name=op.f("file_meta_data_pkey")),
        comment="Files known to the storage service",
    )


def downgrade() -> None:
    op.drop_table("file_meta_data")
