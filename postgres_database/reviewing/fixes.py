"""What to write instead of a statement that others would wait for: code for the script, or advice. Pure."""

import textwrap
from collections.abc import Callable, Sequence
from hashlib import sha256

from postgres_database.online import forms
from postgres_database.reviewing import source
from postgres_database.reviewing.statements import Measured, names
from postgres_database.sql import syntax
from postgres_database.sql.names import bare, identifier, literal, unquoted
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
REFRESHED = """
# readers do not wait for it; it needs a unique index on columns of all rows
op.execute({refresh!r})
"""
REBUILT = """
with op.get_context().autocommit_block():
    op.execute({reindex!r})
"""
IDENTITY = "# a later revision, which changes only the catalog, can make an identity of it"
SERIALS = {"smallserial": "smallint", "serial2": "smallint", "serial": "integer", "serial4": "integer",
           "bigserial": "bigint", "serial8": "bigint"}  # fmt: skip
"""Names that CREATE TABLE takes for types (PostgreSQL manual, "Serial Types")."""
SUFFIXES = {
    "CONSTR_UNIQUE": "key",
    "CONSTR_PRIMARY": "pkey",
    "CONSTR_FOREIGN": "fkey",
    "CONSTR_CHECK": "check",
}
"""How PostgreSQL names constraints that have no name."""
CHECKED = ("CONSTR_UNIQUE", "CONSTR_CHECK")
"""Kinds of constraints of a column that can be added by themselves."""
KEPT_LATER = {"CONSTR_DEFAULT", "CONSTR_IDENTITY", "CONSTR_NOTNULL", "CONSTR_NULL"}
REINDEXED = {
    "REINDEX_OBJECT_INDEX": "INDEX",
    "REINDEX_OBJECT_TABLE": "TABLE",
    "REINDEX_OBJECT_SCHEMA": "SCHEMA",
}
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
    if not measured.safely:
        if forms.parse(measured.sql) is not None:
            return online(measured, script)
        if named := _named(measured.sql):
            return f"with op.online():  # with a name, so that it can be run again\n    op.execute({named!r})"
    try:
        node = syntax.read(measured.sql)
    except UnreadableError:
        return QUIET
    if node.tag == "AlterTableStmt" and len(node.cmds) == 1 and node.cmds[0].subtype in ACTIONS:
        action = node.cmds[0]
        return ACTIONS[action.subtype](node, action).strip() or QUIET
    if node.tag in CHANGING:
        modes = "read or written" if measured.readers_wait else "written"
        return APART.format(names(measured.locked), modes) + f"\n{for_changes(measured)}"
    return STATEMENTS[node.tag](node) if node.tag in STATEMENTS else ADVICE.get(node.tag, QUIET)


def _rebuilt(node: Node) -> str:
    if node.kind not in REINDEXED:
        return QUIET
    what = syntax.name(node.relation) if node.relation else identifier(node.name)
    return REBUILT.format(reindex=f"REINDEX {REINDEXED[node.kind]} CONCURRENTLY {what}").strip()


def _refreshed(node: Node) -> str:
    if node.concurrent or node.skip_data:
        return QUIET
    refresh = f"REFRESH MATERIALIZED VIEW CONCURRENTLY {syntax.name(node.relation)}"
    return REFRESHED.format(refresh=refresh).strip()


STATEMENTS: dict[str, Callable[[Node], str]] = {
    "ReindexStmt": _rebuilt,
    "RefreshMatViewStmt": _refreshed,
}
"""Tags of statements, other than ALTER TABLE, for which there is code."""


def _named(sql: str) -> str:
    """Return a statement that creates an index or constraint without a name, with a name; empty if it is another."""
    try:
        node = syntax.read(sql)
    except UnreadableError:
        return ""
    if node.tag == "IndexStmt" and not node.idxname:
        columns = [each.name or "expr" for each in node.index_params]
        name = _name(node.relation.relname, columns, "idx")
        rest = sql.encode()[node.relation.location :].decode()
        only = "" if node.relation.inh else "ONLY "
        return f"CREATE {'UNIQUE ' * node.unique}INDEX {name} ON {only}{rest}"
    if node.tag != "AlterTableStmt" or len(node.cmds) != 1:
        return ""
    constraint = node.cmds[0].definition
    if node.cmds[0].subtype != "AT_AddConstraint" or constraint.conname:
        return ""
    name = _constraint_name(node.relation.relname, constraint)
    at = constraint.location
    named = f"{sql.encode()[:at].decode()}CONSTRAINT {name} {sql.encode()[at:].decode()}"
    return named if forms.parse(named) else ""


