"""Alembic's commands on a connection, with their failures told in our words."""

import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from typing import Any

import psycopg2
import sqlalchemy as sa
from alembic import command
from alembic.runtime.migration import MigrationContext
from alembic.util import CommandError
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from postgres_database import (
    broken_scripts,
    env_script,
    history,
    journal,
    privileges,
    stamped,
    transactions,
    turn,
)
from postgres_database.connection import Database, cancelled_by_ctrl_c, identifier
from postgres_database.env_script import EnvScript
from postgres_database.errors import ExpectedError
from postgres_database.history import Revision
from postgres_database.journal import FAILED, INTERRUPTED, Journal
from postgres_database.running import OnStep, Running
from postgres_database.settings import Settings


class BlockedError(ExpectedError):
    """A revision did not get a lock; it was rolled back as a whole and may be run again."""

    def __init__(self, revision: Revision, error: ExpectedError) -> None:
        """Say of which revision an error is told."""
        super().__init__(error.what, cause=error.cause, hint=error.hint)
        self.revision = revision


COMMANDS: dict[str, Callable[..., None]] = {
    "upgrade": command.upgrade,
    "downgrade": command.downgrade,
}
MENDED = "invoke {verb}{env}   (once the script is mended)"
LOOK = "invoke status{env}"
LOST = "57P01 57P02 57P03 57P05 08006 25P03 25P04"
"""SQLSTATE of connections that the server ends; the driver's own words for it have none."""
BLOCKED = ("55P03", "40P01")
"""SQLSTATE of a lock that was not to be had in time, and of a deadlock."""
FOUND = (
    "invoke baseline-existing{env}   (the database may be at another revision: it finds which one)"
)
MISSING = (
    "invoke {verb}{env}   (once the script is mended; or the database is at another revision:"
    " invoke baseline-existing{env} finds which one)"
)
ADVICE = {
    "2D000": "invoke edit   (a procedure or DO block that commits must stand in `with op.online():`)",
    "42P06": FOUND,
    "42P07": FOUND,
    "42701": FOUND,
    "42710": FOUND,
    "42P01": MISSING,
    "42703": MISSING,
    "42883": MISSING,
    "53100": "invoke {verb}{env}   (once the server's disk has room)",
    "58030": "invoke {verb}{env}   (once the server can write to its disk again)",
    "25006": "invoke status{env}   (the server is a standby or read-only: the DSN must name the primary)",
    "3F000": "invoke {verb}{env}   (with options='-c search_path=public' in the DSN: no schema of its path is there)",
    "42501": "invoke psql{env} --command '\\du'   (the user of the DSN lacks a privilege)",
    "42704": "invoke psql{env}   (make there what is missing: scripts name roles, types and tablespaces)",
    "55P03": "invoke {verb}{env}   (when the table is less busy, or with a longer LOCK_TIMEOUT)",
    "57014": "invoke {verb}{env}   (with a longer STATEMENT_TIMEOUT)",
}
"""What to type next, by SQLSTATE: PostgreSQL manual, appendix A."""


