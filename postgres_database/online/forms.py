"""Parses the statements that have a form that is safe beside live traffic. Pure: no database."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import takewhile

from postgres_database.sql import rules, syntax
from postgres_database.sql.names import bare, identifier, literal
from postgres_database.sql.syntax import Node, UnreadableError

LONGEST_NAME = 63  # bytes: PostgreSQL manual, "Identifiers and Key Words"
KEYS = {"CONSTR_UNIQUE": "UNIQUE", "CONSTR_PRIMARY": "PRIMARY KEY"}
CONSTRAINTS = {"CONSTR_FOREIGN": "FOREIGN KEY", "CONSTR_CHECK": "CHECK"}


@dataclass(frozen=True)
class Statement:
    """A statement that has a safe form. Names in it are quoted for SQL where they need it."""

    form: str
    """What it does: `index`, `drop index`, `key` (UNIQUE, PRIMARY KEY), `constraint` (FOREIGN KEY, CHECK), `not null`,
    `validate` a constraint, `attach` or `detach` a partition, add an enum `value`."""
    sql: str
    table: str = ""
    """The table, with its schema if the statement names one; the parent of a partition."""
    name: str = ""
    """The name of the index, constraint, column, enum type or partition."""
    kind: str = ""
    """The keywords of a key or constraint, such as PRIMARY KEY."""
    body: str = ""
    """The rest of the SQL: after the table of an index, the name of a constraint or partition, the keywords of a key,
    or ADD VALUE."""
    unique: bool = False
    columns: tuple[str, ...] = ()
    """The columns of a key, without those of INCLUDE."""
    index: str = ""
    """The SQL after the table in the CREATE UNIQUE INDEX for a key."""
    deferrable: str = ""
    """The DEFERRABLE clause of a key, after a space; empty if it is not deferrable."""
    only: bool = False
    """Whether it is CREATE INDEX ON ONLY: no indexes on the partitions."""
    concurrent: bool = False
    """Whether the statement has CONCURRENTLY already."""


def parse(sql: str) -> Statement | None:
    """Parse a statement.

    Returns:
        None if it has no safer form, does more than one thing, or is not valid SQL. An index or constraint without a
        name is None, too: a second run could not find what the first one created.
    """
    text = sql.strip().rstrip(";").rstrip()
    try:
        node = syntax.read(text)
    except UnreadableError:
        return None
    match node.tag:
        case "IndexStmt" if node.idxname:
            table, name = node.relation, identifier(node.idxname)
            body = syntax.after_name(text, table.location)
            return Statement(
                "index",
                text,
                syntax.name(table),
                name,
                body=body,
                unique=node.unique,
                only=not table.inh,
                concurrent=node.concurrent,
            )
        case "DropStmt" if node.remove_type == "OBJECT_INDEX":
            return _drop_index(text, node)
        case "AlterTableStmt" if node.objtype == "OBJECT_TABLE" and len(node.cmds) == 1:
            return _action(text, syntax.name(node.relation), node.cmds[0])
        case "AlterEnumStmt" if not (node.old_val or node.skip_if_new_val_exists):
            place = f" {'AFTER' if node.new_val_is_after else 'BEFORE'} {literal(node.new_val_neighbor)}"
            body = literal(node.new_val) + (place if node.new_val_neighbor else "")
            return Statement(
                "value", text, name=syntax.dotted(syntax.words(node.type_name)), body=body
            )
    return None


def _drop_index(text: str, node: Node) -> Statement | None:
    if len(node.objects) != 1 or node.behavior == "DROP_CASCADE":
        return None
    name = syntax.dotted(syntax.words(node.objects[0].items))
    return Statement("drop index", text, name=name, concurrent=node.concurrent)


def _action(text: str, table: str, node: Node) -> Statement | None:
    match node.subtype:
        case "AT_SetNotNull":
            return Statement("not null", text, table, identifier(node.name))
        case "AT_ValidateConstraint":
            return Statement("validate", text, table, identifier(node.name))
        case "AT_AttachPartition":
            part = node.definition.name
            bound = syntax.after_name(text, part.location)
            return Statement("attach", text, table, syntax.name(part), body=bound)
        case "AT_DetachPartition":
            part, concurrent = node.definition.name, node.definition.concurrent
            return Statement("detach", text, table, syntax.name(part), concurrent=concurrent)
        case "AT_AddConstraint" if node.definition.conname:
            return _constraint(text, table, node.definition)
    return None


def _constraint(text: str, table: str, node: Node) -> Statement | None:
    name = identifier(node.conname)
    if kind := CONSTRAINTS.get(node.contype):
        body = syntax.after_name(text, node.location)
        return (
            None if node.skip_validation else Statement("constraint", text, table, name, kind, body)
        )
    columns = rules.columns(node.keys)
    unsupported = node.without_overlaps or node.options or node.indexspace
    if node.contype not in KEYS or not columns or unsupported:
        return None
    more = f" INCLUDE ({', '.join(rules.columns(node.including))})" if node.including else ""
    nulls = " NULLS NOT DISTINCT" if node.nulls_not_distinct else ""
    deferrable = f"{' DEFERRABLE' * node.deferrable}{' INITIALLY DEFERRED' * node.initdeferred}"
    listed = f"({', '.join(columns)}){more}"
    body, index = f"{nulls} {listed}{deferrable}", f"{listed}{nulls}"
    return Statement(
        "key",
        text,
        table,
        name,
        KEYS[node.contype],
        body,
        unique=True,
        columns=columns,
        index=index,
        deferrable=deferrable,
    )


def using_index(statement: Statement, table: str = "", index: str = "") -> str:
    """Return the ALTER TABLE that turns a unique index into a key.

    Args:
        statement: Adds the key.
        table: Name for SQL; empty: as the statement names it.
        index: Name for SQL; empty: the name of the key.
    """
    add = f"ALTER TABLE {table or statement.table} ADD CONSTRAINT {statement.name}"
    return f"{add} {statement.kind} USING INDEX {index or statement.name}{statement.deferrable}"


def parse_swap(pieces: Sequence[str]) -> tuple[list[Statement], list[str]]:
    """Parse the statements of an operation that builds indexes and replaces old ones by them.

    Returns:
        The indexes to build, and the statements that drop the old ones and rename the new ones. Both are empty if
        the operation is no such swap: it begins with something else than CREATE INDEX, drops nothing, or neither
        renames nor uses one of the new indexes.
    """
    leading = takewhile(lambda each: each and each.form == "index", map(parse, pieces))
    builds = [each for each in leading if each]
    rest = [piece.strip() for piece in pieces[len(builds) :]]
    named: set[str] = set()
    drops = False
    for piece in rest if builds else ():
        try:
            node = syntax.read(piece)
        except UnreadableError:
            return [], []
        actions = node.cmds if node.tag == "AlterTableStmt" else []
        if node.tag == "RenameStmt" and node.rename_type == "OBJECT_INDEX":
            named.add(node.relation.relname)
        added = (each.definition for each in actions if each.subtype == "AT_AddConstraint")
        named |= {each.indexname for each in added}
        drops |= node.tag == "DropStmt" or any(
            each.subtype == "AT_DropConstraint" for each in actions
        )
    return (builds, rest) if drops and {bare(each.name) for each in builds} <= named else ([], [])


def not_null_check(table: str, column: str) -> str:
    """Return the name of the temporary CHECK (column IS NOT NULL) by which a column is made NOT NULL."""
    name = f"{bare(table)}_{bare(column)}_is_filled"
    if len(name.encode()) > LONGEST_NAME:
        name = f"{sha256(name.encode()).hexdigest()[:16]}_is_filled"
    return identifier(name)


def offline(statement: Statement) -> list[str]:
    """Return the statements of the safe form for Alembic's offline mode, which does not know the catalog."""
    table, name = statement.table, statement.name
    alter = f"ALTER TABLE {table}"
    build = (
        f"CREATE {'UNIQUE ' * statement.unique}INDEX CONCURRENTLY IF NOT EXISTS {name} ON {table}"
    )
    constraint = not_null_check(table, name) if statement.form == "not null" else name
    validate = f"{alter} VALIDATE CONSTRAINT {constraint}"
    check = f"{alter} ADD CONSTRAINT {constraint} CHECK ({name} IS NOT NULL) NOT VALID"
    return {
        "index": [f"{build} {statement.body}"],
        "drop index": [f"DROP INDEX CONCURRENTLY IF EXISTS {name}"],
        "key": [f"{build} {statement.index}", using_index(statement)],
        "constraint": [f"{statement.sql} NOT VALID", validate],
        "not null": [check, validate, statement.sql, f"{alter} DROP CONSTRAINT {constraint}"],
        "validate": [statement.sql],
        "attach": [statement.sql],
        "detach": [statement.sql],
        "value": [f"ALTER TYPE {name} ADD VALUE IF NOT EXISTS {statement.body}"],
    }[statement.form]
