"""Updates the rows of a table in short transactions, in the order of a key; an interrupted run can be resumed.

Each transaction updates a range of keys and saves the end of the range by the same commit. So a run that is killed
at any time updates each row once, even if the expressions are not idempotent. Rows that other sessions insert before
the saved place are not updated: a default, a trigger or the application must give them values.

A table without a key is updated page by page, in several passes, until the condition holds for no row. The condition
must be false for an updated row.
"""

import math
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import psycopg2
from psycopg2.errors import DeadlockDetected, LockNotAvailable, QueryCanceled

from postgres_database.errors import ExpectedError
from postgres_database.online import keys
from postgres_database.online.batches import Batches
from postgres_database.online.keys import Key, Pages
from postgres_database.online.pace import Pace, Probe
from postgres_database.running.autocommit import Autocommit
from postgres_database.sql.names import bare, identifier

PASSES = 10
"""Most passes through a table without a key: other sessions may put rows on pages that are done."""
LONGEST_PAUSE = 2.0  # seconds between attempts to lock a row
REPORT_INTERVAL, REPLICA_CHECK_INTERVAL = 5.0, 1.0  # seconds
LAG = 5  # seconds that a replica may be behind
DISTANCE = 64 << 20  # bytes of WAL that a replica may be behind
# Output formats are fixed, because keys are saved as text. A crash may undo the last commits, but each with its
# saved place, so they need not wait for the disk (PostgreSQL manual, "Asynchronous Commit").
# The planner overestimates a range over several columns, and would scan the whole table for each batch.
SESSION = (
    "SET LOCAL enable_seqscan = off; SET LOCAL jit = off; SET LOCAL synchronous_commit = off;"
    " SET LOCAL datestyle = 'ISO'; SET LOCAL intervalstyle = 'postgres'; SET LOCAL extra_float_digits = 1"
)
NAME = """
    SELECT format('%%I.%%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid = %s
"""
# NULL for a role that may not read the state of replicas.
REPLICAS = """
    SELECT coalesce(max(extract(epoch FROM replay_lag)), 0)::float,
           coalesce(max(pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)), 0)::bigint
    FROM pg_stat_replication WHERE state = 'streaming'
"""


class Checkpoint(Protocol):
    """Stores how far a backfill has come."""

    def load(self) -> Sequence[str] | None:
        """Return the place that was saved last; None at the beginning."""

    def save(self, cursor: Any, place: Sequence[str]) -> None:
        """Save a place in the transaction of the cursor."""


@dataclass(frozen=True)
class Backfill:
    """The values that the rows of a table get."""

    schema: str
    """Empty: the search path decides."""
    table: str
    values: Mapping[str, str]
    """A SQL expression over the row for each column."""
    where: str = ""
    """A SQL condition; empty: every row."""
    milliseconds: int = 100
    """Time limit of a batch; no batch takes more than twice as long, except one of a single slow row."""

    @property
    def sql(self) -> str:
        """The table, for SQL."""
        schema = f"{identifier(self.schema)}." if self.schema else ""
        return f"{schema}{identifier(self.table)}"

    @property
    def update(self) -> str:
        """The statement, without a condition."""
        sets = ", ".join(f"{identifier(name)} = {value}" for name, value in self.values.items())
        return f"UPDATE {self.sql} SET {sets}"  # noqa: S608 - names are quoted, expressions the script's


def statement(work: Backfill) -> str:
    """Return one plain statement that does the same."""
    return work.update + (f" WHERE {work.where}" if work.where else "")


def run(session: Autocommit, work: Backfill, checkpoint: Checkpoint) -> int:
    """Update the rows after the place in the checkpoint, and return their number.

    Raises:
        ExpectedError: The table has no usable key, or the backfill would change the key.
        psycopg2.Error: An expression fails. Committed batches stay, and are not updated again by the next run.
    """
    found = session.find(work.sql)
    if found is None:  # the server raises the error
        session.execute(statement(work))
        return 0
    key = _key_or_pages(session, work, found)
    ((name,),) = session.rows(NAME, found)
    ((plan,),) = session.rows(f"EXPLAIN (FORMAT JSON) SELECT FROM {name}")
    rows = int(plan[0]["Plan"]["Plan Rows"])
    batches = Batches(key, work.sql, work.milliseconds / 1000)
    expected = key.end if isinstance(key, Pages) else rows
    return _Run(session, work, checkpoint, batches, expected, found, name).run()


def require_key_or_pages(session: Autocommit, work: Backfill) -> None:
    """Raise ExpectedError if the table has no key or pages by which its rows can be updated in batches."""
    if found := session.find(work.sql):
        _key_or_pages(session, work, found)


