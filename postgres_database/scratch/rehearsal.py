"""Runs pending scripts on a scratch database to find the statements that live traffic would wait for.

A lock is held until its transaction ends (PostgreSQL manual, "Explicit Locking"). So while a statement scans or
rewrites a table, other sessions wait for every table that this statement or an earlier one has locked.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from textwrap import shorten
from typing import Any

import psycopg2
from psycopg2.errors import ActiveSqlTransaction
from psycopg2.extensions import TRANSACTION_STATUS_IDLE
from psycopg2.extensions import cursor as PlainCursor  # noqa: N812 - a class

from postgres_database.errors import ExpectedError
from postgres_database.history import script_errors
from postgres_database.history.graph import Revision
from postgres_database.history.project import Project
from postgres_database.online import forms, steps
from postgres_database.preflight import row_checks
from postgres_database.running import runner
from postgres_database.running.listener import SILENT
from postgres_database.scratch import effects
from postgres_database.scratch.databases import Scratch
from postgres_database.scratch.effects import State
from postgres_database.server.connection import Database
from postgres_database.sql.names import Name
from postgres_database.sql.syntax import statements
from postgres_database.sql.tokens import without_literals

WIDTH = 70  # characters of a statement
READS = {"SELECT", "VALUES", "TABLE"}
PLANNED = {*READS, "WITH", "INSERT", "UPDATE", "DELETE", "MERGE"}
"""First words of statements for which the planner chooses between a sequential scan and an index."""
WITHOUT_LOCKS = {
    "", "SHOW", "SET", "RESET", "BEGIN", "START", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "TRUNCATE",
}  # fmt: skip
"""First words of statements that take no time in proportion to rows; TRUNCATE changes the file, but to an empty one."""
REWRITES = ["AccessExclusiveLock"]
"""The lock of a rewrite outside of a transaction block, such as VACUUM FULL."""
CHANGED = "RowExclusiveLock"
"""The lock on a table by INSERT, UPDATE, DELETE and MERGE."""
SIZES = """
    SELECT n.nspname, c.relname, c.reltuples
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'm') AND pg_relation_size(c.oid) > 0
      AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
"""
Rows = Mapping[tuple[str, str], int]
"""(schema, name) of a table of the target that is not empty → the planner's estimate of its rows; -1: none."""


def sizes(database: Database) -> Rows:
    """Return the estimated number of rows of the tables of a target that are not empty.

    Raises:
        ExpectedError: The query fails, such as by a lock timeout.
    """
    with row_checks.read_only_session(database) as session:
        found = session.ask(SIZES, {})
        return {(schema, name): int(count) for schema, name, count in found}


def cautions(  # noqa: PLR0913 - what is run, where, and what is known of it
    session: Scratch,
    project: Project,
    before: Sequence[str],
    plan: Sequence[Revision],
    *,
    verb: str = "upgrade",
    rows: Rows | None = None,
) -> list[str]:
    """Return the statements of scripts for which other sessions wait as long as a table is scanned or rewritten.

    Args:
        session: Creates the scratch database.
        project: Has the scripts.
        before: The revisions that the target is at.
        plan: The scripts to run, in order.
        verb: `upgrade` or `downgrade`.
        rows: The tables of the target with rows, see `sizes`; None: every table may be large.

    Returns:
        A line for each such statement. If a script fails, the last line says from which revision on nothing is known.
    """
    if not plan or rows == {}:
        return []
    database = session.at(project, before)
    watch = _Watch(rows)
    with database.connect() as connection, connection.begin():
        watch.known = effects.of_connection(connection)
    cursor = type("Watching", (_Watching, database.cursor or PlainCursor), {"watch": watch})
    with runner.open_runner(project, replace(database, cursor=cursor)) as run:
        for revision in plan:
            watch.script, watch.name = revision.path, project.folders.name(revision.path)
            try:
                run.run(verb, (revision,), SILENT)
            except ExpectedError as error:
                why = error.cause.partition("\n")[0]
                unknown = f"what others wait for from revision {revision.id} on is not known: {why}"
                return [*watch.lines, unknown]
    return [*watch.lines]


