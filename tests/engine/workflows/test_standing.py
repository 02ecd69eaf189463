"""A command that has nothing to do: three statements, no Alembic, and the answers that it always gave."""

import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import pytest
from checkouts import Checkout, as_text
from commands import up
from conftest import Project, run_sql
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - a class

from postgres_database.errors import ExpectedError
from postgres_database.running import runner
from postgres_database.running.listener import SILENT
from postgres_database.server.connection import Database
from postgres_database.workflows import standing
from postgres_database.workflows.standing import UpgradeResult

LIGHT = """
    import sys
    from invoke.main import program
    program.run(["invoke", *{words!r}], exit=False)
    heavy = {{"sqlalchemy", "alembic", "mako", "rich", "postgast"}}
    sys.stderr.write(str(sorted(heavy & {{*sys.modules}})))
    sys.stderr.write(str([name for name in sys.modules if name.startswith("postgres_database.models")]))
"""


class Counting(Cursor):
    """A cursor that keeps what it sends."""

    sent: ClassVar[list[str]] = []

    def execute(self, query: Any, values: Any = None) -> None:
        """Keep a statement and run it."""
        self.sent.append(str(query))
        super().execute(query, values)


def at_head(project: Project, target: str = "head", **how: Any) -> UpgradeResult | None:
    database = how.pop("database", project.database)
    options = {"dry_run": False} | how
    return standing.at_head(project.settings.project, database, target, **options)


@pytest.mark.parametrize("words", [["upgrade"], ["upgrade", "--json"], ["current"]], ids=" ".join)
def test_nothing_heavy_is_imported(
    checkout: Checkout, database: Database, words: list[str]
) -> None:
    """Neither SQLAlchemy nor Alembic, the models, rich or the parser of SQL."""
    checkout.environ["POSTGRES_DSN"] = as_text(database.dsn)
    done = checkout.invoke("upgrade")
    assert done.returncode == 0, done.stderr
    text = textwrap.dedent(LIGHT.format(words=words))
    done = checkout.run(sys.executable, "-c", text)
    assert done.stderr.endswith("[][]"), done
    assert "d92233541b7a" in done.stdout or '"at_head": true' in done.stdout


@pytest.mark.long
@pytest.mark.parametrize("asks", [True, False])
def test_status_imports_nothing_heavy(
    checkout: Checkout, database: Database, *, asks: bool
) -> None:
    """Nor does `status` once it has compared, where scripts ask how plain models name constraints, or do not ask."""
    checkout.environ["POSTGRES_DSN"] = as_text(database.dsn)
    if not asks:
        for path in (checkout.root / "migration" / "versions").glob("*.py"):
            path.unlink()
    for command in (("revision", "--empty", "--msg", "x"), ("upgrade",), ("status",)):
        done = checkout.invoke(*command)
        assert done.returncode == 0, done.stderr
    text = textwrap.dedent(LIGHT.format(words=["status"]))
    done = checkout.run(sys.executable, "-c", text)
    assert done.stderr.endswith("[][]"), done
    assert "none     none" in done.stdout


@pytest.mark.long
@pytest.mark.parametrize(("models", "heavy"), [("", "[][]"), ("import os", "['sqlalchemy']")])
def test_a_check_that_compares_nothing_executes_no_script(
    checkout: Checkout, database: Database, models: str, heavy: str
) -> None:
    """It needs neither Alembic nor plain models, also edited ones; any others tell what they would send."""
    base = checkout.root / "postgres_database" / "models" / "base.py"
    (checkout.root / ".env.x").write_text(f"POSTGRES_DSN={as_text(database.dsn)}\n")
    own = "revision", "--empty", "--msg", "x"  # so that no other test has this template
    for command in (own, ("upgrade", "--env", "x"), ("check", "--env", "x")):
        if command[0] == "check":
            base.write_text(f"{base.read_text()}\n{models}\n")
        done = checkout.invoke(*command)
        assert done.returncode == 0, done.stderr
    text = textwrap.dedent(LIGHT.format(words=["check", "--env", "x"]))
    done = checkout.run(sys.executable, "-c", text)
    assert not done.stdout
    assert done.stderr.startswith(heavy), done


def test_a_list_of_commands_imports_no_driver(checkout: Checkout) -> None:
    """`invoke --list` needs invoke, and no database."""
    text = "import sys; from invoke.main import program; program.run(['invoke', '--list'], exit=False);"
    text += (
        "print(sorted({'psycopg2', 'sqlalchemy', 'alembic', 'rich', 'dotenv'} & {*sys.modules}))"
    )
    done = checkout.run(sys.executable, "-c", text)
    assert done.stdout.endswith("[]\n"), done


def test_three_statements_are_sent(three: Project) -> None:
    """Begin with the search path, what must be known of the table, its rows: three round trips."""
    up(three.settings, three.database)
    Counting.sent.clear()
    counted = replace(three.database, cursor=Counting)
    assert at_head(three, database=counted)
    assert len(Counting.sent) == 3


