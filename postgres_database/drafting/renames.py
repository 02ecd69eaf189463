"""Renames: their order, their statements, and the constraints, indexes and sequences renamed along. Pure."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from postgres_database.schema.catalog import Catalog, Table
from postgres_database.sql.names import IDENTIFIER, Name, identifier, is_own_not_null, literal

INDEXED = ("p", "u", "x")
"""Kinds of constraints (`pg_constraint.contype`) that have an index of the same name."""
SPELLING = re.compile(r"::(?:character varying|text)(?:\[\])?|[()\s]")
"""What is ignored in a definition: casts, parentheses and spaces, which PostgreSQL prints now one way, now another."""
INDEX_NAME = re.compile(rf"INDEX {IDENTIFIER} ON")


@dataclass(frozen=True)
class Rename:
    """One name that changes."""

    kind: str
    """schema, type, table, sequence, column, value or attribute; of what follows also constraint, index or not null."""
    old: Name
    """Its `schema` is empty for a schema; its `name` is the bare one for what is inside a table or type."""
    new: Name
    inside: Name | None = None
    """The table of a column or constraint, or the type of a value or attribute, under its new name."""

    def __str__(self) -> str:
        """Return the rename as `--rename` takes it."""
        if self.inside:
            return f"{self.inside}.{self.old.name}:{self.new.name}"
        return f"{self.old}:{self.new}" if self.old.schema else f"{self.old.name}:{self.new.name}"

    @property
    def inverse(self) -> "Rename":
        """The rename that undoes this one."""
        return replace(self, old=self.new, new=self.old)

    @property
    def question(self) -> str:
        """What to ask the user about it."""
        old, _, new = str(self).rpartition(":")
        return f"Was {self.kind} {old} renamed to {new}?"

    def spellings(self, former: Mapping[Name, Name]) -> set[str]:
        """Return every accepted value of `--rename` that means this rename.

        Args:
            former: The old names of renamed tables and types, by their new names.
        """
        if self.inside is None:
            olds = {str(self.old), ".".join(filter(None, self.old))}
            news = {str(self.new), ".".join(filter(None, self.new))}
            if self.old.schema == self.new.schema:
                news.add(self.new.name)
        else:
            places = {self.inside, former.get(self.inside, self.inside)}
            names = {text for place in places for text in (str(place), ".".join(place))}
            olds = {f"{name}.{self.old.name}" for name in names}
            news = {self.new.name, *(f"{name}.{self.new.name}" for name in names)}
        return {f"{old}:{new}" for old, new in product(olds, news)}


def followers(here: Catalog, goal: Catalog) -> tuple[Rename, ...]:
    """Return the renames of constraints, indexes and sequences that differ only by name, in tables on both sides."""
    constraints: list[Rename] = []
    relations: list[Rename] = []
    for name in sorted(here.tables.keys() & goal.tables.keys()):
        left, right = here.tables[name], goal.tables[name]
        if left == right:
            continue

        def renames(
            kind: str, old: Mapping[str, Any], new: Mapping[str, Any], place: Name = name
        ) -> list[Rename]:
            inside = None if kind == "index" else place
            return [
                Rename(kind, Name(place.schema, a), Name(place.schema, b), inside)
                for a, b in _alike(old, new)
            ]

        left = _without(left, right.attached)
        constraints += one_by_one(
            renames("constraint", _rules(left, indexed=False), _rules(right, indexed=False)),
            [Name(name.schema, each) for each in left.constraints],
        )
        relations += renames("constraint", _rules(left, indexed=True), _rules(right, indexed=True))
        relations += renames("index", _nameless(left), _nameless(right))
        relations += _sequences(left, right)
    return (*constraints, *one_by_one(relations, _relations(here)))


def not_nulls(before: Catalog, here: Catalog, goal: Catalog) -> list[Rename]:
    """Return the renames of NOT NULL constraints that PostgreSQL named after tables or columns that are renamed.

    Args:
        before: The database before these are renamed.
        here: The same afterwards.
        goal: Its goal.
    """
    own = {
        column.not_null_name
        for name, table in before.tables.items()
        for column in table.columns.values()
        if is_own_not_null(name.name, column.name, column.not_null_name)
    }
    found: list[Rename] = []
    for name in sorted(here.tables.keys() & goal.tables.keys()):
        old, new = here.tables[name].columns, goal.tables[name].columns
        inherited = {each for each in old if old[each].inherited or here.tables[name].partition}
        names = {each: old[each].not_null_name for each in old}
        pairs = [
            (names[each], new[each].not_null_name)
            for each in sorted((old.keys() & new.keys()) - inherited)
            if names[each] in own and not is_own_not_null(name.name, each, names[each])
        ]
        renames = [
            Rename("not null", Name(name.schema, a), Name(name.schema, b), name)
            for a, b in pairs
            if b
        ]
        found += one_by_one(renames, [Name(name.schema, each) for each in names.values()])
    return found


def _without(table: Table, names: Iterable[str]) -> Table:
    """Return a table without the constraints and indexes of these names.

    They become parts of an index or key of the partitioned table, so they are not renamed by themselves.
    """
    return replace(
        table,
        constraints={name: each for name, each in table.constraints.items() if name not in names},
        indexes={name: each for name, each in table.indexes.items() if name not in names},
    )


def _rules(table: Table, *, indexed: bool) -> dict[str, tuple[str, str]]:
    """Return kind and definition of a table's constraints by name: those with an index, or those without.

    Differences of spelling are ignored: a constraint wrongly taken for the same is changed after its rename.
    """
    return {
        name: (each.kind, SPELLING.sub("", each.definition))
        for name, each in table.constraints.items()
        if (each.kind in INDEXED) == indexed
    }


def _nameless(table: Table) -> dict[str, str]:
    """Return the definitions of indexes without their names."""
    return {name: INDEX_NAME.sub("INDEX ON", text, count=1) for name, text in table.indexes.items()}


def _sequences(here: Table, goal: Table) -> Iterator[Rename]:
    for column in here.columns.keys() & goal.columns.keys():
        pair = here.columns[column], goal.columns[column]
        if all(each.sequence for each in pair) and pair[0].serial == pair[1].serial:
            old, new = (Name.read(each.sequence) for each in pair)
            if old != new and old.schema == new.schema:
                yield Rename("sequence", old, new)


def _relations(catalog: Catalog) -> Iterator[Name]:
    """Yield the names in use for relations: tables, sequences and indexes, which share one namespace in a schema."""
    yield from catalog.tables
    yield from catalog.sequences
    for table in catalog.tables.values():
        names = (
            *table.indexes,
            *(n for n, each in table.constraints.items() if each.kind in INDEXED),
        )
        yield from (Name(table.name.schema, name) for name in names)
        yield from (Name.read(each.sequence) for each in table.columns.values() if each.sequence)


def one_by_one(renames: Iterable[Rename], names: Iterable[Name]) -> list[Rename]:
    """Return renames in an order in which each new name is free when its turn comes.

    Two names that are exchanged need a third, temporary one. A rename to a name that keeps being used is left out.

    Args:
        renames: The renames, in any order.
        names: The names in use before.
    """
    waiting = sorted(renames, key=str)
    taken = set(names)
    done: list[Rename] = []
    while impossible := [
        each for each in waiting if each.new in taken - {other.old for other in waiting}
    ]:
        waiting = [each for each in waiting if each not in impossible]
    while waiting:
        free = next((rename for rename in waiting if rename.new not in taken), None)
        if free is None:
            blocked = waiting.pop(0)
            aside = Name(blocked.old.schema, f"{blocked.old.name[:50]}_renamed")
            free = replace(blocked, new=aside)
            waiting.append(replace(blocked, old=aside))
        else:
            waiting.remove(free)
        done.append(free)
        taken = (taken - {free.old}) | {free.new}
    return done


def statement(rename: Rename) -> str:
    """Return the SQL of a rename, one or two statements (PostgreSQL manual, the ALTER commands)."""
    if rename.inside and rename.kind == "not null":
        return not_null_names(rename.inside, [rename])
    if rename.inside:
        text = literal if rename.kind == "value" else identifier
        alter = "TABLE" if rename.kind in {"column", "constraint"} else "TYPE"
        names = f"{text(rename.old.name)} TO {text(rename.new.name)}"
        cascade = " CASCADE" if rename.kind == "attribute" else ""
        return f"ALTER {alter} {rename.inside.sql} RENAME {rename.kind.upper()} {names}{cascade};"
    if rename.kind == "schema":
        return _schema(rename.old.name, rename.new.name)
    kind, old, new = rename.kind.upper(), rename.old, rename.new
    statements = []
    if old.schema != new.schema:
        statements.append(f"ALTER {kind} {old.sql} SET SCHEMA {identifier(new.schema)};")
    if old.name != new.name:
        place = Name(new.schema, old.name).sql
        statements.append(f"ALTER {kind} {place} RENAME TO {identifier(new.name)};")
    return "\n".join(statements)


NOT_NULL_NAMES = """DO $$ DECLARE present pg_catalog.name; wanted pg_catalog.name; BEGIN -- NOT NULL, since 18
    FOR present, wanted IN VALUES {pairs} LOOP
        IF NOT EXISTS (
            WITH RECURSIVE tree (oid, is_child) AS (
                SELECT {table}::pg_catalog.regclass::pg_catalog.oid, false
                UNION
                SELECT i.inhrelid, true FROM tree JOIN pg_catalog.pg_inherits i ON i.inhparent = tree.oid
            )
            SELECT FROM tree WHERE NOT EXISTS (
                SELECT FROM pg_catalog.pg_constraint c WHERE c.conrelid = tree.oid AND c.contype = 'n'
                AND c.conname = present AND (is_child OR c.coninhcount = 0)
            )
        ) THEN
            EXECUTE pg_catalog.format({rename}, present, wanted);
        END IF;
    END LOOP;
