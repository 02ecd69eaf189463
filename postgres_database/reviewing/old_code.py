"""What code that was written before scripts ran would trip over: names that are gone, values that are now needed."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from postgres_database.proving import effects
from postgres_database.proving.effects import DROPPED, State
from postgres_database.reviewing.statements import KINDS, READERS, Change, Measured, Relation
from postgres_database.server import transactions
from postgres_database.sql.names import Name

COLUMNS = """
    SELECT a.attrelid, a.attnum, a.attname,
           a.attnotnull OR EXISTS (
               SELECT FROM pg_constraint k WHERE k.conrelid = a.attrelid AND k.contype = 'c'
               AND pg_get_expr(k.conbin, k.conrelid) = format('(%%I IS NOT NULL)', a.attname)),
           a.atthasdef OR a.attidentity <> '' OR t.typdefault IS NOT NULL
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_type t ON t.oid = a.atttypid
    WHERE a.attnum > 0 AND NOT a.attisdropped AND a.attrelid = ANY(%s::oid[])
"""


NAMED = """
    SELECT n.nspname, c.relname, a.attname,
           NOT a.attnotnull OR a.atthasdef OR a.attidentity <> '' OR t.typdefault IS NOT NULL
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_type t ON t.oid = a.atttypid
    WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname !~ '^pg_'
"""
READ = ("table", "view", "materialized view", "foreign table")
"""Kinds of relations whose columns code reads."""
Columns = Mapping[tuple[int, int], tuple[str, bool, bool]]
"""(OID of the table, attnum) → name, whether it is NOT NULL, whether PostgreSQL gives it a value by itself."""


@dataclass
class OldNames:
    """The names of relations and columns, followed from statement to statement."""

    known: Mapping[int, Relation]
    """The relations before the first script, by OID."""
    relations: dict[int, str] = field(default_factory=dict)
    """Their names before the next statement."""
    columns: Columns = field(default_factory=dict)
    """The columns of these tables before the next statement."""

    def begin(self, cursor: Any) -> None:
        """Record the names of before."""
        self.relations = {oid: str(relation.name) for oid, relation in self.known.items()}
        self.columns = self._read(cursor)

    def _read(self, cursor: Any) -> Columns:
        tables = [oid for oid, relation in self.known.items() if relation.kind in READ]
        found = transactions.asked(cursor, COLUMNS, (tables,)) if tables else []
        return {(oid, number): (name, *others) for oid, number, name, *others in found}

    def changes(self, cursor: Any, after: Mapping[int, State]) -> tuple[Change, ...]:
        """Return what old code would trip over since the last call; only a full lock makes that possible."""
        after = {oid: state for oid, state in after.items() if state.kind != DROPPED}
        gone = [oid for oid in self.relations if oid not in after]
        locked = [oid for oid, state in after.items() if READERS in state.locks]
        if not (gone or locked):
            return ()
        columns = self._read(cursor)
        found = [*self._renamed(after, gone), *self._columns(columns)]
        self.columns = columns
        self.relations = {oid: after[oid].name for oid in self.relations if oid in after}
        return tuple(found)

    def _renamed(self, after: Mapping[int, State], gone: Sequence[int]) -> Iterator[Change]:
        for oid in gone:
            if self.known[oid].kind in READ:
                yield Change(self.known[oid], "", "dropped")
        for oid, name in self.relations.items():
            if oid in after and after[oid].name != name and self.known[oid].kind != "index":
                new = Name(after[oid].schema, after[oid].name)
                yield Change(self.known[oid], "", "renamed", str(new))
                # Whatever takes its name may lack some of them.
                for (table, _), (column, *_) in self.columns.items():
                    if table == oid:
                        yield Change(self.known[oid], column, "dropped")

    def _columns(self, now: Columns) -> Iterator[Change]:
        for (oid, number), (name, *_) in self.columns.items():
            table = self.known[oid]
            if (oid, number) not in now:
                yield Change(table, name, "dropped")
                continue
            if (new := now[oid, number][0]) != name:
                yield Change(table, name, "renamed", new)
        for (oid, number), (name, required, given) in now.items():
            _, was_required, was_given = self.columns.get((oid, number), (name, False, True))
            if required and not given and (was_given or not was_required):
                added = (oid, number) not in self.columns
                what = "required" if added or was_given else "filled"
                yield Change(self.known[oid], name, what)


def without_mended(cursor: Any, statements: Iterable[Measured]) -> Iterator[Measured]:
    """Leave out what later statements mended for old code: names that exist again, values that are given again.

    Args:
        cursor: Of the database after all statements.
        statements: What they did.
    """
    relations = {each[:2] for each in effects.states(cursor, [*KINDS]).values()}
    columns = {tuple(names): fine for *names, fine in transactions.asked(cursor, NAMED)}

    def lasts(change: Change) -> bool:
        if not change.column:
            return change.relation.place not in relations
        if change.relation.place not in relations:
            return False  # what is said of the relation says it
        fine = columns.get((*change.relation.place, change.column))
        return fine is None if change.what in {"dropped", "renamed"} else fine is not True

    for measured in statements:
        yield replace(measured, broken=tuple(filter(lasts, measured.broken)))
