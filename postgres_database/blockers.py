"""Locks that are not to be had: who holds them, and when to try again."""

import random
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from textwrap import shorten

import sqlalchemy as sa

from postgres_database.connection import Database
from postgres_database.tokens import TOKEN

PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
"""Seconds between tries, before they are jittered; after the last one there is one more try."""
SHORTEST_LOOK, LONGEST_LOOK = 0.02, 1.0  # seconds
SHOWN = 100  # characters of a query

# Prepared transactions block, too, but have no process (PostgreSQL manual, pg_blocking_pids).
BLOCKERS = sa.text(
    """
    SELECT a.pid, coalesce(nullif(a.application_name, ''), a.usename, a.backend_type), coalesce(a.state, ''),
           extract(epoch FROM clock_timestamp() - coalesce(a.xact_start, a.backend_start))::int, coalesce(a.query, '')
    FROM unnest(pg_blocking_pids(:pid)) AS b (pid)
    JOIN pg_stat_activity a ON a.pid = b.pid
    ORDER BY a.xact_start
    """
)


@dataclass
class Watch:
    """Who has been seen in the way of a session, in words; empty if nobody."""

    seen: str = ""


def pauses() -> Iterator[float]:
    """Yield how many seconds to wait before each next try: doubled, and never the same for two runners."""
    for seconds in PAUSES:
        yield seconds * random.uniform(0.75, 1.25)  # noqa: S311 - nobody gains by guessing it


@contextmanager
def watching(database: Database, pid: int, lock_timeout: int) -> Iterator[Watch]:
    """Look from another session, as long as the block runs, who stands in the way of a session.

    Args:
        database: Where.
        pid: The server's process of the session that may be blocked.
        lock_timeout: Milliseconds that it waits for a lock: within that time somebody must look.
    """
    watch, done = Watch(), threading.Event()
    pause = min(max(lock_timeout / 4000, SHORTEST_LOOK), LONGEST_LOOK)

    def look(connection: sa.Connection) -> None:
        while not done.wait(pause):
            if rows := connection.execute(BLOCKERS, {"pid": pid}).all():
                watch.seen = "; ".join(_said(*row) for row in rows)

    with database.connect(autocommit=True) as connection:
        thread = threading.Thread(target=look, args=(connection,), daemon=True)
        thread.start()
        try:
            yield watch
        finally:
            done.set()
            thread.join()


def _said(pid: int, who: str, state: str, seconds: int, query: str) -> str:
    state = f", {state}" if state else ""
    return f"pid {pid} ({who}{state}, {seconds} s): {without_literals(query)}"


def without_literals(query: str) -> str:
    """Return a query shortened to a line that holds no value of any row."""

    def masked(token: re.Match[str]) -> str:
        return "…" if token["quoted"] and not token[0].startswith('"') else token[0]

    text = re.sub(r"(?<![\w.])\d+(?:\.\d+)?", "…", TOKEN.sub(masked, query))
    return shorten(text, SHOWN, placeholder=" …")
