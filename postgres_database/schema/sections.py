"""The text of a dump as its objects. Pure."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from postgres_database.sql.names import IDENTIFIER, QUALIFIED
from postgres_database.sql.tokens import TOKEN, parentheses, split

REMEMBERED = 4
"""How many texts are kept that were taken apart: a command asks several things of each."""

# Before the header stand the settings that changed since the object before; a table has those then in force.
HEADER = re.compile(
    r"(?P<settings>(?:^SET default_(?:tablespace|table_access_method) = .*;\n+)*)"
    r"^--\n-- Name: (?P<name>.*); Type: (?P<kind>[^;\n]*); Schema: (?P<schema>.*); Owner: -"
    r"(?:; Tablespace: (?P<tablespace>.*))?\n--\n",
    re.MULTILINE,
)
TRAILER = "--\n-- PostgreSQL database dump complete\n"
CHILD = re.compile(
    rf"^CREATE (?:UNLOGGED )?TABLE (?P<name>{QUALIFIED}) \(.*^INHERITS \(",
    re.MULTILINE | re.DOTALL,
)
INHERITED = re.compile(rf"\s*NOT NULL (?P<column>{IDENTIFIER})\s*")


@dataclass(frozen=True)
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


@lru_cache(maxsize=REMEMBERED)
def split_dump(text: str) -> Sequence[Section]:
    """Split a dump into its objects; what looks like a header inside a quoted text is none."""
    return [
        Section(
            kind=header["kind"],
            schema=header["schema"],
            name=header["name"],
            tablespace=header["tablespace"] or "",
            settings=header["settings"],
            comment=header[0].removeprefix(header["settings"]),
            body=_not_null_after(text[header.end() : stop]),
        )
        for header, stop in _spans(text)
    ]


def rewritten(text: str, change: Callable[[str, str], str]) -> str:
    """Return a dump in which the body of every object is what `change` makes of its kind and body."""
    pieces, cut = [], 0
    for header, stop in _spans(text):
        pieces += [text[cut : header.end()], change(header["kind"], text[header.end() : stop])]
        cut = stop
    return "".join([*pieces, text[cut:]])


def _spans(text: str) -> Iterator[tuple[re.Match[str], int]]:
    """Yield the header of each object, and where the object ends."""
    headers: list[re.Match[str]] = []
    end = len(text)
    for token in TOKEN.finditer(text):
        if headers and token.start() < headers[-1].end():
            continue
        if token["comment"] == "--" or token["word"] == "SET":
            if header := HEADER.match(text, token.start()):
                headers.append(header)
            elif text.startswith(TRAILER, token.start()):
                end = token.start()
    return zip(headers, [*(header.start() for header in headers[1:]), end], strict=False)


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
