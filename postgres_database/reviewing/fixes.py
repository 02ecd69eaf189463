"""What to write instead of a statement that others would wait for: code for the script, or advice. Pure."""

import textwrap
from collections.abc import Callable

from postgres_database.online import forms
from postgres_database.reviewing import source
from postgres_database.reviewing.statements import Measured, names
from postgres_database.sql import syntax
from postgres_database.sql.names import bare, identifier, unquoted
from postgres_database.sql.syntax import Node, UnreadableError

QUIET = "# no form of it is safe beside live traffic: a revision of its own, run in a quiet hour"
BATCHES = "# in batches that commit by themselves: op.backfill in op.online(), or a job of the application"
APART = "# a revision of its own, so that it is not run while {} cannot be {}"
EXPAND = """
# in steps over several releases: a new column, which the application writes, too, before readers move to it
op.execute({add!r})
with op.online():
    op.backfill({table}, {{{new!r}: {cast!r}}}{schema})
# a later revision, when no reader uses {column}: drop it and rename {new}
"""
FILLED = """
op.execute({add!r})
with op.online():
    op.backfill({table}, {{{column!r}: '…'}}{schema})  # what the rows that are there get
    op.execute({required!r})
"""
DEFAULT = """
op.execute({add!r})
op.execute({default!r})
with op.online():
    op.backfill({table}, {{{column!r}: {value!r}}}{schema})
"""
CHANGING = ("UpdateStmt", "DeleteStmt", "InsertStmt", "MergeStmt")
SHRINK = "# leave it out: autovacuum makes room for new rows; pg_repack rewrites a table beside live traffic"
WITHIN = """
# write the statement that it runs into the script itself: op.online() has a safe form for many
with op.online():
    op.execute('…')
""".strip()
ADVICE = {"VacuumStmt": SHRINK, "ClusterStmt": SHRINK, "DoStmt": WITHIN, "SelectStmt": WITHIN}
"""Tags of statements for which no code can be written."""


def online(measured: Measured, script: str) -> str:
    """Return the statement of a script in an online block, in SQL if the script has no line of it."""
    body = source.statement(script, measured.called) or f"op.execute({measured.sql!r})"
    return f"with op.online():\n{textwrap.indent(body, '    ')}"


def for_wait(measured: Measured, script: str) -> str:
    """Return what to write instead of a statement that scans or rewrites a table while others wait.

    Args:
        measured: The statement.
        script: The source of its script.
    """
    if not measured.safely and forms.parse(measured.sql) is not None:
        return online(measured, script)
    try:
        node = syntax.read(measured.sql)
    except UnreadableError:
        return QUIET
    if node.tag == "AlterTableStmt" and len(node.cmds) == 1:
        action = node.cmds[0]
        code = ACTIONS[action.subtype](node, action) if action.subtype in ACTIONS else ""
        return code.strip() or QUIET
    if node.tag in CHANGING:
        modes = "read or written" if measured.readers_wait else "written"
        return APART.format(names(measured.locked), modes) + f"\n{for_changes(measured)}"
    return ADVICE.get(node.tag, QUIET)


def _added_column(node: Node, action: Node) -> str:
    column = action.definition
    kept, value = [], ""
    for constraint in column.constraints:
        if constraint.contype == "CONSTR_DEFAULT":
            value = constraint.raw_expr.sql()
        elif constraint.contype != "CONSTR_NULL":
            kept.append(constraint.contype)
    if kept not in ([], ["CONSTR_NOTNULL"]) or bool(value) == bool(kept):
        return ""
    table, name = syntax.name(node.relation), column.colname
    alter = f"ALTER TABLE {table}"
    add = f"{alter} ADD COLUMN {identifier(name)} {column.type_name.sql()}"
    change = f"{alter} ALTER COLUMN {identifier(name)} SET"
    if kept:
        required = f"{change} NOT NULL"
        return FILLED.format(add=add, required=required, column=name, **_table_arguments(table))
    default = f"{change} DEFAULT {value}"
    return DEFAULT.format(
        add=add, default=default, column=name, value=value, **_table_arguments(table)
    )


def _another_type(node: Node, action: Node) -> str:
    table, column = syntax.name(node.relation), action.name
    new = f"{column}_new"
    type_ = action.definition.type_name.sql()
    using = action.definition.raw_default
    cast = using.sql() if using else f"{identifier(column)}::{type_}"
    add = f"ALTER TABLE {table} ADD COLUMN {identifier(new)} {type_}"
    return EXPAND.format(add=add, new=new, cast=cast, column=column, **_table_arguments(table))


ACTIONS: dict[str, Callable[[Node, Node], str]] = {
    "AT_AddColumn": _added_column,
    "AT_AlterColumnType": _another_type,
}
"""Kinds of ALTER TABLE for which there is code."""


def _table_arguments(table: str) -> dict[str, str]:
    """Return the arguments of `op.backfill` for a table in SQL."""
    *schema, _ = unquoted(table)
    return {"table": repr(bare(table)), "schema": f", schema={schema[0]!r}" if schema else ""}


def for_changes(measured: Measured) -> str:
    """Return what to write instead of a statement that changes many rows in one transaction."""
    try:
        node = syntax.read(measured.sql)
    except UnreadableError:
        node = None
    if node and node.tag == "UpdateStmt" and not (node.from_clause or node.with_clause):
        targets = node.target_list
        if all(target.val.tag != "MultiAssignRef" and not target.indirection for target in targets):
            values = {target.name: target.val.sql() for target in targets}
            where = f", where={node.where_clause.sql()!r}" if node.where_clause else ""
            arguments = _table_arguments(syntax.name(node.relation))
            call = f"op.backfill({arguments['table']}, {values!r}{where}{arguments['schema']})"
            return f"with op.online():\n    {call}"
    return BATCHES