@pytest.mark.parametrize("target", ["head", "heads", "cccc"])
@pytest.mark.parametrize("dry_run", [True, False])
def test_the_result_is_the_usual_one(three: Project, target: str, *, dry_run: bool) -> None:
    """An upgrade that has nothing to do is told with the same words, also for programs."""
    up(three.settings, three.database)
    usual = up(
        three.settings, three.database, "head" if target == "heads" else target, dry_run=dry_run
    )
    assert at_head(three, target, dry_run=dry_run) == usual


def _stamped(*revisions: str) -> Callable[[Project], None]:
    def change(project: Project) -> None:
        run_sql(project.database, "DELETE FROM alembic_version")
        for revision in revisions:
            run_sql(project.database, f"INSERT INTO alembic_version VALUES ('{revision}')")

    return change


def _sql(*statements: str) -> Callable[[Project], None]:
    def change(project: Project) -> None:
        run_sql(project.database, *statements)

    return change


def _branch(project: Project) -> None:
    project.script("dddd", "bbbb")


UNUSUAL = {
    "base": _stamped(),
    "in the middle": _stamped("bbbb"),
    "a lost script": _stamped("zzzz"),
    "one and one before it": _stamped("bbbb", "cccc"),
    "a NULL": _sql(
        "ALTER TABLE alembic_version DROP CONSTRAINT alembic_version_pkc",
        "ALTER TABLE alembic_version ALTER version_num DROP NOT NULL",
        "INSERT INTO alembic_version VALUES (NULL)",
    ),
    "twice": _sql(
        "ALTER TABLE alembic_version DROP CONSTRAINT alembic_version_pkc",
        "INSERT INTO alembic_version VALUES ('cccc')",
    ),
    "no column": _sql("ALTER TABLE alembic_version RENAME version_num TO x"),
    "a number": _sql(
        "DROP TABLE alembic_version", "CREATE TABLE alembic_version (version_num int)"
    ),
    "no table": _sql("DROP TABLE alembic_version"),
    "an index of the name": _sql(
        "DROP TABLE alembic_version", "CREATE INDEX alembic_version ON t (id)"
    ),
    "another schema first": _sql(
        "DO $$ BEGIN EXECUTE 'CREATE SCHEMA ' || quote_ident(session_user); END $$",
        "DO $$ BEGIN EXECUTE format('CREATE TABLE %I.alembic_version (version_num text)', session_user); END $$",
    ),
    "two heads": _branch,
}


@pytest.mark.parametrize("change", UNUSUAL.values(), ids=UNUSUAL)
def test_anything_unusual_is_told_as_ever(
    three: Project, change: Callable[[Project], None]
) -> None:
    """Where something is to be done or is wrong, the usual way tells; no error has other words."""
    up(three.settings, three.database)
    assert at_head(three)
    change(three)

    def usual() -> object:
        with runner.open_runner(three.settings.project, three.database) as run:
            ids, (here, *_) = run.require_route()
        return [str(here.history[each]) for each in ids]

    def now() -> object:
        return [str(each) for each in standing.revisions(three.settings.project, three.database)]

    assert _said(now) == _said(usual)
    found = _said(lambda: at_head(three))
    assert found is None or found == _said(usual)


def _said(ask: Callable[[], object]) -> object:
    try:
        return ask()
    except ExpectedError as error:
        return error.what, error.cause, error.hint


def test_another_command_is_waited_for(three: Project) -> None:
    """While another one holds the lock, what stands there now says nothing; a dry run waits for nobody."""
    up(three.settings, three.database)
    with (
        runner.open_runner(three.settings.project, three.database) as run,
        run.alone(SILENT),
    ):
        assert at_head(three) is None
        assert at_head(three, dry_run=True)
    assert at_head(three)


def test_a_schema_from_the_settings_is_read(three: Project) -> None:
    """Not the table on the search path, but the one that alembic.ini names."""
    up(three.settings, three.database)
    versions = replace(three.settings.project.versions, schema="app")
    assert at_head(three, database=replace(three.database, versions=versions)) is None
    run_sql(
        three.database, "CREATE SCHEMA app", "CREATE TABLE app.alembic_version (version_num text)"
    )
    run_sql(three.database, "INSERT INTO app.alembic_version VALUES ('cccc')")
    run_sql(three.database, "DELETE FROM alembic_version")
    assert at_head(three, database=replace(three.database, versions=versions))


def test_a_refused_connection_has_the_usual_words(three: Project) -> None:
    wrong = replace(three.database, dsn=three.database.dsn.with_parts(dbname="none_such"))

    def usual() -> object:
        with wrong.connect():
            return None

    assert _said(lambda: at_head(three, database=wrong)) == _said(usual)
