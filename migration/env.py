"""What Alembic runs for every command; how it connects is in postgres_database.alembic_env."""

from alembic import context

from postgres_database import alembic_env

alembic_env.run(context)
