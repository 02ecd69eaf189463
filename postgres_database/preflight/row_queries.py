# ruff: noqa: S608 - the queries are made of names and of the statements that are to be run anyway
"""A rule → the query for the rows that violate it. Pure: no database.

A query returns the keys of those rows in columns k1, k2, …. It contains expressions of the scripts unchanged, so its
table has no alias. It runs with the search path of the scripts, so all other names in it are qualified.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import shorten

from postgres_database.sql.names import literal
from postgres_database.sql.rules import Cast, Check, ForeignKey, NotNull, Rule, Unique

LISTED = 5  # keys of rows
WIDTH = 60  # characters of a key
RESULT = "postgres_database.rows"
"""The setting in which the block CASTS stores its result: a DO block returns nothing."""
CAST_RESULT = f"SELECT pg_catalog.current_setting('{RESULT}')::pg_catalog.jsonb"
# Each value is assigned to a variable of the new type: the same assignment cast as in ALTER TABLE (PostgreSQL manual,
# PL/pgSQL, "Assignment"). Errors of classes 22 and 23 and RAISE are about the value; any other ends the block.
CASTS = """
#variable_conflict use_column
DECLARE
    row_ pg_catalog.record;
    count_ pg_catalog.int8 := 0;
    keys_ pg_catalog.jsonb := '[]';
BEGIN
    FOR row_ IN SELECT {keys}, {value} AS value_ FROM {table} AS source_ LOOP
        BEGIN
            DECLARE
                new_ {type} := {expression};
            BEGIN
                NULL;
            END;
        EXCEPTION WHEN OTHERS THEN
            IF pg_catalog.left(SQLSTATE, 2) OPERATOR(pg_catalog.<>) ALL ('{{22,23,P0}}'::pg_catalog.text[]) THEN
                RAISE;
            END IF;
            count_ := count_ OPERATOR(pg_catalog.+) 1;
            IF count_ OPERATOR(pg_catalog.<=) {listed} THEN
                keys_ := keys_ OPERATOR(pg_catalog.||) pg_catalog.jsonb_build_array(ARRAY[{texts}]);
            END IF;
        END;
    END LOOP;
    PERFORM pg_catalog.set_config(
        '{result}', pg_catalog.jsonb_build_object('count', count_, 'keys', keys_)::pg_catalog.text, true
    );
END
"""
BEGIN = "SET TRANSACTION READ ONLY; SET LOCAL lock_timeout = '5s'; SET LOCAL row_security = off"
"""With row_security off, a policy that would hide rows is an error: hidden rows do not count as missing."""
TABLE = """
    SELECT c.oid, format('%%I.%%I', n.nspname, c.relname), quote_ident(c.relname), c.relkind,
           coalesce(best.key, CASE WHEN c.relhassubclass THEN '{tableoid::regclass,ctid}' ELSE '{ctid}' END::text[]),
           coalesce(best.indisprimary, false)
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN LATERAL (
        SELECT i.indisprimary, array_agg(quote_ident(a.attname) ORDER BY k.n) AS key
        FROM pg_index i
        CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, n)
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
        WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
          AND k.n <= i.indnkeyatts
        GROUP BY i.indexrelid, i.indisprimary
        HAVING bool_and(a.attnotnull)
        ORDER BY i.indisprimary DESC, count(*), i.indexrelid
        LIMIT 1
    ) best ON true
    WHERE c.relkind = ANY (%(kinds)s) AND {which}
    ORDER BY 2
"""
NAMED = TABLE.replace("{which}", "c.oid = %(oid)s")
ANYWHERE = TABLE.replace("{which}", "c.relname = %(name)s AND NOT c.relispartition")
COLUMNS_OF_DOMAIN = """
    WITH RECURSIVE domains (oid) AS (
        SELECT %(oid)s::oid
        UNION ALL
        SELECT t.oid FROM pg_type t JOIN domains d ON t.typbasetype = d.oid
    )
    SELECT format('%%I.%%I', n.nspname, c.relname), quote_ident(a.attname)
    FROM domains d
    JOIN pg_attribute a ON a.atttypid = d.oid AND NOT a.attisdropped
    JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'm')
    JOIN pg_namespace n ON n.oid = c.relnamespace
    ORDER BY 1, 2
