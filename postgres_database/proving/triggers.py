"""Finds triggers and rules that fail on rows after a script, but not before it.

PostgreSQL does not track which tables and columns the text of a function body names (PostgreSQL manual, "Dependency
Tracking"). So a rename breaks a trigger function without an error until the trigger fires.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

import psycopg2

from postgres_database.proving.constraints import UNDEFINED, Sandbox, name_in_sql
from postgres_database.server.connection import Database
from postgres_database.sql.names import Name

Refusals = Mapping[tuple[int, str], tuple[str, psycopg2.Error]]
"""(OID of a table or view, INSERT, UPDATE or DELETE) → its name for SQL, and the error of that statement."""

TRIGGERING = """
    SELECT c.oid, n.nspname, c.relname, array(
        SELECT a.attname::text FROM pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
              AND a.attgenerated = '' AND a.attidentity <> 'a'
        ORDER BY a.attnum)
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition AND (
        EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal)
        OR EXISTS (SELECT FROM pg_rewrite r WHERE r.ev_class = c.oid AND r.ev_type <> '1'))
"""
UNIQUE = "23505"
COPY = "postgres_database_copy"


def refusals(database: Database) -> Refusals:
    """Try to write to every table and view with triggers or rules, and return the errors; all is rolled back."""
    found = {}
    with database.connect(usual_path=True) as connection:
        sandbox = Sandbox(connection)
        sandbox.run("SET CONSTRAINTS ALL IMMEDIATE")
        for oid, schema, name, columns in sandbox.run(TRIGGERING):
            sql = f"{name_in_sql(schema)}.{name_in_sql(name)}"
            table = sandbox.tables.get(Name(schema, name))
            counted = (
                {each.name for each in table.columns.values() if each.counted} if table else set()
            )
            own = [column for column in columns if column not in counted]
            for verb, statement in _statements(sql, columns, own):
                if error := _refusal(sandbox, statement):
                    found[oid, verb] = sql, error
            if table and (refused := found.get((oid, "INSERT"))) and refused[1].pgcode == UNIQUE:
                # A copy of a row violates a unique key before AFTER triggers fire: delete and insert it instead.
                if error := _refusal(sandbox, _again(sql, columns)):
                    found[oid, "INSERT"] = sql, error
                else:
                    del found[oid, "INSERT"]
    return found


def broken(before: Refusals, after: Refusals, database: Database) -> tuple[str, ...]:
    """Return a line for each statement that fails now because of an undefined or mistyped name, and did not before."""
    return tuple(
        f"{verb} on {name}: {database.words(error).partition(chr(10))[0]}"
        for (oid, verb), (name, error) in after.items()
        if str(error.pgcode).startswith(UNDEFINED)
        and ((oid, verb) not in before or before[oid, verb][1].pgcode != error.pgcode)
    )


def _refusal(sandbox: Sandbox, statement: str) -> psycopg2.Error | None:
    """Run a statement, roll it back, and return its error; None if it succeeds."""
    try:
        sandbox.run(statement)
    except psycopg2.Error as error:
        return error
    with suppress(psycopg2.Error):
        sandbox.undo()
    return None


def _statements(sql: str, columns: Sequence[str], own: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the verb and the text of statements that write rows without changing a value.

    Args:
        sql: The name of the table or view.
        columns: The columns that can be written.
        own: Those without a sequence.
    """
    listed = ", ".join(map(name_in_sql, own))
    values = f"({listed}) SELECT {listed} FROM {sql} LIMIT 1" if own else "DEFAULT VALUES"  # noqa: S608
    yield "INSERT", f"INSERT INTO {sql} {values}"
    if columns:
        same = ", ".join(f"{name} = {name}" for name in map(name_in_sql, columns))
        yield "UPDATE", f"UPDATE {sql} SET {same}"  # noqa: S608
    yield "DELETE", f"DELETE FROM {sql}"  # noqa: S608


def _again(sql: str, columns: Sequence[str]) -> str:
    """Return statements that delete all rows without firing user triggers, and insert them again."""
    listed = ", ".join(map(name_in_sql, columns))
    return "; ".join(
        [
            f"CREATE TEMP TABLE {COPY} AS SELECT {listed} FROM {sql}",  # noqa: S608
            f"ALTER TABLE {sql} DISABLE TRIGGER USER",
            f"DELETE FROM {sql}",  # noqa: S608
            f"ALTER TABLE {sql} ENABLE TRIGGER USER",
            f"INSERT INTO {sql} ({listed}) SELECT {listed} FROM {COPY}",  # noqa: S608
        ]
    )
