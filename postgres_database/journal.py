"""What was done to a target: a row for each revision that was run, and how far one came that was interrupted.

The row of a revision is there before it begins, and is closed in the transaction that stamps it. What a script
commits in between stands in the row by the same commit, so that the next run goes on behind it.
"""

import getpass
import json
import socket
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg2
import sqlalchemy as sa

from postgres_database import __version__
from postgres_database.connection import Database, identifier
from postgres_database.transactions import SAFELY

JOURNAL = "postgres_database.journal"
"""Where the information of a connection has the journal, while scripts run."""
RUNNING, DONE, FAILED, INTERRUPTED = "running", "done", "failed", "interrupted"
FORBIDDEN = ("42501", "3F000", "25006")
"""SQLSTATE of a missing privilege, a missing schema, and a database that only lets itself be read."""

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
        PRIMARY KEY (started, revision)
    )
"""
RIGHTS = "SELECT bool_and(has_table_privilege(%(table)s, r)) FROM unnest('{SELECT,INSERT,UPDATE}'::text[]) AS r"
# What came to no end counts until the same revision came to one, up or down.
LEFT = """
    SELECT progress FROM {0} AS log
    WHERE revision = %s AND direction = %s AND progress IS NOT NULL AND started > coalesce(
        (SELECT max(started) FROM {0} WHERE revision = log.revision AND outcome = 'done'), '-infinity')
    ORDER BY started DESC LIMIT 1
"""
INTERRUPT = "UPDATE {} SET outcome = %s WHERE outcome = %s"
# A script may have left a transaction that is about to end.
UPDATE = SAFELY + "; UPDATE {table} SET {columns} WHERE (revision, started) = (%s, %s)"  # noqa: S608 - names are quoted
INSERT = """
    INSERT INTO {} (revision, direction, who, host, tool, outcome, progress)
    VALUES (%s, %s, %s || session_user, %s, %s, %s, %s) RETURNING started
"""
ENTRIES = """
    SELECT revision, direction, started, seconds::float, who, host, tool, outcome FROM {} ORDER BY started
