"""The constraints, indexes and key columns that operations drop. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from alembic.operations import MigrateOperation

from postgres_database.history.project_models import Models
from postgres_database.online.steps import text
from postgres_database.schema.catalog import Catalog, Table
from postgres_database.sql import syntax
from postgres_database.sql.names import Name
from postgres_database.sql.syntax import Node, UnreadableError


@dataclass(frozen=True)
class Dropped:
    """A constraint or index that a statement drops."""

    table: Name
    """Its table; of an index of a materialized view, the index itself."""
    name: str
    is_constraint: bool


def read(sql: str, before: Catalog) -> Dropped | None:
    """Return the constraint or index that a statement drops; None if it drops anything else or more.

    Args:
        sql: The statement.
        before: The catalog before it: names the table of an index.
    """
    node = statement(sql)
    if node is None:
        return None
    if action := _action(node, "AT_DropConstraint"):
        return Dropped(Name.read(syntax.name(node.relation)), action.name, is_constraint=True)
    if node.tag != "DropStmt" or node.remove_type != "OBJECT_INDEX" or len(node.objects) != 1:
        return None
    index = Name.read(syntax.dotted(syntax.words(node.objects[0].items)))
    tables = (name for name, each in before.tables.items() if index.name in each.indexes)
    table = next((name for name in tables if name.schema == index.schema), index)
    return Dropped(table, index.name, is_constraint=False)


def statement(sql: str) -> Node | None:
    """Return the parse tree of a statement; None if it is not valid SQL."""
    try:
        return syntax.read(sql.strip().rstrip(";"))
    except UnreadableError:
        return None


def _action(node: Node, subtype: str) -> Node | None:
    """Return the action of an ALTER TABLE, if it is the only one, of this subtype, and without CASCADE."""
    actions = node.cmds if node.tag == "AlterTableStmt" else []
    alone = len(actions) == 1 and actions[0].behavior != "DROP_CASCADE"
    return actions[0] if alone and actions[0].subtype == subtype else None


def beside_new_keys(
    ops: Sequence[MigrateOperation], models: Models, before: Catalog, goal: Catalog
) -> list[MigrateOperation]:
    """Return the drops that must wait until the column of a new primary key is filled.

    A backfill of that column finds its rows by the old primary key. So the old key, its columns and the foreign keys
    that reference it are dropped after the backfill; of the foreign keys only those that the goal has again.

    Args:
        ops: The operations of a script.
        models: They say how constraints are named.
        before: The catalog before the script, with the new names of what the script renames.
        goal: The catalog after it.
    """
    rekeyed = {
        name: key
        for name, table in before.tables.items()
        if name in goal.tables
        and (key := _primary(table))
        and {*_primary(goal.tables[name])} - {*table.columns}
    }
    waiting: list[MigrateOperation] = []
    for op in ops:
        sql = text(op, models)
        old = read(sql, before)
        if old is None:
            name, column = _dropped_column(sql)
            waits = column in rekeyed.get(name, ())
        elif referenced := points_to(old, before):
            last = goal.tables.get(old.table)
            waits = referenced[0] in rekeyed and last is not None and old.name in last.constraints
        else:
            table = before.tables.get(old.table)
            rule = table.constraints.get(old.name) if table and old.is_constraint else None
            waits = rule is not None and rule.kind == "p" and old.table in rekeyed
        waiting += [op] if waits else []
    return waiting


def _dropped_column(sql: str) -> tuple[Name, str]:
    node = statement(sql)
    action = _action(node, "AT_DropColumn") if node else None
    return (
        (Name.read(syntax.name(node.relation)), action.name)
        if node and action
        else (Name("", ""), "")
    )


def _primary(table: Table) -> tuple[str, ...]:
    return next((each.columns for each in table.constraints.values() if each.kind == "p"), ())


def points_to(drop: Dropped, before: Catalog) -> tuple[Name, set[str]] | None:
    """Return the table and the columns that a foreign key references; None for anything else."""
    table = before.tables.get(drop.table)
    key = table.constraints.get(drop.name) if table and drop.is_constraint else None
    if key is None or key.kind != "f":
        return None
    node = syntax.read_constraint(key.definition)
    return Name.read(syntax.name(node.pktable)), {*syntax.words(node.pk_attrs)}


def columns(key: Dropped, before: Catalog) -> set[str]:
    """Return the columns of a key or index: a foreign key may reference those of a unique one."""
    table = before.tables.get(key.table)
    if table is None:
        return set()
    if key.is_constraint:
        return {*table.constraints[key.name].columns} if key.name in table.constraints else set()
    node = statement(table.indexes.get(key.name, ""))
    return {each.name for each in node.index_params} if node and node.tag == "IndexStmt" else set()