@dataclass
class _Watch:
    """The running script, and the lines about its statements."""

    rows: Rows | None
    known: Mapping[int, State] = field(default_factory=dict)
    """The tables before the first script, by OID."""
    script: Path = Path()
    """The file of the running script."""
    name: str = ""
    """Its name for messages."""
    lines: dict[str, None] = field(default_factory=dict)
    """The lines in order, without repetition: a loop runs the same statement many times."""

    def take(
        self, sql: str, line: int, before: Mapping[int, State], after: Mapping[int, State]
    ) -> None:
        """Add a line if other sessions would wait for a statement.

        Args:
            sql: The statement.
            line: Its line in the script.
            before: The state of all tables before it.
            after: The state of all tables after it.
        """
        read = {
            oid: "rewritten" if state.file != before[oid].file else "read from end to end"
            for oid, state in after.items()
            if oid in before
            and self._may_be_large(oid)
            and (state.file != before[oid].file or state.scans > before[oid].scans)
        }
        locked = {oid: state for oid, state in after.items() if oid in self.known and state.blocks}
        at = f"{self.name}, line {line}: {shorten(without_literals(sql), WIDTH, placeholder=' …')}"
        online = steps.ONLINE.get()
        if read and locked:
            modes = {mode for state in locked.values() for mode in state.locks}
            denied = "read or written" if "AccessExclusiveLock" in modes else "written"
            held = "it" if {*read} == {*locked} else _names(locked.values())
            safe = not online and forms.parse(sql) is not None
            more = "; in op.online() it is safe beside live traffic" if safe else ""
            self.lines[f"{at}: {self._said(read)} while {held} cannot be {denied}{more}"] = None
        elif not online and (
            changed := {oid: did for oid, did in read.items() if CHANGED in after[oid].locks}
        ):
            more = "op.backfill does it in batches"
            self.lines[
                f"{at}: {self._said(changed)}, and rows that it changes stay locked until the script ends; {more}"
            ] = None

    def _may_be_large(self, oid: int) -> bool:
        """Tell whether a table existed before the scripts, and has rows in the target."""
        known = self.known.get(oid)
        return known is not None and (self.rows is None or (known.schema, known.name) in self.rows)

    def _said(self, read: Mapping[int, str]) -> str:
        return ", ".join(f"{self._counted(self.known[oid])} is {did}" for oid, did in read.items())

    def _counted(self, table: State) -> str:
        name = str(Name(table.schema, table.name))
        count = (self.rows or {}).get((table.schema, table.name), -1)
        return name if count < 0 else f"{name} (about {count:,} rows)"


class _Watching(PlainCursor):
    """Runs the statements of scripts, and measures them."""

    watch: _Watch

    def execute(self, query: Any, vars: Any = None) -> None:  # noqa: A002 - psycopg2's name
        """Run SQL; see `cursor.execute` of psycopg2."""
        line = script_errors.running_line(self.watch.script)
        pieces = statements(self.mogrify(query, vars).decode()) if line else []
        idle = self.connection.info.transaction_status == TRANSACTION_STATUS_IDLE
        if self.connection.autocommit and idle:  # all of it is one transaction
            if {_word(piece) for piece in pieces} <= WITHOUT_LOCKS | READS:
                super().execute(query, vars)
            else:
                self._tried("; ".join(pieces), line, query, vars)
        elif len(pieces) > 1:
            for piece in pieces:
                self._measured(piece, line, piece, None)
        else:
            self._measured("".join(pieces), line, query, vars)

    def _measured(self, sql: str, line: int, query: Any, values: Any) -> None:
        word = _word(sql)
        if word in WITHOUT_LOCKS:
            super().execute(query, values)
            return
        with PlainCursor(self.connection) as aside:
            before = effects.states(aside)
            if word in PLANNED:  # with few rows the planner ignores indexes, so forbid scans
                aside.execute("SAVEPOINT measured; SET LOCAL enable_seqscan = off")
            super().execute(query, values)
            if word in PLANNED:
                aside.execute("SET LOCAL enable_seqscan = on; RELEASE measured")
            self.watch.take(sql, line, before, effects.states(aside))

    def _tried(self, sql: str, line: int, query: Any, values: Any) -> None:
        """Run a statement in autocommit mode, after measuring it in a transaction that is rolled back.

        A statement that cannot run in a transaction block is measured afterwards, when only a rewrite is visible.
        """
        with PlainCursor(self.connection) as aside:
            aside.execute("BEGIN")
            before = effects.states(aside)
            try:
                super().execute(query, values)
            except psycopg2.Error as error:
                aside.execute("ROLLBACK")
                after = None if isinstance(error, ActiveSqlTransaction) else before
            else:
                after = effects.states(aside)
                aside.execute("ROLLBACK")
            super().execute(query, values)
            # CREATE INDEX CONCURRENTLY, VACUUM
            if after is None:
                aside.execute("BEGIN")
                after = {
                    oid: state if state.file == before[oid].file else state._replace(locks=REWRITES)
                    for oid, state in effects.states(aside).items()
                    if oid in before
                }
                aside.execute("ROLLBACK")
            self.watch.take(sql, line, before, after)


def _word(sql: str) -> str:
    return sql.partition(" ")[0].upper()


def _names(tables: Iterable[State]) -> str:
    return ", ".join(sorted(str(Name(each.schema, each.name)) for each in tables))
