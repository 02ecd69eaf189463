"""Upgrade, downgrade and stamp of a target, and their SQL."""

import contextlib
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import psycopg2
import pytest
from answers import never, no, yes
from commands import down, mark, printed, up
from conftest import Project, changed, columns, run_sql

from postgres_database.errors import ExpectedError
from postgres_database.running import waiting
from postgres_database.running.listener import Step
from postgres_database.schema import dump
from postgres_database.server import programs
from postgres_database.server.connection import Database


@pytest.mark.parametrize(
    ("target", "after", "expected"),
    [
        ("head", ("cccc",), ["id", "bbbb", "cccc"]),
        ("heads", ("cccc",), ["id", "bbbb", "cccc"]),
        ("bbbb", ("bbbb",), ["id", "bbbb"]),
        ("bbb", ("bbbb",), ["id", "bbbb"]),
        ("+1", ("aaaa",), ["id"]),
        ("+3", ("cccc",), ["id", "bbbb", "cccc"]),
        ("base", (), []),
    ],
)
def test_upgrade_reaches_its_target(
    three: Project, target: str, after: tuple[str, ...], expected: list[str]
) -> None:
    """An upgrade runs what is pending below its target and nothing else."""
    result = up(three.settings, three.database, target=target, confirm=never)
    assert result.after == after
    assert columns(three.database) == expected


@pytest.mark.parametrize(
    ("target", "after", "expected"),
    [
        ("-1", ("bbbb",), ["id", "bbbb"]),
        ("-3", (), []),
        ("base", (), []),
        ("aaaa", ("aaaa",), ["id"]),
    ],
)
def test_downgrade_reaches_its_target(
    three: Project, target: str, after: tuple[str, ...], expected: list[str]
) -> None:
    """A downgrade undoes what stands above its target and nothing else."""
    up(three.settings, three.database, confirm=never)
    result = down(three.settings, three.database, target=target, confirm=yes)
    assert result.after == after
    assert columns(three.database) == expected


def test_steps_are_told_one_by_one(three: Project) -> None:
    """After every revision its step is told, when the revision is there for others to see."""
    seen = []

    def look(step: Step) -> None:
        seen.append((step.revision.id, step.seconds >= 0))

    up(three.settings, three.database, confirm=never, on_step=look)
    down(three.settings, three.database, target="aaaa", confirm=yes, on_step=look)
    assert [revision for revision, _ in seen] == ["aaaa", "bbbb", "cccc", "cccc", "bbbb"]
    assert all(positive for _, positive in seen)


@pytest.mark.parametrize(
    ("before", "protected", "waits"),
    [
        ("SELECT 1", "", [False, False, True]),
        ("CREATE TABLE there ()", "", [True, True, True]),
        ("SELECT 1", "protected", [True, True, True]),
    ],
)
def test_commits_wait_for_the_disk_unless_a_new_run_makes_them_again(
    three: Project, before: str, protected: str, waits: list[bool]
) -> None:
    """On an empty database only the last commit waits; on any other, and where it is protected, each does."""
    name = three.database.dsn.database
    run_sql(three.database, f'ALTER DATABASE "{name}" SET synchronous_commit = on')
    run_sql(three.database, before)
    for name in ("aaaa", "bbbb", "cccc"):
        path = three.versions / f"{name}.py"
        setting = "SELECT current_setting('synchronous_commit')"
        record = f'op.execute("CREATE TABLE waits_{name} AS {setting} AS value")'
        text = path.read_text().replace("def upgrade():\n", f"def upgrade():\n    {record}\n")
        path.write_text(text)
    up(changed(three.settings, protected=bool(protected)), three.database, confirm=yes)
    recorded = " UNION ALL ".join(f"TABLE waits_{name}" for name in ("aaaa", "bbbb", "cccc"))
    assert [value == "on" for (value,) in run_sql(three.database, recorded)] == waits


