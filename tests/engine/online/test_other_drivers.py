"""Plain Alembic runs our operations with another driver than psycopg2, such as asyncpg in an async env.py."""

from collections.abc import Iterator

import psycopg2
import pytest
import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations
from conftest import run_sql
from psycopg2.extensions import make_dsn
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2

from postgres_database import alembic_env
from postgres_database.errors import ExpectedError
from postgres_database.server.connection import Database

VALID = (
    "SELECT relname, indisvalid FROM pg_index JOIN pg_class ON oid = indexrelid WHERE relname = 'i'"
)


class OtherDialect(PGDialect_psycopg2):
    """A dialect whose driver has nothing that psycopg2 has, and takes one statement at a time."""

    driver = "other"
    supports_statement_cache = True

    def get_driver_connection(self, _connection: object) -> object:
        """Return what SQLAlchemy calls the connection of the driver."""
        return object()


registry.register("postgresql.other", __name__, "OtherDialect")


@pytest.fixture
def op(database: Database) -> Iterator[Operations]:
    """Return Alembic's operations by that driver."""
    alembic_env.register()
    run_sql(database, "CREATE TABLE t (id int PRIMARY KEY, b text); INSERT INTO t VALUES (1, 'x')")
    engine = sa.create_engine(
        "postgresql+other://", creator=lambda: psycopg2.connect(make_dsn(**database.dsn.parts))
    )
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"transaction_per_migration": True, "transactional_ddl": True}
        )
        with context.begin_transaction(_per_migration=True):
            yield Operations(context)
    engine.dispose()


def test_ordinary_operations(op: Operations, database: Database) -> None:
    """Operations of Alembic and texts of SQL run in the script's transaction."""
    op.add_column("t", sa.Column("c", sa.Integer))
    op.run_sql("UPDATE t SET c = 100; UPDATE t SET b = 'less than 5 %s'")  # type: ignore[attr-defined]
    with op.get_context().autocommit_block():
        op.create_index("i", "t", ["c"], postgresql_concurrently=True)
    assert run_sql(database, "SELECT b, c FROM t") == [("less than 5 %s", 100)]
    assert run_sql(database, VALID) == [("i", True)]


def test_online_block(op: Operations, database: Database) -> None:
    """Statements of an online block have their safe forms, and a backfill fills."""
    run_sql(database, "ALTER TABLE t ADD c text")
    with op.online():  # type: ignore[attr-defined]
        op.create_index("i", "t", ["b"], unique=True)
        op.create_check_constraint("k", "t", "b <> '%'")
        op.backfill("t", {"c": "b || '%'"})  # type: ignore[attr-defined]
        op.alter_column("t", "c", nullable=False)
    assert run_sql(database, VALID) == [("i", True)]
    assert run_sql(database, "SELECT c FROM t") == [("x%",)]
    checks = "SELECT conname, convalidated FROM pg_constraint WHERE conrelid = 't'::regclass AND contype = 'c'"
    assert run_sql(database, checks) == [("k", True)]


def test_index_that_is_not_valid(op: Operations, database: Database) -> None:
    """An index that an interrupted build has left is not taken for one that is there."""
    run_sql(database, "CREATE INDEX i ON t (b)")
    run_sql(database, "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'i'::regclass")
    with pytest.raises(ExpectedError, match="the index i is not valid"), op.online():  # type: ignore[attr-defined]
        op.create_index("i", "t", ["b"])
