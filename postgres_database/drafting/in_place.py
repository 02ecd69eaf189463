"""From one text of an object in a dump to another, without dropping the object: what depends on it stays. Pure."""

import re
from collections.abc import Callable, Mapping

from postgres_database.schema.alter import Statements
from postgres_database.schema.numbering import begun_anew
from postgres_database.schema.snapshot import Key
from postgres_database.sql import grants
from postgres_database.sql.names import IDENTIFIER, NAME, Name, identifier, literal
from postgres_database.sql.tokens import parentheses, split

CALLABLE = ("FUNCTION", "PROCEDURE", "AGGREGATE")
LASTING = ("ACL", "DEFAULT ACL", "COMMENT", "SEQUENCE OWNED BY", "EXTENSION", "SEQUENCE")
"""Kinds of objects that are never dropped and created for a change."""
VERSION = ";\n-- version "
"""What a snapshot puts between the statement of an extension and its version."""
STATE = re.compile(
    rf"ALTER TABLE (?P<table>{NAME}) (?P<state>DISABLE|ENABLE(?: ALWAYS| REPLICA)?) TRIGGER (?P<name>{IDENTIFIER});"
)
"""What says when a trigger fires; one that fires as usual has no such statement in a dump."""
STATISTICS = re.compile(r"^(ALTER INDEX .* ALTER COLUMN \d+ SET STATISTICS )(\d+);$", re.MULTILINE)


def ways(key: Key, old: Statements, new: Statements) -> list[Statements]:
    """Return alternative statements that change an object from its old texts in a dump to the new ones."""
    find = WAYS.get(key.kind)
    return [way for way in find(key, old, new) if way] if find else []


def stays(key: Key, old: Statements, new: Statements) -> bool:
    """Tell whether an object need not be dropped for a change from its old texts to the new ones."""
    return key.kind in LASTING or (key.kind == "INDEX" and _index_only(old) == _index_only(new))


def _index_only(bodies: Statements) -> list[str]:
    """Leave out statistics targets, and the table's settings that name the index: `schema.alter` changes those."""
    settings = r"\n+ALTER TABLE .* (?:CLUSTER ON|REPLICA IDENTITY USING INDEX) .*;"
    return [STATISTICS.sub("", re.sub(settings, "", body)).rstrip() for body in bodies]


def _regranted(_: Key, old: Statements, new: Statements) -> list[Statements]:
    return [grants.changes(old, new)]


def _said_again(_: Key, _old: Statements, new: Statements) -> list[Statements]:
    return [new]


def _replaced(_: Key, _old: Statements, new: Statements) -> list[Statements]:
    return [[re.sub(r"^CREATE ", "CREATE OR REPLACE ", body) for body in new]]


def _extension(key: Key, old: Statements, new: Statements) -> list[Statements]:
    """Return the ways to another schema, and to another version; to an older one, often only by dropping it."""
    name = identifier(key.name)
    create, _, version = new[0].partition(VERSION)
    version = literal(version)
    again = [f"DROP EXTENSION {name};", f"{create} VERSION {version};"]
    schemas = [re.search(rf"WITH SCHEMA ({IDENTIFIER})", each) for each in (old[0], new[0])]
    moved = (
        [[f"ALTER EXTENSION {name} SET SCHEMA {schemas[1][1]};"]]
        if schemas[0] and schemas[1] and schemas[0][1] != schemas[1][1]
        else []
    )
    return [*moved, [f"ALTER EXTENSION {name} UPDATE TO {version};"], again]


def _sequence(key: Key, _: Statements, new: Statements) -> list[Statements]:
    altered = [_altered_sequence(body) for body in new]
    return [altered, [*begun_anew(Name(key.schema, key.name).sql, altered[0]), *altered]]


def _altered_sequence(body: str) -> str:
    """Return ALTER SEQUENCE with the defaults that a dump leaves out: it would keep the present values."""
    altered = re.sub(r"^CREATE (UNLOGGED )?SEQUENCE", "ALTER SEQUENCE", body)
    first, *options = altered.removesuffix(";").splitlines()
    if not any(option.strip().startswith("AS ") for option in options):
        options.insert(0, "    AS bigint")
    if not any(option.strip() == "CYCLE" for option in options):
        options.append("    NO CYCLE")
    return "\n".join([first, *options]) + ";"


def _index(key: Key, old: Statements, new: Statements) -> list[Statements]:
    """Return the way to other statistics targets, if nothing else differs."""
    if not stays(key, old, new):
        return []
    had, has = (dict(STATISTICS.findall("\n".join(bodies))) for bodies in (old, new))
    wanted = dict.fromkeys(had, "-1") | has
    return [[f"{to}{wanted[to]};" for to in wanted if wanted[to] != had.get(to)]]


