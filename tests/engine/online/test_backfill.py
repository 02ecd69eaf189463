"""A backfill updates each row once, in short transactions, by any unique key, even if it is killed."""

import random
import re
import threading
import time
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import faults
import psycopg2.extensions
import pytest
from answers import never, yes
from backfills import Place, fill, opened
from commands import up
from conftest import Project, run_sql

from postgres_database.errors import ExpectedError
from postgres_database.online import backfill, batches, pace
from postgres_database.online.backfill import Backfill
from postgres_database.running import log
from postgres_database.server.connection import Database

HEAR = """
    CREATE FUNCTION hear() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN INSERT INTO heard VALUES (NEW.id); RETURN NULL; END'
"""
HEARING = """
    CREATE CONSTRAINT TRIGGER hear AFTER UPDATE ON t DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION hear()
"""
ONCE = "SELECT count(*), min(n), max(n) FROM t"


KEYS = {
    "integer": ("id int PRIMARY KEY", "i"),
    "text with a collation": ('id text COLLATE "C" PRIMARY KEY', "chr(64 + i % 60) || '''\\ %' || i"),
    "text": ("id text PRIMARY KEY", "'é' || i"),
    "uuid": ("id uuid PRIMARY KEY", "gen_random_uuid()"),
    "timestamptz": ("id timestamptz PRIMARY KEY", "now() + i * interval '1.000001 s'"),
    "interval": ("id interval PRIMARY KEY", "i * interval '1 month -3 days 4 s'"),
    "double": ("id float8 PRIMARY KEY", "i / 3.0::float8"),
    "numeric": ("id numeric PRIMARY KEY", "i / 7.0"),
    "bytea": ("id bytea PRIMARY KEY", "decode(md5(i::text), 'hex')"),
    "negative": ("id int PRIMARY KEY", "-i"),
    "composite": ("a int, id text, PRIMARY KEY (a, id)", "i % 7, 'x' || i"),
    "quoted": ('"I""d %s" int, PRIMARY KEY ("I""d %s")', "i"),
    "unique": ("id int NOT NULL UNIQUE, other int UNIQUE", "i, NULL"),
    "deferrable beside": ("id int NOT NULL UNIQUE DEFERRABLE, k int NOT NULL UNIQUE", "i, -i"),
}  # fmt: skip


@pytest.mark.parametrize(("key", "value"), KEYS.values(), ids=KEYS)
def test_each_row_once_whatever_the_key(
    database: Database, monkeypatch: pytest.MonkeyPatch, key: str, value: str
) -> None:
    """By any type of key each row is updated once, in several batches, also in sessions with other settings."""
    monkeypatch.setattr(batches, "FIRST", 7)
    monkeypatch.setattr(batches, "LARGEST", 50)
    name = database.dsn.database
    run_sql(
        database,
        f"CREATE TABLE t ({key}, n int DEFAULT 0)",
        f"INSERT INTO t SELECT {value} FROM generate_series(1, 300) i",
        f"ALTER DATABASE {name} SET datestyle = 'SQL, DMY'",
        f"ALTER DATABASE {name} SET intervalstyle = 'sql_standard'",
        f"ALTER DATABASE {name} SET extra_float_digits = 0",
    )
    place = Place()
    work = Backfill("", "t", {"n": "n + 1"})
    assert fill(database, work, place) == 300
    assert run_sql(database, ONCE) == [(300, 1, 1)]
    assert len(place.saved) > 5
    place.saved = place.saved[:3]
    left = 300 - int(place.saved[-1][0])
    assert fill(database, work, place) == left


