"""Which revisions a database is stamped with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg2.errors import InsufficientPrivilege

from postgres_database.errors import ExpectedError
from postgres_database.server import privileges
from postgres_database.server.connection import VERSION_SCHEMA, Database
from postgres_database.server.transactions import SearchPath
from postgres_database.sql.names import Name, quoted

# Code of its owner, who may be anyone, that the table runs when it is read or written. The table that Alembic makes has
# none, and our log has only one default.
TABLE = """
    SELECT row_security_active(c.oid), array(SELECT polname::text FROM pg_policy WHERE polrelid = c.oid ORDER BY 1),
           r.rolname, CASE WHEN r.rolsuper OR pg_has_role(c.relowner, current_user, 'MEMBER') THEN '{}' ELSE array(
               SELECT 'the trigger ' || tgname FROM pg_trigger WHERE tgrelid = c.oid AND NOT tgisinternal
               UNION ALL SELECT 'the rule ' || rulename FROM pg_rewrite WHERE ev_class = c.oid
               UNION ALL SELECT 'the constraint ' || conname FROM pg_constraint
                         WHERE conrelid = c.oid AND contype IN ('c', 'x')
               UNION ALL SELECT 'the index ' || indexrelid::regclass FROM pg_index
                         WHERE indrelid = c.oid AND num_nonnulls(indexprs, indpred) > 0
               UNION ALL SELECT 'the default ' || pg_get_expr(adbin, adrelid) FROM pg_attrdef
                         WHERE adrelid = c.oid AND pg_get_expr(adbin, adrelid) <> 'clock_timestamp()'
               UNION ALL SELECT 'the type ' || format_type(atttypid, NULL) FROM pg_attribute
                         WHERE attrelid = c.oid AND attnum > 0 AND atttypid >= 16384
               UNION ALL SELECT 'not a plain table' WHERE c.relkind <> 'r') END,
           CASE WHEN c.relkind NOT IN ('r', 'p', 'v', 'f') THEN 'is not a table'
                WHEN t.oid IS NULL THEN 'has no column version_num'
                WHEN t.typcategory <> 'S' OR t.typname = 'bpchar'
                THEN 'has version_num of the type ' || format_type(t.oid, NULL) END
    FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner
    LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'version_num' AND NOT a.attisdropped
    LEFT JOIN pg_type t ON t.oid = a.atttypid
    WHERE c.oid =
"""
HAS_SCHEMA = """
    SELECT EXISTS (SELECT FROM unnest(string_to_array(replace(%s, '$user', current_user), ',')) AS path (name)
                   WHERE to_regnamespace(trim(path.name)) IS NOT NULL)
"""
REVISIONS = "SELECT version_num FROM {}"
# As Alembic makes it (Alembic documentation, `EnvironmentContext.configure`, version_table).
CREATE = """
    CREATE TABLE IF NOT EXISTS {} (
        version_num varchar(32) NOT NULL,
        CONSTRAINT {} PRIMARY KEY (version_num)
    )
"""
LOCK = "hashtextextended('postgres-database: ' || coalesce({schema}, '') || '.' || {name}, 0)"
"""The advisory lock of a version table: two histories in two schemas do not wait for each other."""
# All that must be known before the table is read, in one statement.
GLANCE = f"""
    SELECT place.schema, pg_backend_pid(), EXISTS (
               SELECT FROM pg_locks
               WHERE locktype = 'advisory' AND granted AND objsubid = 1
                 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
                 AND (classid::bigint << 32 | objid::bigint) = {LOCK.format(schema="place.schema", name="place.name")}),
           version_table.*
    FROM (SELECT coalesce(nullif(%s, ''), ({VERSION_SCHEMA}), %s), %s) AS place (schema, name)
    LEFT JOIN LATERAL ({TABLE} to_regclass(format('%%I.%%I', place.schema, place.name))) AS version_table ON true
