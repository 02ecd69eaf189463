"""What a step of a script was done to, as the catalog knows it: a table of another OID is another table.

A column that is dropped and added again has another number (PostgreSQL manual, "pg_attribute"). One that got
another name is not what the script means.
"""

import re
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from postgres_database.server.transactions import SAFELY

Identity = dict[str, dict[str, str]]
"""Names by the OID of a table and the number of a column; that of the table itself is 0."""

# What a transaction has written, and outside of one what a statement may mean.
RELATIONS = """
    SELECT c.oid::text, c.relname, jsonb_build_object(0, n.nspname || '.' || c.relname)
           || coalesce(jsonb_object_agg(a.attnum, a.attname) FILTER (WHERE a.attnum > 0), '{}'), c.relpersistence = 't'
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p', 'f', 'm', 'v', 'S') AND c.oid <> to_regclass(%(log)s) AND (
        c.oid IN (SELECT relation FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'relation'
                  AND mode NOT IN ('AccessShareLock', 'RowShareLock')
                  AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))
        OR c.relname = ANY (%(names)s) AND n.nspname = ANY (%(schemas)s))
    GROUP BY c.oid, n.nspname, c.relname, c.relpersistence
"""
LIVE = """
    SELECT c.oid::text, jsonb_build_object(0, n.nspname || '.' || c.relname)
           || coalesce(jsonb_object_agg(a.attnum, a.attname) FILTER (WHERE a.attnum > 0), '{}')
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND NOT a.attisdropped
    WHERE c.oid = ANY (%s::oid[]) GROUP BY c.oid, n.nspname, c.relname
"""
WORD = re.compile(r'"((?:[^"]|"")+)"|([^\W\d][\w$]*)')


def name(sql: str) -> str:
    """Return what stands for a step in the log, which holds no value of any row."""
    return sha256(sql.encode()).hexdigest()[:20]


def of(cursor: Any, sql: str, schemas: Sequence[str], log: str) -> Identity:
    """Return what a step was done to: of the tables that its transaction wrote, those that it names, with columns.

    One that names none, such as a call of a function, was done to all of them, but for temporary ones: these are gone
    when the session ends.

    Args:
        cursor: In the transaction of the step.
        sql: Of the step.
        schemas: Where it finds what has no schema before its name, if that is not to be seen by its locks.
        log: The table that is none of them.
    """
    words = {quoted.replace('""', '"') or plain.lower() for quoted, plain in WORD.findall(sql)}
    cursor.execute(
        f"{SAFELY}; {RELATIONS}", {"log": log, "names": [*words], "schemas": [*schemas, *words]}
    )
    found = cursor.fetchall()
    named = [row for row in found if row[1] in words]
    return {
        oid: {
            number: column for number, column in names.items() if number == "0" or column in words
        }
        for oid, _, names, _ in named or [row for row in found if not row[3]]
    }


def live(cursor: Any, identities: Sequence[Identity]) -> Identity:
    """Return those of the tables that still exist, with their columns, under their current names."""
    cursor.execute(f"{SAFELY}; {LIVE}", ([*{oid for each in identities for oid in each}],))
    return dict(cursor.fetchall())