def _key_or_pages(session: Autocommit, work: Backfill, table: int) -> Key | Pages:
    """Return the key or the pages that divide the rows into batches."""
    if not (known := session.rows(keys.QUERY, table)):
        ((pages,),) = session.rows(keys.PAGES, table)
        if pages is not None and work.where:
            return Pages(int(pages))
        raise ExpectedError(
            f"{work.sql} has no key by which its rows could be updated in batches",
            cause="it has neither a primary key nor a unique index on columns that are NOT NULL",
            hint='invoke edit   (add where= with a condition that is false for updated rows, such as "n IS NULL")'
            if pages is not None
            else "invoke edit   (add such a key before, or op.execute an UPDATE if the table is small)",
        )
    key = Key(*known[0])
    if changed := work.values.keys() & {bare(column) for column in key.columns}:
        raise ExpectedError(
            f"the backfill of {work.sql} changes its own key: {', '.join(sorted(changed))}",
            cause="batches are ranges of that key, so a changed row could be updated twice or never",
            hint="invoke edit   (change a key by op.execute)",
        )
    return key


@dataclass
class _Run:
    """A backfill while it runs."""

    session: Autocommit
    work: Backfill
    checkpoint: Checkpoint
    batches: Batches
    expected: int
    """The planner's estimate of rows, or the number of pages."""
    table: int
    """Its OID."""
    name: str
    """Its name with the schema, for SQL."""
    place: Sequence[str] | None = None
    """The place that was reached."""
    changed: int = 0
    passed: int = 0
    """Rows or pages that were processed, also by earlier runs."""
    passes: int = 1
    changed_before: int = 0
    """Rows changed in earlier passes."""
    started: float = field(default_factory=time.monotonic)
    reported: float = field(default_factory=time.monotonic)
    replicas_checked: float = 0.0
    round_trip: float = math.inf
    """Seconds of the fastest trivial statement: about the network round trip."""
    patience: float = 1.0
    """Factor by which the time limit is raised, because a single row exceeds it."""

    def __post_init__(self) -> None:
        """Measure nothing yet."""
        self.probe = Probe(self.session, lambda cursor: self.key.row(cursor, self.name, self.place))
        self.pace = Pace(self.session, self.probe)

    @property
    def key(self) -> Key | Pages:
        """What divides the table."""
        return self.batches.key

    @property
    def _unit(self) -> str:
        return "rows" if isinstance(self.key, Key) else "pages"

    @property
    def _key(self) -> str:
        return ", ".join([*self.key.columns, *self.key.types])

    def run(self) -> int:
        """Update all rows after the place in the checkpoint; return the number of those that were changed."""
        try:
            return self._run()
        finally:
            self.probe.end()

    def _run(self) -> int:
        saved = self.checkpoint.load()
        if saved and saved[1] != self._key:  # the place belongs to another key
            saved = None
        self.place = saved[2:] if saved else None
        self.passed = before = int(saved[0]) if saved else 0
        pause = 0.05
        self._measure_round_trip()
        while True:
            begun = time.monotonic()
            try:
                more = self._batch()
            except (LockNotAvailable, DeadlockDetected, QueryCanceled) as error:
                alone = self.batches.size == 1
                self._shrink(error, time.monotonic() - begun)
                if alone and isinstance(error, LockNotAvailable):  # else fewer rows may be unlocked
                    pause = min(pause * 2, LONGEST_PAUSE)
                    self._report_locked_row(pause)
                time.sleep(pause * random.uniform(0.75, 1.25))  # noqa: S311 - nobody gains by guessing it
                continue
            pause = 0.05
            if not more and not self._again():
                break
            self._report_progress(before)
            self._wait_for_replicas()
        seconds = time.monotonic() - self.started
        self.session.listener.progress(
            f"{self.work.sql}: {self.changed:,} rows updated in {seconds:.1f} s"
        )
        return self.changed

    def _batch(self) -> bool:
        """Update the next batch and rest; return False if there are no more rows."""
        limit = int(self.work.milliseconds * self.patience)
        limits = f"SET LOCAL statement_timeout = {int(limit * 1.5)}; SET LOCAL lock_timeout = {max(limit // 2, 1)}"
        if not self.batches.is_known():
            with self.session.transaction(SESSION, limits) as cursor:
                self.batches.look_ahead(cursor, self.place)
        if (end := self.batches.end) is None:
            return False
        with self.session.driver.cursor() as cursor:
            update = self._update(self.key.bounds(cursor, self.place, end))
        begun = time.monotonic()
        with self.session.transaction(SESSION, limits) as cursor:
            # By itself: a review and pg_stat_activity tell it by its first word.
            cursor.execute(update)
            changed = self._changed(cursor)
            updated = time.monotonic()
            passed = self.passed + self.batches.rows
            self.checkpoint.save(cursor, [str(passed), self._key, *end])
            looking = time.monotonic()
            waiting = self.pace.look(cursor)
            ending = time.monotonic()
        besides = time.monotonic() - ending + looking - updated - 2 * self.round_trip
        self.place, self.passed, self.patience = end, passed, 1.0
        self.changed += changed
        seconds = max(updated - begun - 2 * self.round_trip + besides, 0.0)
        self.batches.done(seconds, besides, waiting=waiting, busy=self.pace.busy)
        self.pace.rest(seconds, waiting=waiting)
        return True

    def _measure_round_trip(self) -> None:
        for _ in range(3):
            begun = time.monotonic()
            self.session.rows("SELECT 1")
            self.round_trip = min(self.round_trip, time.monotonic() - begun)

    def _update(self, bounds: Sequence[str]) -> str:
        """Return the statement that updates the rows within bounds."""
        where = [*bounds, *([f"({self.work.where})"] if self.work.where else [])]
        update = f"{self.work.update} WHERE {' AND '.join(where)}"
        if isinstance(self.key, Key):
            return update
        done = f"WITH done AS ({update} RETURNING ({self.work.where}) IS TRUE AS again)"
        return f"{done} SELECT count(*), count(*) FILTER (WHERE again) FROM done"  # noqa: S608

    def _changed(self, cursor: Any) -> int:
        """Return the number of rows that were updated by `_update`."""
        if isinstance(self.key, Key):
            return int(cursor.rowcount)
        ((changed, again),) = cursor.fetchall()
        if again:
            raise ExpectedError(
                f"the where= of the backfill of {self.work.sql} still holds for updated rows",
                cause=f"{again} rows would be updated again: {self.work.where}",
                hint="invoke edit   (where= needs a condition that is false for updated rows)",
            )
        return int(changed)

    def _again(self) -> bool:
        """At the end of a pass, prepare another one and return True if rows may be left on pages that are done."""
        if (
            isinstance(self.key, Key)
            or self.changed == self.changed_before
            or self.passes == PASSES
        ):
            return False
        self.passes, self.changed_before = self.passes + 1, self.changed
        ((pages,),) = self.session.rows(keys.PAGES, self.table)
        self.batches.key, self.place = Pages(pages), None
        return True

    def _shrink(self, error: psycopg2.Error, seconds: float) -> None:
        """Make batches smaller; raise the error again if the statement was cancelled before its own time limit."""
        limit = self.work.milliseconds * self.patience * 1.5 / 1000
        if isinstance(error, QueryCanceled):
            if seconds < limit * 0.9:
                raise error
            if self.batches.size == 1:
                self.patience *= 2
                self.session.listener.wait(
                    f"a single row of {self.work.sql}, which takes more than {limit:.1f} s"
                )
        self.batches.halve()

    def _report_locked_row(self, pause: float) -> None:
        if pause >= LONGEST_PAUSE and time.monotonic() - self.reported > REPORT_INTERVAL:
            self.reported = time.monotonic()
            self.session.listener.wait(
                f"a row of {self.work.sql} that another session locks; {self.changed:,} rows are updated"
            )

    def _report_progress(self, before: int) -> None:
        now = time.monotonic()
        if now - self.reported < REPORT_INTERVAL:
            return
        self.reported = now
        rate = (self.passed - before) / (now - self.started)
        text = f"{self.work.sql}: {self.passed:,} {self._unit}, {rate:,.0f} {self._unit}/s"
        if self.passed < self.expected:
            left = (self.expected - self.passed) / max(rate, 0.1)
            share = 100 * self.passed / self.expected
            text += f", {share:.0f} % of about {self.expected:,}, {left:,.0f} s left"
        self.session.listener.progress(text)

    def _wait_for_replicas(self) -> None:
        """Pause while a replica is too far behind; a lag in seconds alone counts only with some WAL to replay."""
        reported = False
        while time.monotonic() - self.replicas_checked >= REPLICA_CHECK_INTERVAL:
            self.replicas_checked = time.monotonic()
            ((lag, distance),) = self.session.rows(REPLICAS)
            if distance < DISTANCE and (lag < LAG or distance < DISTANCE // 64):
                return
            if not reported:
                self.session.listener.wait(
                    f"a replica that is {lag:.0f} s and {distance >> 20:,} MB behind"
                )
                reported = True
            time.sleep(REPLICA_CHECK_INTERVAL)
