"""How long it takes to bring an empty database to head, and then to do nothing, beside plain Alembic and other tools.

`make bench`, or `python -m benchmarks.performance --only upgrade`.
"""

import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from benchmarks import peers
from benchmarks.histories import ALEMBIC, History, Servers
from benchmarks.pairs import PLAIN, Pairs, rotate
from benchmarks.peers import Tool

SIZES = (10, 300, 1000)
"""Numbers of revisions; three of ten make a table, the others add a column."""
EMPTY, NOTHING = "empty to head", "nothing to do"
BOUND, BOUND_FAST = 0.8, 0.2
SIZE_FAST = 300
FLOOR_SCRIPT = """
import psycopg2

connection = psycopg2.connect("")
connection.autocommit = True
cursor = connection.cursor()
cursor.execute("SELECT to_regclass('alembic_version')")
if cursor.fetchone() == (None,):
    with open("all.sql") as file:
        cursor.execute(file.read())
"""
RUNNER_SCRIPT = """
from postgres_database.running.runner import open_runner
from postgres_database.server import embedded
from postgres_database.tasks.shared import project_and_environment

project, environment = project_and_environment()
with open_runner(project, embedded.target(environment, project.versions)) as runner:
    before, _ = runner.require_route()
    for leg in project.legs(before, "head"):
        runner.upgrade(leg.plan)
"""
COLUMNS = r"""
    SELECT relname, attname, atttypid, attnotnull
    FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
    WHERE relname ~ '^t\d+$' AND attnum > 0
    ORDER BY relname, attnum
"""
PYTHON = sys.executable
OURS = Tool("ours", PYTHON, ("-m", "invoke", "upgrade"))
ALONE = Tool("the runner alone", PYTHON, ("-c", RUNNER_SCRIPT))
"""Ours without what is around the scripts: command line, log, lock, row checks and progress."""
FAST = Tool("ours, --fast", PYTHON, ("-m", "invoke", "upgrade", "--fast"))
ALEMBICS = Tool(PLAIN, PYTHON, ("-m", *ALEMBIC, "upgrade", "head"))
PARTS = (ALONE, FAST)
"""Measured from an empty database only: with nothing to do they are ours."""
FLOOR = Tool("floor", PYTHON, ("-c", FLOOR_SCRIPT), lambda _, sql: {"all.sql": sql})
"""Python, one connection, and the same SQL as one string."""


def named(work: str, revisions: int) -> str:
    """Return how a work is called with so many revisions."""
    return f"{work}, {revisions:,} revisions"


def works() -> list[str]:
    """Return what is measured."""
    return [named(work, revisions) for work in (NOTHING, EMPTY) for revisions in SIZES]


def compare(folder: Path, servers: Servers, rounds: int) -> Iterator[Pairs]:
    """Measure all tools with histories of each size."""
    for revisions in SIZES:
        history = History(folder / f"upgrade{revisions}", servers, revisions, revisions * 3 // 10)
        history.write()
        sql, commands = history.sql(), {}
        prepared = {tool: tool.prepare(history, sql) for tool in _tools(history)}
        for tool, own in prepared.items():
            commands[EMPTY, tool] = partial(tool.again, own)
            if tool not in PARTS:
                commands[NOTHING, tool] = partial(tool.run, own)
        runs = rotate(commands, rounds)
        _require_equal(prepared)
        for work, tool in runs:
            if tool != ALEMBICS:
                bound = BOUND if (work, tool) == (EMPTY, OURS) else None
                each = runs[work, tool], runs[work, ALEMBICS]
                yield Pairs(named(work, revisions), *each, bound, tool.name)
        work, ours = named(EMPTY, revisions), runs[EMPTY, OURS]
        yield Pairs(work, ours, runs[EMPTY, ALONE], other=ALONE.name)
        if fast := runs.get((EMPTY, FAST)):
            bound = BOUND_FAST if revisions == SIZE_FAST else None
            yield Pairs(work, fast, ours, bound, FAST.name, OURS.name)


def _require_equal(prepared: Mapping[Tool, History]) -> None:
    """Raise SystemExit if a tool has not made what plain Alembic made."""
    made = {tool: own.query(COLUMNS) for tool, own in prepared.items()}
    for tool, columns in made.items():
        if columns != made[ALEMBICS]:
            raise SystemExit(f"{tool.name} made other tables than {PLAIN}")


def _tools(history: History) -> Iterator[Tool]:
    yield from (OURS, ALEMBICS, ALONE, FLOOR)
    if "--fast" in history.output("invoke", "upgrade", "--help"):
        yield FAST
    yield from (peer for peer in peers.PEERS if peer.installed)
