"""What Alembic does not see, pg_dump can write: SQL from the text of whole objects.

Functions, views, triggers, policies, types and the like are each one statement in a dump. Where a
database lacks one, that statement makes it; where it has one too many, the statement says what to
drop. Every statement is tried on a scratch database before it goes into a script, so nobody needs
to know what depends on what: what fails now is tried again after the others.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence

import psycopg2
import sqlalchemy as sa

from postgres_database.connection import Database, quoted
from postgres_database.snapshot import TOKEN, Key, Snapshot, elements, take

Way = Sequence[str]
"""Statements that together make one change."""

IDENTIFIER = r'(?:"(?:[^"]|"")*"|[^\W\d][\w$]*)'
NAME = rf"{IDENTIFIER}(?:\.{IDENTIFIER})?"
CALLABLE = ("FUNCTION", "PROCEDURE", "AGGREGATE")
EARLY = ("SCHEMA", "EXTENSION", "TYPE", "DOMAIN", "COLLATION", *CALLABLE)
"""What a table may need: made before Alembic's operations, if it can be made then."""

ON_TABLES = ("VIEW", "MATERIALIZED VIEW", "RULE", "POLICY", "TRIGGER", "STATISTICS", *CALLABLE)
"""What may stand on a table: dropped before Alembic's operations."""

# How each kind is dropped, by the beginning of its statement in the dump.
DROPS = [
    (rf"CREATE (?P<kind>MATERIALIZED VIEW|VIEW|TYPE|DOMAIN|SCHEMA|COLLATION|STATISTICS|SEQUENCE) (?P<name>{NAME})",
     "DROP {kind} {name};"),
    (rf"CREATE EXTENSION IF NOT EXISTS (?P<name>{NAME})", "DROP EXTENSION {name};"),
    (rf"CREATE (?P<kind>FUNCTION|PROCEDURE|AGGREGATE) (?P<name>{NAME})\(",
     "DROP {kind} {name}{signature};"),
    (rf"CREATE (?:UNIQUE )?INDEX (?P<name>{IDENTIFIER}) ON (?:ONLY )?(?P<schema>{IDENTIFIER})\.",
     "DROP INDEX {schema}.{name};"),
    (rf"CREATE POLICY (?P<name>{IDENTIFIER}) ON (?P<table>{NAME})", "DROP POLICY {name} ON {table};"),
    (rf"CREATE (?:CONSTRAINT )?TRIGGER (?P<name>{IDENTIFIER}) .*? ON (?P<table>{IDENTIFIER}\.{IDENTIFIER}) ",
     "DROP TRIGGER {name} ON {table};"),
    (rf"CREATE RULE (?P<name>{IDENTIFIER}) AS\s+ON \w+ TO (?P<table>{NAME})", "DROP RULE {name} ON {table};"),
    (rf"ALTER TABLE (?:ONLY )?(?P<table>{NAME})\s+ADD CONSTRAINT (?P<name>{IDENTIFIER}) ",
     "ALTER TABLE {table} DROP CONSTRAINT {name};"),
    (rf"ALTER TABLE (?:ONLY )?(?P<table>{NAME}) ALTER COLUMN (?P<name>{IDENTIFIER}) SET DEFAULT ",
     "ALTER TABLE {table} ALTER COLUMN {name} DROP DEFAULT;"),
    (rf"ALTER TABLE (?P<table>{NAME}) ENABLE ROW LEVEL SECURITY",
     "ALTER TABLE {table} DISABLE ROW LEVEL SECURITY;"),
]  # fmt: skip

VIEWS_ON = """
    WITH RECURSIVE used (oid) AS (
        SELECT to_regclass(name)::oid FROM unnest(%s) AS name
        UNION
        SELECT r.ev_class
        FROM used
        JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = used.oid
        JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
    )
    SELECT n.nspname, c.relname
    FROM used
    JOIN pg_class c ON c.oid = used.oid AND c.relkind IN ('v', 'm')
    JOIN pg_namespace n ON n.oid = c.relnamespace
"""
COLUMNS_OF_TYPE = """
    SELECT format('%%I.%%I', n.nspname, c.relname), quote_ident(a.attname), pg_get_expr(d.adbin, d.adrelid)
    FROM pg_attribute a
    JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p') AND NOT c.relispartition
    JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.atttypid = %s::regtype AND NOT a.attisdropped
    ORDER BY 1, 2
"""


