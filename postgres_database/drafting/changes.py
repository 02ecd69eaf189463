"""Every difference between two schemas as a change, with the ways to make it, for `trial` to try."""

from collections.abc import Collection, Iterator, Mapping
from copy import copy
from dataclasses import replace
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

from postgres_database.drafting import in_place, objects, preserved, renames, type_changes
from postgres_database.drafting.objects import Subject, subject_of
from postgres_database.drafting.trial import Change, Trial, Way, as_way
from postgres_database.history import project_models
from postgres_database.history.operations import CastColumn
from postgres_database.history.project_models import Models
from postgres_database.schema import alter
from postgres_database.schema.catalog import Catalog, Column
from postgres_database.schema.comparison import Side
from postgres_database.schema.partitions import parents_first, without_parents
from postgres_database.schema.snapshot import Key, Snapshot
from postgres_database.sql.names import Name, identifier

ALTERED = ("CONSTRAINT", "FK CONSTRAINT", "CHECK CONSTRAINT", "DEFAULT")
"""Kinds of objects of a dump that are parts of tables, which `schema.alter` changes."""
Parts = dict[tuple[Name, str], sa.Constraint | sa.Index]
"""Constraints and indexes of the models, by table and name."""


def parts(models: Models) -> Parts:
    """Return the models' named constraints and indexes."""
    named: Parts = {}
    for table in project_models.tables(models):
        name = Name.of(table.schema, table.name)
        named |= {(name, str(part.name)): part for part in table.constraints if part.name}
        named |= {(name, str(part.name)): part for part in table.indexes if part.name}
    return named


def is_owned(key: Key, side: Side) -> bool:
    """Tell whether an object is the sequence of a serial or identity column, which is created with its column."""
    return key.kind == "SEQUENCE" and Name(key.schema, key.name) not in side.catalog.sequences


def from_alembic(op: MigrateOperation, here: Side, goal: Side) -> Change:
    """Return the change for an operation of Alembic, with further or other ways where it may fail or is wrong."""
    if isinstance(op, AlterColumnOp):
        op = _own_part(op, here.catalog, goal.catalog)
        if not op.has_changes():
            return Change([])
    if isinstance(op, CreateTableOp) and not _is_whole(op, goal.catalog):
        return create(Key("TABLE", *Name.of(op.schema, op.table_name)), goal)
    if isinstance(op, AlterColumnOp) and op.modify_type is not None:
        return Change(_retypings(op, here.catalog, goal.catalog), _concerned(op))
    if isinstance(op, AddColumnOp):
        name = Name.of(op.schema, op.table_name)
        column = goal.catalog.tables[name].columns[op.column.name]
        if column.serial:  # Alembic leaves out its sequence
            return Change([*map(as_way, alter.added_column(name, column))])
        if column.default and not column.generated:  # existing rows must get exactly this default
            whole = as_way([alter.add_column(name, column)])
            return Change([[op], whole], default=(name.sql, column.name, column.default))
    return Change([_unchecked(op, goal.catalog) or [op]], _concerned(op))


def _unchecked(op: MigrateOperation, goal: Catalog) -> Way:
    """Return what adds a constraint NOT VALID or NOT ENFORCED, if Alembic's operation would check it."""
    if not isinstance(op, AddConstraintOp):
        return []
    constraint = op.to_constraint()
    name, table = str(constraint.name), Name.of(constraint.table.schema, constraint.table.name)
    wanted = goal.tables[table].constraints.get(name) if table in goal.tables else None
    said = constraint.dialect_kwargs.get("postgresql_not_valid")
    if said or not wanted or not wanted.definition.endswith((" NOT VALID", " NOT ENFORCED")):
        return []
    add = f"ALTER TABLE {table.sql} ADD CONSTRAINT {identifier(name)} {wanted.definition};"
    return as_way([add])


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


def _own_part(op: AlterColumnOp, here: Catalog, goal: Catalog) -> AlterColumnOp:
    """Return an operation without the default of a serial, and without NOT NULL where that comes with a parent's.

    `schema.numbering` writes the sequence of a serial and its default.
    """
    op = copy(op)
    name = Name.of(op.schema, op.table_name)
    old, new = (each.tables[name].columns[op.column_name] for each in (here, goal))
    if new.serial and not old.serial:
        op.modify_server_default = False
    if without_parents(name, here, goal).columns[op.column_name] != new:
        op.modify_nullable = None
    return op


