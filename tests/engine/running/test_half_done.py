"""What the log says of a script that was interrupted holds only for what it was done to."""

import subprocess
from collections.abc import Sequence

import pytest
from alembic import command
from alembic.config import Config
from answers import yes
from backfills import Place, fill
from commands import down, mark, up
from conftest import Project, run_sql

from postgres_database.errors import ExpectedError
from postgres_database.online.backfill import Backfill
from postgres_database.server import environment, programs
from postgres_database.server.connection import Database

GATE = "op.execute('SELECT 1 / (SELECT count(*) FROM gate)')\n"
TABLE = """
op.execute("CREATE TABLE t (id int PRIMARY KEY, n int DEFAULT 0); CREATE TABLE gate ()")
op.execute("INSERT INTO t SELECT generate_series(1, 300)")
op.execute("CREATE TABLE other (id int PRIMARY KEY, n int DEFAULT 0); INSERT INTO other VALUES (1)")
"""
FILL = "with op.online():\n    op.backfill('t', {'c': '7'})\n"
UPDATE = "with op.online():\n    op.execute('UPDATE t SET c = 7')\n"
MAKE = (
    "with op.online():\n    op.execute('CREATE TABLE made (x int); INSERT INTO made VALUES (1)')\n"
)
COUNT = "with op.online():\n    op.execute('UPDATE other SET n = n + 1')\n"
EMPTY = "SELECT count(*) FROM t WHERE c IS DISTINCT FROM 7"
COUNTED = "SELECT n FROM other"


def move(project: Project, target: str = "head") -> None:
    up(project.settings, project.database, target=target, confirm=yes)


def undo(project: Project, target: str = "-1") -> list[str]:
    """Undo revisions and return what was shown before."""
    shown: list[str] = []

    def confirm(_: str, details: Sequence[str]) -> bool:
        shown.extend(details)
        return True

    down(project.settings, project.database, target=target, confirm=confirm)
    return shown


@pytest.fixture
def half(project: Project) -> Project:
    """A history whose third script fails until there is a row in `gate`, after it has committed steps."""
    project.script("b1", "", TABLE, "op.execute('DROP TABLE t, gate, other')")
    project.script(
        "b2",
        "b1",
        "op.add_column('t', sa.Column('c', sa.Integer))",
        "op.drop_column('t', 'c')",
    )
    return project


def interrupted(project: Project, script: str) -> None:
    """Let the third script be interrupted at its end."""
    project.script("b3", "b2", script + GATE)
    with pytest.raises(ExpectedError, match="stopped at revision b3"):
        move(project)
    run_sql(project.database, "INSERT INTO gate DEFAULT VALUES")


@pytest.mark.parametrize("script", [FILL, UPDATE])
def test_column_that_was_undone_is_filled_again(half: Project, script: str) -> None:
    """A downgrade of the revision below ends what the log says, and is asked with that in view."""
    interrupted(half, script)
    assert any("b3 was interrupted" in line for line in undo(half))
    run_sql(half.database, "INSERT INTO gate DEFAULT VALUES")
    told: list[str] = []
    up(half.settings, half.database, confirm=yes, on_progress=told.append)
    assert run_sql(half.database, EMPTY) == [(0,)]
    assert any("all its steps are run" in line for line in told)


BY_HAND = {
    "column made again": ("ALTER TABLE t DROP c; ALTER TABLE t ADD c int", FILL + COUNT),
    "column made again, plain step": ("ALTER TABLE t DROP c; ALTER TABLE t ADD c int", UPDATE + COUNT),
    "table made again": (
        "DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY, c int); INSERT INTO t VALUES (1)", FILL + COUNT),
    "columns exchanged": (
        "ALTER TABLE t RENAME c TO d; ALTER TABLE t ADD c int; ALTER TABLE t DROP d", FILL + COUNT),
    "column renamed, another in its place": ("ALTER TABLE t RENAME c TO d; ALTER TABLE t ADD c int", FILL + COUNT),
    "table renamed, another in its place": (
        "ALTER TABLE t RENAME TO u; CREATE TABLE t (id int PRIMARY KEY, c int); INSERT INTO t VALUES (1)",
        UPDATE + COUNT),
    "table of a step dropped": ("DROP TABLE made", MAKE + UPDATE + COUNT),
}  # fmt: skip


@pytest.mark.parametrize(("change", "script"), BY_HAND.values(), ids=BY_HAND)
def test_step_is_done_again_where_its_table_or_column_is_gone(
    half: Project, change: str, script: str
) -> None:
    """What was changed by hand is done again, and nothing else is."""
    interrupted(half, script)
    run_sql(half.database, change)
    move(half)
    assert run_sql(half.database, EMPTY) == [(0,)]
    assert run_sql(half.database, COUNTED) == [(1,)]
    if "made" in script:
        assert run_sql(half.database, "TABLE made") == [(1,)]


def test_script_that_renames_what_it_made_goes_on(half: Project) -> None:
    """What the script itself calls by another name afterwards is done as it was."""
    renames = "    op.execute('ALTER TABLE t RENAME c TO d')\n    op.execute('ALTER TABLE t RENAME TO u')\n"
    interrupted(half, FILL + renames + COUNT)
    move(half)
    assert run_sql(half.database, "SELECT count(*) FROM u WHERE d = 7") == [(300,)]
    assert run_sql(half.database, COUNTED) == [(1,)]