def test_dry_run_touches_nothing(three: Project) -> None:
    """A dry run returns the plan, asks nobody, and leaves not even the version table."""
    before = dump.take(three.database)
    result = up(three.settings, three.database, dry_run=True, confirm=never)
    assert [revision.id for revision in result.plan] == ["aaaa", "bbbb", "cccc"]
    assert dump.take(three.database) == before
    assert run_sql(three.database, "SELECT to_regclass('alembic_version')") == [(None,)]


def test_nothing_pending_asks_nobody(three: Project) -> None:
    """A protected environment at its head is told so without a question."""
    up(three.settings, three.database, confirm=never)
    protected = changed(three.settings, protected=True)
    result = up(protected, three.database, confirm=never)
    assert result.plan == ()
    assert result.at_head


def test_protected_upgrade_needs_a_yes(three: Project) -> None:
    """Without a yes a protected environment stays as it was."""
    protected = changed(three.settings, protected=True)
    with pytest.raises(ExpectedError, match="not confirmed"):
        up(protected, three.database, confirm=no)
    assert columns(three.database) == []


def test_downgrade_always_needs_a_yes(three: Project) -> None:
    """A downgrade asks in every environment, and shows what it would undo."""
    up(three.settings, three.database, confirm=never)
    asked: list[str] = []

    def refuse(_question: str, details: Sequence[str]) -> bool:
        asked.extend(details)
        return False

    with pytest.raises(ExpectedError, match="not confirmed"):
        down(three.settings, three.database, target="aaaa", confirm=refuse)
    assert asked == [
        "cccc  Message of cccc  (transactional)",
        "  ALTER TABLE t DROP cccc",
        "bbbb  Message of bbbb  (transactional)",
        "  ALTER TABLE t DROP bbbb",
    ]
    assert columns(three.database) == ["id", "bbbb", "cccc"]


def test_failed_revision_is_rolled_back_alone(three: Project) -> None:
    """What was done before a failure stays; the failed revision leaves nothing."""
    three.script("cccc", "bbbb", "op.execute('ALTER TABLE t ADD c int'); op.execute('SELECT 1/0')")
    with pytest.raises(ExpectedError) as caught:
        up(three.settings, three.database, confirm=never)
    assert "cccc" in caught.value.what
    assert "division by zero" in caught.value.cause
    assert "migration/versions/cccc.py, line" in caught.value.cause
    assert columns(three.database) == ["id", "bbbb"]
    assert run_sql(three.database, "SELECT version_num FROM alembic_version") == [("bbbb",)]


def test_python_error_in_a_script_names_the_line(three: Project) -> None:
    """A broken script is told before the first one runs, with file and line; where there is no table, when it runs."""
    three.script("cccc", "bbbb", "undefined_name()")
    for tables, what, made in (
        ("", "stopped at revision cccc", "t"),
        ("other", "nothing was changed", None),
    ):
        if tables:
            run_sql(three.database, "DROP TABLE t, alembic_version; CREATE TABLE other ()")
        with pytest.raises(ExpectedError, match=what) as caught:
            up(three.settings, three.database, confirm=never)
        assert run_sql(three.database, "SELECT to_regclass('t')") == [(made,)]
        assert "NameError: name 'undefined_name' is not defined" in caught.value.cause
        assert "cccc.py, line 11" in caught.value.cause


def test_revision_that_this_checkout_does_not_have(three: Project) -> None:
    """A database that is ahead of the scripts is left alone, with the advice to pull."""
    up(three.settings, three.database, confirm=never)
    run_sql(three.database, "UPDATE alembic_version SET version_num = 'from_a_colleague'")
    for verb in (up, down):
        with pytest.raises(ExpectedError, match="from_a_colleague") as caught:
            verb(three.settings, three.database, confirm=never)
        assert caught.value.hint.startswith("git pull")


