"""The scripts of a plan while they run: what is done, what is committed, and what the journal records."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import sqlalchemy as sa
from alembic.runtime.migration import MigrationContext, RevisionStep
from alembic.script import Script

from postgres_database.errors import ExpectedError
from postgres_database.history import graph, script_errors
from postgres_database.history.graph import History, Revision
from postgres_database.history.operations import RefusedError
from postgres_database.history.project import Project
from postgres_database.history.project_models import Deferred
from postgres_database.running import context, lock, unfinished
from postgres_database.running.guard import Guard
from postgres_database.running.journal import Journal
from postgres_database.running.listener import Listener, Step
from postgres_database.running.log import cursor_of
from postgres_database.server.connection import Database
from postgres_database.server.session import Session
from postgres_database.server.transactions import leave, wait_for_disk
from postgres_database.sql.names import Name

UPDATE = "UPDATE {} SET version_num = :new WHERE version_num = :old"
"""What Alembic runs for a stamp; it looks whether that was one row."""


def adjacent(scripts: History, current: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return the revisions that may be run next on a database that is at some revisions, up and down."""
    applied = {revision.id for revision in scripts.upto(current)}
    missing = [revision for revision in scripts.revisions if revision.id not in applied]
    up = [revision.id for revision in missing if applied.issuperset(revision.needed)]
    return up, [*graph.tips(scripts[revision_id] for revision_id in applied)]


