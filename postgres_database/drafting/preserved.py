"""Values that outlive a change: of columns that move between a parent and its children, and of sequences. Pure."""

from collections.abc import Iterator
from dataclasses import replace

from postgres_database.drafting.trial import Change, as_way
from postgres_database.schema import alter, numbering
from postgres_database.schema.catalog import Catalog, Table
from postgres_database.schema.comparison import Side
from postgres_database.schema.snapshot import Key
from postgres_database.sql.names import Name, identifier


def moved_columns(here: Catalog, goal: Catalog) -> Iterator[Change]:
    """Yield the changes that move columns from parents to children or back, with their values.

    To a child: `ALTER TABLE ONLY parent DROP COLUMN` leaves the column in the children (PostgreSQL manual, ALTER TABLE,
    "DROP COLUMN"). To a parent: a column that a child defines itself would merge with the parent's but stay the
    child's own; therefore it is renamed, its values are copied to the inherited column, and it is dropped.
    """
    for name in here.tables.keys() & goal.tables.keys():
        old, new = here.tables[name], goal.tables[name]
        if old.kind != "r":
            continue
        for column in old.columns.keys() - new.columns.keys():
            if any(
                not each.columns[column].inherited for each in _children(name, column, here, goal)
            ):
                yield Change(
                    [as_way([f"ALTER TABLE ONLY {name.sql} DROP COLUMN {identifier(column)};"])]
                )
        for column in new.columns.keys() - old.columns.keys():
            children = [
                each
                for each in _children(name, column, here, goal)
                if each.columns[column].inherited
                and not here.tables[each.name].columns[column].inherited
            ]
            if children:
                yield Change([as_way(_to_parent(new, column, children))])


def _children(parent: Name, column: str, here: Catalog, goal: Catalog) -> list[Table]:
    """Return the goal's tables that inherit from `parent` and have `column`, both here and at the goal."""
    return [
        table
        for name, table in goal.tables.items()
        if name in here.tables
        and all(column in each.tables[name].columns for each in (here, goal))
        and all(parent in map(Name.read, each.tables[name].parents) for each in (here, goal))
    ]


def _to_parent(parent: Table, column: str, children: list[Table]) -> Iterator[str]:
    item, aside = identifier(column), identifier(f"{column[:50]}_own")
    for child in children:
        yield f"ALTER TABLE {child.name.sql} RENAME COLUMN {item} TO {aside};"
    yield alter.add_column(parent.name, replace(parent.columns[column], not_null=False))
    for child in children:
        yield f"UPDATE ONLY {child.name.sql} SET {item} = {aside};"  # noqa: S608 - the names are quoted
        yield f"ALTER TABLE {child.name.sql} DROP COLUMN {aside};"


def released_sequences(here: Side, goal: Side) -> Iterator[Change]:
    """Yield the changes that detach sequences from owning columns, where the goal keeps the sequence but not its owner.

    A sequence is dropped with the column that owns it (PostgreSQL manual, CREATE SEQUENCE, "OWNED BY").
    """
    wanted = goal.snapshot.objects
    for key, bodies in here.snapshot.objects.items():
        if key.kind == "SEQUENCE OWNED BY" and _stays(key, goal) and wanted.get(key) != bodies:
            free = f"ALTER SEQUENCE {Name(key.schema, key.name).sql} OWNED BY NONE;"
            yield Change([as_way(wanted.get(key, [])), as_way([free])], key=key)


def _stays(owned: Key, goal: Side) -> bool:
    body = goal.snapshot.objects.get(Key("SEQUENCE", owned.schema, owned.name), [""])[0]
    return body.startswith("CREATE ")


def continued_sequences(here: Side, goal: Side) -> Iterator[Change]:
    """Yield the changes that start new sequences after the numbers already in their columns."""
    for name in goal.catalog.sequences:
        key = Key("SEQUENCE", *name)
        if key in here.snapshot.objects or key not in goal.snapshot.objects:
            continue
        columns, before = [], {}
        for table_name, table in goal.catalog.tables.items():
            old = here.catalog.tables.get(table_name)
            for column in table.columns.values():
                drawn = numbering.drawn_from(column)
                if not (old and drawn and column.name in old.columns and Name.read(drawn) == name):
                    continue
                columns.append((table_name, column))
                if earlier := numbering.drawn_from(old.columns[column.name]):
                    before[earlier] = True
        if columns:
            options = goal.snapshot.objects[key][0]
            yield Change([as_way([numbering.count_on(name.sql, options, columns, [*before])])])
