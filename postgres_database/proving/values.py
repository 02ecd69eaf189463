"""Literals that a type may accept: from the catalog, and from literals in constraints.

They are guesses: the caller tries them on the server.
"""

import json
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from functools import cache
from typing import Any

TYPES = """
    SELECT t.oid, CASE WHEN t.typtype = 'b' THEN t.typcategory ELSE t.typtype END, t.typname,
           coalesce(e.labels, '{}'), coalesce(i.types, '{}'), coalesce(d.checks, '')
    FROM pg_type t
    LEFT JOIN pg_range r ON t.oid IN (r.rngtypid, r.rngmultitypid)
    CROSS JOIN LATERAL (
        SELECT array_agg(enumlabel::text ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = t.oid
    ) AS e (labels)
    CROSS JOIN LATERAL (
        SELECT CASE
            WHEN t.typtype = 'd' THEN ARRAY[t.typbasetype]::int8[]
            WHEN t.typtype IN ('r', 'm') THEN ARRAY[r.rngsubtype]::int8[]
            WHEN t.typtype = 'b' AND t.typcategory = 'A' AND t.typelem <> 0 THEN ARRAY[t.typelem]::int8[]
            WHEN t.typtype = 'c' THEN (
                SELECT array_agg(atttypid::int8 ORDER BY attnum) FROM pg_attribute
                WHERE attrelid = t.typrelid AND attnum > 0 AND NOT attisdropped
            )
        END
    ) AS i (types)
    CROSS JOIN LATERAL (
        SELECT string_agg(pg_get_constraintdef(oid), ' ' ORDER BY conname)
        FROM pg_constraint WHERE contypid = t.oid
    ) AS d (checks)
"""
"""OID, kind, name, labels of an enum, types inside the type, constraints of a domain."""

# By the name of the type, or by its category (PostgreSQL manual, "pg_type", typcategory Codes).
VALUES: dict[str, tuple[str, ...]] = {
    "N": ("1", "2", "3", "0", "0.5", "0.25", "0.125", "-1", "10", "100", "1000", "2000"),
    "S": ("1", "2", "3", "a", "b", "aa", "aaa", "A", "AA", "AAA", "a@example.org", "https://example.org"),
    "B": ("true", "false"),
    "D": tuple(f"20{n:02}-02-03 {n % 24:02}:05:06+00" for n in (1, 2, 3, 0, 99)),
    "T": ("1 year 2 days", "2 years 3 days", "3 years 4 hours", "1 hour", "1 day"),
    "I": ("192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1"),
    "V": ("1", "0", "10", "11", "01"),
    "G": (
        *("(1,2)", "(3,4)", "(5,6)", "((1,2),(3,4))", "((1,2),(5,6))", "((3,4),(7,8))"),
        *("<(1,2),3>", "<(1,2),4>", "<(1,2),5>", "{1,2,3}", "{1,2,4}", "{1,2,5}"),
    ),
    "uuid": tuple(f"00000000-0000-4000-8000-00000000000{n}" for n in (1, 2, 3)),
    "regclass": ("pg_class", "pg_type", "pg_proc"),
    "json": ('{"a": 1}', '{"b": [2]}', "{}", '["a"]', "1"),
    "jsonb": ('{"a": 1}', '{"b": [2]}', "{}", '["a"]', "1"),
    "others": (
        *("<a/>", "<b/>", "08:00:2b:01:02:03", "08:00:2b:01:02:04", "08:00:2b:01:02:05"),
        *("0/1", "0/2", "0/3", "1:1:", "1:2:", "a=>1", "b=>2", "c=>3", "[1,2,3]", "POINT(1 2)"),
        *("POINT(3 4)", "LINESTRING(0 0,1 1)", "POLYGON((0 0,1 0,1 1,0 0))"),
        "MULTIPOLYGON(((0 0,1 0,1 1,0 0)))",
    ),
}  # fmt: skip
ANY = tuple(dict.fromkeys(value for values in VALUES.values() for value in values))

HINTS = 100
"""Most literals of a text that are used: a table may have a thousand partitions."""
LONGEST = 2000
"""Most repetitions in a text for a regular expression."""
QUOTED = re.compile(r"'((?:[^']|'')*)'")
NUMBER = re.compile(r'(?<![\w."])-?\d+(?:\.\d+)?')

