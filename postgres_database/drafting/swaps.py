"""A key or unique index that becomes another one: its index is built first, under a name of its own. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from alembic.operations import MigrateOperation

from postgres_database.history.operations import RunSql
from postgres_database.history.project_models import Models
from postgres_database.online import forms
from postgres_database.online.forms import Statement
from postgres_database.online.steps import text
from postgres_database.schema.catalog import Catalog, Table
from postgres_database.scratch import enforced
from postgres_database.sql.names import (
    IDENTIFIER,
    NAME,
    Name,
    bare,
    identifier,
)

DROP = re.compile(
    rf"ALTER TABLE (?:ONLY )?(?P<table>{NAME}) DROP CONSTRAINT (?:IF EXISTS )?(?P<rule>{IDENTIFIER});?"
    rf"|DROP INDEX (?:IF EXISTS )?(?P<index>{NAME});?",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Swap:
    """Two operations of a list, by their places: what drops a key, and what makes the one that follows it."""

    drop: int
    make: int
    build: str
    """What builds the index of the new key."""
    put: str
    """What makes the index the new key."""


def find(
    ops: Sequence[MigrateOperation], models: Models, before: Catalog, goal: Catalog
) -> list[Swap]:
    """Return which operations swap a key for another; between them nothing is done to the table.

    Args:
        ops: The operations.
        models: They say how constraints are named.
        before: The catalog that they begin with, under the names of afterwards.
        goal: The one that they end with.
    """
    texts = [text(op, models) for op in ops]
    dropped = [_dropped(each, before) for each in texts]
    found: list[Swap] = []
    for make, sql in enumerate(texts):
        statement = forms.parse(sql)
        if statement is None or not statement.unique:
            continue
        table = Name.read(statement.table)
        if table not in before.tables or table not in goal.tables or goal.tables[table].kind != "r":
            continue
        ends = before.tables[table], goal.tables[table]
        for drop in range(make):
            old = dropped[drop]
            between = "".join(texts[drop + 1 : make])
            if (
                old is not None
                and old[0] == table
                and table.name not in between
                and _has_values(statement, ends[0])
                and enforced.has_in_common(*ends, old[1], bare(statement.name))
            ):
                found.append(Swap(drop, make, *_statements(statement, table)))
                break
    return found


def applied(
    ops: Sequence[MigrateOperation], models: Models, before: Catalog, goal: Catalog
) -> list[MigrateOperation]:
    """Return operations in which each new key is built before the old one is dropped."""
    result: list[list[MigrateOperation]] = [[op] for op in ops]
    for swap in find(ops, models, before, goal):
        old = result[swap.drop]
        result[swap.drop] = [RunSql(swap.build)]
        result[swap.make] = [*old, RunSql(swap.put)]
    return [op for part in result for op in part]


def _dropped(sql: str, before: Catalog) -> tuple[Name, str] | None:
    """Return the table and name of a constraint or index that a statement drops."""
    match = DROP.fullmatch(sql.strip())
    if match is None:
        return None
    if match["table"]:
        return Name.read(match["table"]), bare(match["rule"])
    index = Name.read(match["index"])
    tables = (name for name, each in before.tables.items() if index.name in each.indexes)
    return next(((name, index.name) for name in tables if name.schema == index.schema), None)


def _has_values(new: Statement, before: Table) -> bool:
    """Tell whether no column of a primary key becomes NOT NULL, for which the table would be read under a lock."""
    columns = new.columns if new.kind == "PRIMARY KEY" else ()
    found = (before.columns.get(bare(column)) for column in columns)
    return all(each is not None and each.not_null for each in found)


def _statements(new: Statement, table: Name) -> tuple[str, str]:
    """Return what builds the index of a key under a name of its own, and what puts it in its place."""
    aside = f"{bare(new.name)}_new"
    if len(aside.encode()) > forms.LONGEST_NAME:
        aside = f"{sha256(aside.encode()).hexdigest()[:16]}_new"
    body = new.index if new.form == "key" else new.body
    build = f"CREATE UNIQUE INDEX {identifier(aside)} ON {table.sql} {body};"
    place = Name(table.schema, aside).sql
    rename = f"ALTER INDEX {place} RENAME TO {new.name};"
    if new.form != "key":
        return build, rename
    return build, forms.using_index(new, table.sql, identifier(aside)) + ";"
