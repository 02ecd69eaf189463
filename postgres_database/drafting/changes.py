"""From one side to the other: what is to be changed, in which ways, for a scratch database to try."""

from collections.abc import Collection, Iterator
from copy import copy
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

from postgres_database.drafting import objects, renames, type_changes
from postgres_database.drafting.trial import Change, Subject, Trial, as_way
from postgres_database.history import project_models
from postgres_database.history.operations import CastColumn
from postgres_database.history.project_models import Models
from postgres_database.schema import alter
from postgres_database.schema.catalog import Catalog
from postgres_database.schema.comparison import Side
from postgres_database.schema.snapshot import Key, Snapshot
from postgres_database.sql.names import Name, identifier

ALTERED = ("CONSTRAINT", "FK CONSTRAINT", "CHECK CONSTRAINT", "DEFAULT")
"""Parts of tables that a dump lists as objects, but `alter` changes."""
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
    if isinstance(op, AlterColumnOp) and _becomes_serial(op, here.catalog, goal.catalog):
        op = copy(op)
        op.modify_server_default = False
        if not op.has_changes():
            return Change([])
    if isinstance(op, CreateTableOp) and not _is_whole(op, goal.catalog):
        return made(Key("TABLE", *Name.of(op.schema, op.table_name)), goal.snapshot)
    if isinstance(op, AlterColumnOp) and op.modify_type is not None:
        return Change(_retypings(op, here.catalog, goal.catalog), _concerned(op))
    if isinstance(op, AddColumnOp):
        name = Name.of(op.schema, op.table_name)
        column = goal.catalog.tables[name].columns[op.column.name]
        if column.serial:  # Alembic would leave out its sequence
            return Change([*map(as_way, alter.added_column(name, column))])
        if column.default and not column.generated:  # rows get it at once, and no other afterwards
            whole = as_way([alter.add_column(name, column)])
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


def _becomes_serial(op: AlterColumnOp, here: Catalog, goal: Catalog) -> bool:
    """Tell whether a column gets a sequence of its own, which `numbering` makes from what numbers it now."""
    name = Name.of(op.schema, op.table_name)
    ends = [each.tables[name].columns[op.column_name] for each in (here, goal)]
    return ends[1].serial and not ends[0].serial


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
    restore = as_way(
        [
            f"ALTER TABLE {name.sql} ALTER COLUMN {identifier(op.column_name)} SET DEFAULT {new.default};"
        ]
    )
    rest = [others] if others.has_changes() else []
    ways: list[list[MigrateOperation]] = []
    for cast in alter.casts(identifier(op.column_name), old.type, new.type):
        needed = as_way(alter.needed_by(cast))
        typed = [*needed, CastColumn(type_only, cast) if cast else type_only]
        ways.append([*typed, *rest])
        if old.default and not old.generated:
            default = restore if new.default and op.modify_server_default is False else []
            ways.append([drop, *typed, *rest, *default])
    return ways


def dropped(key: Key, here: Snapshot) -> Change:
    """Return what drops an object."""
    body = here.objects[key][0]
    return Change([as_way(objects.to_drop(key, here))], _subject(key, body), key)


def made(key: Key, goal: Snapshot) -> Change:
    """Return what makes an object."""
    return Change([as_way(objects.to_create(key, goal))], key=key)


def unchecked(here: Side, goal: Side) -> Iterator[Change]:
    """Yield what makes functions that need one another: without a look at their bodies, as pg_dump does."""
    for key in objects.missing(here.snapshot, goal.snapshot):
        if key.kind in objects.CALLABLE:
            off, on = "SET check_function_bodies = off;", "RESET check_function_bodies;"
            yield Change([as_way([off, *objects.to_create(key, goal.snapshot), on])], key=key)


def _subject(key: Key, body: str) -> Subject | None:
    name = objects.created_name(body)
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
        yield Change([as_way([renames.statement(rename)])], key=_renamed(rename))
    gone = [
        key
        for key in reversed(objects.missing(goal.snapshot, here.snapshot))
        if not _is_altered(key, here, goal)
    ]
    # A sequence that goes is read by the one that counts on from it.
    numbers = [key for key in gone if key.kind == "SEQUENCE"]
    yield from (dropped(key, here.snapshot) for key in gone if key not in numbers)
    yield from type_changes.changed(trial, here, goal)
    yield from _tables(here, goal, parts)
    yield from (dropped(key, here.snapshot) for key in numbers)
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
            yield Change([*modelled, *map(as_way, ways)], subject, Key("TABLE", *name))


def _comes_with_column(key: Key, here: Side, goal: Side) -> bool:
    """Tell whether a sequence is owned no more because its column goes, or comes with one that becomes a serial."""
    sequence = Name(key.schema, key.name)
    if key not in goal.snapshot.objects:
        return sequence not in goal.catalog.sequences
    if key in here.snapshot.objects:
        return False
    if here.snapshot.objects.get(Key("SEQUENCE", *sequence), [""])[0].startswith("CREATE "):
        return False
    return any(
        column.serial
        and Name.read(column.sequence) == sequence
        and column.name in here.catalog.tables[name].columns
        and not here.catalog.tables[name].columns[column.name].serial
        for name in _both(here, goal)
        for column in goal.catalog.tables[name].columns.values()
    )


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
        if not (ways := objects.to_change(key, here.snapshot, goal.snapshot)):
            return
        table = _indexed(key, goal)
        modelled = _as_modelled(table, key.name, parts, there=True) if table else []
        subject = _subject(key, here.snapshot.objects[key][0])
        yield Change([*modelled, *map(as_way, ways)], subject, key)


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
    if key.kind == "SEQUENCE OWNED BY":
        return _comes_with_column(key, here, goal)
    if key.kind == "SEQUENCE":
        bodies = here.snapshot.objects.get(key) or goal.snapshot.objects[key]
        return bodies[0].startswith("ALTER TABLE")
    return False
