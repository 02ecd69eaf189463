"""What a statement does to tables, measured while it runs: which it scans or rewrites under which lock.

PostgreSQL counts scans within the transaction, also those of empty tables (manual, "The Cumulative Statistics System",
pg_stat_xact_user_tables); a table that is rewritten gets another file (pg_class.relfilenode).
"""

from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass, field

import sqlalchemy as sa

from postgres_database.sql.names import Name

BLOCKING = ("ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock")
"""Locks that keep writers out, the last one also readers (PostgreSQL manual, "Table-Level Locks")."""
STATE = sa.text(
    """
    SELECT c.oid, n.nspname, c.relname, c.relfilenode, coalesce(s.seq_scan, 0), array(
        SELECT l.mode FROM pg_locks l
        WHERE l.locktype = 'relation' AND l.relation = c.oid AND l.pid = pg_backend_pid() AND l.granted
          AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()))
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_stat_xact_user_tables s ON s.relid = c.oid
    WHERE c.relkind IN ('r', 'm', 'p') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    """
)


@dataclass
class Effects:
    """What happened to tables that were there before; known when the block has ended."""

    scanned: set[tuple[str, str]] = field(default_factory=set)
    """Schema and name of what was read from end to end while others could not write."""
    rewritten: set[tuple[str, str]] = field(default_factory=set)
    """The same of what was written anew."""
    unknown: str = ""
    """Why it could not be measured, if it could not; it then counts as what others wait for."""

    def of(self, tables: AbstractSet[tuple[str, str]]) -> "Effects":
        """Return what happened to some tables."""
        return Effects(self.scanned & tables, self.rewritten & tables, self.unknown)

    def lines(self) -> list[str]:
        """Say in a line for each table what others wait for, and whether that is not known."""
        scanned = self.scanned - self.rewritten
        return [
            *(
                f"{name} is rewritten while nobody can read or write it"
                for name in names(self.rewritten)
            ),
            *(
                f"{name} is read from end to end while nobody can write it"
                for name in names(scanned)
            ),
            *([f"what others wait for is not known: {self.unknown}"] if self.unknown else []),
        ]

    @property
    def blocking(self) -> bool:
        """Whether others may wait for as long as there are rows."""
        return bool(self.scanned or self.rewritten or self.unknown)


def tables(connection: sa.Connection) -> set[tuple[str, str]]:
    """Return the schemas and names of all tables."""
    return {(row[1], row[2]) for row in connection.execute(STATE)}


@contextmanager
def measuring(connection: sa.Connection) -> Iterator[Effects]:
    """Measure what the block does, in a transaction in which nothing else was done before."""
    before = {row[0]: row for row in connection.execute(STATE)}
    effects = Effects()
    yield effects
    for oid, schema, name, file, scans, locks in connection.execute(STATE):
        if oid in before and not set(locks).isdisjoint(BLOCKING):
            if file != before[oid][3]:
                effects.rewritten.add((schema, name))
            if scans > before[oid][4]:
                effects.scanned.add((schema, name))


def names(tables: Iterable[tuple[str, str]]) -> list[str]:
    """Return the names of tables for people."""
    return [str(Name(*table)) for table in sorted(tables)]
