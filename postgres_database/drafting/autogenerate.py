"""Alembic's side of the comparison: its operations and its words for what differs.

What differs is asked of the server, not of Alembic: it compares what Python wrote, and executes
server defaults to compare them.
"""

import warnings
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from alembic.autogenerate import produce_migrations
from alembic.autogenerate.api import AutogenContext
from alembic.operations import MigrateOperation
from alembic.operations.ops import (
    AddConstraintOp,
    AlterColumnOp,
    CreateIndexOp,
    CreateTableOp,
    DowngradeOps,
    DropConstraintOp,
    DropIndexOp,
    DropTableOp,
    ModifyTableOps,
    UpgradeOps,
)
from alembic.runtime.migration import MigrationContext
from alembic.runtime.plugins import Plugin
from alembic.util import DispatchPriority, PriorityDispatchResult
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import CompileError
from sqlalchemy.types import TypeEngine

from postgres_database.history import project_models
from postgres_database.history.project_models import Models
from postgres_database.schema.catalog import Catalog, Constraint
from postgres_database.schema.comparison import Comparison, Differences
from postgres_database.server.connection import Database
from postgres_database.sql.names import Name

PLUGIN = "postgres_database.catalog"


@dataclass(frozen=True)
class Found:
    """What Alembic would do, both ways."""

    upgrade: UpgradeOps
    downgrade: DowngradeOps


def compare(compared: Comparison, at_head: Database, models: Models) -> Differences:
    """Return how history and models compare, with Alembic's words.

    Args:
        compared: The comparison.
        at_head: What the scripts make.
        models: The models.
    """
    if not compared.differences.objects:
        return compared.differences
    return replace(
        compared.differences,
        detected=describe(operations(at_head, compared, models).upgrade.as_diffs()),
    )


def operations(here: Database, compared: Comparison, models: Models) -> Found:
    """Return the operations from one database to the models, without those that change nothing.

    There are none where Alembic fails, as it does for some names and types: PostgreSQL's text then says all.

    Args:
        here: The database.
        compared: What it is, and what the models make.
        models: The models; until the session of the scratch databases ends, constraints without a name have the
            one that PostgreSQL gave them.
    """
    _name_constraints(models, compared.goal.catalog)
    with here.connect(usual_path=True) as connection, warnings.catch_warnings():
        warnings.simplefilter("ignore", sa.exc.SAWarning)  # of types that SQLAlchemy does not know
        context = MigrationContext.configure(connection, opts=options(compared))
        several: Any = models  # Alembic takes a list as well; its type hint does not say so
        try:
            upgrade = produce_migrations(context, several).upgrade_ops
        except sa.exc.OperationalError:  # the connection
            raise
        except Exception:  # noqa: BLE001 - whatever Alembic or a type of the application may raise
            upgrade = None
    if upgrade is None:
        return Found(UpgradeOps([]), DowngradeOps([]))
    _leave_out_needless(upgrade.ops, compared.before.catalog, compared.goal.catalog)
    return Found(upgrade, upgrade.reverse())


def options(compared: Comparison) -> dict[str, Any]:
    """Return Alembic's options for a comparison."""
    here, goal = compared.before.catalog, compared.goal.catalog

    def include_object(item: Any, name: str, kind: str, *_: Any) -> bool:
        return kind != "table" or Name.of(item.schema, name) in {*here.tables, *goal.tables}

    def compare_type(_context: Any, _inspected: Any, column: sa.Column[Any], *_: Any) -> bool:
        left, right = _column(here, column), _column(goal, column)
        return left is not None and right is not None and left[:2] != right[:2]

    return {
        "compare_type": compare_type,
        "compare_server_default": True,
        "include_schemas": True,
        "include_object": include_object,
        "autogenerate_plugins": ["alembic.autogenerate.*", PLUGIN],
        PLUGIN: (here, goal),
    }


def _column(of: Catalog, column: sa.Column[Any]) -> tuple[str, str, str] | None:
    """Return type, collation and default as the server prints them."""
    table = of.tables.get(Name.of(column.table.schema, column.table.name))
    found = table.columns.get(str(column.name)) if table else None
    return (found.type, found.collation, found.default) if found else None


