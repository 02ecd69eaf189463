"""Runs pending scripts on a scratch database, and measures each statement: locks, rewrites, scans, rows.

Nothing is guessed from the text: what a loop, a helper, a DO block or a function runs is measured like any other.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache, partial
from math import inf
from typing import Any

import psycopg2
from psycopg2.errors import ActiveSqlTransaction
from psycopg2.extensions import TRANSACTION_STATUS_IDLE
from psycopg2.extensions import cursor as PlainCursor  # noqa: N812 - a class

from postgres_database.errors import ExpectedError
from postgres_database.history import script_errors
from postgres_database.history.env_script import EnvError
from postgres_database.history.graph import Revision
from postgres_database.history.project import Project
from postgres_database.online import steps
from postgres_database.proving import effects
from postgres_database.proving.effects import DROPPED, TABLES, State
from postgres_database.proving.way_back import Following
from postgres_database.reviewing import old_code, onlooker
from postgres_database.reviewing.old_code import OldNames
from postgres_database.reviewing.settings import WORST, give
from postgres_database.reviewing.statements import (
    KINDS,
    Change,
    Lock,
    Measured,
    Rehearsal,
    Relation,
    with_loops,
    word,
)
from postgres_database.running import runner
from postgres_database.server import transactions
from postgres_database.server.connection import Database
from postgres_database.sql.names import Name
from postgres_database.sql.syntax import statements

SCANS = "SELECT oid, pg_stat_get_numscans(oid) FROM pg_class WHERE relkind IN ('r', 'm')"
FLUSH = "SELECT pg_catalog.pg_stat_force_next_flush()"
"""Lets the scans of this session be counted for all when its next transaction ends."""
READS = {"SELECT", "VALUES", "TABLE"}
PLANNED = {*READS, "WITH", "INSERT", "UPDATE", "DELETE", "MERGE"}
"""First words of statements for which the planner chooses between a sequential scan and an index."""
WITHOUT_LOCKS = {
    "", "SHOW", "SET", "RESET", "BEGIN", "START", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE",
}  # fmt: skip
"""First words of statements that take no locks on relations."""


def measure(
    project: Project,
    database: Database,
    plan: Sequence[Revision],
    verb: str = "upgrade",
    *,
    settings: Mapping[str, str] = WORST,
) -> Rehearsal:
    """Run scripts on a scratch database, and measure their statements.

    Args:
        project: Has the scripts.
        database: A scratch database at the revisions that the scripts need.
        plan: The scripts to run, in order.
        verb: `upgrade` or `downgrade`.
        settings: The settings of the target.

    Returns:
        The statements up to the end, or up to a failure.
    """
    give(database, settings)
    following = Following(plan)
    watch = _Watch(database, following)
    with _looking(database) as cursor:
        watch.begin(cursor)
    cursors = type("Watching", (_Watching, database.cursor or PlainCursor), {"watch": watch})
    with runner.open_runner(project, replace(database, cursor=cursors)) as run:
        try:
            run.run(verb, plan, following)
        except EnvError:
            raise
        except ExpectedError as error:
            return Rehearsal(tuple(watch.found), following.revision, error)
    with _looking(database) as cursor:
        rows = cache(partial(_rows, cursor))
        return Rehearsal(tuple(old_code.without_mended(cursor, with_loops(watch.found, rows))))


def _rows(cursor: Any, table: Relation) -> float:
    """Return the number of rows of a table; without an end for one that is gone."""
    name = Name(*table.place).sql
    ((there,),) = transactions.asked(cursor, "SELECT to_regclass(%s) IS NOT NULL", (name,))
    if not there:
        return inf
    ((rows,),) = transactions.asked(cursor, f"SELECT count(*) FROM {name}")  # noqa: S608 - quoted
    return float(rows)


@contextmanager
def _looking(database: Database) -> Iterator[Any]:
    """Open a cursor in a transaction of its own."""
    with database.connect() as connection, connection.begin():
        driver: Any = connection.connection.driver_connection
        with PlainCursor(driver) as cursor:
            yield cursor


@dataclass
class _Watch:
    """The running script, and the statements so far."""

    database: Database
    following: Following
    known: dict[int, Relation] = field(default_factory=dict)
    """The relations before the first script, by OID."""
    names: OldNames | None = None
    """What old code knows of them."""
    found: list[Measured] = field(default_factory=list)
    transaction: int = 0
    last: Mapping[int, State] | None = None
    """The state at the end of the last statement, if nothing has changed it since."""

    def begin(self, cursor: Any) -> None:
        """Record the relations of before."""
        self.known = {
            oid: Relation(state.schema, state.name, KINDS[state.kind])
            for oid, state in effects.states(cursor, [*KINDS]).items()
        }
        self.names = OldNames(self.known)
        self.names.begin(cursor)

    def state(self, cursor: Any) -> Mapping[int, State]:
        """Return the state of the known relations, also of those that this transaction has dropped."""
        if not self.known:
            return {}
        found = effects.states(cursor, [*KINDS])
        there = {oid: state for oid, state in found.items() if oid in self.known}
        if len(there) < len(self.known):
            for oid, modes in effects.locks(cursor).items():
                if oid in self.known and oid not in there:
                    there[oid] = State(*self.known[oid].place, DROPPED, 0, 0, 0, modes)
        return there

    def broken(self, cursor: Any, after: Mapping[int, State]) -> tuple[Change, ...]:
        """Return what old code would trip over since the last statement."""
        return self.names.changes(cursor, after) if self.names else ()

    def take(  # noqa: PLR0913, PLR0917 - a statement and what is known of it
        self,
        sql: str,
        lines: tuple[int, int],
        seconds: float,
        before: Mapping[int, State],
        after: Mapping[int, State],
        broken: tuple[Change, ...],
        *,
        alone: bool,
    ) -> None:
        """Record a statement.

        Args:
            sql: The statement.
            lines: Its line in the script, and the line of `upgrade()` that leads there.
            seconds: How long it took.
            before: The state of the known relations before it.
            after: Their state after it.
            broken: What old code would trip over.
            alone: Whether it commits by itself.
        """
        held = [(oid, mode) for oid, state in after.items() for mode in sorted(state.locks)]
        holding = {
            (oid, mode) for oid, state in before.items() if not alone for mode in state.locks
        }
        both = [
            (self.known[oid], before[oid], state)
            for oid, state in after.items()
            if oid in before
            and state.kind in TABLES
            and word(sql) != "TRUNCATE"  # it reads nothing
        ]
        self.found.append(
            Measured(
                self.following.revision,
                *lines,
                sql,
                seconds,
                online=alone,
                safely=steps.ONLINE.get(),
                transaction=self.transaction,
                taken=tuple(
                    Lock(self.known[oid], mode) for oid, mode in held if (oid, mode) not in holding
                ),
                held=tuple(Lock(self.known[oid], mode) for oid, mode in held),
                rewritten=tuple(each for each, was, now in both if was.file != now.file),
                scanned=tuple(each for each, was, now in both if now.scans > was.scans),
                changed={
                    each: now.changed - was.changed
                    for each, was, now in both
                    if now.changed > was.changed
                },
                broken=broken,
            )
        )


class _Watching(PlainCursor):
    """Runs the statements of scripts, and measures them."""

    watch: _Watch

    def execute(self, query: Any, vars: Any = None) -> None:  # noqa: A002 - psycopg2's name
        """Run SQL; see `cursor.execute` of psycopg2."""
        watch = self.watch
        lines = script_errors.running_lines(watch.following.revision.path)
        pieces = statements(self.mogrify(query, vars).decode()) if lines else []
        idle = self.connection.info.transaction_status == TRANSACTION_STATUS_IDLE
        if idle:
            watch.transaction += 1
            watch.last = None
        if not lines:
            super().execute(query, vars)
            return
        place = lines[0], lines[-1]
        if self.connection.autocommit and idle:  # all of it is one transaction
            watch.last = None
            if {word(piece) for piece in pieces} <= WITHOUT_LOCKS | READS:
                super().execute(query, vars)
            else:
                self._tried("; ".join(pieces), place, query, vars)
            return
        if len(pieces) > 1:
            for piece in pieces:
                self._measured(piece, place, piece, None)
        else:
            self._measured("".join(pieces), place, query, vars)

    def _measured(self, sql: str, place: tuple[int, int], query: Any, values: Any) -> None:
        watch, first = self.watch, word(sql)
        if first in WITHOUT_LOCKS:
            watch.last = None
            super().execute(query, values)
            return
        with PlainCursor(self.connection) as aside:
            before = watch.state(aside) if watch.last is None else watch.last
            planned = first in PLANNED and bool(watch.known)
            if planned:  # with few rows the planner ignores indexes, so forbid scans
                aside.execute("SAVEPOINT measured; SET LOCAL enable_seqscan = off")
            started = time.perf_counter()
            super().execute(query, values)
            seconds = time.perf_counter() - started
            if planned:
                aside.execute("SET LOCAL enable_seqscan = on; RELEASE measured")
            watch.last = after = watch.state(aside)
            broken = watch.broken(aside, after)
        alone = self.connection.autocommit
        watch.take(sql, place, seconds, before, after, broken, alone=alone)

    def _tried(self, sql: str, place: tuple[int, int], query: Any, values: Any) -> None:
        """Run a statement in autocommit mode, after measuring it in a transaction that is rolled back.

        A statement that cannot run in a transaction block is measured while it runs, from a second session.
        """
        watch = self.watch
        broken: tuple[Change, ...] = ()
        with PlainCursor(self.connection) as aside:
            aside.execute("BEGIN")
            before = watch.state(aside)
            after: Mapping[int, State] | None = before
            started = time.perf_counter()
            try:
                super().execute(query, values)
            except psycopg2.Error as error:
                aside.execute("ROLLBACK")
                after = None if isinstance(error, ActiveSqlTransaction) else before
            else:
                after = watch.state(aside)
                broken = watch.broken(aside, after)
                aside.execute("ROLLBACK")
            seconds = time.perf_counter() - started
            if after is not None:
                super().execute(query, values)
            else:
                scans = self._scans(aside)
                started = time.perf_counter()
                seen = self._watched(before, query, values)
                seconds = time.perf_counter() - started
                more = {oid: count - scans.get(oid, 0) for oid, count in self._scans(aside).items()}
                aside.execute("BEGIN")
                after = {
                    oid: state._replace(
                        locks=sorted(seen.get(oid, ())), scans=before[oid].scans + more.get(oid, 0)
                    )
                    for oid, state in watch.state(aside).items()
                    if oid in before
                }
                aside.execute("ROLLBACK")
            watch.take(sql, place, seconds, before, after, broken, alone=True)

    def _scans(self, aside: Any) -> dict[int, int]:
        """Return the number of scans of each table so far."""
        aside.execute(FLUSH)
        aside.execute("BEGIN")
        found = transactions.asked(aside, SCANS)
        aside.execute("COMMIT")
        return {row[0]: row[1] for row in found}

    def _watched(
        self, before: Mapping[int, State], query: Any, values: Any
    ) -> Mapping[int, set[str]]:
        """Run a statement, and return the locks that other sessions see."""
        database = replace(self.watch.database, cursor=None)
        tables = {
            Name(state.schema, state.name).sql: state.kind
            for state in before.values()
            if state.kind in {"r", "p"}
        }
        with onlooker.watching(database, self.connection.info.backend_pid, tables) as seen:
            super().execute(query, values)
        return seen
