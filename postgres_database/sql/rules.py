"""From the text of a constraint, an index or a column to what it asks of rows. Pure: no database.

PostgreSQL manual, ALTER TABLE, CREATE INDEX. Names and expressions stay as they stand in the statement.
"""

import re
from dataclasses import dataclass
from textwrap import shorten

from postgres_database.sql.grammar import NAME
from postgres_database.sql.names import IDENTIFIER
from postgres_database.sql.tokens import cut, outline, parentheses, split

FILLED = re.compile(rf"({IDENTIFIER}) IS NOT NULL", re.IGNORECASE)
BELIEVED = re.compile(r"\bNOT (?:VALID|ENFORCED)\b")
CONSTRAINTS = (
    "NOT", "NULL", "DEFAULT", "PRIMARY", "UNIQUE", "CHECK", "REFERENCES", "COLLATE", "GENERATED", "CONSTRAINT",
    "STORAGE", "COMPRESSION",
)  # fmt: skip
"""What may follow the type of a column."""
SERIAL = re.compile(r"(?:small|big)?serial[248]?", re.IGNORECASE)
SHOWN = 80  # characters of an expression


@dataclass(frozen=True)
class NotNull:
    """Every row has a value."""

    column: str

    def said(self) -> tuple[str, str]:
        """Return what is wrong with a row, and with several."""
        return f"has no value in {self.column}", f"have no value in {self.column}"


@dataclass(frozen=True)
class Check:
    """An expression is not false."""

    expression: str
    inherited: bool = True

    def said(self) -> tuple[str, str]:
        """Return what is wrong with a row, and with several."""
        text = f"CHECK ({shorten(self.expression, SHOWN, placeholder=' …')})"
        return f"breaks {text}", f"break {text}"


@dataclass(frozen=True)
class Unique:
    """No two rows are equal."""

    elements: tuple[str, ...]
    where: str = ""
    nulls_equal: bool = False
    unless: str = ""
    """An index that, if it is there, makes the statement do nothing."""

    def said(self) -> tuple[str, str]:
        """Return what is wrong with a row, and with several."""
        where = f" WHERE {shorten(self.where, SHOWN, placeholder=' …')}" if self.where else ""
        text = f"equal in ({', '.join(self.elements)}){where}"
        return f"is {text}", f"are {text}"


@dataclass(frozen=True)
class ForeignKey:
    """What a row points to is there."""

    columns: tuple[str, ...]
    table: str
    others: tuple[str, ...] = ()
    """Columns there; none for the primary key."""
    full: bool = False

    def said(self) -> tuple[str, str]:
        """Return what is wrong with a row, and with several."""
        text = f"to nothing in {self.table} by ({', '.join(self.columns)})"
        return f"points {text}", f"point {text}"


@dataclass(frozen=True)
class Cast:
    """Values become another type."""

    column: str
    type: str
    using: str = ""

    def said(self) -> tuple[str, str]:
        """Return what is wrong with a row, and with several."""
        text = f"a value in {self.column} that does not become {self.type}"
        return f"holds {text}", f"hold {text}"


@dataclass(frozen=True)
class NoRows:
    """There is no row, because a new column is to have a value and gets none."""

    column: str
    type: str

    def said(self) -> tuple[str, str]:
        """Return what is wrong with a row, and with several."""
        text = f"no value for the new column {self.column}, which is NOT NULL without a default"
        return f"has {text}", f"have {text}"


@dataclass(frozen=True)
class Stored:
    """A constraint that is there, and not validated, holds."""

    name: str


KINDS = {
    NotNull: "NOT NULL",
    Check: "CHECK",
    Unique: "UNIQUE",
    ForeignKey: "FOREIGN KEY",
    Cast: "TYPE",
    NoRows: "NOT NULL",
}
"""What people call a rule."""
Rule = NotNull | Check | Unique | ForeignKey | Cast | NoRows


def believed(definition: str) -> bool:
    """Tell whether a constraint asks nothing of the rows that are there."""
    return BELIEVED.search(outline(definition)) is not None


