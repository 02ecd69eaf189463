"""A script with hazards on top of the shipped history, and a target with rows: what the example of a review shows."""

from pathlib import Path

from conftest import run_sql

from postgres_database.server.connection import Database

SCRIPT = '''"""Teams of users

Revision: 5c1f0e7a9b42
Revises: d92233541b7a
Created: 2026-11-29 09:12:44.120318
"""

import sqlalchemy as sa
from alembic import op

revision = "5c1f0e7a9b42"
down_revision = "d92233541b7a"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "teams",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("teams_pkey")),
    )
    op.add_column("users", sa.Column("team_id", sa.BigInteger()))
    op.create_foreign_key("users_team_id_fkey", "users", "teams", ["team_id"], ["id"])
    op.add_column("projects", sa.Column("key", sa.Uuid(), server_default=sa.text("gen_random_uuid()")))
    op.create_index("file_meta_data_user_id_idx", "file_meta_data", ["user_id"])
    op.execute("UPDATE comp_tasks SET state = upper(state)")
    # review: accept old-code because no release since 4.2 reads it
    op.drop_column("users", "created_ip")


def downgrade() -> None:
    op.add_column("users", sa.Column("created_ip", sa.Text(), comment="Address that the account came from"))
    op.drop_index("file_meta_data_user_id_idx", "file_meta_data")
    op.drop_column("projects", "key")
    op.drop_constraint("users_team_id_fkey", "users")
    op.drop_column("users", "team_id")
    op.drop_table("teams")
'''


def write(versions: Path) -> Path:
    """Write the script into a folder of revisions."""
    path = versions / "2026_11_29_0912-5c1f0e7a9b42_teams_of_users.py"
    path.write_text(SCRIPT)
    return path


def fill(database: Database) -> None:
    """Give a target at the revision before the script rows, and what its planner knows of them."""
    run_sql(
        database,
        "INSERT INTO users (name, email, password_hash) SELECT 'n', i::text, '' FROM generate_series(1, 12000) i",
        "INSERT INTO projects (uuid, name, workbench) SELECT i::text, 'n', '{}' FROM generate_series(1, 60000) i",
        "INSERT INTO comp_pipeline SELECT i::text, '{}' FROM generate_series(1, 4000) i",
        "INSERT INTO comp_tasks (project_id, node_id, submit) SELECT (i % 4000 + 1)::text, i::text, now()"
        " FROM generate_series(1, 40000) i",
        "INSERT INTO file_meta_data (file_uuid, location_id, location, bucket_name, object_name)"
        " SELECT i::text, '0', 'disk', 'b', 'o' FROM generate_series(1, 150000) i",
        "ANALYZE",
    )
