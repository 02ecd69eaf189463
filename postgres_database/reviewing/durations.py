"""How long statements would take on a target: measured on a scratch database with rows of two sizes, and extrapolated.

The scratch database gets rows as the statistics of the target describe them, and runs the scripts without the settings
by which a rehearsal forbids scans. Its server need not be as fast as the target's, so a result is a range.
"""

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import psycopg2
from psycopg2.extensions import TRANSACTION_STATUS_IDLE
from psycopg2.extensions import cursor as PlainCursor  # noqa: N812 - a class

from postgres_database.errors import ExpectedError
from postgres_database.history import script_errors, staged
from postgres_database.history.graph import Revision
from postgres_database.history.project import Project
from postgres_database.online import pace, steps
from postgres_database.preflight import preview
from postgres_database.proving import many_rows
from postgres_database.proving.many_rows import Filled, Filling, Spreads
from postgres_database.proving.way_back import Following
from postgres_database.reviewing import sizes
from postgres_database.reviewing.settings import give
from postgres_database.reviewing.sizes import Size, Sizes
from postgres_database.reviewing.statements import Estimate, Measured, Rehearsal, Relation
from postgres_database.running import context, runner
from postgres_database.running.log import Entry
from postgres_database.scratch.databases import Scratch
from postgres_database.server.connection import Database
from postgres_database.sql.names import Name
from postgres_database.sql.syntax import statements

SAMPLES = (20_000, 80_000)  # rows of all tables together
HEAVIEST = 48 << 20  # bytes of them
SLOW = 2.0  # seconds of the scripts with few rows, from which on they are not run with many
LIMIT = 10  # seconds after which they are ended there
ALL = 0.9  # the share of the rows from which on a statement counts as one that changes all

SHORTEST = 0.03
"""Seconds below which a time says little: what does not grow with the rows counts as much."""

RECORD = Path(".postgres", "estimates.json")
"""Where they are kept, from the root of the project, to be compared with what the log of a target says afterwards."""
Ranges = Mapping[str, tuple[float, float]]
"""Digest of a script → the least and the most seconds that it was estimated to take."""

Key = tuple[str, int, int, str]
"""A statement of a script: revision, lines, text without values. One that is run several times is one."""


class Point(NamedTuple):
    """A statement that was run with made-up rows."""

    seconds: float
    changed: int
    """Rows that it says to have changed."""
    times: int


@dataclass
class Run:
    """The scripts with rows of one size."""

    filled: Mapping[Name, Filled] = field(default_factory=dict)
    points: dict[Key, Point] = field(default_factory=dict)
    failure: str = ""
    """Why it did not come to its end."""

    seconds: float = 0.0
    """How long it took, with what is between the statements."""


def estimated(  # noqa: PLR0913, PLR0917 - what is run, where, and what is known of the target
    project: Project,
    session: Scratch,
    copies: tuple[Database, Database],
    plan: Sequence[Revision],
    found: Rehearsal,
    there: Sizes,
    target: Database,
    given: Mapping[str, str],
) -> Rehearsal:
    """Add to statements how long they would take on a target: to those whose cost grows with the rows of large tables.

    Args:
        project: Has the scripts.
        session: Creates scratch databases.
        copies: Scratch databases like the target, before the scripts and after them.
        plan: The scripts.
        found: What their statements did.
        there: The sizes of the tables of the target.
        target: Only read: the statistics of its columns.
        given: Its settings.
    """
    growing = {number: _large(each, there) for number, each in enumerate(found.statements)}
    tables = {relation: size for large in growing.values() for relation, size in large.items()}
    usable = {Name(*each.place): size for each, size in tables.items() if not _unknown(each, size)}
    if not tables:
        return found
    few = many = Run(failure="the rows of its tables are not known")
    if usable:
        spreads = sizes.spreads(target, usable)
        timing = _Timing(project, session, copies, plan, usable, spreads, given)
        few, many = timing.runs()
    marked = (
        replace(each, estimate=_estimate(each, growing[number], few, many))
        if growing[number]
        else each
        for number, each in enumerate(found.statements)
    )
    return replace(found, statements=tuple(marked))


def _large(measured: Measured, there: Sizes) -> dict[Relation, Size]:
    """Return the large tables that a statement reads, rewrites or changes, the largest last."""
    relations = {*measured.rewritten, *measured.scanned, *measured.changed}
    known = {each: there[each.place] for each in relations if each.place in there}
    large = [(size.bytes, each) for each, size in known.items() if size.large]
    return {each: known[each] for _, each in sorted(large)}


