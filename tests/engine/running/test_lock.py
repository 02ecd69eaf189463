"""One runner at a time: who waits for whom, how long, and what may stand between."""

import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import faults
import pytest
from answers import never
from checkouts import Checkout
from commands import Heard, adopt, up
from conftest import PASSWORD, Project, columns, run_sql

from postgres_database.errors import ExpectedError
from postgres_database.history import script_files
from postgres_database.running import lock, runner
from postgres_database.running.listener import SILENT
from postgres_database.schema import dump
from postgres_database.server import pooler
from postgres_database.server.connection import Database
from postgres_database.workflows import status

BOUNCER = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
needs_bouncer = pytest.mark.skipif(BOUNCER is None, reason="PgBouncer is not installed")
HELD = (
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


@contextmanager
def holding(project: Project) -> Iterator[None]:
    """Be a command that changes the target of a project."""
    with (
        runner.open_runner(project.settings.project, project.database) as run,
        run.alone(Heard(on_wait=pytest.fail)),
    ):
        yield


@pytest.mark.parametrize("wait", [0.0, 0.3])
def test_waiting_has_an_end(three: Project, wait: float) -> None:
    """After the time that was given, a command that waits ends, says for whom, and has changed nothing."""
    with holding(three), pytest.raises(ExpectedError, match="by another command") as caught:
        up(three.settings, three.database, confirm=never, wait=wait)
    assert "it is pid " in caught.value.cause
    assert "--wait" in caught.value.hint
    assert columns(three.database) == []


def test_next_one_finds_nothing_to_do(three: Project) -> None:
    """A command that waits says for whom, and goes on when that one is done: nothing is done twice."""
    told: list[str] = []
    with holding(three):
        runner_up = threading.Thread(
            target=lambda: up(three.settings, three.database, confirm=never, on_wait=told.append)
        )
        runner_up.start()
        while not told:
            time.sleep(0.01)
        assert columns(three.database) == []
    runner_up.join()
    assert columns(three.database) == ["id", "bbbb", "cccc"]
    assert len(told) == 1
    assert told[0].startswith("another command: pid ")
    assert run_sql(three.database, HELD) == [(0,)]


def test_two_histories_in_two_schemas_do_not_wait(three: Project) -> None:
    """The lock is that of a version table: another history in another schema is not kept waiting."""
    run_sql(three.database, "CREATE SCHEMA theirs")
    other = faults.elsewhere(
        three,
        Database(three.database.dsn.with_parts(options="-c search_path=theirs"), "test"),
    )
    with holding(three):
        up(other.settings, other.database, confirm=never, wait=0)
    assert run_sql(three.database, "SELECT to_regclass('theirs.t') IS NOT NULL") == [(True,)]


def test_holder_that_is_killed_is_followed(three: Project) -> None:
    """When the command that works is killed in the middle of a long statement, the next one takes over soon."""
    three.script("aaaa", "", "op.execute('SELECT pg_sleep(300)')")
    child = faults.start_child(lambda: faults.upgraded(three))
    while run_sql(three.database, HELD + " AND granted") == [(0,)] or not _sleeps(three.database):
        time.sleep(0.01)
    faults.kill(child)
    three.script("aaaa", "", "op.execute('CREATE TABLE t (id int)')")
    began = time.monotonic()
    up(three.settings, three.database, confirm=never, wait=60)
    assert time.monotonic() - began < 30  # the figure is one of `make bench-faults`
    assert columns(three.database) == ["id", "bbbb", "cccc"]


def _sleeps(database: Database) -> bool:
    query = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"
    return bool(run_sql(database, query))


@contextmanager
def bouncer(database: Database, folder: Path, **options: object) -> Iterator[Database]:
    """Run a PgBouncer in front of the server of a database, on a Unix socket."""
    run_sql(database, "GRANT ALL ON SCHEMA public TO app")
    parts = database.dsn.parts
    defaults = {
        "listen_addr": "", "unix_socket_dir": folder, "listen_port": 6432, "auth_type": "any",
        "auth_file": folder / "users", "logfile": folder / "log", "pidfile": folder / "pid",
        "ignore_startup_parameters": "extra_float_digits", "query_wait_timeout": 30,
    }  # fmt: skip
    lines = "".join(f"{name} = {value}\n" for name, value in (defaults | options).items())
    target = f"host={parts['host']} port={parts['port']} dbname={parts['dbname']} user=app"
    target += f" password='{PASSWORD}'"
    (folder / "users").write_text(f'"app" "{PASSWORD}"\n')
    (folder / "ini").write_text(f"[databases]\nshop = {target}\n[pgbouncer]\n{lines}")
    os.chmod(folder, 0o777)  # noqa: PTH101, S103 - PgBouncer refuses to run as root
    account = ["-u", "nobody"] if os.geteuid() == 0 else []
    process = subprocess.Popen(
        [str(BOUNCER), *account, str(folder / "ini")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while not (folder / ".s.PGSQL.6432").exists():
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.01)
        yield Database(
            database.dsn.with_parts(host=str(folder), port="6432", dbname="shop", user="app"),
            "test",
        )
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory with a short name that other accounts may enter."""
    with tempfile.TemporaryDirectory(prefix="pgdb-b") as made:
        yield Path(made)


def test_baseline_waits_no_longer_for_its_checkout(project: Project) -> None:
    """The limit holds as well for another command that writes scripts in the same checkout."""
    run_sql(project.database, "CREATE TABLE t (id int)")
    with (
        script_files.staging(project.settings.project, pytest.fail),
        pytest.raises(ExpectedError, match="another command works in this checkout"),
    ):
        adopt(project.settings, project.database, "Init", never, wait=0.3)
    assert project.scripts() == []


@pytest.mark.parametrize("user", ["app", ""])
def test_holder_is_named_also_without_rights(three: Project, user: str) -> None:
    """Who may not see the sessions of others is still told which process works."""
    with holding(three), three.database.connect() as other:
        if user:
            run_sql(three.database, "GRANT ALL ON SCHEMA public TO app")
            other.exec_driver_sql("SET ROLE app")
            other.commit()
        second = lock.one_command_at_a_time(
            three.database, other.connection.driver_connection, SILENT, 0
        )
        with pytest.raises(ExpectedError) as caught, second:
            pytest.fail("two at once")
    assert caught.value.cause.startswith("it is pid ")


@needs_bouncer
@pytest.mark.parametrize(
    "options",
    [
        {"pool_mode": "transaction"},
        {"pool_mode": "transaction", "default_pool_size": 1},
        {"pool_mode": "transaction", "server_round_robin": 1, "min_pool_size": 5},
        {"pool_mode": "transaction", "server_round_robin": 1},
    ],
    ids=["transaction", "one session", "round robin", "round robin of one"],
)
def test_pooler_that_cannot_keep_a_lock_is_refused(
    three: Project, folder: Path, options: dict[str, object]
) -> None:
    """Behind a pooler that gives each transaction another session, nothing is changed and no lock is left behind."""
    with bouncer(three.database, folder, **options) as pooled:
        with pytest.raises(ExpectedError, match="is behind a pooler") as caught:
            up(three.settings, pooled, confirm=never)
        assert "session mode" in caught.value.hint
        assert run_sql(three.database, HELD) == [(0,)]
    assert run_sql(three.database, "SELECT to_regclass('alembic_version')") == [(None,)]


@needs_bouncer
def test_pool_in_session_mode_is_well(three: Project, folder: Path) -> None:
    """A pool that gives a session for as long as the client stays is as good as the server."""
    with bouncer(three.database, folder, pool_mode="session") as pooled:
        assert up(three.settings, pooled, confirm=never).after == ("cccc",)


@needs_bouncer
def test_pool_that_is_in_use_gives_no_verdict(
    three: Project, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no second session is to be had, a pool in session mode is not taken for another one, and nobody hangs."""
    monkeypatch.setattr(pooler, "PATIENCE", 0.3)
    with (
        bouncer(three.database, folder, pool_mode="session", default_pool_size=1) as pooled,
        pooled.connect(usual_path=True) as connection,
    ):
        pooler.require_session(pooled, connection.connection.driver_connection)


@needs_bouncer
def test_pooler_is_refused_by_the_command(
    checkout: Checkout, database: Database, folder: Path
) -> None:
    """The command ends with 1, three lines and what to use instead."""
    with bouncer(database, folder, pool_mode="transaction") as pooled:
        checkout.env_file(
            "pooled", POSTGRES_DSN=" ".join(f"{k}={v}" for k, v in pooled.dsn.parts.items())
        )
        done = checkout.invoke("upgrade", "--env", "pooled")
    assert done.returncode == 1
    assert "is behind a pooler" in done.stderr
    assert "${EDITOR:-vi} .env.pooled" in done.stderr


@needs_bouncer
def test_pooler_that_mixes_sessions_is_read_by_no_pg_dump(three: Project, folder: Path) -> None:
    """What pg_dump sets in its session would reach the application: a schema is not read, and status says why."""
    ignored = {"ignore_startup_parameters": "options"}
    with bouncer(three.database, folder, pool_mode="transaction", **ignored) as pooled:
        with pytest.raises(ExpectedError, match="is behind a pooler"):
            dump.take(pooled.read_only())
        three.env_file("pooled", pooled)
        (row,) = status.collect(three.settings.project, ["pooled"])
    assert "is behind a pooler" in row.fault
    assert row.hint.startswith("${EDITOR:-vi} .env.pooled ")


@pytest.mark.long
@pytest.mark.parametrize("wait", ["soon", "30"])
def test_wait_that_is_no_time(checkout: Checkout, wait: str) -> None:
    """A time that is none, or has no unit, is told before anything is connected."""
    checkout.env_file("", POSTGRES_DSN="host=127.0.0.1 port=1 user=app dbname=shop")
    done = checkout.invoke("upgrade", "--wait", wait)
    assert done.returncode == 1
    assert f"--wait {wait} is not a duration" in done.stderr