"""
# A write to one table may change rows of another through inheritance, cascading foreign keys, triggers, rules, views
# and functions that write.
UNCERTAIN = """
    WITH RECURSIVE reached (oid) AS (
        SELECT unnest(%(written)s::oid[])
        UNION
        SELECT other FROM reached r CROSS JOIN LATERAL (
            SELECT inhparent FROM pg_inherits WHERE inhrelid = r.oid
            UNION ALL
            SELECT inhrelid FROM pg_inherits WHERE inhparent = r.oid
            UNION ALL
            SELECT conrelid FROM pg_constraint
            WHERE confrelid = r.oid AND contype = 'f'
              AND (confdeltype IN ('c', 'n', 'd') OR confupdtype IN ('c', 'n', 'd'))
        ) AS next (other)
    )
    SELECT EXISTS (SELECT FROM reached WHERE oid = ANY (%(tables)s::oid[]))
        OR EXISTS (SELECT FROM reached JOIN pg_class USING (oid) WHERE relkind = 'v')
        OR EXISTS (SELECT FROM reached JOIN pg_trigger ON tgrelid = reached.oid
                   WHERE NOT tgisinternal AND tgenabled <> 'D')
        OR EXISTS (SELECT FROM reached JOIN pg_rewrite ON ev_class = reached.oid WHERE ev_type <> '1')
        OR EXISTS (SELECT FROM pg_proc WHERE proname = ANY (%(calls)s) AND provolatile = 'v'
                   AND pronamespace <> 'pg_catalog'::regnamespace)
"""
COLUMN = """
    SELECT format_type(a.atttypid, a.atttypmod), format_type(%(type)s::oid, NULL)
    FROM pg_attribute a
    WHERE a.attrelid = %(table)s AND a.attname = %(column)s AND NOT a.attisdropped
"""
HAS_DEFAULT = (
    "SELECT EXISTS (SELECT FROM pg_type WHERE oid = %(type)s::oid AND typdefault IS NOT NULL)"
)
DEFINITION = """
    SELECT oid FROM pg_constraint
    WHERE CASE WHEN %(domain)s THEN contypid ELSE conrelid END = %(oid)s AND conname = %(name)s AND NOT convalidated
