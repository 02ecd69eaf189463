"""How transactions begin: with which time limits, and where they find names.

A role that may create in a schema on the search path can put functions and operators in the place of PostgreSQL's own:
what fits the arguments better is called, with the rights of the caller (PostgreSQL manual, "Writing SECURITY DEFINER
Functions Safely"). So what we ask is asked with nothing but `pg_catalog` on the path. Scripts and models find names by
the path that the role and the DSN give, as with plain Alembic.

Everything is set by SET LOCAL: a pooler would hand a session with other settings on to the application.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg2
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - a class

from postgres_database.server.environment import Environment
from postgres_database.sql import syntax

if TYPE_CHECKING:  # a command that has nothing to do does without it
    import sqlalchemy as sa

LIMITS = "postgres_database.limits"
"""The key, in the `info` of a connection, of the statements that set its time limits."""
PATH = "postgres_database.path"
"""The key of its usual search path."""
SCRIPT = "postgres_database.script"
"""The key that says that a script runs, whose transactions begin with the usual search path."""
FIRST = "postgres_database.first"
"""The key of a statement of ours that the transactions of a script begin with."""

SAFELY = "SET LOCAL search_path = pg_catalog, pg_temp"
SAFE_SESSION = "SET search_path = pg_catalog, pg_temp"
"""For a connection in autocommit mode, which no pooler can be in front of."""
UNWAITED = "SET LOCAL synchronous_commit = off"
"""The commit does not wait for the disk; a later one that does makes this one durable, too. A crash of the server
before that undoes the transaction as a whole (PostgreSQL manual, "Asynchronous Commit")."""
DEFERRED = "SET CONSTRAINTS ALL IMMEDIATE"
# Every name is qualified: the search path is still the usual one.
BEGIN = """
    SELECT pg_catalog.current_setting('search_path'), pg_catalog.current_schemas(false)::pg_catalog.text[],
           pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true)
