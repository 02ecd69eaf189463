"""What live traffic notices of an upgrade, and what a crash costs: on a server of its own, with real processes.

`make bench-faults` prints the table of docs/upgrade.md; `python -m benchmarks.faults backfill` only a part of it.
Exit code 1 if a bound is missed. PostgreSQL by itself is the peer where there is one: the same statement without us,
and pgbench without a backfill.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg2

from postgres_database import binaries
from postgres_database.server import EmbeddedServer

ROOT = Path(__file__).parent.parent
BLOCKED = 10.0  # seconds that a transaction keeps the table
LOCK_TIMEOUT = 1.0  # seconds, the default
OLD = 20.0  # seconds of an old snapshot
ROWS = 1_000_000
TARGET = 0.1  # seconds of a batch
KILLS = 5
WINDOW = 8  # seconds of pgbench without and with us, in turn
PROBE = 0.01  # seconds
SOON = 5  # seconds until the next one is done
SHARE = 1.2
"""By how much pgbench may be slower."""
SCRIPT = '''"""{name}"""

import sqlalchemy as sa
from alembic import op

revision = {name!r}
down_revision = {parent!r}


def upgrade() -> None:
    {body}


def downgrade() -> None:
    pass
'''
PGBENCH = r"""
\set id random(1, {rows})
UPDATE t SET other = other + 1 WHERE id = :id;
SELECT n FROM t WHERE id = :id;
"""

RUNS = "SELECT 1 FROM pg_stat_activity WHERE query ~ 'SET n = n . 1' AND pid <> pg_backend_pid()"
Row = tuple[str, str, str, bool]
"""What was measured, the figure, its bound, and whether it holds."""


class Checkout:
    """A copy of this repository with a history of its own, and a database on a server."""

    def __init__(self, root: Path, server: EmbeddedServer, name: str) -> None:
        """Copy the files and make the database."""
        self.root = root / name
        self.parts: dict[str, Any] = server.dsn.with_parts(dbname=name).parameters()
        ignored = shutil.ignore_patterns("__pycache__", ".*", "tests", "20*.py")
        shutil.copytree(ROOT, self.root, ignore=ignored)
        maintenance: dict[str, Any] = server.dsn.parameters()
        with closing(psycopg2.connect(**maintenance)) as connection:
            connection.autocommit = True
            connection.cursor().execute(f"CREATE DATABASE {name}")
        text = " ".join(f"{key}='{value}'" for key, value in self.parts.items())
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(root),
            "POSTGRES_DSN": text,
            "SCRATCH_DSN": text,
        }

    def script(self, name: str, parent: str | None, body: str) -> None:
        """Write a script of one statement."""
        path = self.root / "migration" / "versions" / f"{name}.py"
        path.write_text(SCRIPT.format(name=name, parent=parent, body=body))

    def start(self) -> subprocess.Popen[str]:
        """Start an upgrade."""
        return subprocess.Popen(
            [sys.executable, "-m", "invoke", "upgrade", "--skip-row-checks"], cwd=self.root, env=self.environ,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def upgrade(self) -> str:
        """Upgrade and return what was told."""
        process = self.start()
        _, said = process.communicate()
        if process.returncode:
            raise SystemExit(f"the upgrade failed:\n{said}")
        return said

    @contextmanager
    def session(self) -> Iterator[psycopg2.extensions.cursor]:
        """Open a session whose statements commit by themselves."""
        connection = psycopg2.connect(**self.parts)
        connection.autocommit = True
        try:
            yield connection.cursor()
        finally:
            connection.close()

    def query(self, sql: str) -> list[tuple[object, ...]]:
        """Run SQL."""
        with self.session() as cursor:
            cursor.execute(sql)
            return [*cursor.fetchall()] if cursor.description else []


class Probe:
    """A client that reads and writes a row a hundred times a second, and its longest wait."""

    def __init__(self, checkout: Checkout) -> None:
        """Begin."""
        self.longest = 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(checkout,))
        self._thread.start()

    def _run(self, checkout: Checkout) -> None:
        with checkout.session() as cursor:
            while not self._done.wait(PROBE):
                started = time.monotonic()
                cursor.execute(
                    "SELECT n FROM t WHERE id = 1; UPDATE t SET other = other + 1 WHERE id = 1"
                )
                self.longest = max(self.longest, time.monotonic() - started)

    def end(self) -> float:
        """End, and return the longest wait."""
        self._done.set()
        self._thread.join()
        return self.longest


def table(checkout: Checkout, rows: int) -> None:
    """Make a table with rows, and the first script."""
    checkout.query(
        "CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL DEFAULT 0, other int NOT NULL DEFAULT 0)"
    )
    checkout.query(f"INSERT INTO t SELECT generate_series(1, {rows})")
    checkout.query("VACUUM ANALYZE t")


def kept(checkout: Checkout, work: Callable[[], object]) -> tuple[float, float]:
    """Do something while a transaction keeps the table; return the longest probe, and how long it took after."""
    with checkout.session() as blocker:
        blocker.execute("BEGIN; SELECT count(*) FROM t")
        probe = Probe(checkout)
        worker = threading.Thread(target=work)
        worker.start()
        time.sleep(BLOCKED)
        blocker.execute("COMMIT")
        released = time.monotonic()
        worker.join()
        return probe.end(), time.monotonic() - released


def locks(checkout: Checkout) -> Iterator[Row]:
    """Change a table that somebody keeps."""
    table(checkout, 100_000)
    plain, _ = kept(checkout, lambda: checkout.query("ALTER TABLE t ADD COLUMN plain int"))
    checkout.script("aaaa", None, "op.add_column('t', sa.Column('ours', sa.Integer()))")
    said: list[str] = []
    longest, after = kept(checkout, lambda: said.append(checkout.upgrade()))
    bound = LOCK_TIMEOUT + 0.1
    yield "longest probe, plain ALTER TABLE", f"{plain:.2f} s", "(peer)", True
    yield "longest probe, upgrade", f"{longest:.2f} s", f"{bound:.1f} s", longest <= bound
    named = "pid " in said[0] and "SELECT count(*) FROM t" in said[0]
    yield "upgrade done after the release", f"{after:.1f} s", "blocker named", named


def takeover(checkout: Checkout) -> Iterator[Row]:
    """Kill the command that works in the middle of a statement."""
    table(checkout, 1)
    checkout.script("aaaa", None, "op.execute('SELECT pg_sleep(600)')")
    first = checkout.start()
    while not checkout.query("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"):
        time.sleep(0.05)
    checkout.script("aaaa", None, "op.execute('SELECT 1')")
    second = checkout.start()
    time.sleep(2)
    first.send_signal(signal.SIGKILL)
    killed = time.monotonic()
    second.communicate()
    seconds = time.monotonic() - killed
    yield (
        "next one done after kill -9",
        f"{seconds:.1f} s",
        "5 s",
        seconds <= SOON and not second.returncode,
    )


def snapshot(checkout: Checkout) -> Iterator[Row]:
    """Build an index while somebody has an old snapshot of another table."""
    table(checkout, 100_000)
    checkout.query("CREATE TABLE unrelated (x int)")
    checkout.script("aaaa", None, "with op.online():\n        op.create_index('i', 't', ['n'])")
    with checkout.session() as old:
        old.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT * FROM unrelated")
        threading.Timer(OLD, lambda: old.execute("COMMIT")).start()
        started = time.monotonic()
        checkout.upgrade()
        seconds = time.monotonic() - started
    invalid = checkout.query("SELECT count(*) FROM pg_index WHERE NOT indisvalid")[0][0]
    yield (
        f"index beside a snapshot of {OLD:.0f} s",
        f"{seconds:.1f} s, {invalid} INVALID",
        "0 INVALID",
        invalid == 0,
    )


def pgbench(checkout: Checkout, folder: Path) -> list[int]:
    """Run traffic for a while and return how long each transaction took, in microseconds."""
    script = folder / "script"
    script.write_text(PGBENCH.format(rows=ROWS))
    prefix = folder / f"log{time.monotonic_ns()}"
    environ = {**checkout.environ, "PGHOST": checkout.parts["host"], "PGPORT": checkout.parts["port"],
               "PGUSER": checkout.parts["user"], "PGDATABASE": checkout.parts["dbname"]}  # fmt: skip
    options = f"-n -c 2 -R 200 -T {WINDOW} -l".split()
    command: list[str | Path] = [binaries.BINARIES / "pgbench", *options, "-f", script]
    command.append(f"--log-prefix={prefix}")
    subprocess.run(command, env=environ, check=True, capture_output=True)
    logs = folder.glob(f"{prefix.name}*")
    return [int(line.split()[2]) for log in logs for line in log.read_text().splitlines()]


def p95(times: list[int]) -> float:
    """Return the 95th percentile in milliseconds."""
    return sorted(times)[int(len(times) * 0.95)] / 1000


def backfill(checkout: Checkout, folder: Path) -> Iterator[Row]:
    """Give a million rows a value under traffic, killed five times; traffic has the machine alone in between."""
    table(checkout, ROWS)
    checkout.script("aaaa", None, "op.backfill('t', {'n': 'n + 1'})")
    pgbench(checkout, folder)  # the caches are warm now
    longest = 0.0
    done = threading.Event()

    def watch() -> None:
        nonlocal longest
        with checkout.session() as cursor:
            while not done.wait(0.01):
                cursor.execute(
                    "SELECT max(extract(epoch FROM clock_timestamp() - xact_start))::float FROM pg_stat_activity"
                    " WHERE query ~ 'SET n = n . 1' AND state <> 'idle' AND pid <> pg_backend_pid()"
                )
                longest = max(longest, (cursor.fetchone() or (0,))[0] or 0)

    watcher = threading.Thread(target=watch)
    watcher.start()
    alone, beside, places = [], [], []
    for _ in range(KILLS):
        alone += pgbench(checkout, folder)
        process = checkout.start()
        while not checkout.query(
            "SELECT 1 FROM pg_stat_activity WHERE query ~ 'SET n = n . 1' AND pid <> pg_backend_pid()"
        ):
            time.sleep(0.05)
        beside += pgbench(checkout, folder)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        places.append(checkout.query("SELECT count(*) FROM t WHERE n > 0")[0][0])
    checkout.upgrade()
    done.set()
    watcher.join()
    ((low, high, count),) = checkout.query("SELECT min(n), max(n), count(*) FROM t")
    exact = (low, high, count) == (1, 1, ROWS)
    yield (
        f"{ROWS:,} rows, killed at {', '.join(f'{place:,}' for place in places)}",
        f"exact: {exact}",
        "exact",
        exact,
    )
    yield "longest transaction", f"{longest:.2f} s", f"{2 * TARGET:.1f} s", longest <= 2 * TARGET
    ratio = p95(beside) / p95(alone)
    figure = f"{p95(beside):.2f} ms, {ratio:.2f} of {p95(alone):.2f} ms"
    yield "pgbench p95 beside it", figure, f"{SHARE:.2f}", ratio <= SHARE


def main() -> int:
    """Print the table."""
    good = True
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)  # as root the server runs under another account
        server = EmbeddedServer(folder / "server")
        server.ensure_running()
        print("| | measured | bound | |\n| --- | --- | --- | --- |")
        try:
            for work in (locks, takeover, snapshot, backfill):
                if sys.argv[1:] and work.__name__ not in sys.argv[1:]:
                    continue
                checkout = Checkout(folder, server, work.__name__)
                more = [folder] if work is backfill else []
                for what, figure, bound, holds in work(checkout, *more):
                    print(
                        f"| {what} | {figure} | {bound} | {'ok' if holds else 'MISSED'} |",
                        flush=True,
                    )
                    good &= holds
        finally:
            server.stop()
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
