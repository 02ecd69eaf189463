"""Scratch databases are worked on without the rights of a superuser.

What a database was adopted with (triggers, defaults, index expressions, …) runs there, and whoever wrote it need not
be trusted: a superuser may run programs as the account of the server. So each scratch database has a login role of its
own, which acts as the role that owns everything; neither may do anything outside of it, and no function can be more
than its session. What only a superuser may make, such as an extension, is made by one for the length of that
statement, if the statement is of a kind that calls no function of users.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any

import psycopg2
import sqlalchemy as sa
from psycopg2.errors import InsufficientPrivilege

from postgres_database.errors import ExpectedError
from postgres_database.scratch.lifting import Lift
from postgres_database.server.connection import LESSER, Database
from postgres_database.server.dsn import Dsn
from postgres_database.sql.names import quoted

OWNER, SUPERUSER = "postgres_database_owner_", "postgres_database_superuser_"
ME = """
    SELECT rolname, rolsuper, rolcreaterole, current_setting('server_version_num')::int / 10000,
           EXISTS (SELECT FROM pg_roles WHERE rolname IN
               ('pg_execute_server_program', 'pg_write_server_files', 'pg_read_server_files')
               AND pg_has_role(current_user, oid, 'MEMBER'))
    FROM pg_roles WHERE rolname = current_user
"""


HARMLESS = """
    SELECT rolname FROM pg_roles r
    WHERE NOT EXISTS (
        SELECT FROM pg_roles p
        WHERE pg_has_role(r.oid, p.oid, 'MEMBER') AND (
            p.rolsuper OR p.rolcreaterole OR p.rolreplication OR p.rolcanlogin OR p.rolname ~ '^pg_'
            OR EXISTS (SELECT FROM pg_database WHERE datdba = p.oid AND datname !~ '^postgres_database_')))
