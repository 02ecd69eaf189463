"""SQL text as tokens, whether or not it parses: quoted parts, brackets, words, comments. Pure."""

import re
from collections.abc import Iterator
from itertools import pairwise

# PostgreSQL manual, "Lexical Structure". Quoted text is matched first, so that nothing inside it is.
TOKEN = re.compile(
    r"""(?P<quoted>
            [eE]'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*' | "(?:[^"]|"")*"
          | (?P<dollar>\$(?:[^\W\d]\w*)?\$).*?(?P=dollar)
        )
      | (?P<word>[^\W\d][\w$]*)
      | (?P<comment>--[^\n]* | /\*(?>/\*.*?\*/|[^*/]+|\*(?!/)|/(?!\*))*+\*/)
      | (?P<mark>[()\[\],;])""",
    re.DOTALL | re.VERBOSE,
)
PART = re.compile(
    TOKEN.pattern + r"|(?P<space>\s+)|(?P<number>(?<![\w.$])\d+(?:\.\d+)?)", re.DOTALL | re.VERBOSE
)
VARCHAR = "::character varying"
JOINED = (" AND ", " OR ")
CLAUSES = {"SELECT", "WITH", "VALUES", "TABLE", "CASE", "BETWEEN"}
"""Keywords within which AND and OR are not operators of the whole expression in parentheses."""


def _marks(text: str, start: int = 0) -> Iterator[tuple[str, int, int]]:
    """Yield brackets and separators outside quotes: the mark, its position and the number of brackets around it."""
    depth = 0
    for token in TOKEN.finditer(text, start):
        mark = token["mark"]
        if mark is None:
            continue
        if mark in ")]":
            depth -= 1
        yield mark, token.start(), depth
        if mark in "([":
            depth += 1


def parentheses(text: str, start: int = 0) -> tuple[int, int] | None:
    """Return start and end of the text inside the first parentheses; None if there are none."""
    opened = None
    for mark, position, depth in _marks(text, start):
        if depth == 0 and mark == "(" and opened is None:
            opened = position + 1
        elif depth == 0 and mark == ")" and opened is not None:
            return opened, position
    return None


def split(text: str, separator: str) -> list[str]:
    """Split at a separator outside quotes and brackets; blank pieces are left out."""
    cuts = [
        -1,
        *(position for mark, position, depth in _marks(text) if mark == separator and depth == 0),
        len(text),
    ]
    pieces = [text[cut + 1 : next_cut] for cut, next_cut in pairwise(cuts)]
    return [piece for piece in pieces if piece.strip()]


def is_empty(sql: str) -> bool:
    """Tell whether SQL holds only comments and semicolons: psycopg2 rejects that as an empty query."""
    end = 0
    for token in TOKEN.finditer(sql):
        if sql[end : token.start()].strip() or not (token["comment"] or token["mark"] == ";"):
            return False
        end = token.end()
    return not sql[end:].strip()


def ended(sql: str) -> str:
    """Return SQL with a semicolon behind its last statement, so that other SQL can follow."""
    bare = TOKEN.sub(lambda token: "" if token["comment"] else token[0], sql).rstrip()
    if not bare or bare.endswith(";"):
        return sql
    text = sql.rstrip()
    return f"{text}\n;" if "--" in text.rpartition("\n")[2] else f"{text};"


def without_literals(sql: str) -> str:
    """Return SQL with each literal and comment replaced by "…"; of an unclosed literal nothing is kept."""

    def masked(part: re.Match[str]) -> str:
        is_text = part["quoted"] and not part[0].startswith('"')
        return "…" if is_text or part["comment"] or part["number"] else part[0]

    return re.sub(r"('|\$\w*\$).*", "…", PART.sub(masked, sql), flags=re.DOTALL)


def words(sql: str) -> Iterator[re.Match[str]]:
    """Yield the words outside quotes and brackets, as matches of TOKEN."""
    depth = 0
    for token in TOKEN.finditer(sql):
        mark = token["mark"] or ";"
        depth += (mark in "([") - (mark in ")]")
        if token["word"] and depth == 0:
            yield token


def without_redundant_groups(sql: str) -> str:
    """Return SQL without parentheses that only group AND within AND, or OR within OR.

    PostgreSQL stores and prints `a AND (b AND c)` as it was written, though it equals `a AND b AND c`.
    """
    if not any(word in sql for word in JOINED):
        return sql
    pieces, end = [], 0
    while inside := parentheses(sql, end):
        start, stop = inside
        pieces += [sql[end:start], without_redundant_groups(sql[start:stop]), ")"]
        end = stop + 1
    text = "".join([*pieces, sql[end:]])
    for joiner in JOINED:
        text = _ungrouped(text, joiner.strip())
    return text


def _ungrouped(sql: str, joiner: str) -> str:
    """Remove the parentheses around each operand of AND (or OR) that is itself a chain of the same operator."""
    if not (joints := [word for word in words(sql) if word[0] == joiner]):
        return sql
    starts = [0, *(word.end() for word in joints)]
    stops = [*(word.start() for word in joints), len(sql)]
    parts = (sql[start:stop] for start, stop in zip(starts, stops, strict=True))
    return joiner.join(_operand_ungrouped(part, joiner) for part in parts)


def _operand_ungrouped(part: str, joiner: str) -> str:
    text = part.strip()
    if not text.startswith("(") or parentheses(text) != (1, len(text) - 1):
        return part
    inner = {word[0] for word in words(text[1:-1])}
    if joiner not in inner or not inner.isdisjoint(CLAUSES):
        return part
    return part.replace(text, text[1:-1], 1)


def printed_unchanged(sql: str) -> str:
    """Return SQL from the server in a form from which the server makes an object that it prints as `sql` again.

    PostgreSQL prints the list of `varchar IN (...)` as `(ARRAY[...])::text[]`. When it reads that again, it casts
    each element instead, and prints this. A redundant cast of the array to `character varying[]` prevents it.
    """
    opened: list[int] = []
    casts = []
    for mark, position, _ in _marks(sql):
        if mark == "[":
            opened.append(position)
        elif mark == "]" and opened:
            start = opened.pop()
            listed = sql.endswith("(ARRAY", 0, start) and sql.startswith(")::text[]", position + 1)
            if listed and VARCHAR in sql[start:position]:
                casts.append(position + 1)
    for position in reversed(casts):
        sql = f"{sql[:position]}{VARCHAR}[]{sql[position:]}"
    return sql
