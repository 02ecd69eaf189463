"""What a script left unfinished: an INVALID index, or a constraint that it should have validated.

An index that CREATE INDEX CONCURRENTLY did not finish stays, slows down writes and is used by no query; IF
NOT EXISTS skips it (PostgreSQL manual, CREATE INDEX, "Building Indexes Concurrently").
"""

import ast
import re
from collections.abc import Collection

import sqlalchemy as sa

from postgres_database.errors import ExpectedError
from postgres_database.history.graph import Revision
from postgres_database.running.log import cursor_of
from postgres_database.server.connection import Database
from postgres_database.sql.names import NAME, quoted, unquoted

# The usual answer is no, and costs a twentieth of the query below, most of which is planning.
ANY_INDEX = "EXISTS (SELECT FROM pg_index WHERE NOT (indisready AND indisvalid))"
ANY = f"{ANY_INDEX} OR EXISTS (SELECT FROM pg_constraint WHERE NOT convalidated)"
# An index that another session is building right now does not count.
UNFINISHED = """
    SELECT 'index' AS kind, n.nspname AS schema, c.relname AS name, '' AS relation
    FROM pg_index i
    JOIN pg_class c ON c.oid = i.indexrelid
    JOIN pg_class t ON t.oid = i.indrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE NOT (i.indisready AND (i.indisvalid OR t.relkind = 'p')) AND n.nspname !~ '^pg_toast'
      AND NOT EXISTS (SELECT FROM pg_stat_progress_create_index p
                      WHERE p.index_relid = i.indexrelid AND p.pid <> pg_backend_pid())
    UNION ALL
    SELECT 'constraint', n.nspname, k.conname, t.relname
    FROM pg_constraint k
    JOIN pg_class t ON t.oid = k.conrelid
    JOIN pg_namespace n ON n.oid = t.relnamespace
    WHERE NOT k.convalidated
    ORDER BY 1, 2, 3
"""
Unfinished = tuple[str, str, str, str]
"""Kind, schema and name, and the table of a constraint."""


def find(connection: sa.Connection) -> set[Unfinished]:
    """Return what is unfinished in a database; opens a transaction of its own if there is none."""
    if not connection.in_transaction():
        with connection.begin():
            return find(connection)
    with cursor_of(connection) as cursor:
        cursor.execute(f"SELECT {ANY}")
        if cursor.fetchone() == (False,):
            return set()
        cursor.execute(UNFINISHED)
        return {*cursor.fetchall()}


def possible(revision: Revision, before: Collection[Unfinished]) -> str:
    """Return the expression that tells whether a script may have left something unfinished; see `require_finished`."""
    return ANY if before or "validate" in revision.text.lower() else ANY_INDEX


def require_finished(
    database: Database,
    connection: sa.Connection,
    revision: Revision,
    verb: str,
    before: Collection[Unfinished],
) -> None:
    """Raise ExpectedError, so that nothing is stamped, if a script has left something unfinished.

    Args:
        database: Where.
        connection: In the transaction of the script.
        revision: The script. An index that it names must be valid, even if it existed before; a constraint that
            it validates must be validated.
        verb: What was run of it: `upgrade` or `downgrade`.
        before: What was unfinished before any script was run.
    """
    left = sorted(find(connection))
    script = body(revision.text, verb) if left else ""
    for thing in left:
        kind, schema, name, table = thing
        place = f"{quoted(schema)}.{quoted(name)}"
        if kind == "index" and (thing not in before or _names(script, name)):
            what, help_ = (
                f"the index {schema}.{name} is INVALID",
                f"DROP INDEX CONCURRENTLY {place}",
            )
        elif kind == "constraint" and _validates(script, name, table):
            what = f"the constraint {name} of {schema}.{table} is not validated"
            help_ = (
                f"ALTER TABLE {quoted(schema)}.{quoted(table)} VALIDATE CONSTRAINT {quoted(name)}"
            )
        else:
            continue
        raise ExpectedError(
            f"revision {revision} is not stamped: {what}",
            cause="a statement that was to finish it failed or was interrupted, perhaps in an earlier run",
            hint=f"invoke psql{database.env_option} --command '{help_}'   (then the same command again)",
        )


def body(script: str, verb: str) -> str:
    """Return the text of a script without the function that does the opposite of `upgrade` or `downgrade`."""
    other = {"upgrade": "downgrade", "downgrade": "upgrade"}[verb]
    lines = script.splitlines(keepends=True)
    for node in ast.parse(script).body:
        if isinstance(node, ast.FunctionDef) and node.name == other:
            kept = lines[: node.lineno - 1], lines[node.end_lineno :]
            return "".join([*kept[0], *kept[1]])
    return script


def _names(script: str, name: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", script, re.IGNORECASE) is not None


def _validates(script: str, name: str, table: str) -> bool:
    """Tell whether a script validates a constraint; one of the same name on another table does not count."""
    validate = rf"VALIDATE\s+CONSTRAINT\s+\W*(?<!\w){re.escape(name)}(?!\w)"
    places = re.findall(rf"(?:({NAME})\s+)?{validate}", script, re.IGNORECASE)
    return any(not place or unquoted(place)[-1] == table for place in places)
