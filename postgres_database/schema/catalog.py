"""What the server itself says of tables, types and sequences, as plain values.

Every text is as `pg_dump` would print it: with nothing but pg_catalog on the search path, so that names are qualified.
What an extension owns is left out. PostgreSQL manual, chapter "System Catalogs".
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from postgres_database.schema.queries import (
    ATTACHED,
    COLUMNS,
    CONSTRAINTS,
    INDEXES,
    SCHEMAS,
    SEQUENCES,
    TABLES,
    TYPES,
    UNVALIDATED,
)
from postgres_database.schema.sections import KEPT_CHUNKS
from postgres_database.server.connection import Database
from postgres_database.server.version_table import VersionTable
from postgres_database.sql.names import Name
from postgres_database.sql.tokens import without_redundant_groups

DEFERRABLE = re.compile(r"(?: DEFERRABLE)?(?: INITIALLY DEFERRED)?$")


@dataclass(frozen=True)
class Column:
    """A column of a table; texts are empty where there is nothing."""

    name: str
    type: str
    collation: str
    """Only if it is not the type's own."""
    default: str
    """The expression of a default or of a generated column."""
    generated: str
    """`s`: stored, `v`: virtual."""
    identity: str
    """`a`: always, `d`: by default."""
    not_null: bool
    """Whether every row has a value: not while its constraint is NOT VALID."""
    sequence: str
    """The sequence that the column owns, for SQL."""
    serial: bool
    """Whether that sequence is the default and not an identity's."""
    options: str
    """Of its identity: what follows AS IDENTITY, in parentheses."""
    storage: str
    compression: str
    statistics: int
    attributes: Sequence[str]
    """Its own settings, such as n_distinct=5."""
    inherited: bool
    """Whether it only is there because a parent has it."""
    not_null_name: str = field(default="", compare=False)
    """The name of its NOT NULL constraint, which has one since PostgreSQL 18."""


@dataclass(frozen=True)
class Constraint:
    """A constraint of a table."""

    name: str
    kind: str
    """As in pg_constraint: c check, f foreign key, p primary key, u unique, x exclude, n: only NOT NULL … NOT VALID."""
    definition: str
    columns: tuple[str, ...]
    options: Sequence[str] = ()
    """Storage parameters of the index of a primary key or unique constraint, which the definition leaves out."""

    @property
    def clause(self) -> str:
        """What follows the name in ADD CONSTRAINT."""
        if not self.options:
            return self.definition
        options = f" WITH ({', '.join(self.options)})"
        return DEFERRABLE.sub(lambda found: f"{options}{found[0]}", self.definition, count=1)


@dataclass(frozen=True)
class Table:
    """A table, a partitioned table or a foreign table."""

    name: Name
    kind: str
    """As in pg_class: r, p or f."""
    partition: bool
    """Whether it is a partition of another table."""
    partitioned_by: str
    parents: tuple[str, ...]
    """What it inherits from, for SQL."""
    logged: bool
    options: Sequence[str]
    """Storage parameters, such as fillfactor=70."""
    access_method: str
    tablespace: str
    replica_identity: str
    clustered: str
    """The index that CLUSTER goes by, for SQL."""
    row_security: bool
    forced: bool
    """Whether row security holds for the owner, too."""
    columns: Mapping[str, Column] = field(default_factory=dict)
    constraints: Mapping[str, Constraint] = field(default_factory=dict)
    indexes: Mapping[str, str] = field(default_factory=dict)
    """Definitions, but for the indexes of constraints."""
    attached: Mapping[str, "Constraint | str"] = field(default_factory=dict)
    """What a partition has as part of an index or key of its parent: constraints, and definitions of indexes."""
    unvalidated: Sequence[str] = ()
    """The CHECK constraints that only parents define and that are NOT VALID for this table."""


