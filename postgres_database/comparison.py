"""Models against history: the objects that differ, and Alembic's words for them."""

from collections.abc import Iterable
from dataclasses import dataclass
from types import NoneType
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
from postgres_database.snapshot import Difference

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


@dataclass(frozen=True)
class Comparison:
    """What must change in the history's schema (left) to be the models' (right)."""

    objects: tuple[Difference, ...]
    """Objects whose definitions differ, as PostgreSQL prints them. Empty: nothing to do."""
    detected: tuple[str, ...]
    """What Alembic finds, a line each."""


def compare(at_head: Database, from_models: Database, metadata: sa.MetaData) -> Comparison:
    """Compare a database at head with one that the models made."""
    objects = snapshot.take(at_head).difference(snapshot.take(from_models))
    if not objects:
        return Comparison((), ())
    with at_head.connect() as connection:
        context = MigrationContext.configure(connection, opts=options(from_models))
        diffs = compare_metadata(context, metadata)
    return Comparison(objects, describe(diffs))


def options(from_models: Database) -> dict[str, Any]:
    """Return Alembic's options for a comparison with what the models made on a scratch database."""
    with from_models.connect() as connection:
        schema = connection.execute(sa.text("SELECT current_schema()")).scalar_one()
        defaults = {tuple(row)[:3]: row[3] for row in connection.execute(DEFAULTS)}
    return {
        "compare_type": True,
        "compare_server_default": True,
        "include_schemas": True,
        "autogenerate_plugins": ["alembic.autogenerate.*", PLUGIN],
        PLUGIN: (schema, defaults),
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
    plain = (sa.DefaultClause, NoneType)
    if not (
        isinstance(inspected.server_default, plain) and isinstance(wanted.server_default, plain)
    ):
        return PriorityDispatchResult.CONTINUE
    if inspected.server_default is None and wanted.server_default is None:
        return PriorityDispatchResult.CONTINUE  # a serial's default is not reflected
    default_schema, defaults = autogen.opts[PLUGIN]
    there = str(inspected.server_default.arg) if inspected.server_default is not None else None
    alter.existing_server_default = inspected.server_default
    if there != defaults.get((schema or default_schema, table, column)):
        alter.modify_server_default = wanted.server_default
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
        _schema, table, column, _existing, old, new = rest
        if kind == "nullable":
            return f"change column {table}.{column} to {'NULL' if new else 'NOT NULL'}"
        return f"change {kind} of column {table}.{column}: {_shown(old)} -> {_shown(new)}"
    if kind == "column":
        _schema, table, column = rest
        return f"{verb} column {table}.{column.name} ({_shown(column.type)})"
    item = rest[0]
    if kind == "table_comment":
        return f"{verb} comment of table {item.name}"
    where = f" on {item.table.name}" if kind != "table" else ""
    return f"{verb} {kind.replace('fk', 'foreign key')} {item.name}{where}"


def _shown(value: Any) -> str:
    if value is None or value is False:
        return "none"
    if isinstance(value, TypeEngine):
        return value.compile(dialect=postgresql.dialect())  # type: ignore[no-untyped-call]
    argument = getattr(value, "arg", value)
    return str(getattr(argument, "text", argument))


def losses(diffs: Iterable[Any]) -> tuple[str, ...]:
    """Say which rows or values the changes throw away, and what may have been meant instead."""
    flat = [part for diff in diffs for part in (diff if isinstance(diff, list) else [diff])]
    lines = []
    added = [(diff[2], diff[3].name) for diff in flat if diff[0] == "add_column"]
    new_tables = [diff[1].name for diff in flat if diff[0] == "add_table"]
    for diff in flat:
        if diff[0] == "remove_column":
            table, column = diff[2], diff[3].name
            renamed = [name for other, name in added if other == table]
            meant = (
                f"; if {' or '.join(renamed)} is its new name, use op.alter_column(new_column_name=…)"
                if renamed
                else ""
            )
            lines.append(f"the values of column {table}.{column} are dropped{meant}")
        elif diff[0] == "remove_table":
            meant = (
                f"; if {' or '.join(new_tables)} is its new name, use op.rename_table"
                if new_tables
                else ""
            )
            lines.append(f"the rows of table {diff[1].name} are dropped{meant}")
        elif diff[0] == "modify_type":
            lines.append(
                f"the values of column {diff[2]}.{diff[3]} are cast to {diff[6]}: look for what is lost"
            )
    return tuple(lines)
