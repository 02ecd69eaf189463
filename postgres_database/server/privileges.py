"""A privilege that is missing → who must grant it, and how."""

import re

from postgres_database.server.connection import Database
from postgres_database.sql.names import identifier

DENIED = re.compile(
    r"permission denied for (foreign server|foreign-data wrapper|\w+) (\S.*)"
    r"|must be owner of (.+)|permission denied to (.+)"
)
GRANTS = {
    # Since PostgreSQL 15 only its owner may create in public (release notes of 15).
    "schema": "GRANT USAGE, CREATE ON SCHEMA {name} TO {user}",
    "database": "GRANT CREATE ON DATABASE {name} TO {user}",
    "sequence": "GRANT ALL ON SEQUENCE {name} TO {user}",
    "function": "GRANT EXECUTE ON FUNCTION {name} TO {user}",
    "type": "GRANT USAGE ON TYPE {name} TO {user}",
    "language": "GRANT USAGE ON LANGUAGE {name} TO {user}",
    "foreign server": "GRANT USAGE ON FOREIGN SERVER {name} TO {user}",
    "foreign-data wrapper": "GRANT USAGE ON FOREIGN DATA WRAPPER {name} TO {user}",
    "tablespace": "GRANT CREATE ON TABLESPACE {name} TO {user}",
    "table": "GRANT ALL ON {name} TO {user}",
    "view": "GRANT ALL ON {name} TO {user}",
}
"""By the kind of object; the name stands as the server says it."""


def to_read(table: str, said: str, database: Database) -> str:
    """Return what to type next for a command that only reads a table and may not.

    Args:
        table: Schema and name, as SQL.
        said: The server's words.
        database: Where it is.
    """
    with (
        database.connect() as connection,
        connection.begin(),
    ):  # the role may be another than the DSN's
        user = identifier(connection.exec_driver_sql("SELECT current_user").scalar_one())
    no_schema = re.search(r"permission denied for schema (\S.*)", said)
    grant = f"USAGE ON SCHEMA {no_schema[1].strip()}" if no_schema else f"SELECT ON {table}"
    whose = "schema" if no_schema else "table"
    return (
        f"invoke psql{database.env_option} --command 'GRANT {grant} TO {user}'   (as the owner of the {whose}, or as a"
        " superuser; that is enough to read, and docs/privileges.md has what a role needs that upgrades)"
    )


def advice(said: str, user: str) -> str:
    """Return what to type next, by the server's words and the user's name as SQL; empty if no privilege is named."""
    match = DENIED.search(said)
    if not match:
        return ""
    kind, name, owned, may = match.groups()
    if kind in GRANTS:
        grant = GRANTS[kind].format(name=name.strip(), user=user)
        return f"invoke psql{{env}} --command '{grant}'   (as the owner of the {kind}, or as a superuser)"
    if owned:
        return f"invoke status{{env}}   (once the DSN names the owner of {owned.strip()}, or a member of that role)"
    what = (may or f"use {kind} {name}").strip()
    return f"invoke status{{env}}   (once the DSN names a role that may {what}, or a superuser has done it)"
