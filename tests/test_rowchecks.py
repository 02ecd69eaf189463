"""Look before you leap: rows that stand in the way are told beforehand, counted, and nothing is changed."""

import pytest
from conftest import Project, run_sql
from test_upgrade import never, yes

from postgres_database import demands, dump, upgrade
from postgres_database.errors import ExpectedError
from postgres_database.history import Revision
from postgres_database.rules import NotNull
from postgres_database.settings import ROOT

SCHEMA = """
    CREATE SCHEMA "S 1";
    CREATE TYPE mood AS ENUM ('a', 'b');
    CREATE TABLE u (id int PRIMARY KEY, code text UNIQUE);
    INSERT INTO u VALUES (1, 'x'), (2, 'y');
    CREATE TABLE t (id int PRIMARY KEY, a int, b text, u int, "N%" text, d date);
    INSERT INTO t VALUES
        (1, 5, 'x', 1, 'n', '2020-01-01'), (2, 5, '12', 2, NULL, NULL), (3, NULL, 'long text', 9, 'n', '2021-01-01'),
        (4, 70000, NULL, NULL, NULL, '2022-01-01'), (5, 1, '1', 8, 'n', NULL), (6, 2, '2', 7, 'n', NULL),
        (7, 3, '3', 7, 'n', NULL), (8, 4, '4', 7, 'n', NULL);
    CREATE TABLE "S 1"."P" (a int, b int, c int, PRIMARY KEY (a, b)) PARTITION BY LIST (b);
    CREATE TABLE p1 PARTITION OF "S 1"."P" FOR VALUES IN (1);
    CREATE TABLE p2 PARTITION OF "S 1"."P" DEFAULT;
    INSERT INTO "S 1"."P" VALUES (1, 1, NULL), (1, 2, 1), (2, 2, 1);
    CREATE TABLE bare (x int);
    INSERT INTO bare VALUES (1), (1), (NULL);
    ALTER TABLE t ADD CONSTRAINT there CHECK (a < 100) NOT VALID;
"""
CASES = {
    "not null": ("ALTER TABLE t ALTER a SET NOT NULL", "1 row of t has no value in a: id = 3"),
    "quoted": ('ALTER TABLE public.t ALTER COLUMN "N%" SET NOT NULL', '2 rows of t have no value in "N%": id = 2, 4'),
    "not null of a partitioned table": (
        'ALTER TABLE "S 1"."P" ALTER c SET NOT NULL',
        "1 row of S 1.P has no value in c: (a, b) = (1, 1)",
    ),
    "new column": ("ALTER TABLE t ADD COLUMN n int NOT NULL", "8 rows of t have no value for the new column n"),
    "second action": ("ALTER TABLE t ADD x int, ALTER COLUMN a SET NOT NULL", "1 row of t has no value in a: id = 3"),
    "check": ("ALTER TABLE t ADD CONSTRAINT c CHECK (a < 4 AND b <> 'long, text;')", "4 rows of t break CHECK"),
    "validated": (
        "ALTER TABLE t ADD CONSTRAINT c CHECK (a < 100) NOT VALID; ALTER TABLE t VALIDATE CONSTRAINT c",
        "1 row of t breaks CHECK (a < 100): id = 4",
    ),
    "validated later": ("ALTER TABLE t VALIDATE CONSTRAINT there", "1 row of t breaks CHECK ((a < 100)): id = 4"),
    "unique": ("ALTER TABLE t ADD CONSTRAINT c UNIQUE (a)", "2 rows of t are equal in (a): id = 1, 2"),
    "nulls": ("ALTER TABLE bare ADD UNIQUE NULLS NOT DISTINCT (x)", "2 rows of bare are equal in (x)"),
    "unique index": (
        "CREATE UNIQUE INDEX i ON t USING btree (left(b, 1) DESC) WHERE a < 70000",
        "2 rows of t are equal in (left(b, 1)) WHERE a < 70000: id = 2, 5",
    ),
    "primary key": ("ALTER TABLE bare ADD PRIMARY KEY (x)", "1 row of bare has no value in x"),
    "reference": (
        "ALTER TABLE t ADD CONSTRAINT c FOREIGN KEY (u) REFERENCES u",
        "5 rows of t point to nothing in u by (u): id = 3, 5, 6, 7, 8",
    ),
    "reference to a column": ("ALTER TABLE t ADD FOREIGN KEY (b) REFERENCES u (code)", "6 rows of t point to nothing"),
    "full reference": (
        'ALTER TABLE "S 1"."P" ADD FOREIGN KEY (a, c) REFERENCES "S 1"."P" (a, b) MATCH FULL',
        "2 rows of S 1.P point to nothing",
    ),
    "cast": (
        "ALTER TABLE t ALTER b TYPE int USING b::int",
        "2 rows of t hold a value in b that does not become int: id = 1, 3",
    ),
    "narrowing": (
        "ALTER TABLE t ALTER COLUMN b TYPE varchar(4)",
        "1 row of t holds a value in b that does not become varchar(4): id = 3",
    ),
    "smaller": (
        "ALTER TABLE t ALTER a TYPE smallint",
        "1 row of t holds a value in a that does not become smallint: id = 4",
    ),
    "enum": (
        "ALTER TABLE t ALTER b TYPE mood USING b::mood",
        "7 rows of t hold a value in b that does not become mood: id = 1, 2, 3, 5, 6, …",
    ),
}  # fmt: skip


