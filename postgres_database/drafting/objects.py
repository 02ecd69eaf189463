"""SQL for objects that Alembic does not compare: views, functions, triggers, policies, grants … Pure: no database.

pg_dump writes each of them as a statement of its own. That statement creates the object where it is missing; the
statement that drops it is derived from the same text.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from postgres_database.drafting import in_place
from postgres_database.drafting.in_place import CALLABLE
from postgres_database.schema.alter import Statements
from postgres_database.schema.catalog import Column
from postgres_database.schema.partitions import PLACE
from postgres_database.schema.snapshot import Key, Snapshot
from postgres_database.sql import grants
from postgres_database.sql.names import (
    IDENTIFIER,
    NAME,
    QUALIFIED,
    Name,
    bare,
    identifier,
    is_own_not_null,
)
from postgres_database.sql.tokens import TOKEN, is_empty, parentheses, split

OF_PARENT = re.compile(
    rf"CREATE .*?INDEX (?P<index>{IDENTIFIER}) ON ONLY (?P<name>{NAME}) "
    rf"|ALTER TABLE ONLY (?P<keyed>{NAME})\s+ADD CONSTRAINT (?P<key>{IDENTIFIER}) "
)
"""What creates an index or key of a partitioned table without its partitions; of a plain table, a key."""
ONLY = re.compile(r"^(CREATE .*?INDEX .*? ON|ALTER TABLE) ONLY ")
OPERANDS = r"(?=(?:.*?LEFTARG = (?P<left>[^\n,)]+))?)(?=(?:.*?RIGHTARG = (?P<right>[^\n,)]+))?)"
TABLES = ("TABLE", "FOREIGN TABLE")
NO_COLUMNS: Mapping[str, Column] = {}
GRANTS = ("ACL", "DEFAULT ACL")
PUBLIC_COMMENT = Key("COMMENT", "-", "SCHEMA public")
"""pg_dump omits it while it is the comment that initdb wrote."""
EARLY = (
    "SCHEMA",
    "EXTENSION",
    "TYPE",
    "SHELL TYPE",
    "DOMAIN",
    "COLLATION",
    "SEQUENCE",
    "OPERATOR",
    "CAST",
    *CALLABLE,
)
"""Kinds that a table may depend on: created before Alembic's operations, if that succeeds."""

ON_TABLES = (
    "VIEW",
    "MATERIALIZED VIEW",
    "RULE",
    "POLICY",
    "TRIGGER",
    "EVENT TRIGGER",
    "STATISTICS",
    *CALLABLE,
)
"""Kinds that may depend on a table: dropped before Alembic's operations."""

NAMED = (
    "MATERIALIZED VIEW", "VIEW", "TYPE", "DOMAIN", "SCHEMA", "COLLATION", "STATISTICS", "SEQUENCE", "EVENT TRIGGER",
    "PUBLICATION", "SERVER", "FOREIGN DATA WRAPPER", "FOREIGN TABLE", "TABLE", "CONVERSION", "ACCESS METHOD",
    "TEXT SEARCH CONFIGURATION", "TEXT SEARCH DICTIONARY", "TEXT SEARCH PARSER", "TEXT SEARCH TEMPLATE",
)  # fmt: skip
"""Kinds whose statements begin with CREATE, the kind and the name."""

