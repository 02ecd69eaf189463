"""Online blocks: the safe form of a statement has the same result, can be resumed, and changes nothing else."""

import sys
from collections.abc import Iterator
from contextlib import suppress

import pytest
from answers import yes
from checkouts import Checkout, as_text
from commands import down, printed, up
from conftest import Project, fresh, run_sql

from postgres_database.errors import ExpectedError
from postgres_database.running.autocommit import Autocommit
from postgres_database.schema import dump
from postgres_database.server.connection import Database

PLAIN = """
    CREATE TABLE u (id int PRIMARY KEY, CONSTRAINT u_two UNIQUE (id));
    INSERT INTO u VALUES (1), (2);
    CREATE TABLE t (id int PRIMARY KEY, a int, b text, u int, "Odd, %" text);
    INSERT INTO t VALUES (1, 1, 'x', 1, 'o'), (2, 2, 'y', 2, 'p');
"""
PARTITIONED = """
    CREATE TABLE u (id int PRIMARY KEY);
    INSERT INTO u VALUES (1), (2);
    CREATE SCHEMA "S 1";
    CREATE TABLE t (id int, a int, b text, u int, d date) PARTITION BY RANGE (d);
    CREATE TABLE "S 1"."p,1" PARTITION OF t FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
    CREATE TABLE p2 PARTITION OF t FOR VALUES FROM ('2021-01-01') TO ('2022-01-01') PARTITION BY LIST (a);
    CREATE TABLE p2a PARTITION OF p2 FOR VALUES IN (1);
    CREATE TABLE p2b PARTITION OF p2 DEFAULT;
    CREATE INDEX p2a_a_idx ON p2b (b);
    INSERT INTO t VALUES (1, 1, 'x', 1, '2020-02-02'), (2, 1, 'y', 2, '2021-02-02'), (3, 2, 'z', 1, '2021-02-02');
"""
LISTED = """
    CREATE TABLE u (id int PRIMARY KEY);
    INSERT INTO u VALUES (1), (2);
    CREATE TABLE t (id int REFERENCES u, a varchar(9) NOT NULL, b text, UNIQUE (id, a)) PARTITION BY LIST (a);
    CREATE INDEX i ON t (b);
    CREATE TABLE p1 PARTITION OF t FOR VALUES IN ('x', 'y');
    CREATE TABLE p2 (b text, a varchar(9) NOT NULL, id int);
    CREATE INDEX mine ON p2 (b);
    INSERT INTO t VALUES (1, 'x', 'o');
    INSERT INTO p2 VALUES ('o', 'z', 1), ('p', 'z', 2);
"""
WITH_DEFAULT = f"{LISTED} CREATE TABLE rest PARTITION OF t DEFAULT; INSERT INTO t VALUES (2, 'q');"
HASHED = """
    CREATE TABLE t (id int, a text) PARTITION BY HASH (id);
    CREATE TABLE p1 PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER 0);
    CREATE TABLE p2 (id int, a text);
    INSERT INTO p2 SELECT n FROM generate_series(1, 9) n
    WHERE satisfies_hash_partition('t'::regclass, 2, 1, n);
"""
CASES = {
    "index": (PLAIN, "CREATE INDEX i ON t (a)"),
    "unique index": (PLAIN, "CREATE UNIQUE INDEX i ON public.t USING btree (lower(b), a DESC) WHERE a > 0"),
    "index with quotes": (PLAIN, 'CREATE INDEX "I ""%" ON t ("Odd, %" text_pattern_ops) INCLUDE (a)'),
    "hash index": (PLAIN, "CREATE INDEX i ON t USING hash (b) WITH (fillfactor=50)"),
    "drop index": (f"{PLAIN} CREATE INDEX i ON t (a);", "DROP INDEX i"),
    "unique": (PLAIN, "ALTER TABLE t ADD CONSTRAINT c UNIQUE (a, b)"),
    "deferrable": (PLAIN, "ALTER TABLE t ADD CONSTRAINT c UNIQUE (a) DEFERRABLE INITIALLY DEFERRED"),
    "nulls": (PLAIN, "ALTER TABLE ONLY t ADD CONSTRAINT c UNIQUE NULLS NOT DISTINCT (a) INCLUDE (b)"),
    "primary key": (
        f"{PLAIN} ALTER TABLE t DROP CONSTRAINT t_pkey; ALTER TABLE t ALTER id DROP NOT NULL;",
        "ALTER TABLE t ADD CONSTRAINT k PRIMARY KEY (id, a)",
    ),
    "foreign key": (PLAIN, "ALTER TABLE t ADD CONSTRAINT c FOREIGN KEY(u) REFERENCES u (id) ON DELETE CASCADE"),
    "check": (PLAIN, "ALTER TABLE t ADD CONSTRAINT c CHECK (a IN (1, 2) AND b <> ')')"),
    "check with a cast": (PLAIN, "ALTER TABLE t ADD CONSTRAINT c CHECK (b::varchar IN ('x', 'y'))"),
    "not null": (PLAIN, "ALTER TABLE t ALTER COLUMN a SET NOT NULL"),
    "quoted not null": (PLAIN, 'ALTER TABLE t ALTER "Odd, %" SET NOT NULL'),
    "partitioned index": (PARTITIONED, "CREATE INDEX i ON t (a)"),
    "partitioned index beside another": (
        f"{PARTITIONED} CREATE INDEX o ON t (a) WHERE id > 5;",
        "CREATE INDEX i ON t (a)",
    ),
    "partitioned index beside an equal one": (f"{PARTITIONED} CREATE INDEX o ON t (a);", "CREATE INDEX i ON t (a)"),
    "partitioned index over the key of a partition": (
        f'{PARTITIONED} ALTER TABLE "S 1"."p,1" ADD CONSTRAINT own UNIQUE (id, d, a);',
        "CREATE UNIQUE INDEX i ON t (id, d, a)",
    ),
    "partitioned expression": (PARTITIONED, "CREATE INDEX i ON t ((a + 1)) WHERE b <> 'q'"),
    "partitioned index of which a part exists": (
        f'{PARTITIONED} CREATE INDEX mine ON "S 1"."p,1" (a);',
        "CREATE INDEX i ON t (a)",
    ),
    "partitioned drop": (f"{PARTITIONED} CREATE INDEX i ON t (a);", "DROP INDEX i"),
    "partitioned unique": (PARTITIONED, "ALTER TABLE t ADD CONSTRAINT c UNIQUE (d, a, id)"),
    "partitioned key": (PARTITIONED, "ALTER TABLE t ADD CONSTRAINT c PRIMARY KEY (id, d, a)"),
    "partitioned foreign key": (PARTITIONED, "ALTER TABLE t ADD CONSTRAINT c FOREIGN KEY (u) REFERENCES u (id)"),
    "partitioned check": (PARTITIONED, "ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0)"),
    "partitioned not null": (PARTITIONED, "ALTER TABLE t ALTER a SET NOT NULL"),
    "attach": (LISTED, "ALTER TABLE t ATTACH PARTITION p2 FOR VALUES IN ('z')"),
    "attach with a key of its own": (
        f"{LISTED} CREATE UNIQUE INDEX j ON t (a, id); ALTER TABLE p2 ADD CONSTRAINT own UNIQUE (a, id);",
        "ALTER TABLE t ATTACH PARTITION p2 FOR VALUES IN ('z')",
    ),
    "attach beside a default": (WITH_DEFAULT, "ALTER TABLE ONLY t ATTACH PARTITION public.p2 FOR VALUES IN ('z')"),
    "attach a default": (LISTED, "ALTER TABLE t ATTACH PARTITION p2 DEFAULT"),
    "attach to a hash": (HASHED, "ALTER TABLE t ATTACH PARTITION p2 FOR VALUES WITH (MODULUS 2, REMAINDER 1)"),
    "attach below": (
        f"{PARTITIONED} DROP TABLE p2b; CREATE TABLE p2c (LIKE p2); INSERT INTO p2c VALUES (9, 3, 'x', 1, '2021-3-3');",
        "ALTER TABLE p2 ATTACH PARTITION p2c FOR VALUES IN (3)",
    ),
    "detach": (LISTED, "ALTER TABLE t DETACH PARTITION p1"),
    "detach with a check": (
        f"{LISTED} ALTER TABLE p1 ADD CHECK (a IS NOT NULL AND a IN ('x', 'y'));",
        "ALTER TABLE t DETACH PARTITION p1",
    ),
    "detach beside a default": (WITH_DEFAULT, "ALTER TABLE t DETACH PARTITION p1"),
    "move": (
        LISTED,
        "ALTER TABLE t DETACH PARTITION p1; ALTER TABLE ONLY t ATTACH PARTITION p1 FOR VALUES IN ('x', 'z')",
    ),
    "move beside a default": (
        WITH_DEFAULT,
        "ALTER TABLE t DETACH PARTITION p1; ALTER TABLE t ATTACH PARTITION p1 FOR VALUES IN ('x', 'z')",
    ),
    "move to the default": (
        f"{LISTED} CREATE TABLE p3 PARTITION OF t FOR VALUES IN ('w');",
        "ALTER TABLE t DETACH PARTITION p1; ALTER TABLE t ATTACH PARTITION p1 DEFAULT",
    ),
    "move from the default": (
        WITH_DEFAULT,
        "ALTER TABLE t DETACH PARTITION rest; ALTER TABLE t ATTACH PARTITION rest FOR VALUES IN ('q')",
    ),
    "value": ("CREATE TYPE mood AS ENUM ('a', 'c')", "ALTER TYPE mood ADD VALUE 'b' BEFORE 'c'"),
}  # fmt: skip
STATEMENTS = pytest.mark.parametrize(("before", "statement"), CASES.values(), ids=CASES)


