"""Creates a database from models that use objects of the history, such as an extension, without creating them."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any

import psycopg2
import psycopg2.extensions
from psycopg2.extensions import TRANSACTION_STATUS_INERROR

from postgres_database.errors import ExpectedError
from postgres_database.history.project_models import MissingError, Models
from postgres_database.schema import dump
from postgres_database.schema.sections import Section, split_dump
from postgres_database.scratch.databases import Scratch
from postgres_database.scratch.recording import Heard
from postgres_database.server.connection import Database
from postgres_database.sql.names import IDENTIFIER, unquoted

KINDS = frozenset((
    "ACCESS METHOD", "AGGREGATE", "CAST", "COLLATION", "CONVERSION", "DOMAIN", "EXTENSION", "FOREIGN DATA WRAPPER",
    "FUNCTION", "OPERATOR", "OPERATOR CLASS", "OPERATOR FAMILY", "PROCEDURAL LANGUAGE", "PROCEDURE", "SCHEMA",
    "SEQUENCE", "SERVER", "SHELL TYPE", "TEXT SEARCH CONFIGURATION", "TEXT SEARCH DICTIONARY", "TEXT SEARCH PARSER",
    "TEXT SEARCH TEMPLATE", "TRANSFORM", "TYPE",
))  # fmt: skip
"""Kinds of objects that tables may depend on, as pg_dump names them."""
ATTRIBUTES = ("ACL", "COMMENT")
"""Kinds of dump sections that belong to another object."""
TYPE = re.compile(rf"\s*CREATE (?:TYPE|DOMAIN) ({IDENTIFIER}(?:\.{IDENTIFIER})?)")
# User objects outside of extensions, in an order in which they can be dropped: dependent ones first.
OBJECTS = """
    SELECT i.type, i.identity FROM (
        SELECT 'pg_proc'::regclass, oid, 9 FROM pg_proc
        UNION ALL SELECT 'pg_type'::regclass, t.oid, 8 FROM pg_type t LEFT JOIN pg_class c ON c.oid = t.typrelid
                  WHERE t.typtype IN ('d', 'e', 'r') OR c.relkind = 'c'
        UNION ALL SELECT 'pg_class'::regclass, oid, 7 FROM pg_class WHERE relkind = 'S'
        UNION ALL SELECT 'pg_collation'::regclass, oid, 6 FROM pg_collation
        UNION ALL SELECT 'pg_operator'::regclass, oid, 5 FROM pg_operator
        UNION ALL SELECT 'pg_opclass'::regclass, oid, 10 FROM pg_opclass
        UNION ALL SELECT 'pg_ts_config'::regclass, oid, 4 FROM pg_ts_config
        UNION ALL SELECT 'pg_ts_dict'::regclass, oid, 3 FROM pg_ts_dict
        UNION ALL SELECT 'pg_foreign_server'::regclass, oid, 3 FROM pg_foreign_server
        UNION ALL SELECT 'pg_extension'::regclass, oid, 2 FROM pg_extension
        UNION ALL SELECT 'pg_namespace'::regclass, oid, 1 FROM pg_namespace
    ) AS o (classid, objid, rank)
    CROSS JOIN LATERAL pg_identify_object(classid, objid, 0) AS i
    WHERE objid >= 16384 AND NOT EXISTS (
        SELECT FROM pg_depend d WHERE d.deptype = 'e' AND (d.classid, d.objid) = (o.classid, o.objid))
    ORDER BY rank DESC, objid DESC