def constraint(definition: str) -> list[Rule]:
    """Return what a constraint asks of rows, once it is validated.

    Args:
        definition: Without its name, such as `CHECK (a > 0) NOT VALID`.
    """
    words = outline(definition)
    if column := re.match(rf"NOT NULL ({IDENTIFIER})", definition, re.IGNORECASE):
        return [NotNull(column[1])]
    inside = parentheses(definition)
    if inside is None or "USING INDEX" in words:
        return []
    content, rest = definition[slice(*inside)], definition[inside[1] + 1 :]
    names = columns(content)
    found: list[Rule] = []
    match words.split()[0]:
        case "CHECK" if "NO INHERIT" not in words and (same := FILLED.fullmatch(content)):
            found = [NotNull(same[1])]
        case "CHECK":
            found = [Check(content, inherited="NO INHERIT" not in words)]
        case "UNIQUE" if not overlaps(content):
            found = [Unique(names, nulls_equal="NULLS NOT DISTINCT" in words)]
        case "PRIMARY" if not overlaps(content):
            found = [*map(NotNull, names), Unique(names)]
        case "FOREIGN" if not overlaps(content):
            found = _foreign_key(names, rest)
    return found


def overlaps(content: str) -> bool:
    """Tell whether columns are compared in another way than by equality."""
    return re.search(r"\b(?:WITHOUT OVERLAPS|PERIOD)\b", outline(content)) is not None


def columns(content: str) -> tuple[str, ...]:
    """Return the columns of a list."""
    return tuple(name.strip() for name in split(content, ","))


def _foreign_key(names: tuple[str, ...], rest: str) -> list[Rule]:
    target = re.match(rf" ?REFERENCES (?:ONLY )?({NAME}) ?", rest, re.IGNORECASE)
    if target is None:
        return []
    others: tuple[str, ...] = ()
    if rest.startswith("(", target.end()) and (inside := parentheses(rest, target.end())):
        others = columns(rest[slice(*inside)])
    return [ForeignKey(names, target[1], others, full="MATCH FULL" in outline(rest))]


def index(content: str, rest: str, unless: str = "") -> Unique:
    """Return what a unique index asks of rows.

    Args:
        content: What stands in its first parentheses.
        rest: What stands after them.
        unless: The name of an index that makes the statement do nothing.
    """
    options, where = cut(rest, "WHERE")
    nulls_equal = "NULLS NOT DISTINCT" in outline(options)
    return Unique(tuple(map(_element, split(content, ","))), where, nulls_equal, unless)


def _element(text: str) -> str:
    """Return an element of an index without what only concerns its order."""
    text = text.strip()
    start = 0 if text.startswith("(") else re.match(NAME, text).end()  # type: ignore[union-attr]
    inside = parentheses(text) if text[start:].lstrip().startswith("(") else None
    end = inside[1] + 1 if inside else start
    collation = re.match(rf" ?COLLATE {NAME}", text[end:], re.IGNORECASE)
    return text[:end] + (collation[0] if collation else "")


def cast(column: str, rest: str) -> Cast:
    """Return what ALTER COLUMN … TYPE asks of rows.

    Args:
        column: The column.
        rest: What stands after TYPE.
    """
    type_, using = cut(rest, "USING")
    return Cast(column, cut(type_, "COLLATE")[0], using)


def new_column(name: str, definition: str) -> list[Rule]:
    """Return what a new column asks of rows."""
    type_, _ = cut(definition, *CONSTRAINTS)
    needed = re.search(r"\b(?:NOT NULL|PRIMARY KEY)\b", outline(definition))
    return [NoRows(name, type_)] if needed and not is_filled(definition) else []


def is_filled(definition: str) -> bool:
    """Tell whether a new column gets values by itself."""
    filled = re.search(r"\b(?:DEFAULT|GENERATED)\b", outline(definition))
    return filled is not None or SERIAL.match(definition) is not None