"""  # noqa: S608 - constants

# Tables that people have made: none of an extension, no partition.
HELD = """
    SELECT n.nspname, c.relname
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'f') AND NOT c.relispartition AND c.relpersistence <> 't'
      AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
      AND NOT EXISTS (SELECT FROM pg_depend d
                      WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
      AND NOT (n.nspname IS NOT DISTINCT FROM %s AND c.relname = ANY (%s))
    ORDER BY 1, 2
"""


@dataclass(frozen=True)
class Placement:
    """Where the version table of a database is, or would be made."""

    database: Database
    schema: str | None
    """None: no schema of the search path is there."""

    @property
    def options(self) -> dict[str, Any]:
        """Its name and schema as options of Alembic (Alembic documentation, `EnvironmentContext.configure`).

        Raises:
            ExpectedError: There is no schema for it.
        """
        if self.schema is None:
            raise self._unplaced()
        return {
            "version_table": self.database.versions.name,
            "version_table_schema": self.schema,
        }

    def require_schema(self, cursor: Any, path: SearchPath) -> None:
        """Raise ExpectedError if no schema of the search path is there; in a transaction of ours."""
        if self.schema is None:
            cursor.execute(HAS_SCHEMA, (path.setting,))
            if cursor.fetchone() == (False,):
                raise self._unplaced()

    def _unplaced(self) -> ExpectedError:
        listed = f"invoke psql{self.database.env_option} --command '\\dn' lists them"
        return ExpectedError(
            f"{self.database.dsn} has no schema for the table {self.database.versions.name}",
            cause="no schema of the search path is there and may be used",
            hint=self.database.until(
                f"it has options='-c search_path=…' with a schema that is there; {listed}"
            ),
        )

    @property
    def sql(self) -> str:
        """The table, for SQL."""
        return f"{quoted(self.schema or '')}.{quoted(self.database.versions.name)}"

    @property
    def shown(self) -> str:
        """The table, for people."""
        return Name(self.schema or "", self.database.versions.name).sql

    def is_there(self, cursor: Any) -> bool:
        """Tell whether the table exists and all its rows are visible; in a transaction of ours.

        Raises:
            ExpectedError: A policy hides rows, the table runs code of a role with fewer rights than ours, or it is
                none of Alembic's.
        """
        cursor.execute("SELECT to_regclass(%s) IS NULL", (self.sql,))
        if cursor.fetchone() == (True,):  # known at once; what follows takes long to be planned
            return False
        cursor.execute(f"{TABLE} to_regclass(%s)", (self.sql,))
        row = cursor.fetchone()
        if row is None:
            return False
        self.require_trusted(row)
        return True

    def require_trusted(self, row: Sequence[Any]) -> None:
        """Raise the errors of `is_there`, by the row of TABLE."""
        hidden, policies, owner, runs, other = row
        psql = f"invoke psql{self.database.env_option} --command"
        if runs:
            raise ExpectedError(
                f"the table {self.shown} of {self.database.dsn} is not touched: it would run code that is not trusted",
                cause=f"it belongs to {owner} and has {', '.join(runs)}",
                hint=f"{psql} '\\d {self.shown}'   (drop that, or name another version_table in alembic.ini)",
            )
        if other:
            raise ExpectedError(
                f"which revision {self.database.dsn} is cannot be read: {self.shown} {other}",
                cause="Alembic keeps revisions in a table with a column version_num, which is a text",
                hint=f"{psql} '\\d {self.shown}'   (rename that, or name another version_table in alembic.ini)",
            )
        if hidden:
            named = (
                f"the policy {', '.join(policies)}" if policies else "row security without a policy"
            )
            grantor = privileges.Grantor(self.database, privileges.OF_OURS, self.sql)
            raise ExpectedError(
                f"which revision {self.database.dsn} is cannot be read: {named} hides rows of {self.shown}",
                cause="row security holds for the user of the DSN",
                hint=grantor.runs(
                    f"ALTER TABLE {self.sql} DISABLE ROW LEVEL SECURITY",
                    "or with a user in the DSN who has BYPASSRLS",
                ),
            )


# What follows works in a transaction of ours, which is given by its cursor and the usual search path: what
# `transactions.ours` and `transactions.driven` yield.


def placement(database: Database, cursor: Any, path: SearchPath) -> Placement:
    """Find the version table of a database."""
    return Placement(database, database.version_schema(cursor, path))


def read(database: Database, cursor: Any, path: SearchPath) -> tuple[str, ...]:
    """Return the revisions that the version table has, sorted.

    Raises:
        ExpectedError: They cannot be read, one of them is NULL, or one is there twice.
    """
    table = placement(database, cursor, path)
    try:
        if table.schema is None or not table.is_there(cursor):
            return ()
        return _revisions(table, cursor)
    except InsufficientPrivilege as error:
        words = database.words(error)
        raise ExpectedError(
            f"which revision {database.dsn} is cannot be read",
            cause=words,
            hint=privileges.to_read(table.shown, words, database),
        ) from error


@dataclass(frozen=True)
class Glance:
    """What is known of a database without SQLAlchemy."""

    revisions: tuple[str, ...]
    """Those that it is stamped with, sorted."""
    alone: bool
    """Whether no other command changes it by this history, in a session that could keep the lock (see `lock`)."""


def glance(database: Database) -> Glance:
    """Read which revisions a database is stamped with, by the driver alone and in three statements.

    Raises:
        ExpectedError: The connection is refused, or as in `read`.
    """
    versions = database.versions
    with database.reading() as (cursor, path):
        schemas = [*path.schemas]
        place = versions.schema, schemas, versions.name, next(iter(schemas), None), versions.name
        cursor.execute(GLANCE, place)
        schema, pid, locked, *row = cursor.fetchone() or ()
        alone = not locked and pid == cursor.connection.info.backend_pid
        table = Placement(database, schema)
        if row[0] is None:  # there is no table
            return Glance((), alone)
        table.require_trusted(row)
        return Glance(_revisions(table, cursor), alone)


def _revisions(table: Placement, cursor: Any) -> tuple[str, ...]:
    database = table.database
    cursor.execute(REVISIONS.format(table.sql))
    revisions = [revision for (revision,) in cursor.fetchall()]
    if None in revisions:
        delete = f"DELETE FROM {table.sql} WHERE version_num IS NULL"  # noqa: S608 - for people
        raise ExpectedError(
            f"a row of {table.shown} says NULL, which is not a revision",
            cause=f"its other rows: {', '.join(filter(None, revisions)) or 'none'}",
            hint=f"invoke psql{database.env_option} --command '{delete}'   (then invoke status{database.env_option})",
        )
    if len(revisions) > len({*revisions}):
        twice = max(revisions, key=revisions.count)
        raise ExpectedError(
            f"{table.shown} has {revisions.count(twice)} rows that say {twice}",
            cause="Alembic writes one, and no script can be stamped beside two: the table has lost its primary key",
            hint=f"invoke stamp{database.env_option} --purge --target {twice}"
            "   (it compares the database with that revision)",
        )
    return tuple(sorted(revisions))


def unmarked(database: Database, cursor: Any, path: SearchPath) -> list[tuple[str, str]]:
    """Return schema and name of the tables of a database without a revision."""
    if read(database, cursor, path):
        return []
    names = [database.versions.name, database.versions.log]
    cursor.execute(HELD, (database.version_schema(cursor, path), names))
    return [(schema, name) for schema, name in cursor.fetchall()]


def ready(database: Database, cursor: Any, path: SearchPath) -> dict[str, Any]:
    """Make the schema of the version table if settings name one that is missing; return the options of Alembic.

    Raises:
        ExpectedError: There is no schema for it.
    """
    if schema := database.versions.schema:
        cursor.execute("SELECT to_regnamespace(%s) IS NULL", (quoted(schema),))
        if cursor.fetchone() == (True,):
            cursor.execute(f"CREATE SCHEMA {quoted(schema)}")
    return placement(database, cursor, path).options


def first(database: Database, cursor: Any, path: SearchPath, heads: Sequence[str]) -> None:
    """Stamp a database that has no revision; its version table is made if it is missing."""
    table = placement(database, cursor, path)
    cursor.execute(CREATE.format(table.sql, quoted(f"{database.versions.name}_pkc")))
    insert = f"INSERT INTO {table.sql} (version_num) SELECT unnest(%s::text[])"
    cursor.execute(insert, ([*heads],))


def clear(database: Database, cursor: Any, path: SearchPath) -> None:
    """Remove the revisions of a database, whatever they are."""
    table = placement(database, cursor, path)
    if table.schema is not None and table.is_there(cursor):
        cursor.execute(f"DELETE FROM {table.sql}")  # noqa: S608 - quoted
