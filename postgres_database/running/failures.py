"""What went wrong while scripts ran → an error that says what to type next."""

from contextlib import suppress

import psycopg2
from sqlalchemy.exc import DBAPIError

from postgres_database.errors import ExpectedError
from postgres_database.history import script_errors
from postgres_database.history.graph import Revision
from postgres_database.history.project import Project
from postgres_database.server import privileges
from postgres_database.server.connection import Database

MENDED = "invoke {verb}{env}   (once the script is mended)"
LOOK = "invoke status{env}"
LOST = "57P01 57P02 57P03 57P05 08006 25P03 25P04"
"""SQLSTATE of connections that the server ends; what the driver notices itself has none."""
FOUND = (
    "invoke baseline-existing{env}   (the database may be at another revision: it finds which one)"
)
MISSING = (
    "invoke {verb}{env}   (once the script is mended; or the database is at another revision:"
    " invoke baseline-existing{env} finds which one)"
)
UNMADE_HERE = MISSING[:-1] + (
    "; or create_all made the table elsewhere: invoke check says how to begin anew)"
)
PERCENT = "immutabledict is not a sequence"
"""What psycopg2 says of a lone % in the text that SQLAlchemy's `exec_driver_sql` hands to it."""
BY_TEXT = (
    "invoke {verb}{env}   (once the script runs that by op.get_bind().execute(sa.text(…)), as any driver does:"
    " psycopg2 reads a % in exec_driver_sql as the place of a value)"
)
UNPROVIDED = "invoke check   (once the script is mended; or SCRATCH_DSN names a server that has what it needs)"
UNMADE = (
    "invoke check   (once the script is mended; if no script makes the table, because create_all did, begin anew:"
    " invoke init --fresh, and for each database invoke stamp --purge --target base and invoke baseline-existing)"
)
"""What to type next if a script uses a table that a scratch database does not have."""
CAUGHT = "invoke edit   (the script went on after a statement had failed: let its error through, or use a savepoint)"
ON_SCRATCH = {
    "42P01": UNMADE,
    "25P02": CAUGHT,
    "42710": "invoke check   (once the script is mended: one before it makes that already; a type is not made again"
    " by postgresql.ENUM(…, create_type=False))",
}
"""What to type next if it is a scratch database, by SQLSTATE."""
ADVICE = {
    "25P02": CAUGHT,
    "2D000": "invoke edit   (a procedure or DO block that commits must stand in `with op.online():`)",
    "42P06": FOUND,
    "42P07": FOUND,
    "42701": FOUND,
    "42710": FOUND,
    "42P01": UNMADE_HERE,
    "42703": MISSING,
    "42883": MISSING,
    "53100": "invoke {verb}{env}   (once the server's disk has room)",
    "53200": "invoke {verb}{env}   (once max_locks_per_transaction of the server is greater, or the script is divided)",
    "58030": "invoke {verb}{env}   (once the server can write to its disk again)",
    "25006": "invoke status{env}   (the server is a standby or read-only: the DSN must name the primary)",
    "3F000": "invoke {verb}{env}   (with options='-c search_path=public' in the DSN: no schema of its path is there)",
    "42501": "invoke psql{env} --command '\\du'   (the user of the DSN lacks a privilege)",
    "42704": "invoke psql{env}   (make there what is missing: scripts name roles, types and tablespaces)",
    "P0001": "invoke {verb}{env}   (once the script is mended, or the function or event trigger of the database lets it"
    " pass)",
    "55P03": "invoke {verb}{env}   (when the table is less busy, or with a longer LOCK_TIMEOUT)",
    "57014": "invoke {verb}{env}   (with a longer STATEMENT_TIMEOUT)",
}
"""What to type next, by SQLSTATE: PostgreSQL manual, appendix A."""


def lost(
    database: Database, error: Exception, verb: str, revision: Revision | None = None
) -> ExpectedError:
    """Return the error for a lost connection, in the words of whoever noticed it first.

    The driver does not hand on what the server said last; so the server is asked for its state now.
    """
    more = (
        ", and what it did outside of its transaction stays" if revision and revision.online else ""
    )
    first = next(filter(is_lost, _chain(error)), None)
    words = (
        database.words(first) if first else "the script closed it, or caught what the driver said"
    )
    try:
        with database.connect():
            now = "the server answers again; its log says why it ended the connection"
    except ExpectedError as refused:
        now = f"now: {refused.cause}"
    where = f"{verb} stopped at revision {revision}" if revision else str(database.dsn)
    return ExpectedError(
        f"{where}: the connection was lost; the server rolls back what was not committed{more}",
        cause=f"{words}\n{now}",
        hint=f"invoke {verb}{database.env_option}   (with what else was typed, once the server answers: it"
        " goes on where it was)"
        if revision
        else f"invoke {verb}{database.env_option}   (once the server answers; then the same command again)",
    )


def ended(database: Database, verb: str, revision: Revision, cause: str) -> ExpectedError:
    """Return the error for a script that has ended its transaction by itself; see `guard`."""
    return ExpectedError(
        f"{verb} stopped at revision {revision}, which ended its transaction by itself:"
        " what it committed stays, and it is not stamped",
        cause=cause,
        hint=f"invoke psql{database.env_option}   (undo what it committed; then put what must be committed by"
        " itself into `with op.online():`, in place of COMMIT in the script)",
    )


def failure(
    project: Project, database: Database, error: Exception, verb: str, what: str
) -> ExpectedError:
    """Turn what a driver or script raised into an error that says what to type next."""
    original = error.orig if isinstance(error, DBAPIError) else error
    words = database.words(error)
    if not isinstance(original, psycopg2.Error):
        words = f"{type(error).__name__}: {words}".removesuffix(": ")
    script = script_errors.file_and_line(error, project.folders)
    place = script if code(error) else script_errors.own_file_and_line(error, project.folders)
    if place:
        words += f"\n(in {place})"
    advice = ADVICE.get(code(error), MENDED if place else LOOK)
    if database.label == "scratch":
        advice = ON_SCRATCH.get(code(error), UNPROVIDED)
    if isinstance(error, TypeError) and PERCENT in words:
        advice = BY_TEXT
    hint = advice.format(verb=verb, env=database.env_option)
    if place and place != script:
        hint = hint.replace("the script", place.partition(",")[0])
    if code(error) == "42501" and database.label != "scratch":
        with suppress(ExpectedError):  # it lets nobody in any more: the first words count
            hint = privileges.advice(words, database) or hint
    return ExpectedError(what, cause=words, hint=hint)


def _chain(error: BaseException | None) -> list[BaseException]:
    """Return an error and its causes and contexts, the first one first."""
    chain: list[BaseException] = []
    while error and error not in chain:
        chain.insert(0, error)
        error = error.__cause__ or error.__context__
    return chain


def is_lost(error: BaseException) -> bool:
    """Tell whether an error says that the connection was lost, not only that it was closed already."""
    original = getattr(error, "orig", error)
    return isinstance(original, psycopg2.OperationalError) and (original.pgcode or LOST) in LOST


def code(error: Exception) -> str:
    """Return the SQLSTATE of an error; empty if it is not the server's."""
    original = error.orig if isinstance(error, DBAPIError) else error
    return getattr(original, "pgcode", None) or ""
