"""The roles that own scratch databases and log in to them: without rights outside of scratch databases.

A scratch database runs code of the schema: triggers, defaults, index expressions, …. Its authors need not be trusted,
and a superuser may run programs as the operating system's user of the server. So each scratch database has its own
login role, which does SET ROLE to a common owner. Neither has rights elsewhere. A statement that needs a superuser,
such as CREATE EXTENSION, is run as one if statements of its kind call no function of users; see `elevation`.
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
from postgres_database.scratch.elevation import Elevation
from postgres_database.scratch.templates import OWNER
from postgres_database.server import cluster
from postgres_database.server.connection import LESSER, Database
from postgres_database.server.dsn import Dsn
from postgres_database.sql.names import quoted

SUPERUSER = "postgres_database_superuser_"
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
"""Roles that give no rights outside of scratch databases."""


class Rights:
    """The roles of scratch databases on one server."""

    def __init__(self, maintenance: Database, connection: sa.Connection, me: str) -> None:
        """Create the roles that all scratch databases share.

        Args:
            maintenance: The server's maintenance database.
            connection: A connection to it, in autocommit mode.
            me: A suffix for their names, different for each user of the server.

        Raises:
            ExpectedError: The role of the DSN may run programs or access files of the server, and cannot create roles.
        """
        self._maintenance = maintenance
        self._driver: Any = connection.connection.driver_connection
        self._user, self._superuser, creates, version, dangerous = self.run(ME)[0]
        self.separate = bool(self._superuser or creates)
        """Whether scratch databases have their own roles; otherwise the role of the DSN is used."""
        if dangerous and not self.separate:
            raise ExpectedError(
                f"the role of {maintenance.dsn} may not be used for scratch databases",
                cause="it may run programs or access files of the server, and so could every function in them",
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
            self._create(f"GRANT {quoted(self.owner)} TO CURRENT_USER")
        elif self._elevated not in there:
            self._create(f"CREATE ROLE {quoted(self._elevated)} NOLOGIN SUPERUSER")

    def _create(self, statement: str) -> None:
        with suppress(*cluster.ALREADY):  # another command was faster
            self.run(statement)

    def run(self, statement: str) -> list[Any]:
        """Run a statement as the role of the DSN; from any thread."""
        with self._driver.cursor() as cursor:
            cursor.execute(statement)
            return [*cursor.fetchall()] if cursor.description else []

    @property
    def owned(self) -> str:
        """The OWNER clause of CREATE DATABASE, after a space; empty without own roles."""
        return f" OWNER {quoted(self.owner)}" if self.separate else ""

    def include(self, roles: Iterable[str], tablespaces: Iterable[str]) -> None:
        """Grant the owner membership in roles, and the use of tablespaces, that a schema names.

        Roles that give rights outside of scratch databases, such as any login role, are skipped.
        """
        if not self.separate:
            return
        harmless = {name for (name,) in self.run(HARMLESS)}
        for name in harmless.intersection(roles):
            with suppress(InsufficientPrivilege):  # no ADMIN OPTION on it
                self._create(f"GRANT {quoted(name)} TO {quoted(self.owner)}")
        for name in tablespaces:
            self.run(f"GRANT CREATE ON TABLESPACE {quoted(name)} TO {quoted(self.owner)}")

    def provide(self, roles: Iterable[str]) -> None:
        """Create missing roles without login, and grant the owner membership; see `include`."""
        there = {name for (name,) in self.run("SELECT rolname FROM pg_roles")}
        for name in {*roles} - there:
            self._create(f"CREATE ROLE {quoted(name)} NOLOGIN")
        self.include(roles, [])

    def admit(self, name: str) -> Database:
        """Create the login role of a scratch database, and return the database with the DSN of that role."""
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
        elevation = Elevation(
            self.owner, self._user, self._elevated, partial(self.elevated, name), self.provide
        )
        return replace(database, cursor=elevation.cursor(), whole=whole)

    def plain(self, database: Database) -> Dsn:
        """Let the server choose the role that the login role of a scratch database acts as; return its DSN."""
        if not self.separate:
            return database.dsn
        login = quoted(database.dsn.parts["user"])
        self.run(f"ALTER ROLE {login} SET role = {quoted(self.owner)}")
        given = self._maintenance.dsn.parts.get("options")
        parts = {name: value for name, value in database.dsn.parts.items() if name != "options"}
        return Dsn({**parts, **({"options": given} if given else {})})

    def dismiss(self, name: str) -> None:
        """Drop the login role of a scratch database that was dropped, or became a template."""
        if self.separate:
            with suppress(psycopg2.errors.DependentObjectsStillExist):  # in a template
                self.run(f"DROP ROLE IF EXISTS {quoted(name)}")

    @contextmanager
    def elevated(self, login: str) -> Iterator[None]:
        """Make a login role a member of the superuser role within the block."""
        membership = f"{quoted(self._elevated)} {{}} {quoted(login)}"
        self.run(f"GRANT {membership.format('TO')}")
        try:
            yield
        finally:
            self.run(f"REVOKE {membership.format('FROM')}")

    @contextmanager
    def _whole(self, login: str, dsn: Dsn) -> Iterator[Dsn]:
        """Yield a DSN by which pg_dump acts as a superuser: it calls no function of users, login triggers are off."""
        role = f"ALTER ROLE {quoted(login)}"
        with self.elevated(login):
            if self._has_login_triggers:
                self.run(f"{role} SET event_triggers = off")
            options = dsn.parts["options"].replace(self.owner, self._elevated)
            yield dsn.with_parts(options=options)
        if self._has_login_triggers:
            self.run(f"{role} RESET event_triggers")


def _verifier(password: str) -> str:
    """Return the SCRAM verifier of a password (RFC 5803; PostgreSQL manual, "pg_authid").

    A random password of 32 bytes needs no more than one iteration.
    """
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, 1)
    client = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    parts = [salt, client, hmac.digest(salted, b"Server Key", "sha256")]
    texts = [base64.b64encode(part).decode() for part in parts]
    return f"SCRAM-SHA-256$1:{texts[0]}${texts[1]}:{texts[2]}"