# The beginning of a statement in a dump, and the statement that drops what it creates.
DROPS = [
    (rf"CREATE (?:UNLOGGED )?(?P<kind>{'|'.join(NAMED)}) (?P<name>{NAME})", "DROP {kind} {name};"),
    (rf"CREATE (?:OR REPLACE )?(?:TRUSTED )?(?:PROCEDURAL )?LANGUAGE (?P<name>{NAME})", "DROP LANGUAGE {name};"),
    (rf"CREATE EXTENSION IF NOT EXISTS (?P<name>{NAME})", "DROP EXTENSION {name};"),
    (rf"CREATE (?P<kind>FUNCTION|PROCEDURE|AGGREGATE) (?P<name>{NAME})\(",
     "DROP {kind} {name}{signature};"),
    (rf"CREATE (?:UNIQUE )?INDEX (?P<name>{IDENTIFIER}) ON (?:ONLY )?(?P<schema>{IDENTIFIER})\.",
     "DROP INDEX {schema}.{name};"),
    (rf"CREATE POLICY (?P<name>{IDENTIFIER}) ON (?P<table>{NAME})", "DROP POLICY {name} ON {table};"),
    (rf"CREATE (?:CONSTRAINT )?TRIGGER (?P<name>{IDENTIFIER}) .*? ON (?P<table>{QUALIFIED}) ",
     "DROP TRIGGER {name} ON {table};"),
    (rf"CREATE RULE (?P<name>{IDENTIFIER}) AS\s+ON \w+ TO (?P<table>{NAME})", "DROP RULE {name} ON {table};"),
    (rf"ALTER TABLE (?:ONLY )?(?P<table>{NAME})\s+ADD CONSTRAINT (?P<name>{IDENTIFIER}) ",
     "ALTER TABLE {table} DROP CONSTRAINT {name};"),
    (rf"ALTER TABLE (?:ONLY )?(?P<table>{NAME}) ALTER COLUMN (?P<name>{IDENTIFIER}) SET DEFAULT ",
     "ALTER TABLE {table} ALTER COLUMN {name} DROP DEFAULT;"),
    (rf"ALTER TABLE (?P<table>{NAME}) ENABLE ROW LEVEL SECURITY",
     "ALTER TABLE {table} DISABLE ROW LEVEL SECURITY;"),
    (rf"ALTER TABLE (?:ONLY )?(?P<table>{NAME}) ATTACH PARTITION (?P<name>{NAME})",
     "ALTER TABLE {table} DETACH PARTITION {name};"),
    (rf"ALTER SEQUENCE (?P<name>{NAME}) OWNED BY ", "ALTER SEQUENCE {name} OWNED BY NONE;"),
    (rf"ALTER PUBLICATION (?P<name>{NAME}) ADD TABLE ONLY (?P<table>{NAME})",
     "ALTER PUBLICATION {name} DROP TABLE {table};"),
    (rf"ALTER PUBLICATION (?P<name>{NAME}) ADD TABLES IN SCHEMA (?P<table>{IDENTIFIER})",
     "ALTER PUBLICATION {name} DROP TABLES IN SCHEMA {table};"),
    (rf"CREATE USER MAPPING FOR (?P<name>{IDENTIFIER}) SERVER (?P<table>{IDENTIFIER})",
     "DROP USER MAPPING FOR {name} SERVER {table};"),
    (r"CREATE CAST (?P<name>\(.*? AS .*?\))\s+WITH", "DROP CAST {name};"),
    (rf"CREATE OPERATOR (?P<kind>CLASS|FAMILY) (?P<name>{NAME})\s.*?USING (?P<method>{IDENTIFIER})",
     "DROP OPERATOR {kind} {name} USING {method};"),
    (rf"CREATE OPERATOR (?P<name>{IDENTIFIER}\.\S+) \({OPERANDS}",
     "DROP OPERATOR {name} ({left}, {right});"),
]  # fmt: skip


def missing(here: Snapshot, goal: Snapshot) -> list[Key]:
    """Return the objects that only the goal has, in the order of its dump: what others depend on comes first."""
    return [key for key in goal.objects if key not in here.objects]


def to_create(key: Key, goal: Snapshot, columns: Mapping[str, Column] = NO_COLUMNS) -> Statements:
    """Return the statements that create an object as the goal has it, filled, if it is a materialized view.

    Args:
        key: The object.
        goal: Where it is.
        columns: Of a table, in their order; a snapshot keeps neither that nor the names of their NOT NULL.
    """
    bodies = goal.objects[key]
    if key.kind in TABLES:
        return [_in_column_order(key.name, body, columns) for body in bodies]
    if key.kind == "MATERIALIZED VIEW":  # the settings of its columns may follow
        return [re.sub(r"\s+WITH NO DATA;$", ";", body, flags=re.MULTILINE) for body in bodies]
    if key.kind == "EXTENSION":  # in the default version of the server
        return [f"{body.partition(in_place.VERSION)[0]};" for body in bodies]
    if key.kind in {"INDEX", "CONSTRAINT"} and is_complete(key, goal):  # on the partitions as well
        bodies = tuple(ONLY.sub(r"\1 ", body, count=1) for body in bodies)
    if key.kind == "INDEX":  # an online revision builds it if that is a statement of its own
        pieces = [piece.strip() for body in bodies for piece in split(body, ";")]
        return [f"{piece};" for piece in pieces if not is_empty(piece)]
    if key.kind in GRANTS:
        return grants.creates(bodies)
    return bodies


