"""Connection poolers: one that gives each transaction another session cannot keep our lock, and mixes up settings."""

from __future__ import annotations

import select
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import psycopg2
from psycopg2 import extensions

from postgres_database.errors import ExpectedError
from postgres_database.server import transactions
from postgres_database.server.connection import CONNECT_DEFAULTS, Database

PATIENCE = 3.0
"""Seconds for an answer: a pool whose sessions are all in use gives none, and that is no evidence."""
OTHERS = 3
LOOK = "SELECT pg_backend_pid()"
OPEN = "BEGIN; SELECT pg_backend_pid()"


def require_session(database: Database, driver: Any) -> None:
    """Raise ExpectedError if a session of ours is not one session of the server.

    libpq takes the backend's PID from whoever answered (PostgreSQL manual, "Message Flow", BackendKeyData). Where the
    server says another one, a pooler answered; then more sessions are opened to see whether they share one.
    """
    pid = None
    with (
        suppress(psycopg2.Error),
        transactions.ours(driver) as (cursor, _),
    ):  # it may allow none at all
        cursor.execute(LOOK)
        (pid,) = cursor.fetchone() or (None,)
    _require(database, driver, pid)


def require_one_session(database: Database, cursor: Any) -> None:
    """Raise the error of `require_session`; the cursor is that of `Database.reading`."""
    cursor.execute(LOOK)
    (pid,) = cursor.fetchone()
    _require(database, cursor.connection, pid)


def _require(database: Database, driver: Any, pid: int | None) -> None:
    if pid != driver.info.backend_pid and _is_shared(database):
        raise ExpectedError(
            f"{database.dsn} is behind a pooler that gives every transaction another session; nothing was done",
            cause="locks and settings belong to a session of the server: the lock that keeps other commands out would"
            " be lost, and what pg_dump sets, such as an empty search path, would reach other clients",
            hint=database.until("it names the server itself, or a pool in session mode"),
        )


def _is_shared(database: Database) -> bool:
    """Tell whether two sessions of ours have the same backend, or one has two."""
    with ExitStack() as sessions:
        try:
            ours = sessions.enter_context(_session(database))
            met = {_ask(ours, LOOK), _ask(ours, LOOK)}
            for _ in range(OTHERS):
                other = _ask(sessions.enter_context(_session(database)), OPEN)
                if other in met:
                    return True
                met.add(_ask(ours, LOOK))
        except (TimeoutError, psycopg2.OperationalError):  # no further session is to be had
            return False
    return len(met) > 1


@contextmanager
def _session(database: Database) -> Iterator[Any]:
    """Open a session that never makes us wait."""
    parameters: dict[str, Any] = {**CONNECT_DEFAULTS, **database.dsn.parameters(), "async_": True}
    session = psycopg2.connect(**parameters)
    try:
        _wait(session)
        yield session
    finally:
        session.close()


def _ask(session: Any, sql: str) -> int:
    """Return the PID of the backend of a session."""
    cursor = session.cursor()
    cursor.execute(sql)
    _wait(session)
    (pid,) = cursor.fetchone()
    return int(pid)


def _wait(session: Any) -> None:
    deadline = time.monotonic() + PATIENCE
    while (state := session.poll()) != extensions.POLL_OK:
        reading, writing = state == extensions.POLL_READ, state == extensions.POLL_WRITE
        left = deadline - time.monotonic()
        if left <= 0 or not any(select.select([session] * reading, [session] * writing, [], left)):
            raise TimeoutError
