"""The log of a target: a row for each revision that was run, with the progress of one that was interrupted.

The row is written before the revision begins, and closed in the transaction that stamps it. What a script commits in
between is recorded in the row by the same commit, so that the next run continues after it. A record counts only for
the tables and columns it was made for, by OID and number, and while the database stays at the revision where the script
was interrupted.
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
from psycopg2.errors import InsufficientPrivilege

from postgres_database import __version__
from postgres_database.errors import ExpectedError
from postgres_database.schema import identity
from postgres_database.server.connection import Database
from postgres_database.server.transactions import SAFELY, usual_path
from postgres_database.sql.names import Name

RUNNING, DONE, FAILED, INTERRUPTED = "running", "done", "failed", "interrupted"
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
        PRIMARY KEY (started, revision)
    )
"""
RIGHTS = "SELECT bool_and(has_table_privilege(%(table)s, r)) FROM unnest('{SELECT,INSERT,UPDATE}'::text[]) AS r"
# An unfinished run counts until the same revision was finished, up or down.
LEFT = """
    SELECT progress FROM {0} AS log
    WHERE revision = %s AND direction = %s AND progress IS NOT NULL AND started > coalesce(
        (SELECT max(started) FROM {0} WHERE revision = log.revision AND outcome = 'done'), '-infinity')
    ORDER BY started DESC LIMIT 1
"""
# A row that was restored, copied or edited was written by another transaction than it names. In a clone of the whole
# database, and after pg_upgrade, it was written by that one (PostgreSQL manual, "System Columns").
WRITTEN = "jsonb_build_object('xact', pg_current_xact_id()::text)"
GENUINE = "coalesce(mod((progress ->> 'xact')::numeric, 4294967296) = xmin::text::numeric, false)"
ENDED = {"ended": True}
SETTLE = f"""
    UPDATE {{}} SET progress = %(ended)s
    WHERE progress IS NOT NULL AND progress <> %(ended)s AND NOT (
        {GENUINE} AND revision = ANY (CASE direction WHEN 'upgrade' THEN %(up)s::text[] ELSE %(down)s::text[] END))
"""  # noqa: S608 - a constant
HALF_DONE = """
    SELECT DISTINCT revision FROM {} WHERE direction = 'upgrade' AND progress IS NOT NULL AND progress <> %s
"""
INTERRUPT = f"UPDATE {{}} SET outcome = %s, progress = progress || {WRITTEN} WHERE outcome = %s"  # noqa: S608
# A script may have left a transaction that is about to end.
UPDATE = SAFELY + "; UPDATE {table} SET {columns} WHERE (revision, started) = (%s, %s)"  # noqa: S608 - names are quoted
INSERT = f"""
    INSERT INTO {{}} (revision, direction, who, host, tool, outcome, progress)
    VALUES (%s, %s, %s || session_user, %s, %s, %s, %s::jsonb || {WRITTEN}) RETURNING started
"""  # noqa: S608 - a constant
ENTRIES = """
    SELECT revision, direction, started, seconds::float, who, host, tool, outcome FROM {} ORDER BY started
"""
LAST = f"{ENTRIES} DESC LIMIT 1"


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


