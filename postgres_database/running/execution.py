"""The scripts of a plan while they run: what is done, what is committed, and what the journal records."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from alembic.runtime.migration import MigrationContext, RevisionStep

from postgres_database.errors import ExpectedError
from postgres_database.history import graph, script_errors
from postgres_database.history.graph import History, Revision
from postgres_database.history.project import Project
from postgres_database.history.project_models import Deferred
from postgres_database.running import context, lock, unfinished
from postgres_database.running.guard import Guard
from postgres_database.running.journal import Journal
from postgres_database.running.listener import Listener, Step
from postgres_database.running.log import DONE
from postgres_database.server.connection import Database
from postgres_database.server.session import Session
from postgres_database.server.transactions import scripts


def adjacent(scripts: History, current: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return the revisions that may be run next on a database that is at some revisions, up and down."""
    applied = {revision.id for revision in scripts.upto(current)}
    missing = [revision for revision in scripts.revisions if revision.id not in applied]
    up = [revision.id for revision in missing if applied.issuperset(revision.needed)]
    return up, [*graph.tips(scripts[revision_id] for revision_id in applied)]


@dataclass
class Running:
    """The scripts of a plan while they run: what is done, what is committed, and what the journal records."""

    project: Project
    database: Database
    connection: sa.Connection
    journal: Journal | None
    """The log of the database, if it has one."""
    verb: str
    """`upgrade` or `downgrade`."""
    plan: Sequence[Revision]
    listener: Listener
    """Hears of each script that is committed."""
    models: object = None
    """Alembic's `target_metadata`, as env.py gave it; if ours, the one that was asked."""

    def __post_init__(self) -> None:
        """Begin with nothing done."""
        self.session = Session(self.connection)
        self.guard = Guard(self.connection)
        self.left = [*self.plan]
        self._up = self.verb == "upgrade"
        self._unfinished = unfinished.find(self.connection)
        self._begun: Revision | None = None
        self._uncommitted: list[Step] = []
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """How long the revision runs."""
        return time.monotonic() - self._started

    def begin(self, current: tuple[str, ...]) -> bool:
        """Write into the journal what is run next on a database at these revisions; false if nothing is left."""
        scripts = self.project.history
        applied = {revision.id for revision in scripts.upto(current)}
        while self.left and (self.left[0].id in applied) == self._up:
            self.left.pop(0)
        if self.left and self.journal:
            beside, online = adjacent(scripts, applied), self.left[0].online
            note = self.journal.begin(
                self.left[0].id,
                self.verb,
                beside,
                digest=self.left[0].digest,
                resumable=online,
            )
            if note:
                self.listener.progress(f"revision {self.left[0]}: {note}")
        self._started = time.monotonic()
        self._begun = self.left[0] if self.left else None
        return bool(self.left)

    def step(self, _heads: object, alembic: MigrationContext) -> Iterator[RevisionStep]:
        """Yield what Alembic is to run: one revision, so that it is committed with its stamp, whatever env.py says."""
        if not (isinstance(self.models, Deferred) and self.models.asked):
            self.models = alembic.opts.get("target_metadata")
        alembic.on_version_apply_callbacks = (*alembic.on_version_apply_callbacks, self.applied)
        script = self.project.scripts.get_revision(self.left[0].id)
        self.session.keep()
        step = RevisionStep(self.project.scripts.revision_map, script, self._up)
        step.migration_fn = self._guarded(step.migration_fn, self.left[0])
        yield from scripts(self.connection, [step])
        self.session.restore()

    def _guarded(self, script: Callable[..., None], revision: Revision) -> Callable[..., None]:
        def run(**arguments: Any) -> None:
            try:
                with self.listener.at_work(str(revision)), self.guard.script(revision):
                    script(**arguments)
            except ExpectedError as error:
                raise script_errors.located(error, self.project.folders, revision.path) from error

        return run

    def applied(self, *, step: Any, **_: Any) -> None:
        """Check what a script has left behind, in its transaction, before that is committed with the stamp."""
        revision = next(one for one in self.plan if one.id == step.up_revision_id)
        try:
            lock.require_held(self.connection)
        except ExpectedError as error:
            raise script_errors.located(error, self.project.folders, revision.path) from None
        text = unfinished.body(revision.text, self.verb)
        unfinished.require_finished(
            self.database, self.connection, revision, text, self._unfinished
        )
        self._uncommitted.append(Step(revision, self.seconds))
        if self.journal:
            self.journal.end(DONE, self.seconds)

    def end(self) -> None:
        """Report what was done; raise ExpectedError if the revision that was begun was not."""
        self.committed()
        if self._begun in self.left:
            folders = self.project.folders
            env = folders.name(folders.home / "env.py")
            raise ExpectedError(
                f"{self.verb} stopped at revision {self._begun}",
                cause="env.py caught what the script raised and went on, or one of them called sys.exit()",
                hint=f"${{EDITOR:-vi}} {env}   (let errors of context.run_migrations() through)",
            )

    def committed(self, _connection: object = None) -> None:
        """Report a step when the next transaction begins: only then its commit is certain."""
        while self._uncommitted:
            step = self._uncommitted.pop(0)
            self.left.remove(step.revision)
            self.listener.step(step)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen for commits: what a script commits before its end is written into the journal by the same commit."""
        connection, log = self.connection, self.journal
        hooks: dict[str, Callable[[object], None]] = {"begin": self.committed}
        if log:
            hooks |= {"commit": lambda _: log.write(), "rollback": lambda _: log.forget()}
        with ExitStack() as stack:
            # The guard first: what the log says is no part of the script.
            stack.enter_context(self.guard.listening())
            for name, hook in hooks.items():
                sa.event.listen(connection, name, hook)
                stack.callback(sa.event.remove, connection, name, hook)
            run = context.of(connection)
            run.journal = log
            try:
                yield
            finally:
                run.journal = None
                if not connection.closed:  # by env.py
                    self.session.close()
