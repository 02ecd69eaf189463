"""What the server itself says of tables, types and sequences, as plain values.

Every text is as `pg_dump` would print it: with nothing but pg_catalog on the search path, so that names are qualified.
What an extension owns is left out. PostgreSQL manual, chapter "System Catalogs".
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from postgres_database.schema.bookkeeping import COLUMN_OPTIONS, OWN
from postgres_database.schema.sections import KEPT_CHUNKS
from postgres_database.server.connection import Database
from postgres_database.server.version_table import VersionTable
from postgres_database.sql.names import Name
from postgres_database.sql.tokens import without_redundant_groups

DEFERRABLE = re.compile(r"(?: DEFERRABLE)?(?: INITIALLY DEFERRED)?$")


@dataclass(frozen=True, slots=True)
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
    """Whether every row, those of children too, has a value: not while its constraint is NOT VALID or NO INHERIT."""
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


@dataclass(frozen=True, slots=True)
class Constraint:
    """A constraint of a table."""

    name: str
    kind: str
    """As in pg_constraint: c check, f foreign key, p primary key, u unique, x exclude; n: NOT NULL, if NOT VALID or
    NO INHERIT."""
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


@dataclass(frozen=True, slots=True)
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
    of_type: str
    """The composite type that its columns are those of, for SQL."""
    columns: Mapping[str, Column] = field(default_factory=dict)
    constraints: Mapping[str, Constraint] = field(default_factory=dict)
    indexes: Mapping[str, str] = field(default_factory=dict)
    """Definitions, but for the indexes of constraints."""
    attached: Mapping[str, "Constraint | str"] = field(default_factory=dict)
    """What a partition has as part of an index or key of its parent: constraints, and definitions of indexes."""
    unvalidated: Sequence[str] = ()
    """The CHECK constraints that only parents define and that are NOT VALID for this table."""


@dataclass(frozen=True, slots=True)
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


COLUMN = lru_cache(maxsize=KEPT_CHUNKS)(Column)  # one value for what several databases have
# What belongs to PostgreSQL or to an extension; %s is a catalog, its object and that object's schema.
OURS = """{schema} !~ '^pg_' AND {schema} <> 'information_schema' AND NOT EXISTS (
    SELECT FROM pg_depend e WHERE e.classid = '{catalog}'::regclass AND e.objid = {oid} AND e.deptype = 'e')"""
OUR_TABLES = (
    OURS.format(schema="n.nspname", catalog="pg_class", oid="c.oid") + " AND c.relname <> ALL (%s)"
)

SCHEMAS = f"""
    SELECT n.nspname FROM pg_namespace n
    WHERE {OURS.format(schema="n.nspname", catalog="pg_namespace", oid="n.oid")} ORDER BY 1
"""  # noqa: S608 - a constant

TABLES = f"""
    SELECT c.oid, n.nspname, c.relname, c.relkind::text, c.relispartition,
           coalesce(pg_get_partkeydef(c.oid), ''),
           array(SELECT i.inhparent::regclass::text FROM pg_inherits i WHERE i.inhrelid = c.oid ORDER BY i.inhseqno),
           c.relpersistence = 'p',
           array(SELECT o FROM unnest(c.reloptions) o WHERE NOT starts_with(o, '{OWN}') UNION ALL
                 SELECT 'toast.' || o FROM pg_class t, unnest(t.reloptions) o
                 WHERE t.oid = c.reltoastrelid AND NOT starts_with(o, '{OWN}')),
           coalesce(m.amname, ''), coalesce(s.spcname, ''),
           c.relreplident::text || coalesce((
               SELECT quote_ident(x.relname) FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
               WHERE i.indrelid = c.oid AND i.indisreplident AND c.relreplident = 'i'), ''),
           coalesce((SELECT quote_ident(x.relname) FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
                     WHERE i.indrelid = c.oid AND i.indisclustered), ''),
           c.relrowsecurity, c.relforcerowsecurity, coalesce(NULLIF(c.reloftype, 0)::regtype::text, '')
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_am m ON m.oid = c.relam
    LEFT JOIN pg_tablespace s ON s.oid = c.reltablespace
    WHERE c.relkind IN ('r', 'p', 'f') AND {OUR_TABLES}
    ORDER BY 2, 3
