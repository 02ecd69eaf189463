"""The text of a dump as its objects. Pure."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from postgres_database.sql.names import IDENTIFIER, QUALIFIED, identifier
from postgres_database.sql.tokens import TOKEN, parentheses, split

REMEMBERED = 4
"""How many texts are kept that were taken apart: a command asks several things of each."""

KEPT_CHUNKS = 100_000
"""How many objects of dumps are kept: most are the same in the next dump, and are looked at once."""

# Before the header stand the settings that changed since the object before; a table has those then in force.
HEADER = re.compile(
    r"--\n-- Name: (?P<name>.*); Type: (?P<kind>[^;\n]*); Schema: (?P<schema>.*); Owner: -"
    r"(?:; Tablespace: (?P<tablespace>.*))?\n--\n"
)
SETTING = "SET default_"
SETTINGS = re.compile(
    r"(?:^SET default_(?:tablespace|table_access_method) = .*;\n+)+\Z", re.MULTILINE
)
AFTER_DATA = frozenset((
    "ACL", "CHECK CONSTRAINT", "CONSTRAINT", "DEFAULT ACL", "EVENT TRIGGER", "FK CONSTRAINT", "INDEX", "INDEX ATTACH",
    "POLICY", "PUBLICATION", "PUBLICATION TABLE", "PUBLICATION TABLES IN SCHEMA", "ROW SECURITY", "RULE", "STATISTICS",
    "TRIGGER",
))  # fmt: skip
"""Kinds of objects that a dump has after the rows: keys are checked and triggers run from then on."""
OPEN = re.compile(r"""['"]|/\*|\$(?!\d)""")
"""What is left of quoted text and comments that do not end, once all tokens are taken away."""
PART = re.compile(
    r"^--\n-- (?:Data for )?Name: .*; Type: (?P<kind>[^;\n]*); Schema: .*; Owner: -.*\n--\n",
    re.MULTILINE,
)
"""How a part begins of a dump that has rows."""
RESETTABLE = {
    "search_path": "''",
    "standard_conforming_strings": "on",
    "check_function_bodies": "false",
    "xmloption": "content",
    "row_security": "off",
}
SET_BY_OBJECTS = ("default_tablespace", "default_table_access_method")
TOLERANT = "SCHEMA IF NOT EXISTS"
TRAILER = "--\n-- PostgreSQL database dump complete\n"
CHILD = re.compile(
    rf"^CREATE (?:UNLOGGED )?TABLE (?P<name>{QUALIFIED}) \(.*^INHERITS \(",
    re.MULTILINE | re.DOTALL,
)
INHERITED = re.compile(rf"\s*NOT NULL (?P<column>{IDENTIFIER})\s*")


@dataclass(frozen=True, slots=True)
class Section:
    """An object of a dump."""

    kind: str
    schema: str
    name: str
    tablespace: str
    settings: str
    """The settings that change before it, as statements."""
    comment: str
    """Its header."""
    body: str

    def __str__(self) -> str:
        """Name the object for people."""
        place = "" if self.schema in ("-", "public") else f"{self.schema}."
        return f"{self.kind} {place}{self.name}"

    @property
    def text(self) -> str:
        """The object as it stands in the dump."""
        return self.settings + self.comment + self.body


def each_object(text: str) -> Iterator[Section]:
    """Split a dump into its objects; what looks like a header inside a quoted text is none."""
    for start, header, stop in _spans(text):
        yield Section(
            kind=header["kind"],
            schema=header["schema"],
            name=header["name"],
            tablespace=header["tablespace"] or "",
            settings=text[start : header.start()],
            comment=header[0],
            body=_not_null_after(text[header.end() : stop]),
        )


@lru_cache(maxsize=REMEMBERED)
def split_dump(text: str) -> Sequence[Section]:
    """Return all objects of a dump, several things of which are asked."""
    return [*each_object(text)]


def around_rows(text: str) -> tuple[str, str]:
    """Return the objects of a dump that come before its rows, and those that come after them."""
    found = split_dump(text)
    kinds = [each.kind for each in found]
    at = next((number for number, kind in enumerate(kinds) if kind in AFTER_DATA), len(kinds))
    return "".join(each.text for each in found[:at]), "".join(each.text for each in found[at:])


def frame() -> tuple[str, str]:
    """Return the statements that a dump needs before its objects, and those that leave no setting of them behind."""
    before = "".join(f"SET {name} = {value};\n" for name, value in RESETTABLE.items())
    after = "".join(f"RESET {name};\n" for name in (*RESETTABLE, *SET_BY_OBJECTS))
    return before, after


def tolerant(kind: str, body: str, schema: str) -> str:
    """Let the schema of the version table be made only if it is missing: whoever stamps may have made it before.

    pg_dump itself never says so; it is no object of a snapshot.
    """
    made = f"CREATE SCHEMA {identifier(schema)};"
    return (
        body.replace(made, made.replace("SCHEMA", TOLERANT, 1))
        if kind == "SCHEMA" and schema
        else body
    )


def parts_with_rows(text: str) -> list[tuple[str, str]]:
    """Return the kind and the text of each part of a dump that has rows."""
    text = text.partition(TRAILER)[0]
    found = [*PART.finditer(text)]
    ends = [*(match.start() for match in found[1:]), len(text)]
    return [(each["kind"], text[each.start() : end]) for each, end in zip(found, ends, strict=True)]


def rewritten(text: str, change: Callable[[str, str], str]) -> str:
    """Return a dump in which the body of every object is what `change` makes of its kind and body."""
    pieces, cut = [], 0
    for _, header, stop in _spans(text):
        pieces += [text[cut : header.end()], change(header["kind"], text[header.end() : stop])]
        cut = stop
    return "".join([*pieces, text[cut:]])


Span = tuple[int, re.Match[str], int]
"""Where an object begins, with its settings, its header, and where it ends."""


def _spans(text: str) -> Iterator[Span]:
    """Yield the objects of a dump."""
    headers = [header for header in HEADER.finditer(text) if _begins_line(text, header.start())]
    end = text.rfind(TRAILER)
    while end > 0 and not _begins_line(text, end):
        end = text.rfind(TRAILER, 0, end)
    end = len(text) if end < 0 else end
    cuts = [0, *(header.end() for header in headers)]
    starts = [
        _with_settings(text, cut, header.start())
        for cut, header in zip(cuts, headers, strict=False)
    ]
    stops = [*starts[1:], end] if headers else []
    # If no quoted text goes on behind an object, no header and no end is inside of one.
    if all(map(_is_closed, _between(text, headers, end))):
        yield from zip(starts, headers, stops, strict=True)
    else:
        yield from _spans_by_token(text)


def _between(text: str, headers: Sequence[re.Match[str]], end: int) -> Iterator[str]:
    """Yield the text before, between and after headers, and what follows the end."""
    cut = 0
    for header in headers:
        yield text[cut : header.start()]
        cut = header.end()
    yield text[cut:end]


def _begins_line(text: str, place: int) -> bool:
    return place == 0 or text[place - 1] == "\n"


def _with_settings(text: str, cut: int, start: int) -> int:
    """Return where the settings before a header begin."""
    if text.find(SETTING, cut, start) < 0:
        return start
    settings = SETTINGS.search(text, cut, start)
    return settings.start() if settings else start


@lru_cache(maxsize=KEPT_CHUNKS)
def _is_closed(text: str) -> bool:
    """Tell whether every quoted text and comment ends in it."""
    return not OPEN.search(TOKEN.sub(" ", text))


def _spans_by_token(text: str) -> Iterator[Span]:
    """Yield the objects of a dump, of which some hold what looks like a header."""
    found: list[tuple[int, re.Match[str]]] = []
    end, begun = len(text), -1
    for token in TOKEN.finditer(text):
        if found and token.start() < found[-1][1].end():
            continue
        if token["comment"] == "--":
            if header := HEADER.match(text, token.start()):
                cut = found[-1][1].end() if found else 0
                found.append((_with_settings(text, max(cut, begun), header.start()), header))
            elif text.startswith(TRAILER, token.start()):
                end = token.start()
        elif token["quoted"] and "\n" in token[0]:
            begun = token.end()  # settings are lines, but not inside of it
    stops = [*(start for start, _ in found[1:]), end] if found else []
    yield from ((*each, stop) for each, stop in zip(found, stops, strict=True))


def _not_null_after(body: str) -> str:
    """Make inherited columns NOT NULL after CREATE TABLE: inside it only PostgreSQL 18 can.

    pg_dump writes for servers of its own version (PostgreSQL manual, pg_dump, Notes).
    """
    if "\nINHERITS (" not in body:
        return body
    table, span = CHILD.search(body), parentheses(body)
    if table is None or span is None:
        return body
    elements = split(body[slice(*span)], ",")
    kept = [each for each in elements if not INHERITED.fullmatch(each)]
    if len(kept) == len(elements):
        return body
    after = [
        f"ALTER TABLE {table['name']} ALTER COLUMN {match['column']} SET NOT NULL;\n"
        for match in map(INHERITED.fullmatch, elements)
        if match
    ]
    inside = ",".join(kept).rstrip()
    return "".join([body[: span[0]], inside, "\n", body[span[1] :], *after, "\n"])


def names_role(text: str, role: str) -> bool:
    """Tell whether grants or policies of a dump name a role."""
    name = identifier(role)
    granted = re.compile(rf"(?:\b(?:TO|FROM|ROLE|AUTHORIZATION)|,) {re.escape(name)}(?=[\s,;])")
    return any(
        granted.search(section.body)
        for section in split_dump(text)
        if section.kind in {"ACL", "DEFAULT ACL", "POLICY"}
    )
