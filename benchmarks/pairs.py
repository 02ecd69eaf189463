"""Commands in alternation: how long each takes, its CPU seconds and memory, and what that is of another's."""

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

Key = TypeVar("Key")
KIBIBYTES = 1024
PLAIN = "plain Alembic"
HEADER = (
    f"{'':50} {'ratio':>6} {'middle half':>13} {'bound':>6} {'':6}"
    f" {'seconds':>15} {'CPU s':>13} {'MiB':>11}   (it / plain Alembic, or what is named)"
)
LAUNCHER = """
import json, os, sys, time
started = time.perf_counter()
_, status, usage = os.wait4(os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ), 0)
seconds = time.perf_counter() - started
with open(sys.argv[1], "w") as file:
    json.dump([seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss], file)
sys.exit(os.waitstatus_to_exitcode(status))
"""
"""A process begins with the memory of the one that made it as its maximum: that one is small."""


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
    with tempfile.NamedTemporaryFile() as taken:
        launch = [sys.executable, "-IS", "-c", LAUNCHER, taken.name, *command]
        done = subprocess.run(
            launch,
            cwd=root,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode not in fine:
            raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}")
        seconds, cpu, memory = json.load(taken)
    return Run(seconds, cpu, memory / KIBIBYTES)


@dataclass(frozen=True)
class Pairs:
    """Runs of a tool for some work, and of another for the same, in alternation."""

    work: str
    runs: tuple[Run, ...]
    others: tuple[Run, ...]
    bound: float | None = None
    """What the ratio may be at most; None: anything."""
    tool: str = "ours"
    other: str = PLAIN

    @property
    def ratios(self) -> list[float]:
        """The time of the tool by the other's, pair by pair."""
        pairs = zip(self.runs, self.others, strict=True)
        return [run.seconds / other.seconds for run, other in pairs]

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
        row = self.facts()
        bound = "" if self.bound is None else f"{self.bound:.2f}"
        verdict = "" if self.bound is None else "ok" if self.good else "MISSED"
        seconds, cpu, memory = (
            f"{row[name]:.{digits}f} / {row[f'other_{name}']:.{digits}f}"
            for name, digits in (("seconds", 3), ("cpu", 2), ("memory", 0))
        )
        name = f"{self.work}: {self.tool}" + (f" / {self.other}" if self.other != PLAIN else "")
        return (
            f"{name:50} {self.ratio:6.2f} {row['low']:6.2f}…{row['high']:<6.2f} {bound:>6} {verdict:6}"
            f" {seconds:>15} {cpu:>13} {memory:>11}"
        )

    def facts(self) -> dict[str, Any]:
        """Return the row for JSON: medians, and between which ratios the middle half is."""
        low, _, high = statistics.quantiles(self.ratios, n=4)
        medians = {
            f"{prefix}{name}": round(statistics.median(getattr(run, name) for run in runs), 4)
            for name in ("seconds", "cpu", "memory")
            for prefix, runs in (("", self.runs), ("other_", self.others))
        }
        return {
            "work": self.work,
            "tool": self.tool,
            "other": self.other,
            "ratio": round(self.ratio, 3),
            "low": round(low, 3),
            "high": round(high, 3),
            "bound": self.bound,
            **medians,
        }


def rotate(works: Mapping[Key, Callable[[], Run]], rounds: int) -> dict[Key, tuple[Run, ...]]:
    """Do all in alternation, after one run of each that fills the caches and is not counted."""
    _, *counted = [{name: work() for name, work in works.items()} for _ in range(rounds + 1)]
    return {name: tuple(each[name] for each in counted) for name in works}


def alternate(
    name: str,
    ours: Callable[[], Run],
    peer: Callable[[], Run],
    *,
    rounds: int,
    bound: float | None = None,
) -> Pairs:
    """Run a command of ours and plain Alembic's for the same work in alternation."""
    runs = rotate({"ours": ours, "peer": peer}, rounds)
    return Pairs(name, runs["ours"], runs["peer"], bound)
