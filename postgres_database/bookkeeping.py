"""What a server keeps for itself in the options of tables and columns: no part of a schema. Pure.

PostgreSQL reserves names that begin with `pg_`. A minor release may keep something under such a name in
`pg_attribute.attoptions` or `pg_class.reloptions`, with another value in every database, which no other
server accepts. The server's own pg_dump leaves it out; one of another version prints it.
"""

import re
from collections.abc import Iterator

from postgres_database.tokens import TOKEN, parentheses, split

OWN = "pg_"
"""How the names of such options begin."""
KINDS = ("TABLE", "FOREIGN TABLE", "MATERIALIZED VIEW", "VIEW", "INDEX", "CONSTRAINT", "TYPE")
"""Objects whose statements may have options in SET (…) or WITH (…)."""
OPTION = re.compile(r"""\s*(?:toast\.)?"?(?P<name>[^"'=(){}]+?)"?\s*=(?!>)""")
"""Those of columns are printed as the catalog has them, without quotes."""


def left_out(kind: str, body: str) -> str:
    """Return an object of a dump without the options that the server keeps for itself."""
    if kind not in KINDS or OWN not in body:
        return body
    pieces, cut = [], 0
    for statement, clause, start, stop in _lists(body):
        kept, own = [], False
        for piece in split(body[start:stop], ","):
            if option := OPTION.match(piece):  # else a value of the option before has a comma
                own = option["name"].startswith(OWN)
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
