"""What live traffic notices of an upgrade, and what a crash costs: on a server of its own, with real processes.

`make bench-faults` prints the table of docs/upgrade.md; `python -m benchmarks.faults backfill` only a part of it.
Exit code 1 if a bound is missed. PostgreSQL by itself is the peer where there is one: the same statement without us,
and pgbench without a backfill.
"""

import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.checkout import ROOT, Checkout, Probe
from postgres_database.server import programs
from postgres_database.server.embedded import EmbeddedServer

sys.path.append(str(ROOT / "tests" / "engine" / "helpers"))
from ordinary_changes import BASE, CHANGES
from ordinary_changes import ROWS as INSERT

BLOCKED = 10.0  # seconds that a transaction keeps the table
LOCK_TIMEOUT = 1.0  # seconds, the default
OLD = 20.0  # seconds of an old snapshot
ROWS = 1_000_000
TARGET = 0.1  # seconds of a batch
CLIENTS = 6
WINDOW = 8  # seconds of pgbench without and with us, in turn
WINDOWS = 3  # of each
SOON = 5  # seconds until the next one is done
UNNOTICED = 100.0  # milliseconds
SHARE = 1.2
"""By how much pgbench may be slower."""
RATE = 5000  # rows a second
PGBENCH = r"""
\set id random(1, {rows})
UPDATE t SET other = other + 1 WHERE id = :id;
SELECT n FROM t WHERE id = :id;
"""
LOADS: dict[str, list[str]] = {"busy clients": [], "clients, 300/s": ["-R", "300"]}
DEAR = """
    CREATE TABLE t (id int PRIMARY KEY, n text, other int NOT NULL DEFAULT 0, a int, b text, pad text STORAGE PLAIN);
    INSERT INTO t SELECT i, NULL, 0, i % 1000, md5(i::text),
        (SELECT string_agg(md5(i::text || j), '') FROM generate_series(1, 45) j) FROM generate_series(1, 500000) i;
    CREATE INDEX ON t (n);
    CREATE INDEX ON t (a);
    CREATE INDEX ON t (b)
"""
PASSED = "SELECT max((value -> 'at' ->> 0)::int) FROM alembic_version_log, jsonb_each(progress -> 'positions')"

PROBE = "SELECT n FROM t WHERE id = 1; UPDATE t SET other = other + 1 WHERE id = 1"
RUNS = (
    "SELECT 1 FROM pg_stat_activity WHERE query ~ '^UPDATE t SET n = ' AND pid <> pg_backend_pid()"
)
PROBE_USERS = "SELECT email FROM users WHERE id = 1; UPDATE users SET age = age + 1 WHERE id = 1"
MODELS = """
import sqlalchemy as sa

from postgres_database.models.base import Base

metadata = sa.MetaData(naming_convention=Base.metadata.naming_convention)
"""
Row = tuple[str, str, str, bool]
"""What was measured, the figure, its bound, and whether it holds."""


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
        probe = Probe(checkout, PROBE)
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
    longest, after = kept(checkout, lambda: said.append(checkout.run()))
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
        checkout.run()
        seconds = time.monotonic() - started
    invalid = checkout.query("SELECT count(*) FROM pg_index WHERE NOT indisvalid")[0][0]
    yield (
        f"index beside a snapshot of {OLD:.0f} s",
        f"{seconds:.1f} s, {invalid} INVALID",
        "0 INVALID",
        invalid == 0,
    )


def pgbench(checkout: Checkout, folder: Path, rows: int, load: Sequence[str]) -> list[int]:
    """Run traffic for a while and return how long each transaction took, in microseconds."""
    script = folder / "script"
    script.write_text(PGBENCH.format(rows=rows))
    prefix = folder / f"log{time.monotonic_ns()}"
    environ = {**checkout.environ, "PGHOST": checkout.parts["host"], "PGPORT": checkout.parts["port"],
               "PGUSER": checkout.parts["user"], "PGDATABASE": checkout.parts["dbname"]}  # fmt: skip
    options = [*f"-n -c {CLIENTS} -T {WINDOW} -l".split(), *load]
    command: list[str | Path] = [programs.BINARIES / "pgbench", *options, "-f", script]
    command.append(f"--log-prefix={prefix}")
    subprocess.run(command, env=environ, check=True, capture_output=True)
    logs = folder.glob(f"{prefix.name}*")
    return [int(line.split()[2]) for log in logs for line in log.read_text().splitlines()]


def percentile(times: list[int], share: float) -> float:
    """Return a percentile in milliseconds."""
    return sorted(times)[int(len(times) * share)] / 1000


def narrow(checkout: Checkout) -> tuple[int, str, str]:
    """Make narrow rows; return their number, the values of the backfill, and what counts those that are done once."""
    table(checkout, 4 * ROWS)
    return 4 * ROWS, "{'n': 'n + 1'}", "SELECT count(*) FROM t WHERE n = 1"


def dear(checkout: Checkout) -> tuple[int, str, str]:
    """Make rows of 1.5 kB with four indexes, one on the column that a costly expression fills."""
    checkout.query(DEAR)
    checkout.query("VACUUM ANALYZE t")
    values = "{'n': \"coalesce(n, '') || md5(pad) || md5(b)\"}"
    return 500_000, values, "SELECT count(*) FROM t WHERE n = md5(pad) || md5(b)"


