"""From a DSN to a connection, with errors that say what to do."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import psycopg2
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - a class

from postgres_database.errors import ExpectedError
from postgres_database.server import transactions
from postgres_database.server.dsn import CONNECT_TIMEOUT, Dsn
from postgres_database.server.transactions import SearchPath
from postgres_database.server.version_table import ALEMBICS, VersionTable
from postgres_database.sql.names import quoted

if TYPE_CHECKING:  # a command that has nothing to do does without it
    import sqlalchemy as sa

CONNECT_DEFAULTS = {
    "connect_timeout": os.environ.get("PGCONNECT_TIMEOUT") or CONNECT_TIMEOUT,
    "fallback_application_name": "postgres-database",
    "client_encoding": "UTF8",  # the default is that of the database, which for SQL_ASCII is none
}

# The version table that Alembic finds by the search path; one in another schema is another application's.
VERSION_SCHEMA = """
    SELECT n.nspname
    FROM unnest(%s::text[]) WITH ORDINALITY AS path (name, place)
    JOIN pg_namespace n ON n.nspname = path.name
    JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = %s
    ORDER BY path.place LIMIT 1
"""
VERSIONS = "postgres_database.versions"
"""The key of the version table in the `info` of a connection."""
READ_ONLY = ("default_transaction_read_only=on", "lock_timeout=5s")

OF_THE_SERVER = {
    "too many connections for role": "fewer are connected, or ALTER ROLE … CONNECTION LIMIT … has raised it",
    "too many connections for database": "fewer are connected, or ALTER DATABASE … CONNECTION LIMIT … has raised it",
    "too many clients already": "fewer are connected, or max_connections of the server is greater",
    "remaining connection slots": "fewer are connected, or max_connections of the server is greater",
    "the database system is": "the server has started; nothing is wrong with the DSN",
    "cannot connect to invalid database": "it is dropped and made anew: its DROP DATABASE was interrupted",
    "permission denied for database": "its owner has said GRANT CONNECT ON DATABASE … TO …",
    "is not permitted to log in": "the user may log in: ALTER ROLE … LOGIN",
}
"""What must be true before it works with the same DSN, by a part of the server's message."""
WRONG_PARTS = {
    "no encryption": "sslmode=require is in the DSN, or the server lets this user in without encryption",
    "SSL off": "sslmode=require is in the DSN, or the server lets this user in without encryption",
    "certificate": "sslrootcert, sslcert and sslkey name the right files",
    # The server keeps from the client that a password has expired.
    "password authentication failed": "user and password are right, and it has not expired: VALID UNTIL of the role",
    "Peer authentication failed": "its user is that of this machine, or host=localhost lets a password count",
    "authentication failed": "user and password are right",
    'role "': "the user exists and may log in",
    "no password supplied": "there is a password",
    "invalid response": "the port is right: what answers there is not PostgreSQL",
    "server closed the connection": "the port is right, and the server keeps the connection: its log says why not",
    "but received": "the port is right: what answers there is not PostgreSQL",
    "could not translate host name": "the host name is right",
    "does not support SSL": "sslmode is right",
    "statement pooling": "it names the server itself, or a pool in session mode",
    "unsupported startup parameter": "it names the server itself, not a pooler in front of it",
    "pg_hba.conf": "the server lets this user in",
}
"""What must be true for the connection to work, by a part of any other message; the first match counts."""
FOR_DATABASE = {
    "does not exist": "CREATE DATABASE {}",
    "is not currently accepting connections": "ALTER DATABASE {} ALLOW_CONNECTIONS true",
}
"""What to run in another database of the server, by what is said of this one."""

LESSER = """CREATE ROLE scratch LOGIN CREATEDB PASSWORD '…'   (on that server; SCRATCH_DSN then names this role)"""


