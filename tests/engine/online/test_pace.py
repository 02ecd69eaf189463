"""A backfill works as much as other sessions do not notice, and sees those who wait for it."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, ClassVar

import psycopg2
import pytest
import sqlalchemy as sa
from backfills import opened
from conftest import run_sql
from sqlalchemy.pool import StaticPool

from postgres_database.online import pace
from postgres_database.online.pace import Pace, Probe
from postgres_database.running import waiting
from postgres_database.running.autocommit import Autocommit
from postgres_database.server.connection import Database

OTHERS = pace.OTHERS.replace("datid IS NOT NULL", "datname = current_database()")
"""Without other tests."""
TABLE = "CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t SELECT generate_series(1, 3)"
ROW = "SELECT FROM public.t ORDER BY id LIMIT 1"
OTHER_SESSIONS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND query <> ''
"""


class Measured(Probe):
    """A probe that has measured what it is told: beside the batches, and while they stop."""

    def __init__(self, session: Autocommit, beside: list[float], calm: list[float]) -> None:
        super().__init__(session, lambda _: ROW)
        self.beside, self.calm = beside, calm
        self.asked = 0

    def go_on(self) -> None:
        """Measure nothing."""

    def take(self) -> list[float]:
        """Return what is measured beside, then what is thrown away, then what is measured in the stop."""
        self.asked += 1
        return [self.beside, [9.0], self.calm][(self.asked - 1) % 3]


def compared(session: Autocommit, probe: Probe, share: float) -> float:
    """Return the share after forty comparisons."""
    rate = Pace(session, probe, share=share)
    for _ in range(40):
        rate.rest(0.0001, waiting=False)
    return rate.share


@pytest.mark.parametrize(
    ("calm", "beside", "rises"),
    [
        ([1, 2, 3, 4], [1, 2, 3, 4], True),
        ([1, 2, 3, 4], [0.5, 1.5, 2.5, 3.5], True),
        ([1, 2, 3, 4], [2, 3, 4, 5], False),
        ([1, 2, 3, 4], [1, 2, 5, 6], False),
        ([1] * 19, [*[1.0] * 18, 20], True),
        ([], [], False),
        ([1], [], False),
        ([], [1], False),
    ],
    ids=["as fast", "faster", "slower", "half slower", "one stall", "nothing", "beside", "calm"],
)
def test_share_follows_what_others_notice(
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    *,
    calm: list[float],
    beside: list[float],
    rises: bool,
) -> None:
    """The share of the time grows to its limit, and falls to the least if a probe is slower beside it, or not known."""
    for name in ("PERIOD", "SETTLED", "CALM"):
        monkeypatch.setattr(pace, name, 0)
    end = pace.MOST if rises else pace.LEAST
    with opened(database, []) as session:
        for share in (pace.LEAST, pace.MOST):
            assert compared(session, Measured(session, beside, calm), share) == end


@contextmanager
def probing(session: Autocommit, row: str = ROW) -> Iterator[Probe]:
    """Let a probe measure in the block."""
    probe = Probe(session, lambda _: row)
    probe.go_on()
    try:
        yield probe
    finally:
        probe.end()


def until(holds: Callable[[], object]) -> None:
    """Wait until something holds."""
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_probe_measures_a_transaction_that_writes(database: Database) -> None:
    """It locks a row in a transaction, again and again while that is wanted, and its session is gone at the end."""
    run_sql(database, TABLE)
    ((before,),) = run_sql(database, "SELECT pg_current_wal_insert_lsn()")
    with opened(database, []) as session, probing(session) as probe:
        found: list[float] = []
        while len(found) < 5:
            found += probe.take()
            time.sleep(pace.INTERVAL)
        assert all(-14 < each < 3 for each in found)  # e^-14 is a microsecond
        written = f"SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '{before}') > 0"
        assert run_sql(database, written) == [(True,)]
        assert run_sql(database, "SELECT xmax <> '0' FROM t WHERE id = 1") == [(True,)]
        probe.pause()
        time.sleep(5 * pace.INTERVAL)
        probe.take()
        time.sleep(5 * pace.INTERVAL)
        assert probe.take() == []
        probe.go_on()
        until(probe.take)
    until(lambda: run_sql(database, OTHER_SESSIONS) == [(0,)])


@pytest.mark.parametrize(
    "statement", ["UPDATE public.t SET n = 1", "SELECT FROM public.t FOR UPDATE"]
)
def test_probe_stands_in_nobodys_way(database: Database, statement: str) -> None:
    """While it locks a row, another session may update it; a row that another session has locked is skipped."""
    run_sql(database, TABLE)
    with (
        opened(database, []) as session,
        opened(database, []) as other,
        probing(session) as probe,
        other.transaction("SET LOCAL lock_timeout = 10000") as cursor,
    ):
        until(probe.take)
        for _ in range(20):
            cursor.execute(f"SAVEPOINT a; {statement}; ROLLBACK TO a")
        cursor.execute(statement)
        probe.take()
        until(probe.take)
        probe.take()
        until(probe.take)