def _is_whole(op: CreateTableOp, goal: Catalog) -> bool:
    """Tell whether an operation has its table's partitioning and parents, which a reflected one has not, or wrongly."""
    table = goal.tables[Name.of(op.schema, op.table_name)]
    partitioned = not table.partitioned_by or "postgresql_partition_by" in op.kw
    named = {each.name for each in op.columns if isinstance(each, sa.Column)}
    from_parents = {name for name, column in table.columns.items() if column.inherited}
    inherits = not table.parents or ("postgresql_inherits" in op.kw and not named & from_parents)
    return partitioned and not table.partition and inherits


def _retypings(op: AlterColumnOp, here: Catalog, goal: Catalog) -> list[list[MigrateOperation]]:
    """Return the ways to change a column's type: by each cast, its default kept, or dropped before and set after."""
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


def drop(key: Key, here: Snapshot) -> Change:
    """Return the change that drops an object."""
    body = here.objects[key][0]
    ways = [as_way(objects.to_drop(key, here)), as_way(objects.to_drop_apart(key, here))]
    return Change(ways, subject_of(key, body), key)


def create(key: Key, goal: Side) -> Change:
    """Return the change that creates an object."""
    return Change([as_way(objects.to_create(key, goal.snapshot, _columns(key, goal)))], key=key)


def _columns(key: Key, side: Side) -> Mapping[str, Column]:
    """Return the columns of a table in their order."""
    table = side.catalog.tables.get(Name(key.schema, key.name))
    return table.columns if table else objects.NO_COLUMNS


def unchecked(here: Side, goal: Side) -> Iterator[Change]:
    """Yield the changes that create functions with unchecked bodies, as pg_dump does: they may need each other."""
    for key in objects.missing(here.snapshot, goal.snapshot):
        if key.kind in in_place.CALLABLE:
            off, on = "SET check_function_bodies = off;", "RESET check_function_bodies;"
            subject = subject_of(key, goal.snapshot.objects[key][0])
            yield Change(
                [as_way([off, *objects.to_create(key, goal.snapshot), on])],
                subject,
                key,
                unchecked=True,
            )


def remaining(trial: Trial, here: Side, goal: Side, parts: Parts) -> Iterator[Change]:
    """Yield the changes for all differences that remain, in an order that usually works.

    Args:
        trial: The scratch database.
        here: Its present schema.
        goal: The schema that it is to get.
        parts: The models' constraints and indexes, which are created by Alembic's operations where possible.
    """
    for rename in renames.followers(here.catalog, goal.catalog):
        yield Change([as_way([renames.statement(rename)])], key=_renamed(rename))
    yield from preserved.parts_of_parents(here, goal)
    shared = preserved.shared_checks(here, goal)
    yield from filter(None, shared.values())
    yield from preserved.valid_below(here, goal)
    yield from preserved.without_parts(here, goal)
    gone = [
        key
        for key in reversed(objects.missing(goal.snapshot, here.snapshot))
        if not _is_altered(key, here, goal)
    ]
    # A sequence is dropped late: a new one continues from its number.
    old_sequences = [key for key in gone if key.kind == "SEQUENCE"]
    yield from (drop(key, here.snapshot) for key in gone if key not in old_sequences)
    yield from type_changes.changed(trial, here, goal)
    yield from _tables(here, goal, parts, shared)
    yield from (drop(key, here.snapshot) for key in old_sequences)
    own = [create(key, goal) for key in preserved.own_keys(here, goal)]
    coming = preserved.coming_with_wholes(here, goal)
    for key in goal.snapshot.objects:
        if key.kind == "TABLE ATTACH" and own:
            yield from own
            own = []
        if key not in coming and not _is_altered(key, here, goal):
            yield from _object(key, here, goal, parts)
    hidden = [key for key in objects.missing(here.hidden, goal.hidden) if key not in coming]
    yield from (create(key, replace(goal, snapshot=goal.hidden)) for key in hidden)


