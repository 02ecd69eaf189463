"""A backfill as tests run it: in a session of its own, with its checkpoint in memory."""

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
def opened(database: Database, told: list[str]) -> Iterator[Autocommit]:
    """Open a session in which statements commit by themselves."""
    with database.connect(autocommit=True, usual_path=True) as connection:
        context.of(connection).listener = Heard(on_wait=told.append, on_progress=told.append)
        yield Autocommit(connection)


def fill(database: Database, work: Backfill, place: Place | None = None) -> int:
    with opened(database, []) as session:
        return backfill.run(session, work, place or Place())
