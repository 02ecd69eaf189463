"""Alembic's autogenerate: its operations, and its descriptions of what differs.

Whether types and defaults differ is read from the catalogs of both databases instead: Alembic compares how Python
renders them, and executes server defaults (Alembic, "Comparing Types", "Comparing Server Defaults").
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
    CreateTableCommentOp,
    CreateTableOp,
    DowngradeOps,
    DropConstraintOp,
    DropIndexOp,
    DropTableCommentOp,
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
from postgres_database.schema.catalog import Catalog, Constraint, Table
from postgres_database.schema.comparison import Comparison, Differences, Side
from postgres_database.schema.partitions import owner
from postgres_database.server.connection import Database
from postgres_database.sql.names import Name, identifier

PLUGIN = "postgres_database.catalog"
Part = tuple[Name, str]
"""An index or constraint: its table and its name."""


@dataclass(frozen=True)
class BothWays:
    """Alembic's operations to a goal, and those that undo them."""

    upgrade: UpgradeOps
    downgrade: DowngradeOps


def compare(compared: Comparison, at_head: Database, models: Models) -> Differences:
    """Return the differences between history and models, with Alembic's descriptions.

    Args:
        compared: The comparison.
        at_head: A scratch database at head.
        models: The models.
    """
    if not compared.differences.objects:
        return compared.differences
    return replace(
        compared.differences,
        detected=describe(operations(at_head, compared, models).upgrade.as_diffs()),
    )


def operations(here: Database, compared: Comparison, models: Models) -> BothWays:
    """Return the operations from one database to the models, without those that change nothing.

    There are none if Alembic fails, as it does for some names and types; the whole script then consists of SQL.

    Args:
        here: The database.
        compared: The comparison of its schema with the models'.
        models: The models. Their unnamed constraints get the names that PostgreSQL chose, until the session of the
            scratch databases ends.

    Raises:
        OperationalError: The connection fails.
    """
    _name_constraints(models, compared.goal.catalog)
    with here.connect(usual_path=True) as connection, warnings.catch_warnings():
        # About types unknown to SQLAlchemy, and expressions that Alembic cannot compare: the catalogs are compared.
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("ignore", sa.exc.SAWarning)
        context = MigrationContext.configure(connection, opts=options(compared))
        several: Any = models  # Alembic takes a list as well; its type hint does not say so
        try:
            upgrade = produce_migrations(context, several).upgrade_ops
        except sa.exc.OperationalError:  # the connection failed
            raise
        except Exception:  # noqa: BLE001 - Alembic, or a type of the application, may raise anything
            upgrade = None
    if upgrade is None:
        return BothWays(UpgradeOps([]), DowngradeOps([]))
    _leave_out_needless(upgrade.ops, compared.before, compared.goal)
    return BothWays(upgrade, upgrade.reverse())


def options(compared: Comparison) -> dict[str, Any]:
    """Return Alembic's options for a comparison."""
    here, goal = compared.before.catalog, compared.goal.catalog
    differing = _differing(compared)

    def include_name(name: str | None, kind: str, parents: Any) -> bool:
        return kind != "table" or Name.of(parents["schema_name"], str(name)) in differing

    def include_object(item: Any, name: str, kind: str, *_: Any) -> bool:
        return kind != "table" or Name.of(item.schema, name) in differing

    def compare_type(_context: Any, _inspected: Any, column: sa.Column[Any], *_: Any) -> bool:
        left, right = _column(here, column), _column(goal, column)
        return left is not None and right is not None and left[:2] != right[:2]

    return {
        "compare_type": compare_type,
        "compare_server_default": True,
        "include_schemas": True,
        "include_name": include_name,
        "include_object": include_object,
        "autogenerate_plugins": ["alembic.autogenerate.*", PLUGIN],
        PLUGIN: (here, goal),
    }


def _differing(compared: Comparison) -> set[Name]:
    """Return the tables that differ in anything that the dump or the catalog says of them.

    Of the others, reading which takes Alembic most of its time, every operation would be left out again.
    """
    left, right = compared.before.catalog.tables, compared.goal.catalog.tables
    differing = {name for name in left.keys() | right.keys() if left.get(name) != right.get(name)}
    owners = (
        owner(text)
        for each in compared.before.snapshot.difference(compared.goal.snapshot)
        for text in (each.left, each.right)
    )
    return differing | {name for name in owners if name and (name in left or name in right)}


def _column(of: Catalog, column: sa.Column[Any]) -> tuple[str, str, str] | None:
    """Return type, collation and default as the server prints them."""
    table = of.tables.get(Name.of(column.table.schema, column.table.name))
    known = table.columns.get(str(column.name)) if table else None
    return (known.type, known.collation, known.default) if known else None