@dataclass(frozen=True)
class Database:
    """One database: the target of a command, or a scratch database."""

    dsn: Dsn
    label: str
    """`production`, `embedded`, `scratch`: the first word of the line that names it."""
    source: str = ""
    """Where its DSN comes from, in words."""
    env_option: str = ""
    """What to add to a command so that it works on this database."""
    versions: VersionTable = ALEMBICS
    """Where it says which revision it is."""
    cursor: type[Cursor] | None = None
    """The class of its cursors, if it is not the driver's."""
    alias: tuple[str, str] = ("", "")
    """A role that only scratch databases have, and what dumps call it."""
    whole: Callable[[], AbstractContextManager[Dsn]] | None = None
    """Within it, pg_dump can read what only a superuser may: the options of user mappings."""
    open: Any = field(default=None, repr=False, compare=False)
    """A connection of the driver that `reading` uses as long as it is open; see `held`."""

    def __str__(self) -> str:
        """Name the database as the first line of a command does."""
        return f"{self.label}  {self.dsn}" + (f"  ({self.source})" if self.source else "")

    @cached_property
    def engine(self) -> sa.Engine:
        """An engine that pools nothing; its repr and URL hold no secret."""
        import sqlalchemy as sa
        from sqlalchemy.pool import NullPool

        parts = self.dsn.parts
        # libpq gets all parts itself; what models run in events may ask the URL who and where it is.
        url = sa.URL.create(
            "postgresql+psycopg2",
            username=self.alias[1]
            or parts.get("user"),  # whose part a role plays in a scratch database
            database=parts.get("dbname"),
        )
        engine = sa.create_engine(
            url,
            connect_args=self._parameters,
            poolclass=NullPool,
        )
        transactions.begin_safely(engine)
        return engine

    @property
    def _parameters(self) -> dict[str, Any]:
        """How the driver connects."""
        factory = {"cursor_factory": self.cursor} if self.cursor else {}
        return {**CONNECT_DEFAULTS, **self.dsn.parameters(), **factory}

    @contextmanager
    def session(self) -> Iterator[Any]:
        """Connect by the driver alone; see `transactions.ours`.

        Raises:
            ExpectedError: The connection is refused.
        """
        try:
            session = psycopg2.connect(**self._parameters)
        except psycopg2.Error as error:
            raise self._refused(error) from error
        with closing(session):
            yield session

    @contextmanager
    def reading(self) -> Iterator[tuple[Cursor, SearchPath]]:
        """Begin a transaction that only reads, by the driver alone; yield its cursor and the usual search path.

        The first statement has been sent then. Like any transaction of ours, it finds names only in `pg_catalog`.

        Raises:
            ExpectedError: The connection is refused.
        """
        held = self.open is not None and not self.open.closed
        with (
            nullcontext(self.open) if held else self.session() as session,
            session.cursor() as cursor,
        ):
            session.autocommit = True  # else the driver would send a BEGIN of its own
            try:
                cursor.execute(f"BEGIN READ ONLY; {transactions.BEGIN}")
                yield cursor, transactions.path_of(cursor)
            finally:
                if held and not session.closed:
                    cursor.execute("ROLLBACK")

    @contextmanager
    def held(self) -> Iterator[Database]:
        """Connect once for all that is read in the block of the database that is yielded, one after the other.

        Raises:
            ExpectedError: The connection is refused.
        """
        with self.session() as session:
            yield replace(self, open=session)

    def read_only(self) -> Database:
        """Return the database with sessions that refuse to write, and do not wait long for a lock."""
        given = self.dsn.parts.get("options") or os.environ.get("PGOPTIONS", "")
        options = " ".join([given, *(f"-c {option}" for option in READ_ONLY)]).strip()
        return replace(self, dsn=self.dsn.with_parts(options=options))

    @contextmanager
    def connect(
        self, *, autocommit: bool = False, usual_path: bool = False
    ) -> Iterator[sa.Connection]:
        """Connect.

        Args:
            autocommit: Let each statement commit by itself.
            usual_path: Find names by the search path that the role and the DSN give, as scripts and models do;
                otherwise only in `pg_catalog`, so that no name is found that somebody else has put on the path.

        Raises:
            ExpectedError: The connection is refused.
        """
        import sqlalchemy as sa
        from sqlalchemy.exc import DBAPIError

        try:
            connection = self.engine.connect()
        except DBAPIError as error:
            raise self._refused(error) from error
        except Exception as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            raise ExpectedError(
                f"cannot connect to {self.dsn}: an event listener of the models failed",
                cause=f"{type(error).__name__}: {self.words(error)}\n(in {frame.filename}, line {frame.lineno})",
                hint=f"invoke psql{self.env_option}   (does without it; once it is mended, the same command again)",
            ) from error
        with connection:
            if autocommit:
                connection.execution_options(isolation_level="AUTOCOMMIT")
            if usual_path:
                connection.info[transactions.SCRIPT] = True
            elif autocommit:
                connection.exec_driver_sql(transactions.SAFE_SESSION)
            connection.info[VERSIONS] = self.versions
            sa.event.listen(connection, "begin", transactions.begin)
            yield connection

    def version_schema(self, cursor: Any, path: SearchPath) -> str | None:
        """Return the schema in which the version table is or would be made; None if there is none.

        Args:
            cursor: In a transaction of ours.
            path: The usual search path.
        """
        if self.versions.schema:
            return self.versions.schema
        schemas = [*path.schemas]
        cursor.execute(VERSION_SCHEMA, (schemas, self.versions.name))
        row = cursor.fetchone()
        return str(row[0]) if row else next(iter(schemas), None)

    def words(self, error: BaseException) -> str:
        """Return what the server or driver said, without secrets."""
        return self.dsn.scrub(_said(error))

    def _refused(self, error: Exception) -> ExpectedError:
        return ExpectedError(
            f"cannot connect to {self.dsn}",
            cause=re.sub(r"\n\s+", " ", self.words(error)),
            hint=self._advice(_said(error)),
        )

    def _advice(self, said: str) -> str:
        """Return what to type next, by the message: a failed connection has no SQLSTATE."""
        scratch = self.label == "scratch"
        if self.alias[0]:  # the DSN's own role was let in
            return LESSER
        retry = "invoke check" if scratch else f"invoke psql{self.env_option}"
        wrong = next(
            (wrong for sign, wrong in (OF_THE_SERVER | WRONG_PARTS).items() if sign in said),
            "host and port are right and the server runs",
        )
        for sign, command in FOR_DATABASE.items():
            if f'database "{self.dsn.database}" {sign}' in said:
                if not scratch and self.dsn.database != "template0":
                    sql = command.format(quoted(self.dsn.database))
                    return f"{retry} --database postgres --command {shlex.quote(sql)}"
                wrong = "it names a database that exists and lets in, such as postgres"
        of_server = wrong in OF_THE_SERVER.values()
        return f"{retry}   (once {wrong}{self._named()})" if of_server else self.until(wrong)

    def until(self, right: str) -> str:
        """Return what to type so that the DSN becomes right: its file is edited, or its variable exported.

        Args:
            right: What must be true then.
        """
        where = self.source.removeprefix("from ")
        if self.label == "scratch":
            return f"invoke check   (once {right}{self._named()})"
        if where.startswith(".env"):
            return f"${{EDITOR:-vi}} {where}   (until {right}; then the same command again)"
        if where.endswith(" in the process environment"):
            name = where.partition(" ")[0]
            return f"export {name}=…   (until {right}; then the same command again)"
        return f"invoke psql{self.env_option}   (once {right}{self._named()})"

    def _named(self) -> str:
        """Name where the DSN comes from, if it does come from somewhere."""
        where = self.source.removeprefix("from ")
        return f"; the DSN comes from {where}" if where != self.source else ""


def _said(error: BaseException) -> str:
    return str(getattr(error, "orig", None) or error).strip()


@contextmanager
def cancelled_by_ctrl_c(driver: Any) -> Iterator[None]:
    """Let Ctrl-C end the statement that is running on a connection of the driver, not only what comes after it.

    While the driver waits for the server, Python's handler of the signal waits, too; but the
    signal's number is written to a file at once (Python manual, signal.set_wakeup_fd).
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reader, writer = socket.socketpair()
    writer.setblocking(False)  # noqa: FBT003

    def watch() -> None:
        while number := reader.recv(1):
            if number[0] == signal.SIGINT:
                driver.cancel()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        writer.close()
        watcher.join()
        reader.close()