END $$;"""
"""A constraint is renamed in the children, too, unless one has another name there: then it keeps its name."""


def not_null_names(table: Name, names: Sequence[Rename]) -> str:
    """Return the SQL that renames NOT NULL constraints of a table where these have names: on 17 none has.

    PostgreSQL manual, ALTER TABLE, "RENAME".
    """
    return NOT_NULL_NAMES.format(
        pairs=", ".join(f"({literal(each.old.name)}, {literal(each.new.name)})" for each in names),
        table=literal(table.sql),
        rename=literal(f"ALTER TABLE {table.sql.replace('%', '%%')} RENAME CONSTRAINT %I TO %I"),
    )


def _schema(old: str, new: str) -> str:
    """Return what renames a schema; without an old name it is created, without a new one dropped."""
    if not old:
        return f"CREATE SCHEMA {identifier(new)};"
    if not new:
        return f"DROP SCHEMA {identifier(old)};"
    return f"ALTER SCHEMA {identifier(old)} RENAME TO {identifier(new)};"


def _alike(here: Mapping[str, Any], goal: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield pairs of an old and a new name with equal values, leaving out names whose value is equal on both sides."""
    left = sorted(name for name in here if here[name] != goal.get(name))
    right = sorted(name for name in goal if goal[name] != here.get(name))
    for old in left:
        if (new := next((name for name in right if goal[name] == here[old]), None)) is not None:
            right.remove(new)
            yield old, new
