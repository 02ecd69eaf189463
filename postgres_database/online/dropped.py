"""What operations drop: constraints, indexes, and the parts of keys. Pure."""

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
    """Of an index on something that is no table, the index itself."""
    name: str
    rule: bool
    """Whether it is a constraint."""


def read(sql: str, before: Catalog) -> Dropped | None:
    """Return what a statement drops, if that is a constraint or an index.

    Args:
        sql: The statement.
        before: The catalog that has it.
    """
    node = statement(sql)
    if node is None:
        return None
    if action := _action(node, "AT_DropConstraint"):
        return Dropped(Name.read(syntax.name(node.relation)), action.name, rule=True)
    if node.tag != "DropStmt" or node.remove_type != "OBJECT_INDEX" or len(node.objects) != 1:
        return None
    index = Name.read(syntax.dotted(syntax.words(node.objects[0].items)))
    tables = (name for name, each in before.tables.items() if index.name in each.indexes)
    table = next((name for name in tables if name.schema == index.schema), index)
    return Dropped(table, index.name, rule=False)


def statement(sql: str) -> Node | None:
    """Return a statement as a tree; None if the parser does not read it."""
    try:
        return syntax.read(sql.strip().rstrip(";"))
    except UnreadableError:
        return None


def _action(node: Node, subtype: str) -> Node | None:
    """Return the action of an ALTER TABLE that has no other and nothing cascades from."""
    actions = node.cmds if node.tag == "AlterTableStmt" else []
    alone = len(actions) == 1 and actions[0].behavior != "DROP_CASCADE"
    return actions[0] if alone and actions[0].subtype == subtype else None


def beside_new_keys(
    ops: Sequence[MigrateOperation], models: Models, before: Catalog, goal: Catalog
) -> list[MigrateOperation]:
    """Return what drops a primary key, or a part of it, that gives way to one with a column that rows do not have yet.

    Rows are found by the old key until the new column is filled. What drops foreign keys that stand on it, and stay,
    belongs to that.
    """
    grown = {
        name: key
        for name, table in before.tables.items()
        if name in goal.tables
        and (key := _primary(table))
        and {*_primary(goal.tables[name])} - {*table.columns}
    }
    held: list[MigrateOperation] = []
    for op in ops:
        sql = text(op, models)
        old = read(sql, before)
        if old is None:
            table, column = _dropped_column(sql)
            found = column in grown.get(table, ())
        elif pointed := points_to(old, before):
            goes_on = goal.tables.get(old.table)
            found = pointed[0] in grown and goes_on is not None and old.name in goes_on.constraints
        else:
            rule = before.tables[old.table].constraints.get(old.name) if old.rule else None
            found = rule is not None and rule.kind == "p" and old.table in grown
        held += [op] if found else []
    return held


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


def points_to(rule: Dropped, before: Catalog) -> tuple[Name, set[str]] | None:
    """Return the table and the columns that a foreign key points to; None for anything else."""
    table = before.tables.get(rule.table)
    key = table.constraints.get(rule.name) if table and rule.rule else None
    if key is None or key.kind != "f":
        return None
    node = syntax.read_constraint(key.definition)
    return Name.read(syntax.name(node.pktable)), {*syntax.words(node.pk_attrs)}


def columns(key: Dropped, before: Catalog) -> set[str]:
    """Return the columns of a key, or of a unique index, that a foreign key may point to."""
    table = before.tables.get(key.table)
    if table is None:
        return set()
    if key.rule:
        return {*table.constraints[key.name].columns} if key.name in table.constraints else set()
    node = statement(table.indexes.get(key.name, ""))
    return {each.name for each in node.index_params} if node and node.tag == "IndexStmt" else set()
