"""Models against history: the objects that differ, and Alembic's words for them."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.autogenerate.api import AutogenContext
from alembic.operations.ops import AlterColumnOp
from alembic.runtime.migration import MigrationContext
from alembic.runtime.plugins import Plugin
from alembic.util import DispatchPriority, PriorityDispatchResult
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeEngine

from postgres_database import snapshot
from postgres_database.connection import Database
from postgres_database.snapshot import Difference, Key, Snapshot

PLUGIN = "postgres_database.defaults"

DEFAULTS = sa.text(
    """
    SELECT n.nspname, c.relname, a.attname, pg_get_expr(d.adbin, d.adrelid)
    FROM pg_attrdef d
    JOIN pg_class c ON c.oid = d.adrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
    WHERE n.nspname NOT IN ('pg_catalog', 'information_schema')
    """
)


# Partitions may be made by another process, and what an extension owns comes with the extension.
UNMANAGED = sa.text(
    """
    SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS quoted, n.nspname, c.relname
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'f') AND (c.relispartition OR EXISTS (
        SELECT FROM pg_depend d
        WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
    ))
    """
)

QUALIFIED = r'(?:"(?:[^"]|"")*"|[\w$]+)\.(?:"(?:[^"]|"")*"|[\w$]+)'
OWNER = re.compile(
    rf"CREATE (?:UNLOGGED |FOREIGN )*TABLE (?P<table>{QUALIFIED})"
    rf"|ALTER TABLE (?:ONLY )?(?P<altered>{QUALIFIED})"
    rf"|CREATE (?:UNIQUE )?INDEX .*? ON (?:ONLY )?(?P<indexed>{QUALIFIED}) USING"
    rf"|COMMENT ON (?:TABLE|COLUMN) (?P<commented>{QUALIFIED})",
    re.DOTALL,
)
ALEMBICS = ("TABLE", "FOREIGN TABLE", "SEQUENCE", "DEFAULT", "INDEX", "COMMENT")
"""The kinds that Alembic drops when the models do not know them; besides all constraints."""


@dataclass(frozen=True)
class Comparison:
    """What must change in the history's schema (left) to be the models' (right)."""

    objects: tuple[Difference, ...]
    """Objects whose definitions differ, as PostgreSQL prints them. Empty: nothing to do."""
    kept: tuple[Key, ...] = ()
    """Objects that only the history has and nobody would drop for that: views, functions, …"""
    detected: tuple[str, ...] = ()
    """What Alembic finds, a line each."""


def compare(at_head: Database, from_models: Database, metadata: sa.MetaData) -> Comparison:
    """Compare a database at head with one that the models made."""
    found = differences(at_head, snapshot.take(at_head), snapshot.take(from_models))
    if not found.objects:
        return found
    with at_head.connect() as connection:
        context = MigrationContext.configure(connection, opts=options(at_head, from_models))
        diffs = compare_metadata(context, metadata)
    return replace(found, detected=describe(diffs))


def differences(at_head: Database, left: Snapshot, right: Snapshot) -> Comparison:
    """Compare the history's schema, which `at_head` has, with the models'.

    Models often do not know everything: views and functions of hand-written scripts, partitions.
    What only the history has is therefore kept, unless Alembic itself would drop it.
    """
    unmanaged = {name for name, _, _ in _unmanaged(at_head)}
    tables = {_owner(text) for texts in right.objects.values() for text in texts}
    objects, kept = [], []
    for difference in left.difference(right):
        owner = _owner(difference.left)
        alembics = difference.key.kind in ALEMBICS or difference.key.kind.endswith("CONSTRAINT")
        managed = owner in tables or (difference.key.kind == "TABLE" and owner not in unmanaged)
        if difference.right or (alembics and managed):
            objects.append(difference)
        else:
            kept.append(difference.key)
    return Comparison(tuple(objects), tuple(kept))


def _owner(text: str) -> str:
    """Return the table that a statement of a dump makes or belongs to."""
    match = OWNER.match(text)
    return next(filter(None, match.groups()), "") if match else ""


def _unmanaged(database: Database) -> list[tuple[str, str, str]]:
    with database.connect() as connection:
        rows = connection.execute(UNMANAGED)
        return [(row.quoted, row.nspname, row.relname) for row in rows]


def options(at_head: Database, from_models: Database) -> dict[str, Any]:
    """Return Alembic's options for a comparison with what the models made on a scratch database."""
    with from_models.connect() as connection:
        default = connection.execute(sa.text("SELECT current_schema()")).scalar_one()
        defaults = {tuple(row)[:3]: row[3] for row in connection.execute(DEFAULTS)}
    unmanaged = {(schema, table) for _, schema, table in _unmanaged(at_head)}

    def include_object(item: Any, name: str, kind: str, reflected: bool, other: Any) -> bool:  # noqa: FBT001
        alone = kind == "table" and reflected and other is None
        return not (alone and (item.schema or default, name) in unmanaged)

    return {
        "compare_type": True,
        "compare_server_default": True,
        "include_schemas": True,
        "include_object": include_object,
        "autogenerate_plugins": ["alembic.autogenerate.*", PLUGIN],
        PLUGIN: (default, defaults),
    }


