"""Sequences that stay when their owner is dropped, and new ones that continue the numbers of others. Pure."""

from collections.abc import Iterator

from postgres_database.drafting.trial import Change, as_way
from postgres_database.schema import numbering
from postgres_database.schema.comparison import Side
from postgres_database.schema.snapshot import Key
from postgres_database.sql.names import Name


def released(here: Side, goal: Side) -> Iterator[Change]:
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


def continued(here: Side, goal: Side) -> Iterator[Change]:
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
