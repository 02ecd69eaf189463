"""How many rows and values of a target pending scripts drop; counted in a read-only transaction."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from textwrap import shorten
from typing import Any

import psycopg2

from postgres_database.preflight import row_queries
from postgres_database.preflight.dropping import Loss
from postgres_database.preflight.preview import Printed
from postgres_database.preflight.requirements import StatementReader
from postgres_database.preflight.row_checks import (
    UNDEFINED,
    ReadOnlySession,
    UntrustedError,
    read_only_session,
)
from postgres_database.preflight.row_queries import Rows
from postgres_database.server.connection import Database
from postgres_database.sql.syntax import UnreadableError, read
from postgres_database.sql.tokens import without_literals

WIDTH = 60  # characters of a statement
DROPS = re.compile(
    r"\bdrop_table\b|\bDROP\s+(?:TABLE|SCHEMA|OWNED|EXTENSION)\b|\bDROP\s[^;]*\bCASCADE\b",
    re.IGNORECASE,
)
KNOWN = ("Alter", "Create", "Comment", "DropStmt", "IndexStmt", "RuleStmt", "ViewStmt")
"""Prefixes of the tags of statements that drop only objects whose names `StatementReader` reads, or nothing."""
ADDRESS = """
    SELECT classid, objid, objsubid
    FROM pg_catalog.pg_get_object_address(
        %(kind)s::pg_catalog.text, %(name)s::pg_catalog.text[], %(arguments)s::pg_catalog.text[]
    )
"""
FUNCTION = """
    SELECT 'pg_catalog.pg_proc'::pg_catalog.regclass::pg_catalog.oid,
           %(shown)s::pg_catalog.text::pg_catalog.regproc::pg_catalog.oid, 0
"""
OWNED = """
    SELECT s.classid, s.objid, s.objsubid
    FROM pg_shdepend s JOIN pg_database d ON d.oid = s.dbid AND d.datname = current_database()
    WHERE s.deptype = 'o' AND s.refclassid = 'pg_authid'::regclass
      AND s.refobjid = (SELECT oid FROM pg_roles WHERE rolname = coalesce(nullif(%(role)s::text, ''), current_user))
"""
# PostgreSQL manual, pg_depend: CASCADE drops what depends on an object. An internal part of another object, or a
# member of an extension, is dropped together with that.
FALLS = """
    WITH RECURSIVE first (classid, objid, objsubid) AS (
        SELECT * FROM unnest(%(classes)s::oid[], %(objects)s::oid[], %(parts)s::int[])
    ), falls (classid, objid, objsubid) AS (
        SELECT * FROM first
        UNION
        SELECT more.* FROM falls f CROSS JOIN LATERAL (
            SELECT d.classid, d.objid, d.objsubid FROM pg_depend d
            WHERE d.refclassid = f.classid AND d.refobjid = f.objid AND f.objsubid IN (0, d.refobjsubid)
            UNION ALL
            SELECT d.refclassid, d.refobjid, d.refobjsubid FROM pg_depend d
            WHERE d.classid = f.classid AND d.objid = f.objid AND d.objsubid = f.objsubid AND d.deptype IN ('i', 'e')
        ) AS more
    ), relations AS (SELECT objid, objsubid FROM falls WHERE classid = 'pg_class'::regclass)
    SELECT c.oid, format('%%I.%%I', n.nspname, c.relname), coalesce(quote_ident(a.attname), ''), ''
    FROM relations r
    JOIN pg_class c ON c.oid = r.objid AND c.relkind IN ('r', 'p')
    JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = nullif(r.objsubid, 0)
    WHERE (r.objsubid = 0 OR NOT EXISTS (SELECT FROM relations t WHERE t.objid = r.objid AND t.objsubid = 0))
      AND (%(whole)s OR NOT EXISTS (SELECT FROM first f WHERE (f.objid, f.objsubid) = (r.objid, r.objsubid)))
      AND NOT (c.relispartition AND EXISTS (
          SELECT FROM pg_inherits i JOIN relations p ON p.objid = i.inhparent
          WHERE i.inhrelid = c.oid AND (p.objsubid = 0 OR r.objsubid > 0)
      ))
    UNION
    SELECT c.oid, format('%%I.%%I', n.nspname, c.relname), quote_ident(a.attname), 'parts of the '
    FROM relations r
    JOIN pg_type t ON t.typrelid = r.objid AND r.objsubid > 0
    JOIN pg_attribute a ON a.atttypid IN (t.oid, t.typarray)
    JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p')
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE NOT EXISTS (SELECT FROM relations t WHERE t.objid = c.oid AND t.objsubid IN (0, a.attnum))
    ORDER BY 2, 3
