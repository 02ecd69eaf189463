"""The log of a target: which revisions were run, by whom and how they ended. Made and read here; `journal` writes."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import psycopg2
from psycopg2.errors import InsufficientPrivilege

from postgres_database.errors import ExpectedError
from postgres_database.history.graph import Revision
from postgres_database.server import privileges, transactions
from postgres_database.server.connection import Database
from postgres_database.server.transactions import SearchPath

if TYPE_CHECKING:  # a command that has nothing to do does without it
    import sqlalchemy as sa

RUNNING, DONE, FAILED, INTERRUPTED = "running", "done", "failed", "interrupted"
ENDED = {"ended": True}
"""The progress of a run that no later one continues."""
HALF_DONE = """
    SELECT DISTINCT revision FROM {} WHERE direction = 'upgrade' AND progress IS NOT NULL AND progress <> %s
"""
# Logs of earlier versions lack the column.
ENTRIES = """
    SELECT revision, direction, started, seconds::float, who, host, tool, outcome, to_jsonb(log) ->> 'digest'
    FROM {} AS log ORDER BY started
"""
FOUND = (
    "SELECT name, to_regclass(name) IS NOT NULL FROM format('%%I.%%I', %s::text, %s::text) AS name"
)
LAST = f"{ENTRIES} DESC LIMIT 1"
FORBIDDEN = ("42501", "3F000", "25006")
"""SQLSTATE of a missing privilege, a missing schema, and a read-only database."""

CREATE = """
    CREATE TABLE IF NOT EXISTS {} (
        revision text NOT NULL,
        direction text NOT NULL,
        started timestamptz NOT NULL DEFAULT clock_timestamp(),
        seconds numeric(12, 3),
        who text NOT NULL,
        host text NOT NULL,
        tool text NOT NULL,
        outcome text NOT NULL,
        progress jsonb,
        digest text,
        PRIMARY KEY (started, revision)
    )
"""
# Logs that earlier versions made lack the column. A dump of the database, which may run for hours, keeps ALTER waiting.
HAS_DIGEST = """
    SELECT EXISTS (SELECT FROM pg_attribute
                   WHERE attrelid = to_regclass(%s) AND attname = 'digest' AND NOT attisdropped)
