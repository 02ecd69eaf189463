"""Sequences that stay while what owns them goes, and those that take the place of others: their numbers go on. Pure."""

from collections.abc import Iterator

from postgres_database.drafting.trial import Change, as_way
from postgres_database.schema import numbering
from postgres_database.schema.comparison import Side
from postgres_database.schema.snapshot import Key
from postgres_database.sql.names import Name


def released(here: Side, goal: Side) -> Iterator[Change]:
    """Yield what takes sequences that are to stay from columns that do not own them at the goal.

    A sequence falls with the column that owns it (PostgreSQL manual, CREATE SEQUENCE, "OWNED BY").
    """
    there = goal.snapshot.objects
    for key, bodies in here.snapshot.objects.items():
        if key.kind == "SEQUENCE OWNED BY" and _stays(key, goal) and there.get(key) != bodies:
            free = f"ALTER SEQUENCE {Name(key.schema, key.name).sql} OWNED BY NONE;"
            yield Change([as_way(there.get(key, [])), as_way([free])], key=key)


def _stays(owned: Key, goal: Side) -> bool:
    body = goal.snapshot.objects.get(Key("SEQUENCE", owned.schema, owned.name), [""])[0]
    return body.startswith("CREATE ")


def continued(here: Side, goal: Side) -> Iterator[Change]:
    """Yield what lets new sequences count on from the numbers that rows of their columns have."""
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
