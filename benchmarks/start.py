"""How long commands take that have nothing to do, beside plain Alembic, with a short and with a long history.

`make bench`, or `python -m benchmarks.start`. Exit code 1 if a bound is missed.
"""

import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks import histories
from benchmarks.histories import ALEMBIC, History, Servers
from benchmarks.pairs import HEADER, Pairs, alternate, measured

ROUNDS = 15
TABLES = 10
BOUNDS = {10: 0.6, 1000: 0.3}
"""By the number of revisions: what a command may take of the time of plain Alembic's."""
LIST = 0.25  # seconds
COMMANDS = {"upgrade": ("upgrade", "head"), "current": ("current",), "status": ("current",)}
"""Ours, and what plain Alembic has in its place."""


def compare(folder: Path, servers: Servers, rounds: int) -> Iterator[Pairs]:
    """Measure each command with each history."""
    for revisions, bound in BOUNDS.items():
        history = History(folder / f"history{revisions}", servers, revisions, TABLES)
        history.write()
        run = partial(measured, root=history.root, environ=history.environ)
        run(history.command("invoke", "upgrade"))
        for command, peer in COMMANDS.items():
            name = f"invoke {command}, {revisions:,} revisions"
            ours = partial(run, history.command("invoke", command))
            theirs = partial(run, history.command(*ALEMBIC, *peer))
            yield alternate(name, ours, theirs, rounds=rounds, bound=bound)


def main(rounds: int = ROUNDS) -> int:
    """Print the table."""
    good = True
    with tempfile.TemporaryDirectory() as name, histories.servers(Path(name)) as servers:
        print(HEADER)
        for pairs in compare(Path(name), servers, rounds):
            print(pairs, flush=True)
            good = good and pairs.good
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main(*map(int, sys.argv[1:])))
