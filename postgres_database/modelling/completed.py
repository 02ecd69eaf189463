"""What differs in the tables of a first module of models → statements that run after CREATE TABLE. Pure."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from postgres_database.schema import alter
from postgres_database.schema.catalog import Catalog, Table
from postgres_database.sql.names import Name, identifier

Part = tuple[Name, str]
"""A constraint, an index or a column's default: its table, and the name of the constraint, index or column."""


def unlike(here: Catalog, goal: Catalog, tables: Collection[Name]) -> set[Part]:
    """Return the constraints, indexes and defaults that the first models create differently, or not at all.

    Foreign keys are left out: they stay in the models, where SQLAlchemy orders tables by them. So are the keys and
    unique indexes of a table that could not be created, to which foreign keys may refer.

    Args:
        here: The catalog that the first models make.
        goal: The catalog of the database.
        tables: The tables of the models.
    """
    different = set()
    for name in tables:
        table, created = goal.tables[name], here.tables.get(name)
        for part, constraint in table.constraints.items():
            if constraint.kind in ("cxu" if created else "cx") and (
                created is None or created.constraints.get(part) != constraint
            ):
                different.add((name, part))
        for part, column in table.columns.items():
            old = created.columns.get(part) if created else None
            own = column.default and not (column.serial or column.generated)
            if own and (old is None or old.default != column.default):
                different.add((name, part))
        for part, text in table.indexes.items():
            if (
                created.indexes.get(part) != text
                if created
                else not text.startswith("CREATE UNIQUE")
            ):
                different.add((name, part))
    return different


def statements(
    here: Catalog,
    goal: Catalog,
    sequences: Sequence[Mapping[Name, str]],
    tables: Collection[Name],
) -> dict[Name, list[Sequence[str]]]:
    """Return, by table, the changes that make the models' tables equal to the database's, each as statements.

    Args:
        here: The catalog that the models make.
        goal: The catalog of the database.
        sequences: The options of sequences, here and at the goal, as `described.sequences` returns them.
        tables: The tables of the models.
    """
    return {
        name: needed
        for name in sorted(tables)
        if name in here.tables
        and (needed := [*_statements(here.tables[name], goal.tables[name], sequences)])
    }


def _statements(
    here: Table, goal: Table, sequences: Sequence[Mapping[Name, str]]
) -> Iterator[Sequence[str]]:
    columns = {**here.columns}
    for name, column in goal.columns.items():
        created = columns.get(name)
        if not (created and column.sequence):
            continue
        new = Name.read(column.sequence)
        if not created.sequence:  # no default draws from it
            owner = f"{goal.name.sql}.{identifier(name)}"
            yield [f"CREATE SEQUENCE {new.sql} {sequences[1][new]} OWNED BY {owner};"]
            columns[name] = replace(created, sequence=column.sequence)
            continue
        old = Name.read(created.sequence)
        if sequences[0].get(old) != sequences[1].get(new):
            yield [f"ALTER SEQUENCE {old.sql} {sequences[1][new]};"]
        if old != new:
            yield [f"ALTER SEQUENCE {old.sql} RENAME TO {identifier(new.name)};"]
        default = column.default if created.serial and column.serial else created.default
        columns[name] = replace(
            created, sequence=column.sequence, options=column.options, default=default
        )
    # Row security belongs to the policies, which the history creates.
    forced = goal.forced if goal.row_security else here.forced
    with_sequences = replace(here, columns=columns, row_security=goal.row_security, forced=forced)
    settings: list[Sequence[str]] = []
    for part, ways in alter.table_changes(with_sequences, goal):
        if part:
            yield ways[0]
        else:  # a setting of the table may name an index
            settings += ([each] for each in ways[0])
    for name, definition in goal.indexes.items():
        if here.indexes.get(name) != definition:
            yield [f"{definition};"]
    yield from settings
