"""How long a proof takes: `revision` beside Alembic's autogenerate, and `check` of a target beside its dump.

`make bench`, or `python -m benchmarks.performance --only revision`. Bounds: for `revision` twice the time of
`alembic revision --autogenerate` and a second, for `check` of 1,000 tables three times that of `pg_dump --schema-only`.
"""

import statistics
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from benchmarks.histories import ALEMBIC, History, Servers
from benchmarks.pairs import Pairs, Run, alternate, measured
from postgres_database.server import programs

SIZES = ((10, 10), (300, 300), (1000, 1000))
"""Revisions and tables."""
FACTOR, SECONDS = 2, 1.0
DUMPS = 3
BOUND_FROM = 1000
"""Tables from which the time of a check is bound to that of a dump: below, most of it is the start of Python."""
CHANGE = '\nmetadata.tables["t1"].append_column(sa.Column("checksum", sa.Text()))\n'


def compare(folder: Path, servers: Servers, rounds: int) -> Iterator[Pairs]:
    """Measure with each history: a new column, no change, and a target at head."""
    for revisions, tables in SIZES:
        size = f"{revisions:,} revisions and tables"
        history = History(folder / f"size{revisions}", servers, revisions, tables)
        history.write()
        measured(history.command("invoke", "upgrade"), history.root, history.environ)
        models = history.root / "app_models.py"
        text = models.read_text()
        for what, change in {"a column": CHANGE, "no change": ""}.items():
            models.write_text(text + change)
            name = f"revision, {size}, {what}"
            pairs = alternate(
                name,
                partial(_written, history, "invoke", "revision", "--msg", "x"),
                partial(_written, history, *ALEMBIC, "revision", "--autogenerate", "-m", "x"),
                rounds=rounds,
            )
            seconds = statistics.median(run.seconds for run in pairs.others)
            yield replace(pairs, bound=FACTOR + SECONDS / seconds)
        bound = DUMPS if tables >= BOUND_FROM else None
        pairs = alternate(f"check --env, {size}", *_checks(history), rounds=rounds, bound=bound)
        yield replace(pairs, other="pg_dump")


def _written(history: History, *words: str) -> Run:
    """Measure a command that may write a script, and take the script away again."""
    before = {*history.versions.iterdir()}
    run = measured(history.command(*words), history.root, history.environ)
    for path in {*history.versions.iterdir()} - before:
        if path.suffix == ".py":
            path.unlink()
    return run


def _checks(history: History) -> tuple[Callable[[], Run], Callable[[], Run]]:
    """Return what measures the check of the target, and the dump of it."""
    settings = ("POSTGRES_DSN", "SCRATCH_DSN")
    lines = [f"{name}={history.environ[name]}\n" for name in settings]
    path = history.root / ".env.bench"
    path.write_text("".join(lines))
    path.chmod(0o600)
    environ = {name: value for name, value in history.environ.items() if name not in settings}
    check = history.command("invoke", "check", "--env", "bench")
    dump = [str(programs.BINARIES / "pg_dump"), "--schema-only", history.environ["POSTGRES_DSN"]]
    return (
        partial(measured, check, history.root, environ),
        partial(measured, dump, history.root, environ),
    )
