"""The connection of a script while each of its statements commits by itself."""

from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

import psycopg2
import sqlalchemy as sa
from psycopg2.extensions import cursor as PlainCursor  # noqa: N812 - a class

from postgres_database.running import context, waiting
from postgres_database.server.transactions import LIMITS, SAFELY, oid_of
from postgres_database.sql.names import identifier

TRANSACTION_TIMEOUT = 170000
"""The version since which there is a limit of that name."""


class Autocommit:
    """A connection of psycopg2 in autocommit mode."""

    def __init__(self, connection: sa.Connection) -> None:
        """Use the connection of an autocommit block."""
        driver: Any = connection.connection.driver_connection
        self.driver = driver
        self.version: int = driver.server_version
        run = context.of(connection)
        self._engine = connection.engine
        self.listener = run.listener
        self.rests = run.rests
        self._between = run.between
        self._limits: list[str] = connection.info.get(LIMITS, [])

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Run a query of ours and return its rows; statements sent in one call are one transaction."""
        with self.driver.cursor() as cursor:
            cursor.execute(f"{SAFELY}; {sql}", values or None)
            return [*cursor.fetchall()]

    def beginning(self) -> str:
        """Return the statements by which a transaction of ours begins in another session of this role."""
        ((role,),) = self.rows("SELECT current_setting('role')")
        return "; ".join(["BEGIN", f"SET LOCAL ROLE {identifier(role)}", *self._limits, SAFELY])

    @contextmanager
    def another(self) -> Iterator[Any]:
        """Open another session; yield a cursor of the driver's own class in autocommit mode."""
        # That of the application may be full, or have one connection for all.
        pool = self._engine.pool.recreate()
        try:
            with closing(pool.connect()) as connection:
                driver: Any = connection.driver_connection
                driver.autocommit = True
                with closing(driver.cursor(cursor_factory=PlainCursor)) as cursor:
                    yield cursor
        finally:
            pool.dispose()

    def find(self, name: str) -> int | None:
        """Return the OID of a relation that a script names; None if it is not there."""
        with self.driver.cursor() as cursor:
            return oid_of(cursor, name)

    def run(self, sql: str) -> None:
        """Run a statement."""
        self._between()
        with self.driver.cursor() as cursor:
            cursor.execute(sql)

    def execute(self, sql: str) -> None:
        """Run a statement in a transaction of its own."""
        with self.transaction() as cursor:
            cursor.execute(sql)

    @contextmanager
    def transaction(self, *settings: str, end: str = "COMMIT") -> Iterator[Any]:
        """Run the block in one transaction, with the time limits of the environment and these settings."""
        if end == "COMMIT":
            self._between()
        with self.driver.cursor() as cursor:
            cursor.execute("; ".join(["BEGIN", *self._limits, *settings]))
            try:
                yield cursor
            except BaseException:
                with suppress(psycopg2.Error):  # the connection may be lost
                    cursor.execute("ROLLBACK")
                raise
            cursor.execute(end)

    def without_time_limits(self, sql: str) -> None:
        """Run a statement beside live traffic, without time limits and outside of any transaction.

        It waits for older transactions, and a time limit would leave its work half done (PostgreSQL manual,
        CREATE INDEX, "Building Indexes Concurrently"). The listener hears what it will wait for.
        """
        with self.unlimited() as cursor:
            if older := waiting.older(cursor):
                self.listener.wait(f"{' '.join(sql.split()[:4])} …, which needs the end of {older}")
            cursor.execute(sql)

    @contextmanager
    def unlimited(self) -> Iterator[Any]:
        """Switch the time limits of the server and the role off within the block."""
        self._between()
        names = ["lock_timeout", "statement_timeout"]
        if self.version >= TRANSACTION_TIMEOUT:
            names.append("transaction_timeout")
        before = [self.rows("SELECT current_setting(%s)", name)[0][0] for name in names]
        with self.driver.cursor() as cursor:
            for name in names:
                cursor.execute(f"SET {name} = 0")
            try:
                yield cursor
            finally:
                with suppress(psycopg2.Error):  # the connection may be lost
                    for name, value in zip(names, before, strict=True):
                        cursor.execute(f"SET {name} = %s", (value,))