"""  # noqa: S608 - a constant

# An identity's or a serial's sequence depends on its column: internally or automatically.
COLUMNS = f"""
    SELECT a.attrelid, a.attname, format_type(a.atttypid, a.atttypmod),
           CASE WHEN a.attcollation <> t.typcollation THEN a.attcollation::regcollation::text ELSE '' END,
           coalesce(pg_get_expr(d.adbin, d.adrelid), ''), a.attgenerated::text, a.attidentity::text,
           a.attnotnull AND NOT EXISTS (
               SELECT FROM pg_constraint o WHERE o.conrelid = a.attrelid AND o.contype = 'n'
               AND (o.connoinherit OR NOT o.convalidated) AND o.conkey = ARRAY[a.attnum]),
           coalesce(q.oid::regclass::text, ''),
           coalesce(q.deptype = 'a' AND starts_with(pg_get_expr(d.adbin, d.adrelid), 'nextval(')
                    AND a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype), false),
           coalesce(CASE WHEN q.deptype = 'i' THEN q.options END, ''),
           a.attstorage::text,
           a.attcompression::text, coalesce(a.attstattarget, -1),
           array(SELECT o FROM unnest(a.attoptions) o
                 WHERE split_part(o, '=', 1) IN {COLUMN_OPTIONS}), NOT a.attislocal,
           coalesce((SELECT o.conname::text FROM pg_constraint o WHERE o.conrelid = a.attrelid AND o.contype = 'n'
                     AND o.conkey = ARRAY[a.attnum]), '')
    FROM pg_attribute a
    JOIN pg_type t ON t.oid = a.atttypid
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    LEFT JOIN LATERAL (
        SELECT s.seqrelid AS oid, p.deptype,
               format('START WITH %%s INCREMENT BY %%s MINVALUE %%s MAXVALUE %%s CACHE %%s%%s', s.seqstart,
                      s.seqincrement, s.seqmin, s.seqmax, s.seqcache, CASE WHEN s.seqcycle THEN ' CYCLE' ELSE '' END
               ) AS options
        FROM pg_depend p
        JOIN pg_sequence s ON s.seqrelid = p.objid
        WHERE p.classid = 'pg_class'::regclass AND p.refclassid = 'pg_class'::regclass
          AND p.refobjid = a.attrelid AND p.refobjsubid = a.attnum AND p.deptype IN ('a', 'i')
        LIMIT 1
    ) q ON true
    WHERE a.attrelid = ANY (%s) AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY a.attrelid, a.attnum
"""  # noqa: S608 - a constant

CONSTRAINTS = """
    SELECT c.conrelid, c.conname, c.contype::text, pg_get_constraintdef(c.oid),
           array(SELECT a.attname::text FROM unnest(c.conkey) WITH ORDINALITY AS k (attnum, place)
                 JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.attnum ORDER BY k.place),
           array(SELECT o FROM pg_class x, unnest(x.reloptions) o
                 WHERE x.oid = c.conindid AND c.contype IN ('p', 'u') ORDER BY o)
    FROM pg_constraint c
    WHERE c.conrelid = ANY (%s) AND c.conislocal
      AND (c.contype IN ('c', 'f', 'p', 'u', 'x') OR (c.contype = 'n' AND (c.connoinherit OR NOT c.convalidated)))
    ORDER BY c.conrelid, c.conname
"""

UNVALIDATED = """SELECT conrelid, array_agg(conname::text ORDER BY conname) FROM pg_constraint
    WHERE conrelid = ANY (%s) AND contype = 'c' AND NOT (conislocal OR convalidated) GROUP BY 1"""

INDEXES = """
    SELECT i.indrelid, c.relname, pg_get_indexdef(i.indexrelid)
    FROM pg_index i
    JOIN pg_class c ON c.oid = i.indexrelid
    WHERE i.indrelid = ANY (%s) AND NOT c.relispartition
      AND NOT EXISTS (SELECT FROM pg_constraint o WHERE o.conindid = i.indexrelid AND o.contype IN ('p', 'u', 'x'))
    ORDER BY i.indrelid, c.relname
