"""What the operations of a script find on their connection: who listens, and where progress is kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from postgres_database.running.journal import Journal
from postgres_database.running.listener import SILENT, Listener

if TYPE_CHECKING:  # what restores a dump does without it
    import sqlalchemy as sa

KEY = "postgres_database.run"


@dataclass
class RunContext:
    """What a run of scripts has beside its connection."""

    listener: Listener = SILENT
    journal: Journal | None = None
    """What was done of the script that runs; scratch databases have none."""
    lock: dict[str, str | None] | None = None
    """The key of the lock by which other commands are kept out, while it is held."""
    between: Callable[[], None] = lambda: None
    """Looks at the database before each statement that commits by itself."""
    rests: bool = True
    """Whether a backfill rests while others are at work; where only its own time is of interest, it does not."""


def of(connection: sa.Connection) -> RunContext:
    """Return the context of a connection, which has one from the first time that it is asked for."""
    context: RunContext = connection.info.setdefault(KEY, RunContext())
    return context
