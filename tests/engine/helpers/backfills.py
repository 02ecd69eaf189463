"""Runs of a backfill in a session of its own, with the checkpoint in memory."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from commands import Heard

from postgres_database.online import backfill
from postgres_database.online.backfill import Backfill
from postgres_database.running import context
from postgres_database.running.autocommit import Autocommit
from postgres_database.server.connection import Database


class Place:
    """A checkpoint in memory."""

    def __init__(self) -> None:
        self.saved: list[Sequence[str]] = []

    def load(self) -> Sequence[str] | None:
        return self.saved[-1] if self.saved else None

    def save(self, _cursor: Any, place: Sequence[str]) -> None:
        self.saved.append(place)


@contextmanager
def opened(database: Database, heard: list[str]) -> Iterator[Autocommit]:
    """Open a session in autocommit; what it waits for and its progress are appended to `heard`."""
    with database.connect(autocommit=True, usual_path=True) as connection:
        context.of(connection).listener = Heard(on_wait=heard.append, on_progress=heard.append)
        yield Autocommit(connection)


def fill(database: Database, work: Backfill, place: Place | None = None) -> int:
    """Run a backfill, from the saved place if there is one, and return what it returns: the number of rows."""
    with opened(database, []) as session:
        return backfill.run(session, work, place or Place())
