"""Run the project's `env.py` on a given connection, and on no other.

An `env.py` that makes an engine of its own might upgrade another database than the target.
"""

import re
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext

from postgres_database.errors import ExpectedError
from postgres_database.history import env_text, script_errors
from postgres_database.history.project import Project
from postgres_database.server import transactions
from postgres_database.server.connection import Database

SHARE = """
from postgres_database import alembic_env

alembic_env.register()
connectable = config.attributes.get("connection")
if connectable is not None:
    context.configure(connection=connectable, target_metadata=target_metadata)
    with context.begin_transaction():
        context.run_migrations()
else:
    ...
"""
"""What belongs into an env.py (Alembic cookbook, "Sharing a Connection across one or more programmatic … commands")."""

VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")
"""How variables of the process environment are usually named."""

Work = Callable[[tuple[str, ...], MigrationContext], Iterable[Any]]
"""What Alembic is to run: from the revisions that the database is at, and the context, to the steps."""


def run(
    project: Project,
    database: Database,
    connection: sa.Connection,
    work: Work,
    **options: Any,
) -> None:
    """Run `env.py` on a connection.

    Args:
        project: Where it is.
        database: The database, to name it in errors.
        connection: To it, in no transaction.
        work: Called once, when it is certain that it runs on this connection, where there is a version table.
        options: For Alembic's context, where env.py does not say otherwise.

    Raises:
        ExpectedError: env.py fails before the work is begun, connects by itself, does not do the work exactly once, or
            leaves it uncommitted. What the work raises is passed on.
    """
    env = EnvScript(project)
    table = options["version_table_schema"], options["version_table"]
    guard = _GuardedWork(env, database, connection, work, table)
    config = project.alembic_config(connection=connection, scratch=database.label == "scratch")
    try:
        # Alembic itself would make its table before it asks for the work, wherever env.py has connected to.
        with EnvironmentContext(
            config, env.directory, fn=guard, dont_mutate=True, **options
        ) as context:
            connection.info[transactions.SCRIPT] = True
            vars(context)["configure"] = partial(_configure, context, options)
            vars(context)["run_migrations"] = partial(_run_safely, context)
            env.directory.run_env()
    except (Exception, SystemExit) as error:
        if isinstance(error, ExpectedError) or (guard.begun and isinstance(error, Exception)):
            raise
        if not guard.begun:
            raise env.failed(error, database.words(error)) from error
    if guard.refusal:  # which env.py has caught
        raise guard.refusal
    if not guard.begun:
        raise env.error(
            "ended without running the scripts", "it never came to context.run_migrations()"
        )
    if connection.closed:
        raise env.error("closed the connection that it was handed", "it is needed afterwards")
    if connection.in_transaction():
        connection.rollback()
        raise env.error(
            "did not commit what the scripts did; it was rolled back",
            "it calls context.run_migrations() outside of context.begin_transaction()",
        )


def _configure(
    context: EnvironmentContext, options: dict[str, Any], *first: Any, **arguments: Any
) -> None:
    """Configure Alembic as env.py says; what it leaves open of the version table, such as its schema, is known."""
    known = {name: value for name, value in arguments.items() if value or name not in options}
    if (given := known.get("connection")) is not None and given.in_transaction():
        known["transaction_per_migration"] = False  # Alembic ignores it: the commit is env.py's
    EnvironmentContext.configure(context, *first, **known)


def _run_safely(context: EnvironmentContext, **arguments: Any) -> None:
    """Run what Alembic asks itself with the safe search path; env.py had the usual one."""
    transactions.as_ours(context.get_bind())
    EnvironmentContext.run_migrations(context, **arguments)