def write_early(database: Database, goal: Snapshot) -> list[str]:
    """Make what tables may need and `database`, a scratch database, lacks; return the SQL."""
    here = take(database)
    missing = [key for key in _missing(here, goal) if key.kind in EARLY]
    with database.connect() as connection, connection.begin():
        return _try(connection, [[_made(key, goal)] for key in missing])


def drop_early(database: Database, goal: Snapshot) -> list[str]:
    """Drop what stands on tables and `goal` does not have from a scratch database; return the SQL."""
    here = take(database)
    extra = [key for key in reversed(_missing(goal, here)) if key.kind in ON_TABLES]
    with database.connect() as connection, connection.begin():
        return _try(connection, [[drop] for key in extra for drop in _drops(key, here)])


def drop_views_on(database: Database, goal: Snapshot, tables: Collection[str]) -> list[str]:
    """Drop views on these tables of a scratch database that `goal` brings back; return the SQL.

    Args:
        database: It is changed.
        goal: A view that it does not have stays: nobody would make it again.
        tables: Names as SQL has them.
    """
    here = take(database)
    with database.connect() as connection, connection.begin():
        cursor = connection.connection.cursor()
        cursor.execute(VIEWS_ON, ([*tables],))
        found = set(cursor.fetchall())
        views = [key for key in reversed(here.objects) if (key.schema, key.name) in found]
        return _try(
            connection,
            [[drop] for key in views if key in goal.objects for drop in _drops(key, here)],
        )


def write(database: Database, goal: Snapshot, *, drops: bool) -> list[str]:
    """Bring a scratch database nearer to `goal`, and return the SQL that did it.

    Args:
        database: It is changed.
        goal: What it should be.
        drops: Whether objects that the goal does not have are to go.
    """
    here = take(database)
    extra = reversed(_missing(goal, here)) if drops else ()
    both = [key for key in goal.objects if key in here.objects]
    changed = [key for key in both if here.objects[key] != goal.objects[key]]
    with database.connect() as connection, connection.begin():
        changes: list[list[Way]] = [
            *([drop] for key in extra for drop in _drops(key, here)),
            *(_ways(key, here, goal) for key in changed),
            *([_retyped(connection, here, goal, key)] for key in changed if key.kind == "TYPE"),
            *([_made(key, goal)] for key in _missing(here, goal)),
        ]
        return _try(connection, changes)


def _missing(here: Snapshot, goal: Snapshot) -> list[Key]:
    """Return what only the goal has, in the order of its dump."""
    return [key for key in goal.objects if key not in here.objects]


def _made(key: Key, goal: Snapshot) -> Way:
    bodies = goal.objects[key]
    if key.kind == "MATERIALIZED VIEW":
        return [re.sub(r"\s+WITH NO DATA;$", ";", body) for body in bodies]
    return bodies


def _drops(key: Key, here: Snapshot) -> Iterator[Way]:
    for body in here.objects[key]:
        if drop := drop_statement(key, body):
            yield [drop]


def _ways(key: Key, here: Snapshot, goal: Snapshot) -> list[Way]:
    """Return the ways to change an object, the gentlest first."""
    old, new = here.objects[key], goal.objects[key]
    ways: list[Way] = []
    if key.kind in (*CALLABLE, "VIEW"):
        ways.append([re.sub(r"^CREATE ", "CREATE OR REPLACE ", body) for body in new])
    elif key.kind in {"COMMENT", "DEFAULT"}:
        return [new]
    elif key.kind == "TABLE":
        return [list(_checks("\n".join(old), "\n".join(new)))]
    elif key.kind == "TYPE":
        return [_enum_values(old[0], new[0])]
    dropped = [drop for way in _drops(key, here) for drop in way]
    return [*ways, [*dropped, *_made(key, goal)]] if dropped else ways


