"""From one side to the other: what is to be changed, in which ways, for a scratch database to try."""

from collections.abc import Collection, Iterable, Iterator
from typing import Any

import sqlalchemy as sa
from alembic.operations import MigrateOperation
from alembic.operations.ops import (
    AddColumnOp,
    AddConstraintOp,
    AlterColumnOp,
    CreateIndexOp,
    CreateTableOp,
    DropColumnOp,
    DropConstraintOp,
    DropIndexOp,
    DropTableOp,
)

from postgres_database.drafting import objects, renames
from postgres_database.drafting.trial import Change, Subject, Trial
from postgres_database.history import project_models
from postgres_database.history.operations import CastColumn, RunSql
from postgres_database.history.project_models import Models
from postgres_database.schema import alter
from postgres_database.schema.catalog import Catalog
from postgres_database.schema.comparison import Side
from postgres_database.schema.snapshot import Key, Snapshot
from postgres_database.sql.names import Name, identifier
from postgres_database.sql.tokens import stable

ALTERED = ("CONSTRAINT", "FK CONSTRAINT", "CHECK CONSTRAINT", "DEFAULT")
"""Parts of tables that a dump lists as objects, but `alter` changes."""
REPLACED = "_replaced"
COLUMNS_OF_TYPE = """
    SELECT n.nspname, c.relname, a.attname, t.typelem <> 0 AND t.typcategory = 'A', d.oid IS NOT NULL
    FROM pg_attribute a
    JOIN pg_type t ON t.oid = a.atttypid
    JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p', 'f') AND NOT c.relispartition
    JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum AND a.attgenerated = ''
    WHERE to_regtype(%s) IN (t.oid, t.typelem) AND NOT a.attisdropped
    ORDER BY 1, 2
"""

# The innermost first.
TYPES_ON_TYPE = """
    WITH RECURSIVE used (oid, depth) AS (
        SELECT to_regtype(%s)::oid, 0
        UNION
        SELECT t.oid, used.depth + 1
        FROM used
        JOIN pg_type b ON b.oid = used.oid OR (b.typelem = used.oid AND b.typcategory = 'A')
        JOIN pg_type t ON t.typbasetype = b.oid OR EXISTS (
            SELECT FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid AND c.relkind = 'c'
            WHERE a.attrelid = t.typrelid AND a.atttypid = b.oid AND NOT a.attisdropped)
    )
    SELECT n.nspname, t.typname, t.typtype::text
    FROM used
    JOIN pg_type t ON t.oid = used.oid
    JOIN pg_namespace n ON n.oid = t.typnamespace
    GROUP BY t.oid, n.nspname, t.typname, t.typtype
    ORDER BY max(used.depth), t.oid
"""


Parts = dict[tuple[Name, str], sa.Constraint | sa.Index]
"""Constraints and indexes of the models, by table and name."""


def parts(models: Models) -> Parts:
    """Collect the constraints and indexes of the models."""
    found: Parts = {}
    for table in project_models.tables(models):
        name = Name.of(table.schema, table.name)
        found |= {(name, str(part.name)): part for part in table.constraints if part.name}
        found |= {(name, str(part.name)): part for part in table.indexes if part.name}
    return found


def is_owned(key: Key, side: Side) -> bool:
    """Tell whether an object is a sequence that comes with its column."""
    return key.kind == "SEQUENCE" and Name(key.schema, key.name) not in side.catalog.sequences


def of_alembic(op: MigrateOperation, here: Side, goal: Side) -> Change:
    """Return an operation of Alembic's, with the ways that it lacks."""
    if isinstance(op, CreateTableOp) and not _is_whole(op, goal.catalog):
        return made(Key("TABLE", *Name.of(op.schema, op.table_name)), goal.snapshot)
    if isinstance(op, AlterColumnOp) and op.modify_type is not None:
        return Change(_retypings(op, here.catalog, goal.catalog), _concerned(op))
    if isinstance(op, AddColumnOp):
        name = Name.of(op.schema, op.table_name)
        column = goal.catalog.tables[name].columns[op.column.name]
        if column.serial:  # Alembic would leave out its sequence
            return Change([_sql([alter.add_column(name, column)])])
        if column.default and not column.generated:  # rows get it at once, and no other afterwards
            whole = _sql([alter.add_column(name, column)])
            return Change([[op], whole], default=(name.sql, column.name, column.default))
    return Change([[op]], _concerned(op))


