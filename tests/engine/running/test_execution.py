"""The scripts of a plan run one after the other in one run of env.py, each committed with its stamp."""

import threading
from dataclasses import replace
from itertools import pairwise
from typing import Any, ClassVar

import psycopg2.extensions
import pytest
from answers import never, yes
from commands import down, up
from conftest import Project, run_sql

from postgres_database.errors import ExpectedError
from postgres_database.running import log

COUNTED = """
with open("runs", "a") as runs:
    runs.write("x")
"""
OUTER = """
from alembic import context

context.configure(connection=context.config.attributes["connection"], target_metadata=None)
with context.begin_transaction():
    context.run_migrations()
"""
BALANCED = """
op.execute('''
    CREATE SCHEMA books;
    CREATE TABLE entry (amount int);
    CREATE FUNCTION balanced() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF (SELECT sum(amount) FROM entry) <> 0 THEN RAISE 'not balanced'; END IF;
            RETURN NULL;
        END $$;
    CREATE CONSTRAINT TRIGGER balanced AFTER INSERT ON entry
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION balanced();
''')
"""


@pytest.mark.parametrize(("env", "runs"), [("", 1), (OUTER, 3)])
def test_runs_of_env(
    project: Project, monkeypatch: pytest.MonkeyPatch, env: str, runs: int
) -> None:
    """It runs once for all scripts that it lets commit, else once for each; each has its own stamp and log row."""
    monkeypatch.chdir(project.root)
    path = project.root / "migration" / "env.py"
    path.write_text((env or path.read_text()) + COUNTED)
    for parent, revision in ("", "aaaa"), ("aaaa", "bbbb"), ("bbbb", "cccc"):
        project.script(revision, parent, f"op.execute('CREATE TABLE {revision} ()')")
    steps: list[str] = []
    on_step = steps.append
    up(
        project.settings,
        project.database,
        confirm=never,
        on_step=lambda step: on_step(step.revision.id),
    )
    assert steps == ["aaaa", "bbbb", "cccc"]
    transactions = (
        "SELECT count(DISTINCT xmin::text) FROM pg_class WHERE relname = ANY ('{aaaa,bbbb,cccc}')"
    )
    assert run_sql(project.database, transactions) == [(3,)]
    assert [entry.outcome for entry in log.read(project.database)] == ["done"] * 3
    assert (project.root / "runs").read_text() == "x" * runs


def test_what_is_deferred_finds_names_as_the_script_does(project: Project) -> None:
    """What a script defers to its commit finds names by the usual search path, as with plain Alembic."""
    project.script("aaaa", "", BALANCED)
    project.script("bbbb", "aaaa", "op.execute('INSERT INTO entry VALUES (1), (-1)')")
    up(project.settings, project.database, confirm=never)
    assert run_sql(project.database, "SELECT count(*) FROM entry") == [(2,)]


WATCHED = """
op.execute('''
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not this one'; END $$;
    CREATE CONSTRAINT TRIGGER refuse AFTER UPDATE ON alembic_version
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse();
''')
"""


@pytest.mark.parametrize(
    ("first", "second", "cause"),
    [
        (BALANCED, "op.execute('INSERT INTO entry VALUES (1)')", "not balanced"),
        (WATCHED, "pass", "not this one"),
    ],
)
def test_commit_that_fails(project: Project, first: str, second: str, cause: str) -> None:
    """A script whose commit fails is not stamped, the log says that it failed, and knows nothing of the next one."""
    project.script("aaaa", "", first)
    project.script("bbbb", "aaaa", second)
    project.script("cccc", "bbbb", "pass")
    with pytest.raises(ExpectedError, match="stopped at revision bbbb") as caught:
        up(project.settings, project.database, confirm=never)
    assert cause in caught.value.cause
    assert [entry.outcome for entry in log.read(project.database)] == ["done", "failed"]
    assert run_sql(project.database, "SELECT version_num FROM alembic_version") == [("aaaa",)]


class Heard(psycopg2.extensions.cursor):
    """A cursor that remembers what is sent, besides BEGIN and COMMIT, which the driver sends by itself.

    Not what the thread sends that watches who blocks the session.
    """

    sent: ClassVar[list[str]] = []

    def execute(self, sql: Any, *values: Any) -> None:
        """Send statements as one message."""
        if threading.current_thread() is threading.main_thread():
            Heard.sent.append(sql)
        super().execute(sql, *values)


def test_messages_of_a_revision(project: Project) -> None:
    """A revision takes five messages: savepoint, its statement, release, stamp, and all that is checked and written."""
    counting = replace(project.database, cursor=Heard)
    counted = []
    names = ["", *(f"r{number:03}" for number in range(22))]
    for parent, revision in pairwise(names):
        project.script(revision, parent, f"op.execute('CREATE TABLE {revision} ()')")
    for target in ("+1", "+1", "+20"):
        Heard.sent.clear()
        up(project.settings, counting, target=target, confirm=never, skip_row_checks=True)
        counted.append(len(Heard.sent))
    assert counted[2] - counted[1] == 19 * 5


@pytest.mark.parametrize(("verb", "stamp"), [(up, "INSERT INTO"), (down, "DELETE FROM")])
def test_stamp_of_a_branch(three: Project, verb: Any, stamp: str) -> None:
    """Where a branch begins or ends, Alembic's statement has the safe search path, and the script has ended."""
    three.script("dddd", "aaaa", "pass")
    up(three.settings, three.database, target="cccc", confirm=never)
    if verb is down:
        up(three.settings, three.database, target="heads", confirm=never)
    Heard.sent.clear()
    hearing = replace(three.database, cursor=Heard)
    target = "heads" if verb is up else "aaaa"
    verb(three.settings, hearing, target=target, confirm=yes)
    stamps = [
        number for number, sql in enumerate(Heard.sent) if f"{stamp} public.alembic_version " in sql
    ]
    before = Heard.sent[stamps[0] - 1]
    assert "RELEASE" in before
    assert "search_path = pg_catalog" in before


def test_stamp_that_finds_no_row(project: Project) -> None:
    """A revision whose stamp does not find that of its parent is rolled back."""
    project.script("aaaa", "", "op.execute('CREATE TABLE t ()')")
    project.script("bbbb", "aaaa", "op.execute('DROP TABLE t; DELETE FROM alembic_version')")
    with pytest.raises(ExpectedError, match="stopped at revision bbbb") as caught:
        up(project.settings, project.database, confirm=never)
    assert "expected to match one row" in caught.value.cause
    assert run_sql(project.database, "SELECT count(*) FROM t, alembic_version") == [(0,)]


def test_a_type_that_two_scripts_make(project: Project) -> None:
    """A type that tables of two scripts have is made once in a command, as by Alembic in one transaction."""
    text = "op.create_table('{}', sa.Column('kind', sa.Enum('a', 'b', name='kind')))"
    project.script("t1", "", text.format("one"), "op.drop_table('one')")
    project.script("t2", "t1", text.format("two"), "op.drop_table('two')")
    path = project.root / "migration" / "env.py"
    path.write_text(
        "from alembic import context\n"
        "context.configure(connection=context.config.attributes['connection'])\n"
        "with context.begin_transaction():\n    context.run_migrations()\n"
    )
    assert up(project.settings, project.database, confirm=yes).after == ("t2",)
