"""Whether triggers and rules still work: what a scratch database refuses before a script and after it.

A function's body is text to PostgreSQL: nothing tells it that a column in there has another name now.
"""

from collections.abc import Iterator, Mapping

import psycopg2

from postgres_database.connection import Database
from postgres_database.fillable import UNDEFINED, Session, Table, name_in_sql

Refusals = Mapping[tuple[int, str], tuple[str, psycopg2.Error]]
"""By the OID of a table and INSERT, UPDATE or DELETE: the table's name for SQL, and why that is refused."""

TRIGGERING = """
    SELECT c.oid, n.nspname, c.relname
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal)
       OR EXISTS (SELECT FROM pg_rewrite r WHERE r.ev_class = c.oid AND r.ev_type <> '1')
"""


def refusals(database: Database) -> Refusals:
    """Try to write rows into every table with triggers or rules, and write nothing."""
    found = {}
    with database.connect() as connection:
        session = Session(connection)
        session.run("SET CONSTRAINTS ALL IMMEDIATE")
        for oid, schema, name in session.run(TRIGGERING):
            if table := session.tables.get((schema, name)):
                for verb, statement in _statements(table):
                    try:
                        session.run(statement)
                        session.undo()
                    except psycopg2.Error as error:
                        found[oid, verb] = table.sql, error
    return found


def broken(before: Refusals, after: Refusals, database: Database) -> tuple[str, ...]:
    """Say in a line each what worked before, and now finds a name missing."""
    return tuple(
        f"{verb} on {name}: {database.words(error).partition(chr(10))[0]}"
        for key, (name, error) in after.items()
        for verb in key[1:]
        if str(error.pgcode).startswith(UNDEFINED)
        and (key not in before or before[key][1].pgcode != error.pgcode)
    )


def _statements(table: Table) -> Iterator[tuple[str, str]]:
    columns = [name_in_sql(name) for name, column in table.columns.items() if column.settable]
    if columns:
        listed = ", ".join(columns)
        taken = f"SELECT {listed} FROM {table.rows} LIMIT 1"  # noqa: S608 - of quoted names
        yield "INSERT", f"INSERT INTO {table.sql} ({listed}) {taken}"
        same = ", ".join(f"{column} = {column}" for column in columns)
        yield "UPDATE", f"UPDATE {table.sql} SET {same}"  # noqa: S608
    yield "DELETE", f"DELETE FROM {table.sql}"  # noqa: S608