"""
"""Roles by which nothing can be done outside of scratch databases."""


class Rights:
    """The roles that scratch databases of a server are worked on with."""

    def __init__(self, maintenance: Database, connection: sa.Connection, me: str) -> None:
        """Make the roles that last.

        Args:
            maintenance: The server.
            connection: To it, in autocommit.
            me: What tells apart those who use the server.

        Raises:
            ExpectedError: The role of the DSN has rights that no function of others may get, and cannot make roles.
        """
        self._maintenance = maintenance
        self._driver: Any = connection.connection.driver_connection
        self._user, self._superuser, creates, version, dangerous = self.run(ME)[0]
        self.separate = bool(self._superuser or creates)
        """Whether there are roles of their own; else the role of the DSN has no rights that matter."""
        if dangerous and not self.separate:
            raise ExpectedError(
                f"the role of {maintenance.dsn} may not be used for scratch databases",
                cause="it may run programs or touch files of the server, and so could every function there",
                hint=LESSER,
            )
        self.owner = OWNER + me if self.separate else ""
        self._elevated = SUPERUSER + me if self._superuser else ""
        self._has_login_triggers = version >= 17  # noqa: PLR2004
        self._password = secrets.token_hex(32)
        if self.separate:
            self._make_roles()

    def _make_roles(self) -> None:
        there = {name for (name,) in self.run("SELECT rolname FROM pg_roles")}
        if self.owner not in there:
            options = " BYPASSRLS" if self._superuser else ""
            self._create(f"CREATE ROLE {quoted(self.owner)} NOLOGIN{options}")
        if not self._superuser:
            self.run(f"GRANT {quoted(self.owner)} TO CURRENT_USER")
        elif self._elevated not in there:
            self._create(f"CREATE ROLE {quoted(self._elevated)} NOLOGIN SUPERUSER")

    def _create(self, statement: str) -> None:
        errors = psycopg2.errors.DuplicateObject, psycopg2.errors.UniqueViolation
        with suppress(*errors):  # another command was faster
            self.run(statement)

    def run(self, statement: str) -> list[Any]:
        """Run a statement as the role of the DSN; from any thread."""
        with self._driver.cursor() as cursor:
            cursor.execute(statement)
            return [*cursor.fetchall()] if cursor.description else []

    @property
    def owned(self) -> str:
        """What CREATE DATABASE says of the owner."""
        return f" OWNER {quoted(self.owner)}" if self.separate else ""

    def include(self, roles: Iterable[str], tablespaces: Iterable[str]) -> None:
        """Let the owner of all act as roles, and use tablespaces, that schemas name.

        Not as one that may log in, or may do more than a database holds.
        """
        if not self.separate:
            return
        harmless = {name for (name,) in self.run(HARMLESS)}
        for name in harmless.intersection(roles):
            with suppress(InsufficientPrivilege):  # a role that others made
                self.run(f"GRANT {quoted(name)} TO {quoted(self.owner)}")
        for name in tablespaces:
            self.run(f"GRANT CREATE ON TABLESPACE {quoted(name)} TO {quoted(self.owner)}")

    def provide(self, roles: Iterable[str]) -> None:
        """Make roles that are missing, as `cluster.provide` does."""
        there = {name for (name,) in self.run("SELECT rolname FROM pg_roles")}
        for name in {*roles} - there:
            self._create(f"CREATE ROLE {quoted(name)} NOLOGIN")
        self.include(roles, [])

    def admit(self, name: str) -> Database:
        """Return a scratch database as its own login role reaches it, which is made."""
        dsn = self._maintenance.dsn.with_parts(dbname=name)
        if not self.separate:
            return Database(dsn, "scratch")
        password = _verifier(self._password)
        self.run(
            f"CREATE ROLE {quoted(name)} LOGIN IN ROLE {quoted(self.owner)} PASSWORD '{password}'"
        )
        options = f"{dsn.parts.get('options', '')} -c role={self.owner}".strip()
        parts = {"user": name, "options": options, "password": self._password}
        database = Database(dsn.with_parts(**parts), "scratch", alias=(self.owner, self._user))
        if not self._superuser:
            return database
        whole = partial(self._whole, name, database.dsn)
        lift = Lift(
            self.owner, self._user, self._elevated, partial(self.lifted, name), self.provide
        )
        return replace(database, cursor=lift.cursor(), whole=whole)

    def dismiss(self, name: str) -> None:
        """Drop the login role of a scratch database that was dropped, or became a template."""
        if self.separate:
            with suppress(psycopg2.errors.DependentObjectsStillExist):  # in the template
                self.run(f"DROP ROLE IF EXISTS {quoted(name)}")

    @contextmanager
    def lifted(self, login: str) -> Iterator[None]:
        """Let a login role be able to act as a superuser meanwhile."""
        membership = f"{quoted(self._elevated)} {{}} {quoted(login)}"
        self.run(f"GRANT {membership.format('TO')}")
        try:
            yield
        finally:
            self.run(f"REVOKE {membership.format('FROM')}")

    @contextmanager
    def _whole(self, login: str, dsn: Dsn) -> Iterator[Dsn]:
        """Let pg_dump act as a superuser, and no function be called when it logs in: it calls none itself."""
        role = f"ALTER ROLE {quoted(login)}"
        with self.lifted(login):
            if self._has_login_triggers:
                self.run(f"{role} SET event_triggers = off")
            options = dsn.parts["options"].replace(self.owner, self._elevated)
            yield dsn.with_parts(options=options)
        if self._has_login_triggers:
            self.run(f"{role} RESET event_triggers")


def _verifier(password: str) -> str:
    """Return what the server keeps of a password: RFC 5803, as in PostgreSQL's pg_authid.

    One round is enough for a password that cannot be guessed.
    """
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, 1)
    client = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    parts = [salt, client, hmac.digest(salted, b"Server Key", "sha256")]
    texts = [base64.b64encode(part).decode() for part in parts]
    return f"SCRAM-SHA-256$1:{texts[0]}${texts[1]}:{texts[2]}"