@pytest.mark.parametrize(
    "pool",
    [{"poolclass": StaticPool}, {"pool_size": 1, "max_overflow": 0}],
    ids=["one for all", "full"],
)
def test_probe_has_a_session_of_its_own(database: Database, pool: dict[str, Any]) -> None:
    """Whatever the pool of an application, the probe is no part of the transactions of the backfill."""
    run_sql(database, TABLE)
    engine = sa.create_engine(
        "postgresql+psycopg2://", connect_args=database.dsn.parameters(), **pool
    )
    with engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        session = Autocommit(connection)
        with probing(session) as probe, session.transaction() as cursor:
            until(probe.take)
            cursor.execute("SELECT pg_backend_pid()")
            ((own,),) = cursor.fetchall()
            assert probe.pid != own
            cursor.execute("UPDATE public.t SET n = 1")
            probe.take()
            until(probe.take)
            assert run_sql(database, "SELECT count(n) FROM t") == [(0,)]
    engine.dispose()


def test_probe_calls_nothing_that_shadows_a_name(database: Database) -> None:
    """A function that stands before PostgreSQL's own on the search path is not called."""
    shadow = "RETURNS timestamptz LANGUAGE plpgsql AS $$BEGIN RAISE 'shadow'; END$$"
    run_sql(
        database,
        TABLE,
        "CREATE SCHEMA s",
        f"CREATE FUNCTION s.clock_timestamp() {shadow}",
        f"CREATE FUNCTION s.statement_timestamp() {shadow}",
        f"ALTER DATABASE {database.dsn.database} SET search_path = s, pg_catalog",
    )
    with opened(database, []) as session, probing(session) as probe:
        until(probe.take)


class Heard(psycopg2.extensions.cursor):
    """A cursor that remembers what is sent."""

    sent: ClassVar[list[str]] = []

    def execute(self, *sent: Any) -> None:
        """Send statements as one message."""
        Heard.sent.append(sent[0])
        super().execute(*sent)


def test_probe_is_no_statement_of_the_script(database: Database) -> None:
    """Where the statements of a script are counted or measured by a class of cursors, those of the probe are not."""
    run_sql(database, TABLE)
    with opened(replace(database, cursor=Heard), []) as session, probing(session) as probe:
        until(probe.take)
        assert any("current_setting('role')" in each for each in Heard.sent)
        assert not any("SKIP LOCKED" in each for each in Heard.sent)


def test_probe_has_the_role_of_the_backfill(database: Database) -> None:
    """A row that only the role of the backfill may see and lock is measured; without the rights nothing is known."""
    role = f"clerk_{database.dsn.database}"
    run_sql(database, TABLE, f"CREATE ROLE {role}; ALTER TABLE t OWNER TO {role}")
    try:
        with opened(database, []) as session:
            session.run(f"SET ROLE {role}")
            with probing(session) as probe:
                until(probe.take)
            run_sql(database, f"ALTER TABLE t OWNER TO CURRENT_USER; REVOKE ALL ON t FROM {role}")
            with probing(session) as probe:
                until(lambda: probe.pid)
                time.sleep(5 * pace.INTERVAL)
                assert probe.take() == []
    finally:
        run_sql(database, f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_probe_that_is_lost_is_opened_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its session was ended by an administrator another one measures."""
    monkeypatch.setattr(pace, "AGAIN", 0.01)
    run_sql(database, TABLE)
    with opened(database, []) as session, probing(session) as probe:
        until(probe.take)
        first = probe.pid
        run_sql(database, f"SELECT pg_terminate_backend({first})")
        until(lambda: probe.pid != first)
        probe.take()
        until(probe.take)


def test_sessions_of_this_tool_are_nobody_else(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the probe nor the session that looks who stands in the way lets a backfill rest; an application does."""
    monkeypatch.setattr(waiting, "LONGEST_LOOK", 0.02)
    run_sql(database, TABLE)
    with opened(database, []) as session, probing(session) as probe:
        ((pid,),) = session.rows("SELECT pg_backend_pid()")
        with waiting.watching(database, pid, 100, lambda _: None):
            until(lambda: session.rows(OTHER_SESSIONS) == [(2,)])
            until(probe.take)
            for _ in range(20):
                assert session.rows(OTHERS, probe.pid) == [(False, False)]
                time.sleep(0.01)
        with opened(database, []) as other:
            other.rows("SELECT 1")
            assert session.rows(OTHERS, probe.pid) == [(False, True)]


@pytest.mark.parametrize("hidden", [False, True])
def test_session_that_waits_is_seen(database: Database, *, hidden: bool) -> None:
    """A session that waits for a row of the batch is seen, also by a role that may not see what others do."""
    role = f"clerk_{database.dsn.database}"
    run_sql(
        database,
        "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)",
        f"CREATE ROLE {role}; GRANT ALL ON t TO {role}",
    )
    waiter = threading.Thread(target=run_sql, args=(database, "UPDATE t SET id = id"))
    try:
        with opened(database, []) as session:
            if hidden:
                session.run(f"SET ROLE {role}")
            with session.transaction() as cursor:
                cursor.execute("UPDATE t SET id = id")
                waiter.start()
                while not run_sql(database, "SELECT 1 FROM pg_locks WHERE NOT granted"):
                    assert waiter.is_alive()
                assert Pace(session, Probe(session, lambda _: ROW)).look(cursor)
            with session.transaction() as cursor:
                assert not Pace(session, Probe(session, lambda _: ROW)).look(cursor)
    finally:
        waiter.join()
        run_sql(database, f"DROP OWNED BY {role}; DROP ROLE {role}")