class Journal:
    """The log of a target while revisions are run, and what of a script is done already."""

    def __init__(self, connection: sa.Connection, table: str) -> None:
        """Use `open_journal`."""
        self._connection = connection
        self._table = table
        self._row: tuple[str, datetime] | None = None
        self._uncommitted: list[str] = []
        self._steps: dict[str, dict[str, Any]] = {}
        """By the name of a step: how many times it was done, and on which tables."""
        self._positions: dict[str, dict[str, Any]] = {}
        """By the name of a long step: its position, and on which tables it works."""
        self._left: Counter[str] = Counter()
        self.resumable = False
        """Whether the script commits before its end."""

    def begin(
        self,
        revision: str,
        direction: str,
        adjacent: tuple[list[str], list[str]],
        *,
        resumable: bool,
    ) -> str:
        """Write down that a revision is begun, and read how far an earlier run came; outside a transaction.

        Args:
            revision: Which.
            direction: `upgrade` or `downgrade`.
            adjacent: The revisions that may be run next, up and down: only they can be half done.
            resumable: Whether the script commits before its end.

        Returns:
            Why steps of an earlier run are done again; empty if none is.
        """
        self.resumable = resumable
        again = self._row is not None and self._row[0] == revision
        with self._connection.begin(), self._cursor() as cursor:
            _settle(cursor, self._table, adjacent)
            cursor.execute(LEFT.format(self._table), (revision, direction))
            row: tuple[Any, ...] = cursor.fetchone() or ({},)
            progress: dict[str, Any] = row[0]
            note = self._read(cursor, progress)
            if again:
                self._set(cursor, outcome=RUNNING)
                return note
            cursor.execute(INTERRUPT.format(self._table), (INTERRUPTED, RUNNING))
            values = (revision, direction, _person(), socket.gethostname(), __version__, RUNNING)
            text = self._text() if self._steps or self._positions else None
            cursor.execute(INSERT.format(self._table), (*values, text))
            self._row = revision, cursor.fetchone()[0]
            return note

    def _read(self, cursor: Any, progress: dict[str, Any]) -> str:
        """Take over what an earlier run has done to tables that still exist; return what is done again, in words."""
        kinds = [progress.get("steps", {}), progress.get("positions", {})]
        live = identity.live(cursor, [record["on"] for kind in kinds for record in kind.values()])

        def holds(on: identity.Identity) -> bool:
            return all(names.items() <= live.get(oid, {}).items() for oid, names in on.items())

        self._steps, self._positions = (
            {name: record for name, record in kind.items() if holds(record["on"])} for kind in kinds
        )
        self._left = Counter({name: record["times"] for name, record in self._steps.items()})
        if progress == ENDED:
            return (
                "an earlier run of it was interrupted, and since then the database was brought to another revision,"
                " stamped or restored: all its steps are run"
            )
        if gone := sum(map(len, kinds)) - len(self._steps) - len(self._positions):
            return f"tables or columns that an earlier run changed are gone or renamed: {gone} of its steps run again"
        return ""

    def take(self, sql: str) -> bool:
        """Tell whether an earlier run has done a step; each time that it has counts once."""
        step = identity.name(sql)
        if self._left[step] <= 0:
            return False
        self._left[step] -= 1
        return True

    def did(self, sql: str) -> None:
        """Remember a step; it is written down when its transaction is committed."""
        self._uncommitted.append(sql)

    def write(self) -> None:
        """Write down the steps that were done, in the transaction that did them."""
        if not self._uncommitted or not self._row:
            return
        with self._cursor() as cursor:
            live = identity.live(cursor, [record["on"] for record in self._steps.values()])
            for record in self._steps.values():  # the script may have dropped or renamed it
                record["on"] = {
                    oid: {number: live[oid][number] for number in names if number in live[oid]}
                    for oid, names in record["on"].items()
                    if oid in live
                }
            for sql in self._uncommitted:
                step = self._steps.setdefault(identity.name(sql), {"times": 0, "on": {}})
                step["times"] += 1
                step["on"] |= self._identity(cursor, sql)
                self._positions.pop(identity.name(sql), None)
            self._uncommitted.clear()
            self._write(cursor)

    def forget(self) -> None:
        """Forget the steps of a transaction that was rolled back."""
        self._uncommitted.clear()

    def position(self, sql: str) -> Sequence[str] | None:
        """Return the position of a long step."""
        record = self._positions.get(identity.name(sql))
        return record["at"] if record else None

    def move(self, cursor: Any, sql: str, position: Sequence[str]) -> None:
        """Write down the position of a long step by this cursor, in the transaction that moves it."""
        name = identity.name(sql)
        if name not in self._positions:
            self._positions[name] = {"on": self._identity(cursor, sql)}
        self._positions[name]["at"] = position
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

    def _identity(self, cursor: Any, sql: str) -> identity.Identity:
        return identity.of(cursor, sql, usual_path(self._connection).schemas, self._table)

    def _write(self, cursor: Any) -> None:
        if self._row:
            self._set(cursor, progress=self._text())

    def _text(self) -> str:
        return json.dumps({"steps": self._steps, "positions": self._positions})

    def _set(self, cursor: Any, **values: object) -> None:
        """Change the row of the revision that runs."""
        progress = f"progress = {'%s::jsonb' if 'progress' in values else 'progress'} || {WRITTEN}"
        columns = ", ".join([*(f"{name} = %s" for name in values if name != "progress"), progress])
        update = UPDATE.format(table=self._table, columns=columns)
        cursor.execute(update, (*values.values(), *(self._row or ())))


def open_journal(database: Database, connection: sa.Connection) -> Journal | None:
    """Return the log of a database, made if it is missing; None where the user may not make or write it.

    An upgrade needs no log: without one, an interrupted script looks into the catalog for what it has done.
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


def settle(
    database: Database,
    connection: sa.Connection,
    adjacent: tuple[list[str], list[str]] = ([], []),
) -> None:
    """After a stamp, in its transaction, drop the progress of half done revisions that can no longer be next.

    `adjacent` are the revisions that may be run next, up and down.
    """
    with _cursor(connection) as cursor:
        if (table := _existing(database, connection, cursor)) is None:
            return
        cursor.execute(RIGHTS, {"table": table})
        if cursor.fetchone()[0]:
            _settle(cursor, table, adjacent)


def _settle(cursor: Any, table: str, adjacent: tuple[list[str], list[str]]) -> None:
    values = {"ended": json.dumps(ENDED), "up": adjacent[0], "down": adjacent[1]}
    cursor.execute(SETTLE.format(table), values)


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
    with database.connect() as connection, connection.begin(), _cursor(connection) as cursor:
        cursor.execute("SET TRANSACTION READ ONLY")
        if (table := _existing(database, connection, cursor)) is None:
            return []
        try:
            cursor.execute(query.format(table), values or None)
        except InsufficientPrivilege as error:
            grant = f"invoke psql{database.env_option} --command 'GRANT SELECT ON {table} TO …'"
            what, cause = f"the log of {database.dsn} cannot be read", str(error).strip()
            raise ExpectedError(what, cause=cause, hint=f"{grant}   (as its owner)") from error
        return [*cursor.fetchall()]


def _existing(database: Database, connection: sa.Connection, cursor: Any) -> str | None:
    """Return the name of the log for SQL; None if there is none."""
    table = _table(database, connection)
    cursor.execute("SELECT to_regclass(%s) IS NOT NULL", (table,))
    return table if cursor.fetchone()[0] else None


def _table(database: Database, connection: sa.Connection) -> str | None:
    """Return the name of the log for SQL: beside the version table, or where that will be made."""
    schema = database.version_schema(connection)
    return schema and Name(schema, database.versions.log).sql


def _cursor(connection: sa.Connection) -> AbstractContextManager[Any]:
    return closing(connection.connection.cursor())


def _person() -> str:
    """Return who started the command, if the machine knows; the user of the database follows."""
    try:
        return f"{getpass.getuser()} as "
    except (KeyError, OSError):  # of a container's account without a name
        return ""
