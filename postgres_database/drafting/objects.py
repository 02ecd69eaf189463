"""What Alembic cannot see, pg_dump can write: SQL from the text of whole objects. Pure: no database.

Functions, views, triggers, policies and the like are each one statement in a dump. Where a database
lacks one, that statement makes it; where it has one too many, the statement says what to drop.
"""

import re
from collections.abc import Iterator, Sequence

from postgres_database.schema.alter import Statements
from postgres_database.schema.snapshot import Key, Snapshot
from postgres_database.sql.names import IDENTIFIER, NAME, QUALIFIED, bare, identifier, literal
from postgres_database.sql.tokens import TOKEN, split

OPERANDS = r"(?=(?:.*?LEFTARG = (?P<left>[^\n,)]+))?)(?=(?:.*?RIGHTARG = (?P<right>[^\n,)]+))?)"
CALLABLE = ("FUNCTION", "PROCEDURE", "AGGREGATE")
GRANTS = ("ACL", "DEFAULT ACL")
VERSION = ";\n-- version "
"""How a snapshot says in which version an extension is there."""
PUBLIC_COMMENT = Key("COMMENT", "-", "SCHEMA public")
"""Where a dump has none, it is what initdb wrote."""
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
"""What a table may need: made before Alembic's operations, if it can be made then."""

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
"""What may stand on a table: dropped before Alembic's operations."""

NAMED = (
    "MATERIALIZED VIEW", "VIEW", "TYPE", "DOMAIN", "SCHEMA", "COLLATION", "STATISTICS", "SEQUENCE", "EVENT TRIGGER",
    "PUBLICATION", "SERVER", "FOREIGN DATA WRAPPER", "FOREIGN TABLE", "TABLE", "CONVERSION", "ACCESS METHOD",
    "TEXT SEARCH CONFIGURATION", "TEXT SEARCH DICTIONARY", "TEXT SEARCH PARSER", "TEXT SEARCH TEMPLATE",
)  # fmt: skip
"""Kinds whose statements begin with CREATE, the kind and the name."""

# How each kind is dropped, by the beginning of its statement in the dump.
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
GRANT = re.compile(r"(?P<before>.*?)(?P<verb>GRANT|REVOKE) (?P<what>.*) (?:TO|FROM) (?P<role>.*?)"
                   r"(?P<option> WITH GRANT OPTION)?(?P<after>; RESET SESSION AUTHORIZATION)?;?$",
                   re.DOTALL)  # fmt: skip


def missing(here: Snapshot, goal: Snapshot) -> list[Key]:
    """Return what only the goal has, in the order of its dump."""
    return [key for key in goal.objects if key not in here.objects]


def makes(key: Key, goal: Snapshot) -> Statements:
    """Return the statements that make an object."""
    bodies = goal.objects[key]
    if key.kind == "MATERIALIZED VIEW":
        return [re.sub(r"\s+WITH NO DATA;$", ";", body) for body in bodies]
    if key.kind == "EXTENSION":  # in the version that the server has
        return [f"{body.partition(VERSION)[0]};" for body in bodies]
    if key.kind == "INDEX":  # on the partitions as well
        return [
            re.sub(r"^(CREATE .*?INDEX .*?) ON ONLY ", r"\1 ON ", body, count=1) for body in bodies
        ]
    if key.kind in GRANTS:
        return sorted(_grants(bodies), key=lambda statement: not _revokes(statement))
    return bodies


def drops(key: Key, here: Snapshot) -> Iterator[str]:
    """Yield what drops an object, if that can be read from its statements."""
    if key.kind in GRANTS:
        yield from sorted(map(_undone, _grants(here.objects[key])), key=_revokes, reverse=True)
        return
    for body in here.objects[key]:
        if drop := drop_statement(key, body):
            yield drop


def ways(key: Key, here: Snapshot, goal: Snapshot) -> list[Statements]:
    """Return the ways to change an object, the gentlest first."""
    old, new = here.objects[key], goal.objects[key]
    found: list[Statements] = []
    match key.kind:
        case "ACL" | "DEFAULT ACL":
            found = [_regranted(_grants(old), _grants(new))]
        case "COMMENT" | "SEQUENCE OWNED BY":
            found = [new]
        case "EXTENSION":
            found = _moved(identifier(key.name), old[0], new[0])
            found += _in_version(identifier(key.name), new[0])
        case "SEQUENCE":
            found = [[_altered_sequence(body) for body in new]]
        case "INDEX" if [*map(_index_only, old)] == [*map(_index_only, new)]:
            found = []
        case _:
            if key.kind in (*CALLABLE, "VIEW"):
                found.append([re.sub(r"^CREATE ", "CREATE OR REPLACE ", body) for body in new])
            if dropped := list(drops(key, here)):
                found.append([*dropped, *makes(key, goal)])
    return found


