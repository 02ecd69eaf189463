"""Which revisions a database says it is at."""

from contextlib import closing
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from postgres_database.connection import Database, identifier, quoted
from postgres_database.errors import ExpectedError

# Rows that a policy hides are not read as if there were none.
READ = "SET LOCAL row_security = off; SELECT version_num FROM {}"


@dataclass(frozen=True)
class Place:
    """Where the version table of a database is, or would be made."""

    database: Database
    schema: str | None
    """None: no schema of the search path is there."""

    @property
    def options(self) -> dict[str, Any]:
        """What Alembic is told of it (Alembic documentation, `EnvironmentContext.configure`)."""
        if self.schema is None:
            raise ExpectedError(
                f"{self.database.dsn} has no schema for the table {self.database.versions.name}",
                cause="no schema of the search path is there and may be used",
                hint=f"invoke upgrade{self.database.env_option}   (with options='-c search_path=public' in the DSN)",
            )
        return {
            "version_table": self.database.versions.name,
            "version_table_schema": self.schema,
        }

    @property
    def sql(self) -> str:
        """The table, for SQL."""
        return f"{quoted(self.schema or '')}.{quoted(self.database.versions.name)}"

    @property
    def shown(self) -> str:
        """The table, for people."""
        return f"{identifier(self.schema or '')}.{identifier(self.database.versions.name)}"


def place(database: Database, connection: sa.Connection) -> Place:
    """Find the version table of a database, in a transaction of ours."""
    return Place(database, database.version_schema(connection))


def read(database: Database, connection: sa.Connection) -> tuple[str, ...]:
    """Return the revisions that the version table has, sorted; in a transaction of ours."""
    found = place(database, connection)
    if found.schema is None:
        return ()
    with closing(connection.connection.cursor()) as cursor:
        cursor.execute("SELECT to_regclass(%s)", (found.sql,))
        if cursor.fetchone() == (None,):
            return ()
        cursor.execute(READ.format(found.sql))
        return tuple(sorted(revision for (revision,) in cursor.fetchall()))


def clear(database: Database, connection: sa.Connection) -> None:
    """Remove the revisions of a database, in a transaction of ours."""
    if read(database, connection):
        with closing(connection.connection.cursor()) as cursor:
            cursor.execute(f"DELETE FROM {place(database, connection).sql}")  # noqa: S608 - quoted