def pending(project: Project, *statements: str) -> None:
    """Make a target with rows and a history with pending statements, a revision each."""
    run_sql(project.database, SCHEMA)
    parent = ""
    for number, statement in enumerate(statements):
        project.script(f"rev{number}", parent, f"op.run_sql({statement!r})")
        parent = f"rev{number}"


@pytest.mark.parametrize(("statement", "line"), CASES.values(), ids=CASES)
def test_rows_in_the_way_are_told_beforehand(project: Project, statement: str, line: str) -> None:
    """What would fail on rows is known before the first statement: how many there are, and which."""
    pending(project, "CREATE TABLE first (x int)", statement)
    before = dump.dump(project.database)
    with pytest.raises(ExpectedError, match="stand in the way of rev1") as caught:
        upgrade.upgrade(project.settings, project.database, confirm=never)
    assert line in caught.value.cause
    assert "--skip-row-checks" in caught.value.hint
    assert dump.dump(project.database) == before
    assert run_sql(project.database, "SELECT to_regclass('first')") == [(None,)]


NOT_NULL = "ALTER TABLE t ALTER a SET NOT NULL"
CERTAIN = {
    "filled by an update": ["UPDATE t SET a = 0 WHERE a IS NULL", NOT_NULL],
    "filled by what nobody knows": ["DO $$ BEGIN UPDATE t SET a = 0; END $$", NOT_NULL],
    "deleted": ["DELETE FROM t WHERE a IS NULL", NOT_NULL],
    "filled by a query": ["WITH x AS (UPDATE t SET a = 0 RETURNING 1) SELECT count(*) FROM x", NOT_NULL],
    "new": ["CREATE TABLE n (x int)", "ALTER TABLE n ADD y int NOT NULL"],
    "made anew": ["DROP TABLE bare; CREATE TABLE bare (x int)", "ALTER TABLE bare ALTER x SET NOT NULL"],
    "column made anew": ["ALTER TABLE t DROP COLUMN a; ALTER TABLE t ADD a int DEFAULT 1", NOT_NULL],
    "with a default": ["ALTER TABLE t ADD n int NOT NULL DEFAULT 1", "ALTER TABLE t ADD m bigserial NOT NULL"],
    "identity": ["ALTER TABLE t ADD n int GENERATED ALWAYS AS IDENTITY"],
    "generated": ["ALTER TABLE t ADD m int NOT NULL GENERATED ALWAYS AS (1) STORED"],
    "believed": ["ALTER TABLE t ADD CHECK (a < 4) NOT VALID"],
    "wider": ["ALTER TABLE t ALTER a TYPE bigint", "ALTER TABLE t ALTER b TYPE varchar"],
    "nulls of a key": ["CREATE UNIQUE INDEX i ON bare (x) WHERE x IS NULL"],
    "rows that come": [
        "INSERT INTO u SELECT DISTINCT u FROM t WHERE u > 2",
        "ALTER TABLE t ADD FOREIGN KEY (u) REFERENCES u",
    ],
}  # fmt: skip


@pytest.mark.parametrize("statements", CERTAIN.values(), ids=CERTAIN)
def test_what_works_is_not_stopped(project: Project, statements: list[str]) -> None:
    """What nobody can know beforehand, or what asks nothing of rows, stops no upgrade."""
    pending(project, *statements)
    upgrade.upgrade(project.settings, project.database, confirm=never)


