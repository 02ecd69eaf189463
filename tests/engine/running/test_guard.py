"""The transaction of a script is ended with its stamp, and by nothing else."""

import pytest
from answers import yes
from commands import printed, up
from conftest import Project, run_sql

from postgres_database.errors import ExpectedError
from postgres_database.running import guard
from postgres_database.scratch import databases

MAKE = "op.execute('CREATE TABLE n (x int); INSERT INTO n VALUES (0)')"
ADD = "op.execute('UPDATE n SET x = x + 1')\n"
FAIL = "op.execute('SELECT 1 / (SELECT count(*) FROM pg_class WHERE relname = $$none$$)')\n"
ORM = "from sqlalchemy.orm import Session\n"
ISOLATED = "op.execute('SET TRANSACTION ISOLATION LEVEL SERIALIZABLE')\n"
CURSOR = "cursor = op.get_bind().connection.cursor()\n"


def made(project: Project) -> None:
    """Let the target be at the first revision."""
    project.script("aaaa", "", MAKE)
    up(project.settings, project.database, confirm=yes)


def refused(project: Project, script: str) -> ExpectedError:
    """Return how an upgrade ends by this script, which is not stamped."""
    project.script("bbbb", "aaaa", script)
    with pytest.raises(ExpectedError) as caught:
        up(project.settings, project.database, confirm=yes)
    assert caught.value.hint
    return caught.value


def rows(project: Project) -> list[tuple[object, ...]]:
    return run_sql(project.database, "SELECT x, version_num FROM n, alembic_version")


@pytest.mark.parametrize(
    "sql",
    [
        "COMMIT",
        " commit ;",
        "-- a comment\nCOMMIT AND CHAIN",
        "UPDATE n SET x = 2; COMMIT; UPDATE n SET x = 3",
        "BEGIN",
        "START  TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "/* so */ END",
        "abort",
        "ROLLBACK WORK",
        "PREPARE /* what */ TRANSACTION 'x'",
    ],
)
def test_control_is_seen(sql: str) -> None:
    """SQL that begins or ends a transaction is refused, wherever it stands in a text."""
    with pytest.raises(ExpectedError, match="must not run"):
        guard.require_no_control(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "SAVEPOINT a; ROLLBACK TO SAVEPOINT a; ROLLBACK WORK TO a; RELEASE a",
        "INSERT INTO t VALUES ('a; COMMIT; b')",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC; SELECT CASE WHEN true THEN 1 END; END",
        "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT t.end FROM t; SELECT 1 AS end; SELECT 2 AS case; END",
        "SELECT commit, rollback FROM t; COMMIT %(x)s",
        "DO $$ BEGIN PERFORM 1; COMMIT; END $$",
        'COMMENT ON TABLE "COMMIT" IS $x$ROLLBACK;$x$',
        "COMMIT PREPARED 'x'",
        "PREPARE p AS SELECT 1",
        "SELECT 1 -- ; COMMIT",
        "SELECT commit FROM t",
    ],
)
def test_what_only_looks_like_it(sql: str) -> None:
    """What holds such words without ending a transaction runs."""
    guard.require_no_control(sql)


REFUSED = (
        ADD + "op.execute('COMMIT')\n" + FAIL,
        ADD + "op.run_sql('SELECT 1; COMMIT')\n",
        "with op.online():\n    op.execute('BEGIN; UPDATE n SET x = 5; COMMIT')\n",
        "rows = op.get_bind().execute(sa.text('SELECT x FROM n')).all()\n" + ADD + "op.execute(sa.text('COMMIT'))\n",
        ADD + "op.get_bind().exec_driver_sql('COMMIT')\n" + FAIL,
        ADD + "op.get_bind().execute(sa.text('ROLLBACK; BEGIN'))\n",
        ADD + "op.get_bind().commit()\n" + FAIL,
        ADD + "op.get_bind().commit()\n",
        ADD + "op.get_bind().get_transaction().commit()\n",
        ADD + "try:\n    op.get_bind().commit()\nexcept Exception:\n    pass\n" + ADD,
        ADD + "op.get_bind().rollback()\n" + ADD,
        ADD + "op.get_bind().rollback()\n",
        ADD + ORM + "with Session(op.get_bind()) as s:\n    s.execute(sa.text('TABLE n'))\n    s.rollback()\n",
)  # fmt: skip


def test_control_is_refused_before_it_runs(project: Project) -> None:
    """A script that would end its transaction is rolled back as a whole, with the block to use instead."""
    made(project)
    for script in REFUSED:
        error = refused(project, script)
        assert rows(project) == [(0, "aaaa")], script
        assert "op.online" in error.hint
        assert "migration/versions/bbbb.py" in error.cause


def test_control_is_refused_before_the_first_script(project: Project) -> None:
    """What can be seen beforehand stops the plan before it begins, also when it is printed."""
    run_sql(project.database, "CREATE TABLE filled ()")
    project.script("aaaa", "", MAKE)
    project.script("bbbb", "aaaa", "op.execute('COMMIT')")
    with pytest.raises(ExpectedError, match="must not run"):
        up(project.settings, project.database, confirm=yes)
    assert run_sql(project.database, "SELECT to_regclass('n')") == [(None,)]
    with pytest.raises(ExpectedError, match="must not run"):
        printed(project.settings, lambda: project.database, verb="upgrade", target="base:head")


