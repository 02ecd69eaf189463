"""The locks of a session, seen from another one: for statements that cannot run in a transaction block.

CREATE INDEX CONCURRENTLY and its like wait for the transactions of others (PostgreSQL manual, "Building Indexes
Concurrently"). So the onlooker keeps a transaction open until the statement waits for it: then all is seen, however
short the statement is.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from postgres_database.server.connection import Database

HOLD = "BEGIN ISOLATION LEVEL REPEATABLE READ"
LOCKS = """
    SELECT relation, mode, granted FROM pg_catalog.pg_locks
    WHERE pid = %s AND (locktype = 'relation' AND database = (
        SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()
    ) OR NOT granted)
"""
PAUSE = 0.0005  # seconds between two looks


@dataclass
class _Onlooker:
    """The second session, in a thread of its own."""

    database: Database
    pid: int
    tables: Sequence[str]
    seen: dict[int, set[str]] = field(default_factory=dict)
    failure: Exception | None = None
    ready: threading.Event = field(default_factory=threading.Event)
    done: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Look until the statement is done."""
        try:
            with self.database.connect(autocommit=True) as own:
                driver: Any = own.connection.driver_connection
                with driver.cursor() as cursor:
                    self._hold(cursor)
                    self._look(cursor)
        except Exception as error:  # noqa: BLE001 - raised in the thread of the statement
            self.failure = error
        finally:
            self.ready.set()

    def _hold(self, cursor: Any) -> None:
        """Open the transaction that the statement waits for."""
        cursor.execute(HOLD)
        for table in self.tables:
            cursor.execute(f"LOCK TABLE ONLY {table} IN ACCESS SHARE MODE")
        cursor.execute("SELECT 1")  # from here on there is a snapshot
        self.ready.set()

    def _look(self, cursor: Any) -> None:
        holding = True
        while not self.done.wait(PAUSE):
            cursor.execute(LOCKS, (self.pid,))
            rows = cursor.fetchall()
            for relation, mode, _ in rows:
                if relation is not None:
                    self.seen.setdefault(relation, set()).add(mode)
            if holding and not all(granted for _, _, granted in rows):
                cursor.execute("ROLLBACK")
                holding = False
        if holding:
            cursor.execute("ROLLBACK")


@contextmanager
def watching(database: Database, pid: int, tables: Sequence[str]) -> Iterator[dict[int, set[str]]]:
    """Record the locks that a session holds or waits for while the block runs.

    Args:
        database: A scratch database.
        pid: The server's process of the session.
        tables: The tables, quoted for SQL, whose locks are conflicted with until the session waits.

    Yields:
        OID of a relation → the modes; complete when the block ends.

    Raises:
        Exception: Why the second session could not look.
    """
    onlooker = _Onlooker(database, pid, tables)
    thread = threading.Thread(target=onlooker.run, daemon=True)
    thread.start()
    onlooker.ready.wait()
    try:
        yield onlooker.seen
    finally:
        onlooker.done.set()
        thread.join()
    if onlooker.failure:
        raise onlooker.failure