def _in_column_order(table: str, body: str, columns: Mapping[str, Column]) -> str:
    """Order the columns in a CREATE TABLE, and name their NOT NULL where a person chose the name."""
    if not (span := parentheses(body)):
        return body
    order = [*columns]

    def column(element: str) -> str:
        name = re.match(IDENTIFIER, element)
        return bare(name[0]) if name else ""

    def place(element: str) -> int:
        return order.index(column(element)) if column(element) in columns else len(order)

    def named(element: str) -> str:
        name = columns[column(element)].not_null_name if column(element) in columns else ""
        if not name or is_own_not_null(table, column(element), name):
            return element
        constraint = f"CONSTRAINT {identifier(name)} NOT NULL"
        return re.sub(r"NOT NULL(?=$| NO INHERIT$)", lambda _: constraint, element)

    start, stop = span
    elements = sorted((each.strip() for each in split(body[start:stop], ",")), key=place)
    inside = ",".join(f"\n    {named(each)}" for each in elements)
    return f"{body[:start]}{inside}\n{body[stop:]}"


def is_complete(key: Key, goal: Snapshot) -> bool:
    """Tell whether all partitions of a table have their part of an index or key."""
    table = OF_PARENT.match(goal.objects[key][0])
    if table is None:
        return True
    index = bare(table["index"] or table["key"])
    whole = _attaching(Key("INDEX", key.schema, index))
    parent = f"ALTER TABLE ONLY {table['name'] or table['keyed']} ATTACH PARTITION "
    counts = {whole: 0, parent: 0}
    for each, (body, *_) in goal.objects.items():
        if each.kind == "INDEX ATTACH" and body.startswith(whole):
            counts[whole] += 1
        if each.kind == "TABLE ATTACH" and body.startswith(parent):
            counts[parent] += Key("TABLE", each.schema, each.name) in goal.objects
    return counts[whole] >= counts[parent]


def to_drop(key: Key, here: Snapshot) -> Iterator[str]:
    """Yield the statements that drop an object; nothing for a statement of an unknown form."""
    if key.kind in GRANTS:
        yield from grants.drops(here.objects[key])
        return
    for body in here.objects[key]:
        if state := in_place.STATE.match(
            body
        ):  # of the trigger of a partition, which goes with its parent's
            usual = _state_above(state["name"], Name.read(state["table"]), here)
            yield f"ALTER TABLE {state['table']} {usual} TRIGGER {state['name']};"
        elif drop := drop_statement(key, body):
            yield drop


def to_drop_apart(key: Key, here: Snapshot) -> Statements:
    """Return what drops an index of which partitions have a part as their own key: these are detached meanwhile.

    One text, hence one transaction. Nothing for another object.
    """
    parts = []
    for attached, (body, *_) in here.objects.items():
        if attached.kind == "INDEX ATTACH" and body.startswith(_attaching(key)):
            ending = f" {attached.name}"
            parts += [
                Key("TABLE ATTACH", each.schema, each.name.removesuffix(ending))
                for each in here.objects
                if each.kind == "CONSTRAINT" and each.name.endswith(ending)
            ]
    attaches = {part: here.objects[part][0] for part in parts if part in here.objects}
    detaches = [drop_statement(part, body) for part, body in attaches.items()]
    return ["\n".join([*detaches, *to_drop(key, here), *attaches.values()])] if attaches else []


def _attaching(index: Key) -> str:
    return f"ALTER INDEX {Name(index.schema, index.name).sql} ATTACH PARTITION "


