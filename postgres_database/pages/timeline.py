"""Which tables from before the scripts are locked by which statements, until when: the places in a picture; pure.

A picture has a column for each statement and a row for each table. A bar begins at the statement that takes the lock
and ends with its transaction (PostgreSQL manual, "Explicit Locking"). Many statements of a script are several pictures,
each with the tables that it is about, so that it can be read on paper, too.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import groupby

from postgres_database.pages.texts import fitted
from postgres_database.preflight import preview
from postgres_database.proving.effects import BLOCKING
from postgres_database.reviewing.sizes import Sizes
from postgres_database.reviewing.statements import STORED, Lock, Measured, Relation

READS = "AccessShareLock"
SHORT = {
    READS: "AS",
    "RowShareLock": "RS",
    "RowExclusiveLock": "RE",
    "ShareUpdateExclusiveLock": "SUE",
    "ShareLock": "S",
    "ShareRowExclusiveLock": "SRE",
    "ExclusiveLock": "E",
    "AccessExclusiveLock": "AE",
}
"""All lock modes, from the weakest to the strongest, with what stands for each in a bar without room for its name."""
MODES = (*SHORT,)
ASIDE = ("index", "type")
"""Kinds of relations that are not shown: whoever waits for them waits for their table."""
COLUMNS = 16  # of a picture
COLUMN, ROW, NAMES, TOP = 58, 46, 152, 62  # pixels
PAPER = 720  # pixels of a printed line: what is wider is made smaller
LETTER = 6.7  # pixels
MARGIN = 3  # between a bar and the edge of its columns
LETTERS = 18  # of a name


def blocks(mode: str) -> str:
    """Return in words what others cannot do while a lock is held."""
    if mode not in BLOCKING:
        return "nothing"
    return "reads and writes" if mode == BLOCKING[-1] else "writes"


@dataclass(frozen=True)
class Bar:
    """A lock on the table of a row."""

    row: int
    first: int
    last: int
    """The columns from which to which it is held."""
    mode: str
    relation: Relation

    @property
    def blocks(self) -> str:
        """What others cannot do, in words."""
        return blocks(self.mode)

    @property
    def look(self) -> str:
        """The class of its look: `nothing`, `writes` or `all`."""
        return "all" if "reads" in self.blocks else self.blocks

    @property
    def x(self) -> int:
        """The left edge."""
        return self.first * COLUMN + MARGIN

    @property
    def width(self) -> int:
        """The width."""
        return (self.last - self.first + 1) * COLUMN - 2 * MARGIN

    @property
    def height(self) -> int:
        """The height: what blocks more is thicker, so that no color is needed to see it."""
        return {"nothing": 16, "writes": 20, "all": 26}[self.look]

    @property
    def y(self) -> int:
        """The upper edge."""
        return TOP + self.row * ROW + 16 - self.height // 2

    @property
    def label(self) -> str:
        """The mode, in as many words as there is room for."""
        name = self.mode.removesuffix("Lock")
        whole = f"{name}, blocks {self.blocks}"
        said = (each for each in (whole, name) if len(each) * LETTER < self.width - 6)
        return next(said, SHORT[self.mode])


@dataclass(frozen=True)
class Mark:
    """A table is rewritten, or read from end to end, by the statement of a column."""

    row: int
    column: int
    what: str
    """`rewrite` or `scan`."""

    @property
    def x(self) -> int:
        """The middle."""
        return self.column * COLUMN + COLUMN // 2

    @property
    def y(self) -> int:
        """The upper edge."""
        return TOP + self.row * ROW + 30


@dataclass(frozen=True)
class Band:
    """The columns of a transaction."""

    first: int
    last: int
    alone: bool
    """Whether a statement is all of it."""

    @property
    def x(self) -> int:
        """The left edge."""
        return self.first * COLUMN

    @property
    def width(self) -> int:
        """The width."""
        return (self.last - self.first + 1) * COLUMN

    @property
    def label(self) -> str:
        """What it is; nothing where there is room only for a statement of several."""
        return "alone" if self.alone else "one transaction" if self.last > self.first else ""


@dataclass(frozen=True)
class Column:
    """A statement: its number, and the first words of it."""

    number: int
    words: tuple[str, ...]
    sql: str


@dataclass(frozen=True)
class Picture:
    """Some statements of a script, and the tables that they lock."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Relation, str], ...]
    """The tables, each with its size in words."""
    bars: tuple[Bar, ...]
    marks: tuple[Mark, ...]
    bands: tuple[Band, ...]

    @property
    def width(self) -> int:
        """The width without the names of the tables."""
        return len(self.columns) * COLUMN

    @property
    def height(self) -> int:
        """The height."""
        return TOP + len(self.rows) * ROW

    @property
    def span(self) -> str:
        """The numbers of its statements, in words."""
        first, last = self.columns[0].number, self.columns[-1].number
        return f"statement {first}" if first == last else f"statements {first} to {last}"


