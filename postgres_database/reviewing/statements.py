"""A statement of a script with its effects. Pure: no database."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from postgres_database.errors import ExpectedError
from postgres_database.history.graph import Revision
from postgres_database.proving.effects import BLOCKING
from postgres_database.sql.names import Name

READERS = "AccessExclusiveLock"
"""The one lock mode that blocks readers, too (PostgreSQL manual, "Table-Level Locks")."""
CHANGES = "RowExclusiveLock"
"""The lock on a table by INSERT, UPDATE, DELETE and MERGE."""
KINDS = {
    "r": "table",
    "p": "table",
    "m": "materialized view",
    "i": "index",
    "I": "index",
    "v": "view",
    "S": "sequence",
    "f": "foreign table",
    "c": "type",
}
"""pg_class.relkind → what people call it."""


STORED = ("table", "materialized view")
"""Kinds of relations that have rows."""


class Relation(NamedTuple):
    """A table, index, view or sequence that existed before the scripts, by its name at that time."""

    schema: str
    name: str
    kind: str
    """One of the words in KINDS."""

    def __str__(self) -> str:
        """Return the name for people."""
        return str(Name(self.schema, self.name))

    @property
    def place(self) -> tuple[str, str]:
        """The schema and the name."""
        return self.schema, self.name


class Lock(NamedTuple):
    """A lock on a relation that existed before the scripts."""

    relation: Relation
    mode: str
    """As in pg_locks, such as AccessExclusiveLock."""

    def __str__(self) -> str:
        """Return the lock for people."""
        return f"{self.mode} on {self.relation}"

    @property
    def blocks_writes(self) -> bool:
        """Whether other sessions cannot write while it is held."""
        return self.mode in BLOCKING

    @property
    def blocks_reads(self) -> bool:
        """Whether other sessions cannot even read while it is held."""
        return self.mode == READERS


class Change(NamedTuple):
    """A change that code which was written before it would trip over."""

    relation: Relation
    column: str
    """The column as old code names it; empty: the table itself."""
    what: str
    """`dropped`, `renamed`, `required` (old code gives no value, and there is no default), or `filled` (it must give a
    value where it could leave NULL)."""
    to: str = ""
    """The new name."""

    def __str__(self) -> str:
        """Return the change in words."""
        subject = (
            f"column {self.relation}.{self.column}"
            if self.column
            else f"{self.relation[2]} {self.relation}"
        )
        said = {
            "dropped": "is dropped",
            "renamed": f"is renamed to {self.to}",
            "required": "needs a value in each new row",
            "filled": "takes no NULL any more",
        }
        return f"{subject} {said[self.what]}"


class Estimate(NamedTuple):
    """How long a statement would take on a target, by its time on made-up rows; a range in seconds."""

    low: float = 0.0
    high: float = 0.0
    table: str = ""
    """The largest table that it reads, rewrites or changes."""
    rows: int = 0
    """How many rows that has by the statistics of the target."""
    why: str = ""
    """Why there is no range; empty if there is one."""

    def __str__(self) -> str:
        """Return the estimate for people."""
        if self.why:
            return f"no estimate of the time: {self.why}"
        return f"estimated time: {span(self.low, self.high)} for about {self.rows:,} rows of {self.table}"


UNITS = ((86400.0, "days"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))
ENOUGH = 1.5
"""A unit is used from this many of it on."""


def span(low: float, high: float) -> str:
    """Return a range of seconds for people, such as `3 to 5 min`."""
    if high <= 1:
        return "less than 1 s"
    first, last = (_rounded(low, math.floor), _rounded(high, math.ceil))
    if low < 1:
        return f"up to {last}"
    if first.partition(" ")[2] == last.partition(" ")[2]:
        return last if first == last else f"{first.partition(' ')[0]} to {last}"
    return f"{first} to {last}"


def _rounded(seconds: float, way: Callable[[float], int]) -> str:
    """Return seconds in the unit that people would use, with two digits."""
    for size, unit in UNITS:
        if seconds >= ENOUGH * size or size == 1:
            count = seconds / size
            step = 10 ** max(math.floor(math.log10(max(count, 1))) - 1, 0)
            return f"{way(count / step) * step:,} {unit}"
    raise AssertionError


@dataclass(frozen=True)
class Measured:
    """A statement that was run, and what it did to relations that existed before the scripts."""

    revision: Revision
    line: int
    """Its line in the script."""
    called: int
    """The line in `upgrade()` or `downgrade()` that leads there, if a function of the script runs it."""
    sql: str
    seconds: float
    """How long it took on the scratch database."""
    online: bool
    """Whether it commits by itself: in `op.online()`, or in an autocommit block of Alembic."""
    safely: bool
    """Whether it is in `op.online()`."""
    transaction: int
    """Statements with the same number are one transaction, to whose end locks are held."""
    taken: tuple[Lock, ...] = ()
    """Locks that it took, and that were not held before it."""
    held: tuple[Lock, ...] = ()
    """All locks at its end."""
    rewritten: tuple[Relation, ...] = ()
    """Tables and materialized views that have another file now (pg_class.relfilenode)."""
    scanned: tuple[Relation, ...] = ()
    """Tables that were read from end to end."""
    changed: Mapping[Relation, int] = field(default_factory=dict)
    """The number of rows that it inserted, updated or deleted."""
    broken: tuple[Change, ...] = ()
    """What old code would trip over."""
    one_by_one: tuple[Relation, ...] = ()
    """Tables of which a loop that runs it changes row by row, in one transaction, as many rows as there are."""
    estimate: Estimate | None = None
    """How long it would take on the target; None if that does not grow with large tables, or there is no target."""

    @property
    def locked(self) -> tuple[Relation, ...]:
        """The tables that others cannot write to at its end."""
        return tuple(lock.relation for lock in strongest(self.held))

    @property
    def readers_wait(self) -> bool:
        """Whether others cannot even read a relation."""
        return any(lock.blocks_reads for lock in self.held)


@dataclass(frozen=True)
class Rehearsal:
    """What the statements of scripts did, in order."""

    statements: tuple[Measured, ...] = ()
    failed: Revision | None = None
    """The script that failed; nothing is known of it from there on, or of those after it."""
    failure: ExpectedError | None = None
    """Its error."""


def strongest(locks: Iterable[Lock]) -> list[Lock]:
    """Return the strongest lock on each table; those for which nobody waits are left out.

    Only REFRESH writes to a materialized view.
    """
    blocking = [
        lock
        for lock in locks
        if lock.relation.kind in STORED
        and (lock.blocks_writes if lock.relation.kind == "table" else lock.blocks_reads)
    ]
    by_mode = sorted(blocking, key=lambda each: BLOCKING.index(each.mode))
    return sorted({lock.relation: lock for lock in by_mode}.values())


def names(relations: Iterable[Relation]) -> str:
    """Return the names of relations for people."""
    return ", ".join(sorted(map(str, relations)))


def word(sql: str) -> str:
    """Return the first word of a statement, in capitals."""
    return sql.partition(" ")[0].upper()


def with_loops(
    statements: Iterable[Measured], rows: Callable[[Relation], float]
) -> Iterator[Measured]:
    """Find the loops that change each row of a table by itself, in one transaction.

    Args:
        statements: What was run, in order.
        rows: Counts the rows of a table.
    """
    rounds: Counter[tuple[int, int, Relation]] = Counter()
    for measured in statements:
        found = []
        if word(measured.sql) in {"UPDATE", "DELETE"} and not measured.online:
            for table in measured.changed:
                place = measured.transaction, measured.line, table
                rounds[place] += 1
                if (
                    table not in measured.scanned
                    and rounds[place] > 1
                    and rounds[place] >= rows(table)
                ):
                    found.append(table)
        yield replace(measured, one_by_one=tuple(found))
