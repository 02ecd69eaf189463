"""One thing in two spellings: PostgreSQL prints some expressions in another way once they are restored.

`varchar IN (...)`, an untyped NULL in a UNION, EXTRACT: what was made from a model and what was made from
the text of a dump mean the same and differ in their text. A second restore changes nothing any more,
so two things are the same if their restored copies are.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from postgres_database.schema import comparison, snapshot
from postgres_database.schema.catalog import Catalog, Column, Constraint, Table, Type
from postgres_database.schema.comparison import Comparison, Side
from postgres_database.schema.scope import Scope
from postgres_database.schema.snapshot import Empty, Snapshot
from postgres_database.server.connection import Database
from postgres_database.sql.names import Name

Pieces = dict[tuple[Any, ...], str]
"""Expressions by where they stand."""
EXPRESSIONS = (
    "VIEW",
    "MATERIALIZED VIEW",
    "POLICY",
    "TRIGGER",
    "RULE",
    "INDEX",
    "STATISTICS",
    "FUNCTION",
    "PROCEDURE",
)
"""The kinds of whole objects that hold expressions."""
VERSIONED = "EXTENSION"
"""What a restored copy has in the server's own version, whatever the original had."""


def compare(
    scope: Scope, here: Database, goal: Database, owned: Collection[str], empty: Empty
) -> Comparison:
    """Compare a database with one that models made, whatever the spelling.

    Args:
        scope: Which schemas are included and what is excluded.
        here: What the history made.
        goal: What the models made.
        owned: What once came from the models.
        empty: Makes the databases for restored copies.
    """
    return compare_read(scope, (here, goal), comparison.sides(here, goal), owned, empty)


def compare_read(
    scope: Scope,
    databases: tuple[Database, Database],
    sides: Sequence[Side],
    owned: Collection[str],
    empty: Empty,
) -> Comparison:
    """Do the same with two databases that were read already."""
    left, right = sides
    return Comparison(scope, left, respell(right, left, databases, empty), owned)


def respell(right: Side, like: Side, databases: tuple[Database, Database], empty: Empty) -> Side:
    """Replace each expression of `right` that differs from `like` only in PostgreSQL's spelling.

    Args:
        right: The side that is respelled.
        like: The side whose spelling is taken.
        databases: Where the two are, `like` first.
        empty: Makes the databases for restored copies, which are needed only if any expression differs.
    """
    if not _may_be_spelling(like, right):
        return right
    again = comparison.sides(*[snapshot.restored(each, empty) for each in databases])
    mine, theirs = _pieces(like.catalog), _pieces(right.catalog)
    copies = [_pieces(copy.catalog) for copy in again]
    same = {
        place: mine[place]
        for place, text in theirs.items()
        if mine.get(place, text) != text and _same(place, *copies)
    }
    objects = {
        key: like.snapshot.objects.get(key, texts)
        if key.kind != VERSIONED and _same(key, *(copy.snapshot.objects for copy in again))
        else tuple(_respelled(text, theirs, same, key.schema, key.name) for text in texts)
        for key, texts in right.snapshot.objects.items()
    }
    return Side(Snapshot(objects), _catalog(right.catalog, same))


def _same(place: Any, left: Mapping[Any, Any], right: Mapping[Any, Any]) -> bool:
    """Tell whether both restored copies have something, and the same; what neither has proves nothing."""
    return place in left and left[place] == right.get(place)


def _may_be_spelling(left: Side, right: Side) -> bool:
    mine, theirs = _pieces(left.catalog), _pieces(right.catalog)
    if any(mine.get(place, text) != text for place, text in theirs.items()):
        return True
    objects = left.snapshot.objects
    return any(
        key.kind in EXPRESSIONS and objects.get(key, texts) != texts
        for key, texts in right.snapshot.objects.items()
    )


def _pieces(catalog: Catalog) -> Pieces:
    """Return the expressions of tables and domains."""
    return dict(_each_piece(catalog))


def _each_piece(catalog: Catalog) -> Iterator[tuple[tuple[Any, ...], str]]:
    for name, table in catalog.tables.items():
        for part, constraint in table.constraints.items():
            if constraint.kind in {"c", "x"}:
                yield (name, "constraint", part), constraint.definition
        for part, column in table.columns.items():
            if column.default:
                yield (name, "column", part), column.default
        for part, index in table.indexes.items():
            yield (name, "index", part), index
    for name, type_ in catalog.types.items():
        for part, check in type_.constraints.items():
            yield (name, "check", part), check


def _respelled(text: str, theirs: Pieces, same: Pieces, schema: str, name: str) -> str:
    for place, mine in same.items():
        if place[0] == Name(schema, name):
            text = text.replace(theirs[place], mine)
    return text


def _catalog(catalog: Catalog, same: Pieces) -> Catalog:
    def table(each: Table) -> Table:
        def column(part: Column) -> Column:
            return replace(part, default=same.get((each.name, "column", part.name), part.default))

        def constraint(part: Constraint) -> Constraint:
            place = (each.name, "constraint", part.name)
            return replace(part, definition=same.get(place, part.definition))

        return replace(
            each,
            columns={name: column(part) for name, part in each.columns.items()},
            constraints={name: constraint(part) for name, part in each.constraints.items()},
            indexes=_chosen(each.indexes, each.name, "index", same),
        )

    def type_(each: Type) -> Type:
        return replace(each, constraints=_chosen(each.constraints, each.name, "check", same))

    return replace(
        catalog,
        tables={name: table(each) for name, each in catalog.tables.items()},
        types={name: type_(each) for name, each in catalog.types.items()},
    )


def _chosen(parts: Mapping[str, str], name: Name, kind: str, same: Pieces) -> dict[str, str]:
    return {part: same.get((name, kind, part), text) for part, text in parts.items()}