def _concerned(op: MigrateOperation) -> Subject | None:
    if isinstance(op, DropTableOp):
        return Subject("relation", Name.of(op.schema, op.table_name).sql)
    if isinstance(op, DropIndexOp):
        return Subject("relation", Name.of(op.schema, str(op.index_name)).sql)
    if isinstance(op, DropConstraintOp):
        table = Name.of(op.schema, op.table_name).sql
        return Subject("constraint", table, str(op.constraint_name))
    if isinstance(op, (AlterColumnOp, DropColumnOp)):
        return Subject("column", Name.of(op.schema, op.table_name).sql, op.column_name)
    return None


def _is_whole(op: CreateTableOp, goal: Catalog) -> bool:
    """Tell whether an operation says what a table is made from; that of a table it read does not."""
    table = goal.tables[Name.of(op.schema, op.table_name)]
    parted = not table.partitioned_by or "postgresql_partition_by" in op.kw
    return parted and not table.partition and (not table.parents or "postgresql_inherits" in op.kw)


def _retypings(op: AlterColumnOp, here: Catalog, goal: Catalog) -> list[list[MigrateOperation]]:
    """A cast may need an expression, and a default may not be cast."""
    name = Name.of(op.schema, op.table_name)
    old = here.tables[name].columns[op.column_name]
    new = goal.tables[name].columns[op.column_name]
    facts: dict[str, Any] = {"schema": op.schema, "existing_type": op.modify_type}
    type_only = AlterColumnOp(
        op.table_name, op.column_name, schema=op.schema, existing_type=op.existing_type,
        modify_type=op.modify_type,
    )  # fmt: skip
    others = AlterColumnOp(
        op.table_name, op.column_name, **facts, modify_nullable=op.modify_nullable,
        modify_comment=op.modify_comment, existing_comment=op.existing_comment,
        modify_server_default=op.modify_server_default,
    )  # fmt: skip
    drop = AlterColumnOp(
        op.table_name, op.column_name, schema=op.schema, existing_type=op.existing_type,
        modify_server_default=None,
    )  # fmt: skip
    restore = _sql(
        [
            f"ALTER TABLE {name.sql} ALTER COLUMN {identifier(op.column_name)} SET DEFAULT {new.default};"
        ]
    )
    rest = [others] if others.has_changes() else []
    ways: list[list[MigrateOperation]] = []
    for cast in alter.casts(identifier(op.column_name), old.type, new.type):
        needed = _sql(alter.needed_by(cast))
        typed = [*needed, CastColumn(type_only, cast) if cast else type_only]
        ways.append([*typed, *rest])
        if old.default and not old.generated:
            default = restore if new.default and op.modify_server_default is False else []
            ways.append([drop, *typed, *rest, *default])
    return ways


def dropped(key: Key, here: Snapshot) -> Change:
    """Return what drops an object."""
    body = here.objects[key][0]
    return Change([_sql(objects.drops(key, here))], _subject(key, body), key)


def made(key: Key, goal: Snapshot) -> Change:
    """Return what makes an object."""
    return Change([_sql(objects.makes(key, goal))], key=key)


def _subject(key: Key, body: str) -> Subject | None:
    name = objects.made_name(body)
    if not name:
        return None
    if key.kind in objects.CALLABLE:
        return Subject("function", name + objects.signature(key, name))
    if key.kind in {"TYPE", "DOMAIN"}:
        return Subject("type", name)
    if key.kind in {"VIEW", "MATERIALIZED VIEW", "SEQUENCE", "TABLE", "FOREIGN TABLE"}:
        return Subject("relation", name)
    return None


