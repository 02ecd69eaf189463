"""How large the tables of a target are, from its statistics: no row is read."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from postgres_database.preflight import row_checks
from postgres_database.proving.many_rows import Spread, Spreads
from postgres_database.server.connection import Database
from postgres_database.sql.names import Name

SIZES = """
    SELECT n.nspname, c.relname, c.reltuples, pg_total_relation_size(c.oid)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'm') AND pg_relation_size(c.oid) > 0
      AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
"""
# Of columns that the role may read; only numbers, no values of rows.
SPREADS = """
    SELECT schemaname, tablename, attname, null_frac, avg_width, n_distinct, abs(coalesce(correlation, 0)) > 0.9
    FROM pg_stats WHERE NOT inherited AND (schemaname, tablename) IN (SELECT * FROM unnest(%(schemas)s, %(names)s))
"""
MANY = 10_000
"""Rows from which on a scan or a rewrite is noticed by others."""
LARGE = 1_000_000
"""Bytes from which on a table counts as one with many rows, if its rows were never counted."""


class Size(NamedTuple):
    """The size of a table that is not empty."""

    rows: int
    """The planner's estimate; -1: there is none, because the table was never analyzed."""
    bytes: int = LARGE
    """With its indexes and large values."""

    @property
    def large(self) -> bool:
        """Whether others would notice that it is read from end to end."""
        return self.rows >= MANY or (self.rows < 0 and self.bytes >= LARGE)

    def __str__(self) -> str:
        """Return the size for people; empty if there is no estimate of the rows."""
        return f"about {self.rows:,} rows" if self.rows >= 0 else ""


UNKNOWN = Size(-1)
"""The size of a table of no particular target: it may be large."""
Sizes = Mapping[tuple[str, str], Size]
"""(schema, name) of each table of the target that is not empty."""


def read(database: Database) -> Sizes:
    """Return the sizes of the tables of a target that are not empty.

    Raises:
        ExpectedError: The query fails, such as by a lock timeout.
    """
    with row_checks.read_only_session(database) as session:
        found = session.ask(SIZES, {})
        return {
            (schema, name): Size(int(rows), int(bytes_)) for schema, name, rows, bytes_ in found
        }


def spreads(database: Database, tables: Iterable[Name]) -> Spreads:
    """Return what the statistics of a target say of the values of the columns of tables.

    Raises:
        ExpectedError: The query fails.
    """
    schemas, names = (list(each) for each in zip(*tables, strict=True))
    with row_checks.read_only_session(database) as session:
        found = session.ask(SPREADS, {"schemas": schemas, "names": names})
        return {(schema, name, column): Spread(*facts) for schema, name, column, *facts in found}