def test_checks_can_be_skipped(project: Project) -> None:
    """Without the look the server says what it has to say."""
    pending(project, "ALTER TABLE t ALTER a SET NOT NULL")
    with pytest.raises(ExpectedError, match="upgrade stopped at revision rev0"):
        upgrade.upgrade(project.settings, project.database, confirm=never, row_checks=False)


def test_all_are_told_at_once(project: Project) -> None:
    """Rows in the way of several revisions are told together."""
    pending(project, "ALTER TABLE t ALTER a SET NOT NULL", "ALTER TABLE t ADD UNIQUE (a)")
    with pytest.raises(ExpectedError, match=r"rev0 .*, rev1 ") as caught:
        upgrade.upgrade(project.settings, project.database, confirm=never)
    assert len(caught.value.cause.splitlines()) == 2


def test_online_steps_are_looked_at(project: Project) -> None:
    """An online block asks of rows what its statements ask."""
    run_sql(project.database, SCHEMA)
    project.script("aaaa", "", "with op.online():\n    op.alter_column('t', 'a', nullable=False)")
    with pytest.raises(ExpectedError, match="stand in the way of aaaa"):
        upgrade.upgrade(project.settings, project.database, confirm=never)


def test_question_that_may_not_be_asked_is_told(project: Project) -> None:
    """What the user may not read does not stop the upgrade, but is told."""
    pending(project, "ALTER TABLE t ALTER a SET NOT NULL")
    run_sql(project.database, "ALTER TABLE t ENABLE ROW LEVEL SECURITY")
    told: list[str] = []
    name = project.database.dsn.database
    run_sql(project.database, f"ALTER DATABASE {name} SET statement_timeout = '300ms'")
    with project.database.connect() as other, other.begin():
        other.exec_driver_sql("LOCK TABLE t")
        with pytest.raises(ExpectedError, match="stopped at revision rev0"):
            upgrade.upgrade(
                project.settings, project.database, confirm=never, on_progress=told.append
            )
    assert "not asked beforehand: canceling statement due to statement timeout" in told[0]


def test_downgrade_says_what_is_lost(project: Project) -> None:
    """A downgrade asks with the rows that go, counted, also when it only shows its plan."""
    run_sql(project.database, SCHEMA)
    down = "op.run_sql('DROP TABLE u; ALTER TABLE t DROP COLUMN \"N%\"; DELETE FROM bare; DROP TABLE gone')"
    project.script("aaaa")
    project.script("bbbb", "aaaa", "pass", down)
    upgrade.upgrade(project.settings, project.database, confirm=never)
    shown: list[str] = []

    def refuse(_question: str, details: object) -> bool:
        shown.extend(map(str, details))  # type: ignore[call-overload]
        return False

    with pytest.raises(ExpectedError, match="not confirmed"):
        upgrade.downgrade(project.settings, project.database, confirm=refuse)
    lines = [
        "2 rows of u are dropped",
        'the values of t."N%" in 6 rows are dropped',
        "rows of bare are deleted; it has 3 rows",
    ]
    assert shown[-3:] == lines
    plan = upgrade.downgrade(project.settings, project.database, confirm=never, dry_run=True)
    assert list(plan.lost) == lines


def test_script_that_refuses_is_known_beforehand(project: Project) -> None:
    """A backfill that nobody has filled in is refused before any other revision runs."""
    run_sql(project.database, SCHEMA)
    project.script("aaaa", "", "op.run_sql('CREATE TABLE first (x int)')")
    project.script("bbbb", "aaaa", "op.backfill('t', {'a': None})")
    with pytest.raises(ExpectedError, match="what the rows of t get in a"):
        upgrade.upgrade(project.settings, project.database, confirm=yes)
    assert run_sql(project.database, "SELECT to_regclass('first')") == [(None,)]


def test_nothing_is_known_behind_a_script_that_reads() -> None:
    """Behind a script whose statements only a run can tell, nothing is asked."""
    one = Revision("aaaa", "", ROOT)
    alter = "ALTER TABLE t ALTER {} SET NOT NULL"
    found = demands.demands([(one, [alter.format("a")]), (one, None), (one, [alter.format("b")])])
    assert [each.rule for each in found] == [NotNull("a")]
