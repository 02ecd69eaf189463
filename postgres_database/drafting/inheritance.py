"""Columns that move between a parent and its children, with their values. Pure: no database."""

from collections.abc import Iterator
from dataclasses import replace

from postgres_database.drafting.trial import Change, as_way
from postgres_database.schema import alter
from postgres_database.schema.catalog import Catalog, Table
from postgres_database.sql.names import Name, identifier


def moved(here: Catalog, goal: Catalog) -> Iterator[Change]:
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
