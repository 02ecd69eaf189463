"""What a server keeps for itself in the options of tables and columns: no part of a schema. Pure.

PostgreSQL reserves names that begin with `pg_`. A minor release may keep something under such a name in
`pg_attribute.attoptions` or `pg_class.reloptions`, with another value in every database, which no other
server accepts. The server's own pg_dump leaves it out; one of another version prints it. A later release
may do so under another name; that is left out, too, and named.
"""

import re
from collections.abc import Collection, Iterator

from postgres_database.sql.tokens import TOKEN, parentheses, split

OWN = "pg_"
"""How the names of such options begin."""
MAY_BE_KEPT = re.compile(rf"[(,]\s*{OWN}\w+=".encode())
"""Where a dump may have one; also what only looks like it."""
COLUMN_OPTIONS = ("n_distinct", "n_distinct_inherited")
"""Those that a user can set (PostgreSQL manual, ALTER TABLE, SET ( attribute_option ))."""
TABLE_OPTION = "^(autovacuum_|vacuum_|log_auto|(fillfactor|toast_tuple_target|parallel_workers|user_catalog_table)=)"
"""Those of tables whose access method is PostgreSQL's own, as a regular expression."""
# On every column of each table where it is, or on most tables: no user sets an option like that.
UNKNOWN = f"""
    SELECT name, sum(columns)::int, 'columns' FROM (
        SELECT a.attrelid, split_part(option, '=', 1) AS name, count(*) AS columns,
               (SELECT count(*) FROM pg_attribute x
                WHERE x.attrelid = a.attrelid AND x.attnum > 0 AND NOT x.attisdropped) AS of
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid, unnest(a.attoptions) AS option
        WHERE c.relkind IN ('r', 'p', 'f', 'm') AND c.oid >= 16384 AND a.attnum > 0 AND NOT a.attisdropped
        GROUP BY 1, 2
    ) AS found
    WHERE name NOT IN {COLUMN_OPTIONS} AND NOT starts_with(name, '{OWN}')
    GROUP BY name HAVING bool_and(columns = of) AND sum(columns) > 1
    UNION ALL
    SELECT split_part(option, '=', 1) AS name, count(*)::int, 'tables' FROM (
        SELECT c.reloptions, count(*) OVER () AS of FROM pg_class c JOIN pg_am m ON m.oid = c.relam
        WHERE c.relkind = 'r' AND c.oid >= 16384 AND m.amname = 'heap'
    ) AS found, unnest(reloptions) AS option
    WHERE option !~ '{TABLE_OPTION}' AND NOT starts_with(option, '{OWN}')
    GROUP BY name, of HAVING count(*) > 1 AND 2 * count(*) > of
    ORDER BY 1
"""  # noqa: S608 - of constants
KINDS = ("TABLE", "FOREIGN TABLE", "MATERIALIZED VIEW", "VIEW", "INDEX", "CONSTRAINT", "TYPE")
"""Objects whose statements may have options in SET (…) or WITH (…)."""
OPTION = re.compile(r"""\s*(?:toast\.)?"?(?P<name>[^"'=(){}]+?)"?\s*=(?!>)""")
"""Those of columns are printed as the catalog has them, without quotes."""


def named(name: str, count: int, what: str) -> str:
    """Say of a row of UNKNOWN what is left out."""
    return f"the option {name} of every one of {count} {what}, which a server keeps for itself"


def left_out(kind: str, body: str, unknown: Collection[str] = ()) -> str:
    """Return an object of a dump without the options that the server keeps for itself.

    Args:
        kind: The kind of the object, as the dump says it.
        body: Its text.
        unknown: Names of options that do not begin with `pg_`, and are kept all the same.
    """
    names = (OWN, *unknown)
    if kind not in KINDS or not any(name in body for name in names):
        return body
    pieces, cut = [], 0
    for statement, clause, start, stop in _lists(body):
        kept, own = [], False
        for piece in split(body[start:stop], ","):
            if option := OPTION.match(piece):  # else a value of the option before has a comma
                own = option["name"].startswith(OWN) or option["name"] in unknown
            kept += [] if own else [piece]
        if kept:
            pieces += [body[cut:start], ",".join(kept).strip()]
            cut = stop
        elif body.startswith("WITH", clause):
            pieces.append(body[cut:clause].rstrip())
            cut = stop + 1
        else:
            pieces.append(body[cut:statement])
            cut = body.index(";", stop) + 1
    return "".join([*pieces, body[cut:]])


def _lists(body: str) -> Iterator[tuple[int, int, int, int]]:
    """Yield of every list of options where its statement, its word and its inside begin, and where that ends."""
    statement = clause = depth = 0
    first = word = ""
    for token in TOKEN.finditer(body):
        mark = token["mark"] or ""
        listed = word == "WITH" or (first, word) == ("ALTER", "SET")
        if mark == "(" and depth == 0 and listed and (span := parentheses(body, token.start())):
            yield statement, clause, *span
        if mark == ";" and depth == 0:
            statement, first = token.end(), ""
        depth += (mark in ("(", "[")) - (mark in (")", "]"))
        word, clause = token["word"] or "", token.start()
        first = first or word