@dataclass(frozen=True)
class Runner:
    """Alembic on one connection to one database. Use `runner.open_runner`."""

    settings: Settings
    database: Database
    connection: sa.Connection
    log: Journal | None = None
    """The log of the target; scratch databases have none."""

    def current(self) -> tuple[str, ...]:
        """Return the revisions that the database is stamped with."""
        with self.connection.begin():
            return stamped.read(self.database, self.connection)

    def upgrade(self, plan: Sequence[Revision], on_step: OnStep = lambda _: None) -> object:
        """Run the upgrades of `plan`, each in a transaction of its own together with its stamp.

        Returns:
            Alembic's `target_metadata`, as env.py gave it to them; see `running.Running.models`.

        Raises:
            ExpectedError: A revision failed and was rolled back; those before it stay.
        """
        return self._run("upgrade", plan, on_step)

    def downgrade(self, plan: Sequence[Revision], on_step: OnStep = lambda _: None) -> None:
        """Run the downgrades of `plan`; otherwise like `upgrade`."""
        self._run("downgrade", plan, on_step)

    def stamp(self, targets: Sequence[str], *, purge: bool = False) -> None:
        """Write revisions into the version table, in one transaction, and run nothing.

        A script that was half done is begun anew after that: a stamp says what the database is.
        """
        directory = history.script_directory(self.settings)
        try:
            with self.connection.begin():
                options = stamped.place(self.database, self.connection).options
                context = MigrationContext.configure(self.connection, opts=options)
                if purge:
                    stamped.clear(self.database, self.connection)
                goals: Any = list(targets)  # Alembic takes several; its type hint does not say so
                context.stamp(directory, goals)
                journal.settle(self.database, self.connection)
        except DBAPIError as error:
            raise self.failure(error, "stamp", f"{self.database.dsn} cannot be stamped") from error

    def require_writable(self) -> None:
        """Raise ExpectedError if the database only lets itself be read."""
        with self.connection.begin():
            show = sa.text("SELECT current_setting('transaction_read_only'), pg_is_in_recovery()")
            read_only, standby = self.connection.execute(show).one()
        if read_only == "on":
            status = f"invoke status{self.database.env_option}"
            name = self.database.dsn.database
            raise ExpectedError(
                f"{self.database.dsn} only lets itself be read",
                cause="it is a standby" if standby else "default_transaction_read_only is on",
                hint=f"{status}   (once the DSN names the primary; with several hosts, add"
                " target_session_attrs=read-write)"
                if standby
                else f"{status}   (once it is writable: ALTER DATABASE {identifier(name)}, or ALTER ROLE, …"
                " RESET default_transaction_read_only)",
            )

    def alone(
        self, on_wait: Callable[[str], None], wait: float | None = None
    ) -> AbstractContextManager[None]:
        """Wait until nobody else changes this database by this history, and keep others out; see `turn.taken`."""
        return turn.taken(self.database, self.connection, on_wait, wait)

    def _run(self, verb: str, plan: Sequence[Revision], on_step: OnStep) -> object:
        """Run the scripts of a plan; what is committed is told, and what failed says where it stopped."""
        run = Running(
            self.settings,
            self.database,
            self.connection,
            self.log,
            verb=verb,
            plan=plan,
            on_step=on_step,
        )
        with self.connection.begin():
            options = stamped.place(self.database, self.connection).options
        try:
            with run.listening(), cancelled_by_ctrl_c(self.connection):
                while run.begin(self.current()):
                    env_script.run(
                        self.settings, self.database, self.connection, run.step, **options
                    )
                    run.end()
        except ExpectedError as error:
            self._log(FAILED, run)
            if run.guard.ended:
                raise self._ended(verb, run.left[0], error.cause) from error
            raise
        except Exception as error:
            self._log(FAILED, run)
            if run.guard.lost and not self.connection.closed:
                raise self._lost(error, verb, run.left[0]) from error
            failure = self.failure(error, verb, self._stopped(verb, run.left[0]))
            if run.guard.ended:
                raise self._ended(verb, run.left[0], failure.cause) from error
            if _code(error) in BLOCKED:
                raise BlockedError(run.left[0], failure) from error
            raise failure from error
        except BaseException:
            self._log(INTERRUPTED, run)
            raise
        return run.models

    def _log(self, outcome: str, run: Running) -> None:
        """Bring the session back to what it was before a script failed, and write that down."""
        if self.connection.closed:  # by env.py
            return
        transactions.leave(self.connection)
        if self.connection.invalidated:
            return
        with suppress(psycopg2.Error, SQLAlchemyError):  # the connection may be lost
            self.connection.rollback()
            run.session.restore()
            if self.log:
                with self.connection.begin():
                    self.log.end(outcome, run.seconds)

    def _stopped(self, verb: str, revision: Revision) -> str:
        if self.database.label == "scratch":
            return f"the history does not run on a scratch database: {verb} of revision {revision}"
        parts = f"{verb} stopped at revision {revision}; its transaction was rolled back"
        return parts + (", but not what it did outside of it" if revision.online else "")

    def _lost(self, error: Exception, verb: str, revision: Revision) -> ExpectedError:
        """Tell of a lost connection in the words of the server, not in those of who found it closed afterwards.

        The driver hands on what libpq says, and not what the server said last; so it is asked how it is now.
        """
        more = ", and what it did outside of its transaction stays" if revision.online else ""
        found = next(filter(_is_lost, _chain(error)), None)
        words = self.database.words(found) if found else "the script caught what the driver said"
        try:
            with self.database.connect():
                now = "the server answers again; its log says why it ended the connection"
        except ExpectedError as refused:
            now = f"now: {refused.cause}"
        return ExpectedError(
            f"{verb} stopped at revision {revision}: the connection was lost;"
            f" the server rolls back what was not committed{more}",
            cause=f"{words}\n{now}",
            hint=f"invoke {verb}{self.database.env_option}   (with what else was typed, once the server answers: it"
            " goes on where it was)",
        )

    def _ended(self, verb: str, revision: Revision, cause: str) -> ExpectedError:
        return ExpectedError(
            f"{verb} stopped at revision {revision}, which ended its transaction by itself:"
            " what it committed stays, and it is not stamped",
            cause=cause,
            hint=f"invoke psql{self.database.env_option}   (undo what it committed; then put what must be committed by"
            " itself into `with op.online():`, in place of COMMIT in the script)",
        )

    def failure(self, error: Exception, verb: str, what: str) -> ExpectedError:
        """Turn what a driver or script raised into an error that says what to type next."""
        original = error.orig if isinstance(error, DBAPIError) else error
        words = self.database.words(error)
        if not isinstance(original, psycopg2.Error):
            words = f"{type(error).__name__}: {words}"
        script = broken_scripts.place(error, self.settings.root)
        place = script if _code(error) else broken_scripts.raised(error, self.settings.root)
        if place:
            words += f"\n(in {place})"
        file = "the script" if place == script else place.partition(",")[0]
        advice = ADVICE.get(_code(error), MENDED.replace("the script", file) if place else LOOK)
        if _code(error) == "42501":
            user = identifier(self.database.dsn.parts.get("user", "") or "…")
            advice = privileges.advice(words, user) or advice
        if self.database.label == "scratch":
            advice = "invoke check   (once the script is mended; or SCRATCH_DSN names a server that has what it needs)"
        hint = advice.format(verb=verb, env=self.database.env_option)
        return ExpectedError(what, cause=words, hint=hint)


