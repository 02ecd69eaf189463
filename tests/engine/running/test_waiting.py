"""Who stands in the way of a session, seen from another one."""

import threading
import time

import pytest

from postgres_database.running import waiting
from postgres_database.server.connection import Database

WATCHER = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE datname = current_database() AND query LIKE '%%pg_blocking_pids%%' AND pid <> pg_backend_pid()
"""


def test_watcher_that_loses_its_connection_opens_another(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The watcher's own lost connection ends neither the watching nor the work, and no thread by a traceback."""
    monkeypatch.setattr(waiting, "LONGEST_LOOK", 0.1)
    raised: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", raised.append)
    with database.connect(autocommit=True) as holder, database.connect() as waiter:
        holder.exec_driver_sql("SELECT pg_advisory_lock(1)")
        pid = waiter.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        with waiting.watching(database, pid, 10_000, lambda _: None) as watch:
            until = time.monotonic() + 30
            while not holder.exec_driver_sql(WATCHER).scalar() and time.monotonic() < until:
                time.sleep(0.02)
            work = threading.Thread(
                target=lambda: waiter.exec_driver_sql("SELECT pg_advisory_xact_lock(1)"),
                daemon=True,
            )
            work.start()
            while not watch.seen and time.monotonic() < until:
                time.sleep(0.02)
            holder.exec_driver_sql("SELECT pg_advisory_unlock(1)")
            work.join(30)
    assert "pid " in watch.seen
    assert not raised


def test_a_prepared_transaction_is_named(database: Database) -> None:
    """What holds a lock without a session, and will hold it for ever, is named with the statements that end it."""
    gid = f"{database.dsn.database} it's hanging"
    literal = "'" + gid.replace("'", "''") + "'"
    with database.connect(autocommit=True) as holder, database.connect() as waiter:
        for statement in (
            "CREATE TABLE public.t ()", "BEGIN", "LOCK TABLE public.t", f"PREPARE TRANSACTION {literal}",
        ):  # fmt: skip
            holder.exec_driver_sql(statement)
        pid = waiter.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        with waiting.watching(database, pid, 100, lambda _: None) as watch:
            work = threading.Thread(
                target=lambda: waiter.exec_driver_sql("TABLE public.t"), daemon=True
            )
            work.start()
            while not watch.seen:
                time.sleep(0.02)
            holder.exec_driver_sql(f"ROLLBACK PREPARED {literal}")
            work.join(30)
    assert watch.seen.startswith(f"the prepared transaction {literal} (")
    assert f"ROLLBACK PREPARED {literal} ends" in watch.seen
