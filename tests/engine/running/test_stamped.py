"""What a database says of its revision is believed only if it can be true and all of it is to be seen."""

import dataclasses

import pytest
from answers import yes
from commands import adopt, mark, up
from conftest import Project, run_sql

from postgres_database.errors import ExpectedError
from postgres_database.running import runner
from postgres_database.server.connection import Database


@pytest.fixture
def two(role: str, project: Project) -> Project:
    """Two revisions, done on a target that belongs to somebody else."""
    project.script("aaaa", upgrade='op.execute("CREATE TABLE a ()")')
    project.script("bbbb", "aaaa", upgrade='op.execute("CREATE TABLE b ()")')
    up(project.settings, project.database, confirm=yes)
    run_sql(project.database, f"GRANT ALL ON alembic_version, alembic_version_log TO {role}")
    return project


def seen_by(role: str, project: Project) -> Database:
    """Return the target as another user sees it."""
    return dataclasses.replace(
        project.database, dsn=project.database.dsn.with_parts(options=f"-c role={role}")
    )


@pytest.mark.parametrize("policy", ["", "CREATE POLICY only_mine ON alembic_version USING (false)"])
def test_rows_that_a_policy_hides_are_no_base(role: str, two: Project, policy: str) -> None:
    """Where row security hides the version table, that is an error, and no empty table."""
    run_sql(two.database, f"ALTER TABLE alembic_version ENABLE ROW LEVEL SECURITY; {policy}")
    with pytest.raises(ExpectedError) as caught:
        up(two.settings, seen_by(role, two), confirm=yes)
    assert ("only_mine" if policy else "row security") in caught.value.what
    assert 'ALTER TABLE "public"."alembic_version" DISABLE ROW LEVEL SECURITY' in caught.value.hint
    assert up(two.settings, two.database, confirm=yes).plan == ()


def test_revision_with_one_before_it(two: Project) -> None:
    """A database that is at a revision and at one before it contradicts itself, until it is stamped anew."""
    run_sql(two.database, "INSERT INTO alembic_version VALUES ('aaaa')")
    with pytest.raises(ExpectedError) as caught:
        up(two.settings, two.database, confirm=yes)
    assert "at bbbb and at aaaa, which comes before" in caught.value.what
    assert "invoke stamp --purge --target bbbb" in caught.value.hint
    mark(two.settings, two.database, "bbbb", purge=True, confirm=yes)
    assert run_sql(two.database, "SELECT version_num FROM alembic_version") == [("bbbb",)]


def test_row_that_says_nothing(two: Project) -> None:
    """A row that is NULL is an error with the statement that removes it."""
    run_sql(
        two.database,
        "ALTER TABLE alembic_version DROP CONSTRAINT alembic_version_pkc",
        "ALTER TABLE alembic_version ALTER COLUMN version_num DROP NOT NULL",
        "INSERT INTO alembic_version VALUES (NULL)",
    )
    with pytest.raises(ExpectedError) as caught:
        up(two.settings, two.database, confirm=yes)
    assert "NULL" in caught.value.what
    run_sql(two.database, caught.value.hint.split("'")[1])
    assert up(two.settings, two.database, confirm=yes).plan == ()


@pytest.mark.parametrize(
    "trap",
    [
        "CREATE TRIGGER t BEFORE INSERT OR UPDATE OR DELETE ON alembic_version EXECUTE FUNCTION trap()",
        "ALTER TABLE alembic_version ADD COLUMN c int DEFAULT trap_()",
        "DROP TABLE alembic_version; CREATE VIEW alembic_version AS SELECT 'x' AS version_num",
    ],
    ids=["trigger", "default", "view"],
)
def test_version_table_that_runs_what_others_wrote(role: str, two: Project, trap: str) -> None:
    """The version table of somebody who may do less is not touched if it runs what that one wrote."""
    run_sql(
        two.database,
        "CREATE FUNCTION trap() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''trap''; END'",
        "CREATE FUNCTION trap_() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        f"GRANT ALL ON SCHEMA public TO {role}",
        f"ALTER TABLE alembic_version OWNER TO {role}",
    )
    with runner.open_runner(two.settings.project, two.database) as run:
        assert run.current() == ("bbbb",)
    run_sql(two.database, trap, f"ALTER TABLE alembic_version OWNER TO {role}")
    with (
        runner.open_runner(two.settings.project, two.database) as run,
        pytest.raises(ExpectedError) as caught,
    ):
        run.current()
    assert caught.value.cause.startswith(f"it belongs to {role} and has ")


NUMBERS = "DROP TABLE alembic_version; CREATE TABLE alembic_version "
STRANGE = {
    "no column": (NUMBERS + "(v text)", "has no column version_num"),
    "a number": (NUMBERS + "(version_num int)", "of the type integer"),
    "padded": (NUMBERS + "(version_num char(32))", "of the type character"),
    "a sequence": ("DROP TABLE alembic_version; CREATE SEQUENCE alembic_version", "is not a table"),
    "a copy": (
        "DROP TABLE alembic_version; CREATE MATERIALIZED VIEW alembic_version AS SELECT 'bbbb' AS version_num",
        "is not a table",
    ),
    "twice": (
        "ALTER TABLE alembic_version DROP CONSTRAINT alembic_version_pkc; INSERT INTO alembic_version VALUES ('bbbb')",
        "has 2 rows that say bbbb",
    ),
}


@pytest.mark.parametrize("kind", STRANGE)
def test_table_that_alembic_cannot_keep_revisions_in(kind: str, two: Project) -> None:
    """What stands in the place of the version table and is none is an error before anything runs."""
    sql, said = STRANGE[kind]
    two.script("cccc", "bbbb", upgrade='op.execute("CREATE TABLE c ()")')
    run_sql(two.database, *sql.split("; "))
    with pytest.raises(ExpectedError) as caught:
        up(two.settings, two.database, confirm=yes)
    assert said in caught.value.what
    assert run_sql(two.database, "SELECT to_regclass('c')") == [(None,)]


def test_version_table_that_is_not_to_be_read(role: str, two: Project) -> None:
    """Without the privilege to read it, the error names the grant, and nothing is taken for base or missing."""
    run_sql(two.database, f"REVOKE ALL ON alembic_version FROM {role}")
    target = seen_by(role, two)
    for right, command in (
        ("SELECT", lambda: up(two.settings, target, confirm=yes)),
        ("SELECT", lambda: mark(two.settings, target, "aaaa", confirm=yes)),
        ("ALL", lambda: adopt(two.settings, target, "Init", yes)),
    ):
        with pytest.raises(ExpectedError) as caught:
            command()
        assert f"'GRANT {right} ON public.alembic_version TO {role}'" in caught.value.hint