def _regranted(before: Sequence[str], after: Sequence[str]) -> Statements:
    undone = [statement for statement in before if statement not in after]
    added = [statement for statement in after if statement not in before]
    surplus = []
    for old in [*undone]:
        for new in [*added]:
            if (parts := _both(old, new)) is not None:
                undone.remove(old)
                added.remove(new)
                surplus += parts
                break
    revoked_first = sorted([*map(_undone, undone), *added], key=_revokes, reverse=True)
    return [*revoked_first, *surplus]


def _both(old: str, new: str) -> list[str] | None:
    """Go from one grant to another of the same rights' kind: give what is missing, then take what is too much."""
    here, goal = GRANT.match(old), GRANT.match(new)
    if not here or not goal or {here["verb"], goal["verb"]} != {"GRANT"}:
        return None
    (had, on), (has, same) = (each["what"].split(" ON ", 1) for each in (here, goal))
    names = [{name.strip() for name in split(rights, ",")} for rights in (had, has)]
    alike = all(here[part] == goal[part] for part in ("before", "role", "option"))
    if not alike or on != same or "ALL" in names[0] | names[1]:
        return None

    def written(rights: set[str]) -> str:
        option, after = goal["option"] or "", goal["after"] or ""
        what = ",".join(sorted(rights))
        return f"{goal['before']}GRANT {what} ON {on} TO {goal['role']}{option}{after};"

    more, less = names[1] - names[0], names[0] - names[1]
    return [*([written(more)] if more else []), *([_undone(written(less))] if less else [])]


def _moved(name: str, old: str, new: str) -> list[Statements]:
    """Move an extension to another schema, if that is what differs."""
    schemas = [re.search(rf"WITH SCHEMA ({IDENTIFIER})", each) for each in (old, new)]
    if not all(schemas) or schemas[0][1] == schemas[1][1]:  # type: ignore[index]
        return []
    return [[f"ALTER EXTENSION {name} SET SCHEMA {schemas[1][1]};"]]  # type: ignore[index]


def _in_version(name: str, text: str) -> list[Statements]:
    """Bring an extension to a version; there may be no way back but to make it again."""
    create, _, version = text.partition(VERSION)
    version = literal(version)
    again = [f"DROP EXTENSION {name};", f"{create} VERSION {version};"]
    return [[f"ALTER EXTENSION {name} UPDATE TO {version};"], again]


def drop_statement(key: Key, sql: str) -> str:
    """Return what drops the object that a statement of a dump makes; empty if nothing does.

    Args:
        key: The object; of a function it has the types of the arguments.
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
        name: Its name as SQL has it.
    """
    return key.name[len(bare(name)) :]


def made_name(sql: str) -> str:
    """Return the name of what a CREATE statement makes, as SQL has it; empty if it has none."""
    match = re.match(rf"CREATE (?:[A-Z]+ )*?(?P<name>{QUALIFIED})", sql)
    return match["name"] if match else ""


def _index_only(body: str) -> str:
    """Leave out what a table does with an index: `alter` changes it."""
    return re.sub(r"\n+ALTER TABLE .* (?:CLUSTER ON|REPLICA IDENTITY USING INDEX) .*;", "", body)


def _altered_sequence(body: str) -> str:
    """Say every option that CREATE SEQUENCE leaves out."""
    altered = re.sub(r"^CREATE (UNLOGGED )?SEQUENCE", "ALTER SEQUENCE", body)
    first, *options = altered.removesuffix(";").splitlines()
    if not any(option.strip().startswith("AS ") for option in options):
        options.insert(0, "    AS bigint")
    if not any(option.strip() == "CYCLE" for option in options):
        options.append("    NO CYCLE")
    return "\n".join([first, *options]) + ";"


def _grants(bodies: Sequence[str]) -> list[str]:
    return [
        line if line.endswith(";") else f"{line};" for body in bodies for line in body.split("\n")
    ]


def _revokes(statement: str) -> bool:
    match = GRANT.match(statement)
    return bool(match and match["verb"] == "REVOKE")


def _undone(statement: str) -> str:
    """Turn a GRANT into a REVOKE, and a REVOKE into a GRANT."""
    match = GRANT.match(statement)
    if match is None:
        return statement
    if match["verb"] == "GRANT":
        turned = f"REVOKE {match['what']} FROM {match['role']}"
    else:
        turned = f"GRANT {match['what']} TO {match['role']}"
    return f"{match['before']}{turned}{match['after'] or ''};"