def backfill(checkout: Checkout, folder: Path) -> Iterator[Row]:
    """Give narrow and dear rows a value under traffic, killed again and again; traffic has the machine in between."""
    for number, make in enumerate((narrow, dear)):
        checkout.query("DROP TABLE IF EXISTS t")
        rows, values, done = make(checkout)
        parent = "aaa" + "abc"[number - 1] if number else None
        checkout.script("aaa" + "abc"[number], parent, f"op.backfill('t', {values})")
        yield from beside(checkout, folder, rows, make.__name__)
        checkout.run()
        ((count,),) = checkout.query(done)
        exact = count == rows
        yield (
            f"{rows:,} {make.__name__} rows, killed {len(LOADS) * WINDOWS} times",
            f"exact: {exact}",
            "exact",
            exact,
        )


def beside(checkout: Checkout, folder: Path, rows: int, name: str) -> Iterator[Row]:
    """Measure pgbench and the backfill beside each other, in turn with pgbench alone."""
    pgbench(checkout, folder, rows, [])  # the caches are warm now
    longest = 0.0
    done = threading.Event()

    def watch() -> None:
        nonlocal longest
        with checkout.session() as cursor:
            while not done.wait(0.05):
                cursor.execute(
                    "SELECT max(extract(epoch FROM clock_timestamp() - xact_start))::float FROM pg_stat_activity"
                    " WHERE query ~ '^UPDATE t SET n = ' AND state <> 'idle' AND pid <> pg_backend_pid()"
                )
                longest = max(longest, (cursor.fetchone() or (0,))[0] or 0)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    for clients, load in LOADS.items():
        alone, busy, passed = [], [], 0
        for _ in range(WINDOWS):
            alone += pgbench(checkout, folder, rows, load)
            process = checkout.start()
            while not checkout.query(RUNS):
                if process.poll() is not None:
                    raise SystemExit(f"the backfill does not run:\n{process.communicate()[1]}")
                time.sleep(0.05)
            pgbench(checkout, folder, rows, load)  # it finds its pace meanwhile
            before = int(str(checkout.query(PASSED)[0][0]))
            busy += pgbench(checkout, folder, rows, load)
            passed += int(str(checkout.query(PASSED)[0][0])) - before
            process.send_signal(signal.SIGKILL)
            process.communicate()
        rate = passed / WINDOWS / WINDOW
        what = f"{name} rows beside {CLIENTS} {clients}"
        yield what, f"{rate:,.0f} rows/s", f"{RATE:,}", rate >= RATE
        figures = [
            (percentile(busy, share), percentile(alone, share)) for share in (0.5, 0.95, 0.99)
        ]
        ratio = figures[1][0] / figures[1][1]
        figure = ", ".join(f"{now:.1f} of {usual:.1f} ms" for now, usual in figures)
        many = len(busy) / len(alone)
        yield (
            "p50, p95, p99 of the clients",
            f"{figure}; {many:.2f} of their transactions",
            f"p95 {SHARE:.2f}",
            ratio <= SHARE,
        )
    done.set()
    watcher.join()
    yield (
        f"longest transaction, {name} rows",
        f"{longest:.2f} s",
        f"{2 * TARGET:.1f} s",
        longest <= 2 * TARGET,
    )


def changes(checkout: Checkout) -> Iterator[Row]:
    """Make ordinary changes of a table with rows as plain Alembic does, and as we do, each beside a client."""
    pace = checkout.root / "postgres_database" / "online" / "pace.py"
    # Its rests only make what is measured here last longer.
    pace.write_text(
        re.sub(r"(?m)^LEAST, FIRST, MOST = .*", "LEAST = FIRST = MOST = 0.5", pace.read_text())
    )
    models = checkout.root / "shop.py"
    ini = checkout.root / "alembic.ini"
    ini.write_text(ini.read_text().replace("postgres_database.models:metadata", "shop:metadata"))
    (checkout.root / "before.py").write_text(MODELS + BASE)
    create = "from before import metadata; metadata.create_all(op.get_bind())"
    checkout.script("aaaa", None, create)
    checkout.run()
    checkout.query(INSERT.format(rows=ROWS))
    checkout.query("VACUUM ANALYZE users")
    # What a statement waits for somebody is measured by `locks`; here it is what the script itself makes others wait.
    checkout.query("ALTER TABLE users SET (autovacuum_enabled = false)")
    checkout.save()
    configuration = ini.read_text()
    for name, change in CHANGES.items():
        models.write_text(f"{MODELS}{BASE}\n{change}\n")
        ini.write_text(configuration.replace("# online = false", "online = false"))
        try:
            plain = f"{changed(checkout, 'alembic', 'upgrade', 'head'):.0f} ms"
        except SystemExit:  # rows are in its way
            plain = "fails"
        ini.write_text(configuration)
        ours = changed(checkout)
        figure = f"{ours:.0f} ms; plain Alembic {plain}"
        yield f"{name}, longest probe", figure, f"{UNNOTICED:.0f} ms", ours <= UNNOTICED


def changed(checkout: Checkout, *command: str) -> float:
    """Let the next scripts be written, run them beside a client, and return its longest wait in milliseconds."""
    described = "invoke", "revision", "--msg", "Change", "--no-renames"
    checkout.run(*described, fine=(0, 2))  # 2: there is something to look at
    scripts = [*(checkout.root / "migration" / "versions").glob("20*.py")]
    for path in scripts:
        path.write_text(path.read_text().replace("'x': None", "'x': \"'filled'\""))
    checkout.restore()
    checkout.query("SELECT count(*), sum(length(email)) FROM users")  # the caches are warm now
    probe = Probe(checkout, PROBE_USERS)
    try:
        checkout.run(*command)
    finally:
        longest = probe.end()
        for path in scripts:
            path.unlink()
    return longest * 1000


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
            for work in (locks, takeover, snapshot, backfill, changes):
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
