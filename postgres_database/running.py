"""The scripts of a plan while they run: what is done, what is certain, and what the journal is told."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from alembic.runtime.migration import RevisionStep

from postgres_database import history, unfinished
from postgres_database.connection import Database
from postgres_database.history import Revision
from postgres_database.journal import DONE, JOURNAL, Journal
from postgres_database.session import Session
from postgres_database.settings import Settings
from postgres_database.transactions import scripts


@dataclass(frozen=True)
class Step:
    """A revision that was run."""

    revision: Revision
    seconds: float


OnStep = Callable[[Step], None]


class Running:
    """The scripts of a plan while they run: what is done, what is certain, and what the journal knows."""

    def __init__(  # noqa: PLR0913
        self,
        settings: Settings,
        database: Database,
        connection: sa.Connection,
        journal: Journal | None,
        *,
        verb: str,
        plan: Sequence[Revision],
        on_step: OnStep,
    ) -> None:
        """Begin with nothing done.

        Args:
            settings: Where the scripts are.
            database: Where they run.
            connection: To it.
            journal: The log of the database, if it has one.
            verb: `upgrade` or `downgrade`.
            plan: The scripts, in order.
            on_step: Called after each.
        """
        self._settings = settings
        self._database = database
        self._connection = connection
        self._journal = journal
        self._verb = verb
        self._plan = plan
        self._on_step = on_step
        self._unfinished = unfinished.find(connection)
        self._uncommitted: list[Step] = []
        self._started = time.monotonic()
        self.session = Session(connection)
        """What every script finds as the first one did."""
        self.left = [*plan]
        """What is not done yet."""

    @property
    def seconds(self) -> float:
        """How long the revision runs."""
        return time.monotonic() - self._started

    def steps(self, current: tuple[str, ...], _context: object) -> Iterator[RevisionStep]:
        """Yield what Alembic is to run; each is written into the journal before it begins."""
        directory = history.script_directory(self._settings)
        applied = {revision.id for revision in history.read(self._settings).upto(current)}
        up = self._verb == "upgrade"
        for each in self._plan:
            if (each.id in applied) == up:
                continue
            if self._journal:
                self._connection.commit()  # what Alembic has read
                self._journal.begin(each.id, self._verb, resumable=each.online)
            self._started = time.monotonic()
            self.session.keep()
            step = RevisionStep(directory.revision_map, directory.get_revision(each.id), up)
            yield from scripts(self._connection, [step])
            self.session.restore()

    def applied(self, *, step: Any, **_: Any) -> None:
        """Look at what a script has left, in its transaction, before that is committed with the stamp."""
        revision = next(each for each in self._plan if each.id == step.up_revision_id)
        before = self._unfinished
        unfinished.refuse(self._database, self._connection, revision, revision.text, before)
        self._uncommitted.append(Step(revision, self.seconds))
        if self._journal:
            self._journal.end(DONE, self.seconds)

    def committed(self, _connection: object = None) -> None:
        """Tell a step when the next transaction begins: only then it is certain."""
        while self._uncommitted:
            step = self._uncommitted.pop(0)
            self.left.remove(step.revision)
            self._on_step(step)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hear what is committed; what a script commits before its end is written into the journal with it."""
        connection, log = self._connection, self._journal
        hooks: dict[str, Callable[[object], None]] = {"begin": self.committed}
        if log:
            hooks |= {"commit": lambda _: log.write(), "rollback": lambda _: log.forget()}
        for name, hook in hooks.items():
            sa.event.listen(connection, name, hook)
        connection.info[JOURNAL] = log
        try:
            yield
        finally:
            self.session.close()
            connection.info.pop(JOURNAL, None)  # a connection that was lost has none
            for name, hook in hooks.items():
                sa.event.remove(connection, name, hook)
