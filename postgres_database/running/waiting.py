"""Locks that others hold: who does, and when to try again."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from textwrap import shorten
from typing import Any

from postgres_database.server.connection import Database
from postgres_database.server.transactions import SAFELY
from postgres_database.sql.tokens import without_literals

PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
"""Seconds between tries, before they are jittered; after the last one there is one more try."""
SHORTEST_LOOK, LONGEST_LOOK = 0.02, 1.0  # seconds
SHOWN = 100  # characters of a query

SESSION = """a.pid, coalesce(nullif(a.application_name, ''), a.usename, a.backend_type), coalesce(a.state, ''),
    extract(epoch FROM clock_timestamp() - coalesce(a.xact_start, a.backend_start))::int, coalesce(a.query, '')"""
# A prepared transaction has no process; it blocks as 0, and which one does is not said (PostgreSQL manual,
# pg_blocking_pids).
BLOCKERS = f"""
    WITH b AS (SELECT unnest(pg_blocking_pids(%s)) AS pid)
    (SELECT {SESSION}
     FROM b JOIN pg_stat_activity a ON a.pid = b.pid
     ORDER BY a.xact_start)
    UNION ALL
    SELECT 0, format('%%L', gid), owner, extract(epoch FROM clock_timestamp() - prepared)::int, ''
    FROM pg_prepared_xacts
    WHERE database = current_database() AND 0 IN (SELECT pid FROM b)
"""  # noqa: S608 - a constant
# CREATE INDEX CONCURRENTLY waits for all who may still see rows as they were before it began.
OLDER = f"""
    SELECT {SESSION}
    FROM pg_stat_activity a
    WHERE a.datname = current_database() AND a.pid <> pg_backend_pid() AND a.backend_xmin IS NOT NULL
      AND a.backend_type = 'client backend' AND a.xact_start < clock_timestamp() - interval '1 s'
    ORDER BY a.xact_start
"""  # noqa: S608 - a constant


@dataclass
class Watch:
    """Which sessions were seen to block the watched one, in words; empty if none."""

    seen: str = ""


def pauses() -> Iterator[float]:
    """Yield how many seconds to wait before each next try: doubled, and never the same for two runners."""
    for seconds in PAUSES:
        yield seconds * random.uniform(0.75, 1.25)  # noqa: S311 - no secret


@contextmanager
def watching(
    database: Database, pid: int, lock_timeout: int, report: Callable[[str], None]
) -> Iterator[Watch]:
    """Watch from a second session, while the block runs, which sessions block the first one.

    If the second session is lost or refused, it is opened again; until then nothing is seen.

    Args:
        database: Where.
        pid: The server's process of the session that may be blocked.
        lock_timeout: Milliseconds that it waits for a lock: the watcher must look more often.
        report: Called once for each session that a statement without such a limit waits for.
    """
    watch, done = Watch(), threading.Event()
    pause = min(max(lock_timeout / 4000, SHORTEST_LOOK), LONGEST_LOOK)
    patience = max(lock_timeout / 1000, LONGEST_LOOK) + LONGEST_LOOK

    def look(session: Any) -> None:
        since, reported = time.monotonic(), set[int]()
        session.autocommit = (
            True  # its last statement tells a backfill that it is nobody else (`pace.OTHERS`)
        )
        cursor = session.cursor()
        while not done.is_set():
            cursor.execute(f"{SAFELY}; {BLOCKERS}", (pid,))
            rows = cursor.fetchall()
            if not rows:
                since = time.monotonic()
            else:
                watch.seen = "; ".join(_said(*row) for row in rows)
                if time.monotonic() - since > patience and not {row[0] for row in rows} <= reported:
                    reported |= {row[0] for row in rows}
                    report(watch.seen)
            done.wait(pause)

    def keep_looking() -> None:
        done.wait(pause)  # what ends before that needs no second session
        while not done.is_set():
            # A lost or refused connection is tried again: looking must not end the work.
            with suppress(Exception), database.session() as own:
                look(own)
            done.wait(LONGEST_LOOK)

    thread = threading.Thread(target=keep_looking, daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        done.set()
        thread.join(LONGEST_LOOK)  # it may be connecting to a server that does not answer


def older(cursor: Any) -> str:
    """Return which sessions have been in a transaction for a while, in words; empty if none."""
    cursor.execute(f"{SAFELY}; {OLDER}")
    return "; ".join(_said(*row) for row in cursor.fetchall())


def _said(pid: int, who: str, state: str, seconds: int, query: str) -> str:
    if not pid:
        return (
            f"the prepared transaction {who} ({state}, {seconds} s), which COMMIT PREPARED {who} or"
            f" ROLLBACK PREPARED {who} ends"
        )
    state = f", {state}" if state else ""
    line = shorten(without_literals(query), SHOWN, placeholder=" …")
    return f"pid {pid} ({who}{state}, {seconds} s): {line}"