"""
ADD_DIGEST = "SET LOCAL lock_timeout = '1s'; ALTER TABLE {} ADD COLUMN IF NOT EXISTS digest text"
NOT_GRANTED = "55P03"
"""SQLSTATE of a lock that was not granted in time."""
RIGHTS = "SELECT bool_and(has_table_privilege(%(table)s, r)) FROM unnest('{SELECT,INSERT,UPDATE}'::text[]) AS r"


@dataclass(frozen=True)
class Entry:
    """A revision that was run, as the log has it."""

    revision: str
    direction: str
    started: datetime
    seconds: float | None
    who: str
    host: str
    tool: str
    outcome: str
    digest: str | None = None
    """Of the script that ran (`Revision.digest`); None if an earlier version ran it, or it no longer counts."""


@dataclass(frozen=True)
class Log:
    """The log of a database, which the user may write."""

    table: str
    """Its name for SQL."""
    fault: str
    """Why it does not keep which script ran; empty if it does."""


@dataclass(frozen=True)
class Edited:
    """A script that is not what was run."""

    revision: Revision
    ran: datetime

    def __str__(self) -> str:
        """Say so in a line."""
        when = f"{self.ran.astimezone():%Y-%m-%d %H:%M}"
        return f"script {self.revision} was edited after it ran on {when}: what ran is not what is written"


def half_done(database: Database) -> list[str]:
    """Return the revisions whose upgrade has committed some of its steps and was not finished. Only reads."""
    return [revision for (revision,) in _rows(database, HALF_DONE, json.dumps(ENDED))]


def read(database: Database) -> list[Entry]:
    """Return the log of a database, the oldest entry first; nothing if there is none. Only reads."""
    return [Entry(*row) for row in _rows(database, ENTRIES)]


def unfinished(database: Database) -> Entry | None:
    """Return the last entry of the log of a database if that run is not done. Only reads."""
    last = (Entry(*row) for row in _rows(database, LAST))
    return next((entry for entry in last if entry.outcome != DONE), None)


def _rows(database: Database, query: str, *values: str) -> list[tuple[Any, ...]]:
    """Run a query of the log that only reads; no rows if there is no log, ExpectedError if it may not be read."""
    with database.reading() as (cursor, path):
        if (table := existing(database, cursor, path)) is None:
            return []
        try:
            cursor.execute(query.format(table), values or None)
        except InsufficientPrivilege as error:
            what, cause = f"the log of {database.dsn} cannot be read", database.words(error)
            hint = privileges.to_read(table, cause, database)
            raise ExpectedError(what, cause=cause, hint=hint) from error
        return [*cursor.fetchall()]


def edited(database: Database, applied: Iterable[Revision]) -> tuple[Edited, ...]:
    """Return which scripts of the revisions of a database are not what its log says was run. Only reads.

    Raises:
        ExpectedError: The log may not be read.
    """
    last = {entry.revision: entry for entry in read(database) if entry.outcome == DONE}
    runs = ((revision, last.get(revision.id)) for revision in applied)
    return tuple(
        Edited(revision, run.started)
        for revision, run in runs
        if run
        and run.direction == "upgrade"
        and run.digest not in {None, revision.digest, *revision.replaces}
    )


def existing(database: Database, cursor: Any, path: SearchPath) -> str | None:
    """Return the name of the log for SQL; None if there is none."""
    table, there = _found(cursor, database.version_schema(cursor, path) or "", database)
    return table if there else None


def _found(cursor: Any, schema: str, database: Database) -> tuple[str, bool]:
    """Return the name of the log for SQL, in a schema, and whether it is there."""
    cursor.execute(FOUND, (schema, database.versions.log))
    table, there = cursor.fetchone()
    return table, there


def cursor_of(connection: sa.Connection) -> AbstractContextManager[Any]:
    """Return a cursor of the driver, which sends statements as they are."""
    return closing(connection.connection.cursor())


def made(database: Database, driver: Any) -> Log | None:
    """Make the log of a database if it is missing; None where the user may not make or write it.

    The connection, of the driver, is in no transaction.
    """
    try:
        with transactions.ours(driver) as (cursor, path):
            schema = database.version_schema(cursor, path)
            if schema is None:
                return None
            table, there = _found(cursor, schema, database)
            if not there:
                cursor.execute(CREATE.format(table))
            if not is_writable(cursor, table):
                return None
    except psycopg2.Error as error:
        if error.pgcode in FORBIDDEN:
            return None
        raise
    return Log(table, _without_digest(driver, table))


def is_writable(cursor: Any, table: str) -> bool:
    """Tell whether the user may write the log."""
    cursor.execute(RIGHTS, {"table": table})
    (may,) = cursor.fetchone()
    return bool(may)


def _without_digest(driver: Any, table: str) -> str:
    """Give the log the column for the digests of scripts if it is missing; return why that is not possible."""
    try:
        with transactions.ours(driver) as (cursor, _):
            if not has_digest(cursor, table):
                cursor.execute(ADD_DIGEST.format(table))
    except psycopg2.Error as error:
        if error.pgcode not in (*FORBIDDEN, NOT_GRANTED):
            raise
        return (
            f"whether a script is edited after it runs here will not be known: {str(error).strip()}"
            f" (the log needs a column: ALTER TABLE {table} ADD COLUMN digest text, as its owner)"
        )
    return ""


def has_digest(cursor: Any, table: str) -> bool:
    """Tell whether the log keeps which script ran."""
    cursor.execute(HAS_DIGEST, (table,))
    (has,) = cursor.fetchone()
    return bool(has)
