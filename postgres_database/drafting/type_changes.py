"""Changes of types, and of functions that must be recreated: values added to enums, types replaced by new ones."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from postgres_database.drafting import in_place, objects
from postgres_database.drafting.objects import Subject
from postgres_database.drafting.trial import Change, Trial, as_way
from postgres_database.schema import alter
from postgres_database.schema.catalog import Catalog
from postgres_database.schema.comparison import Side
from postgres_database.schema.snapshot import Key
from postgres_database.sql.names import Name, identifier, literal

CONVERTED = "pg_temp.converted"
"""The functions that make values of new composite types from those of the old ones."""
REPLACED = "_replaced"
"""The end of the temporary name of a type that is replaced."""

PLANNED = re.compile(r" (?:PARALLEL \w+|(?:COST|ROWS|SUPPORT) \S+|LEAKPROOF)")
"""Options of a function in a dump that do not change what it gives."""

# The columns of a type or of an array of it; the one parameter is the type's name.
COLUMNS_OF_TYPE = """
    SELECT n.nspname, c.relname, a.attname, t.typelem <> 0 AND t.typcategory = 'A', d.oid IS NOT NULL
    FROM pg_attribute a
    JOIN pg_type t ON t.oid = a.atttypid
    JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p', 'f') AND NOT c.relispartition
    JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum AND a.attgenerated = ''
    WHERE to_regtype(%s) IN (t.oid, t.typelem) AND NOT a.attisdropped
    ORDER BY 1, 2
"""

# A type, and the domains and composite types made of it; the innermost first. The one parameter is its name.
TYPES_ON_TYPE = """
    WITH RECURSIVE used (oid, depth) AS (
        SELECT to_regtype(%s)::oid, 0
        UNION
        SELECT t.oid, used.depth + 1
        FROM used
        JOIN pg_type b ON b.oid = used.oid OR (b.typelem = used.oid AND b.typcategory = 'A')
        JOIN pg_type t ON t.typbasetype = b.oid OR EXISTS (
            SELECT FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid AND c.relkind = 'c'
            WHERE a.attrelid = t.typrelid AND a.atttypid = b.oid AND NOT a.attisdropped)
    )
    SELECT n.nspname, t.typname, t.typtype::text
    FROM used
    JOIN pg_type t ON t.oid = used.oid
    JOIN pg_namespace n ON n.oid = t.typnamespace
    GROUP BY t.oid, n.nspname, t.typname, t.typtype
    ORDER BY max(used.depth), t.oid