"""
OID = "SELECT pg_catalog.to_reg{}(%s::pg_catalog.text)::pg_catalog.oid"
USUAL = "SELECT pg_catalog.set_config('search_path', %s, true)"
FIRST = "SELECT pg_catalog.current_schema(), pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true)"


@dataclass(frozen=True)
class SearchPath:
    """A search path."""

    setting: str
    """As SET takes it."""
    schemas: tuple[str, ...]
    """Those of its schemas that are there and may be used."""


def limits(environment: Environment) -> list[str]:
    """Return the statements that set the time limits of the environment for a transaction.

    They end with the transaction and do not reach what runs outside one: a lock limit on CREATE INDEX
    CONCURRENTLY leaves an INVALID index behind (PostgreSQL manual, CREATE INDEX, "Building Indexes Concurrently").
    """
    statements = [f"SET LOCAL lock_timeout = {environment.lock_timeout}"]
    if environment.statement_timeout:  # else what the role or the DSN says holds
        statements.append(f"SET LOCAL statement_timeout = {environment.statement_timeout}")
    return statements


def limit_waits(connection: sa.Connection, environment: Environment) -> None:
    """Let every transaction of this connection begin with the time limits of the environment."""
    connection.info[LIMITS] = limits(environment)


def is_ours(connection: sa.Connection) -> bool:
    """Tell whether the driver is psycopg2, as of all our connections; plain Alembic may use another."""
    driver = connection.connection.driver_connection
    return isinstance(driver, psycopg2.extensions.connection)


def run_text(connection: sa.Connection, text: str) -> None:
    """Run statements: in one round trip, or one by one where the driver may not take several."""
    for each in [text] if is_ours(connection) else syntax.statements(text):
        connection.connection.cursor().execute(each)


def wait_for_disk(connection: sa.Connection, *, wait: bool) -> None:
    """Let the commits of the following transactions wait until they are durable, as usual, or not."""
    limits = [each for each in connection.info.get(LIMITS, []) if each != UNWAITED]
    connection.info[LIMITS] = limits if wait else [*limits, UNWAITED]


def begin(connection: sa.Connection) -> None:
    """Begin a transaction: a listener for connections.

    A script may have to set its isolation level, which must come before any query.
    """
    driver = _driver(connection)
    if driver.autocommit:
        return
    ours = not connection.info.get(SCRIPT)
    first = BEGIN if ours else connection.info.get(FIRST)
    statements = [*connection.info.get(LIMITS, []), *filter(None, [first])]
    if not statements:
        return
    with _as_sqlalchemy(connection), closing(driver.cursor()) as cursor:
        cursor.execute("; ".join(statements))
        if ours:
            connection.info[PATH] = path_of(cursor)


@contextmanager
def ours(driver: Any, *first: str) -> Iterator[tuple[Cursor, SearchPath]]:
    """Run the block in a transaction of ours, by the driver alone; yield its cursor and the usual search path.

    Args:
        driver: A connection of the driver, in no transaction.
        first: Statements that it begins with, such as `limits`.
    """
    usual, driver.autocommit = driver.autocommit, True  # else it would send a BEGIN of its own
    with closing(driver.cursor()) as cursor:
        try:
            cursor.execute("; ".join(["BEGIN", *first, BEGIN]))
            yield cursor, path_of(cursor)
            cursor.execute("COMMIT")
        except BaseException:
            if not driver.closed:
                cursor.execute("ROLLBACK")
            raise
        finally:
            if not driver.closed:
                driver.autocommit = usual


@contextmanager
def driven(connection: sa.Connection) -> Iterator[tuple[Cursor, SearchPath]]:
    """Yield what `ours` does, in a transaction of ours that SQLAlchemy has begun."""
    driver: Any = connection.connection
    with closing(driver.cursor()) as cursor:
        yield cursor, usual_path(connection)


def run_script(cursor: Any, path: SearchPath, sql: str) -> None:
    """Run SQL within a transaction of ours as `scripted` does, in one round trip."""
    usual = filled(cursor, USUAL, (path.setting,))
    cursor.execute(f"{usual}; {sql}\n; {DEFERRED}; {SAFELY}")


def path_of(cursor: Any) -> SearchPath:
    """Return the usual search path, by the cursor that has run BEGIN."""
    setting, schemas, _ = cursor.fetchone()
    return SearchPath(setting, tuple(schemas))


def _driver(connection: sa.Connection) -> Any:
    driver = connection.connection.driver_connection
    if driver is None:
        from sqlalchemy.exc import ResourceClosedError

        raise ResourceClosedError("a script has closed the connection that it was handed")
    return driver


@contextmanager
def _as_sqlalchemy(connection: sa.Connection) -> Iterator[None]:
    """Raise errors of the driver as SQLAlchemy does, and tell it of a lost connection."""
    try:
        yield
    except psycopg2.Error as error:
        from sqlalchemy.exc import DBAPIError, OperationalError

        if connection.connection.driver_connection.closed:  # type: ignore[union-attr]
            connection.invalidate(error)
        kind = OperationalError if isinstance(error, psycopg2.OperationalError) else DBAPIError
        raise kind(BEGIN.strip(), None, error) from error


def usual_path(connection: sa.Connection) -> SearchPath:
    """Return the search path that the role and the DSN of a connection give, after a transaction of ours has begun."""
    path: SearchPath = connection.info[PATH]
    return path


@contextmanager
def scripted(connection: sa.Connection, end: Callable[[str], None] | None = None) -> Iterator[None]:
    """Let what runs in the block find names by the usual search path; what follows in its transaction does not.

    What the block has deferred to the commit runs at its end, as it would by that path: `end` runs these statements,
    where the caller has to add some.
    """
    if not connection.info.get(SCRIPT):
        connection.info[SCRIPT] = True
        _run(connection, USUAL, usual_path(connection).setting)
    try:
        yield
    finally:
        leave(connection)
    (end or partial(_run, connection))(f"{DEFERRED}; {SAFELY}")


def scripts(connection: sa.Connection, steps: Iterable[Any]) -> Iterator[Any]:
    """Yield Alembic's steps on a connection, so that each script has the usual search path, and its stamp has not."""
    for step in steps:
        step.migration_fn = _as_script(connection, step.migration_fn)
        enter(connection)
        yield step
        leave(connection)


