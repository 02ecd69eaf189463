"""The locks of a session, seen from others: for statements that cannot run in a transaction block.

They lock a table for a moment only, or wait for the transactions of others (PostgreSQL manual, "Building Indexes
Concurrently"). So other sessions hold locks that conflict with theirs; each time that the statement is seen to wait,
the next of them lets go. Then every lock is seen, however short the statement is.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from postgres_database.server.connection import Database

LOCKS = """
    SELECT relation, mode, granted FROM pg_catalog.pg_locks
    WHERE pid = %s AND (locktype = 'relation' AND database = (
        SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()
    ) OR NOT granted)
"""
PAUSE = 0.0005  # seconds between two looks


@dataclass
class _Onlooker:
    """The other sessions, in a thread of their own."""

    database: Database
    pid: int
    tables: Mapping[str, str]
    seen: dict[int, set[str]] = field(default_factory=dict)
    failure: Exception | None = None
    ready: threading.Event = field(default_factory=threading.Event)
    done: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Look until the statement is done."""
        try:
            with ExitStack() as stack:
                looking, *holding = [self._cursor(stack) for _ in range(4)]
                self._hold(holding)
                self.ready.set()
                self._look(looking, holding)
        except Exception as error:  # noqa: BLE001 - raised in the thread of the statement
            self.failure = error
        finally:
            self.ready.set()

    def _cursor(self, stack: ExitStack) -> Any:
        own = stack.enter_context(self.database.connect(autocommit=True))
        driver: Any = own.connection.driver_connection
        return stack.enter_context(driver.cursor())

    def _hold(self, holding: Sequence[Any]) -> None:
        """Take what conflicts with the first lock of a statement, with its later waits, and with its last lock."""
        first, waits, last = holding
        for cursor in holding:
            cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        for table, kind in self.tables.items():
            first.execute(f"LOCK TABLE ONLY {table} IN SHARE UPDATE EXCLUSIVE MODE")
            later = waits if kind == "p" else last
            later.execute(f"LOCK TABLE ONLY {table} IN ACCESS SHARE MODE")
        waits.execute("SELECT 1")  # from here on it has a snapshot

    def _look(self, looking: Any, holding: list[Any]) -> None:
        while not self.done.wait(PAUSE):
            looking.execute(LOCKS, (self.pid,))
            rows = looking.fetchall()
            for relation, mode, _ in rows:
                if relation is not None:
                    self.seen.setdefault(relation, set()).add(mode)
            if holding and not all(granted for _, _, granted in rows):
                holding.pop(0).execute("ROLLBACK")
        for cursor in holding:
            cursor.execute("ROLLBACK")


@contextmanager
def watching(
    database: Database, pid: int, tables: Mapping[str, str]
) -> Iterator[Mapping[int, set[str]]]:
    """Record the locks that a session holds or waits for while the block runs.

    Args:
        database: A scratch database.
        pid: The server's process of the session, which holds no lock.
        tables: All tables, quoted for SQL, with their pg_class.relkind.

    Yields:
        OID of a relation → the modes; complete when the block ends.

    Raises:
        Exception: Why the other sessions could not look.
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