@dataclass(frozen=True)
class Type:
    """An enum, a domain, a composite type or a range."""

    name: Name
    kind: str
    """As in pg_type: e, d, c or r."""
    sql: str
    """What columns of this type are said to be."""
    labels: tuple[str, ...] = ()
    """Of an enum, in order."""
    shape: str = ""
    """What it is made of: the base type of a domain, the attributes of a composite type."""
    default: str = ""
    not_null: bool = False
    constraints: Mapping[str, str] = field(default_factory=dict)
    """The definitions of a domain's checks."""
    attributes: Mapping[str, str] = field(default_factory=dict)
    """The types of a composite type's attributes, in their order."""


@dataclass(frozen=True)
class Catalog:
    """A database, as far as its parts have names that may change."""

    schemas: tuple[str, ...]
    tables: Mapping[Name, Table]
    types: Mapping[Name, Type]
    sequences: Mapping[Name, str]
    """Sequences that no column owns, with their options."""


def take(database: Database) -> Catalog:
    """Read the catalog of a database."""
    with database.connect() as connection, connection.begin():
        return _read(connection.connection.cursor(), database.versions)


def _read(cursor: Any, versions: VersionTable) -> Catalog:

    def rows(query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        cursor.execute(query, parameters or None)
        return list(cursor.fetchall())

    own = [versions.name, versions.log]
    tables = rows(TABLES, own)
    oids = [row[0] for row in tables]
    columns: dict[int, dict[str, Column]] = {oid: {} for oid in oids}
    constraints: dict[int, dict[str, Constraint]] = {oid: {} for oid in oids}
    indexes: dict[int, dict[str, str]] = {oid: {} for oid in oids}
    for oid, *facts, attributes, inherited, not_null_name in rows(COLUMNS, oids):
        column = _column(*facts, tuple(attributes), inherited, not_null_name)
        columns[oid][column.name] = column
    for oid, name, kind, definition, names, options in rows(CONSTRAINTS, oids):
        constraints[oid][name] = _constraint(name, kind, definition, tuple(names), tuple(options))
    for oid, name, definition in rows(INDEXES, oids):
        indexes[oid][name] = without_redundant_groups(definition)
    attached: dict[int, dict[str, Constraint | str]] = {oid: {} for oid in oids}
    for oid, name, kind, definition, names in rows(ATTACHED, oids):
        text = without_redundant_groups(definition)
        attached[oid][name] = Constraint(name, kind, text, tuple(names)) if kind else text
    unvalidated = dict(rows(UNVALIDATED, oids))
    described: dict[Name, list[Any]] = {
        Name(schema, name): [
            *(kind, partition, key, tuple(parents), *facts),
            *(
                columns[oid],
                constraints[oid],
                indexes[oid],
                attached[oid],
                unvalidated.get(oid, ()),
            ),
        ]
        for oid, schema, name, kind, partition, key, parents, *facts in tables
    }
    return Catalog(
        schemas=tuple(name for (name,) in rows(SCHEMAS)),
        tables={name: Table(name, *facts) for name, facts in described.items()},
        types={
            Name(schema, name): _ungrouped(
                Type(Name(schema, name), kind, sql, tuple(labels), *facts)
            )
            for schema, name, kind, sql, labels, *facts in rows(TYPES)
        },
        sequences={Name(schema, name): options for schema, name, options in rows(SEQUENCES, own)},
    )


@lru_cache(maxsize=KEPT_CHUNKS)
def _column(*facts: Any) -> Column:
    """Return a column; one value for what is the same in several databases."""
    column = Column(*facts)
    return replace(column, default=without_redundant_groups(column.default))


@lru_cache(maxsize=KEPT_CHUNKS)
def _constraint(name: str, kind: str, definition: str, *facts: tuple[str, ...]) -> Constraint:
    return Constraint(name, kind, without_redundant_groups(definition), *facts)


def _ungrouped(type_: Type) -> Type:
    checks = {name: without_redundant_groups(text) for name, text in type_.constraints.items()}
    return replace(type_, constraints=checks)
