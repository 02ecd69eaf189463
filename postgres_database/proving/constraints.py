"""The columns and constraints that decide which rows a scratch database accepts, and a cursor on which these are tried.

Statements here are passed to psycopg2 together with values: a `%` in them is doubled.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import psycopg2
import sqlalchemy as sa

from postgres_database.proving.values import TYPES
from postgres_database.server.connection import VERSIONS
from postgres_database.sql.names import Name, quoted

# OIDs from 16384 up are those of users: PostgreSQL manual, "System Catalog Initial Data", "OID Assignment".
TABLES = """
    SELECT n.nspname, c.relname, c.relkind, a.attname, format_type(a.atttypid, a.atttypmod),
           a.atttypid, NOT (a.attnotnull OR t.typnotnull), a.attgenerated <> '', a.attidentity,
           coalesce(pg_get_expr(d.adbin, d.adrelid), ''),
           CASE WHEN t.typrelid = 0 AND coalesce(l.typrelid, 0) = 0 THEN '{{}}' ELSE
           array(WITH RECURSIVE made (oid) AS (
                     SELECT e.typrelid FROM pg_type e WHERE e.oid IN (t.oid, t.typelem)
                     UNION
                     SELECT e.typrelid FROM made JOIN pg_attribute x ON x.attrelid = made.oid AND x.attnum > 0
                     JOIN pg_type y ON y.oid = x.atttypid JOIN pg_type e ON e.oid IN (y.oid, y.typelem)
                 )
                 SELECT x.attname || ' ' || format_type(x.atttypid, x.atttypmod)
                 FROM made JOIN pg_attribute x ON x.attrelid = made.oid AND x.attnum > 0 AND NOT x.attisdropped
                 ORDER BY made.oid::regclass::text, x.attnum) END
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_type t ON t.oid = a.atttypid
    LEFT JOIN pg_type l ON l.oid = t.typelem
    LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
    WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
      AND {} AND c.relname <> ALL (%s)
      AND NOT EXISTS (
        SELECT FROM pg_depend e
        WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e'
      )
    ORDER BY n.nspname, c.relname, a.attnum
"""
AMONG = "(n.nspname, c.relname) IN (SELECT * FROM unnest(%s::name[], %s::name[]))"
WHOLE = "NOT c.relispartition"
PARTITION = "c.relispartition"
# The bounds of partitions, together with those of the partitions above them.
BOUNDS = """
    SELECT n.nspname, c.relname, string_agg(pg_get_expr(a.relpartbound, a.oid), ' '),
           array_agg(DISTINCT g.attname::text)
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    CROSS JOIN LATERAL pg_partition_ancestors(c.oid) AS above (oid)
    JOIN pg_class a ON a.oid = above.oid AND a.relispartition
    JOIN pg_inherits i ON i.inhrelid = a.oid
    JOIN pg_partitioned_table p ON p.partrelid = i.inhparent
    LEFT JOIN pg_attribute g ON g.attrelid = p.partrelid AND g.attnum = ANY (p.partattrs::int2[])
    WHERE c.relispartition AND c.relkind IN ('r', 'p')
    GROUP BY n.nspname, c.relname
"""
# Rules of a partition are listed for its root. An index with an expression has no columns here.
RULES = """
    SELECT n.nspname, c.relname, r.name, r.kind, r.text,
           ARRAY(
               SELECT a.attname::text FROM unnest(r.keys) WITH ORDINALITY AS key (number, place)
               JOIN pg_attribute a ON a.attrelid = r.relid AND a.attnum = number
               WHERE 0 <> ALL (r.keys) ORDER BY place
           ),
           fn.nspname, f.relname,
           ARRAY(
               SELECT a.attname::text FROM unnest(r.target_keys) WITH ORDINALITY AS key (number, place)
               JOIN pg_attribute a ON a.attrelid = r.target AND a.attnum = number ORDER BY place
           )
    FROM (
        SELECT conrelid, conname, contype, pg_get_constraintdef(oid), conkey, confrelid, confkey
        FROM pg_constraint
        WHERE conrelid >= 16384 AND contype IN ('c', 'f', 'x') AND conparentid = 0
        UNION ALL
        SELECT i.indrelid, c.relname, 'u', '', i.indkey::int2[], 0, NULL
        FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
        WHERE i.indrelid >= 16384 AND i.indisunique
        UNION ALL
        SELECT p.partrelid, t.relname, 'b', pg_get_expr(c.relpartbound, c.oid),
               p.partattrs::int2[], 0, NULL
        FROM pg_class c
        JOIN pg_inherits i ON i.inhrelid = c.oid
        JOIN pg_partitioned_table p ON p.partrelid = i.inhparent
        JOIN pg_class t ON t.oid = p.partrelid
    ) AS r (relid, name, kind, text, keys, target, target_keys)
    JOIN pg_class c ON c.oid = coalesce(pg_partition_root(r.relid), r.relid)
    JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_class f ON f.oid = coalesce(pg_partition_root(r.target), r.target)
    LEFT JOIN pg_namespace fn ON fn.oid = f.relnamespace
    WHERE {} ORDER BY 1, 2, 3