def _unknown(relation: Relation, size: Size) -> str:
    """Say why nothing can be said of a table; empty if something can."""
    if size.rows < 0:
        return f"{relation} was never analyzed, so its rows are not known"
    return "" if relation.kind == "table" else f"{relation} is no table that can be filled"


@dataclass(frozen=True)
class _Timing:
    """Runs scripts on copies with many rows."""

    project: Project
    session: Scratch
    copies: tuple[Database, Database]
    plan: Sequence[Revision]
    tables: Mapping[Name, Size]
    spreads: Spreads
    given: Mapping[str, str]

    def runs(self) -> tuple[Run, Run]:
        """Run the scripts with few rows and with many; if these take too long, with few only."""
        few, alike = self._run(SAMPLES[0]), False
        if few.failure:  # constraints may refuse what was made up
            again = self._run(SAMPLES[0], alike=True)
            few, alike = (again, True) if len(again.points) > len(few.points) else (few, False)
        enough = (
            all(few.filled[name].rows >= size.rows for name, size in self.tables.items())
            if few.filled
            else True
        )
        if few.failure or enough or few.seconds > SLOW:
            return few, few
        many = self._run(SAMPLES[1], alike=alike)
        return few, few if many.failure else many

    def _wanted(self, sample: int) -> Mapping[Name, int]:
        """Return how many rows each table gets: all by the same factor, but not too few."""
        rows = sum(size.rows for size in self.tables.values())
        weight = sum(size.bytes for size in self.tables.values())
        factor = min(1, sample / rows, sample / SAMPLES[-1] * HEAVIEST / weight)
        least = sample // (4 * len(self.tables))
        return {
            name: min(size.rows, max(math.ceil(size.rows * factor), least))
            for name, size in self.tables.items()
        }

    def _run(self, sample: int, *, alike: bool = False) -> Run:
        run, before, (copy, goal) = Run(), Following(self.plan), self.copies
        database = self.session.clone(copy)
        try:
            filling = Filling(self._wanted(sample), self.spreads, alike)
            run.filled = many_rows.fill(database, goal, filling)
        except psycopg2.Error as error:
            run.failure = f"rows could not be made up: {_first(database.words(error))}"
            return run
        give(database, {**self.given, "statement_timeout": f"{LIMIT}s"})
        started = time.perf_counter()
        attributes = {"points": run.points, "following": before, "end": started + LIMIT}
        cursors = type("Timed", (_Timed, database.cursor or PlainCursor), attributes)
        with runner.open_runner(self.project, replace(database, cursor=cursors)) as on:
            context.of(on.connection).rests = False
            try:
                on.run("upgrade", self.plan, before)
            except ExpectedError as error:
                run.failure = f"revision {before.revision.id} does not end on many made-up rows: {_first(error.cause)}"
        run.seconds = time.perf_counter() - started
        self.session.drop(database.dsn.database)
        return run


def _first(text: str) -> str:
    return text.partition("\n")[0]


class _Timed(PlainCursor):
    """Runs the statements of scripts, and takes their time."""

    points: dict[Key, Point]
    following: Following
    end: float

    def execute(self, query: Any, vars: Any = None) -> None:  # noqa: A002 - psycopg2's name
        """Run SQL; see `cursor.execute` of psycopg2."""
        revision = self.following.revision
        lines = script_errors.running_lines(revision.path)
        pieces = statements(self.mogrify(query, vars).decode()) if lines else []
        if len(pieces) > 1 and not self._alone:
            for piece in pieces:
                text = _text(piece, safely=steps.ONLINE.get())
                self._timed((revision.id, lines[0], lines[-1], text), piece, None)
        elif pieces:
            text = _text("; ".join(pieces), safely=steps.ONLINE.get())
            self._timed((revision.id, lines[0], lines[-1], text), query, vars)
        else:
            super().execute(query, vars)

    @property
    def _alone(self) -> bool:
        """Whether all of it is one transaction."""
        idle = self.connection.info.transaction_status == TRANSACTION_STATUS_IDLE
        return bool(self.connection.autocommit and idle)

    def _timed(self, key: Key, query: Any, values: Any) -> None:
        started = time.perf_counter()
        if started > self.end:
            self.points.pop(key, None)  # it is not done
            raise ExpectedError("ended", cause=f"it takes more than {LIMIT} s there")
        super().execute(query, values)
        seconds = time.perf_counter() - started
        before = self.points.get(key, Point(0, 0, 0))
        changed = before.changed + max(self.rowcount, 0)
        self.points[key] = Point(before.seconds + seconds, changed, before.times + 1)


def _key(measured: Measured) -> Key:
    text = _text(measured.sql, safely=measured.safely)
    return measured.revision.id, measured.line, measured.called, text