"""


@dataclass(frozen=True)
class Entry:
    """A revision that was run, as the log tells it."""

    revision: str
    direction: str
    started: datetime
    seconds: float | None
    who: str
    host: str
    tool: str
    outcome: str


class Journal:
    """The log of a target while revisions are run, and what of a script is done already."""

    def __init__(self, connection: sa.Connection, table: str) -> None:
        """Use `open_journal`."""
        self._connection = connection
        self._table = table
        self._row: tuple[str, datetime] | None = None
        self._uncommitted: list[str] = []
        self._positions: dict[str, Sequence[str]] = {}
        self._steps: Counter[str] = Counter()
        self.left: Counter[str] = Counter()
        """Steps of the script that an earlier run has done, by how often."""
        self.resumable = False
        """Whether the script commits before its end."""

    def begin(self, revision: str, direction: str, *, resumable: bool) -> None:
        """Write down that a revision is begun, and read how far an earlier run came; outside a transaction."""
        self.resumable = resumable
        again = self._row is not None and self._row[0] == revision
        with self._connection.begin(), self._cursor() as cursor:
            cursor.execute(LEFT.format(self._table), (revision, direction))
            row: tuple[Any, ...] = cursor.fetchone() or ({},)
            progress: dict[str, Any] = row[0]
            self._steps = Counter(progress.get("steps", {}))
            self._positions = dict(progress.get("positions", {}))
            self.left = self._steps.copy()
            if again:
                self._set(cursor, outcome=RUNNING)
                return
            cursor.execute(INTERRUPT.format(self._table), (INTERRUPTED, RUNNING))
            values = (revision, direction, _person(), socket.gethostname(), __version__, RUNNING)
            text = json.dumps(progress) if progress else None
            cursor.execute(INSERT.format(self._table), (*values, text))
            self._row = revision, cursor.fetchone()[0]

    def take(self, step: str) -> bool:
        """Tell whether an earlier run has done a step; it counts once."""
        if self.left[step] <= 0:
            return False
        self.left[step] -= 1
        return True

    def did(self, step: str) -> None:
        """Remember a step; it is written down when its transaction is committed."""
        self._uncommitted.append(step)

    def write(self) -> None:
        """Write down the steps that were done, in the transaction that did them."""
        if self._uncommitted and self._row:
            self._steps.update(self._uncommitted)
            self._uncommitted.clear()
            with self._cursor() as cursor:
                self._write(cursor)

    def forget(self) -> None:
        """Forget the steps of a transaction that was rolled back."""
        self._uncommitted.clear()

    def position(self, step: str) -> Sequence[str] | None:
        """Return where a long step is."""
        return self._positions.get(step)

    def move(self, cursor: Any, step: str, position: Sequence[str]) -> None:
        """Write down by this cursor where a long step is."""
        self._positions[step] = position
        self._write(cursor)

    def end(self, outcome: str, seconds: float) -> None:
        """Close the row of the revision: in the transaction of its stamp, or after it failed."""
        if self._row is None:
            return
        facts: dict[str, Any] = {"outcome": outcome, "seconds": round(seconds, 3)}
        with self._cursor() as cursor:
            self._set(cursor, **facts, **({"progress": None} if outcome == DONE else {}))
        self.forget()
        if outcome == DONE:
            self._row = None

    def _cursor(self) -> AbstractContextManager[Any]:
        return _cursor(self._connection)

    def _write(self, cursor: Any) -> None:
        if self._row:
            progress = {"steps": self._steps, "positions": self._positions}
            self._set(cursor, progress=json.dumps(progress))

    def _set(self, cursor: Any, **values: object) -> None:
        """Change the row of the revision that runs."""
        columns = ", ".join(f"{column} = %s" for column in values)
        update = UPDATE.format(table=self._table, columns=columns)
        cursor.execute(update, (*values.values(), *(self._row or ())))


def open_journal(database: Database, connection: sa.Connection) -> Journal | None:
    """Return the log of a database, made if it is missing; None where the user may not make or write it.

    A log is no condition of an upgrade: without one a script that was interrupted is guarded by the catalog alone.
    """
    try:
        with connection.begin(), _cursor(connection) as cursor:
            table = _table(database, connection)
            if table is None:
                return None
            cursor.execute("SELECT to_regclass(%s) IS NULL", (table,))
            if cursor.fetchone()[0]:
                cursor.execute(CREATE.format(table))
            cursor.execute(RIGHTS, {"table": table})
            if not cursor.fetchone()[0]:
                return None
    except psycopg2.Error as error:
        if error.pgcode in FORBIDDEN:
            return None
        raise
    return Journal(connection, table)


def read(database: Database) -> list[Entry]:
    """Return what the log of a database tells, the oldest first; nothing if there is none. Only reads."""
    with (
        database.connect() as connection,
        connection.begin(),
        _cursor(connection) as cursor,
    ):
        cursor.execute("SET TRANSACTION READ ONLY")
        table = _table(database, connection)
        cursor.execute("SELECT to_regclass(%s) IS NULL", (table,))
        if cursor.fetchone()[0]:
            return []
        cursor.execute(ENTRIES.format(table))
        return [Entry(*row) for row in cursor.fetchall()]


def _table(database: Database, connection: sa.Connection) -> str | None:
    """Return the name of the log for SQL: beside the version table, or where that will be made."""
    schema = database.version_schema(connection)
    return schema and f"{identifier(schema)}.{identifier(database.versions.log)}"


def _cursor(connection: sa.Connection) -> AbstractContextManager[Any]:
    return closing(connection.connection.cursor())


def _person() -> str:
    """Return who started the command, if the machine knows, for the user of the database to follow."""
    try:
        return f"{getpass.getuser()} as "
    except (KeyError, OSError):  # of a container's account without a name
        return ""
