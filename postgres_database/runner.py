"""Alembic's commands on a connection, with their failures told in our words."""

import io
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import sqlalchemy as sa
from alembic import command
from alembic.runtime.migration import MigrationContext
from sqlalchemy.exc import DBAPIError

from postgres_database import history
from postgres_database.connection import Database, quoted
from postgres_database.errors import ExpectedError
from postgres_database.history import Revision
from postgres_database.settings import Settings


@dataclass(frozen=True)
class Step:
    """A revision that was run."""

    revision: Revision
    seconds: float


OnStep = Callable[[Step], None]

ADVICE = {
    "25006": "invoke status   (the server is a standby or read-only: the DSN must name the primary)",
    "42501": "invoke psql --command '\\du'   (the user of the DSN lacks a privilege)",
    "55P03": "invoke {verb}{env}   (when the table is less busy, or with a longer LOCK_TIMEOUT)",
    "57014": "invoke {verb}{env}   (with a longer STATEMENT_TIMEOUT)",
}
"""What to type next, by SQLSTATE: PostgreSQL manual, appendix A."""


def current(connection: sa.Connection) -> tuple[str, ...]:
    """Return the revisions that a database is stamped with."""
    with connection.begin():
        return tuple(sorted(MigrationContext.configure(connection).get_current_heads()))


def upgrade(
    connection: sa.Connection,
    settings: Settings,
    database: Database,
    plan: Sequence[Revision],
    on_step: OnStep = lambda _: None,
) -> None:
    """Run the upgrades of `plan`, each in a transaction of its own together with its stamp.

    Raises:
        ExpectedError: A revision failed and was rolled back; those before it stay.
    """
    for goal in history.tips(plan):
        _run(command.upgrade, "upgrade", connection, settings, database, plan, goal, on_step)


def downgrade(
    connection: sa.Connection,
    settings: Settings,
    database: Database,
    plan: Sequence[Revision],
    target: str,
    on_step: OnStep = lambda _: None,
) -> None:
    """Run the downgrades of `plan`, which end at `target`; otherwise like `upgrade`."""
    _run(command.downgrade, "downgrade", connection, settings, database, plan, target, on_step)


def stamp(connection: sa.Connection, settings: Settings, target: str, *, purge: bool = False) -> None:
    """Write `target` into the version table and run nothing."""
    config = history.alembic_config(settings, connection=connection)
    with history.script_errors(settings):
        command.stamp(config, target, purge=purge)


def offline(settings: Settings, verb: str, start: str, end: str) -> str:
    """Return the SQL that would bring a database from one revision to another.

    Raises:
        ExpectedError: A script cannot be printed without a database.
    """
    config = history.alembic_config(settings)
    config.output_buffer = output = io.StringIO()
    run = {"upgrade": command.upgrade, "downgrade": command.downgrade}[verb]
    said = io.StringIO()  # what scripts print is no part of the SQL
    try:
        with history.script_errors(settings), redirect_stdout(said):
            run(config, f"{start}:{end}", sql=True)
    except ExpectedError as error:
        error.hint = f"invoke {verb}{settings.env_option}   (a script that reads rows cannot be printed)"
        raise
    # The table is there already in a database that was brought back to base.
    return output.getvalue().replace(
        "CREATE TABLE alembic_version (", "CREATE TABLE IF NOT EXISTS alembic_version (", 1
    )


def alembic(settings: Settings, name: str, *args: Any, **options: Any) -> str:
    """Run a command of Alembic that needs no database and return what it prints."""
    config = history.alembic_config(settings)
    config.stdout = printed = io.StringIO()
    with history.script_errors(settings):
        getattr(command, name)(config, *args, **options)
    return printed.getvalue()


def merge(settings: Settings, message: str, revisions: Sequence[str]) -> Path:
    """Write a revision that joins several heads, and return its path.

    Raises:
        ExpectedError: There is nothing to merge.
    """
    scripts = history.read(settings)
    if list(revisions) == ["heads"]:
        revisions = scripts.heads
    if len(revisions) < 2:
        raise ExpectedError(
            "there is nothing to merge",
            cause=f"the history has one head: {', '.join(scripts.heads) or 'base'}",
            hint="invoke heads",
        )
    with history.script_errors(settings):
        script = command.merge(
            history.alembic_config(settings), [scripts.resolve(revision) for revision in revisions], message
        )
    if script is None:
        raise ExpectedError("Alembic wrote no script", hint="invoke history")
    return Path(script.path).relative_to(settings.root)


def create_roles(connection: sa.Connection, revisions: Iterable[Revision]) -> None:
    """Create the roles that scripts name, where they are missing: for servers of our own only."""
    names = {role for revision in revisions for role in revision.roles}
    present = set(connection.execute(sa.text("SELECT rolname FROM pg_roles")).scalars()) if names else set()
    for name in sorted(names - present):
        connection.exec_driver_sql(f"CREATE ROLE {quoted(name)} NOLOGIN".replace("%", "%%"))


def _run(  # noqa: PLR0913 - one outline for both directions
    run: Callable[..., None],
    verb: str,
    connection: sa.Connection,
    settings: Settings,
    database: Database,
    plan: Sequence[Revision],
    goal: str,
    on_step: OnStep,
) -> None:
    by_id = {revision.id: revision for revision in plan}
    left = list(plan)
    started = time.monotonic()

    def applied(*, step: Any, **_: Any) -> None:
        nonlocal started
        revision = by_id.get(step.up_revision_id)
        if revision is None or step.is_stamp:
            return
        left.remove(revision)
        on_step(Step(revision, time.monotonic() - started))
        started = time.monotonic()

    config = history.alembic_config(settings, connection=connection, configure={"on_version_apply": applied})
    try:
        run(config, goal)
    except (ExpectedError, KeyboardInterrupt):
        raise
    except Exception as error:
        raise _failure(error, verb, settings, database, left) from error


def _failure(
    error: Exception, verb: str, settings: Settings, database: Database, left: Sequence[Revision]
) -> ExpectedError:
    place = history.script_place(error, settings.root)
    original = error.orig if isinstance(error, DBAPIError) else error
    words = database.words(error)
    if not isinstance(original, psycopg2.Error):
        words = f"{type(error).__name__}: {words}"
    code = getattr(original, "pgcode", None) or ""
    hint = ADVICE.get(code, "invoke {verb}{env}   (once the script is mended)").format(verb=verb, env=database.env_option)
    name = str(left[0]) if left else verb
    return ExpectedError(
        f"{verb} stopped at revision {name}; that revision was rolled back",
        cause=f"{words}\n(in {place.rstrip(',')})" if place else words,
        hint=hint,
    )