def _compare_default(
    autogen: AutogenContext,
    alter: AlterColumnOp,
    _schema: str | None,
    _table: str,
    _name: str,
    inspected: sa.Column[Any],
    wanted: sa.Column[Any],
) -> PriorityDispatchResult:
    """Compare defaults as the server prints them; Alembic would execute them, which fails for some.

    Identity, serial and generated columns are left to `schema.alter`: Alembic writes for them what
    PostgreSQL refuses, or nothing. Alembic's hook (a function as `compare_server_default`) fails for identity columns.
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
    """Give unnamed constraints the names that PostgreSQL chose: Alembic cannot drop an unnamed one."""
    for table in project_models.tables(models):
        existing = of.tables.get(Name.of(table.schema, table.name))
        for constraint in table.constraints if existing else ():
            if existing and not isinstance(constraint.name, str):
                columns = tuple(column.name for column in getattr(constraint, "columns", ()))
                kind = KINDS.get(type(constraint), "")
                names = [
                    each.name
                    for each in existing.constraints.values()
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


def _leave_out_needless(ops: list[Any], here: Side, goal: Side) -> None:
    """Remove operations on what both catalogs have alike or no table is, and those of Alembic's extensions."""
    for op in ops:
        if isinstance(op, ModifyTableOps):
            _leave_out_needless(op.ops, here, goal)
    # Operations of extensions, such as alembic_utils, compare only what was registered with the extension.
    alembics = [op for op in ops if type(op).__module__.startswith("alembic.")]
    made = {_named(op) for op in alembics if isinstance(op, (CreateIndexOp, AddConstraintOp))}
    ops[:] = [op for op in alembics if not _is_needless(op, here, goal, made)]


def _is_needless(op: MigrateOperation, here: Side, goal: Side, made: set[Part]) -> bool:
    """Tell whether nothing is left of an operation. Alembic would drop what statements of the models make.

    Args:
        op: The operation.
        here: The database.
        goal: The goal.
        made: What the operations on the same table create.
    """
    if isinstance(op, ModifyTableOps):
        return op.is_empty()
    if isinstance(op, (CreateTableOp, DropTableOp)):  # a view, or made by a statement of the models
        is_there = Name.of(op.schema, op.table_name) in goal.catalog.tables
        return isinstance(op, DropTableOp) == is_there
    if isinstance(op, (CreateTableCommentOp, DropTableCommentOp)):
        about = f"TABLE {Name.of(op.schema, op.table_name).sql}"
        return _comment(here, about) == _comment(goal, about)
    if isinstance(op, AlterColumnOp):
        return not _altered(op, here, goal)
    if isinstance(op, (DropIndexOp, DropConstraintOp)) and _named(op) not in made:
        old, new = (_end(op, each.catalog) for each in (here, goal))
        return new is not None and type(old) is type(new)  # `schema.alter` changes it
    return is_same(op, here.catalog, goal.catalog)


def _altered(op: AlterColumnOp, here: Side, goal: Side) -> bool:
    """Take from an operation what both sides have alike, and return whether anything is left of it."""
    table = Name.of(op.schema, op.table_name)
    ends = [each.catalog.tables[table].columns.get(op.column_name) for each in (here, goal)]
    if ends[0] and ends[1] and ends[0].not_null == ends[1].not_null:
        op.modify_nullable = None
    about = f"COLUMN {table.sql}.{identifier(op.column_name)}"
    if _comment(here, about) == _comment(goal, about):
        op.modify_comment = False
    return op.has_changes()


def _comment(side: Side, about: str) -> str:
    """Return the statement that comments on an object; empty if there is none."""
    comments = (bodies[0] for key, bodies in side.snapshot.objects.items() if key.kind == "COMMENT")
    return next((each for each in comments if each.startswith(f"COMMENT ON {about} IS ")), "")


def _named(op: MigrateOperation) -> Part:
    """Return the table and the name of the index or constraint that an operation concerns."""
    if isinstance(op, (CreateIndexOp, DropIndexOp)):
        return Name.of(op.schema, op.table_name or ""), str(op.index_name)
    constraint = op.to_constraint()  # type: ignore[attr-defined]
    return Name.of(constraint.table.schema, constraint.table.name), str(constraint.name)


def _end(op: MigrateOperation, of: Catalog) -> Constraint | str | None:
    table, name = _named(op)
    return _part(of.tables[table], name) if table in of.tables else None


def is_same(op: MigrateOperation, here: Catalog, goal: Catalog) -> bool:
    """Tell whether an operation concerns an index or constraint that is equal in both catalogs, or in neither.

    A foreign key that no catalog has is a copy: PostgreSQL keeps one for each partition of the referenced table.
    """
    if not isinstance(op, (CreateIndexOp, DropIndexOp, AddConstraintOp, DropConstraintOp)):
        return False
    table, name = _named(op)
    left, right = (each.tables.get(table) for each in (here, goal))
    if left is None or right is None:
        return False
    ends = _part(left, name), _part(right, name)
    constraint = op.to_constraint() if isinstance(op, (AddConstraintOp, DropConstraintOp)) else None
    own = isinstance(constraint, sa.ForeignKeyConstraint) and constraint.name is not None
    return ends[0] == ends[1] and (ends[0] is not None or own)


def _part(table: Table, name: str) -> Constraint | str | None:
    found = table.constraints.get(name) or table.indexes.get(name)
    return found or table.attached.get(name)


def describe(diffs: Iterable[Any]) -> tuple[str, ...]:
    """Return a line for each difference in the form of Alembic's `compare_metadata` (`UpgradeOps.as_diffs`)."""
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
        except CompileError:  # SQLAlchemy could not reflect it
            return "a type that SQLAlchemy does not know"
    argument = getattr(value, "arg", value)
    return str(getattr(argument, "text", argument))