def test_partitions_schemas_and_conditions(database: Database) -> None:
    """Of a partitioned table in another schema only rows that meet the condition are updated; % and : are literal."""
    run_sql(
        database,
        """CREATE SCHEMA "S 1";
        CREATE TABLE "S 1"."T" (id int, d int, "N%" text, PRIMARY KEY (id, d)) PARTITION BY LIST (d)""",
        'CREATE TABLE a PARTITION OF "S 1"."T" FOR VALUES IN (0); CREATE TABLE b PARTITION OF "S 1"."T" DEFAULT',
        """INSERT INTO "S 1"."T" SELECT i, i % 3 FROM generate_series(1, 1000) i""",
    )
    work = Backfill("S 1", "T", {"N%": "'100% :x' || id"}, where="id % 10 = 0")
    assert fill(database, work) == 100
    rows = run_sql(database, 'SELECT id, "N%" FROM "S 1"."T" WHERE "N%" IS NOT NULL ORDER BY id')
    assert rows[0] == (10, "100% :x10")
    assert len(rows) == 100
    assert (
        backfill.statement(work)
        == """UPDATE "S 1"."T" SET "N%" = '100% :x' || id WHERE id % 10 = 0"""
    )


@pytest.mark.parametrize(
    ("table", "values", "words"),
    [
        ("CREATE TABLE t (id int, n int)", {"n": "1"}, "has no key"),
        ("CREATE TABLE t (id int UNIQUE, n int)", {"n": "1"}, "has no key"),
        ("CREATE TABLE t (id int PRIMARY KEY, n int)", {"id": "id + 1"}, "changes its own key: id"),
    ],
)
def test_table_without_a_stable_key_is_refused(
    database: Database, table: str, values: dict[str, str], words: str
) -> None:
    """Without a unique key, or with one that the backfill changes, no row is updated, and the error says why."""
    run_sql(database, table, "INSERT INTO t VALUES (1, 0)")
    with pytest.raises(ExpectedError, match=words):
        fill(database, Backfill("", "t", values))
    assert run_sql(database, "TABLE t") == [(1, 0)]


KEYLESS = {
    "plain": ["CREATE TABLE t (id int, n int, pad text)"],
    "partitioned": [
        "CREATE TABLE t (id int, n int, pad text) PARTITION BY HASH (id)",
        "CREATE TABLE a PARTITION OF t FOR VALUES WITH (MODULUS 3, REMAINDER 0)",
        "CREATE TABLE b PARTITION OF t FOR VALUES WITH (MODULUS 3, REMAINDER 1)",
        "CREATE TABLE c PARTITION OF t FOR VALUES WITH (MODULUS 3, REMAINDER 2)",
    ],
    "inherited": ["CREATE TABLE t (id int, n int, pad text)", "CREATE TABLE s () INHERITS (t)",
                  "INSERT INTO s SELECT i, NULL, 'x' FROM generate_series(1, 50) i"],
}  # fmt: skip


@pytest.mark.parametrize("tables", KEYLESS.values(), ids=KEYLESS)
def test_table_without_a_key(database: Database, tables: list[str]) -> None:
    """Rows are updated page by page, each once, in several batches, and an interrupted run can be resumed."""
    run_sql(
        database,
        "CREATE SEQUENCE calls",
        *tables,
        "INSERT INTO t SELECT i, NULL, repeat('x', 500) FROM generate_series(1, 1000) i",
    )
    ((rows,),) = run_sql(database, "SELECT count(*) FROM t")
    place = Place()
    work = Backfill("", "t", {"n": "nextval('calls')"}, where="n IS NULL")
    assert fill(database, work, place) == rows
    assert run_sql(database, "SELECT count(DISTINCT n), max(n) FROM t") == [(rows, rows)]
    assert len(place.saved) > 5
    run_sql(database, "INSERT INTO t VALUES (0)")
    place.saved = place.saved[:1]
    assert fill(database, work, place) == 1