def _text(sql: str, *, safely: bool) -> str:
    """Return a statement without values; the batches of a backfill, which have other conditions, are one statement."""
    text = preview.shown(sql)
    return text.partition(" WHERE ")[0] if safely and text.startswith("UPDATE ") else text


def _estimate(measured: Measured, large: Mapping[Relation, Size], few: Run, many: Run) -> Estimate:
    """Return how long a statement would take."""
    relation, size = [*large.items()][-1]
    for each, its in large.items():
        if why := _unknown(each, its):
            return Estimate(why=why)
    name = Name(*relation.place)
    key = _key(measured)
    points = [run.points[key] for run in (few, many) if key in run.points]
    if len(points) < 2:  # noqa: PLR2004 - one of them
        return Estimate(why=many.failure or "it was not run on many made-up rows")
    rows = few.filled[name].rows, many.filled[name].rows
    word = measured.sql.partition(" ")[0].upper()
    if word in {"UPDATE", "DELETE"} and points[1].changed < ALL * rows[1]:
        return Estimate(why="how many rows meet its condition is not known")
    seen = [
        (0, measured.seconds),
        *((n, each.seconds) for n, each in zip(rows, points, strict=True)),
    ]
    low, high = extrapolated(seen, size, many.filled[name].bytes)
    if measured.safely and points[1].times > 1:  # a backfill, which rests while others are at work
        high /= pace.LEAST
    return Estimate(low, high, str(relation), size.rows)


def extrapolated(
    points: Sequence[tuple[int, float]], size: Size, weight: int
) -> tuple[float, float]:
    """Return the range of the seconds of a statement on a table of some size.

    Args:
        points: Rows and seconds: those of the rehearsal first, the most rows last.
        size: The size of the table that is asked about.
        weight: The bytes of the table with the most rows, with indexes.
    """
    rows, seconds = points[-1]
    slopes = [(seconds - less) / (rows - fewer) for fewer, less in points if fewer < rows]
    steep = max(seconds / rows, *slopes)
    flat = max(min(slopes), seconds / rows / 4)
    factor = max(size.rows / rows, 1.0)
    heavier = (size.bytes / size.rows) / (weight / rows)
    sorting = math.log(max(size.rows, 3)) / math.log(max(rows, 3))
    low = flat * size.rows * min(1.0, heavier) / (1.3 * factor**0.05 * (1 + SHORTEST / seconds))
    high = steep * size.rows * max(1.0, heavier, sorting) * 1.3 * factor**0.15
    return low, high


def of_scripts(found: Sequence[Measured]) -> Ranges:
    """Return the estimates of whole scripts, of those that have statements with estimates, and all of them a range."""
    ranges = {}
    for revision in dict.fromkeys(each.revision for each in found):
        mine = [each for each in found if each.revision == revision]
        known = {_key(each): each.estimate for each in mine if each.estimate}  # a loop's count once
        if known and not any(each.why for each in known.values()):
            others = sum(each.seconds for each in mine if not each.estimate)
            low, high = (
                sum(getattr(each, end) for each in known.values()) for end in ("low", "high")
            )
            ranges[revision.digest] = (round(low + others, 3), round(high + others, 3))
    return ranges


def keep(root: Path, target: str, ranges: Ranges) -> str:
    """Keep the estimates of scripts on a target beside the project; return why that is not possible."""
    if not ranges:
        return ""
    path = root / RECORD
    try:
        path.parent.mkdir(exist_ok=True)
        with staged.locked(path.parent, lambda _: None):  # another review may keep its own
            record = _record(path)
            record[target] = {**record.get(target, {}), **ranges}
            fresh = path.with_suffix(".new")
            fresh.write_text(json.dumps(record, indent=1), encoding="utf-8")
            fresh.replace(path)
    except (OSError, ValueError, TypeError) as error:
        return f"the estimates are not kept for history, because {path} cannot be read or written: {error}"
    return ""


def kept(root: Path, target: str) -> tuple[Ranges, str]:
    """Return the estimates of scripts on a target that were kept, and why they are not known if they cannot be read."""
    path = root / RECORD
    try:
        found = _record(path).get(target, {})
        return {digest: (float(low), float(high)) for digest, (low, high) in found.items()}, ""
    except (OSError, ValueError, TypeError, AttributeError) as error:
        return {}, f"the estimates of reviews are not known, because {path} cannot be read: {error}"


def of_run(entry: Entry, estimates: Ranges) -> tuple[float, float] | None:
    """Return what the run of a script was estimated to take; None if no review has."""
    return estimates.get(entry.digest or "") if entry.direction == "upgrade" else None


def _record(path: Path) -> dict[str, Any]:
    """Return what the file says: target → estimates."""
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}