def _state_above(trigger: str, table: Name, here: Snapshot) -> str:
    """Return when the trigger of the table fires whose partition a table is."""
    attach = here.objects.get(Key("TABLE ATTACH", *table), ("",))[0]
    if not (place := PLACE.match(attach)):
        return "ENABLE"
    parent = Name.read(place["parent"])
    texts = here.objects.get(Key("TRIGGER", parent.schema, f"{parent.name} {bare(trigger)}"), ())
    states = [state["state"] for text in texts for state in in_place.STATE.finditer(text)]
    return (states or ["ENABLE"])[0] if texts else _state_above(trigger, parent, here)


def method(sql: str) -> str:
    """Return the access method of a CREATE OPERATOR CLASS in a dump; empty for another statement."""
    match = re.match(
        rf"CREATE OPERATOR CLASS {NAME}\s.*?USING (?P<method>{IDENTIFIER})", sql, re.DOTALL
    )
    return bare(match["method"]) if match else ""


def to_change(
    key: Key, here: Snapshot, goal: Snapshot, columns: Mapping[str, Column] = NO_COLUMNS
) -> list[Statements]:
    """Return alternative statements that change an object, in place first, then drop and create.

    The arguments are those of `to_create`, and where the object is as it is now.
    """
    ends = here.objects[key], goal.objects[key]
    ways = in_place.ways(key, *ends)
    if not in_place.stays(key, *ends) and (drops := list(to_drop(key, here))):
        statements = [*drops, *to_create(key, goal, columns)]
        # One operation: the rows of a partition that gets other bounds are never absent.
        ways.append(["\n".join(statements)] if key.kind == "TABLE ATTACH" else statements)
    return ways


def drop_statement(key: Key, sql: str) -> str:
    """Return what drops the object that a statement of a dump creates; empty if its form is unknown.

    Args:
        key: The object; the name of a function includes the types of its arguments.
        sql: The statement.
    """
    if key == PUBLIC_COMMENT:
        return "COMMENT ON SCHEMA public IS 'standard public schema';"
    if key.kind == "COMMENT":
        *_, text = (token for token in TOKEN.finditer(sql) if token["quoted"])
        return sql[: text.start()] + "NULL;"
    for pattern, drop in DROPS:
        if match := re.match(pattern, sql, re.DOTALL):
            parts = {name: part or "NONE" for name, part in match.groupdict().items()}
            if key.kind in CALLABLE:
                parts["signature"] = signature(key, parts["name"])
            return drop.format(**parts)
    return ""


def signature(key: Key, name: str) -> str:
    """Return the types of a function's arguments in parentheses.

    Args:
        key: The function.
        name: Its name, qualified and quoted as in SQL.
    """
    return key.name[len(bare(name)) :]


def created_name(sql: str) -> str:
    """Return the qualified name, quoted as in SQL, in a CREATE statement; empty if there is none."""
    match = re.match(rf"CREATE (?:[A-Z]+ )*?(?P<name>{QUALIFIED})", sql)
    return match["name"] if match else ""


@dataclass(frozen=True)
class Subject:
    """The object that a change works on; what depends on it may have to be dropped first."""

    kind: str
    """column, constraint, relation, type, function, operator or operator class."""
    sql: str
    """The name of the relation, type, function, operator or operator class."""
    part: str = ""
    """The column or constraint; the access method of the operator class."""


RELATIONS = ("VIEW", "MATERIALIZED VIEW", "SEQUENCE", "TABLE", "FOREIGN TABLE")


def subject_of(key: Key, body: str) -> Subject | None:
    """Return what a statement creates as the subject of a change; None for kinds on which nothing depends."""
    if key.kind == "INDEX":  # foreign keys depend on a unique one
        return Subject("relation", Name(key.schema, key.name).sql)
    if key.kind == "OPERATOR":
        drop = drop_statement(key, body)
        return Subject("operator", drop.removeprefix("DROP OPERATOR ").removesuffix(";"))
    name = created_name(body)
    if not name:
        return None
    if key.kind in CALLABLE:
        return Subject("function", name + signature(key, name))
    if key.kind == "OPERATOR CLASS":
        return Subject("operator class", name, method(body))
    kinds = {"type": ("TYPE", "DOMAIN"), "relation": RELATIONS}
    found = next((kind for kind, keys in kinds.items() if key.kind in keys), "")
    return Subject(found, name) if found else None
