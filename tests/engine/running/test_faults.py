"""No crash spoils an upgrade, and runners beside each other do not meet: with real processes and kill -9."""

import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Generator, Sequence
from functools import partial
from pathlib import Path

import faults
import psutil
import pytest
from conftest import Project, changed, fresh, run_sql
from servers import cheap_server

from postgres_database.schema import dump
from postgres_database.server.connection import Database
from postgres_database.server.embedded import EmbeddedServer

BEFORE = """
op.execute('''
    CREATE TABLE u (id int PRIMARY KEY);
    INSERT INTO u SELECT generate_series(1, 40);
    CREATE TABLE t (id int PRIMARY KEY, a int, b text, u int, n int NOT NULL DEFAULT 0);
    INSERT INTO t SELECT i, i, 'b' || i, i FROM generate_series(1, 40) i;
    CREATE INDEX old ON t (b);
    CREATE TABLE done (what text);
    CREATE TYPE mood AS ENUM ('a');
''')
"""
MIXED = """
op.add_column("t", sa.Column("m", sa.Integer(), server_default="0"))
op.execute("UPDATE t SET n = n + 1")
op.execute("INSERT INTO done VALUES ('first')")
with op.online():
    op.create_index("i", "t", ["a"])
    op.execute("INSERT INTO done VALUES ('second')")
    op.execute("ALTER TYPE mood ADD VALUE 'b'")
    op.create_unique_constraint("uq", "t", ["a", "b"])
    op.create_foreign_key("fk", "t", "u", ["u"], ["id"])
    op.create_check_constraint("ck", "t", "a > 0")
    op.alter_column("t", "b", nullable=False)
    op.backfill("t", {"m": "m + 1"})
    op.drop_index("old")
op.execute("UPDATE t SET n = n + 1")
op.execute("INSERT INTO done VALUES ('third')")
"""
AFTER = """
with op.get_context().autocommit_block():
    op.create_index("j", "t", ["n"], postgresql_concurrently=True)
    op.execute("UPDATE t SET n = n + 1")
"""
ROWS = (
    "SELECT count(*), min(n), max(n), min(m), max(m) FROM t",
    "SELECT what, count(*) FROM done GROUP BY what ORDER BY what",
    "SELECT count(*) FROM pg_index WHERE NOT indisvalid",
    "SELECT version_num FROM alembic_version",
    """SELECT pid FROM pg_locks WHERE locktype = 'advisory'
       AND database = (SELECT oid FROM pg_database WHERE datname = current_database())""",
)
EXPECTED = [
    [(40, 3, 3, 1, 1)],
    [("first", 1), ("second", 1), ("third", 1)],
    [(0,)],
    [("dddd",)],
    [],
]


@pytest.fixture
def mixed(project: Project) -> Project:
    """A history of data changes and of steps beside live traffic, twelve of them in one script."""
    project.script("aaaa", "", BEFORE)
    project.script("bbbb", "aaaa", MIXED)
    project.script("cccc", "bbbb", AFTER)
    project.script("dddd", "cccc")
    return project


def state(database: Database) -> list[object]:
    """Return the schema and the rows that tell whether all was done once."""
    return [dump.take(database), *(run_sql(database, query) for query in ROWS)]


def at_base(project: Project, server: Database) -> Generator[Project]:
    """Yield the repository with a new target, again and again."""
    while True:
        with fresh(server) as database:
            other = faults.elsewhere(project, database)
            faults.upgraded(other, target="aaaa")
            yield other


def walk(mixed: Project, server: Database, step: int) -> None:
    """Kill an upgrade before and after every so many statements, and finish it."""
    targets = at_base(mixed, server)
    whole = next(targets)
    statements = faults.counted(whole)
    expected = state(whole.database)
    assert expected[1:] == EXPECTED
    points = [(number, after) for number in range(1, statements + 1) for after in (False, True)]
    killed = 0
    for number, after in points[::step]:
        other = next(targets)

        def work(other: Project = other, number: int = number, *, after: bool = after) -> None:
            faults.killing(number, after=after)
            faults.upgraded(other)

        killed += faults.run_child(work) == faults.KILLED
        faults.upgraded(other)
        assert state(other.database) == expected, (number, after)
    assert killed == len(points[::step])
    targets.close()


