"""The log of a target while revisions are run: a row for each, with the progress of one that is interrupted.

The row is written before the revision begins, and closed in the transaction that stamps it. What a script commits in
between is recorded in the row by the same commit, so that the next run continues after it. A record counts only for
the tables and columns it was made for, by OID and number, and while the database stays at the revision where the script
was interrupted.
"""

from __future__ import annotations

import getpass
import json
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from postgres_database import __version__
from postgres_database.history.graph import Revision
from postgres_database.running import log
from postgres_database.running.log import (
    DONE,
    ENDED,
    INTERRUPTED,
    RUNNING,
    Log,
    cursor_of,
    existing,
)
from postgres_database.schema import identity
from postgres_database.server.connection import Database
from postgres_database.server.transactions import (
    DEFERRED,
    SAFELY,
    UNWAITED,
    SearchPath,
    at_once,
    filled,
    usual_path,
)

if TYPE_CHECKING:  # what restores a dump does without it
    import sqlalchemy as sa

# An unfinished run counts until the same revision was finished, up or down.
COUNTS = """progress IS NOT NULL AND started > coalesce(
    (SELECT max(started) FROM {0} WHERE revision = log.revision AND outcome = 'done'), '-infinity')"""
LEFT = f"""
    SELECT progress FROM {{0}} AS log WHERE revision = %s AND direction = %s AND {COUNTS}
    ORDER BY started DESC LIMIT 1
"""  # noqa: S608 - a constant
OPEN = f"SELECT EXISTS (SELECT FROM {{0}} AS log WHERE {COUNTS})"  # noqa: S608 - a constant
# A row that was restored, copied or edited was written by another transaction than it names. In a clone of the whole
# database, and after pg_upgrade, it was written by that one (PostgreSQL manual, "System Columns").
WRITTEN = "jsonb_build_object('xact', pg_current_xact_id()::text)"
GENUINE = "coalesce(mod((progress ->> 'xact')::numeric, 4294967296) = xmin::text::numeric, false)"
SETTLE = f"""
    UPDATE {{}} SET progress = %(ended)s
    WHERE progress IS NOT NULL AND progress <> %(ended)s AND NOT (
        {GENUINE} AND revision = ANY (CASE direction WHEN 'upgrade' THEN %(up)s::text[] ELSE %(down)s::text[] END))
"""  # noqa: S608 - a constant
# A row with progress must keep its transaction; only what is done is compared with the scripts.
FORGET = "UPDATE {} SET digest = NULL WHERE digest IS NOT NULL AND progress IS NULL"
INTERRUPT = f"UPDATE {{}} SET outcome = %s, progress = progress || {WRITTEN} WHERE outcome = %s"  # noqa: S608
# A script may have left a transaction that is about to end.
UPDATE = SAFELY + "; UPDATE {table} SET {columns} WHERE (revision, started) = (%s, %s)"  # noqa: S608 - names are quoted
INSERT = f"""
    INSERT INTO {{table}} (revision, direction, who, host, tool, outcome, progress{{digest}})
    VALUES (%s, %s, %s || session_user, %s, %s, %s, %s::jsonb || {WRITTEN}{{value}}) RETURNING started
"""  # noqa: S608 - a constant
RESTORED = """
    INSERT INTO {table} (revision, direction, seconds, who, host, tool, outcome{digest})
    SELECT revision, 'upgrade', %s, %s || session_user, %s, %s, %s{digest}
    FROM unnest(%s::text[], %s::text[]) AS scripts (revision, digest)
"""