"""

ATTACHED = """
    SELECT i.indrelid, c.relname, coalesce(o.contype::text, ''),
           coalesce(pg_get_constraintdef(o.oid), pg_get_indexdef(i.indexrelid)),
           array(SELECT a.attname::text FROM unnest(o.conkey) WITH ORDINALITY AS k (attnum, place)
                 JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum ORDER BY k.place)
    FROM pg_index i
    JOIN pg_class c ON c.oid = i.indexrelid
    LEFT JOIN pg_constraint o ON o.conindid = i.indexrelid AND o.contype IN ('p', 'u', 'x')
    WHERE i.indrelid = ANY (%s) AND c.relispartition
    ORDER BY i.indrelid, c.relname
"""

TYPES = f"""
    SELECT n.nspname, t.typname, t.typtype::text, format_type(t.oid, NULL),
           array(SELECT e.enumlabel::text FROM pg_enum e WHERE e.enumtypid = t.oid ORDER BY e.enumsortorder),
           coalesce(CASE t.typtype
               WHEN 'd' THEN format_type(t.typbasetype, t.typtypmod) || CASE
                   WHEN t.typcollation <> b.typcollation THEN ' COLLATE ' || t.typcollation::regcollation ELSE '' END
               WHEN 'r' THEN (SELECT format_type(r.rngsubtype, NULL) FROM pg_range r WHERE r.rngtypid = t.oid)
           END, ''),
           coalesce(t.typdefault, ''), t.typnotnull,
           coalesce((SELECT json_object_agg(c.conname, pg_get_constraintdef(c.oid)) FROM pg_constraint c
                     WHERE c.contypid = t.oid AND c.contype = 'c'), '{{}}'),
           coalesce((SELECT json_object_agg(a.attname, format_type(a.atttypid, a.atttypmod) || CASE
                        WHEN a.attcollation <> y.typcollation THEN ' COLLATE ' || a.attcollation::regcollation
                        ELSE '' END ORDER BY a.attnum)
                     FROM pg_attribute a JOIN pg_type y ON y.oid = a.atttypid
                     WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped), '{{}}')
    FROM pg_type t
    JOIN pg_namespace n ON n.oid = t.typnamespace
    LEFT JOIN pg_class r ON r.oid = t.typrelid
    LEFT JOIN pg_type b ON b.oid = t.typbasetype
    WHERE t.typtype IN ('e', 'd', 'c', 'r') AND (r.relkind IS NULL OR r.relkind = 'c')
      AND {OURS.format(schema="n.nspname", catalog="pg_type", oid="t.oid")}
    ORDER BY 1, 2
"""  # noqa: S608 - a constant

SEQUENCES = f"""
    SELECT n.nspname, c.relname,
           format('%%s %%s %%s %%s %%s %%s %%s', s.seqtypid::regtype, s.seqstart, s.seqincrement, s.seqmin, s.seqmax,
                  s.seqcache, s.seqcycle)
    FROM pg_sequence s
    JOIN pg_class c ON c.oid = s.seqrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE {OUR_TABLES} AND NOT EXISTS (
        SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
        AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i'))
    ORDER BY 1, 2
"""  # noqa: S608 - a constant


def take(database: Database) -> Catalog:
    """Read the catalog of a database."""
    with database.reading() as (cursor, _):
        return _read(cursor, database.versions)


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
    for oid, name, *facts, attributes, inherited, not_null_name in rows(COLUMNS, oids):
        facts[2] = without_redundant_groups(facts[2])  # the default
        columns[oid][name] = COLUMN(name, *facts, tuple(attributes), inherited, not_null_name)
    for oid, name, kind, definition, names, options in rows(CONSTRAINTS, oids):
        constraints[oid][name] = Constraint(
            name, kind, without_redundant_groups(definition), tuple(names), tuple(options)
        )
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


def _ungrouped(type_: Type) -> Type:
    checks = {name: without_redundant_groups(text) for name, text in type_.constraints.items()}
    return replace(type_, constraints=checks)
