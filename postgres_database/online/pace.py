"""How fast a backfill works while other sessions are at work: as fast as they do not notice.

What they would notice is measured by a small transaction in a session of its own, again and again. Every two seconds
the backfill stops for half a second, and compares how long that takes then with how long it takes beside the batches.
The longer it takes beside them, the lower becomes the share of the time that batches take. Where that is not known, it
becomes lower, too.
"""

import math
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from postgres_database.running.autocommit import Autocommit
from postgres_database.server.transactions import asked

LEAST, FIRST, MOST = 0.02, 0.1, 0.15
"""Shares of the time that batches may take."""
LESS, MORE, GAIN = 2 / 3, 3 / 2, 5
"""The least and the greatest factor of the share after a comparison, and how steeply it follows what was measured."""
UNNOTICED = math.log(1.1)
"""The logarithm of how much longer a probe takes beside the batches at which the share stays."""
KEPT = 100
"""The number of the last probes while it stopped that count."""
LOOK, PERIOD, SETTLED, CALM = 0.1, 1.5, 0.1, 0.4
"""Seconds between looks at the others; until it stops; until the disk has written what batches left; of the stop."""
LONGEST_PAUSE = 2.0  # seconds
# Whether anybody waits for a lock of this session, and whether others are at work. A session whose state is hidden
# counts as active. Only of those that wait is it asked for whom: that stops all locking for a moment. The session that
# queries pg_blocking_pids is this tool's own, as is that of the probe.
OTHERS = """
    SELECT coalesce(bool_or(CASE WHEN coalesce(wait_event_type = 'Lock', state IS NULL)
                                 THEN pg_backend_pid() = ANY (pg_blocking_pids(pid)) END), false),
           coalesce(bool_or(query NOT LIKE '%%pg_blocking_pids%%' AND pid <> %s
                            AND coalesce(backend_type = 'client backend', true)
                            AND coalesce(state <> 'idle' OR state_change > clock_timestamp() - interval '10 s', true)),
                    false)
    FROM pg_stat_activity WHERE datid IS NOT NULL AND pid <> pg_backend_pid()
"""
INTERVAL = 0.025  # seconds between probes
AGAIN = 1.0  # seconds until a connection that was lost or refused is opened again
# It locks the next row as a foreign key does, which keeps nobody from updating it, and its commit waits for the disk.
# So it waits for what others wait for: the processor, the WAL, a synchronous replica. The server measures it, so that
# the network is not in it.
PROBE = (
    "{}; SET LOCAL enable_seqscan = off; {} FOR KEY SHARE SKIP LOCKED; COMMIT;"
    " SELECT pg_catalog.date_part('epoch',"
    " pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) pg_catalog.statement_timestamp())"
)


class Probe:
    """A session that measures, while that is wanted, how long a small transaction takes."""

    def __init__(self, session: Autocommit, row: Callable[[Any], str]) -> None:
        """Open nothing yet.

        Args:
            session: Whose backfill it is.
            row: Returns, by a cursor that quotes, the query of the next row of the table; called by another thread.
        """
        self.pid = 0
        """The server's process of the session; 0 before there is one."""
        self.fault = ""
        """Why the last one failed; empty if none has."""
        self._session, self._row = session, row
        self._first = ""
        self._took: list[float] = []
        self._wanted, self._ended = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._keep_probing, daemon=True)

    def go_on(self) -> None:
        """Measure from now on."""
        self._wanted.set()
        if not self._thread.is_alive() and not self._ended.is_set():
            self._first = self._session.beginning()
            self._thread.start()

    def pause(self) -> None:
        """Measure nothing until `go_on`."""
        self._wanted.clear()

    def take(self) -> list[float]:
        """Return the logarithms of the seconds that were measured since the last time."""
        took, self._took = self._took, []
        return took

    def end(self) -> None:
        """End the session."""
        self._ended.set()
        self._wanted.set()
        if self._thread.is_alive():
            self._thread.join(AGAIN)  # it may be connecting to a server that does not answer

    def _keep_probing(self) -> None:
        while not self._ended.is_set():
            # Tried again: it may have been lost. Meanwhile nothing is known; the backfill slows down, and says why.
            try:
                with self._session.another() as cursor:
                    self._probe(cursor)
            except Exception as error:  # noqa: BLE001 - whatever a driver or an application's pool may raise
                self.fault = str(error).strip().partition("\n")[0]
            self._ended.wait(AGAIN)

    def _probe(self, cursor: Any) -> None:
        cursor.execute("SELECT pg_catalog.pg_backend_pid()")
        (self.pid,) = cursor.fetchone()
        while not self._ended.wait(INTERVAL * random.uniform(0.5, 1.5)):  # noqa: S311 - nobody gains by guessing it
            self._wanted.wait()
            cursor.execute(PROBE.format(self._first, self._row(cursor)))
            (seconds,) = cursor.fetchone()
            self._took.append(math.log(max(seconds, 1e-6)))


@dataclass
class Pace:
    """The pace of a backfill."""

    session: Autocommit
    probe: Probe
    share: float = field(default_factory=lambda: FIRST)
    """The share of the time that batches take."""
    busy: bool = True
    """Whether others are at work."""
    calm: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))
    """Logarithms of the seconds of the last probes while it stopped."""
    since: float = field(default_factory=time.monotonic)
    """When the last comparison was."""
    looked: float = -math.inf
    said: bool = False
    """Whether it was said why it is not known what others notice."""

    def look(self, cursor: Any) -> bool:
        """Before the end of a batch, if it is time to look, return whether somebody waits for a lock of it."""
        if time.monotonic() - self.looked < LOOK:
            return False
        ((waiting, self.busy),) = asked(cursor, OTHERS, (self.probe.pid,))
        self.looked = time.monotonic()
        return bool(waiting)

    def rest(self, worked: float, *, waiting: bool) -> None:
        """Pause after a batch of some seconds."""
        if not self.session.rests:
            return
        if not self.busy:
            self.probe.pause()
            self.since = time.monotonic()
            time.sleep(worked if waiting else 0)
            return
        self.probe.go_on()
        time.sleep(min(worked / self.share - worked, LONGEST_PAUSE))
        if time.monotonic() - self.since > PERIOD:
            self._compare()

    def _compare(self) -> None:
        """Stop for a moment to compare, and choose the share."""
        beside = self.probe.take()
        time.sleep(SETTLED)
        self.probe.take()
        time.sleep(CALM)
        self.calm += self.probe.take()
        change = math.log(LESS)
        if not beside:
            self._say()
        elif self.calm:
            change = GAIN * (UNNOTICED - (slow(beside) - slow(self.calm)))
        factor = min(max(math.exp(change), LESS), MORE)
        self.share = min(max(self.share * factor, LEAST), MOST)
        self.since = time.monotonic()

    def _say(self) -> None:
        """Say once why it is not known what others notice."""
        if self.probe.fault and not self.said:
            self.said = True
            self.session.listener.progress(
                f"what others notice of the backfill cannot be measured, so it slows down: {self.probe.fault}"
            )


def slow(logarithms: Iterable[float]) -> float:
    """Return the mean of the slower half, without the slowest tenth, which one stall of the disk can fill."""
    ordered = sorted(logarithms)
    return fmean(ordered[len(ordered) // 2 : max(len(ordered) * 9 // 10, len(ordered) // 2 + 1)])