def _renamed(rename: renames.Rename) -> Key | None:
    if rename.kind == "constraint" and rename.inside:
        return Key("CONSTRAINT", rename.inside.schema, f"{rename.inside.name} {rename.new.name}")
    return Key("INDEX", *rename.new) if rename.kind == "index" else None


def _tables(
    here: Side, goal: Side, parts: Parts, done: Collection[tuple[Name, str]]
) -> Iterator[Change]:
    for name in _altered_tables(here, goal):
        old, table = here.catalog.tables[name], without_parents(name, here.catalog, goal.catalog)
        constraints = {*old.constraints, *table.constraints}
        for part, ways in alter.table_changes(old, table):
            if (name, part) in done:
                continue
            modelled = _as_modelled(name, part, parts, exists=part in old.constraints)
            modelled = [] if alter.is_in_place(old, table, part) else modelled
            subject = _part(name, constraints, part)
            yield Change([*modelled, *map(as_way, ways)], subject, Key("TABLE", *name))


def _altered_tables(here: Side, goal: Side) -> Iterator[Name]:
    names = parents_first(goal.catalog)
    return (name for name in names if _is_altered_table(name, here, goal))


def _is_altered_table(name: Name, here: Side, goal: Side) -> bool:
    """Tell whether a table is altered; a foreign table has no rows and is recreated instead."""
    old, new = here.catalog.tables.get(name), goal.catalog.tables.get(name)
    return old is not None and new is not None and "f" not in {old.kind, new.kind}


def _object(key: Key, here: Side, goal: Side, parts: Parts) -> Iterator[Change]:
    if key not in here.snapshot.objects:
        yield create(key, goal)
    elif here.snapshot.objects[key] != goal.snapshot.objects[key]:
        ways = objects.to_change(key, here.snapshot, goal.snapshot, _columns(key, goal))
        if not ways:
            return
        table = _indexed(key, goal)
        again = table is not None and ways[0][0].startswith("DROP ")
        modelled = _as_modelled(table, key.name, parts, exists=True) if table and again else []
        subject = subject_of(key, here.snapshot.objects[key][0])
        yield Change([*modelled, *map(as_way, ways)], subject, key)


def _as_modelled(
    table: Name, part: str, parts: Parts, *, exists: bool
) -> list[list[MigrateOperation]]:
    """Return the way that creates a constraint or index by Alembic's operation; none if the models do not have it.

    Args:
        table: Its table.
        part: Its name.
        parts: The models' constraints and indexes.
        exists: Whether an old one of its name is dropped first.
    """
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
    return [[drop, make] if exists else [make]]


def _indexed(key: Key, goal: Side) -> Name | None:
    """Return the table of an index; None for another object, or for an index of no table."""
    if key.kind != "INDEX":
        return None
    tables = goal.catalog.tables.items()
    return next((n for n, t in tables if n.schema == key.schema and key.name in t.indexes), None)


def _part(name: Name, constraints: Collection[str], part: str) -> Subject | None:
    if not part:
        return None
    return Subject("constraint" if part in constraints else "column", name.sql, part)


def _is_altered(key: Key, here: Side, goal: Side) -> bool:
    """Tell whether an object is altered with its table, its column or as a type, and is no change of its own."""
    if key.kind in {"TABLE", "ROW SECURITY"}:
        return _is_altered_table(Name(key.schema, key.name), here, goal)
    if key.kind in ALTERED:
        ends = (place for place, mark in enumerate(key.name) if mark == " ")
        owners = [Name(key.schema, key.name[:end]) for end in ends]  # a CHECK may be a domain's
        return any(
            _is_altered_table(each, here, goal) or _is_altered_type(each, here, goal)
            for each in owners
        )
    if key.kind in {"TYPE", "DOMAIN"}:
        return _is_altered_type(Name(key.schema, key.name), here, goal)
    if key.kind == "SEQUENCE OWNED BY":
        return preserved.comes_with_column(key, here, goal)
    if key.kind == "SEQUENCE":
        bodies = here.snapshot.objects.get(key) or goal.snapshot.objects[key]
        return bodies[0].startswith("ALTER TABLE")
    return False


def _is_altered_type(name: Name, here: Side, goal: Side) -> bool:
    return name in here.catalog.types and name in goal.catalog.types
