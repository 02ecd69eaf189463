"""A schema as the text that `pg_dump --schema-only` prints: object by object, in canonical form.

What canonical form means: the order of columns, of grants and of a table's options is no
difference, nor are parentheses that group AND within AND; everything else is. Dumps of two servers,
or of a database and its restored copy, may spell one expression in two ways; `compare` passes both
through one server before it calls them different.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

from postgres_database.schema import dump
from postgres_database.schema.scope import Scope
from postgres_database.schema.sections import KEPT_CHUNKS, REMEMBERED, TOLERANT, each_object
from postgres_database.server.connection import Database
from postgres_database.sql.names import IDENTIFIER
from postgres_database.sql.tokens import (
    TOKEN,
    is_empty,
    parentheses,
    split,
    without_redundant_groups,
)

# Since 18 these have names, which stay when a column gets another; models cannot give them one.
NOT_NULL_NAME = re.compile(
    rf"(?:(?<=\s)|^)CONSTRAINT {IDENTIFIER} NOT NULL(?=$| NO INHERIT$| {IDENTIFIER}$)"
)
RESET_GRANTOR = "RESET SESSION AUTHORIZATION"
METHOD = re.compile(r"^SET default_table_access_method = (.*);$", re.MULTILINE)
USUAL_METHOD = "heap"

# Indexes that no query uses, versions of extensions, and settings of the database; the values of those
# with a dot in their name are the application's own and may be secret.
INVALID_INDEXES = """
    SELECT 'INDEX' AS kind, n.nspname AS schema, c.relname AS name, pg_get_indexdef(i.indexrelid) AS text
    FROM pg_index i
    JOIN pg_class c ON c.oid = i.indexrelid
    JOIN pg_class t ON t.oid = i.indrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE NOT (i.indisready AND (i.indisvalid OR t.relkind = 'p')) AND n.nspname !~ '^pg_'
    """
SUPPLEMENT = f"""
    SELECT kind, schema, name, text || ';' || chr(10) || '-- invalid' FROM ({INVALID_INDEXES}) AS i
    UNION ALL
    SELECT 'EXTENSION', '-', extname, '-- version ' || extversion FROM pg_extension WHERE extname <> 'plpgsql'
    UNION ALL
    SELECT 'DATABASE SETTING', '-', coalesce(r.rolname || ' ', '') || s.name, CASE
               WHEN s.name LIKE '%.%' THEN 'md5 ' || md5(s.setting) ELSE s.setting END
    FROM pg_db_role_setting d
    LEFT JOIN pg_roles r ON r.oid = d.setrole
    CROSS JOIN LATERAL (
        SELECT split_part(pair, '=', 1), substr(pair, strpos(pair, '=') + 1) FROM unnest(d.setconfig) AS pair
    ) AS s (name, setting)
    WHERE d.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
    """  # noqa: S608 - of a constant


Empty = Callable[[], Database]
"""Makes an empty database on a server where things may be tried."""


@dataclass(frozen=True, order=True)
class Key:
    """What an object is called; overloads and grants share one."""

    kind: str
    schema: str
    name: str

    def __str__(self) -> str:
        """Name the object for people."""
        place = "" if self.schema in ("-", "public") else f"{self.schema}."
        return f"{self.kind} {place}{self.name}"


@dataclass(frozen=True)
class Difference:
    """An object that two schemas do not share: the texts on either side, empty where it is missing."""

    key: Key
    left: str
    right: str


@dataclass(frozen=True)
class Snapshot:
    """The objects of a schema, each with its canonical texts in order."""

    objects: Mapping[Key, tuple[str, ...]]

    def difference(self, other: "Snapshot") -> tuple[Difference, ...]:
        """Return the objects that differ, in a stable order."""
        if self is other:
            return ()
        keys = self.objects.keys() | other.objects.keys()
        pairs = ((key, self.objects.get(key, ()), other.objects.get(key, ())) for key in keys)
        differing = sorted(pair for pair in pairs if pair[1] != pair[2])
        return tuple(
            Difference(key, "\n".join(left), "\n".join(right)) for key, left, right in differing
        )


def take(database: Database, scope: Scope | None = None) -> Snapshot:
    """Take the snapshot of a database: its dump, and what a dump leaves out; see `dump.take`."""
    objects = _objects(dump.take(database, scope))
    with database.reading() as (cursor, _):
        cursor.execute(SUPPLEMENT)
        for kind, schema, name, text in cursor.fetchall():
            key = Key(kind, schema, name)
            objects[key] = (*(f"{body}\n{text}" for body in objects.get(key, ())),) or (text,)
    return Snapshot(objects)


def invalid_indexes(database: Database) -> dict[Key, str]:
    """Return the definitions of the indexes that a build left behind unfinished: a dump leaves them out."""
    with database.reading() as (cursor, _):
        cursor.execute(f"{INVALID_INDEXES} ORDER BY 2, 3")
        return {Key(kind, schema, name): text for kind, schema, name, text in cursor.fetchall()}


def compare(
    left: Database, right: Database, empty: Empty, known: str = ""
) -> tuple[Difference, ...]:
    """Return the objects that really differ, whatever the spelling and the servers' versions.

    What differs at first sight is restored and dumped once more on the scratch server: PostgreSQL
    re-spells some expressions when they are restored, and every version prints in its own way.

    Args:
        left: A database.
        right: Another one.
        empty: Creates a scratch database.
        known: The dump of the left one, if it was taken already.

    Raises:
        ExpectedError: A dump cannot be restored.
    """
    with ThreadPoolExecutor() as pool:
        taken = pool.map(dump.take, (right,) if known else (right, left))
        dumps = [*taken, *[known] * bool(known)][::-1]
    if not parse(dumps[0]).difference(parse(dumps[1])):
        return ()
    again = [take(each) for each in copies(dumps, empty)]
    return again[0].difference(again[1])


def restored(database: Database, empty: Empty) -> Database:
    """Return a scratch database that is restored from the dump of another.

    Raises:
        ExpectedError: The dump cannot be restored.
    """
    return copies([dump.take(database)], empty)[0]


def copies(texts: Sequence[str], empty: Empty) -> list[Database]:
    """Return scratch databases that are restored from dumps, all at the same time.

    Raises:
        ExpectedError: A dump cannot be restored.
    """
    databases = [empty() for _ in texts]
    with ThreadPoolExecutor() as pool:
        list(pool.map(dump.restore, texts, databases))
    return databases


@lru_cache(maxsize=REMEMBERED)
def parse(text: str) -> Snapshot:
    """Split a dump into its objects, each in canonical form; several things are asked of one."""
    return Snapshot(_objects(text))


def _objects(text: str) -> dict[Key, tuple[str, ...]]:
    objects: defaultdict[Key, list[str]] = defaultdict(list)
    method = USUAL_METHOD
    for section in each_object(text):
        kind, body = section.kind, section.body
        method = (METHOD.findall(section.settings) or [method])[-1]
        if is_empty(body) or body.strip().startswith(f"CREATE {TOLERANT} "):
            continue  # only the owner of the schema public differs from a new database's; the version table's own
        canonical = _canonical(kind, body.strip("\n"))
        if section.tablespace:
            canonical += f"\n-- tablespace {section.tablespace}"
        stores = kind in ("TABLE", "MATERIALIZED VIEW") and "\n)\nPARTITION BY " not in canonical
        if stores and method != USUAL_METHOD:
            canonical += f"\n-- access method {method}"
        objects[Key(kind, section.schema, section.name)].append(canonical)
    return {key: tuple(sorted(bodies)) for key, bodies in objects.items()}


@lru_cache(maxsize=KEPT_CHUNKS)
def _canonical(kind: str, body: str) -> str:
    body = without_redundant_groups(body)
    if kind in ("TABLE", "FOREIGN TABLE"):
        statements = [_sorted_elements(statement) for statement in split(body, ";")]
        return _sorted_options(_in_order(statements))
    if kind in ("INDEX", "CONSTRAINT", "VIEW", "MATERIALIZED VIEW"):
        return _sorted_options(body)
    if kind in ("ACL", "DEFAULT ACL", "SEQUENCE"):
        return _in_order(_by_grantor(split(body, ";")))
    return body


def _in_order(statements: Iterable[str]) -> str:
    """Sort statements so that they still can be run: what is made first, what is revoked before what is granted."""
    first = ("CREATE ", "REVOKE ")
    return "\n".join(
        f"{each};"
        for each in sorted(statements, key=lambda each: (not each.startswith(first), each))
    )


def _by_grantor(statements: Iterable[str]) -> Iterator[str]:
    """Put the grantor before every grant of a role other than the owner."""
    grantor = ""
    for statement in (statement.strip() for statement in statements):
        if statement.startswith("SET SESSION AUTHORIZATION "):
            grantor = f"{statement}; "
        elif statement == RESET_GRANTOR:
            grantor = ""
        else:
            yield grantor + statement + (f"; {RESET_GRANTOR}" if grantor else "")


def _sorted_options(text: str) -> str:
    """Sort what stands in WITH (…)."""
    word = ""
    for token in TOKEN.finditer(text):
        if word == "WITH" and token["mark"] == "(" and (span := parentheses(text, token.start())):
            start, stop = span
            options = sorted(option.strip() for option in split(text[start:stop], ","))
            return text[:start] + ", ".join(options) + _sorted_options(text[stop:])
        word = token["word"] or ""
    return text


def _sorted_elements(statement: str) -> str:
    """Sort what stands in the first parentheses of a CREATE TABLE."""
    statement = statement.strip()
    if not re.match(r"CREATE (UNLOGGED |FOREIGN )?TABLE", statement):
        return statement
    span = parentheses(statement)
    if span is None:
        return statement
    start, stop = span
    elements = sorted(
        NOT_NULL_NAME.sub("NOT NULL", element.strip())
        for element in split(statement[start:stop], ",")
    )
    return statement[:start] + "\n    " + ",\n    ".join(elements) + "\n" + statement[stop:]