def pictures(
    statements: Sequence[Measured], sizes: Sizes | None = None, first: int = 1
) -> list[Picture]:
    """Return the pictures of the statements of a script, in order; one without rows locks nothing from before.

    Args:
        statements: Of one script.
        sizes: The tables of the target with rows; None: there is no target.
        first: The number of the first statement.
    """
    transactions = Counter(measured.transaction for measured in statements)
    alone = {number for number, count in transactions.items() if count == 1}
    return [
        _picture(statements[start : start + COLUMNS], sizes, first + start, alone)
        for start in range(0, len(statements), COLUMNS)
    ]


def used(found: Sequence[Picture]) -> list[str]:
    """Return the lock modes in pictures, the strongest first."""
    there = {bar.mode for picture in found for bar in picture.bars}
    return [mode for mode in reversed(MODES) if mode in there]


def _picture(
    statements: Sequence[Measured], sizes: Sizes | None, first: int, alone: AbstractSet[int]
) -> Picture:
    held = [_strongest(measured.held) for measured in statements]
    marks = [_marks(measured) for measured in statements]
    relations = dict.fromkeys(
        relation
        for modes, marked in zip(held, marks, strict=True)
        for relation in sorted(modes.keys() | marked.keys())
        if relation in marked or _counts(relation, modes[relation])
    )
    rows = {relation: row for row, relation in enumerate(relations)}
    return Picture(
        tuple(_column(number, each.sql) for number, each in enumerate(statements, first)),
        tuple((relation, _size(relation, sizes)) for relation in relations),
        tuple(_bars(statements, held, rows)),
        tuple(
            Mark(rows[relation], column, what)
            for column, marked in enumerate(marks)
            for relation, what in marked.items()
        ),
        tuple(_bands(statements, alone)),
    )


def _strongest(locks: Sequence[Lock]) -> dict[Relation, str]:
    """Return the strongest mode on each relation, but for those that are only read."""
    stronger = [each for each in locks if each.mode != READS]
    by_mode = sorted(stronger, key=lambda each: MODES.index(each.mode))
    return {lock.relation: lock.mode for lock in by_mode}


def _counts(relation: Relation, mode: str) -> bool:
    if relation.kind == "sequence":
        return mode in BLOCKING
    return relation.kind not in ASIDE


def _marks(measured: Measured) -> dict[Relation, str]:
    """Return the tables that a statement reads from end to end, or rewrites, which reads them, too."""
    scanned = dict.fromkeys(measured.scanned, "scan")
    return scanned | dict.fromkeys(measured.rewritten, "rewrite")


def _size(relation: Relation, sizes: Sizes | None) -> str:
    if sizes is None or relation.kind not in STORED:
        return ""
    size = sizes.get(relation.place)
    return str(size) if size else "empty"


def _column(number: int, sql: str) -> Column:
    said = preview.shown(sql)
    words = tuple(fitted(word, 8) for word in said.split()[:2] if word.isupper() and word.isalpha())
    return Column(number, words, said)


def _bars(
    statements: Sequence[Measured], held: Sequence[dict[Relation, str]], rows: dict[Relation, int]
) -> Iterator[Bar]:
    """Yield a bar for as long as a table has the same strongest lock in one transaction."""
    for relation, row in rows.items():
        states = [
            (column, measured.transaction, modes.get(relation, ""))
            for column, (measured, modes) in enumerate(zip(statements, held, strict=True))
        ]
        for (_, mode), same in groupby(states, key=lambda each: each[1:]):
            columns = [column for column, *_ in same]
            if mode:
                yield Bar(row, columns[0], columns[-1], mode, relation)


def _bands(statements: Sequence[Measured], alone: AbstractSet[int]) -> Iterator[Band]:
    columns = enumerate(statements)
    for transaction, same in groupby(columns, key=lambda each: each[1].transaction):
        numbers = [column for column, _ in same]
        yield Band(numbers[0], numbers[-1], transaction in alone)