def test_lock_that_is_not_to_be_had(three: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A revision that never gets its lock within LOCK_TIMEOUT is rolled back, and says who holds it."""
    monkeypatch.setattr(waiting, "PAUSES", (0.1,))
    up(three.settings, three.database, target="aaaa", confirm=never)
    hurried = changed(three.settings, lock_timeout=500)  # a loaded machine looks late who holds it
    with three.database.connect(usual_path=True) as other, other.begin():
        other.exec_driver_sql("LOCK TABLE t IN ACCESS SHARE MODE")
        other.exec_driver_sql("SELECT 'private', 4711")
        waits: list[str] = []
        with pytest.raises(ExpectedError, match="bbbb") as caught:
            up(hurried, three.database, confirm=never, on_wait=waits.append)
    assert "lock timeout" in caught.value.cause
    for said in (caught.value.cause, *waits):
        assert "(postgres-database, idle in transaction, " in said
        assert "SELECT …, …" in said
    assert len(waits) == 1
    assert "LOCK_TIMEOUT" in caught.value.hint
    assert columns(three.database) == ["id"]


def test_lock_that_is_to_be_had_later(three: Project) -> None:
    """A revision tries for its lock again and again until whoever holds it has gone; nothing is done twice."""
    three.script(
        "bbbb",
        "aaaa",
        "op.execute('INSERT INTO t VALUES (1)'); op.execute('ALTER TABLE t ADD bbbb int')",
    )
    hurried = changed(three.settings, lock_timeout=100)
    told, waits = [], []

    def wait(who: str) -> None:
        waits.append(who)
        if len(waits) == 2:
            other.commit()

    up(three.settings, three.database, target="aaaa", confirm=never)
    with three.database.connect(usual_path=True) as other:
        other.exec_driver_sql("LOCK TABLE t IN ACCESS SHARE MODE")
        result = up(
            hurried,
            three.database,
            confirm=never,
            on_step=lambda step: told.append(step.revision.id),
            on_wait=wait,
        )
    assert result.after == ("cccc",)
    assert told == ["bbbb", "cccc"]
    assert len(waits) == 2
    assert run_sql(three.database, "SELECT id FROM t") == [(1,)]


def test_revision_in_parts_goes_on_where_it_stood(three: Project) -> None:
    """What a script did before its autocommit block is not done again when it is tried again."""
    three.script(
        "bbbb",
        "aaaa",
        """
        op.execute('ALTER TABLE t ADD bbbb int')
        op.execute('INSERT INTO t VALUES (1)')
        with op.get_context().autocommit_block():
            op.execute('CREATE INDEX CONCURRENTLY i ON t (id)')
            op.execute('UPDATE t SET id = id + 1')
            op.execute('DROP TABLE busy')
        """,
    )
    run_sql(three.database, "CREATE TABLE busy (x int)")
    up(three.settings, three.database, target="aaaa", confirm=yes)
    hurried = changed(three.settings, lock_timeout=100)
    with three.database.connect(usual_path=True) as other, other.begin() as reading:
        other.exec_driver_sql("LOCK TABLE busy IN ACCESS SHARE MODE")

        def release(_who: str) -> None:
            assert run_sql(three.database, "SELECT id FROM t") == [(2,)]
            reading.rollback()

        up(hurried, three.database, confirm=never, on_wait=release)
    assert run_sql(three.database, "SELECT id FROM t") == [(2,)]
    assert columns(three.database) == ["id", "bbbb", "cccc"]


CONCURRENT = """
with op.get_context().autocommit_block():
    op.create_index('i', 't', ['id'], unique=True, postgresql_concurrently=True, if_not_exists=True)
"""
INVALID = "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'i'::regclass"


def test_index_that_cannot_be_built_leaves_nothing(three: Project) -> None:
    """An index that rows do not allow is dropped again; once they do, the same command goes on."""
    three.script("bbbb", "aaaa", CONCURRENT)
    up(three.settings, three.database, target="aaaa", confirm=never)
    run_sql(three.database, "INSERT INTO t VALUES (1), (1)")
    with pytest.raises(ExpectedError, match="bbbb") as caught:
        up(three.settings, three.database, confirm=never, skip_row_checks=True)
    assert "could not create unique index" in caught.value.cause
    assert run_sql(three.database, "SELECT to_regclass('i')") == [(None,)]
    run_sql(three.database, "TRUNCATE t")
    assert up(three.settings, three.database, confirm=never).after == ("cccc",)


def test_invalid_index_is_built_anew(three: Project) -> None:
    """An index that a killed run left INVALID is not taken for done, whatever the script says."""
    three.script("bbbb", "aaaa", CONCURRENT)
    up(three.settings, three.database, target="aaaa", confirm=never)
    run_sql(three.database, "CREATE UNIQUE INDEX i ON t (id)", INVALID)
    up(three.settings, three.database, confirm=never)
    valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'i'::regclass"
    assert run_sql(three.database, valid) == [(True,)]


def test_revision_is_never_stamped_with_an_invalid_index(three: Project) -> None:
    """An index that a script leaves INVALID keeps it from being stamped until somebody drops the index."""
    run = "op.get_bind().exec_driver_sql('CREATE INDEX IF NOT EXISTS i ON t (id)')"
    three.script("bbbb", "aaaa", run)
    up(three.settings, three.database, target="aaaa", confirm=never)
    run_sql(three.database, "CREATE INDEX i ON t (id)", INVALID)
    with pytest.raises(
        ExpectedError, match=r"not stamped: the index public\.i is INVALID"
    ) as caught:
        up(three.settings, three.database, confirm=never)
    assert """--command 'DROP INDEX CONCURRENTLY "public"."i"'""" in caught.value.hint
    assert run_sql(three.database, "SELECT version_num FROM alembic_version") == [("aaaa",)]
    run_sql(three.database, "DROP INDEX i")
    assert up(three.settings, three.database, confirm=never).after == ("cccc",)


def test_revision_is_never_stamped_with_a_constraint_to_be_validated(three: Project) -> None:
    """A constraint that the script says to validate is validated, or the revision is not stamped."""
    check = "ADD CONSTRAINT positive CHECK (id > 0) NOT VALID"
    skipped = "if False:\n    op.execute('ALTER TABLE t VALIDATE CONSTRAINT positive')"
    three.script("bbbb", "aaaa", f"op.execute('ALTER TABLE t {check}')\n{skipped}")
    with pytest.raises(ExpectedError, match=r"constraint positive of public\.t is not validated"):
        up(three.settings, three.database, confirm=never)
    three.script("bbbb", "aaaa", f"op.execute('ALTER TABLE t {check}')")
    assert up(three.settings, three.database, confirm=never).after == ("cccc",)


def test_unrelated_invalid_index_is_no_reason(three: Project) -> None:
    """What was INVALID before, and no script names, does not keep a revision from being stamped."""
    run_sql(
        three.database,
        "CREATE TABLE other (x int); CREATE INDEX elsewhere ON other (x)",
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'elsewhere'::regclass",
    )
    assert up(three.settings, three.database, confirm=yes).after == ("cccc",)


def test_read_only_target_is_refused_before_the_first_statement(three: Project) -> None:
    """A target that is read-only is refused with the reason, and unchanged."""
    name = three.database.dsn.database
    run_sql(three.database, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    with pytest.raises(ExpectedError, match="is read-only") as caught:
        up(three.settings, three.database, confirm=yes)
    assert caught.value.cause.startswith("default_transaction_read_only is on")
    assert columns(three.database) == []


def test_limits_that_are_meant_for_applications(three: Project, server: Database) -> None:
    """A revision that takes longer than a session of an application may be idle, or in a transaction, is run."""
    name = three.database.dsn.database
    three.script("slow", "cccc", "import time; op.execute('SELECT pg_sleep(0.4)'); time.sleep(0.4)")
    limits = ["idle_in_transaction_session_timeout", "idle_session_timeout", "transaction_timeout"]
    known = {str(row[0]) for row in run_sql(server, "SELECT name FROM pg_settings")}
    for limit in known.intersection(limits):
        run_sql(server, f"ALTER DATABASE {name} SET {limit} = '300ms'")
    assert up(three.settings, three.database, confirm=never).at_head


@pytest.mark.parametrize(
    "setting",
    ["DATABASE {database}", "ROLE {user}", "ROLE {user} IN DATABASE {database}"],
    ids=["database", "role", "both"],
)
def test_advice_for_a_read_only_target_lets_it_be_written(three: Project, setting: str) -> None:
    """Wherever it is set that a database is read-only, the statement of the advice ends that when it is run there."""
    user = three.database.dsn.database.replace("test", "Odd User")
    target = replace(three.database, dsn=three.database.dsn.with_parts(user=user, password="x"))
    named = setting.format(database=three.database.dsn.database, user=f'"{user}"')
    run_sql(
        three.database,
        f"CREATE ROLE \"{user}\" LOGIN SUPERUSER PASSWORD 'x' IN ROLE logins",
        f"ALTER {named} SET default_transaction_read_only = on",
    )
    try:
        with pytest.raises(ExpectedError, match="is read-only") as caught:
            up(three.settings, target, confirm=yes)
        parameters: dict[str, Any] = {**target.dsn.parameters()}
        session = psycopg2.connect(**parameters)
        with contextlib.closing(session), session.cursor() as cursor:
            session.autocommit = True
            cursor.execute(shlex.split(caught.value.hint)[3])
        assert up(three.settings, target, confirm=yes).at_head
    finally:
        run_sql(
            three.database,
            "BEGIN READ WRITE",
            f'REASSIGN OWNED BY "{user}" TO CURRENT_USER; DROP OWNED BY "{user}"; DROP ROLE "{user}"',
        )


def test_branches_are_upgraded_to_all_heads(three: Project) -> None:
    """`heads` reaches every head; `head` refuses and names the merge command."""
    three.script("dddd", "bbbb", "op.execute('ALTER TABLE t ADD dddd int')")
    with pytest.raises(ExpectedError, match="2 heads") as caught:
        up(three.settings, three.database, confirm=never)
    assert caught.value.hint.startswith("invoke merge")
    result = up(three.settings, three.database, target="heads", confirm=never)
    assert result.after == ("cccc", "dddd")
    assert set(columns(three.database)) == {"id", "bbbb", "cccc", "dddd"}


def psql(database: Database, sql: str) -> None:
    """Apply a script as an operator would."""
    subprocess.run(
        [programs.BINARIES / "psql", "--set=ON_ERROR_STOP=1", "--quiet", "--no-psqlrc"],
        input=sql,
        text=True,
        env=database.dsn.child_environment(),
        check=True,
        capture_output=True,
    )


@pytest.mark.parametrize("target", ["head", "base:head", "+2"])
def test_upgrade_as_sql(three: Project, target: str) -> None:
    """The SQL of an upgrade, applied by psql, does what the upgrade does."""
    sql = printed(three.settings, lambda: three.database, verb="upgrade", target=target)
    assert columns(three.database) == []
    psql(three.database, sql)
    assert columns(three.database)[:2] == ["id", "bbbb"]
    result = up(three.settings, three.database, confirm=never)
    assert [revision.id for revision in result.plan] == (["cccc"] if target == "+2" else [])


def test_downgrade_as_sql_and_up_again(three: Project) -> None:
    """SQL leads down to base and, over the version table that stays behind, up again."""
    up(three.settings, three.database, confirm=never)
    for verb, target, expected in (
        ("downgrade", "-1", ["id", "bbbb"]),
        ("downgrade", "base", []),
        ("upgrade", "head", ["id", "bbbb", "cccc"]),
    ):
        sql = printed(three.settings, lambda: three.database, verb=verb, target=target)
        psql(three.database, sql)
        assert columns(three.database) == expected


def test_sql_keeps_percent_signs_and_colons(project: Project) -> None:
    """What a script executes is printed with its % and its :: as they are."""
    project.script(
        "aaaa", "", r"""op.execute("CREATE VIEW v AS SELECT '100%' AS p, 'a\\:b'::text AS q")"""
    )
    sql = printed(project.settings, lambda: project.database, verb="upgrade", target="base:head")
    psql(project.database, sql)
    assert run_sql(project.database, "SELECT p, q FROM v") == [("100%", "a:b")]


def test_script_that_reads_rows_cannot_be_printed(three: Project) -> None:
    """Where SQL cannot be printed, the error says which command runs the script instead."""
    three.script("dddd", "cccc", "op.get_bind().execute(sa.text('SELECT 1')).scalar_one()")
    with pytest.raises(ExpectedError) as caught:
        printed(three.settings, lambda: three.database, verb="upgrade", target="base:head")
    assert caught.value.hint.startswith("invoke upgrade")


def test_stamp_runs_nothing(three: Project) -> None:
    """A stamp writes the version table and runs no script."""
    assert mark(three.settings, three.database, "head", confirm=yes) == "cccc"
    assert columns(three.database) == []
    assert run_sql(three.database, "SELECT version_num FROM alembic_version") == [("cccc",)]


def test_stamp_with_purge_forgets_a_lost_revision(three: Project) -> None:
    """A revision whose script is lost is replaced only when that is asked for."""
    mark(three.settings, three.database, "head", confirm=yes)
    run_sql(three.database, "UPDATE alembic_version SET version_num = 'lost'")
    with pytest.raises(ExpectedError, match="lost"):
        mark(three.settings, three.database, "aaaa", confirm=yes)
    mark(three.settings, three.database, "aaaa", purge=True, confirm=yes)
    assert run_sql(three.database, "SELECT version_num FROM alembic_version") == [("aaaa",)]


UNPRINTED = 'op.get_bind().scalar(sa.text("SELECT 1"))\nop.drop_table("pay")'


@pytest.mark.parametrize(
    ("rows", "script", "asked"),
    [
        ("VALUES (1)", 'op.drop_table("pay")', True),
        ("VALUES (1)", 'op.execute("DROP SCHEMA public CASCADE")', True),
        ("VALUES (1)", UNPRINTED, True),
        ("VALUES (1)", 'op.drop_column("pay", "note")', False),
        ("SELECT 1 WHERE false", 'op.drop_table("pay")', False),
        ("VALUES (1)", UNPRINTED.replace("drop_table", "f"), False),
    ],
)
def test_a_table_with_rows_is_dropped_only_after_a_yes(
    project: Project, rows: str, script: str, *, asked: bool
) -> None:
    """Protected or not: what cannot be undone is asked; also where it cannot be known beforehand."""
    project.script("a0", upgrade="op.execute('CREATE TABLE pay (id int, note text)')")
    up(project.settings, project.database, confirm=never)
    run_sql(project.database, f"INSERT INTO pay {rows}")
    project.script(
        "a1", "a0", upgrade=script, downgrade='op.create_table("pay")\nop.drop_table("pay")'
    )
    questions = []

    def refuse(question: str, _details: Sequence[str]) -> bool:
        questions.append(question)
        return False

    with contextlib.suppress(ExpectedError):
        up(project.settings, project.database, confirm=refuse)
    assert len(questions) == asked
    assert all(each.endswith("which drops tables with their rows") for each in questions)
    kept = run_sql(project.database, "SELECT to_regclass('pay') IS NOT NULL")
    assert kept[0][0] or not asked