def test_unrelated_changes_repeat_nothing(half: Project) -> None:
    """A step stays done when columns that it does not name, or tables that it did not write, come and go."""
    interrupted(half, FILL + COUNT)
    run_sql(
        half.database,
        "ALTER TABLE other ADD x int; ALTER TABLE other DROP x; ALTER TABLE t DROP n; DROP TABLE IF EXISTS u",
    )
    move(half)
    assert run_sql(half.database, COUNTED) == [(1,)]


def test_script_that_drops_what_it_made_goes_on(half: Project) -> None:
    """What a script itself has dropped since is no reason to do a step again."""
    script = (
        "with op.online():\n"
        "    op.execute('CREATE TABLE tmp (x int); INSERT INTO tmp VALUES (1)')\n"
        "    op.execute('UPDATE other SET n = n + (SELECT sum(x) FROM tmp)')\n"
        "    op.execute('ALTER TABLE t ADD d int')\n"
        "    op.backfill('t', {'d': '1'})\n"
        "    op.execute('DROP TABLE tmp')\n"
        "    op.execute('ALTER TABLE t DROP d')\n"
    )
    interrupted(half, script)
    move(half)
    assert run_sql(half.database, COUNTED) == [(1,)]


@pytest.mark.parametrize("how", ["stamp", "alembic", "by hand", "forward", "restored"])
def test_stamps_and_backups_end_it(
    half: Project, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever says that the database is elsewhere ends it, also plain Alembic, and so does a backup."""
    interrupted(half, UPDATE)
    drop = "ALTER TABLE t ALTER c TYPE int USING NULL"  # the same column: only the stamps tell
    settings, database = half.settings, half.database
    run_sql(database, drop)
    match how:
        case "stamp":
            mark(settings, database, "b2", confirm=yes)
        case "alembic":
            monkeypatch.setattr(environment, "load", lambda **_: settings.environment)
            monkeypatch.setattr("logging.config.fileConfig", lambda *_, **__: None)
            for revision in ("b1", "b2"):
                command.stamp(Config(half.root / "alembic.ini"), revision)
        case "by hand":
            run_sql(database, "ALTER TABLE t DROP c; UPDATE alembic_version SET version_num = 'b1'")
        case "forward":
            mark(settings, database, "b3", confirm=yes)
            run_sql(database, "UPDATE alembic_version SET version_num = 'b2'")
        case _:
            restored(database)
    move(half)
    assert run_sql(half.database, EMPTY) == [(0,)]


def restored(database: Database) -> None:
    """Dump a database, and restore it in place."""
    environ = database.dsn.child_environment()
    dump = subprocess.run(
        [programs.BINARIES / "pg_dump", "--clean"], env=environ, capture_output=True, check=True
    )
    script = dump.stdout.replace(b"SET transaction_timeout = 0;\n", b"")  # new in PostgreSQL 17
    subprocess.run(
        [programs.BINARIES / "psql", "-q", "-v", "ON_ERROR_STOP=1"],
        env=environ, input=script, check=True, capture_output=True,
    )  # fmt: skip


def test_clone_goes_on(half: Project, server: Database) -> None:
    """A clone of the whole database is the same: tables have their OIDs, and the log is the one that was written."""
    interrupted(half, FILL + COUNT)
    name = f"{half.database.dsn.database}_c"
    with server.connect(autocommit=True) as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name} TEMPLATE {half.database.dsn.database}")
        try:
            clone = Database(server.dsn.with_parts(dbname=name), "test")
            up(half.settings, clone, confirm=yes)
            assert run_sql(clone, COUNTED) == [(1,)]
        finally:
            connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")


def test_equal_backfills_are_both_done(half: Project) -> None:
    """Two backfills of the same words in one script are two steps."""
    half.script("b3", "b2", "with op.online():\n" + 2 * "    op.backfill('t', {'n': 'n + 1'})\n")
    move(half)
    assert run_sql(half.database, "SELECT min(n), max(n) FROM t") == [(2, 2)]


def test_script_that_was_edited_goes_on(half: Project) -> None:
    """Steps that stay are not done again; what was edited is another step."""
    interrupted(half, COUNT + UPDATE)
    half.script("b3", "b2", COUNT + UPDATE.replace("7", "8 - 1") + GATE)
    run_sql(half.database, "UPDATE t SET c = 0")
    move(half)
    assert run_sql(half.database, EMPTY) == [(0,)]
    assert run_sql(half.database, COUNTED) == [(1,)]


def test_branch_beside_ends_nothing(half: Project) -> None:
    """A revision of another branch that is run or undone meanwhile changes nothing."""
    interrupted(half, COUNT)
    half.script("c3", "b2", "op.execute('CREATE TABLE c3 ()')", "op.execute('DROP TABLE c3')")
    move(half, "c3")
    undo(half, "b2")
    move(half, "heads")
    assert run_sql(half.database, COUNTED) == [(1,)]


def test_place_in_the_order_of_another_key_is_no_place(database: Database) -> None:
    """A backfill begins anew when the key by which it went is another one, or of another type."""
    run_sql(
        database, "CREATE TABLE t (id int PRIMARY KEY, k text NOT NULL UNIQUE, n int DEFAULT 0)"
    )
    run_sql(database, "INSERT INTO t SELECT i, 'k' || i FROM generate_series(1, 300) i")
    place = Place()
    assert fill(database, Backfill("", "t", {"n": "n + 1"}), place) == 300
    assert fill(database, Backfill("", "t", {"n": "n + 1"}), place) == 0
    run_sql(database, "ALTER TABLE t DROP CONSTRAINT t_pkey")
    assert fill(database, Backfill("", "t", {"n": "n + 1"}), place) == 300
