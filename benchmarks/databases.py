"""How long a test waits for its database at head, and by which STRATEGY a server copies databases soonest.

`make bench`, or `python -m benchmarks.databases`. Figures are medians in milliseconds.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, TypeVar

import psycopg2

from benchmarks import histories
from benchmarks.histories import History, Servers
from postgres_database.history import project
from postgres_database.server import environment
from postgres_database.server.embedded import EmbeddedServer
from postgres_database.testing.stock import Stock

Result = TypeVar("Result")
SIZES = (30, 300)
"""Numbers of tables."""
STRATEGIES = ("wal_log", "file_copy")
LASTS = (0, 20, 50, 100)
"""Milliseconds that a test lasts beside its wait."""
ROUNDS = 25


def timed(work: Callable[[], Result]) -> tuple[Result, float]:
    """Return what some work returns, and how long it takes."""
    began = time.perf_counter()
    result = work()
    return result, (time.perf_counter() - began) * 1000


def medians(rows: Iterable[Sequence[float]]) -> list[float]:
    """Return the median of each column."""
    return [statistics.median(column) for column in zip(*rows, strict=True)]


def copies(server: EmbeddedServer, template: str, rounds: int) -> Iterator[str]:
    """Copy a database by each strategy in alternation, and drop the copies; yield a line for each strategy."""
    maintenance: dict[str, Any] = server.dsn.parameters()
    taken: dict[str, list[list[float]]] = {each: [] for each in STRATEGIES}
    with closing(psycopg2.connect(**maintenance)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        for _, strategy in product(range(rounds), STRATEGIES):
            create = f"CREATE DATABASE copied TEMPLATE {template} STRATEGY {strategy}"
            both = (timed(partial(cursor.execute, sql)) for sql in (create, "DROP DATABASE copied"))
            taken[strategy].append([took for _, took in both])
    for strategy, rows in taken.items():
        create_took, drop_took = medians(rows)
        yield f"{strategy:9} create {create_took:6.1f}   drop {drop_took:6.1f}"


def waits(history: History, lasts: int, rounds: int) -> list[float]:
    """Return what a test waits for its database, for the first connection to it, and to give it back."""
    settings = environment.load(root=history.root, environ=history.environ)
    stock = Stock(project.load(history.root), settings, rows=False)
    rows = []
    try:
        for _ in range(rounds):
            made, wait = timed(partial(stock.take, rounds))
            connection, connect = timed(made.connect)
            connection.close()
            time.sleep(lasts / 1000)
            _, back = timed(partial(stock.give_back, made))
            rows.append((wait, connect, back))
    finally:
        stock.close()
    return medians(rows)


def measure(folder: Path, servers: Servers, rounds: int) -> Iterator[str]:
    """Yield the lines of all figures."""
    for tables in SIZES:
        history = History(folder / f"tables{tables}", servers, tables, tables)
        history.write()
        for server, name in ((servers.target, "durable"), (servers.scratch, "without fsync")):
            own = replace(history, servers=Servers(server, servers.scratch))
            own.empty()
            own.output("invoke", "upgrade")
            for line in copies(server, own.database, rounds):
                yield f"{tables:4} tables, {name + ':':14} {line}"
        for lasts in LASTS:
            wait, connect, back = waits(history, lasts, rounds)
            yield (
                f"{tables:4} tables, a test of {lasts:3} ms waits {wait:6.1f} for its database,"
                f" {connect:5.1f} for its first connection, {back:4.1f} at its end"
            )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.databases", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"default {ROUNDS}")
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as name, histories.servers(Path(name)) as servers:
        for line in measure(Path(name), servers, rounds):
            print(line, flush=True)


if __name__ == "__main__":
    main()