"""


def added_values(here: Side, goal: Side) -> Iterator[Change]:
    """Yield the changes that add values to enums: what uses the values can be tried only after their commit."""
    for name, type_ in goal.catalog.types.items():
        old = here.catalog.types.get(name)
        if old and type_.kind == "e" and (ways := alter.type_changes(old, type_)):
            key = type_key(name, type_.kind)
            yield Change([*map(as_way, ways)], Subject("type", type_.sql), key)


def changed(trial: Trial, here: Side, goal: Side) -> Iterator[Change]:
    """Yield the change of each type that differs: in place or, failing that, by a new type in its place."""
    for name, type_ in goal.catalog.types.items():
        old = here.catalog.types.get(name)
        key = type_key(name, type_.kind)
        text = goal.snapshot.objects.get(key)
        # A CHECK that is NOT VALID is an object of its own in a dump.
        if old and text and (old != type_ or here.snapshot.objects.get(key) != text):
            ways = alter.type_changes(old, type_) if old != type_ else []
            ways.append(list(_replacement(*_users(trial, name, goal), here, goal)))
            yield Change([*map(as_way, ways)], Subject("type", type_.sql), key)


def other_signatures(here: Side, goal: Side) -> Iterator[Change]:
    """Yield the changes of functions that must be recreated, before any table begins to use what they are now."""
    for key, (new, *_) in goal.snapshot.objects.items():
        old = here.snapshot.objects.get(key)
        if key.kind in in_place.CALLABLE and old and _header(old[0]) != _header(new):
            name = objects.created_name(new)
            subject = Subject("function", name + objects.signature(key, name))
            ways = objects.to_change(key, here.snapshot, goal.snapshot)
            yield Change([*map(as_way, ways)], subject, key)


def kept_results(here: Side, goal: Side) -> Iterator[str]:
    """Yield a caution for each object that stays with what a function gave before it was replaced."""
    staying = [*_staying(here.catalog, goal.catalog)]
    for key, (new, *_) in goal.snapshot.objects.items():
        old = here.snapshot.objects.get(key, (new,))[0]
        if _gives_otherwise(key.kind, old, new):
            name = objects.created_name(new)
            uses = re.compile(rf"(?<![\w.]){re.escape(name)}(?!\w)")
            for text, keeps, rest in staying:
                if uses.search(text):
                    yield f"{keeps} what {key.kind.lower()} {name} gave before{rest}"


def _staying(here: Catalog, goal: Catalog) -> Iterator[tuple[str, str, str]]:
    """Yield each expression that is stored or checked and stays; and of a caution the beginning and the end."""
    for name in here.tables.keys() & goal.tables.keys():
        old, new = here.tables[name], goal.tables[name]
        for index, text in old.indexes.items() & new.indexes.items():
            again = f"REINDEX INDEX CONCURRENTLY {Name(name.schema, index).sql};"
            yield text, f"index {index} on {name} keeps", f": {again} makes it anew"
        for column in new.columns.values():
            if column.generated == "s" and old.columns.get(column.name) == column:
                keeps = f"column {name}.{column.name} keeps"
                yield column.default, keeps, ": a row gets another value when it is updated"
        for rule in new.constraints.values():
            if old.constraints.get(rule.name) == rule:
                holds = f"{rule.name} on {name} holds by"
                yield rule.definition, holds, ": rows are not checked again"
        if old.partitioned_by == new.partitioned_by:
            yield new.partitioned_by, f"rows of {name} are in the partitions by", ""
    for name in here.types.keys() & goal.types.keys():
        checks = here.types[name].constraints.items() & goal.types[name].constraints.items()
        for check, text in checks:
            yield text, f"{check} of domain {name} holds by", ": values are not checked again"


def _gives_otherwise(kind: str, old: str, new: str) -> bool:
    """Tell whether something that is replaced in place may give other results than before."""
    if kind != "FUNCTION" or _header(old) != _header(new):
        return kind == "TEXT SEARCH CONFIGURATION" and old != new
    ends = (
        each.removeprefix(_header(each)).removeprefix("\n").partition("\n") for each in (old, new)
    )
    first, second = ((PLANNED.sub("", options), body) for options, _, body in ends)
    return first != second


def _header(sql: str) -> str:
    """Return what of a CREATE FUNCTION in a dump says its name, its arguments and what it returns."""
    return sql.partition("\n    LANGUAGE ")[0]


def type_key(name: Name, kind: str) -> Key:
    """Return the key of a type in a snapshot; the kind is `pg_type.typtype`."""
    return Key("DOMAIN" if kind == "d" else "TYPE", *name)


@dataclass(frozen=True)
class _Use:
    """A column of a type that is replaced."""

    type: Name
    table: Name
    column: str
    is_array: bool
    has_default: bool

    @property
    def alter(self) -> str:
        """The beginning of a statement that changes the column."""
        return f"ALTER TABLE {self.table.sql} ALTER COLUMN {identifier(self.column)}"

    def retype(self, *, by_name: bool) -> str:
        """Return the statement that changes the column to the new type, whose name is the old one's."""
        type_, column = self.type.sql + "[]" * self.is_array, identifier(self.column)
        cast = f"{column}::text{'[]' * self.is_array}::{type_}"
        if by_name:
            cast = f"{CONVERTED}({column})"
        return f"{self.alter} TYPE {type_} USING {cast};"

    @property
    def to_text(self) -> str:
        """Return the statement that changes the column to text, or to an array of texts."""
        text = "text" + "[]" * self.is_array
        return f"{self.alter} TYPE {text} USING {identifier(self.column)}::{text};"


def _users(trial: Trial, name: Name, goal: Side) -> tuple[dict[Name, Key], list[_Use]]:
    """Return a type and the types made of it that the goal has, the innermost first, and the columns of them all."""
    with trial.database.connect() as connection, connection.begin():
        cursor = connection.connection.cursor()
        cursor.execute(TYPES_ON_TYPE, (name.sql,))
        types = [Name(*type_) for *type_, _ in cursor.fetchall()]
        # By their kind at the goal: an enum may become a domain of its name.
        wanted = goal.catalog.types
        keys = {each: type_key(each, wanted[each].kind) for each in types if each in wanted}
        keys = {type_: key for type_, key in keys.items() if key in goal.snapshot.objects}
        uses = []
        for type_ in keys:
            cursor.execute(COLUMNS_OF_TYPE, (type_.sql,))
            uses += [
                _Use(type_, Name(schema, table), *rest)
                for schema, table, *rest in cursor.fetchall()
            ]
    return keys, uses


