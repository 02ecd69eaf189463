"""Alembic's commands on a connection; failures become ExpectedErrors."""

import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from typing import Any

import psycopg2
import sqlalchemy as sa
from alembic import command
from alembic.runtime.migration import MigrationContext
from alembic.util import CommandError
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - a class
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from postgres_database.errors import ExpectedError
from postgres_database.history import env_script, script_errors
from postgres_database.history.env_script import EnvScript
from postgres_database.history.graph import Revision
from postgres_database.history.project import Project
from postgres_database.running import context, failures, journal, lock, missing_scripts, stamped
from postgres_database.running.execution import Running
from postgres_database.running.journal import Journal
from postgres_database.running.listener import SILENT, Listener
from postgres_database.running.log import FAILED, INTERRUPTED
from postgres_database.server import transactions, writable
from postgres_database.server.connection import Database, cancelled_by_ctrl_c
from postgres_database.server.transactions import SearchPath
from postgres_database.sql.names import identifier


class BlockedError(ExpectedError):
    """A revision did not get a lock; it was rolled back as a whole and may be run again."""

    def __init__(self, revision: Revision, error: ExpectedError) -> None:
        """Add the revision to an error."""
        super().__init__(error.what, cause=error.cause, hint=error.hint)
        self.revision = revision


COMMANDS: dict[str, Callable[..., None]] = {
    "upgrade": command.upgrade,
    "downgrade": command.downgrade,
}
BLOCKED = ("55P03", "40P01")
"""SQLSTATE of a lock that was not granted in time, and of a deadlock."""


@dataclass(frozen=True)
class Runner:
    """Alembic on one connection to one database. Use `runner.open_runner`."""

    project: Project
    database: Database
    connection: sa.Connection
    journal: Journal | None = None
    """The log of the target; scratch databases have none."""
    unwaited: bool = False
    """Whether only the last of the commits waits for the disk: nothing is lost that a new run would not make again."""

    @property
    def driver(self) -> Any:
        """The driver's connection."""
        return self.connection.connection.driver_connection

    @contextmanager
    def ours(self) -> Iterator[tuple[Cursor, SearchPath]]:
        """Run the block in a transaction of ours; see `transactions.ours`."""
        with self.connection.begin(), transactions.driven(self.connection) as ours:
            yield ours

    def current(self) -> tuple[str, ...]:
        """Return the revisions that the database is stamped with."""
        with self.ours() as ours:
            return stamped.read(self.database, *ours)

    def require_route(self) -> tuple[tuple[str, ...], tuple[Project, ...]]:
        """Return the revisions that the database is stamped with, and `Project.route` from there.

        Raises:
            ExpectedError: A script is missing.
        """
        current = self.current()
        route = self.project.route(current)
        missing_scripts.require_scripts(route[0].history, self.database, current)
        return current, route

    def upgrade(self, plan: Sequence[Revision], listener: Listener = SILENT) -> object:
        """Run the upgrades of `plan`; see `run`."""
        return self.run("upgrade", plan, listener)

    def downgrade(self, plan: Sequence[Revision]) -> object:
        """Run the downgrades of `plan`; see `run`."""
        return self.run("downgrade", plan, SILENT)

    def stamp(self, targets: Sequence[str], *, purge: bool = False) -> None:
        """Write revisions into the version table, in one transaction, and run nothing.

        A script that was half done begins anew after that: a stamp says what the database is.
        """
        directory = self.project.scripts
        try:
            with self.ours() as ours:
                options = stamped.ready(self.database, *ours)
                alembics = MigrationContext.configure(self.connection, opts=options)
                if purge:
                    stamped.clear(self.database, *ours)
                goals: Any = list(targets)  # Alembic takes several; its type hint does not say so
                alembics.stamp(directory, goals)
                journal.settle(self.database, *ours)
        except (DBAPIError, psycopg2.Error) as error:
            what = f"{self.database.dsn} cannot be stamped"
            raise failures.failure(self.project, self.database, error, "stamp", what) from error

    def require_writable(self) -> None:
        """Raise ExpectedError if the database is read-only."""
        writable.require_writable(self.database, self.connection)

    @contextmanager
    def alone(self, listener: Listener, wait: float | None = None) -> Iterator[None]:
        """Wait until no other command changes this database by this history, and keep others out."""
        run = context.of(self.connection)
        with lock.one_command_at_a_time(self.database, self.driver, listener, wait) as key:
            run.lock = key
            try:
                yield
            finally:
                run.lock = None
                with suppress(SQLAlchemyError, psycopg2.Error):  # it may be lost
                    self.connection.rollback()

    def run(self, verb: str, plan: Sequence[Revision], listener: Listener) -> object:
        """Run scripts in this order, each in a transaction of its own together with its stamp.

        Returns:
            Alembic's `target_metadata`, as env.py gave it to them; see `execution.Running.models`.

        Raises:
            ExpectedError: A revision failed and was rolled back; those before it stay.
        """
        if not plan:
            return None
        running = Running(
            self.project,
            self.database,
            self.connection,
            self.journal,
            verb,
            plan,
            listener,
            self.unwaited,
        )
        with self.ours() as ours:
            options = stamped.ready(self.database, *ours)
        try:
            with running.listening(), cancelled_by_ctrl_c(self.driver):
                while running.begin(self.current()):
                    env_script.run(
                        self.project, self.database, self.connection, running.steps, **options
                    )
                    running.end()
        except ExpectedError as error:
            self._end(FAILED, running)
            if running.guard.ended:
                raise failures.ended(self.database, verb, running.revision, error.cause) from error
            raise
        except Exception as error:
            self._end(FAILED, running)
            if running.guard.lost and not self.connection.closed:
                raise failures.lost(self.database, error, verb, running.revision) from error
            failure = failures.failure(
                self.project, self.database, error, verb, self._stopped(verb, running.revision)
            )
            if running.guard.ended:
                raise failures.ended(
                    self.database, verb, running.revision, failure.cause
                ) from error
            if failures.code(error) in BLOCKED:
                raise BlockedError(running.revision, failure) from error
            raise failure from error
        except BaseException:
            self._end(INTERRUPTED, running)
            raise
        return running.models

    def _end(self, outcome: str, run: Running) -> None:
        """Bring the session back to what it was before a script failed, and write that down."""
        if self.connection.closed:  # by env.py
            return
        transactions.leave(self.connection)
        if self.connection.invalidated:
            return
        transactions.wait_for_disk(self.connection, wait=True)
        with suppress(psycopg2.Error, SQLAlchemyError):  # the connection may be lost
            self.connection.rollback()
            run.session.restore()
            if self.journal:
                with self.connection.begin():
                    self.journal.end(outcome, run.seconds)

    def _stopped(self, verb: str, revision: Revision) -> str:
        if self.database.label == "scratch":
            return f"the history does not run on a scratch database: {verb} of revision {revision}"
        parts = f"{verb} stopped at revision {revision}; its transaction was rolled back"
        return parts + (", but not what it did outside of it" if revision.online else "")


