"""How long commands take that have nothing to do, beside plain Alembic, with a short and with a long history.

`make bench`, or `python -m benchmarks.performance --only start`.
"""

import statistics
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from benchmarks.histories import ALEMBIC, History, Servers
from benchmarks.pairs import Pairs, alternate, measured

TABLES = 10
BOUNDS = {10: 0.6, 1000: 0.3}
"""By the number of revisions: what a command may take of the time of plain Alembic's."""
SECONDS = 0.25
"""What a list of the commands may take."""
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
    ours = partial(run, history.command("invoke", "--list"))
    theirs = partial(run, history.command("alembic", "--help"))
    pairs = alternate("invoke --list", ours, theirs, rounds=rounds)
    yield replace(pairs, bound=SECONDS / statistics.median(each.seconds for each in pairs.others))
