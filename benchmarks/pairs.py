"""Two commands in alternation: how long each takes, its CPU seconds and its memory, and what one is of the other."""

import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

KIBIBYTES = 1024
HEADER = (
    f"{'':36} {'ratio':>6} {'middle half':>13} {'bound':>6} {'':6}"
    f" {'seconds':>15} {'CPU s':>13} {'MiB':>11}   (ours / peer)"
)


@dataclass(frozen=True)
class Run:
    """What one run of a command took."""

    seconds: float
    cpu: float
    """Seconds of CPU of the command and of its children; the server's are not in it."""
    memory: float
    """The most that was resident at once, in MiB."""


def measured(
    command: Sequence[str], root: Path, environ: Mapping[str, str], *, fine: Sequence[int] = (0,)
) -> Run:
    """Run a command and measure it.

    Raises:
        SystemExit: It failed.
    """
    with tempfile.TemporaryFile() as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=root, env=environ, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in fine:
            output.seek(0)
            raise SystemExit(f"{' '.join(command)} failed:\n{output.read().decode()}")
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / KIBIBYTES)


@dataclass(frozen=True)
class Pairs:
    """Runs of ours and of a peer, in alternation."""

    name: str
    ours: tuple[Run, ...]
    peer: tuple[Run, ...]
    bound: float | None = None
    """What the ratio may be at most; None: anything."""

    @property
    def ratios(self) -> list[float]:
        """Ours by the peer, pair by pair."""
        pairs = zip(self.ours, self.peer, strict=True)
        return [ours.seconds / peer.seconds for ours, peer in pairs]

    @property
    def ratio(self) -> float:
        """The median of the ratios."""
        return statistics.median(self.ratios)

    @property
    def good(self) -> bool:
        """Whether the bound is kept."""
        return self.bound is None or self.ratio <= self.bound

    def __str__(self) -> str:
        """Return a row below HEADER: medians, and between which ratios the middle half is."""
        low, _, high = statistics.quantiles(self.ratios, n=4)
        bound = "" if self.bound is None else f"{self.bound:.2f}"
        verdict = "" if self.bound is None else "ok" if self.good else "MISSED"
        columns = [
            f"{statistics.median(getattr(run, name) for run in self.ours):.{digits}f} /"
            f" {statistics.median(getattr(run, name) for run in self.peer):.{digits}f}"
            for name, digits in (("seconds", 3), ("cpu", 2), ("memory", 0))
        ]
        seconds, cpu, memory = columns
        return (
            f"{self.name:36} {self.ratio:6.2f} {low:6.2f}…{high:<6.2f} {bound:>6} {verdict:6}"
            f" {seconds:>15} {cpu:>13} {memory:>11}"
        )

    def facts(self) -> dict[str, object]:
        """Return all of it for JSON."""
        runs = {
            name: [vars(run) for run in each]
            for name, each in (("ours", self.ours), ("peer", self.peer))
        }
        return {"name": self.name, "ratio": self.ratio, "bound": self.bound, **runs}


def alternate(
    name: str,
    ours: Callable[[], Run],
    peer: Callable[[], Run],
    *,
    rounds: int,
    bound: float | None = None,
) -> Pairs:
    """Run both in alternation, after one run of each that fills the caches and is not counted."""
    ours(), peer()
    runs = [(ours(), peer()) for _ in range(rounds)]
    mine, theirs = zip(*runs, strict=True)
    return Pairs(name, mine, theirs, bound)