@contextmanager
def open_runner(project: Project, database: Database) -> Iterator[Runner]:
    """Connect to a database and run Alembic there."""
    with database.connect() as connection:
        runner = Runner(project, database, connection)
        try:
            yield runner
        except (DBAPIError, psycopg2.Error) as error:
            if failures.is_lost(error):
                if not connection.closed:
                    connection.invalidate(error)
                raise failures.lost(database, error, "status") from error
            what = f"{database.dsn} refused a statement"
            raise failures.failure(project, database, error, "status", what) from error


def offline(project: Project, verb: str, start: str, end: str, env_option: str = "") -> str:
    """Return the SQL that would bring a database from one revision to another.

    Raises:
        ExpectedError: A script cannot be printed without a database.
    """
    config = project.alembic_config()
    config.output_buffer = output = io.StringIO()
    if project.places:  # Alembic reads the scripts itself, and from alembic.ini
        config.set_main_option("path_separator", "newline")
        places = "\n".join(map(str, project.places))
        config.set_main_option("version_locations", places.replace("%", "%%"))
    said = io.StringIO()  # what scripts print is no part of the SQL
    try:
        with script_errors.explained(project.folders), redirect_stdout(said):
            COMMANDS[verb](config, f"{start}:{end}", sql=True)
    except ExpectedError as error:
        if not error.__cause__:  # the script itself refuses, and says why
            raise
        hint = f"invoke {verb}{env_option}   (a script that reads rows cannot be printed)"
        raise error.with_(hint=hint) from error
    except (Exception, SystemExit) as error:
        if isinstance(error, Exception) or not output.getvalue():
            raise EnvScript(project).failed(error, str(error)) from error
    if not output.getvalue():
        raise EnvScript(project).error(
            "ended without printing anything", "it never came to context.run_migrations()"
        )
    # The table is there already in a database that was brought back to base.
    schema = f"{identifier(project.versions.schema)}." if project.versions.schema else ""
    table = f"{schema}{identifier(project.versions.name)}"
    if f" {table} " not in output.getvalue():
        raise EnvScript(project).error(
            f"prints SQL for another version table than {table}",
            "where it prints, it does not give version_table and version_table_schema to context.configure",
        )
    create, tolerant = f"CREATE TABLE {table} (", f"CREATE TABLE IF NOT EXISTS {table} ("
    return output.getvalue().replace(create, tolerant, 1)


def alembic(project: Project, name: str, *args: Any, **options: Any) -> str:
    """Run a command of Alembic that needs no database and return what it prints.

    Raises:
        ExpectedError: The scripts cannot be read, there is no such revision, or `current` is asked for, which only a
            database knows.
    """
    named = [arg for arg in (*args, *options.values()) if isinstance(arg, str)]
    if any("current" in text.split(":") for text in named):
        raise ExpectedError(
            f"{name} does not know which revision is the current one",
            cause="it asks no database",
            hint="invoke current   (tells it; then name the revision)",
        )
    scripts = project.history
    for revision in (part for text in named for part in re.split(r"[:,]", text)):
        if re.fullmatch(r"\w+", revision) and revision != "heads":
            scripts.resolve(revision)
    config = project.alembic_config()
    printed = io.BytesIO()
    config.stdout = io.TextIOWrapper(printed, encoding="utf-8", write_through=True)
    config.cmd_opts = None  # not quiet: what it says is what was asked for
    try:
        getattr(command, name)(config, *args, **options)
    except (CommandError, AssertionError) as error:  # the latter for a range that crosses branches
        cause = (
            str(error) or "Alembic finds no order for that range, in which one branch needs another"
        )
        hint = f"invoke {name} --help"
        raise ExpectedError(f"invoke {name} cannot do that", cause=cause, hint=hint) from error
    return printed.getvalue().decode()
