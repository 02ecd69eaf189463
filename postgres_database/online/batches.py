"""Where the next batches of a backfill end, and how many rows they have."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from postgres_database.online.keys import Key, Pages, Place

FIRST, LARGEST = 100, 50_000  # rows
AHEAD, FAR = 16, 2_000
"""Small batches whose ends are looked up at once, and the rows that these have at most."""
LEAST_SHARE, SHARE = 0.01, 0.1
"""The shares of its time limit for which a batch is sized: beside others, who notice many small ones less than a large
one, and when nobody else is at work; some rows take longer than others."""
TIMES = 2
"""How much longer a batch takes at least than what it takes besides its rows."""
SIMILAR = 0.75
"""The ratio of two sizes of which one will do for the other."""
MEASURED = 3
"""Batches after which the size is chosen anew: one may have waited for the processor or the disk."""


@dataclass
class Batches:
    """The batches of a table: ranges of its key, or of its pages."""

    key: Key | Pages
    table: str
    """For SQL."""
    limit: float
    """Seconds that a batch may take."""
    size: int = field(default_factory=lambda: FIRST)
    """Rows or pages that the next ones should have."""
    rows: int = 0
    """Rows or pages of those whose ends are known."""
    _ends: list[Sequence[str]] = field(default_factory=list)
    _took: list[tuple[float, float]] = field(default_factory=list)
    """The seconds that the last ones took for their rows, and besides."""

    def __post_init__(self) -> None:
        """Begin with one page: it may have any number of rows."""
        if isinstance(self.key, Pages):
            self.size = 1

    def is_known(self) -> bool:
        """Tell whether the end of the next batch is known."""
        return bool(self._ends) and SIMILAR * self.size <= self.rows <= self.size / SIMILAR

    def look_ahead(self, cursor: Any, place: Place) -> None:
        """Look up where the next batches after a place end."""
        many = max(min(AHEAD, FAR // self.size), 1)
        self.rows, self._ends = self.size, self.key.ends(cursor, self.table, self.size, many, place)

    @property
    def end(self) -> Place:
        """The end of the next batch; None if there are no more rows."""
        return self._ends[0] if self._ends else None

    def done(self, seconds: float, besides: float, *, waiting: bool, busy: bool) -> None:
        """Go on to the next batch, whose size follows the time that the last ones took.

        Args:
            seconds: What it took.
            besides: How many of these it took besides its rows, with deferred triggers.
            waiting: Whether another session waits for a lock of this one.
            busy: Whether others are at work.
        """
        self._ends.pop(0)
        most = self.limit * SHARE
        if waiting or seconds > 2 * most:
            self.halve()
            return
        self._took.append((seconds, besides))
        if len(self._took) < MEASURED:
            return
        seconds, besides = (median(each) for each in zip(*self._took, strict=True))
        wanted = min(max(self.limit * LEAST_SHARE, TIMES * besides), most) if busy else most
        factor = min(max(wanted / max(seconds, 0.0001), 0.5), 2.0)
        self._resize(round(self.size * factor))

    def halve(self) -> None:
        """Make the next batches smaller."""
        self._resize(self.size // 2)

    def _resize(self, size: int) -> None:
        self._took.clear()
        self.size = max(1, min(size, LARGEST))