class Journal:
    """The log of a target while revisions are run, and what of a script is done already."""

    def __init__(self, connection: sa.Connection, log: Log) -> None:
        """Use `open_journal`."""
        self._connection = connection
        self._table = log.table
        self._runs = _runs()
        self.log = log
        self._row: tuple[str, datetime] | None = None
        self._closed: tuple[str, datetime] | None = None
        """The row that was closed in a transaction that may not be committed yet."""
        self._next: tuple[str, datetime] | None = None
        """The row that was written in it for the following revision."""
        self._open = True
        """Whether the log may have unfinished runs of other revisions; only this command writes to it now."""
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
        adjacent: Callable[[], tuple[list[str], list[str]]],
        *,
        digest: str,
        resumable: bool,
    ) -> str:
        """Write down that a revision is begun, and read how far an earlier run came; outside a transaction.

        Args:
            revision: Which.
            direction: `upgrade` or `downgrade`.
            adjacent: Returns the revisions that may be run next, up and down: only they can be half done.
            digest: Of the script.
            resumable: Whether the script commits before its end.

        Returns:
            Why steps of an earlier run are done again; empty if none is.
        """
        self.resumable = resumable
        again = self._row is not None and self._row[0] == revision
        if not again and not self._open:
            self._steps, self._positions, self._left = {}, {}, Counter()
            if self._next is None:
                insert, values = self._insertion(revision, direction, digest)
                # Whatever is committed after the row makes it durable, too; a crash before that leaves nothing to tell.
                ((started,),) = at_once(self._connection, f"{UNWAITED}; {insert}", values)
                self._next = revision, started
            self._row, self._next = self._next, None
            return ""
        with self._connection.begin(), self._cursor() as cursor:
            _settle(cursor, self._table, adjacent())
            cursor.execute(LEFT.format(self._table), (revision, direction))
            row: tuple[Any, ...] = cursor.fetchone() or ({},)
            progress: dict[str, Any] = row[0]
            note = self._read(cursor, progress)
            if again:
                self._set(cursor, outcome=RUNNING)
                return note
            cursor.execute(INTERRUPT.format(self._table), (INTERRUPTED, RUNNING))
            cursor.execute(OPEN.format(self._table))
            (self._open,) = cursor.fetchone()
            text = self._text() if self._steps or self._positions else None
            cursor.execute(*self._insertion(revision, direction, digest, text))
            self._row = revision, cursor.fetchone()[0]
            return note

    def _insertion(
        self, revision: str, direction: str, digest: str, text: str | None = None
    ) -> tuple[str, Sequence[object]]:
        """Return the statement that writes the row of a revision, with its progress, and its values."""
        values = revision, direction, *self._runs, RUNNING, text
        if self.log.fault:
            return INSERT.format(table=self._table, digest="", value=""), values
        return INSERT.format(table=self._table, digest=", digest", value=", %s"), (*values, digest)

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
            cursor.execute(DEFERRED)  # by the usual search path, which what follows takes away
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
        """Forget the steps of a transaction that was rolled back, the end of its row, and the row of the next one."""
        self._uncommitted.clear()
        self._row, self._closed, self._next = self._row or self._closed, None, None

    def position(self, sql: str) -> Sequence[str] | None:
        """Return the position of a long step."""
        record = self._positions.get(identity.name(sql))
        return record["at"] if record else None

    def move(self, cursor: Any, sql: str, position: Sequence[str]) -> None:
        """Write down the position of a long step by this cursor, in the transaction that moves it."""
        name = identity.name(sql)
        if name not in self._positions:
            cursor.execute(DEFERRED)
            self._positions[name] = {"on": self._identity(cursor, sql)}
        self._positions[name]["at"] = position
        self._write(cursor)

    def closing(self, cursor: Any, seconds: float) -> str:
        """Return the statement that closes the row of a revision that is done, in the transaction of its stamp."""
        return filled(cursor, *self._change(outcome=DONE, seconds=round(seconds, 3), progress=None))

    def opening(self, cursor: Any, revision: str, direction: str, digest: str) -> str:
        """Return the statement that writes the row of the following revision there; empty if `begin` must do it."""
        return "" if self._open else filled(cursor, *self._insertion(revision, direction, digest))

    def turned(self, following: tuple[str, datetime] | None) -> None:
        """Take over that these statements have run: the following revision, and when it was begun, if it was."""
        self._uncommitted.clear()
        self._row, self._closed, self._next = None, self._row, following

    def end(self, outcome: str, seconds: float) -> None:
        """Close the row of a revision that failed or was interrupted, outside of its transaction."""
        self._row, self._next = self._row or self._next, None
        if self._row is None:
            return
        with self._cursor() as cursor:
            self._set(cursor, outcome=outcome, seconds=round(seconds, 3))
        self._uncommitted.clear()

    def _cursor(self) -> AbstractContextManager[Any]:
        return cursor_of(self._connection)

    def _identity(self, cursor: Any, sql: str) -> identity.Identity:
        return identity.of(cursor, sql, usual_path(self._connection).schemas, self._table)

    def _write(self, cursor: Any) -> None:
        if self._row:
            update, values = self._change(progress=self._text())
            cursor.execute(f"{DEFERRED}; {update}", values)

    def _text(self) -> str:
        return json.dumps({"steps": self._steps, "positions": self._positions})

    def _set(self, cursor: Any, **values: object) -> None:
        """Change the row of the revision that runs."""
        cursor.execute(*self._change(**values))

    def _change(self, **values: object) -> tuple[str, Sequence[object]]:
        """Return the statement that changes the row of the revision that runs, and its values."""
        progress = f"progress = {'%s::jsonb' if 'progress' in values else 'progress'} || {WRITTEN}"
        columns = ", ".join([*(f"{name} = %s" for name in values if name != "progress"), progress])
        update = UPDATE.format(table=self._table, columns=columns)
        return update, (*values.values(), *(self._row or ()))