"""
PRINTED = "SELECT pg_catalog.pg_get_constraintdef(%(oid)s::pg_catalog.oid)"
"""Run with the search path of scripts: names are qualified only where that requires it."""


@dataclass(frozen=True)
class Rows:
    """A table of the target."""

    oid: int
    name: str
    """Qualified, for SQL."""
    bare: str
    """Without the schema, for SQL."""
    kind: str
    """pg_class.relkind."""
    key: tuple[str, ...]
    """Columns that identify a row, for SQL; without a unique key its ctid, with tableoid if tables inherit from it."""
    is_primary: bool = False
    """Whether that is the primary key."""

    @property
    def numbers(self) -> str:
        """The names of the columns that a query returns: k1, k2, …."""
        return ", ".join(f"k{n}" for n, _ in enumerate(self.key, 1))

    def keys(self, source: str = "") -> str:
        """Return the select list of a query for rows; `source` is an alias of the table."""
        dot = source and f"{source}."
        return ", ".join(f"{dot}{column} AS k{n}" for n, column in enumerate(self.key, 1))

    def alone(self) -> str:
        """Return the FROM item for a rule that children do not inherit; partitions do."""
        return f"{'ONLY ' if self.kind == 'r' else ''}{self.name}"


def violating(rule: Rule, table: Rows, other: Rows | None, *, only: bool) -> str:
    """Return the query for the rows that violate a rule; for Cast see `casts`.

    Args:
        rule: The rule.
        table: Whose rows.
        other: The referenced table of a foreign key.
        only: Leave out rows of tables that inherit from the table.
    """
    where = ""
    match rule:
        case NotNull(column, inherited):  # IS NULL would also be true of a composite value of NULLs
            only, where = only or not inherited, f"{column} IS NOT DISTINCT FROM NULL"
        case Check(expression, inherited):
            only, where = only or not inherited, f"NOT ({expression})"
        case Unique():
            return _duplicates(rule, table)
        case ForeignKey() if other:
            return _without_referenced_row(rule, table, other)
    source = f"{'ONLY ' if only else ''}{table.name}"
    return f"SELECT {table.keys()} FROM {source}{_where([where] if where else [])}"


def _duplicates(rule: Unique, table: Rows) -> str:
    elements = ", ".join(rule.elements)
    where = [f"({rule.where})"] if rule.where else []
    if not rule.nulls_equal:
        where += [f"({element}) IS DISTINCT FROM NULL" for element in rule.elements]
    numbered = f"SELECT {table.keys()}, pg_catalog.count(*) OVER (PARTITION BY {elements}) AS n_ FROM {table.alone()}"
    return f"SELECT {table.numbers} FROM ({numbered}{_where(where)}) AS numbered WHERE n_ OPERATOR(pg_catalog.>) 1"


def _without_referenced_row(rule: ForeignKey, table: Rows, other: Rows) -> str:
    pairs = zip(rule.columns, rule.referenced or other.key, strict=True)
    same = " AND ".join(f"there_.{there} = here_.{here}" for here, there in pairs)
    missing = f"NOT EXISTS (SELECT FROM {other.alone()} AS there_ WHERE {same})"
    columns = ", ".join(f"here_.{column}" for column in rule.columns)
    counted = f"pg_catalog.num_nulls({columns}) OPERATOR(pg_catalog.{{}})"
    where = f"{counted.format('=')} 0 AND {missing}"
    if rule.full:
        where = (
            f"{counted.format('<')} {len(rule.columns)} AND ({counted.format('>')} 0 OR {missing})"
        )
    return f"SELECT {table.keys('here_')} FROM {table.alone()} AS here_ WHERE {where}"


def _where(conditions: Sequence[str]) -> str:
    return f" WHERE {' AND '.join(conditions)}" if conditions else ""


def of_domain(expression: str, table: Rows, column: str) -> str:
    """Return the query for the rows of a table that violate the CHECK of a domain, the type of a column."""
    rows = f"SELECT {table.keys()}, {column} AS value FROM ONLY {table.name}"
    return f"SELECT {table.numbers} FROM ({rows}) AS rows_ WHERE NOT ({expression})"


def casts(rule: Cast, table: Rows, *, only: bool) -> str:
    """Return the PL/pgSQL block that casts every value and stores count and keys of the failures in RESULT."""
    whole = f"(SELECT {rule.using} FROM (SELECT (row_.value_).*) AS {table.bare})"
    block: str = CASTS.format(
        keys=table.keys("source_"),
        value="source_" if rule.using else f"source_.{rule.column}",
        table=f"{'ONLY ' if only else ''}{table.name}",
        type=rule.type,
        expression=whole if rule.using else "row_.value_",
        listed=LISTED + 1,
        texts=", ".join(f"row_.k{n}::pg_catalog.text" for n, _ in enumerate(table.key, 1)),
        result=RESULT,
    )
    return block


def cast_statement(block: str) -> str:
    """Return the statement that runs a block of `casts`; the query CAST_RESULT then returns its result."""
    return f"DO {literal(block)}"


def listed(query: str, table: Rows) -> str:
    """Return the query for the keys of some of the rows that a query finds."""
    texts = ", ".join(f"{number}::pg_catalog.text" for number in table.numbers.split(", "))
    return (
        f"SELECT ARRAY[{texts}] FROM ({query}) AS broken_ ORDER BY {table.numbers} LIMIT {LISTED}"
    )


def counted(query: str) -> str:
    """Return the query that counts the rows that a query finds."""
    return f"SELECT pg_catalog.count(*) FROM ({query}) AS broken_"


def count_values(table: Rows, column: str) -> str:
    """Return the query that counts rows, or those that have a value in a column."""
    return f"SELECT pg_catalog.count({column or '*'}) FROM {table.name}"


def shown(table: Rows, count: int, found: Sequence[Sequence[str]]) -> str:
    """Return the keys of rows for a message, shortened: `id = 1, 2, …`.

    Args:
        table: Whose rows.
        count: How many rows there are.
        found: Keys of some of them.
    """
    keys = [[shorten(str(part), WIDTH, placeholder="…") for part in key] for key in found[:LISTED]]
    names = ", ".join(table.key)
    if len(table.key) > 1:
        names = f"({names})"
        texts = [f"({', '.join(key)})" for key in keys]
    else:
        texts = [key[0] for key in keys]
    return f"{names} = {', '.join(texts)}" + (", …" if count > LISTED else "")
