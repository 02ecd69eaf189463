"""What the tables of a first try lack → statements that are run after a table is made. Pure."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from postgres_database.schema import alter
from postgres_database.schema.catalog import Catalog, Table
from postgres_database.sql.names import Name, identifier

Part = tuple[Name, str]
"""A constraint, an index or the default of a column: its table and its name."""


def unlike(here: Catalog, goal: Catalog, tables: Collection[Name]) -> set[Part]:
    """Return the constraints, indexes and defaults that a first try made otherwise.

    Foreign keys stay, because SQLAlchemy knows in which order they can be made; so does what they refer to, where
    a table could not be made.
    """
    found = set()
    for name in tables:
        table, made = goal.tables[name], here.tables.get(name)
        for part, rule in table.constraints.items():
            if rule.kind in ("cxu" if made else "cx") and (
                made is None or made.constraints.get(part) != rule
            ):
                found.add((name, part))
        for part, column in table.columns.items():
            old = made.columns.get(part) if made else None
            own = column.default and not (column.serial or column.generated)
            if own and (old is None or old.default != column.default):
                found.add((name, part))
        for part, text in table.indexes.items():
            if made.indexes.get(part) != text if made else not text.startswith("CREATE UNIQUE"):
                found.add((name, part))
    return found


def statements(
    here: Catalog,
    goal: Catalog,
    sequences: Sequence[Mapping[Name, str]],
    tables: Collection[Name],
) -> dict[Name, list[str]]:
    """Return what brings tables to what they should be.

    Args:
        here: What the models make.
        goal: What they should make.
        sequences: How sequences count, on either side.
        tables: Those of the models.
    """
    return {
        name: found
        for name in sorted(tables)
        if name in here.tables
        and (found := [*_statements(here.tables[name], goal.tables[name], sequences)])
    }


def _statements(here: Table, goal: Table, sequences: Sequence[Mapping[Name, str]]) -> Iterator[str]:
    columns = {**here.columns}
    for name, column in goal.columns.items():
        made = columns.get(name)
        if not (made and made.sequence and column.sequence):
            continue
        old, new = Name.read(made.sequence), Name.read(column.sequence)
        if sequences[0].get(old) != sequences[1].get(new):
            yield f"ALTER SEQUENCE {old.sql} {sequences[1][new]};"
        if old != new:
            yield f"ALTER SEQUENCE {old.sql} RENAME TO {identifier(new.name)};"
        default = column.default if made.serial and column.serial else made.default
        columns[name] = replace(
            made, sequence=column.sequence, options=column.options, default=default
        )
    # Row security goes with the policies, which are the history's.
    made_table = replace(here, columns=columns, row_security=goal.row_security, forced=goal.forced)
    for _, ways in alter.table_changes(made_table, goal):
        yield from ways[0]
    for name, definition in goal.indexes.items():
        if here.indexes.get(name) != definition:
            yield f"{definition};"