def drop_statement(key: Key, sql: str) -> str:
    """Return what drops the object that a statement of a dump makes; empty if nothing does.

    Args:
        key: The object; of a function it has the types of the arguments.
        sql: The statement.
    """
    if key.kind == "COMMENT":
        *_, text = (token for token in TOKEN.finditer(sql) if token["quoted"])
        return sql[: text.start()] + "NULL;"
    for pattern, drop in DROPS:
        if match := re.match(pattern, sql, re.DOTALL):
            parts = match.groupdict()
            if key.kind in CALLABLE:
                name = re.findall(IDENTIFIER, parts["name"])[-1]
                bare = name[1:-1].replace('""', '"') if name.startswith('"') else name
                parts["signature"] = key.name[len(bare) :]
            return drop.format(**parts)
    return ""


def _checks(old: str, new: str) -> Iterator[str]:
    """Return what changes the CHECK constraints that stand inside two CREATE TABLE statements."""
    table = re.search(rf"TABLE (?:ONLY )?({NAME})", new)
    before, after = (dict(_constraints(text)) for text in (old, new))
    if table is None:
        return
    for name in before:
        if before[name] != after.get(name):
            yield f"ALTER TABLE {table[1]} DROP CONSTRAINT {name};"
    for name, element in after.items():
        if before.get(name) != element:
            yield f"ALTER TABLE {table[1]} ADD {element};"


def _constraints(text: str) -> Iterator[tuple[str, str]]:
    for element in elements(text):
        if match := re.match(rf"CONSTRAINT ({IDENTIFIER}) CHECK ", element):
            yield match[1], element


def _enum_values(old: str, new: str) -> Way:
    """Return what adds values to an enum type; nothing if more than that is to be done."""
    name = re.match(rf"CREATE TYPE ({NAME}) AS ENUM", new)
    if not name or not re.match(rf"CREATE TYPE ({NAME}) AS ENUM", old):
        return []
    before, after = elements(old), elements(new)
    if [value for value in after if value in before] != before:
        return []
    statements = []
    for place, value in enumerate(after):
        if value not in before:
            where = f"AFTER {after[place - 1]}" if place else f"BEFORE {before[0]}"
            statements.append(f"ALTER TYPE {name[1]} ADD VALUE {value} {where};")
    return statements


def _retyped(connection: sa.Connection, here: Snapshot, goal: Snapshot, key: Key) -> Way:
    """Return what replaces an enum type that loses values; nothing for what only gains some.

    A row that has a lost value makes the statement fail, on the way down as on the way up.
    """
    (old,), (new,) = here.objects[key], goal.objects[key]
    match = re.match(rf"CREATE TYPE ({NAME}) AS ENUM", new)
    if not match or _enum_values(old, new):
        return []
    name = match[1]
    cursor = connection.connection.cursor()
    cursor.execute(COLUMNS_OF_TYPE, (name,))
    columns = cursor.fetchall()
    aside = key.name[:50] + "_replaced"
    schema = name.partition(".")[0]
    return [
        *(
            f"ALTER TABLE {table} ALTER {column} DROP DEFAULT;"
            for table, column, default in columns
            if default
        ),
        f"ALTER TYPE {name} RENAME TO {quoted(aside)};",
        new,
        *(
            f"ALTER TABLE {table} ALTER {column} TYPE {name} USING {column}::text::{name};"
            for table, column, _ in columns
        ),
        *(
            f"ALTER TABLE {table} ALTER {column} SET DEFAULT {default};"
            for table, column, default in columns
            if default
        ),
        f"DROP TYPE {schema}.{quoted(aside)};",
    ]


def _try(connection: sa.Connection, changes: Iterable[Sequence[Way]]) -> list[str]:
    """Make the changes that can be made, and return their statements in the order that worked."""
    waiting = list(changes)
    done: list[str] = []
    progress = True
    while waiting and progress:
        left = []
        for ways in waiting:
            way = next((way for way in ways if way and _works(connection, way)), None)
            if way is None:
                left.append(ways)
            else:
                done += way
        progress = len(left) < len(waiting)
        waiting = left
    return done


def _works(connection: sa.Connection, way: Way) -> bool:
    """Run statements; if one fails, none was run."""
    cursor = connection.connection.cursor()
    cursor.execute("SAVEPOINT way")
    try:
        for statement in way:
            cursor.execute(statement)
    except psycopg2.Error:
        cursor.execute("ROLLBACK TO SAVEPOINT way")
        return False
    cursor.execute("RELEASE SAVEPOINT way")
    return True
