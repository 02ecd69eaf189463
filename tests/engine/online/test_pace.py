"""A backfill works as much as other sessions do not notice, and sees those who wait for it."""

import threading
import time

import pytest
from backfills import opened
from conftest import run_sql

from postgres_database.online import pace
from postgres_database.online.pace import Pace
from postgres_database.running import waiting
from postgres_database.server.connection import Database

CALM = 0.01
OTHERS = "SELECT false, true, CASE WHEN %s = 0 THEN '{{{calm}}}' ELSE '{{{beside}}}' END::float[]"
WATCHERS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND query <> ''
"""


@pytest.mark.parametrize(
    ("calm", "beside", "rises"),
    [
        ("0.01, 0.02", "0.01, 0.02", True),
        ("0.01, 0.02", "0.005, 0.01", True),
        ("0.01, 0.02", "0.05, 0.1", False),
        ("0.01, 0.02", "0.01, 0.1, 0.1", False),
        ("", "", False),
        ("0.01", "", False),
    ],
)
def test_share_follows_what_others_notice(
    database: Database, monkeypatch: pytest.MonkeyPatch, *, calm: str, beside: str, rises: bool
) -> None:
    """The share of the time grows up to its limit, unless statements of others are slower beside it, or not known."""
    for name in ("LOOK", "PERIOD", "CALM"):
        monkeypatch.setattr(pace, name, 0)
    monkeypatch.setattr(pace, "OTHERS", OTHERS.format(calm=calm, beside=beside))
    with opened(database, []) as session:
        rate = Pace(session)
        for _ in range(40):
            with session.transaction() as cursor:
                rate.look(cursor)
            rate.rest(0.0001, waiting=False)
    assert (rate.share == pace.MOST) is rises
    assert (rate.share < 4 * pace.LEAST) is not rises


def test_share_falls_once_others_notice(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A share that was reached while others did not notice is given up when they do."""
    for name in ("LOOK", "PERIOD", "CALM"):
        monkeypatch.setattr(pace, name, 0)
    monkeypatch.setattr(pace, "OTHERS", OTHERS.format(calm="0.01", beside="0.1"))
    with opened(database, []) as session:
        rate = Pace(session, share=pace.MOST)
        for _ in range(40):
            with session.transaction() as cursor:
                rate.look(cursor)
            rate.rest(0.0001, waiting=False)
    assert rate.share < 4 * pace.LEAST


def test_statements_of_others_are_seen(database: Database) -> None:
    """Statements that run or ended within a span are seen with their seconds; older ones of both kinds are not."""
    others = pace.OTHERS.replace("datid IS NOT NULL", "datname = current_database()")
    assert others != pace.OTHERS  # which sees other tests, too
    with opened(database, []) as session, opened(database, []) as other:
        other.rows("SELECT pg_sleep(0.1)")
        ((waiting, busy, seconds),) = session.rows(others, 60)
        assert (waiting, busy) == (False, True)
        assert any(each >= 0.1 for each in seconds)
        time.sleep(0.1)
        ((_, _, seconds),) = session.rows(others, 0.05)
        assert not any(each >= 0.1 for each in seconds)


def test_the_watcher_is_nobody_else(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The session in which this tool looks who stands in the way of a backfill does not let it rest."""
    monkeypatch.setattr(waiting, "LONGEST_LOOK", 0.02)
    others = pace.OTHERS.replace("datid IS NOT NULL", "datname = current_database()")
    with opened(database, []) as session:
        ((pid,),) = session.rows("SELECT pg_backend_pid()")
        with waiting.watching(database, pid, 100, lambda _: None):
            until = time.monotonic() + 30
            while time.monotonic() < until:
                ((seen,),) = session.rows(WATCHERS)
                if seen:
                    break
            assert seen
            for _ in range(20):
                ((_, busy, _),) = session.rows(others, 60)
                assert not busy
                time.sleep(0.01)


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
                assert Pace(session).look(cursor)
            with session.transaction() as cursor:
                assert not Pace(session).look(cursor)
    finally:
        waiter.join()
        run_sql(database, f"DROP OWNED BY {role}; DROP ROLE {role}")
