"""How fast a backfill works while other sessions are at work: as fast as they do not notice.

Every two seconds it stops for half a second, and compares how long the statements of the others take then with how long
they take while it works. While they are slower beside it, or it may not see how long they take, it lowers the share of
the time that it works, else it raises it.
"""

import math
import random
import time
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from postgres_database.running.autocommit import Autocommit
from postgres_database.server.transactions import asked

LEAST, FIRST, MOST = 0.02, 0.05, 0.1
"""Shares of the time that batches may take. Much more than a twentieth would be seen in the p95 of the others."""
MORE, LESS = 1.25, 0.7
"""Factors of the share after a comparison."""
NOTICED = math.log(1.1)
"""The logarithm of how much slower statements are at which the share is lowered."""
SMOOTHED = 4
"""The number of comparisons of which the mean counts: one alone has few statements."""
LOOK, PERIOD, CALM, LOOKS = 0.1, 1.5, 0.1, 4
"""Seconds between looks at the others beside batches, until it stops, and between the looks then; their number."""
LONGEST_PAUSE = 2.0  # seconds
# Whether anybody waits for a lock of this session; whether others are at work; how many seconds their statements took
# that ended in the last seconds, or take so far that began in the last second. A session whose state is hidden counts
# as active. Only of those that wait is it asked for whom: that stops all locking for a moment. The session that queries
# pg_blocking_pids is this tool's own.
OTHERS = """
    SELECT coalesce(bool_or(CASE WHEN coalesce(wait_event_type = 'Lock', state IS NULL)
                                 THEN pg_backend_pid() = ANY (pg_blocking_pids(pid)) END), false),
           coalesce(bool_or(client AND coalesce(state <> 'idle' OR ended > now - interval '10 s', true)), false),
           coalesce(array_agg(extract(epoch FROM coalesce(ended, now) - query_start)::float)
                    FILTER (WHERE client AND query_start IS NOT NULL
                            AND coalesce(ended > now - %s * interval '1 s', query_start > now - interval '1 s')), '{}')
    FROM (SELECT *, clock_timestamp() AS now, CASE WHEN state <> 'active' THEN state_change END AS ended,
                 query NOT LIKE '%%pg_blocking_pids%%' AND coalesce(backend_type = 'client backend', true) AS client
          FROM pg_stat_activity WHERE datid IS NOT NULL AND pid <> pg_backend_pid()) AS others
"""


@dataclass
class Pace:
    """The pace of a backfill."""

    session: Autocommit
    share: float = field(default_factory=lambda: FIRST)
    """The share of the time that batches take."""
    slower: float = 0.0
    """The logarithm of how much longer the statements of others take beside the batches."""
    busy: bool = True
    """Whether others are at work."""
    beside: list[float] = field(default_factory=list)
    """Logarithms of seconds of statements beside the batches since the last comparison."""
    since: float = field(default_factory=time.monotonic)
    """When that was."""
    looked: float = -math.inf
    later: bool = False
    """Whether the next look for statements beside the batches falls into a pause."""

    def look(self, cursor: Any) -> bool:
        """In the transaction of a batch, before its end, return whether somebody waits for it, if it is time to look.

        So that statements are met at any moment, those at the end of a batch count as often as it has the time.
        """
        if time.monotonic() - self.looked < LOOK:
            return False
        found = asked(cursor, OTHERS, (time.monotonic() - self.since,))
        self.looked = time.monotonic()
        waiting, took = self._took(found)
        self.later = random.random() > self.share  # noqa: S311 - nobody gains by guessing it
        self.beside += [] if self.later else took
        return waiting

    def rest(self, worked: float, *, waiting: bool) -> None:
        """Pause after a batch of some seconds."""
        if not self.session.rests:
            return
        if not self.busy:
            time.sleep(worked if waiting else 0)
            return
        pause = min(worked / self.share - worked, LONGEST_PAUSE)
        if self.later:
            self.later = False
            first = random.uniform(0, pause)  # noqa: S311
            self.beside += self._after(first, time.monotonic() - self.since + first)
            pause -= first
        time.sleep(pause)
        if time.monotonic() - self.since > PERIOD:
            self._compare()

    def _compare(self) -> None:
        """Stop for a moment to compare, and choose the share."""
        time.sleep(CALM)  # the disk still writes what the last batches left to it
        calm = [took for number in range(LOOKS) for took in self._after(CALM, CALM * (number + 1))]
        known = bool(calm and self.beside)
        if known:
            self.slower += (fmean(self.beside) - fmean(calm) - self.slower) / SMOOTHED
        if not known or self.slower > NOTICED:
            self.share, self.slower = max(self.share * LESS, LEAST), 0.0
        else:
            self.share = min(self.share * MORE, MOST)
        self.beside, self.since = [], time.monotonic()

    def _after(self, pause: float, span: float) -> list[float]:
        time.sleep(pause)
        return self._took(self.session.rows(OTHERS, span))[1]

    def _took(self, found: list[tuple[Any, ...]]) -> tuple[bool, list[float]]:
        """Return whether somebody waits for this session, and the logarithms of the seconds of statements."""
        ((waiting, self.busy, seconds),) = found
        return waiting, [math.log(max(each, 1e-5)) for each in seconds]