def _compare_default(  # noqa: PLR0913, PLR0917 - the signature is Alembic's
    autogen: AutogenContext,
    alter: AlterColumnOp,
    schema: str | None,
    table: str,
    column: str,
    inspected: sa.Column[Any],
    wanted: sa.Column[Any],
) -> PriorityDispatchResult:
    """Compare two texts of the server; Alembic would run the expression, which fails for some.

    Its own hook for this (`compare_server_default` as a function) fails for identity columns.
    """
    old, new = inspected.server_default, wanted.server_default
    if isinstance(old, sa.Computed) or isinstance(new, sa.Computed):
        return PriorityDispatchResult.STOP  # nothing alters such a column; the snapshots differ
    if not isinstance(old, sa.DefaultClause) and not isinstance(new, sa.DefaultClause):
        return (
            PriorityDispatchResult.CONTINUE
        )  # identity; or serial, whose default is not reflected
    default_schema, defaults = autogen.opts[PLUGIN]
    there = str(old.arg) if isinstance(old, sa.DefaultClause) else None
    alter.existing_server_default = old
    if there != defaults.get((schema or default_schema, table, column)):
        alter.modify_server_default = new
    return PriorityDispatchResult.STOP


Plugin(PLUGIN).add_autogenerate_comparator(
    _compare_default, "column", "server_default", priority=DispatchPriority.FIRST
)


def describe(diffs: Iterable[Any]) -> tuple[str, ...]:
    """Say in a line each what Alembic's `compare_metadata` found."""
    lines = []
    for diff in diffs:
        lines += [_line(part) for part in diff] if isinstance(diff, list) else [_line(diff)]
    return tuple(lines)


def _line(diff: tuple[Any, ...]) -> str:
    action, *rest = diff
    verb, _, kind = action.partition("_")
    if verb == "modify":
        schema, table, column, _existing, old, new = rest
        column = f"{_qualified(schema, table)}.{column}"
        if kind == "nullable":
            return f"change column {column} to {'NULL' if new else 'NOT NULL'}"
        return f"change {kind} of column {column}: {_shown(old)} -> {_shown(new)}"
    if kind == "column":
        schema, table, column = rest
        return f"{verb} column {_qualified(schema, table)}.{column.name} ({_shown(column.type)})"
    item = rest[0]
    if kind == "table_comment":
        return f"{verb} comment of table {item.fullname}"
    if kind == "table":
        return f"{verb} table {item.fullname}"
    return f"{verb} {kind.replace('fk', 'foreign key')} {item.name} on {item.table.fullname}"


def _qualified(schema: str | None, table: str) -> str:
    return f"{schema}.{table}" if schema else table


def _shown(value: Any) -> str:
    if value is None or value is False:
        return "none"
    if isinstance(value, TypeEngine):
        return value.compile(dialect=postgresql.dialect())  # type: ignore[no-untyped-call]
    argument = getattr(value, "arg", value)
    return str(getattr(argument, "text", argument))


def cautions(diffs: Iterable[Any]) -> tuple[str, ...]:
    """Say what the changes throw away and what rows may stand in their way, a line each."""
    flat = [part for diff in diffs for part in (diff if isinstance(diff, list) else [diff])]
    added = [(diff[1], diff[2], diff[3].name) for diff in flat if diff[0] == "add_column"]
    new_tables = [diff[1].fullname for diff in flat if diff[0] == "add_table"]
    lines = []
    for action, *rest in flat:
        match action, rest:
            case "remove_column", [schema, table, column]:
                near = [name for *place, name in added if place == [schema, table]]
                meant = _meant(near, "op.alter_column(new_column_name=...)")
                lines.append(
                    f"the values of column {_qualified(schema, table)}.{column.name} are dropped{meant}"
                )
            case "remove_table", [table]:
                meant = _meant(new_tables, "op.rename_table")
                lines.append(f"the rows of table {table.fullname} are dropped{meant}")
            case "modify_type", [schema, table, column, _, _, new]:
                column = f"{_qualified(schema, table)}.{column}"
                lines.append(f"the values of column {column} are cast to {_shown(new)}")
            case "add_column", [schema, table, column] if not (
                column.nullable or column.server_default or column.identity
            ):
                column = f"{_qualified(schema, table)}.{column.name}"
                lines.append(f"column {column} is NOT NULL without a default: fails on rows")
            case "modify_nullable", [schema, table, column, _, _, False]:
                column = f"{_qualified(schema, table)}.{column}"
                lines.append(f"column {column} becomes NOT NULL: fails on rows without a value")
            case (("add_constraint" | "add_fk"), [constraint]):
                where = constraint.table.fullname
                lines.append(f"{constraint.name} on {where} fails on rows that break it")
            case "add_index", [index] if index.unique:
                lines.append(f"{index.name} on {index.table.fullname} fails on rows that are equal")
    return tuple(line for line in lines if not any(f" on {table} " in line for table in new_tables))


def _meant(candidates: list[str], operation: str) -> str:
    return f"; if {candidates[0]} is the new name, use {operation}" if len(candidates) == 1 else ""