class Killed(BaseException):
    """Simulates the end of the process."""


@pytest.fixture
def other(server: Database) -> Iterator[Database]:
    """A second database."""
    with fresh(server) as made:
        yield made


def online(project: Project, statement: str) -> None:
    """Make a history whose second revision runs a statement in an online block."""
    project.script("aaaa")
    body = f"with op.online():\n    op.run_sql({statement!r})"
    project.script("bbbb", "aaaa", body)
    up(project.settings, project.database, target="aaaa", confirm=yes)


def run(project: Project) -> None:
    up(project.settings, project.database, confirm=yes, on_wait=pytest.fail)


@STATEMENTS
def test_safe_form_has_the_same_result(
    project: Project, other: Database, before: str, statement: str
) -> None:
    """After a statement in an online block the dump is the same as after the plain statement."""
    for each in (project.database, other):
        run_sql(each, before)
    online(project, statement)
    run(project)
    run_sql(other, statement)
    assert dump.take(project.database) == dump.take(other)


@STATEMENTS
def test_interrupted_safe_form_is_resumed(
    project: Project,
    other: Database,
    monkeypatch: pytest.MonkeyPatch,
    before: str,
    statement: str,
) -> None:
    """An online block that is killed before or after any of its statements completes in the next run."""
    for each in (project.database, other):
        run_sql(each, before)
    run_sql(other, statement)
    online(project, statement)
    killed = 0
    for after in (False, True):
        for place in range(50):
            left = [place]

            def dying(real: str) -> None:
                method = getattr(Autocommit, real)

                def call(self: Autocommit, sql: str) -> None:
                    left[0] -= 1  # noqa: B023 - it ends before the next
                    if left[0] == -1 and not after:  # noqa: B023
                        raise Killed
                    method(self, sql)
                    if left[0] == -1:  # noqa: B023
                        raise Killed

                patch.setattr(Autocommit, real, call)

            with monkeypatch.context() as patch, suppress(Killed):
                dying("execute")
                dying("without_time_limits")
                run(project)
                break
            killed += 1
        run(project)
        assert dump.take(project.database) == dump.take(other)
    assert killed