def test_rows_that_move_to_finished_pages_are_updated(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row that another session moves to a page that is done already is updated in the next pass."""
    run_sql(
        database,
        "CREATE TABLE t (id int, n int, pad text) WITH (autovacuum_enabled = off)",
        "INSERT INTO t SELECT i, NULL, repeat('x', 500) FROM generate_series(1, 300) i",
        "DELETE FROM t WHERE id < 100",
    )
    with database.connect(autocommit=True) as connection:
        connection.exec_driver_sql("VACUUM public.t")
    place = Place()

    def save(_cursor: Any, where: Any) -> None:
        place.saved.append(where)
        if len(place.saved) == 1:
            run_sql(database, "UPDATE t SET pad = repeat('y', 500) WHERE id > 290")

    monkeypatch.setattr(place, "save", save)
    fill(database, Backfill("", "t", {"n": "1"}, where="n IS NULL"), place)
    assert run_sql(database, "SELECT count(*) FROM t WHERE n IS NULL") == [(0,)]


def test_condition_that_holds_for_updated_rows_is_refused(database: Database) -> None:
    """Without a key, a row that would be updated again is an error, and no row is updated."""
    run_sql(database, "CREATE TABLE t (id int, n int)", "INSERT INTO t VALUES (1, 0), (2, 8)")
    with pytest.raises(ExpectedError, match="still holds for updated rows"):
        fill(database, Backfill("", "t", {"n": "n + 1"}, where="n < 9"))
    assert run_sql(database, "TABLE t") == [(1, 0), (2, 8)]


def test_locked_row(database: Database) -> None:
    """While another session locks a row, earlier rows are updated and transactions stay short; then it completes."""
    run_sql(
        database,
        "CREATE TABLE t (id int PRIMARY KEY, n int DEFAULT 0)",
        "INSERT INTO t SELECT generate_series(1, 5000)",
    )
    longest = 0.0  # seconds
    released = threading.Event()
    query = (
        "SELECT extract(epoch FROM clock_timestamp() - xact_start)::float FROM pg_stat_activity"
        " WHERE state = 'active' AND query LIKE 'UPDATE t SET n%' AND datname = current_database()"
    )

    def watch() -> None:
        nonlocal longest
        with database.connect(autocommit=True, usual_path=True) as connection:
            while not released.wait(0.005):
                found = connection.exec_driver_sql(query.replace("%", "%%")).scalars()
                longest = max([longest, *found])

    with database.connect(usual_path=True) as other, other.begin() as keeping:
        other.exec_driver_sql("UPDATE t SET n = n WHERE id = 3000")
        watcher = threading.Thread(target=watch)
        runner = threading.Thread(target=fill, args=(database, Backfill("", "t", {"n": "n + 1"})))
        watcher.start()
        runner.start()
        deadline = time.monotonic() + 60
        while run_sql(database, "SELECT n FROM t WHERE id = 2999") != [(1,)]:
            assert time.monotonic() < deadline
        keeping.rollback()
    runner.join(30)
    released.set()
    watcher.join()
    assert run_sql(database, ONCE) == [(5000, 1, 1)]
    assert longest < 2


def test_row_slower_than_the_time_limit_is_updated(database: Database) -> None:
    """A row whose expression takes longer than the time limit of a batch is updated alone, and that is reported."""
    run_sql(
        database,
        "CREATE TABLE t (id int PRIMARY KEY, n int DEFAULT 0)",
        "INSERT INTO t VALUES (1), (2), (3)",
    )
    slow = "CASE id WHEN 2 THEN n + 1 + length(pg_sleep(0.3)::text) ELSE n + 1 END"
    told: list[str] = []
    with opened(database, told) as session:
        work = Backfill("", "t", {"n": slow}, milliseconds=50)
        assert backfill.run(session, work, Place()) == 3
    assert run_sql(database, ONCE) == [(3, 1, 1)]
    assert any("a single row of t" in line for line in told)


def test_cancelled_statement_ends_a_backfill(database: Database) -> None:
    """A statement that another session cancels is not repeated."""
    run_sql(
        database,
        "CREATE TABLE t (id int PRIMARY KEY, n int DEFAULT 0)",
        "INSERT INTO t SELECT generate_series(1, 10)",
    )
    slow = Backfill("", "t", {"n": "length(pg_sleep(1)::text)"}, milliseconds=60_000)
    failed: list[BaseException] = []

    def work() -> None:
        try:
            fill(database, slow)
        except BaseException as error:  # noqa: BLE001
            failed.append(error)

    runner = threading.Thread(target=work)
    runner.start()
    cancel = (
        "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        " AND datname = current_database()"
    )
    while runner.is_alive():
        run_sql(database, cancel)
        time.sleep(0.01)
    runner.join()
    assert "canceling statement due to user request" in str(failed[0])


def test_batches_shrink_for_waiting_sessions(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches become smaller when other sessions wait for their locks."""
    run_sql(
        database,
        "CREATE TABLE t (id int PRIMARY KEY, n int DEFAULT 0)",
        "INSERT INTO t SELECT generate_series(1, 400)",
    )
    monkeypatch.setattr(pace, "LOOK", 0)
    monkeypatch.setattr(pace, "OTHERS", "SELECT true, false WHERE %s >= 0")
    place = Place()
    fill(database, Backfill("", "t", {"n": "n + 1"}), place)
    ends = [int(key) for *_, key in place.saved]
    sizes = [after - before for before, after in zip([0, *ends], ends, strict=False)]
    assert sizes[0] == 100
    assert all(
        after <= max(before // 2, 1) for before, after in pairwise(sizes)
    )  # less still if the machine is slow
    assert run_sql(database, ONCE) == [(400, 1, 1)]


class Distant(psycopg2.extensions.cursor):
    """A cursor with a long network round trip."""

    def execute(self, *arguments: Any) -> None:
        time.sleep(0.02)
        super().execute(*arguments)


def test_network_time_does_not_shrink_batches(database: Database) -> None:
    """The round trip to the server does not count as time of a batch."""
    run_sql(
        database,
        "CREATE TABLE t (id int PRIMARY KEY, n int DEFAULT 0)",
        "INSERT INTO t SELECT generate_series(1, 3000)",
    )
    place = Place()
    with opened(database, []) as session:
        session.driver.cursor_factory = Distant
        backfill.run(session, Backfill("", "t", {"n": "n + 1"}, milliseconds=200), place)
    assert run_sql(database, ONCE) == [(3000, 1, 1)]
    assert len(place.saved) < 20


def test_deferred_triggers_shrink_batches(database: Database) -> None:
    """The time of deferred triggers counts as time of a batch."""
    run_sql(
        database,
        "CREATE TABLE t (id int PRIMARY KEY, n int DEFAULT 0)",
        "INSERT INTO t SELECT generate_series(1, 300)",
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.001); RETURN NULL; END'",
        "CREATE CONSTRAINT TRIGGER slow AFTER UPDATE ON t DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION slow()",
    )
    place = Place()
    fill(database, Backfill("", "t", {"n": "n + 1"}), place)
    assert run_sql(database, ONCE) == [(300, 1, 1)]
    assert len(place.saved) > 15


def test_deferred_triggers_find_names_by_the_usual_path(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a batch leaves to its commit finds names as its UPDATE does, also when others were looked at before."""
    monkeypatch.setattr(pace, "LOOK", 0)
    run_sql(
        database,
        "CREATE TABLE t (id int PRIMARY KEY, n int DEFAULT 0); CREATE TABLE heard (id int)",
        "INSERT INTO t SELECT generate_series(1, 3)",
        HEAR,
        HEARING,
    )
    assert fill(database, Backfill("", "t", {"n": "n + 1"})) == 3
    assert run_sql(database, "SELECT id FROM heard ORDER BY id") == [(1,), (2,), (3,)]


@pytest.mark.parametrize(
    "script",
    [
        "op.backfill('t', {'n': 'n + 1'})",
        "op.execute('UPDATE t SET n = n + 1')\nwith op.online():\n    op.create_index('i', 't', ['n'])",
        "with op.online():\n    op.execute('UPDATE t SET n = n + 1')\n    op.create_index('i', 't', ['n'])",
    ],
    ids=["backfill", "before steps", "step"],
)
def test_deferred_triggers_of_a_script_find_names_by_the_usual_path(
    project: Project, script: str
) -> None:
    """Triggers that are deferred to a commit in a script run before the journal takes its search path away."""
    run_sql(
        project.database,
        "CREATE TABLE t (id int PRIMARY KEY, n int DEFAULT 0); CREATE TABLE heard (id int)",
        "INSERT INTO t SELECT generate_series(1, 3)",
        HEAR,
        HEARING,
    )
    project.script("aaaa", "", script)
    up(project.settings, project.database, confirm=yes)
    assert run_sql(project.database, "SELECT id FROM heard ORDER BY id") == [(1,), (2,), (3,)]


@pytest.fixture
def beside_others(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Others are at work, as far as a backfill knows, and it compares soon; each time that it could is noted."""
    compared: list[object] = []
    slow = pace.slow

    def noted(found: Iterable[float]) -> float:
        compared.append(found)
        return slow(found)

    monkeypatch.setattr(pace, "OTHERS", "SELECT false, true WHERE %s >= 0")
    monkeypatch.setattr(pace, "slow", noted)
    for name, seconds in {
        "PERIOD": 0.2,
        "SETTLED": 0,
        "CALM": 0.1,
        "AGAIN": 0.01,
        "LEAST": 0.9,
        "MOST": 0.9,
    }.items():
        monkeypatch.setattr(pace, name, seconds)
    return compared


SLOW = {"n": "n + 1 + length(pg_sleep(0.002)::text)"}
TABLES = {
    "plain": ("CREATE TABLE t (id int PRIMARY KEY, n int DEFAULT 0)", "i"),
    "mixed": (
        'CREATE TABLE t (a text, "B c" int, n int DEFAULT 0, PRIMARY KEY (a, "B c"))',
        "i % 3, i",
    ),
    "partitions": (
        """CREATE TABLE t (id int PRIMARY KEY, n int DEFAULT 0) PARTITION BY RANGE (id);
        CREATE TABLE low PARTITION OF t FOR VALUES FROM (0) TO (50);
        CREATE TABLE high PARTITION OF t DEFAULT""",
        "i",
    ),
    "no key": ("CREATE TABLE t (id int, n int DEFAULT 0)", "i"),
}


@pytest.mark.parametrize(("create", "key"), TABLES.values(), ids=TABLES)
def test_others_are_measured_whatever_the_key(
    database: Database, beside_others: list[object], create: str, key: str
) -> None:
    """What others notice is measured on any table that can be updated in batches."""
    run_sql(database, create, f"INSERT INTO t SELECT {key} FROM generate_series(1, 200) AS i")
    told: list[str] = []
    where = "n = 0" if create == TABLES["no key"][0] else ""
    with opened(database, told) as session:
        assert backfill.run(session, Backfill("", "t", SLOW, where), Place()) == 200
    assert beside_others
    assert not any("cannot be measured" in line for line in told)


def test_what_cannot_be_measured_is_said(database: Database, beside_others: list[object]) -> None:
    """A role that gets no second connection is told why its backfill slows down, once, and it comes to its end."""
    role = f"clerk_{database.dsn.database}"
    run_sql(database, TABLES["plain"][0], "INSERT INTO t SELECT generate_series(1, 200)")
    login = f"CREATE ROLE {role} LOGIN PASSWORD 'secret' CONNECTION LIMIT 1 IN ROLE logins"
    run_sql(database, login, f"GRANT ALL ON t TO {role}")
    told: list[str] = []
    try:
        clerk = replace(database, dsn=database.dsn.with_parts(user=role, password="secret"))
        with opened(clerk, told) as session:
            assert backfill.run(session, Backfill("", "t", SLOW), Place()) == 200
    finally:
        run_sql(database, f"DROP OWNED BY {role}; DROP ROLE {role}")
    assert beside_others == []
    (said,) = (line for line in told if "cannot be measured" in line)
    assert "too many connections for role" in said


def test_progress_is_reported(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress shows rows, rate and remaining time, also for a table that was never analysed."""
    monkeypatch.setattr(backfill, "REPORT_INTERVAL", 0)
    run_sql(
        database,
        "CREATE TABLE t (id int PRIMARY KEY, n int DEFAULT 0) WITH (autovacuum_enabled = false)",
        "INSERT INTO t SELECT generate_series(1, 3000)",
    )
    told: list[str] = []
    with opened(database, told) as session:
        backfill.run(session, Backfill("", "t", {"n": "n + 1"}), Place())
    assert re.fullmatch(
        r"t: 100 rows, [\d,]+ rows/s, \d+ % of about [\d,]+, [\d,]+ s left", told[0]
    )
    assert re.fullmatch(r"t: 3,000 rows updated in \d+\.\d s", told[-1])


SCRIPT = 'op.backfill("t", {"n": "n + 1"}, milliseconds=20)'


def killed(project: Project, rows: int, kills: int) -> None:
    """Kill an upgrade with a backfill at random times, then let it finish, and check how often rows were updated."""
    run_sql(
        project.database,
        "CREATE TABLE t (id int PRIMARY KEY, n int DEFAULT 0)",
        f"INSERT INTO t SELECT generate_series(1, {rows})",
    )
    project.script("aaaa", "", SCRIPT)
    done = 0
    for _ in range(kills):
        child = faults.start_child(lambda: faults.upgraded(project))
        start = time.monotonic()
        while time.monotonic() - start < 20:
            now = run_sql(project.database, "SELECT count(*) FROM t WHERE n > 0")[0][0]
            if now != done:
                break
        time.sleep(random.uniform(0, 0.05))  # noqa: S311
        faults.kill(child)
        done = int(str(run_sql(project.database, "SELECT count(*) FROM t WHERE n > 0")[0][0]))
    assert done > 0
    faults.upgraded(project)
    assert run_sql(project.database, ONCE) == [(rows, 1, 1)]
    assert [each.outcome for each in log.read(project.database)][-1] == "done"


@pytest.mark.long
def test_backfill_that_is_killed_changes_each_row_once(project: Project) -> None:
    """After each SIGKILL a backfill resumes where it was: every row is updated exactly once."""
    killed(project, 10_000, 3)


def test_backfill_without_an_expression_is_refused(project: Project) -> None:
    """Without an expression it fails before anything is changed if the table has rows; an empty table is no error."""
    for name in ("s", "t"):
        run_sql(project.database, f"CREATE TABLE {name} (id int PRIMARY KEY, n int)")
    project.script("aaaa", "", "op.run_sql('CREATE TABLE first (x int)')")
    backfills = 'op.backfill("s", {"n": None})\nop.backfill("t", {"n": None})'
    project.script("bbbb", "aaaa", f"{backfills}\nop.run_sql('ALTER TABLE t ALTER n SET NOT NULL')")
    run_sql(project.database, "INSERT INTO t VALUES (1)")
    with pytest.raises(ExpectedError, match="no values for the rows of t in n") as refused:
        up(project.settings, project.database, confirm=never)
    assert "bbbb.py, line 12)" in refused.value.cause
    assert run_sql(project.database, "SELECT to_regclass('first')") == [(None,)]
    run_sql(project.database, "DELETE FROM t")
    up(project.settings, project.database, confirm=yes)
    assert run_sql(project.database, "SELECT to_regclass('first')") == [("first",)]
