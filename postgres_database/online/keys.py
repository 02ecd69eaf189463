"""The unique key, or the pages, that divide a table into batches, as SQL in which no name needs the search path."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# The best unique index whose columns are NOT NULL: the primary key, else the one with the fewest columns. Keys are
# compared by the operators of its operator classes, with their schemas. Of a domain, the base type is used: stored
# values need not satisfy its constraints once more.
QUERY = """
    SELECT array_agg(quote_ident(a.attname) ORDER BY k.place), array_agg(t.name ORDER BY k.place),
           json_agg(o.operators ORDER BY k.place)
    FROM pg_index i
    CROSS JOIN unnest(i.indkey::int2[]) WITH ORDINALITY AS k (number, place)
    LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number
    LEFT JOIN LATERAL (
        WITH RECURSIVE below (oid, of) AS (
            SELECT a.atttypid, 0::oid
            UNION ALL
            SELECT d.typbasetype, d.oid FROM below JOIN pg_type d ON d.oid = below.oid AND d.typtype = 'd'
        )
        SELECT format('%%I.%%I', n.nspname, b.typname)
        FROM below JOIN pg_type b ON b.oid = below.oid AND b.typtype <> 'd'
        JOIN pg_namespace n ON n.oid = b.typnamespace
    ) AS t (name) ON true
    CROSS JOIN LATERAL (
        SELECT json_object_agg(p.amopstrategy, format('OPERATOR(%%I.%%s)', n.nspname, o.oprname))
        FROM pg_opclass c
        JOIN pg_amop p ON p.amopfamily = c.opcfamily AND (p.amoplefttype, p.amoprighttype) = (c.opcintype, c.opcintype)
        JOIN pg_operator o ON o.oid = p.amopopr
        JOIN pg_namespace n ON n.oid = o.oprnamespace
        WHERE c.oid = i.indclass[(k.place - 1)::int]
    ) AS o (operators)
    WHERE i.indrelid = %s AND i.indisunique AND i.indimmediate AND i.indpred IS NULL AND k.place <= i.indnkeyatts
      AND (i.indisvalid OR i.indisprimary)
    GROUP BY i.indexrelid, i.indisprimary, i.indnkeyatts
    HAVING bool_and(coalesce(a.attnotnull, false))
    ORDER BY i.indisprimary DESC, i.indnkeyatts, i.indexrelid LIMIT 1
"""
# The most pages of any table among the table, its partitions and children. NULL if ctid ranges do not work for one of
# them: before PostgreSQL 14 (TID Range Scan), or if its access method is not heap.
PAGES = """
    WITH RECURSIVE parts (oid) AS (
        SELECT %s::oid UNION SELECT i.inhrelid FROM parts JOIN pg_inherits i ON i.inhparent = parts.oid
    )
    SELECT CASE WHEN bool_and(c.relkind = 'p' OR m.amname = 'heap')
                     AND current_setting('server_version_num')::int >= 140000
           THEN coalesce(max(CASE c.relkind WHEN 'r' THEN pg_relation_size(c.oid) END), 0)
                / current_setting('block_size')::int END
    FROM parts JOIN pg_class c ON c.oid = parts.oid LEFT JOIN pg_am m ON m.oid = c.relam