"""
# An empty file has no rows. Of other access methods and of foreign tables the size says nothing.
INHABITED = """
    SELECT DISTINCT n.nspname, r.relname
    FROM pg_class c
    LEFT JOIN pg_am m ON m.oid = c.relam
    JOIN pg_class r ON r.oid = coalesce(pg_partition_root(c.oid), c.oid)
    JOIN pg_namespace n ON n.oid = r.relnamespace
    WHERE c.oid >= 16384 AND (
        c.relkind = 'f' OR c.relkind = 'r' AND (m.amname <> 'heap' OR pg_relation_size(c.oid) > 0))
"""
ENABLED = """
    SELECT tgname, tgenabled::text FROM pg_trigger
    WHERE tgrelid = to_regclass(%s) AND NOT tgisinternal AND tgenabled <> 'D'
"""
SEQUENCES = (
    "SELECT array_agg(oid::regclass::text) FROM pg_class WHERE relkind = 'S' AND oid >= 16384"
)
DRAW = "SELECT nextval(name::regclass) FROM unnest(%s::text[]) AS name, generate_series(1, %s)"
"""Advances sequences some numbers further."""
ENABLE_KEYWORDS = {"O": "", "R": "REPLICA", "A": "ALWAYS"}
UNDEFINED = "42"
"""The SQLSTATE class of undefined names and wrong types (PostgreSQL manual, "PostgreSQL Error Codes")."""


@dataclass(frozen=True, slots=True)
class RowColumn:
    """A column, and the source of its values."""

    name: str
    type: str
    type_oid: int
    nullable: bool
    generated: bool
    identity: str
    default: str
    attributes: Sequence[str]
    """The attributes and their types, if its type (or element type) is composite; those within attributes, too."""

    @property
    def settable(self) -> bool:
        """Whether INSERT may set it."""
        return not self.generated and self.identity != "a"

    @property
    def needed(self) -> bool:
        """Whether INSERT must set it."""
        return not (self.nullable or self.identity or self.default)

    @property
    def counted(self) -> bool:
        """Whether a sequence gives its values."""
        return bool(self.identity) or self.default.startswith("nextval(")


@dataclass(frozen=True)
class RowTable:
    """A table that is no partition, or a partition that the other database has as a table."""

    sql: str
    """Its name in a statement, with `%` doubled."""
    kind: str
    columns: dict[str, RowColumn]

    @property
    def rows(self) -> str:
        """The FROM item for its rows: those of partitions included, those of inheriting tables not."""
        return self.sql if self.kind == "p" else f"ONLY {self.sql}"

    @cached_property
    def texts(self) -> str:
        """SQL for a row as an array of texts."""
        return (
            f"ARRAY[{', '.join(f'{name_in_sql(column)}::text' for column in self.columns)}]::text[]"
        )


@dataclass(frozen=True, slots=True)
class RowRule:
    """A condition on rows: a constraint, a unique index, or the bounds of a partition."""

    name: str
    """As errors name it; of bounds, the partitioned table."""
    kind: str
    """As in pg_constraint.contype; also `u` for a unique index and `b` for bounds."""
    text: str
    """Its SQL; empty for a unique index."""
    columns: Sequence[str]
    """Empty: unknown."""
    target: Name
    """The table that a foreign key references."""
    target_columns: Sequence[str]


class Sandbox:
    """A transaction in which statements may fail, and the tables of the database without those of extensions."""

    def __init__(self, connection: sa.Connection, only: Collection[Name] | None = None) -> None:
        """Begin in a transaction; `only` are the tables that are of interest, None: all."""
        self._among = "true" if only is None else AMONG
        self._only = [] if only is None else [[each[place] for each in only] for place in (0, 1)]
        self._cursor = connection.connection.cursor()
        self._cursor.execute("SAVEPOINT latest")
        versions = connection.info[VERSIONS]
        self._left_out = [versions.name, versions.log]

    @cached_property
    def tables(self) -> dict[Name, RowTable]:
        """The tables that are no partitions; read when they are first asked for."""
        return self._tables(WHOLE)

    def inhabited(self) -> set[Name]:
        """Return the tables that may have rows, the root of partitions for all of them."""
        return {Name(*row) for row in self.run(INHABITED)}

    def _tables(self, which: str) -> dict[Name, RowTable]:
        tables: dict[Name, RowTable] = {}
        query, values = TABLES.format(f"{which} AND {self._among}"), [*self._only, self._left_out]
        for schema, name, kind, column, *facts in self.run(query, values):
            new = RowTable(f"{name_in_sql(schema)}.{name_in_sql(name)}", kind, {})
            columns = tables.setdefault(Name(schema, name), new).columns
            if column is not None:
                columns[column] = RowColumn(column, *facts)
        return tables

    def run(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a statement and return its rows; if it fails, the transaction is as before.

        Raises:
            psycopg2.Error: The statement fails.
        """
        try:
            # One message: the round trip takes most of the time.
            self._cursor.execute(f"RELEASE latest; SAVEPOINT latest; {statement}", values)
        except psycopg2.Error:
            self.undo()
            raise
        return [*self._cursor.fetchall()] if self._cursor.description else []

    def undo(self) -> None:
        """Roll the latest statement back."""
        self._cursor.execute("ROLLBACK TO latest")

    def draw(self, times: int) -> None:
        """Advance all sequences so often, so that they do not return values that rows have."""
        ((names,),) = self.run(SEQUENCES)
        try:
            self.run(DRAW, [names or [], times])
        except psycopg2.Error:  # one of them has reached its end
            for name in names:
                with suppress(psycopg2.Error):
                    self.run(DRAW, [[name], times])

    @contextmanager
    def without_triggers(self, table: RowTable) -> Iterator[None]:
        """Disable the user triggers of a table within the block."""
        triggers = self.run(ENABLED, [table.sql.replace("%%", "%")])
        self.run(f"ALTER TABLE {table.sql} DISABLE TRIGGER USER")
        yield
        for name, how in triggers:
            self.run(
                f"ALTER TABLE {table.sql} ENABLE {ENABLE_KEYWORDS[how]} TRIGGER {name_in_sql(name)}"
            )