TOLD = (
        (ADD + CURSOR + "cursor.execute('COMMIT')\n" + FAIL, 1),
        (ADD + CURSOR + "cursor.execute('COMMIT')\n" + ADD, 2),
        (ADD + CURSOR + "cursor.execute('COMMIT')\ncursor.execute('BEGIN')\n" + ADD + FAIL, 1),
        (ADD + CURSOR + "cursor.execute('COMMIT')\ncursor.execute('BEGIN')\n" + ADD, 1),
        (ISOLATED + ADD + CURSOR + "cursor.execute('COMMIT')\n" + FAIL, 1),
        (ISOLATED + ADD + CURSOR + "cursor.execute('COMMIT')\n", 1),
        (CURSOR + "cursor.execute('ROLLBACK')\n" + ADD + "cursor.execute('BEGIN')\n" + FAIL, 1),
        (ADD + "op.get_bind().connection.driver_connection.commit()\n" + FAIL, 1),
        (ADD + "op.get_bind().connection.driver_connection.commit()\n" + ADD, 1),
        (CURSOR + ADD + "cursor.execute('COMMIT')\nwith op.online():\n    op.execute('SELECT 1')\n", 1),
)  # fmt: skip
"""Scripts, and what x is after each."""


def test_what_is_not_seen_beforehand_is_told(project: Project) -> None:
    """A script that ended its transaction in another way is not stamped, and nobody says that it was rolled back."""
    made(project)
    for script, x in TOLD:
        error = refused(project, script)
        assert rows(project) == [(x, "aaaa")], script
        assert "what it committed stays" in error.what
        assert "rolled back" not in str(error)
        assert "op.online" in error.hint
        run_sql(project.database, "UPDATE n SET x = 0")


def test_script_may_isolate_its_transaction(project: Project) -> None:
    """What may only be set before the first query of a transaction can be set."""
    made(project)
    project.script("bbbb", "aaaa", ISOLATED + ADD)
    up(project.settings, project.database, confirm=yes)
    assert rows(project) == [(1, "bbbb")]


def test_online_script_that_commits_by_its_connection(project: Project) -> None:
    """An online script may commit by its blocks only."""
    made(project)
    error = refused(
        project, ADD + "op.get_bind().commit()\n" + ADD + "with op.online():\n    " + ADD
    )
    assert rows(project) == [(1, "aaaa")]
    assert "commit() of its connection" in str(error)
    assert "rolled back" not in str(error)


def test_error_within_a_session_is_what_is_told(project: Project) -> None:
    """An ORM session that rolls back because of an error does not hide it; one that commits only flushes."""
    orm = ORM + "with Session(op.get_bind()) as s, s.begin():\n"
    made(project)
    error = refused(project, ADD + orm + "    s.execute(sa.text('SELECT 1 / 0'))")
    assert "division by zero" in error.cause
    assert rows(project) == [(0, "aaaa")]
    project.script("bbbb", "aaaa", ADD + orm + "    s.execute(sa.text('UPDATE n SET x = x + 1'))")
    up(project.settings, project.database, confirm=yes)
    assert rows(project) == [(2, "bbbb")]


def test_scratch_databases_refuse_it_too(project: Project) -> None:
    """The proof of a script stops where an upgrade would."""
    project.script("aaaa", "", MAKE)
    project.script("bbbb", "aaaa", ADD + "op.get_bind().commit()")
    with (
        databases.session(*project.settings) as session,
        pytest.raises(ExpectedError, match="must not run commit"),
    ):
        session.at(project.settings.project, ["bbbb"])


def test_procedure_that_commits_is_a_step(project: Project) -> None:
    """In an online block a procedure may commit; elsewhere the error says so, and that is where it is rolled back."""
    block = "DO $$ BEGIN UPDATE n SET x = x + 1; COMMIT; END $$"
    made(project)
    error = refused(project, f"op.execute('{block}')")
    assert "was rolled back" in error.what
    assert "op.online" in error.hint
    assert rows(project) == [(0, "aaaa")]
    project.script("bbbb", "aaaa", f"with op.online():\n    op.execute('{block}')")
    up(project.settings, project.database, confirm=yes)
    assert rows(project) == [(1, "bbbb")]


OURS = "SELECT pg_advisory_unlock(hashtextextended('postgres-database: public.alembic_version', 0))"


@pytest.mark.parametrize(
    "script",
    [
        "op.execute('SELECT pg_advisory_unlock_all()')",
        f"for _ in range(2):\n    op.execute({OURS!r})",
        "with op.get_context().autocommit_block():\n    op.execute('DISCARD ALL')",
    ],
)
def test_script_that_gives_back_the_lock(project: Project, script: str) -> None:
    """A script after which another command could begin is not stamped, and nothing runs after it."""
    made(project)
    project.script("cccc", "bbbb", "op.execute('CREATE TABLE after_it ()')")
    error = refused(project, ADD + script)
    assert "has given back the lock" in error.what
    assert "in migration/versions/bbbb.py" in error.cause
    assert {version for _, version in rows(project)} == {"aaaa"}


@pytest.mark.parametrize(
    "script",
    [
        "op.get_bind().detach()\nop.get_bind().connection.close()",
        "op.get_bind().close()",
        "op.get_bind().invalidate()",
        "op.get_bind().connection.driver_connection.close()",
    ],
)
def test_script_that_closes_the_connection(project: Project, script: str) -> None:
    """It is an error that names the revision, whatever of the connection is closed."""
    made(project)
    assert "stopped at revision bbbb" in refused(project, ADD + script).what
    assert rows(project) == [(0, "aaaa")]