"""
BELOW, UPTO, FROM, ABOVE = "1", "2", "4", "5"
"""<, <=, >=, > as numbers of B-tree strategies (PostgreSQL manual, "Index Method Strategies")."""
NUMBER = "postgres_database_number"
Place = Sequence[str] | None
"""How far a backfill has come: the last key, its values as texts, or the next page; None before the first row."""


@dataclass(frozen=True)
class Key:
    """A unique key that divides a table into batches; a row of QUERY."""

    columns: Sequence[str]
    """Names, for SQL."""
    types: Sequence[str]
    """Names with schemas, for SQL."""
    operators: Sequence[Mapping[str, str]]
    """For each column: strategy number → operator with its schema."""

    @property
    def texts(self) -> str:
        """SQL for the values as an array of texts; by concat, because a user may define a cast to text."""
        return f"ARRAY[{', '.join(f'pg_catalog.concat({column})' for column in self.columns)}]"

    def ordered(self, strategy: str) -> str:
        """Return the ORDER BY list: BELOW is ascending, ABOVE descending."""
        pairs = zip(self.columns, self.operators, strict=True)
        return ", ".join(f"{column} USING {operators[strategy]}" for column, operators in pairs)

    def compared(self, strategy: str, literals: Sequence[str]) -> str:
        """Return the condition that the key of a row is greater than some values (ABOVE), or not greater (UPTO).

        Rows can be compared as a whole only if all columns have the same operator. Otherwise the condition is spelled
        out column by column, and an index scan can use the first column alone.
        """
        values = [f"{text}::{type_}" for text, type_ in zip(literals, self.types, strict=True)]
        if len({each[strategy] for each in self.operators}) == 1:
            operator = self.operators[0][strategy]
            return f"({', '.join(self.columns)}) {operator} ({', '.join(values)})"
        column, value, own = self.columns[0], values[0], self.operators[0]
        rest = Key(self.columns[1:], self.types[1:], self.operators[1:])
        beyond, bound = (own[BELOW], own[UPTO]) if strategy == UPTO else (own[ABOVE], own[FROM])
        after = rest.compared(strategy, literals[1:])
        return f"({column} {bound} {value} AND ({column} {beyond} {value} OR {after}))"

    def bounds(self, cursor: Any, place: Place, upper: Place) -> list[str]:
        """Return the conditions for the rows after `place`, up to and including `upper`; None is no limit."""
        upto = [self.compared(UPTO, _literals(cursor, upper))] if upper else []
        return [*upto, *([self.compared(ABOVE, _literals(cursor, place))] if place else [])]

    def ends(
        self, cursor: Any, table: str, size: int, many: int, place: Place
    ) -> list[Sequence[str]]:
        """Return the keys of the last rows of the next batches, which have `size` rows each, or of the last row of all.

        Args:
            cursor: Where rows are read.
            table: For SQL.
            size: Rows of a batch.
            many: At most so many batches.
            place: Where the first one begins.

        Returns:
            Nothing if there are no more rows.
        """
        where = "".join(f" WHERE {each}" for each in self.bounds(cursor, place, None))
        up, down = self.ordered(BELOW), self.ordered(ABOVE)
        columns = (
            f"{', '.join(self.columns)}, pg_catalog.row_number() OVER (ORDER BY {up}) AS {NUMBER}"
        )
        rows = f"(SELECT {columns} FROM {table}{where} ORDER BY {up} LIMIT {size * many})"  # noqa: S608
        ends = f"{rows} AS rows WHERE pg_catalog.mod({NUMBER}, {size}) OPERATOR(pg_catalog.=) 0 ORDER BY {NUMBER}"
        for found in (ends, f"{table}{where} ORDER BY {down} LIMIT 1"):
            cursor.execute(f"SELECT {self.texts} FROM {found}")  # noqa: S608 - names are quoted
            if keys := cursor.fetchall():
                return [[*key] for (key,) in keys]
        return []

    def row(self, cursor: Any, table: str, place: Place) -> str:
        """Return the query of the first row after `place`, without values."""
        where = "".join(f" WHERE {each}" for each in self.bounds(cursor, place, None))
        return f"SELECT FROM {table}{where} ORDER BY {self.ordered(BELOW)} LIMIT 1"


def _literals(cursor: Any, place: Sequence[str]) -> list[str]:
    return [cursor.mogrify("%s", (text,)).decode() for text in place]


@dataclass(frozen=True)
class Pages:
    """The pages that divide a table without a unique key into batches; a place is the number of the next page.

    An UPDATE moves the row, perhaps to another page (PostgreSQL manual, "System Columns", ctid). So updated rows can
    be recognised only by their values, and rows that moved to earlier pages are updated in another pass.
    """

    end: int
    """The number of pages when the pass began."""
    columns: Sequence[str] = ("ctid",)
    types: Sequence[str] = ("pg_catalog.tid",)

    def bounds(self, _cursor: Any, place: Place, upper: Place) -> list[str]:
        """Return the conditions for the rows from page `place` on, before page `upper`; None is no limit."""
        sides = ((">=", place), ("<", upper))
        return [
            f"ctid OPERATOR(pg_catalog.{operator}) '({int(page[0])},0)'::pg_catalog.tid"
            for operator, page in sides
            if page
        ]

    def ends(
        self, _cursor: Any, _table: str, size: int, _many: int, place: Place
    ) -> list[Sequence[str]]:
        """Return the page after the next `size` pages; nothing at the end."""
        begin = int(place[0]) if place else 0
        return [[str(min(begin + size, self.end))]] if begin < self.end else []

    def row(self, cursor: Any, table: str, place: Place) -> str:
        """Return the query of a row from page `place` on, without values."""
        where = "".join(f" WHERE {each}" for each in self.bounds(cursor, place, None))
        return f"SELECT FROM {table}{where} LIMIT 1"