class Judge(Sandbox):
    """A sandbox that tells which rows its database accepts. Constraints are not deferred there."""

    def __init__(self, connection: sa.Connection, only: Collection[Name] | None = None) -> None:
        super().__init__(connection, only)
        self.run("SET CONSTRAINTS ALL IMMEDIATE")
        self.rules: dict[Name, list[RowRule]] = defaultdict(list)
        found = self.run(RULES.format(self._among), self._only)
        for schema, table, name, kind, text, columns, *target, target_columns in found:
            rule = RowRule(name, kind, text, columns, Name(*target), target_columns)
            self.rules[Name(schema, table)].append(rule)
        self.types = {oid: facts for oid, *facts in self.run(TYPES)}
        self._casts: dict[str, dict[str, str | None]] = defaultdict(dict)

    def take_partitions(self, names: Iterable[Name]) -> None:
        """Treat partitions with these names as tables: the other database has tables of these names."""
        tables, bounds = self._tables(PARTITION), {}
        for schema, table, text, found in self.run(BOUNDS):
            columns = [] if None in found else found  # an expression
            bounds[Name(schema, table)] = RowRule(table, "b", text, columns, Name("", ""), ())
        for name in tables.keys() & set(names):
            self.tables[name] = tables[name]
            self.rules[name].append(bounds[name])

    def insert(self, table: RowTable, row: Mapping[str, str | None]) -> Sequence[str | None]:
        """Insert a row.

        Args:
            table: The table.
            row: The values of some columns as text.

        Returns:
            The stored row: the values of all columns as text.

        Raises:
            psycopg2.Error: The database rejects the row, or a trigger or rule discards it.
        """
        what = "DEFAULT VALUES"
        if row:
            columns = ", ".join(map(name_in_sql, row))
            what = f"({columns}) OVERRIDING SYSTEM VALUE VALUES ({', '.join(['%s'] * len(row))})"
        statement = f"INSERT INTO {table.sql} {what} RETURNING {table.texts}"
        for (stored,) in self.run(statement, [*row.values()]):
            return stored  # type: ignore[no-any-return]
        raise psycopg2.DataError("a trigger or rule discards the row")

    def cast(self, type_: str, texts: Iterable[str]) -> list[str | None]:
        """Return each text as a type prints it; None if the type does not accept the text."""
        texts = [*texts]
        known = self._casts[type_]
        new = [text for text in texts if text not in known]
        try:
            if new:
                known.update(zip(new, self._cast(type_, new), strict=True))
        except psycopg2.Error:
            for text in new:
                known[text] = None
                with suppress(psycopg2.Error):
                    (known[text],) = self._cast(type_, [text])
        return [known[text] for text in texts]

    def as_json(self, type_: str, text: str) -> str:
        """Return a value of a type as JSON."""
        ((printed,),) = self.run(f"SELECT to_jsonb(%s::{type_.replace('%', '%%')})::text", [text])
        return str(printed)

    def _cast(self, type_: str, texts: Sequence[str]) -> list[str | None]:
        casts = ", ".join([f"%s::{type_.replace('%', '%%')}::text"] * len(texts))
        ((printed,),) = self.run(f"SELECT ARRAY[{casts}]::text[]", texts)
        return printed  # type: ignore[no-any-return]

    def blamed(self, name: Name, error: psycopg2.Error) -> set[str]:
        """Return the columns of the rule that a rejected row violates; empty if unknown."""
        if error.diag.column_name:
            return {error.diag.column_name}
        # The table without a constraint: it has no partition for the row.
        violated = error.diag.constraint_name or error.diag.table_name
        return {
            column for rule in self.rules[name] if rule.name == violated for column in rule.columns
        }


def name_in_sql(name: str) -> str:
    """Quote a name for a statement in which `%` is doubled."""
    return quoted(name).replace("%", "%%")
