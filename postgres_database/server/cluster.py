"""What belongs to a server and is named in schemas: roles and tablespaces."""

from collections.abc import Iterable

import sqlalchemy as sa
from psycopg2.errors import DuplicateObject, UniqueViolation
from sqlalchemy.exc import DBAPIError

from postgres_database.sql.names import quoted

ALREADY = DuplicateObject, UniqueViolation
"""What the server says of a role, tablespace or membership that another session has made meanwhile."""

# Roles that grants and policies name. Owners are left out: scripts say nothing about them.
ROLES = sa.text(
    """
    SELECT DISTINCT r.rolname
    FROM pg_shdepend d
    JOIN pg_database b ON b.oid = d.dbid AND b.datname = current_database()
    JOIN pg_roles r ON r.oid = d.refobjid
    WHERE d.refclassid = 'pg_authid'::regclass AND r.rolname !~ '^pg_'
      AND (d.deptype <> 'o' OR d.classid = 'pg_default_acl'::regclass)
    ORDER BY 1
    """
)
TABLESPACES = sa.text(
    """
    SELECT DISTINCT t.spcname FROM pg_class c JOIN pg_tablespace t ON t.oid = c.reltablespace
    WHERE t.spcname !~ '^pg_' ORDER BY 1
    """
)


def provide(
    connection: sa.Connection, roles: Iterable[str], tablespaces: Iterable[str] = ()
) -> None:
    """Create the roles and tablespaces that are missing: for servers of our own only.

    The connection is in autocommit. The roles cannot log in; the tablespaces are folders of the server's own
    (PostgreSQL manual, allow_in_place_tablespaces).
    """
    for name in _missing(connection, roles, "SELECT rolname FROM pg_roles"):
        _create(connection, f"CREATE ROLE {quoted(name)} NOLOGIN")
    for name in _missing(connection, tablespaces, "SELECT spcname FROM pg_tablespace"):
        connection.exec_driver_sql("SET allow_in_place_tablespaces = on")
        _create(connection, f"CREATE TABLESPACE {quoted(name)} LOCATION ''")


def _missing(connection: sa.Connection, names: Iterable[str], query: str) -> list[str]:
    wanted = set(names)
    return sorted(wanted.difference(connection.exec_driver_sql(query).scalars())) if wanted else []


def _create(connection: sa.Connection, statement: str) -> None:
    try:
        connection.exec_driver_sql(statement.replace("%", "%%"))
    except DBAPIError as error:
        if not isinstance(error.orig, ALREADY):  # another command was faster
            raise
