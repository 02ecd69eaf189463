"""Measures what a statement does to tables: which ones it scans or rewrites, and under which lock.

PostgreSQL counts scans within the transaction, also those of empty tables (manual, "The Cumulative Statistics System",
pg_stat_xact_user_tables); a table that is rewritten gets another file (pg_class.relfilenode).
"""

from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import sqlalchemy as sa

from postgres_database.server import transactions
from postgres_database.sql.names import Name

BLOCKING = ("ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock")
"""Lock modes that block writers; the last one blocks readers, too (PostgreSQL manual, "Table-Level Locks")."""
LOCKS = """
    SELECT relation, array_agg(DISTINCT mode) AS modes FROM pg_locks
    WHERE locktype = 'relation' AND pid = pg_backend_pid() AND granted
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    GROUP BY relation
"""
STATE = f"""
    SELECT c.oid, n.nspname, c.relname, c.relkind, c.relfilenode,
        CASE WHEN c.relkind IN ('r', 'm', 'p') THEN pg_stat_get_xact_numscans(c.oid) ELSE 0 END,
        CASE WHEN c.relkind IN ('r', 'm', 'p') THEN pg_stat_get_xact_tuples_inserted(c.oid)
            + pg_stat_get_xact_tuples_updated(c.oid) + pg_stat_get_xact_tuples_deleted(c.oid) ELSE 0 END,
        coalesce(l.modes, '{{}}')
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN ({LOCKS}) AS l ON l.relation = c.oid
    WHERE c.relkind = ANY(%s::"char"[]) AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
"""  # noqa: S608 - a constant
DROPPED = ""
"""The kind of what the transaction has dropped, and still locks."""
TABLES = ["r", "m", "p"]
"""pg_class.relkind of what has rows that can be scanned or rewritten."""


class State(NamedTuple):
    """A table as a transaction sees it."""

    schema: str
    name: str
    kind: str
    """pg_class.relkind, or DROPPED."""
    file: int
    """pg_class.relfilenode: another one after a rewrite."""
    scans: int
    """The number of sequential scans in this transaction."""
    changed: int
    """The number of rows that this transaction inserted, updated or deleted."""
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


def states(cursor: Any, kinds: Sequence[str] = TABLES) -> dict[int, State]:
    """Return the state of all tables by their OIDs, as a transaction sees it; or of relations of other kinds."""
    found = transactions.asked(cursor, STATE, ([*kinds],))
    return {oid: State(*state) for oid, *state in found}


def locks(cursor: Any) -> dict[int, list[str]]:
    """Return the lock modes that a session holds, by the OIDs of relations, also of those that it has dropped."""
    return {row[0]: row[1] for row in transactions.asked(cursor, LOCKS)}


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
