"""Measures what a statement does to tables: which ones it scans or rewrites, and under which lock.

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
"""Lock modes that block writers; the last one blocks readers, too (PostgreSQL manual, "Table-Level Locks")."""
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
    """A table as a transaction sees it."""

    schema: str
    name: str
    file: int
    """pg_class.relfilenode: another one after a rewrite."""
    scans: int
    """The number of sequential scans in this transaction."""
    locks: list[str]
    """The lock modes that this session holds."""

    @property
    def blocks(self) -> bool:
        """Whether other sessions cannot write to it."""
        return not set(self.locks).isdisjoint(BLOCKING)


@dataclass
class Effects:
    """What happened to tables that existed before, as (schema, name); complete when `measuring` ends."""

    scanned: set[tuple[str, str]] = field(default_factory=set)
    """Tables with a sequential scan while writers were locked out."""
    rewritten: set[tuple[str, str]] = field(default_factory=set)
    """Tables that were rewritten while writers were locked out."""
    unreadable: set[tuple[str, str]] = field(default_factory=set)
    """Those of `scanned` from which readers were locked out, too."""
    unknown: str = ""
    """Why the effects could not be measured; then other sessions are assumed to wait."""

    def of(self, tables: AbstractSet[tuple[str, str]]) -> "Effects":
        """Return the effects on some tables only."""
        return Effects(
            self.scanned & tables, self.rewritten & tables, self.unreadable & tables, self.unknown
        )

    def lines(self) -> list[str]:
        """Return a line for each rewritten or scanned table, and one if the effects are unknown."""
        rewritten = [
            f"{name} is rewritten while others cannot read or write it"
            for name in names(self.rewritten)
        ]
        return [*rewritten, *self.scans()]

    def scans(self) -> list[str]:
        """Return the same without the rewritten tables."""
        scanned = [
            f"{Name(*each)} is read from end to end while others cannot"
            f" {'read or write' if each in self.unreadable else 'write'} it"
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
    """Measure the effects of the block; it must be the first work of its transaction."""
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
                    effects.unreadable.add((state.schema, state.name))


def of_connection(connection: sa.Connection) -> dict[int, State]:
    """Return the state of all tables by their OIDs, as the transaction of a connection sees it."""
    with closing(connection.connection.cursor()) as cursor:
        return states(cursor)


def names(tables: Iterable[tuple[str, str]]) -> list[str]:
    """Return the names of tables for people."""
    return [str(Name(*table)) for table in sorted(tables)]