def test_upgrade_that_is_killed_goes_on(mixed: Project, server: Database) -> None:
    """Killed with -9 at some statements, an upgrade reaches head at the next try, each change done once."""
    walk(mixed, server, 29)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_upgrade_that_is_killed_anywhere_goes_on(mixed: Project, server: Database) -> None:
    """Killed with -9 before or after any statement, an upgrade reaches head at the next try."""
    walk(mixed, server, 1)


def crash(server: EmbeddedServer) -> None:
    """End a server as its crash would: nothing is finished, nothing is written."""
    postmaster = int((server.data / "postmaster.pid").read_text().split()[0])
    os.kill(
        postmaster, signal.SIGQUIT
    )  # immediate shutdown: PostgreSQL manual, "Shutting Down the Server"
    while psutil.pid_exists(postmaster):
        time.sleep(0.02)


def crash_at(mixed: Project, shares: Sequence[float]) -> None:
    """Let a server crash in upgrades, each after a share of its statements, and finish them."""
    home = Path(tempfile.mkdtemp(prefix="pgdb-crash-"))
    home.chmod(0o755)
    server = cheap_server(home)
    try:
        targets = at_base(mixed, Database(server.ensure_running(), "test"))
        statements = faults.counted(next(targets))
        for share in shares:
            other = next(targets)

            def work(other: Project = other, place: int = int(statements * share)) -> None:
                faults.watched(
                    lambda _cursor, count, _sql: crash(server) if count == place else None
                )
                faults.upgraded(other)

            assert faults.run_child(work) == faults.REFUSED
            server.ensure_running()
            faults.upgraded(other)
            assert state(other.database)[1:] == EXPECTED
        targets.close()
    finally:
        server.stop()
        shutil.rmtree(home)


@pytest.mark.long
def test_upgrade_whose_server_crashes_goes_on(mixed: Project) -> None:
    """When the server crashes in the middle of a script, the command says so, and the next one goes on."""
    crash_at(mixed, [0.6])


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_upgrade_whose_server_crashes_anywhere_goes_on(mixed: Project) -> None:
    """At six points of an upgrade a crash of the server spoils nothing."""
    crash_at(mixed, [0.1, 0.25, 0.4, 0.55, 0.7, 0.9])


def race(mixed: Project, server: Database, rounds: int) -> None:
    """Let five upgrades run at once, again and again."""
    targets = at_base(mixed, server)
    for _ in range(rounds):
        other = next(targets)
        children = [faults.start_child(partial(faults.upgraded, other)) for _ in range(5)]
        assert faults.wait_for(children) == [faults.OK] * 5
        assert state(other.database)[1:] == EXPECTED
        deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        assert run_sql(other.database, deadlocks) == [(0,)]
    targets.close()


@pytest.mark.long
def test_five_runners_at_once(mixed: Project, server: Database) -> None:
    """Of five upgrades at once one does the work, once; all end well, without a deadlock or an INVALID index."""
    race(mixed, server, 3)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_five_runners_at_once_in_many_rounds(mixed: Project, server: Database) -> None:
    """The same in fifty rounds."""
    race(mixed, server, 50)


@pytest.mark.long
def test_live_traffic_goes_on_while_a_lock_is_not_to_be_had(mixed: Project) -> None:
    """While a long transaction keeps a table, an upgrade tries again and again, and never keeps others waiting long."""
    faults.upgraded(mixed, target="aaaa")
    settings = changed(mixed.settings, lock_timeout=500)  # a loaded machine looks late who holds it
    mixed.settings = settings
    told: list[str] = []
    longest = 0.0
    done = threading.Event()

    def probe() -> None:
        nonlocal longest
        with mixed.database.connect(autocommit=True, usual_path=True) as connection:
            while not done.wait(0.01):
                started = time.monotonic()
                connection.exec_driver_sql("SELECT count(*) FROM t")
                connection.exec_driver_sql("UPDATE t SET b = b WHERE id = 7")
                longest = max(longest, time.monotonic() - started)

    prober = threading.Thread(target=probe)
    with mixed.database.connect(usual_path=True) as other, other.begin() as reading:
        other.exec_driver_sql("SELECT 'a secret' FROM t")
        prober.start()

        def tell(who: str) -> None:
            told.append(who)
            if len(told) == 3:
                reading.rollback()

        faults.upgraded(mixed, on_wait=tell)
    done.set()
    prober.join()
    assert state(mixed.database)[1:2] == EXPECTED[:1]
    assert "SELECT … FROM t" in told[0]
    assert longest < 3  # seconds; the figure is one of `make bench-faults`