def rest(trial: Trial, here: Side, goal: Side, parts: Parts) -> Iterator[Change]:
    """Yield what is left to do, as far as anybody knows how.

    Args:
        trial: The scratch database.
        here: What it is.
        goal: What it is to become.
        parts: Constraints and indexes that the models have.
    """
    for rename in renames.followers(here.catalog, goal.catalog):
        yield Change([_sql([renames.statement(rename)])], key=_renamed(rename))
    for key in reversed(objects.missing(goal.snapshot, here.snapshot)):
        if not _is_altered(key, here, goal):
            yield dropped(key, here.snapshot)
    yield from _types(trial, here, goal)
    yield from _tables(here, goal, parts)
    for key in goal.snapshot.objects:
        if not _is_altered(key, here, goal):
            yield from _object(key, here, goal, parts)


def _renamed(rename: renames.Rename) -> Key | None:
    if rename.kind == "constraint" and rename.inside:
        return Key("CONSTRAINT", rename.inside.schema, f"{rename.inside.name} {rename.new.name}")
    return Key("INDEX", *rename.new) if rename.kind == "index" else None


def _tables(here: Side, goal: Side, parts: Parts) -> Iterator[Change]:
    for name in _both(here, goal):
        old, table = here.catalog.tables[name], goal.catalog.tables[name]
        constraints = {*old.constraints, *table.constraints}
        for part, ways in alter.table_changes(old, table):
            modelled = _as_modelled(name, part, parts, there=part in old.constraints)
            modelled = [] if alter.only_validates(old, table, part) else modelled
            subject = _part(name, constraints, part)
            yield Change([*modelled, *map(_sql, ways)], subject, Key("TABLE", *name))


def _both(here: Side, goal: Side) -> Iterator[Name]:
    """Yield the tables that can be altered."""
    return (name for name in goal.catalog.tables if _is_in_both(name, here, goal))


def _is_in_both(name: Name, here: Side, goal: Side) -> bool:
    """Tell whether a table can be altered; a foreign table has no rows and is made anew."""
    old, new = here.catalog.tables.get(name), goal.catalog.tables.get(name)
    return old is not None and new is not None and "f" not in {old.kind, new.kind}


def _object(key: Key, here: Side, goal: Side, parts: Parts) -> Iterator[Change]:
    if key not in here.snapshot.objects:
        yield made(key, goal.snapshot)
    elif here.snapshot.objects[key] != goal.snapshot.objects[key]:
        if not (ways := objects.ways(key, here.snapshot, goal.snapshot)):
            return
        table = _indexed(key, goal)
        modelled = _as_modelled(table, key.name, parts, there=True) if table else []
        subject = _subject(key, here.snapshot.objects[key][0])
        yield Change([*modelled, *map(_sql, ways)], subject, key)


def _sql(statements: Iterable[str]) -> list[MigrateOperation]:
    return [RunSql(stable(statement)) for statement in statements]


def _as_modelled(
    table: Name, part: str, parts: Parts, *, there: bool
) -> list[list[MigrateOperation]]:
    """Return the operations that make a constraint or an index anew as the model says it."""
    item = parts.get((table, part))
    schema = table.given_schema
    drop: MigrateOperation
    if isinstance(item, sa.Index):
        make: MigrateOperation = CreateIndexOp.from_index(item)
        drop = DropIndexOp(part, table.name, schema=schema)
    elif isinstance(item, sa.Constraint):
        make = AddConstraintOp.from_constraint(item)
        drop = DropConstraintOp(part, table.name, schema=schema)
    else:
        return []
    return [[drop, make] if there else [make]]


def _indexed(key: Key, goal: Side) -> Name | None:
    """Return the table that an index is of."""
    if key.kind != "INDEX":
        return None
    tables = goal.catalog.tables.items()
    return next((n for n, t in tables if n.schema == key.schema and key.name in t.indexes), None)


def _part(name: Name, constraints: Collection[str], part: str) -> Subject | None:
    if not part:
        return None
    return Subject("constraint" if part in constraints else "column", name.sql, part)