REFUSED = {
    "another index": ("CREATE INDEX c ON t (b)", "CREATE INDEX c ON t (a)"),
    "not unique": ("CREATE INDEX c ON t (a)", "CREATE UNIQUE INDEX c ON t (a)"),
    "of another table": ("CREATE INDEX c ON u (id)", "CREATE INDEX c ON t (id)"),
    "no index": ("CREATE VIEW c AS SELECT 1", "CREATE INDEX c ON t (a)"),
    "a key's": ("ALTER TABLE t ADD CONSTRAINT c UNIQUE (a)", "CREATE UNIQUE INDEX c ON t (a)"),
    "another key": ("ALTER TABLE t ADD CONSTRAINT c UNIQUE (b)", "ALTER TABLE t ADD CONSTRAINT c UNIQUE (a)"),
    "deferrable": (
        "ALTER TABLE t ADD CONSTRAINT c UNIQUE (a)",
        "ALTER TABLE t ADD CONSTRAINT c UNIQUE (a) DEFERRABLE",
    ),
    "another check": (
        "ALTER TABLE t ADD CONSTRAINT c CHECK (a > 1) NOT VALID",
        "ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0)",
    ),
    "another reference": (
        "ALTER TABLE t ADD CONSTRAINT c FOREIGN KEY (u) REFERENCES u",
        "ALTER TABLE t ADD CONSTRAINT c FOREIGN KEY (u) REFERENCES u ON DELETE CASCADE",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("there", "statement"), REFUSED.values(), ids=REFUSED)
def test_name_of_another_definition_is_refused(
    project: Project, there: str, statement: str
) -> None:
    """An object of the same name and another definition is an error, and is not changed."""
    run_sql(project.database, PLAIN, there)
    before = dump.take(project.database)
    online(project, statement)
    with pytest.raises(ExpectedError, match="exists already with another definition"):
        run(project)
    assert dump.take(project.database) == before


BROKEN = {
    "unique index": (PLAIN, "UPDATE t SET a = 1", "CREATE UNIQUE INDEX c ON t (a)"),
    "unique": (PLAIN, "UPDATE t SET a = 1", "ALTER TABLE t ADD CONSTRAINT c UNIQUE (a)"),
    "check": (PLAIN, "UPDATE t SET a = 0", "ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0)"),
    "reference": (PLAIN, "UPDATE t SET u = 9", "ALTER TABLE t ADD CONSTRAINT c FOREIGN KEY (u) REFERENCES u"),
    "not null": (PLAIN, "UPDATE t SET b = NULL", "ALTER TABLE t ALTER b SET NOT NULL"),
    "partitioned unique": (
        PARTITIONED,
        "UPDATE t SET u = 1 WHERE id > 1; UPDATE t SET a = 2 WHERE d > '2021-01-01'",
        "ALTER TABLE t ADD CONSTRAINT c UNIQUE (a, d, u)",
    ),
    "partitioned index": (
        PARTITIONED,
        "UPDATE t SET a = 2 WHERE d > '2021-01-01'",
        "CREATE UNIQUE INDEX c ON t (a, d)",
    ),
    "partitioned check": (
        PARTITIONED,
        "UPDATE t SET b = 'q' WHERE id = 3",
        "ALTER TABLE t ADD CONSTRAINT c CHECK (b <> 'q')",
    ),
    "partitioned reference": (
        PARTITIONED,
        "UPDATE t SET u = 9 WHERE id = 3",
        "ALTER TABLE t ADD CONSTRAINT c FOREIGN KEY (u) REFERENCES u",
    ),
    "attach": (LISTED, "UPDATE p2 SET a = 'q'", "ALTER TABLE t ATTACH PARTITION p2 FOR VALUES IN ('z')"),
    "attach beside a default": (
        WITH_DEFAULT,
        "UPDATE rest SET a = 'z'",
        "ALTER TABLE t ATTACH PARTITION p2 FOR VALUES IN ('z')",
    ),
    "detach": (
        f"{LISTED} CREATE TABLE n (id int, a varchar(9), FOREIGN KEY (id, a) REFERENCES t (id, a));",
        "INSERT INTO n VALUES (1, 'x')",
        "ALTER TABLE t DETACH PARTITION p1",
    ),
    "partitioned not null": (PARTITIONED, "UPDATE t SET b = NULL WHERE id = 3", "ALTER TABLE t ALTER b SET NOT NULL"),
}  # fmt: skip


@pytest.mark.parametrize(("before", "rows", "statement"), BROKEN.values(), ids=BROKEN)
def test_violation_leaves_the_schema_unchanged(
    project: Project, before: str, rows: str, statement: str
) -> None:
    """A step that rows violate fails, and everything that the statement has done is undone."""
    run_sql(project.database, before, rows)
    schema = dump.take(project.database)
    online(project, statement)
    with pytest.raises(ExpectedError, match="upgrade stopped at revision bbbb"):
        up(project.settings, project.database, confirm=yes, skip_row_checks=True)
    assert dump.take(project.database) == schema


def test_invalid_index_of_the_same_definition_is_built_anew(project: Project) -> None:
    """An INVALID index of the same definition is dropped and built again."""
    run_sql(project.database, PLAIN, "CREATE INDEX i ON t (a)")
    run_sql(
        project.database, "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'i'::regclass"
    )
    online(project, "CREATE INDEX i ON t (a)")
    run(project)
    valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'i'::regclass"
    assert run_sql(project.database, valid) == [(True,)]


def test_time_limits_do_not_end_a_concurrent_build(project: Project) -> None:
    """CREATE INDEX CONCURRENTLY waits for an old snapshot longer than the time limits of the database."""
    name = project.database.dsn.database
    run_sql(project.database, PLAIN, f"ALTER DATABASE {name} SET lock_timeout = '50ms'")
    run_sql(project.database, f"ALTER DATABASE {name} SET statement_timeout = '400ms'")
    limits = ["statement_timeout"]
    if int(str(run_sql(project.database, "SHOW server_version_num")[0][0])) >= 170000:
        limits.append("transaction_timeout")
        run_sql(project.database, f"ALTER DATABASE {name} SET transaction_timeout = '900ms'")
    online(project, "CREATE INDEX i ON t (a)")
    waits: list[str] = []
    with project.database.connect(usual_path=True) as old, old.begin() as reading:
        old.exec_driver_sql("SET LOCAL TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        old.exec_driver_sql("; ".join(f"SET LOCAL {limit} = 0" for limit in limits))
        old.exec_driver_sql("SELECT * FROM u")

        def release(what: str) -> None:
            waits.append(what)
            reading.rollback()

        up(project.settings, project.database, confirm=yes, on_wait=release)
    assert "SELECT * FROM u" in waits[0]
    assert run_sql(project.database, "SELECT count(*) FROM pg_index WHERE NOT indisvalid") == [(0,)]
    assert run_sql(project.database, "SELECT to_regclass('i')") == [("i",)]


def test_wait_of_a_concurrent_build_is_reported(project: Project) -> None:
    """While a statement without a time limit waits, the blocking session is reported, with its query but no values."""
    run_sql(project.database, PLAIN)
    online(project, "CREATE INDEX i ON t (a)")
    waits: list[str] = []
    with project.database.connect(usual_path=True) as other, other.begin() as writing:
        other.exec_driver_sql("UPDATE t SET b = 'a secret' WHERE id = 1")

        def release(what: str) -> None:
            waits.append(what)
            writing.rollback()

        up(project.settings, project.database, confirm=yes, on_wait=release)
    assert "idle in transaction" in waits[0]
    assert "UPDATE t SET b = … WHERE id = …" in waits[0]
    assert "secret" not in waits[0]


def test_steps_without_a_safe_form_run_once(project: Project) -> None:
    """Data changes, new columns and functions in an online block are steps that no later run repeats."""
    run_sql(project.database, PLAIN)
    project.script("aaaa")
    project.script(
        "bbbb",
        "aaaa",
        """
        with op.online():
            op.add_column("t", sa.Column("n", sa.Integer(), server_default="0"))
            op.execute("UPDATE t SET n = n + 1")
            op.execute("UPDATE t SET n = n + 1")
            made = op.create_table("log", sa.Column("x", sa.Integer()))
            op.bulk_insert(made, [{"x": 1}, {"x": 2}])
            op.run_sql("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1; SELECT 2;'")
            op.execute("VACUUM t")
            op.execute("SELECT 1/0")
        """,
    )
    for _ in range(2):
        with pytest.raises(ExpectedError, match="bbbb"):
            run(project)
    script = project.versions / "bbbb.py"
    script.write_text(script.read_text().replace("1/0", "1"))
    run(project)
    assert run_sql(project.database, "SELECT DISTINCT n FROM t") == [(2,)]
    assert run_sql(project.database, "SELECT x FROM log ORDER BY x") == [(1,), (2,)]


SWAP = "CREATE INDEX i_new ON t (b); DROP INDEX i; ALTER INDEX i_new RENAME TO i"


def test_index_is_swapped_once(project: Project) -> None:
    """A script that is interrupted after it has replaced an index by another does not replace it again."""
    run_sql(project.database, PLAIN, "CREATE INDEX i ON t (a)")
    project.script("aaaa")
    body = f"with op.online():\n    op.run_sql({SWAP!r})\n    op.execute('SELECT 1/0')"
    project.script("bbbb", "aaaa", body)
    indexes = "SELECT indexdef FROM pg_indexes WHERE indexname LIKE 'i%'"
    for _ in range(2):
        with pytest.raises(ExpectedError, match="bbbb"):
            run(project)
        ((text,),) = run_sql(project.database, indexes)
        assert str(text).endswith("INDEX i ON public.t USING btree (b)")


def test_swap_that_fails_leaves_the_old_index(project: Project) -> None:
    """The old index is dropped and the new one renamed in one transaction."""
    run_sql(project.database, PLAIN, "CREATE INDEX i ON t (a)", "CREATE VIEW j AS SELECT 1")
    project.script("aaaa")
    project.script("bbbb", "aaaa", f"with op.online():\n    op.run_sql({SWAP[:-1] + 'j'!r})")
    with pytest.raises(ExpectedError, match="bbbb"):
        run(project)
    names = "SELECT relname FROM pg_class WHERE relname LIKE 'i%' AND relkind = 'i' ORDER BY 1"
    assert run_sql(project.database, names) == [("i",), ("i_new",)]


def test_swap_as_sql(project: Project) -> None:
    """In offline mode, an index is built concurrently, and swapped in a transaction of its own."""
    project.script("aaaa")
    project.script("bbbb", "aaaa", f"with op.online():\n    op.run_sql({SWAP!r})")
    sql = printed(project.settings, lambda: project.database, verb="upgrade", target="aaaa:bbbb")
    lines = "CREATE INDEX CONCURRENTLY IF NOT EXISTS i_new ON t (b);", "BEGIN;", "DROP INDEX i;"
    text = " ".join(sql.split())
    assert " ".join((*lines, "ALTER INDEX i_new RENAME TO i;", "COMMIT;")) in text


def test_online_block_as_sql(project: Project) -> None:
    """In offline mode, an online block prints the safe forms, outside of the transaction; other bounds in one."""
    project.script("aaaa")
    texts = [text for name, (_, text) in CASES.items() if not name.startswith("move")]
    lines = [f"op.run_sql({text!r})" for text in (*texts, "SELECT 1", CASES["move"][1])]
    project.script("bbbb", "aaaa", "\n    ".join(["with op.online():", *lines]))
    sql = printed(project.settings, lambda: project.database, verb="upgrade", target="aaaa:bbbb")
    outside = sql.partition("COMMIT;")[2].partition("BEGIN;")[0]
    for expected in (
        "CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON t (a);",
        "DROP INDEX CONCURRENTLY IF EXISTS i;",
        "ALTER TABLE t ADD CONSTRAINT c UNIQUE USING INDEX c DEFERRABLE INITIALLY DEFERRED;",
        "ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0) NOT VALID;",
        "ALTER TABLE t VALIDATE CONSTRAINT t_a_is_filled;",
        "ALTER TYPE mood ADD VALUE IF NOT EXISTS 'b' BEFORE 'c';",
        "SELECT 1;",
    ):
        assert expected in outside
    inside = sql.partition("BEGIN;")[2].partition("BEGIN;")[2].partition("COMMIT;")[0]
    assert [*filter(None, inside.split("\n"))] == [
        f"{each};" for each in CASES["move"][1].split("; ")
    ]


def test_downgrade_is_online_too(project: Project) -> None:
    """A downgrade has online blocks as an upgrade has them."""
    run_sql(project.database, PLAIN, "CREATE INDEX i ON t (a)")
    project.script("aaaa")
    undo = "with op.online():\n    op.drop_index('i')\n    op.create_index('j', 't', ['b'])"
    project.script("bbbb", "aaaa", "pass", undo)
    run(project)
    down(project.settings, project.database, confirm=yes)
    names = "SELECT relname FROM pg_class WHERE relname IN ('i', 'j')"
    assert run_sql(project.database, names) == [("j",)]


def test_rows_are_checked_before_an_online_block(project: Project) -> None:
    """Rows that violate a requirement of an online block are reported before its first statement."""
    run_sql(project.database, PLAIN, "UPDATE t SET b = NULL")
    online(project, "ALTER TABLE t ALTER b SET NOT NULL")
    with pytest.raises(ExpectedError, match="violate requirements of revision bbbb") as caught:
        run(project)
    assert caught.value.cause == "2 rows of public.t have no value in b: id = 1, 2"


def test_plain_alembic_runs_online_blocks(checkout: Checkout, database: Database) -> None:
    """`alembic upgrade head` runs online blocks, and prints no more than for any other script."""
    run_sql(database, PLAIN)
    for path in (checkout.root / "migration" / "versions").glob("*.py"):
        path.unlink()
    (checkout.root / "migration" / "versions" / "aaaa.py").write_text(
        '"""Online"""\n\nfrom alembic import op\n\nrevision, down_revision = "aaaa", None\n\n\ndef upgrade():\n'
        '    with op.online():\n        op.create_index("i", "t", ["a"])\n        op.backfill("t", {"b": "upper(b)"})\n'
    )
    checkout.environ["POSTGRES_DSN"] = as_text(database.dsn)
    done = checkout.run(sys.executable, "-m", "alembic", "upgrade", "head")
    assert done.returncode == 0, done.stderr
    assert "static SQL" not in done.stderr
    assert run_sql(database, "SELECT b FROM t ORDER BY id") == [("X",), ("Y",)]
    assert run_sql(database, "SELECT to_regclass('i')") == [("i",)]


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("attach")])
def test_attached_rows_are_not_read_under_a_lock(
    project: Project, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """ATTACH PARTITION scans neither the new partition nor the default partition, and builds no index."""
    before, statement = CASES[name]
    run_sql(project.database, before)
    online(project, statement)
    execute, notices = Autocommit.execute, []

    def record(self: Autocommit, sql: str) -> None:
        self.driver.cursor().execute("SET client_min_messages = debug1")
        del self.driver.notices[:]
        execute(self, sql)
        if sql == statement:
            notices.extend(self.driver.notices)

    monkeypatch.setattr(Autocommit, "execute", record)
    run(project)
    spared = [line for line in notices if "is implied by existing constraints" in line]
    assert len(spared) == (2 if "beside" in name else 1), notices
    assert not any("building index" in line for line in notices)


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("move")])
def test_rows_of_a_partition_with_other_bounds_are_never_absent(
    project: Project, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A partition that gets other bounds is detached and attached in one transaction."""
    before, statement = CASES[name]
    run_sql(project.database, before)
    online(project, statement)
    execute, seen = Autocommit.execute, set()

    def count(self: Autocommit, sql: str) -> None:
        seen.add(str(run_sql(project.database, "SELECT array_agg(id) FROM t")))
        execute(self, sql)

    monkeypatch.setattr(Autocommit, "execute", count)
    run(project)
    assert len(seen) == 1, seen