def _replacement(keys: dict[Name, Key], uses: list[_Use], here: Side, goal: Side) -> Iterator[str]:
    """Yield the statements that replace types, and change the columns.

    A row whose value the new type does not have makes the statement fail.
    """
    with_default = [use for use in uses if use.has_default]
    for use in with_default:
        yield f"{use.alter} DROP DEFAULT;"
    has_range = any(goal.catalog.types[type_].kind == "r" for type_ in keys)
    by_text = has_range and not _composites(keys, here, goal)
    yield from _remade(keys, uses, goal) if by_text else _renewed(keys, uses, here, goal)
    for use in with_default:
        table = goal.catalog.tables.get(use.table)
        column = table.columns.get(use.column) if table else None
        if column and column.default:
            yield f"{use.alter} SET DEFAULT {column.default};"


def _remade(keys: dict[Name, Key], uses: list[_Use], goal: Side) -> Iterator[str]:
    """Yield what drops types and creates them anew, while the columns are text.

    The functions that PostgreSQL makes for a range type keep their names when it is renamed, and one of its multirange
    type has no arguments, like that of the new one (PostgreSQL manual, CREATE TYPE, "Range Types").
    """
    for use in uses:
        yield use.to_text
    for type_ in reversed(keys):
        yield f"DROP TYPE {type_.sql};"
    for key in keys.values():
        yield from goal.snapshot.objects[key]
    for use in uses:
        yield use.retype(by_name=False)


def _renewed(keys: dict[Name, Key], uses: list[_Use], here: Side, goal: Side) -> Iterator[str]:
    """Yield what renames types, creates the new ones, changes the columns and drops the old types.

    Values are cast by their text, those of composite types with other attributes by name.
    """
    replaced = {type_: Name(type_.schema, type_.name[:50] + REPLACED) for type_ in keys}
    for type_, old in replaced.items():
        yield f"ALTER TYPE {type_.sql} RENAME TO {identifier(old.name)};"
    for key in keys.values():
        yield from goal.snapshot.objects[key]
    by_name = _composites(keys, here, goal)
    for type_ in by_name:
        yield from _converters(type_, replaced, by_name, here, goal)
    for use in uses:
        yield use.retype(by_name=use.type in by_name)
    for type_ in reversed(by_name):
        gone = replaced[type_].sql
        yield f"DROP FUNCTION {CONVERTED}({gone}), {CONVERTED}({gone}[]);"
    for old in reversed(replaced.values()):
        yield f"DROP TYPE {old.sql};"


def _composites(keys: Iterable[Name], here: Side, goal: Side) -> list[Name]:
    """Return the composite types among some, if one has other attributes or another order: texts have no names."""
    old, new = here.catalog.types, goal.catalog.types
    found = [name for name in keys if name in old and new[name].kind == old[name].kind == "c"]
    changed = any([*old[name].attributes] != [*new[name].attributes] for name in found)
    return found if changed else []


def _converters(
    type_: Name, replaced: dict[Name, Name], by_name: Sequence[Name], here: Side, goal: Side
) -> Iterator[str]:
    """Yield the functions that make a value of a composite type, or an array of them, from the replaced type's."""
    old, new = (each.catalog.types[type_].attributes for each in (here, goal))

    def value(name: str) -> str:
        if name not in old:
            return "NULL"
        attribute, wanted = f"($1).{identifier(name)}", new[name].partition(" COLLATE ")[0]
        inner = Name.read(wanted.removesuffix("[]")) if "." in wanted else None
        if inner in by_name:
            return f"{CONVERTED}({attribute})"
        same = old[name] == new[name] and inner not in replaced
        return attribute if same else f"{attribute}::text::{wanted}"

    before, after = replaced[type_].sql, type_.sql
    row = f"SELECT ROW({', '.join(map(value, new))})::{after}"
    array = f"SELECT array_agg({CONVERTED}($1[n]) ORDER BY n) FROM generate_subscripts($1, 1) AS n"  # noqa: S608 - a constant
    for suffix, body in (("", row), ("[]", f"SELECT coalesce(({array}), '{{}}')")):
        head = f"CREATE FUNCTION {CONVERTED}({before}{suffix}) RETURNS {after}{suffix}"
        yield f"{head} LANGUAGE sql STRICT AS {literal(body)};"