def _as_script(connection: sa.Connection, run: Callable[..., None]) -> Callable[..., None]:
    def script(**arguments: Any) -> None:
        with scripted(connection):
            run(**arguments)

    return script


def enter(connection: sa.Connection, first: str = "") -> None:
    """Let the following transactions be those of a script, and begin with a statement of ours; in none."""
    if not connection.in_transaction():
        connection.info.update({SCRIPT: True, FIRST: first})


def leave(connection: sa.Connection) -> None:
    """Let the following transactions be ours again, with the safe search path."""
    if not connection.invalidated:
        for key in (SCRIPT, FIRST):
            connection.info.pop(key, None)


def as_ours(connection: sa.Connection) -> None:
    """Let this transaction, if there is one, and the following ones be ours again."""
    leave(connection)
    if connection.in_transaction():
        begin(connection)


def at_once(
    connection: sa.Connection, sql: str, values: Sequence[object] = ()
) -> list[tuple[Any, ...]]:
    """Run statements of ours by `by_itself`, within the time limits of the connection."""
    with _as_sqlalchemy(connection):
        return by_itself(_driver(connection), sql, values, *connection.info.get(LIMITS, []))


def by_itself(driver: Any, sql: str, values: Any = (), *first: str) -> list[tuple[Any, ...]]:
    """Run statements of ours in one round trip and a transaction of their own, in which no other is open.

    PostgreSQL runs what one message holds in one transaction (manual, "Multiple Statements in a Simple Query").

    Args:
        driver: A connection of the driver, in no transaction.
        sql: The statements.
        values: Those of the statements.
        first: Statements that stand before them, such as `limits`.

    Returns:
        The rows of the last statement, if it has any.
    """
    usual = driver.autocommit
    with closing(driver.cursor(cursor_factory=psycopg2.extensions.cursor)) as cursor:
        driver.autocommit = True
        try:
            cursor.execute("; ".join([*first, SAFELY, sql]), values or None)
            return [*cursor.fetchall()] if cursor.description else []
        finally:
            if not driver.closed:
                driver.autocommit = usual


def filled(cursor: Any, sql: str, values: Any) -> str:
    """Return a statement with its values in it, as the driver sends it."""
    encoding = psycopg2.extensions.encodings[cursor.connection.encoding]
    return str(cursor.mogrify(sql, values), encoding)


def asked(cursor: Any, query: str, values: Any = None) -> list[tuple[Any, ...]]:
    """Run a query with the safe search path in any transaction, without changing its settings.

    JIT is off: it takes seconds to compile a query about the catalog that runs in milliseconds.
    """
    cursor.execute(f"SAVEPOINT asked; {SAFELY}; SET LOCAL jit = off; {query}", values)
    rows = [*cursor.fetchall()]
    cursor.execute("ROLLBACK TO SAVEPOINT asked; RELEASE SAVEPOINT asked")
    return rows


def oid_of(cursor: Any, name: str, kind: str = "class") -> int | None:
    """Return the OID of what a script names, by the search path of the script; None if it is not there.

    The kind is `class` for a relation, `type`, or `namespace` (PostgreSQL manual, "Object Identifier Types").
    """
    cursor.execute(OID.format(kind), (name,))
    oid: int | None = cursor.fetchone()[0]
    return oid


def begin_safely(engine: sa.Engine) -> None:
    """Let SQLAlchemy's own first queries of a server run with the safe search path, too."""
    import sqlalchemy as sa

    met = False
    schema: str | None = None

    @sa.event.listens_for(engine, "connect", insert=True)
    def before(driver: Any, _record: object) -> None:
        nonlocal schema
        if not met:
            with closing(driver.cursor()) as cursor:
                cursor.execute(FIRST)
                (schema, _) = cursor.fetchone()

    @sa.event.listens_for(engine, "connect")
    def after(driver: Any, _record: object) -> None:
        nonlocal met
        if not met:
            driver.rollback()
            engine.dialect.default_schema_name = schema
            met = True


def _run(connection: sa.Connection, statement: str, *values: object) -> None:
    if connection.in_transaction():
        with closing(connection.connection.cursor()) as cursor:
            cursor.execute(statement, values or None)