"""


@dataclass(frozen=True)
class Built:
    """A database that was created from models."""

    database: Database
    provided: frozenset[str] = frozenset()
    """Objects that it may have from the history, not from the models; by their names in a snapshot."""


def build(
    session: Scratch, models: Models, at_head: Callable[[], Database], heard: Heard | None = None
) -> Built:
    """Create the models in a scratch database, with only those objects of the history that they use.

    Args:
        session: Creates the database.
        models: The models. Objects that they create are never taken from the history.
        at_head: Creates a scratch database at the head of the history; called only if an object is missing.
        heard: Hears the statements that are sent at first.

    Raises:
        ExpectedError: The models cannot be created.
    """
    try:
        return Built(session.from_models(models, cursors=heard.cursors if heard else None))
    except MissingError as error:
        refused = error
    text = dump.take(at_head())
    offered = [*_offered(text, *_made(session.empty(), session, models))]
    if not offered:
        raise refused
    database = session.empty()
    left = _run_each(database, [each.body for each in offered])
    with database.connect() as connection, connection.begin():
        objects = connection.exec_driver_sql(OBJECTS).all()
    session.from_models(models, database, lambda _: _completing(left))
    _run_each(database, [f"DROP {kind} {identity}" for kind, identity in objects])
    return Built(database, frozenset(map(str, offered)))


def _offered(text: str, made: set[str], types: set[tuple[str, str]]) -> Iterator[Section]:
    """Yield the sections of a dump that the models may use.

    Args:
        text: The dump of the history.
        made: Objects that the models create: left out, like the sequences of columns.
        types: Schema and name of types that the models try to create: left out.
    """
    found = split_dump(text)
    owned = {(each.schema, each.name) for each in found if each.kind == "SEQUENCE OWNED BY"}
    names: set[tuple[str, str]] = set()
    for each in found:
        here = (each.schema, each.name)
        if each.kind in ATTRIBUTES and here in names:
            yield each
        if each.kind not in KINDS or str(each) in made or here in owned:
            continue
        if each.kind in {"TYPE", "DOMAIN"} and here in types:
            continue
        names.add((each.schema, f"{each.kind} {each.name}"))
        yield each


def _made(
    database: Database, session: Scratch, models: Models
) -> tuple[set[str], set[tuple[str, str]]]:
    """Create as much of the models as possible in an empty database.

    Returns:
        The objects that were created, and the schema and name of all types that the models try to create.
    """
    types: set[tuple[str, str]] = set()

    class Tolerant(psycopg2.extensions.cursor):
        """Skips statements that fail."""

        def execute(self, query: Any, values: Any = None) -> None:
            text = query if isinstance(query, str) else str(query)
            if match := TYPE.match(text):
                *schema, name = unquoted(match[1])
                types.add(((schema or ["public"])[0] or "public", name))
            super().execute("SAVEPOINT tolerant")
            try:
                super().execute(query, values)
            except psycopg2.Error:
                super().execute("ROLLBACK TO SAVEPOINT tolerant")

    with suppress(ExpectedError):  # event listeners may need the result of a skipped query
        session.from_models(models, database, lambda _: Tolerant)
    return {str(each) for each in split_dump(dump.take(database))}, types


def _completing(left: list[str]) -> type[psycopg2.extensions.cursor]:
    """Return a cursor that provides more when a statement fails, such as a function of a new table."""

    class Completing(psycopg2.extensions.cursor):
        """Runs what was left, and the statement once more, if some of it runs now."""

        def execute(self, query: Any, values: Any = None) -> None:
            failed = self.connection.info.transaction_status == TRANSACTION_STATUS_INERROR
            if failed or not left:
                super().execute(query, values)
                return
            super().execute("SAVEPOINT completing")
            try:
                super().execute(query, values)
            except psycopg2.Error:
                super().execute("ROLLBACK TO SAVEPOINT completing")
                with closing(psycopg2.extensions.cursor(self.connection)) as aside:
                    still = _run(aside, left)
                    aside.execute("RESET check_function_bodies")
                if still == left:
                    raise
                left[:] = still
                super().execute(query, values)

    return Completing


def _run_each(database: Database, texts: Sequence[str]) -> list[str]:
    """Run statements in one transaction, and return those that fail; see `_run`."""
    with (
        database.connect() as connection,
        connection.begin(),
        closing(connection.connection.cursor()) as cursor,
    ):
        return _run(cursor, texts)


def _run(cursor: Any, texts: Sequence[str]) -> list[str]:
    """Run statements in any order that works, and return those that never succeed; each success lets others retry."""
    cursor.execute("SET LOCAL check_function_bodies = off")
    waiting, left = [*texts], [""]
    while waiting and waiting != left:
        left, waiting = waiting, [each for each in waiting if not _runs(cursor, each)]
    return waiting


def _runs(cursor: Any, text: str) -> bool:
    cursor.execute("SAVEPOINT one")
    try:
        cursor.execute(text)
    except psycopg2.Error:
        cursor.execute("ROLLBACK TO SAVEPOINT one")
        return False
    return True