"""


@dataclass(frozen=True)
class Dropped:
    """Rows or values that revisions drop from a target."""

    text: str
    """The message: what is dropped, and how much."""
    table: bool
    """Whether a table is dropped with its rows."""

    def __str__(self) -> str:
        """Return the text."""
        return self.text


def dropped(
    database: Database, steps: Sequence[Printed], *, counted: bool = True
) -> tuple[Dropped, ...]:
    """Return the rows and values that revisions drop from a target.

    Args:
        database: The target.
        steps: The statements of the revisions, in order.
        counted: Count them, and leave out tables and columns without any. Otherwise the target is not read.

    Raises:
        ExpectedError: The rows cannot be read.
    """
    reading = StatementReader()
    found = dict.fromkeys(loss for step in steps for loss in reading.read(step.statements)[1])
    if found and counted:
        with read_only_session(database) as session:
            lines = [line for loss in found for line in _messages(session, loss)]
    else:
        lines = [_uncounted(loss) for loss in found]
    unknown = (Dropped(line, table=True) for step in steps for line in _unknown(step))
    return tuple(dict.fromkeys([*lines, *unknown]))


def _unknown(step: Printed) -> Iterator[str]:
    """Yield a message for each script or statement that may drop tables in a way that cannot be read from it."""
    if step.statements is None and DROPS.search(step.source):
        yield f"revision {step.revision.id} may drop tables with their rows: only running it shows that"
    for statement in step.statements or ():
        if DROPS.search(statement) and not _is_known(statement):
            text = shorten(without_literals(statement), WIDTH, placeholder=" …")
            yield f"tables may be dropped with their rows by {text}"


def _is_known(statement: str) -> bool:
    try:
        return read(statement).tag.startswith(KNOWN)
    except UnreadableError:
        return False


def _messages(session: ReadOnlySession, loss: Loss) -> list[Dropped]:
    """Return the messages for a loss: with counts, or with the reason why it is not counted; none for no rows."""
    try:
        with session.trying():
            if loss.address:
                return [*_dependent_data(session, loss)]
            return [
                each for table in _tables(session, loss) for each in _counted(session, table, loss)
            ]
    except UntrustedError as error:
        why = str(error)
    except psycopg2.Error as error:
        if loss.address and error.pgcode in UNDEFINED:
            return []
        why = session.why(error)
    line = _uncounted(loss)
    return [replace(line, text=f"{line}   (not counted: {why})")]


def _dependent_data(session: ReadOnlySession, loss: Loss) -> Iterator[Dropped]:
    """Yield messages for the tables, columns and attributes of columns that depend on an object and hold data."""
    if loss.any_schema:
        raise UntrustedError("a statement before it may change the search path")
    spared = {(session.oid(table), column) for table, column in loss.spared}
    for oid, table, column, parts in _dependent(session, loss):
        if spared.isdisjoint({(oid, column), (oid, "")}):
            part = Loss("column" if column else "table", table, column)
            for each in _messages(session, part):
                yield replace(each, text=f"{parts}{each} with {_object(loss)}")


def _dependent(session: ReadOnlySession, loss: Loss) -> list[Any]:
    name, arguments = loss.address or ((), ())
    values = {"kind": loss.kind, "name": [*name], "arguments": [*arguments], "shown": loss.name}
    if loss.kind == "role":
        found = session.ask(OWNED, {"role": name[0]})
    else:
        found = session.run(FUNCTION if loss.kind == "any function" else ADDRESS, values)
    classes, objects, parts = ([row[part] for row in found] for part in range(3))
    start = {"classes": classes, "objects": objects, "parts": parts, "whole": loss.kind == "role"}
    return session.ask(FALLS, start)


def _object(loss: Loss) -> str:
    """Return kind and name of an object, for a message."""
    kind = {"any function": "function", "table column": "column"}.get(loss.kind, loss.kind)
    return loss.name if loss.kind == "table constraint" else f"{kind} {loss.name}"


def _tables(session: ReadOnlySession, loss: Loss) -> list[Rows]:
    """Return the tables of the target that the name of a loss may mean."""
    if loss.any_schema:
        return session.tables_named(loss.name)
    return [table for table in [session.table(loss.name)] if table]


def _counted(session: ReadOnlySession, table: Rows, loss: Loss) -> Iterator[Dropped]:
    if loss.column and not session.column(table, loss.column, ""):
        return
    query = row_queries.count_values(table, loss.column)
    session.require_trust("counting", query, [table])
    ((count,),) = session.run(query)
    rows = "1 row" if count == 1 else f"{count:,} rows"
    if not count:
        return
    if loss.column:
        text = f"values of {table.name}.{loss.column} in {rows} are dropped"
    elif loss.kind == "rows":
        text = f"rows of {table.name} are deleted; it has {count:,} now"
    elif loss.any_schema:
        text = f"{rows} of {table.name} may be dropped: a statement before it may change the search path"
    else:
        text = f"{rows} of {table.name} {'is' if count == 1 else 'are'} dropped"
    yield Dropped(text, table=loss.kind == "table")


def _uncounted(loss: Loss) -> Dropped:
    if loss.address:
        return Dropped(
            f"what depends on {_object(loss)} is dropped, with rows and values", table=True
        )
    if loss.column:
        return Dropped(f"values of {loss.name}.{loss.column} are dropped", table=False)
    verb = "deleted" if loss.kind == "rows" else "dropped"
    return Dropped(f"rows of {loss.name} are {verb}", table=loss.kind == "table")
