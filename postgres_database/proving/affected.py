"""Which tables a drafted script may meet the rows of. Pure: no database.

Rows of all other tables stay what they are: a statement about a table changes its rows, and meets those that foreign
keys bind to them. Where more than that may run, such as a trigger, it may be any table.
"""

import re
from collections.abc import Iterable, Iterator

from postgres_database.schema.catalog import Catalog, Table
from postgres_database.schema.comparison import Comparison, Side
from postgres_database.schema.partitions import owner
from postgres_database.sql.names import Name
from postgres_database.sql.syntax import referenced

CALLED = ("FUNCTION", "PROCEDURE", "AGGREGATE")
FIRED = ("TRIGGER", "RULE")
UNNAMED = ("CAST", "EVENT TRIGGER", "OPERATOR")
"""What calls functions without their name in the text of a table."""


def tables(compared: Comparison) -> frozenset[Name] | None:
    """Return the tables whose rows a script may meet that leads from one side of a comparison to the other.

    None: any table, because a difference is of no table, or a function, a trigger or a rule of the database may run.
    """
    sides = compared.before, compared.goal
    changed: set[Name] = set()
    for difference in compared.differences.objects:
        for text in filter(None, (difference.left, difference.right)):
            name = owner(text) or _owning(Name(difference.key.schema, difference.key.name), sides)
            if name is None:
                return None
            changed.add(name)
    if any(_is_related(name, side.catalog) for name in changed for side in sides):
        return None
    met = _bound(changed, sides)
    if any(_may_run(side, changed, met) for side in sides):
        return None
    return frozenset(met)


def _owning(sequence: Name, sides: Iterable[Side]) -> Name | None:
    """Return the table with a column that owns a sequence."""
    for side in sides:
        for name, table in side.catalog.tables.items():
            if any(column.sequence == sequence.sql for column in table.columns.values()):
                return name
    return None


def _is_related(name: Name, catalog: Catalog) -> bool:
    """Tell whether a table is a partition, has partitions, or inherits from another or the other way round."""
    table = catalog.tables.get(name)
    return table is not None and (
        bool(table.parents or table.partitioned_by)
        or any(name.sql in other.parents for other in catalog.tables.values())
    )


def _bound(changed: set[Name], sides: Iterable[Side]) -> set[Name]:
    """Return tables, those that reference them, and whatever the rows of all of these need."""
    needs: dict[Name, set[Name]] = {}
    for side in sides:
        for name, table in side.catalog.tables.items():
            needs.setdefault(name, set()).update(_needed(table))
    found: set[Name] = set()
    left = [*changed, *(name for name, others in needs.items() if others & changed)]
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left += needs.get(name, ())
    return found


def _needed(table: Table) -> Iterator[Name]:
    """Yield the tables that a table references, and the parents of a partition."""
    for constraint in table.constraints.values():
        if constraint.kind == "f":
            yield Name.read(referenced(constraint.definition))
    yield from map(Name.read, table.parents)


def _may_run(side: Side, changed: set[Name], met: set[Name]) -> bool:
    """Tell whether statements about tables may run what the database has of functions, triggers or rules."""
    objects = side.snapshot.objects
    if any(
        key.kind in UNNAMED or (key.kind in FIRED and owner(texts[0]) in met)
        for key, texts in objects.items()
    ):
        return True
    called = {re.escape(key.name.partition("(")[0]) for key in objects if key.kind in CALLED}
    call = re.compile(rf"(?<![\w$])(?:{'|'.join(called)})\"?\s*\(") if called else None
    return call is not None and any(
        call.search(text)
        for key, texts in objects.items()
        if key.kind == "DOMAIN" or owner(texts[0]) in changed
        for text in texts
    )