@dataclass
class _GuardedWork:
    """Lets the work be done once, on the connection that was handed over."""

    env: "EnvScript"
    database: Database
    connection: sa.Connection
    work: Work
    table: tuple[str, str]
    """Schema and name of the version table."""
    begun: bool = False
    refusal: ExpectedError | None = None

    def __call__(self, heads: tuple[str, ...], context: MigrationContext) -> Iterator[Any]:
        """Yield what Alembic is to run."""
        if context.connection is not self.connection:
            self.refusal = self.env.error(
                "connects by itself instead of using the connection that it is handed; nothing was run",
                f"it would run the scripts on {_place(context.connection)}, not on {self.database.dsn}",
            )
        elif self.begun:
            self.refusal = self.env.error(
                "runs the scripts more than once",
                "it calls context.run_migrations() again, as for several databases or schemas",
            )
        elif (table := (context.version_table_schema, context.version_table)) != self.table:
            name, schema = reversed(table)
            self.refusal = ExpectedError(
                f"{self.env.name} keeps revisions in {schema}.{name}; nothing was run",
                cause=f"as far as alembic.ini says and env.py shows, they are in {'.'.join(self.table)}",
                hint=f"${{EDITOR:-vi}} alembic.ini   (in [postgres_database]: version_table = {name};"
                f" version_table_schema = {schema})",
            )
        if self.refusal:
            raise self.refusal
        self.begun = True
        if not heads:
            context.stamp(self.env.directory, "base")  # makes the version table
        if context.opts["transaction_per_migration"]:
            self.connection.commit()  # a script may have to begin its transaction itself
        yield from self.work(heads, context)


class EnvError(ExpectedError):
    """No script failed, but the project's env.py around them."""

    def with_(self, *, cause: str = "", hint: str = "") -> "EnvError":  # noqa: ARG002 - as of its base
        """Return the same error with another hint; its cause is not the script that ran."""
        return EnvError(self.what, cause=self.cause, hint=hint or self.hint)


class EnvScript:
    """The project's env.py, and errors that name it."""

    def __init__(self, project: Project) -> None:
        """Find it."""
        self.root = project.root
        self.directory = project.scripts
        self.path = Path(self.directory.dir) / "env.py"
        near = self.path.is_relative_to(project.root)
        self.name = self.path.relative_to(project.root) if near else self.path

    def error(self, what: str, cause: str) -> EnvError:
        """Return an error whose hint has the lines that mend it."""
        lines = f"add these lines; in place of ... goes what it does now:\n{SHARE}"
        return EnvError(
            f"{self.name} {what}", cause=cause, hint=f"${{EDITOR:-vi}} {self.name}   ({lines})"
        )

    def failed(self, error: BaseException, words: str) -> EnvError:
        """Return the error for what it raised before it ran the scripts."""
        frames = traceback.extract_tb(error.__traceback__)
        if isinstance(error, KeyError) and frames[-1].name == "_remove_proxy":
            return EnvError(
                f"{self.name} runs Alembic again inside of it; nothing was run",
                cause="as where an application upgrades its database by itself when it is made",
                hint=f"${{EDITOR:-vi}} {self.name}   (make the application without that)",
            )
        lines = [frame.lineno for frame in frames if Path(frame.filename) == self.path]
        imported = script_errors.line_of_project(error, self.root)  # such as the models
        place = imported or (f"{self.name}, line {lines[-1]}" if lines else "")
        failed = self.error(
            "failed before the first script; nothing was run",
            f"{type(error).__name__}: {words}" + (f"\n(in {place})" if place else ""),
        )
        match error:
            case KeyError(args=(str(key),)) if VARIABLE.fullmatch(key):
                where = "reads the process environment, into which no .env file is exported"
                failed.hint = f"export {key}=…   ({self.name} {where})"
                return failed
            case ModuleNotFoundError(name=str(name)) if not self._imports(frames):
                failed.hint = f"pip install …   (a library needs the module {name}, which is not installed here)"
                return failed
        if type(error).__name__ == "NoAppException":  # of Flask, which need not be installed
            failed.hint = "export FLASK_APP=…   (the module by which Flask finds the application)"
        elif imported or self._is_complete():
            failed.hint = f"${{EDITOR:-vi}} {imported.partition(', line ')[0] or self.name}"
        return failed

    def _imports(self, frames: traceback.StackSummary) -> bool:
        """Tell whether the last import stands in the project, not in a library."""
        files = [Path(frame.filename) for frame in frames if not frame.filename.startswith("<")]
        last = files[-1]
        return last.is_relative_to(self.root) and "site-packages" not in last.parts

    def _is_complete(self) -> bool:
        """Tell whether the lines that `error` shows are there, or whether something else must be mended first."""
        try:
            text = self.path.read_text(encoding="utf-8")
            return env_text.with_connection(text) == text
        except (UnicodeDecodeError, SyntaxError):
            return True


def _place(connection: sa.Connection | None) -> str:
    """Name a database without anything that may be secret."""
    if connection is None:
        return "none"
    url = connection.engine.url
    return f"{url.host or url.drivername}/{url.database or ''}"