def _compare_default(
    autogen: AutogenContext,
    alter: AlterColumnOp,
    _schema: str | None,
    _table: str,
    _name: str,
    inspected: sa.Column[Any],
    wanted: sa.Column[Any],
) -> PriorityDispatchResult:
    """Compare two texts of the server; Alembic would run the expression, which fails for some.

    Identities, serials and generated columns are left to `alter`: Alembic writes for them what
    PostgreSQL refuses, or nothing. Its own hook for this (`compare_server_default` as a function)
    fails for identity columns.
    """
    old, new = inspected.server_default, wanted.server_default
    plain = (sa.DefaultClause, type(None))
    if isinstance(old, plain) and isinstance(new, plain) and (old or new):
        here, goal = (_column(each, wanted) for each in autogen.opts[PLUGIN])
        alter.existing_server_default = old
        if here and goal and here[2] != goal[2]:
            alter.modify_server_default = new
    return PriorityDispatchResult.STOP


Plugin(PLUGIN).add_autogenerate_comparator(
    _compare_default, "column", "server_default", priority=DispatchPriority.FIRST
)


def _name_constraints(models: Models, of: Catalog) -> None:
    """Give constraints without a name the one that PostgreSQL chose: without one they cannot be dropped."""
    for table in project_models.tables(models):
        found = of.tables.get(Name.of(table.schema, table.name))
        for constraint in table.constraints if found else ():
            if found and not isinstance(constraint.name, str):
                columns = tuple(column.name for column in getattr(constraint, "columns", ()))
                kind = KINDS.get(type(constraint), "")
                names = [
                    each.name
                    for each in found.constraints.values()
                    if _is_meant(each, kind, columns)
                ]
                if len(names) == 1:
                    constraint.name = names[0]


KINDS: dict[type, str] = {
    sa.PrimaryKeyConstraint: "p",
    sa.UniqueConstraint: "u",
    sa.ForeignKeyConstraint: "f",
}


def _is_meant(constraint: Constraint, kind: str, columns: tuple[str, ...]) -> bool:
    return constraint.kind == kind and constraint.columns == columns


def _leave_out_needless(ops: list[Any], here: Catalog, goal: Catalog) -> None:
    """Remove what PostgreSQL says is the same on both sides, tables that are none, and extensions' own."""
    for op in ops:
        if isinstance(op, ModifyTableOps):
            _leave_out_needless(op.ops, here, goal)
    # What an extension adds only knows what was registered with it.
    alembics = [op for op in ops if type(op).__module__.startswith("alembic.")]
    ops[:] = [op for op in alembics if not _is_needless(op, here, goal)]


def _is_needless(op: MigrateOperation, here: Catalog, goal: Catalog) -> bool:
    if isinstance(op, ModifyTableOps):
        return op.is_empty()
    if isinstance(op, (CreateTableOp, DropTableOp)):  # a view, or made by a statement of the models
        return isinstance(op, DropTableOp) == (Name.of(op.schema, op.table_name) in goal.tables)
    return is_same(op, here, goal)


def is_same(op: MigrateOperation, here: Catalog, goal: Catalog) -> bool:
    """Tell whether an operation is about an index or constraint that two catalogs both have."""
    if not isinstance(op, (CreateIndexOp, DropIndexOp, AddConstraintOp, DropConstraintOp)):
        return False
    if isinstance(op, (CreateIndexOp, DropIndexOp)):
        table, name = Name.of(op.schema, op.table_name or ""), str(op.index_name)
    else:
        constraint = op.to_constraint()
        table = Name.of(constraint.table.schema, constraint.table.name)
        name = str(constraint.name)
    left, right = (each.tables.get(table) for each in (here, goal))
    if left is None or right is None:
        return False
    if name in left.constraints:
        return left.constraints[name] == right.constraints.get(name)
    return name in left.indexes and left.indexes[name] == right.indexes.get(name)


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
        try:
            return value.compile(dialect=postgresql.dialect())  # type: ignore[no-untyped-call]
        except CompileError:  # what SQLAlchemy could not read from the database
            return "a type that SQLAlchemy does not know"
    argument = getattr(value, "arg", value)
    return str(getattr(argument, "text", argument))
