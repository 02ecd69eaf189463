"""One command at a time may change a database by a history.

The connection that works holds the lock, so that it ends when the last statement has ended, also that of a command
that was killed. It is polled: a session that waits in the server for an advisory lock would block CREATE INDEX
CONCURRENTLY, which waits for all others (PostgreSQL manual, CREATE INDEX, "Building Indexes Concurrently").

It is held twice. Whether a session still has a lock is known at once by giving one of the two back, which keeps others
out all the same (PostgreSQL manual, "Advisory Locks"); pg_locks would look through all locks of the server.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import psycopg2

from postgres_database.errors import ExpectedError
from postgres_database.running import context, stamped
from postgres_database.running.listener import Listener
from postgres_database.server import pooler, transactions
from postgres_database.server.connection import Database
from postgres_database.server.transactions import SearchPath

if TYPE_CHECKING:  # what restores a dump does without it
    import sqlalchemy as sa

Key = dict[str, str | None]
"""Schema and name of the version table, by which other commands are kept out."""
POLLED = 0.2  # seconds
KEY = stamped.LOCK.format(schema="%(schema)s", name="%(name)s")
TRY = f"pg_try_advisory_lock({KEY})"
GIVE_BACK = f"pg_advisory_unlock({KEY})"
TAKE_TWICE = f"SELECT CASE WHEN {TRY} THEN {TRY} ELSE false END"
UNLOCK = f"SELECT {GIVE_BACK}, {GIVE_BACK}"
STILL_HELD = f"CASE WHEN {GIVE_BACK} THEN {TRY} ELSE false END"
# Without the rights of pg_monitor, only pid and user of another user's session are visible.
WHO_LOCKS = f"""
    SELECT concat('pid ', a.pid, ' (', a.usename, ' at ' || host(a.client_addr), ')',
                  ' since ' || to_char(a.backend_start, 'YYYY-MM-DD HH24:MI:SS'))
    FROM pg_locks l
    JOIN pg_stat_activity a USING (pid)
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND (l.classid::bigint << 32 | l.objid::bigint) = {KEY}
    """  # noqa: S608 - a constant
# The server looks whether we are still there, also in the middle of a statement (PostgreSQL manual, "Connection
# Settings"); it cannot on every system.
WATCHFUL = (
    "SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 2; SET tcp_keepalives_count = 3",
    "SET client_connection_check_interval = '1s'",
    # As pg_dump does: an application's limits would end the session, and what the server says then does not arrive.
    """SELECT set_config(name, '0', false) FROM pg_settings
    WHERE name IN ('idle_session_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout')""",
)


@contextmanager
def one_command_at_a_time(
    database: Database, driver: Any, listener: Listener, wait: float | None
) -> Iterator[Key]:
    """Wait until no other command changes this database by this history, and keep others out; yield the key.

    The connection, of the driver, is the one that will work. The listener hears once of each session that is waited
    for, for `wait` seconds at most; None: for ever.

    Raises:
        ExpectedError: Another command still works, or a pooler stands between that cannot keep a lock.
    """
    pooler.require_session(database, driver)
    for statement in WATCHFUL:
        with suppress(psycopg2.Error):
            transactions.by_itself(driver, statement)
    with transactions.ours(driver) as (cursor, path):
        key = _key(database, cursor, path)
    _take(database, driver, key, listener, wait)
    try:
        yield key
    finally:
        if not driver.closed:  # else the lock has ended with it
            with suppress(psycopg2.Error):  # it may be lost all the same
                driver.rollback()
                transactions.by_itself(driver, UNLOCK, key)


def _key(database: Database, cursor: Any, path: SearchPath) -> Key:
    return {"schema": database.version_schema(cursor, path), "name": database.versions.name}


def holder(database: Database, cursor: Any, path: SearchPath) -> str:
    """Return which session changes a database by this history now; empty if none does. In a transaction of ours."""
    cursor.execute(WHO_LOCKS, _key(database, cursor, path))
    return _said(cursor.fetchall())


def _said(sessions: list[tuple[Any, ...]]) -> str:
    return next((str(who) for (who,) in sessions), "")


def held(connection: sa.Connection, cursor: Any) -> str:
    """Return the expression that tells whether a connection still has the lock that it took, if it took one."""
    key = context.of(connection).lock
    return transactions.filled(cursor, STILL_HELD, key) if key else "true"


def given_back() -> ExpectedError:
    """Return the error for a script that has given back the lock."""
    return ExpectedError(
        "the script has given back the lock that keeps other commands out; it is not stamped",
        cause="it ran pg_advisory_unlock_all(), DISCARD ALL or the like",
        hint="invoke edit   (leave that out; pg_advisory_unlock(…) gives back a lock of its own)",
    )


def _take(
    database: Database, driver: Any, key: Key, listener: Listener, wait: float | None
) -> None:
    started = time.monotonic()
    reported = ""
    while True:
        if transactions.by_itself(driver, TAKE_TWICE, key) == [(True,)]:
            return
        others = transactions.by_itself(driver, WHO_LOCKS, key)
        who = _said(others) or reported or "another session"
        if wait is not None and time.monotonic() - started >= wait:
            raise ExpectedError(
                f"{database.dsn} is being changed by another command; nothing was done",
                cause=f"it is {who}; waited {wait:g} s",
                hint=f"invoke status{database.env_option}   (and the same command again, or with a longer --wait)",
            )
        if who != reported:
            listener.wait(f"another command: {who}")
            reported = who
        time.sleep(POLLED)