def _is_altered(key: Key, here: Side, goal: Side) -> bool:
    """Tell whether an object is part of a table that is altered, or a type that is."""
    if key.kind in {"TABLE", "ROW SECURITY"}:
        return _is_in_both(Name(key.schema, key.name), here, goal)
    if key.kind in ALTERED:
        ends = (place for place, mark in enumerate(key.name) if mark == " ")
        return any(_is_in_both(Name(key.schema, key.name[:end]), here, goal) for end in ends)
    if key.kind in {"TYPE", "DOMAIN"}:
        name = Name(key.schema, key.name)
        return name in here.catalog.types and name in goal.catalog.types
    if key.kind == "SEQUENCE OWNED BY":  # of a column that goes, or a number no more
        gone = key not in goal.snapshot.objects
        return gone and Name(key.schema, key.name) not in goal.catalog.sequences
    if key.kind == "SEQUENCE":
        bodies = here.snapshot.objects.get(key) or goal.snapshot.objects[key]
        return bodies[0].startswith("ALTER TABLE")
    return False


def added_values(here: Side, goal: Side) -> Iterator[Change]:
    """Yield the enums that only get more values: what uses these can be tried when they are committed."""
    for name, type_ in goal.catalog.types.items():
        old = here.catalog.types.get(name)
        if old and type_.kind == "e" and (ways := alter.type_changes(old, type_)):
            key = _type_key(name, type_.kind)
            yield Change([*map(_sql, ways)], Subject("type", type_.sql), key)


def _types(trial: Trial, here: Side, goal: Side) -> Iterator[Change]:
    for name, type_ in goal.catalog.types.items():
        old = here.catalog.types.get(name)
        key = _type_key(name, type_.kind)
        text = goal.snapshot.objects.get(key)
        if old and text and here.snapshot.objects.get(key) != text:
            ways = alter.type_changes(old, type_) if old != type_ else []
            replace = list(_replacement(trial, name, goal))
            yield Change([*map(_sql, [*ways, replace])], Subject("type", type_.sql), key)


def _type_key(name: Name, kind: str) -> Key:
    return Key("DOMAIN" if kind == "d" else "TYPE", *name)


def _replacement(trial: Trial, name: Name, goal: Side) -> Iterator[str]:
    """Yield what puts a new type in the place of an old one, and of those that stand on it.

    A row whose value the new type does not have makes the statement fail.
    """
    with trial.database.connect() as connection, connection.begin():
        cursor = connection.connection.cursor()
        cursor.execute(TYPES_ON_TYPE, (name.sql,))
        keys = {Name(*type_): _type_key(Name(*type_), kind) for *type_, kind in cursor.fetchall()}
        types = [type_ for type_, key in keys.items() if key in goal.snapshot.objects]
        columns = []
        for type_ in types:
            cursor.execute(COLUMNS_OF_TYPE, (type_.sql,))
            columns += [
                (type_, Name(schema, table), column, array, default)
                for schema, table, column, array, default in cursor.fetchall()
            ]
    for _, table, column, _, default in columns:
        if default:
            yield f"ALTER TABLE {table.sql} ALTER COLUMN {identifier(column)} DROP DEFAULT;"
    aside = {type_: Name(type_.schema, type_.name[:50] + REPLACED) for type_ in types}
    for type_ in types:
        yield f"ALTER TYPE {type_.sql} RENAME TO {identifier(aside[type_].name)};"
    for type_ in types:
        yield from goal.snapshot.objects[keys[type_]]
    for type_, table, column, array, _ in columns:
        item, mark = identifier(column), "[]" if array else ""
        cast = f"{item}::text{mark}::{type_.sql}{mark}"
        yield f"ALTER TABLE {table.sql} ALTER COLUMN {item} TYPE {type_.sql}{mark} USING {cast};"
    for _, table, column, _, default in columns:
        tables = goal.catalog.tables
        meant = tables[table].columns.get(column) if table in tables else None
        if default and meant and meant.default:
            item = identifier(column)
            yield f"ALTER TABLE {table.sql} ALTER COLUMN {item} SET DEFAULT {meant.default};"
    for type_ in reversed(types):
        yield f"DROP TYPE {aside[type_].sql};"
