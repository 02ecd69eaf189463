"""What is to be changed of types: values that are added, types that are put in the place of others."""

from collections.abc import Iterator

from postgres_database.drafting.trial import Change, Subject, Trial, as_way
from postgres_database.schema import alter
from postgres_database.schema.comparison import Side
from postgres_database.schema.snapshot import Key
from postgres_database.sql.names import Name, identifier

REPLACED = "_replaced"
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

# The innermost first.
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
    """Yield the enums that only get more values: what uses these can be tried when they are committed."""
    for name, type_ in goal.catalog.types.items():
        old = here.catalog.types.get(name)
        if old and type_.kind == "e" and (ways := alter.type_changes(old, type_)):
            key = type_key(name, type_.kind)
            yield Change([*map(as_way, ways)], Subject("type", type_.sql), key)


def changed(trial: Trial, here: Side, goal: Side) -> Iterator[Change]:
    """Yield what changes each type that differs: in place, or by another in its place."""
    for name, type_ in goal.catalog.types.items():
        old = here.catalog.types.get(name)
        key = type_key(name, type_.kind)
        text = goal.snapshot.objects.get(key)
        if old and text and here.snapshot.objects.get(key) != text:
            ways = alter.type_changes(old, type_) if old != type_ else []
            replace = list(_replacement(trial, name, goal))
            yield Change([*map(as_way, [*ways, replace])], Subject("type", type_.sql), key)


def type_key(name: Name, kind: str) -> Key:
    """Return what a dump calls a type."""
    return Key("DOMAIN" if kind == "d" else "TYPE", *name)


def _replacement(trial: Trial, name: Name, goal: Side) -> Iterator[str]:
    """Yield what puts a new type in the place of an old one, and of those that stand on it.

    A row whose value the new type does not have makes the statement fail.
    """
    with trial.database.connect() as connection, connection.begin():
        cursor = connection.connection.cursor()
        cursor.execute(TYPES_ON_TYPE, (name.sql,))
        keys = {Name(*type_): type_key(Name(*type_), kind) for *type_, kind in cursor.fetchall()}
        types = [type_ for type_, key in keys.items() if key in goal.snapshot.objects]
        columns = []
        for type_ in types:
            cursor.execute(COLUMNS_OF_TYPE, (type_.sql,))
            columns += [
                (type_, Name(schema, table), column, array, default)
                for schema, table, column, array, default in cursor.fetchall()
            ]
    for _, table, column, _, default in columns:
        if default:
            yield f"ALTER TABLE {table.sql} ALTER COLUMN {identifier(column)} DROP DEFAULT;"
    aside = {type_: Name(type_.schema, type_.name[:50] + REPLACED) for type_ in types}
    for type_ in types:
        yield f"ALTER TYPE {type_.sql} RENAME TO {identifier(aside[type_].name)};"
    for type_ in types:
        yield from goal.snapshot.objects[keys[type_]]
    for type_, table, column, array, _ in columns:
        item, mark = identifier(column), "[]" if array else ""
        cast = f"{item}::text{mark}::{type_.sql}{mark}"
        yield f"ALTER TABLE {table.sql} ALTER COLUMN {item} TYPE {type_.sql}{mark} USING {cast};"
    for _, table, column, _, default in columns:
        tables = goal.catalog.tables
        meant = tables[table].columns.get(column) if table in tables else None
        if default and meant and meant.default:
            item = identifier(column)
            yield f"ALTER TABLE {table.sql} ALTER COLUMN {item} SET DEFAULT {meant.default};"
    for type_ in reversed(types):
        yield f"DROP TYPE {aside[type_].sql};"
