"""What a statement does to tables, measured while it runs: which it scans or rewrites under which lock.

PostgreSQL counts scans within the transaction, also those of empty tables (manual, "The Cumulative Statistics System",
pg_stat_xact_user_tables); a table that is rewritten gets another file (pg_class.relfilenode).
"""

from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import sqlalchemy as sa

from postgres_database.server import transactions
from postgres_database.sql.names import Name

BLOCKING = ("ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock")
"""Locks that keep writers out, the last one also readers (PostgreSQL manual, "Table-Level Locks")."""
STATE = """
    SELECT c.oid, n.nspname, c.relname, c.relfilenode, coalesce(s.seq_scan, 0), array(
        SELECT l.mode FROM pg_locks l
        WHERE l.locktype = 'relation' AND l.relation = c.oid AND l.pid = pg_backend_pid() AND l.granted
          AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()))
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_stat_xact_user_tables s ON s.relid = c.oid
    WHERE c.relkind IN ('r', 'm', 'p') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
"""


class State(NamedTuple):
    """A table while a transaction runs."""

    schema: str
    name: str
    file: int
    """Another one after it was rewritten."""
    scans: int
    """The number of sequential scans in this transaction."""
    locks: list[str]
    """The modes in which this session holds it."""

    @property
    def blocks(self) -> bool:
        """Whether others cannot write it."""
        return not set(self.locks).isdisjoint(BLOCKING)


@dataclass
class Effects:
    """What happened to tables that existed before; known when the block has ended."""

    scanned: set[tuple[str, str]] = field(default_factory=set)
    """Schema and name of what was read from end to end while others could not write."""
    rewritten: set[tuple[str, str]] = field(default_factory=set)
    """The same for what was rewritten."""
    shut: set[tuple[str, str]] = field(default_factory=set)
    """Those of both that readers were locked out of, too."""
    unknown: str = ""
    """Why the effects could not be measured; then other sessions are assumed to wait."""

    def of(self, tables: AbstractSet[tuple[str, str]]) -> "Effects":
        """Return what happened to some tables."""
        return Effects(
            self.scanned & tables, self.rewritten & tables, self.shut & tables, self.unknown
        )

    def lines(self) -> list[str]:
        """Say in a line for each table what others wait for, and whether that is not known."""
        rewritten = [
            f"{name} is rewritten while others cannot read or write it"
            for name in names(self.rewritten)
        ]
        return [*rewritten, *self.scans()]

    def scans(self) -> list[str]:
        """Say the same of tables that are not rewritten."""
        scanned = [
            f"{Name(*each)} is read from end to end while others cannot"
            f" {'read or write' if each in self.shut else 'write'} it"
            for each in sorted(self.scanned - self.rewritten)
        ]
        unknown = [f"what others wait for is not known: {self.unknown}"] if self.unknown else []
        return [*scanned, *unknown]

    @property
    def blocking(self) -> bool:
        """Whether other sessions may wait for a time that grows with the number of rows."""
        return bool(self.scanned or self.rewritten or self.unknown)


def states(cursor: Any) -> dict[int, State]:
    """Return the state of all tables by their OIDs, as a transaction sees it."""
    return {oid: State(*state) for oid, *state in transactions.asked(cursor, STATE)}


def tables(connection: sa.Connection) -> set[tuple[str, str]]:
    """Return the schemas and names of all tables."""
    return {(each.schema, each.name) for each in of_connection(connection).values()}


@contextmanager
def measuring(connection: sa.Connection) -> Iterator[Effects]:
    """Measure what the block does, in a transaction in which nothing else was done before."""
    before = of_connection(connection)
    effects = Effects()
    yield effects
    for oid, state in of_connection(connection).items():
        if oid in before and state.blocks:
            if state.file != before[oid].file:
                effects.rewritten.add((state.schema, state.name))
            if state.scans > before[oid].scans:
                effects.scanned.add((state.schema, state.name))
                if "AccessExclusiveLock" in state.locks:
                    effects.shut.add((state.schema, state.name))


def of_connection(connection: sa.Connection) -> dict[int, State]:
    """Return the state of all tables by their OIDs, as the transaction of a connection sees it."""
    with closing(connection.connection.cursor()) as cursor:
        return states(cursor)


def names(tables: Iterable[tuple[str, str]]) -> list[str]:
    """Return the names of tables for people."""
    return [str(Name(*table)) for table in sorted(tables)]