def open_journal(database: Database, connection: sa.Connection) -> Journal | None:
    """Return the log of a database, made if it is missing; None where the user may not make or write it.

    An upgrade needs no log: without one, an interrupted script looks into the catalog for what it has done.
    """
    made = log.made(database, connection.connection.driver_connection)
    return Journal(connection, made) if made else None


def restored(cursor: Any, into: Log, plan: Sequence[Revision], seconds: float) -> None:
    """Write into the log that revisions were made at once, in so many seconds, in the transaction that makes them."""
    scripts = [[revision.id for revision in plan], [revision.digest for revision in plan]]
    insert = RESTORED.format(table=into.table, digest="" if into.fault else ", digest")
    cursor.execute(insert, (seconds / len(plan), *_runs(), DONE, *scripts))


def settle(
    database: Database,
    cursor: Any,
    path: SearchPath,
    adjacent: tuple[list[str], list[str]] = ([], []),
    revisions: Sequence[str] | None = None,
) -> None:
    """After a stamp, in its transaction, write into the log that what it says of some revisions no longer counts.

    Dropped is the progress of half done revisions that can no longer be next, and which scripts ran.

    Args:
        database: Where.
        cursor: In the transaction of the stamp.
        path: The usual search path.
        adjacent: The revisions that may be run next, up and down.
        revisions: Which were run without the log; None: a stamp says of all what the database is.
    """
    if (table := existing(database, cursor, path)) is None:
        return
    if log.is_writable(cursor, table):
        _settle(cursor, table, adjacent)
        if log.has_digest(cursor, table):
            forget = FORGET if revisions is None else f"{FORGET} AND revision = ANY (%s)"
            cursor.execute(forget.format(table), revisions and ([*revisions],))


def _settle(cursor: Any, table: str, adjacent: tuple[list[str], list[str]]) -> None:
    values = {"ended": json.dumps(ENDED), "up": adjacent[0], "down": adjacent[1]}
    cursor.execute(SETTLE.format(table), values)


def _runs() -> tuple[str, str, str]:
    """Return who runs revisions, on which machine, with which version."""
    return _person(), socket.gethostname(), __version__


def _person() -> str:
    """Return who started the command, if the machine knows; the user of the database follows."""
    try:
        return f"{getpass.getuser()} as "
    except (KeyError, OSError):  # of a container's account without a name
        return ""
