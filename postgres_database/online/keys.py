"""By which key, or by which pages, rows are gone through, in SQL in which no name depends on the search path."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# A key is found, ordered and compared as its index does: by the operators of that, whatever the search path finds. The
# type is the one below a domain, whose rules are not asked for a value that is there already.
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
# Of the table and all its partitions and children; NULL where one is no heap of PostgreSQL's own.
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
Place = Sequence[str] | None
"""Where a backfill is: the values of a key as texts, or a page; None before the first row."""


@dataclass(frozen=True)
class Key:
    """A unique index, whose columns a table is gone through by; no name in its SQL depends on the search path."""

    columns: Sequence[str]
    """For SQL."""
    types: Sequence[str]
    """With their schemas."""
    operators: Sequence[Mapping[str, str]]
    """Of each column, by their number (PostgreSQL manual, "Index Method Strategies", B-tree)."""

    @property
    def texts(self) -> str:
        """The values as an array of texts, as the types print them: a cast to text may be anybody's."""
        return f"ARRAY[{', '.join(f'pg_catalog.concat({column})' for column in self.columns)}]"

    def ordered(self, strategy: str) -> str:
        """Return what stands after ORDER BY."""
        pairs = zip(self.columns, self.operators, strict=True)
        return ", ".join(f"{column} USING {operators[strategy]}" for column, operators in pairs)

    def compared(self, strategy: str, literals: Sequence[str]) -> str:
        """Return the condition that a key is above others, or not above them.

        Where the columns have not all the same operators, a row cannot be compared as one: then it is the first
        column that an index is searched by.
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
        """Return the conditions for what is after a place and not after another; None is before the first."""
        upto = [self.compared(UPTO, _literals(cursor, upper))] if upper else []
        return [*upto, *([self.compared(ABOVE, _literals(cursor, place))] if place else [])]

    def upper(self, cursor: Any, table: str, size: int, place: Place) -> Place:
        """Return the key of the last of the next rows; None at the end."""
        where = "".join(f" WHERE {each}" for each in self.bounds(cursor, place, None))
        query = f"SELECT {self.texts} FROM {table}{where} ORDER BY"  # noqa: S608 - names are quoted
        up, down = self.ordered(BELOW), self.ordered(ABOVE)
        for order in (f"{up} OFFSET {size - 1} LIMIT 1", f"{down} LIMIT 1"):
            cursor.execute(f"{query} {order}")
            for (key,) in cursor.fetchall():
                return [*key]
        return None


def _literals(cursor: Any, place: Sequence[str]) -> list[str]:
    return [cursor.mogrify("%s", (text,)).decode() for text in place]


@dataclass(frozen=True)
class Pages:
    """The pages of a table without a key; a place is the number of a page.

    A row that is changed gets another place (PostgreSQL manual, "System Columns", ctid): which rows are done, their
    values must tell. What goes to a page that was passed is found when the table is gone through once more.
    """

    end: int
    """How many there were when the table began to be gone through."""
    columns: Sequence[str] = ("ctid",)
    types: Sequence[str] = ("pg_catalog.tid",)

    def bounds(self, _cursor: Any, place: Place, upper: Place) -> list[str]:
        """Return the conditions for what is on a page or after it, and before another."""
        sides = ((">=", place), ("<", upper))
        return [
            f"ctid OPERATOR(pg_catalog.{operator}) '({int(page[0])},0)'::pg_catalog.tid"
            for operator, page in sides
            if page
        ]

    def upper(self, _cursor: Any, _table: str, size: int, place: Place) -> Place:
        """Return the page after the next ones; None at the end."""
        begin = int(place[0]) if place else 0
        return [str(min(begin + size, self.end))] if begin < self.end else None
