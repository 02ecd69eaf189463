"""Comments of tables and columns, and the options of sequences.

PostgreSQL manual, "pg_description" and "pg_sequence".
"""

import sqlalchemy as sa

from postgres_database.server.connection import Database
from postgres_database.sql.names import Name

COMMENTS = sa.text(
    """
    SELECT n.nspname, c.relname, coalesce(a.attname, ''), d.description
    FROM pg_description d
    JOIN pg_class c ON d.classoid = 'pg_class'::regclass AND d.objoid = c.oid AND c.relkind IN ('r', 'p', 'f')
    JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.objsubid AND d.objsubid > 0
    """
)
Comments = dict[tuple[Name, str], str]
"""Comments by table and column; the column is empty for the comment of the table."""


def comments(database: Database) -> Comments:
    """Read the comments of the tables and columns of a database."""
    with database.connect() as connection, connection.begin():
        rows = connection.execute(COMMENTS)
        return {(Name(schema, table), column): comment for schema, table, column, comment in rows}


SEQUENCES = sa.text(
    """
    SELECT n.nspname, c.relname, format('AS %s START WITH %s INCREMENT BY %s MINVALUE %s MAXVALUE %s CACHE %s%s',
               s.seqtypid::regtype, s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcache,
               CASE WHEN s.seqcycle THEN ' CYCLE' ELSE ' NO CYCLE' END)
    FROM pg_sequence s
    JOIN pg_class c ON c.oid = s.seqrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    """
)


def sequences(database: Database) -> dict[Name, str]:
    """Read the options of all sequences, those of columns included, in the syntax of ALTER SEQUENCE."""
    with database.connect() as connection, connection.begin():
        rows = connection.execute(SEQUENCES)
        return {Name(schema, name): options for schema, name, options in rows}