def _chain(error: BaseException | None) -> list[BaseException]:
    """Return an error and what it arose from or after, the first one first."""
    found: list[BaseException] = []
    while error and error not in found:
        found.insert(0, error)
        error = error.__cause__ or error.__context__
    return found


def _is_lost(error: BaseException) -> bool:
    """Tell whether an error is that of a connection which was lost, before others found it closed."""
    original = getattr(error, "orig", error)
    return isinstance(original, psycopg2.OperationalError) and (original.pgcode or LOST) in LOST


def _code(error: Exception) -> str:
    """Return the SQLSTATE of what went wrong; empty if it was not the server who said it."""
    original = error.orig if isinstance(error, DBAPIError) else error
    return getattr(original, "pgcode", None) or ""


@contextmanager
def open_runner(settings: Settings, database: Database) -> Iterator[Runner]:
    """Connect to a database and run Alembic there."""
    with database.connect() as connection:
        runner = Runner(settings, database, connection)
        try:
            yield runner
        except DBAPIError as error:
            raise runner.failure(error, "status", f"{database.dsn} refused a statement") from error


def offline(settings: Settings, verb: str, start: str, end: str) -> str:
    """Return the SQL that would bring a database from one revision to another.

    Raises:
        ExpectedError: A script cannot be printed without a database.
    """
    config = history.alembic_config(settings)
    config.output_buffer = output = io.StringIO()
    said = io.StringIO()  # what scripts print is no part of the SQL
    try:
        with broken_scripts.told(settings), redirect_stdout(said):
            COMMANDS[verb](config, f"{start}:{end}", sql=True)
    except ExpectedError as error:
        if error.__cause__:  # else the script itself refuses, and says why
            error.hint = (
                f"invoke {verb}{settings.env_option}   (a script that reads rows cannot be printed)"
            )
        raise
    except (Exception, SystemExit) as error:
        if isinstance(error, Exception) or not output.getvalue():
            raise EnvScript(settings).failed(error, str(error)) from error
    if not output.getvalue():
        raise EnvScript(settings).error(
            "ended without printing anything", "it never came to context.run_migrations()"
        )
    # The table is there already in a database that was brought back to base.
    create, tolerant = (
        "CREATE TABLE alembic_version (",
        "CREATE TABLE IF NOT EXISTS alembic_version (",
    )
    return output.getvalue().replace(create, tolerant, 1)


def alembic(settings: Settings, name: str, *args: Any, **options: Any) -> str:
    """Run a command of Alembic that needs no database and return what it prints.

    Raises:
        ExpectedError: The scripts cannot be read, there is no such revision, or it is asked for that of a database,
            which env.py would choose.
    """
    named = [each for each in (*args, *options.values()) if isinstance(each, str)]
    if any("current" in each.split(":") for each in named):
        raise ExpectedError(
            f"{name} does not know which revision is the current one",
            cause="it asks no database",
            hint="invoke current   (tells it; then name the revision)",
        )
    scripts = history.read(settings)
    for revision in (part for each in named for part in re.split(r"[:,]", each)):
        if re.fullmatch(r"\w+", revision) and revision != "heads":
            scripts.resolve(revision)
    config = history.alembic_config(settings)
    printed = io.BytesIO()
    config.stdout = io.TextIOWrapper(printed, encoding="utf-8", write_through=True)
    config.cmd_opts = None  # not quiet: what it says is what was asked for
    try:
        getattr(command, name)(config, *args, **options)
    except CommandError as error:
        raise ExpectedError(
            f"invoke {name} cannot do that", cause=str(error), hint=f"invoke {name} --help"
        ) from error
    return printed.getvalue().decode()