# A group and an atom of a regular expression, and the least number of their repetitions.
TIMES = r"(?:\{(\d+)[\d,]*\}|[+*?])?"
GROUP = re.compile(rf"(?<!\\)\((?:\?:)?([^()]*)\){TIMES}")
PIECE = re.compile(rf"(\[\^?\]?(?:\[:\w+:\]|\\.|[^\]])*\]|\\.|.){TIMES}")
POSIX = {"digit": "0-9", "upper": "A-Z", "lower": "a-z", "xdigit": "0-9a-f", "space": r"\s"}
CHARACTERS = "abcdABCD0123-_.@+/#: "
SAMPLES = 3


def literals(types: Mapping[int, Sequence[Any]], oid: int, hints: str) -> list[str]:
    """Return texts that may be values of a type, the likeliest first.

    Args:
        types: The rows of TYPES by OID, without the OID.
        oid: The type.
        hints: SQL of constraints and defaults, whose literals are tried, too.
    """
    kind, name, labels, inner, checks = types[oid]
    hints = f"{hints} {checks}"
    if kind == "e":
        return [*labels]
    if inner:
        parts = [literals(types, part, hints) for part in inner]
        return parts[0] if kind == "d" else [*_joined(kind, parts)]
    words, numbers = _hinted(hints)
    lengths = [int(number) for number in numbers if re.fullmatch(r"\d{1,4}", number)]
    known = VALUES.get(name) or VALUES.get(kind, ANY)
    if kind == "S":
        return [*words, *known, *("a" * length for length in lengths)]
    keys = [word for word in words if name in {"json", "jsonb"} and word.isidentifier()]
    objects = [json.dumps(dict.fromkeys(keys, n)) for n in (1, 2, 3) if keys]
    objects += [json.dumps({key: 1}) for key in keys[1:] and keys]
    vectors = [json.dumps([1] * length) for length in lengths if known is ANY]
    return [*objects, *words, *numbers, *vectors, *known]


def _joined(kind: str, parts: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield values of an array, a range or a composite type from values of its elements, bounds or attributes."""
    items = [[_item(text) for text in part] for part in parts if part]
    for place in range(max(map(len, items), default=0)):
        row = [part[place % len(part)] for part in items]
        match kind:
            case "c":
                yield f"({','.join(row)})"
            case "r":
                yield f"[{row[0]},{row[0]}]"
            case "m":
                yield f"{{[{row[0]},{row[0]}]}}"
            case _:
                yield f"{{{row[0]}}}"
    if kind == "A":
        yield "{}"


def _item(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@cache
def _hinted(sql: str) -> tuple[Sequence[str], Sequence[str]]:
    """Return texts from SQL (its string literals, and matches of patterns in them) and its numbers, each also ± 1."""
    quotes = [text.replace("''", "'") for text in QUOTED.findall(sql)[:HINTS]]
    words = [word for text in quotes for word in (*_samples(text), text)]
    bare = NUMBER.findall(QUOTED.sub("", sql))[:HINTS]
    numbers = [
        str(Decimal(number) + step)
        for number in [*bare, *filter(NUMBER.fullmatch, quotes)]
        for step in (1, 0, -1)
    ]
    return [*dict.fromkeys(words)], [*dict.fromkeys(numbers)]


def _samples(pattern: str) -> Iterator[str]:
    """Yield texts that may match, if the text is a regular expression or a LIKE pattern."""
    if not re.search(r"[][%_.^$*+?|\\]", pattern):
        return
    for place in range(SAMPLES):
        text = pattern
        while group := GROUP.search(text):
            inside = _branch(group[1], place) * min(int(group[2] or 1), LONGEST)
            text = text[: group.start()] + inside + text[group.end() :]
        pieces = PIECE.findall(_branch(text, place))
        yield "".join(_character(piece, place) * min(int(n or 1), LONGEST) for piece, n in pieces)
    yield pattern.replace("%", "").replace("_", "a")


def _branch(pattern: str, place: int) -> str:
    branches = pattern.split("|")
    return branches[place % len(branches)]


def _character(piece: str, place: int) -> str:
    """Return a character that a piece of a regular expression matches; nothing for an anchor."""
    if piece[0] not in "[\\":
        return "a" if piece == "." else piece.strip("^$()")
    python = re.sub(r"\[:(\w+):\]", lambda match: POSIX.get(match[1], "a-zA-Z0-9"), piece)
    fits: list[str] = []
    with warnings.catch_warnings(action="ignore"), suppress(re.error):
        fits = [character for character in CHARACTERS if re.fullmatch(python, character)]
    return fits[place % len(fits)] if fits else ""
