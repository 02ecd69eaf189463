"""What rows and values of a target pending scripts drop: counted, read-only."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from textwrap import shorten
from typing import Any

import psycopg2

from postgres_database.preflight import row_queries
from postgres_database.preflight.dropping import Loss
from postgres_database.preflight.preview import Printed
from postgres_database.preflight.requirements import Reading
from postgres_database.preflight.row_checks import NOT_THERE, Look, UntrustedError, looking
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
"""How tags of statements begin that drop what they name, or nothing."""
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
# PostgreSQL manual, pg_depend: what depends on an object falls with it; an internal part of another object, or a member
# of an extension, takes that along.
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
    """What and how many, for people."""
    table: bool
    """Whether a table goes with its rows."""

    def __str__(self) -> str:
        """Return the text."""
        return self.text


def dropped(
    database: Database, steps: Sequence[Printed], *, counted: bool = True
) -> tuple[Dropped, ...]:
    """Return what rows and values revisions drop from a target; uncounted also what may have none."""
    reading = Reading()
    found = dict.fromkeys(loss for step in steps for loss in reading.read(step.statements)[1])
    if found and counted:
        with looking(database) as look:
            lines = [line for loss in found for line in _said(look, loss)]
    else:
        lines = [_uncounted(loss) for loss in found]
    unknown = (Dropped(line, table=True) for step in steps for line in _unknown(step))
    return tuple(dict.fromkeys([*lines, *unknown]))


def _unknown(step: Printed) -> Iterator[str]:
    """Yield what may drop tables, though only running it shows that."""
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


def _said(look: Look, loss: Loss) -> list[Dropped]:
    """Say how many rows or values are lost; nothing if there are none."""
    try:
        with look.trying():
            if loss.address:
                return [*_falling(look, loss)]
            return [each for table in _tables(look, loss) for each in _counted(look, table, loss)]
    except UntrustedError as error:
        why = str(error)
    except psycopg2.Error as error:
        if loss.address and error.pgcode in NOT_THERE:
            return []
        why = look.why(error)
    line = _uncounted(loss)
    return [replace(line, text=f"{line}   (not counted: {why})")]


def _falling(look: Look, loss: Loss) -> Iterator[Dropped]:
    """Yield what depends on an object of the target: tables with rows, and columns or their attributes with values."""
    if loss.anywhere:
        raise UntrustedError("a statement before it changes where names lead")
    spared = {(look.oid(table), column) for table, column in loss.spared}
    for oid, table, column, parts in _dependent(look, loss):
        if spared.isdisjoint({(oid, column), (oid, "")}):
            part = Loss("column" if column else "table", table, column)
            for each in _said(look, part):
                yield replace(each, text=f"{parts}{each} with {_object(loss)}")


def _dependent(look: Look, loss: Loss) -> list[Any]:
    name, arguments = loss.address or ((), ())
    values = {"kind": loss.kind, "name": [*name], "arguments": [*arguments], "shown": loss.name}
    if loss.kind == "role":
        found = look.ask(OWNED, {"role": name[0]})
    else:
        found = look.run(FUNCTION if loss.kind == "any function" else ADDRESS, values)
    classes, objects, parts = ([row[part] for row in found] for part in range(3))
    start = {"classes": classes, "objects": objects, "parts": parts, "whole": loss.kind == "role"}
    return look.ask(FALLS, start)


def _object(loss: Loss) -> str:
    """Say what an object is."""
    kind = {"any function": "function", "table column": "column"}.get(loss.kind, loss.kind)
    return loss.name if loss.kind == "table constraint" else f"{kind} {loss.name}"


def _tables(look: Look, loss: Loss) -> list[Rows]:
    """Return the tables that may be meant."""
    if loss.anywhere:
        return look.anywhere(loss.name)
    return [table for table in [look.table(loss.name)] if table]


def _counted(look: Look, table: Rows, loss: Loss) -> Iterator[Dropped]:
    if loss.column and not look.column(table, loss.column, ""):
        return
    query = row_queries.filled(table, loss.column)
    look.require_trust("counting", query, [table])
    ((count,),) = look.run(query)
    rows = "1 row" if count == 1 else f"{count:,} rows"
    if not count:
        return
    if loss.column:
        text = f"values of {table.name}.{loss.column} in {rows} are dropped"
    elif loss.kind == "rows":
        text = f"rows of {table.name} are deleted; it has {count:,} now"
    elif loss.anywhere:
        text = (
            f"{rows} of {table.name} may be dropped: a statement before it changes where names lead"
        )
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