def _materialized_view(key: Key, old: Statements, new: Statements) -> list[Statements]:
    """Return the way to other storage parameters, if nothing else differs: it is not filled again."""
    (had, *before), (has, *after) = map(_parameters, (old, new))
    if before != after:
        return []
    alter = f"ALTER MATERIALIZED VIEW {Name(key.schema, key.name).sql}"
    put = [each for each in has if each not in had]
    names = {each.partition("=")[0] for each in has}
    gone = [name for each in had if (name := each.partition("=")[0]) not in names]
    changes = (("SET", put), ("RESET", gone))
    return [[f"{alter} {verb} ({', '.join(each)});" for verb, each in changes if each]]


def _parameters(bodies: Statements) -> list[Statements]:
    """Return the storage parameters of a materialized view, and its statements without them."""
    create, *others = bodies
    head, mark, _ = create.partition("\nWITH (")
    span = parentheses(create, len(head)) if mark and "\n" not in head else None
    if span is None:
        return [[], bodies]
    start, stop = span
    found = [each.strip() for each in split(create[start:stop], ",")]
    return [found, [head + create[stop + 1 :], *others]]


def _trigger(_: Key, old: Statements, new: Statements) -> list[Statements]:
    """Return the way to another state, if nothing else differs."""
    (had, *before), (has, *after) = map(_states, (old, new))
    if before != after:
        return []
    return [
        has or [STATE.sub(r"ALTER TABLE \g<table> ENABLE TRIGGER \g<name>;", each) for each in had]
    ]


def _states(bodies: Statements) -> list[Statements]:
    """Return the statements that say whether a trigger fires, and the others."""
    pieces = [piece for body in bodies for piece in body.splitlines()]
    found = [each for each in pieces if STATE.match(each)]
    return [found, [each for each in pieces if each and each not in found]]


def _text_search_configuration(_: Key, old: Statements, new: Statements) -> list[Statements]:
    """Return the way to other mappings; none if the parser is another."""
    before, after = ([each.strip() for each in split(bodies[0], ";")] for bodies in (old, new))
    drops = [
        re.sub(r"\s+ADD MAPPING (FOR \S+) WITH .*", r" DROP MAPPING \1;", each)
        for each in before
        if each not in after
    ]
    changes = [*drops, *(f"{each};" for each in after if each not in before)]
    return [changes] if before[0] == after[0] else []


def _text_search_dictionary(_: Key, old: Statements, new: Statements) -> list[Statements]:
    """Return the way to other options; ALTER refuses another template."""
    here, goal = (
        dict(option.strip().split(" = ", 1) for option in split(bodies[0][slice(*span)], ","))
        for bodies in (old, new)
        if (span := parentheses(bodies[0]))
    )
    options = [f"{name} = {goal[name]}" for name in goal if here.get(name) != goal[name]]
    options += [name for name in here if name not in goal]
    head = new[0][: new[0].index("(")].replace("CREATE ", "ALTER ", 1)
    return [[f"{head}({', '.join(options)});"]]


def _foreign(key: Key, old: Statements, new: Statements) -> list[Statements]:
    """Return the way to other options of a server or wrapper, which foreign tables and user mappings need."""
    here, goal = (bodies[0].removesuffix(";").partition(" OPTIONS (") for bodies in (old, new))
    had, has = (
        {
            match[0]: each.strip()[match.end() :]
            for each in split(options.removesuffix(")"), ",")
            if (match := re.match(IDENTIFIER, each.strip()))
        }
        for _, _, options in (here, goal)
    )
    actions = [f"DROP {name}" for name in had if name not in has]
    actions += [
        f"{'SET' if name in had else 'ADD'} {name}{value}"
        for name, value in has.items()
        if had.get(name) != value
    ]
    alter = f"ALTER {key.kind} {identifier(key.name)} OPTIONS ({', '.join(actions)});"
    return [[alter]] if here[0] == goal[0] else []


WAYS: Mapping[str, Callable[[Key, Statements, Statements], list[Statements]]] = {
    "ACL": _regranted,
    "DEFAULT ACL": _regranted,
    "COMMENT": _said_again,
    "SEQUENCE OWNED BY": _said_again,
    **dict.fromkeys((*CALLABLE, "VIEW"), _replaced),
    "EXTENSION": _extension,
    "SEQUENCE": _sequence,
    "INDEX": _index,
    "MATERIALIZED VIEW": _materialized_view,
    "TRIGGER": _trigger,
    "TEXT SEARCH CONFIGURATION": _text_search_configuration,
    "TEXT SEARCH DICTIONARY": _text_search_dictionary,
    "SERVER": _foreign,
    "FOREIGN DATA WRAPPER": _foreign,
}