def require_function(script: Script, revision: Revision, verb: str) -> None:
    """Raise RefusedError if a script cannot run in a direction: some teams write no downgrade()."""
    if not hasattr(script.module, verb):
        raise RefusedError(
            f"{verb} of revision {revision} is not written; nothing of it was run",
            cause=f"its script has no {verb}()",
            hint=f"invoke edit --target {revision.id}   (write {verb}() there)",
        )


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
    unwaited: bool
    """Whether only the last commit waits for the disk."""
    models: object = None
    """Alembic's `target_metadata`, as env.py gave it; if ours, the one that was asked."""

    def __post_init__(self) -> None:
        """Begin with nothing done."""
        self.session = Session(self.connection)
        self.guard = Guard(self.connection)
        self.left = [*self.plan]
        self._up = self.verb == "upgrade"
        self._unfinished = unfinished.find(self.connection)
        self._revision: Revision | None = None
        self._applied: set[str] = set()
        self._uncommitted: list[Step] = []
        self._stamp: dict[str, str] = {}
        self._started = time.monotonic()
        # The types that the scripts have made: Alembic makes each once in a command, however many tables have it.
        self._made: dict[str, Any] = {}

    @property
    def revision(self) -> Revision:
        """The revision that runs, or ran last."""
        return self._revision or self.plan[-1]

    @property
    def seconds(self) -> float:
        """How long the revision runs."""
        return time.monotonic() - self._started

    def begin(self, current: tuple[str, ...]) -> bool:
        """Write into the journal what is run next on a database at these revisions; false if nothing is left."""
        self._applied = {revision.id for revision in self.project.history.upto(current)}
        while self.left and (self.left[0].id in self._applied) == self._up:
            self.left.pop(0)
        return self._begin()

    def _begin(self) -> bool:
        self._revision = self.left[0] if self.left else None
        wait_for_disk(self.connection, wait=len(self.left) <= 1 or not self.unwaited)
        if self._revision and self.journal:
            note = self.journal.begin(
                self._revision.id,
                self.verb,
                partial(adjacent, self.project.history, self._applied),
                digest=self._revision.digest,
                resumable=self._revision.online,
            )
            if note:
                self.listener.progress(f"revision {self._revision}: {note}")
        self._started = time.monotonic()
        return self._revision is not None

    def steps(self, _heads: object, alembic: MigrationContext) -> Iterator[RevisionStep]:
        """Yield what Alembic is to run: one revision after the other, while each is committed with its stamp.

        Where env.py commits by itself only one is run, and the next run of env.py goes on.
        """
        if not (isinstance(self.models, Deferred) and self.models.asked):
            self.models = alembic.opts.get("target_metadata")
        alembic.impl.memo = self._made
        alembic.on_version_apply_callbacks = (*alembic.on_version_apply_callbacks, self.applied)
        self.session.keep()
        table = Name(alembic.version_table_schema or "", alembic.version_table).sql
        self._update = sa.text(UPDATE.format(table.replace(":", r"\:")))
        directory = self.project.scripts
        more = True
        while more:
            revision = self.left[0]
            script = directory.get_revision(revision.id)
            try:
                require_function(script, revision, self.verb)
            except RefusedError as error:
                raise script_errors.located(error, self.project.folders, revision.path) from error
            step = RevisionStep(directory.revision_map, script, self._up)
            step.migration_fn = self._guarded(step.migration_fn, revision)
            self.guard.expect(revision)
            yield step
            leave(self.connection)
            committed = not self.connection.in_transaction()
            if committed:
                self.committed()
            more = committed and self._begin()

    def _guarded(self, script: Callable[..., None], revision: Revision) -> Callable[..., None]:
        def run(**arguments: Any) -> None:
            try:
                with self.listener.at_work(str(revision)), self.guard.script():
                    script(**arguments)
            except ExpectedError as error:
                raise script_errors.located(error, self.project.folders, revision.path) from error
            if len(revision.parents) == 1 and not revision.dependencies:
                old, new = (*revision.parents, revision.id)[:: 1 if self._up else -1]
                self._stamp = {"old": old, "new": new}

        return run

    def _stamping(
        self, _connection: object, statement: object, many: object, one: object, _: object
    ) -> tuple[object, object, object]:
        """Replace Alembic's statement for a revision with one parent by its text, which is compiled once for all."""
        stamp, self._stamp = self._stamp, {}
        if stamp and isinstance(statement, sa.Update):
            return self._update, [], stamp
        return statement, many, one

    def applied(self, **_: Any) -> None:
        """Check what a script has left behind, in its transaction, before that is committed with the stamp.

        In the same round trip what it has set is undone, its row in the log is closed, and that of the next is written.
        """
        revision, following, log, started = self.revision, self.left[1:2], self.journal, "NULL"
        statements = [self.session.restoring()]
        with cursor_of(self.connection) as cursor:
            opening = ""
            if log:
                statements.append(log.closing(cursor, self.seconds))
                for each in following:
                    opening = log.opening(cursor, each.id, self.verb, each.digest)
            if opening:
                opening, started = f"WITH opened AS ({opening})", "(SELECT started FROM opened)"
            held = lock.held(self.connection, cursor)
            left = unfinished.possible(revision, self._unfinished)
            statements.append(f"{opening} SELECT {held}, {left}, {started}")
            cursor.execute("; ".join(statements))
            is_held, is_left, begun = cursor.fetchone()
        if not is_held:
            raise script_errors.located(lock.given_back(), self.project.folders, revision.path)
        if is_left:
            unfinished.require_finished(
                self.database, self.connection, revision, self.verb, self._unfinished
            )
        self._uncommitted.append(Step(revision, self.seconds))
        if log:
            log.turned((following[0].id, begun) if begun else None)

    def end(self) -> None:
        """Report what was done; raise ExpectedError if the revision that was begun was not."""
        self.committed()
        if self._revision in self.left:
            folders = self.project.folders
            env = folders.name(folders.home / "env.py")
            raise ExpectedError(
                f"{self.verb} stopped at revision {self._revision}",
                cause="env.py caught what the script raised and went on, or one of them called sys.exit()",
                hint=f"${{EDITOR:-vi}} {env}   (let errors of context.run_migrations() through)",
            )

    def committed(self, _connection: object = None) -> None:
        """Report a step when the next transaction begins: only then its commit is certain."""
        while self._uncommitted:
            step = self._uncommitted.pop(0)
            self.left.remove(step.revision)
            self._applied ^= {step.revision.id}
            self.listener.step(step)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen for commits: what a script commits before its end is written into the journal by the same commit."""
        connection, log = self.connection, self.journal
        hooks: dict[str, Callable[..., object]] = {"begin": self.committed}
        if log:
            hooks |= {"commit": lambda _: log.write(), "rollback": lambda _: log.forget()}
        with ExitStack() as stack:
            # The guard first: what the log says is no part of the script.
            stack.enter_context(self.guard.listening())
            for name, hook in hooks.items():
                sa.event.listen(connection, name, hook)
                stack.callback(sa.event.remove, connection, name, hook)
            sa.event.listen(connection, "before_execute", self._stamping, retval=True)
            stack.callback(sa.event.remove, connection, "before_execute", self._stamping)
            run = context.of(connection)
            run.journal = log
            try:
                yield
            finally:
                run.journal = None
                if not connection.closed:  # by env.py
                    self.session.close()