def _constraint_name(table: str, constraint: Node, column: str = "") -> str:
    """Return the name that PostgreSQL would choose for a constraint, for SQL; empty for one that is never named."""
    suffix = SUFFIXES.get(constraint.contype, "")
    columns = [column] if column else syntax.words([*constraint.keys, *constraint.fk_attrs])
    if constraint.contype == "CONSTR_CHECK":
        used = {each.fields[-1].sval for each in constraint.raw_expr.find("ColumnRef")}
        columns = [*used] if len(used) == 1 else []
    return _name(table, [] if suffix == "pkey" else columns, suffix)


def _name(table: str, columns: Sequence[str], suffix: str) -> str:
    name = "_".join([table, *columns, suffix])
    fits = len(name.encode()) <= forms.LONGEST_NAME
    return identifier(
        name if fits else f"{table[:20]}_{suffix}_{sha256(name.encode()).hexdigest()[:8]}"
    )


def _added_column(node: Node, action: Node) -> str:
    """Return code that adds a column first, and then, beside live traffic, gives rows their values and checks them."""
    column = action.definition
    table, name = syntax.name(node.relation), column.colname
    change = f"ALTER TABLE {table} ALTER COLUMN {identifier(name)} SET"
    kinds = {each.contype for each in column.constraints}
    kind = column.type_name.sql()
    is_serial, is_identity = kind in SERIALS, "CONSTR_IDENTITY" in kinds
    kind = SERIALS.get(kind, kind)
    value = next(
        (each.raw_expr.sql() for each in column.constraints if each.contype == "CONSTR_DEFAULT"), ""
    )
    lines = [f"ALTER TABLE {table} ADD COLUMN {identifier(name)} {kind}"]
    if is_serial or is_identity:
        *schema, of = unquoted(table)
        sequence = syntax.dotted([*schema, bare(_name(of, [name], "seq"))])
        value = f"nextval({literal(sequence)})"
        lines.append(f"CREATE SEQUENCE {sequence} AS {kind} OWNED BY {table}.{identifier(name)}")
    if value:
        lines.append(f"{change} DEFAULT {value}")
    required = is_serial or is_identity or "CONSTR_NOTNULL" in kinds
    constraints = [each for each in column.constraints if each.contype in CHECKED]
    if kinds - KEPT_LATER - {*CHECKED} or not (value or required or constraints):
        return ""
    inside = []
    if value or required:
        remark = "" if value else "  # what the rows that are there get"
        given = _table_arguments(table)
        inside.append(
            f"op.backfill({given['table']}, {{{name!r}: {value or '…'!r}}}{given['schema']}){remark}"
        )
    then = [f"{change} NOT NULL"] if required else []
    then += [_constraint(node.relation.relname, table, name, each) for each in constraints]
    inside += [f"op.execute({each!r})" for each in then]
    return "\n".join(
        [
            *(f"op.execute({each!r})" for each in lines),
            "with op.online():",
            *(f"    {each}" for each in inside),
            *([IDENTITY] if is_identity else []),
        ]
    )


def _constraint(bare_table: str, table: str, column: str, constraint: Node) -> str:
    """Return the statement that adds a constraint of a column by itself."""
    name = (
        identifier(constraint.conname)
        if constraint.conname
        else _constraint_name(bare_table, constraint, column)
    )
    is_unique = constraint.contype == "CONSTR_UNIQUE"
    what = f"UNIQUE ({identifier(column)})" if is_unique else f"CHECK ({constraint.raw_expr.sql()})"
    return f"ALTER TABLE {table} ADD CONSTRAINT {name} {what}"


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
