"""Where a privilege is missing, the command that the error names gives it."""

import secrets
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace

import psycopg2
import pytest
from conftest import run_sql

from postgres_database.server import privileges
from postgres_database.server.connection import Database

OTHER = "CREATE SCHEMA s; CREATE TABLE s.t (); "
OWNED = "ALTER TABLE s.t OWNER TO owner; "
# What is there, made by a superuser; what the user may not run; who is to grant (empty: the user itself).
CASES = {
    "schema": (
        'CREATE SCHEMA "My Schema" AUTHORIZATION owner',
        'CREATE TABLE "My Schema".t ()',
        "owner",
    ),
    "table of a superuser": (OTHER + "GRANT USAGE ON SCHEMA s TO reader", "TABLE s.t", "superuser"),
    "table": (
        OTHER + OWNED + "GRANT USAGE ON SCHEMA s TO reader, owner",
        "TABLE s.t",
        "owner",
    ),
    "a quoted name": (
        """CREATE TABLE "Order's ""lines" (); ALTER TABLE "Order's ""lines" OWNER TO owner""",
        'TABLE "Order\'s ""lines"',
        "owner",
    ),
    "a name that two owners use": (
        "CREATE TABLE t (); " + OTHER + OWNED + "GRANT USAGE ON SCHEMA s TO reader, owner",
        "TABLE s.t",
        "superuser",
    ),
    "owner that cannot log in": (
        "CREATE TABLE t (); ALTER TABLE t OWNER TO nologin",
        "TABLE t",
        "member",
    ),
    "own table": (
        "CREATE TABLE t (); ALTER TABLE t OWNER TO reader; REVOKE ALL ON t FROM reader",
        "TABLE t",
        "",
    ),
    "view": ("CREATE VIEW v AS SELECT 1; ALTER VIEW v OWNER TO owner", "TABLE v", "owner"),
    "materialized view": (
        "CREATE MATERIALIZED VIEW v AS SELECT 1; ALTER MATERIALIZED VIEW v OWNER TO owner",
        "TABLE v",
        "owner",
    ),
    "sequence": (
        "CREATE SEQUENCE q; ALTER SEQUENCE q OWNER TO owner",
        "SELECT nextval('q')",
        "owner",
    ),
    "overloaded function": (
        (
            "CREATE FUNCTION f(int) RETURNS int LANGUAGE sql RETURN 1;"
            " CREATE FUNCTION f(text) RETURNS int LANGUAGE sql RETURN 1;"
            " REVOKE ALL ON FUNCTION f(int), f(text) FROM PUBLIC;"
            " ALTER FUNCTION f(int) OWNER TO owner; ALTER FUNCTION f(text) OWNER TO owner"
        ),
        "SELECT f(1)",
        "owner",
    ),
    "procedure": (
        "CREATE PROCEDURE p() LANGUAGE sql BEGIN ATOMIC END; REVOKE ALL ON PROCEDURE p() FROM PUBLIC",
        "CALL p()",
        "superuser",
    ),
    "type": (
        (
            "CREATE SCHEMA s AUTHORIZATION owner; GRANT USAGE ON SCHEMA s TO reader; CREATE SCHEMA mine AUTHORIZATION"
            """ reader; CREATE TYPE s."Mood" AS ENUM ('x'); ALTER TYPE s."Mood" OWNER TO owner;"""
            ' REVOKE ALL ON TYPE s."Mood" FROM PUBLIC'
        ),
        'CREATE TABLE mine.t (c s."Mood")',
        "owner",
    ),
    "database": ("ALTER DATABASE this OWNER TO owner", "CREATE SCHEMA s", "owner"),
    "foreign server": (
        (
            "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w;"
            " CREATE SCHEMA mine AUTHORIZATION reader"
        ),
        "CREATE FOREIGN TABLE mine.t () SERVER s",
        "superuser",
    ),
}


@dataclass
class Roles:
    """Five roles of a test, in a database."""

    database: Database
    mark: str

    def named(self, text: str) -> str:
        """Return a text with the names of the roles and of the database."""
        for name in ("owner", "reader", "nologin", "member"):
            text = text.replace(f" {name}", f" {name}_{self.mark}")
        return text.replace("DATABASE this", f"DATABASE {self.database.dsn.database}")

    def seen_by(self, role: str) -> Database:
        """Return the database as a role sees it."""
        return replace(self.database, dsn=self.database.dsn.with_parts(options=f"-c role={role}"))


@pytest.fixture
def roles(server: Database, database: Database) -> Iterator[Roles]:
    """Roles that go with the database in which they own something."""
    found = Roles(database, secrets.token_hex(4))
    names = "CREATE ROLE owner LOGIN; CREATE ROLE reader LOGIN; CREATE ROLE nologin;"
    run_sql(database, found.named(f"{names} CREATE ROLE member LOGIN IN ROLE nologin"))
    yield found
    run_sql(server, f"ALTER DATABASE {database.dsn.database} OWNER TO CURRENT_USER")
    run_sql(database, found.named("DROP OWNED BY owner, reader, nologin, member CASCADE"))
    run_sql(server, found.named("DROP ROLE owner, reader, nologin, member"))


@pytest.mark.parametrize("case", CASES)
def test_advised_command_gives_what_is_missing(case: str, roles: Roles) -> None:
    """The role and the statement of the advice let the same statement succeed."""
    there, refused, who = CASES[case]
    run_sql(roles.database, *roles.named(there).split("; "))
    reader = roles.seen_by(roles.named(" reader").strip())
    with pytest.raises(psycopg2.errors.InsufficientPrivilege) as caught:
        run_sql(reader, refused)
    command = shlex.split(
        privileges.advice(str(caught.value).splitlines()[0], reader).partition("   (")[0]
    )
    assert command[:2] == ["invoke", "psql"]
    options = dict(zip(command[2::2], command[3::2], strict=True))
    superuser = run_sql(roles.database, "SELECT current_user")[0][0]
    role = superuser if who == "superuser" else roles.named(f" {who}").strip() if who else None
    assert options.get("--user") == role
    run_sql(roles.seen_by(str(role)) if role else reader, options["--command"])
    run_sql(reader, refused)


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("must be owner of table t", "once the DSN names owner, the "),
        ("must be owner of table nowhere", "once the DSN names the "),
        ("permission denied to create role", "a role that may create role"),
        ('permission denied to create extension "x"', 'a role that may create extension "x"'),
        ("permission denied for subscription s", "may use subscription s"),
        ("permission denied for table {gone}", 'GRANT ALL ON "{gone}" TO'),
    ],
)  # fmt: skip
def test_what_no_grant_gives(said: str, advice: str, roles: Roles) -> None:
    """Where a grant is not enough, or the object is gone, the advice says who may."""
    run_sql(
        roles.database, *roles.named("CREATE TABLE t (); ALTER TABLE t OWNER TO owner").split("; ")
    )
    reader = roles.seen_by(roles.named(" reader").strip())
    assert roles.named(advice) in privileges.advice(said, reader)


def test_words_without_a_privilege(database: Database) -> None:
    """What the server says of something else gets no advice of privileges."""
    assert not privileges.advice("something else", database)
