"""An env.py of the project's own: scripts touch the connection that it is handed, or nothing is run."""

import secrets
import textwrap
from collections.abc import Iterator

import pytest
from answers import yes
from commands import down, mark, up
from conftest import Project, fresh, run_sql

from postgres_database.errors import ExpectedError
from postgres_database.history import env_script
from postgres_database.preflight.preview import printed
from postgres_database.running import runner
from postgres_database.scratch import databases
from postgres_database.server.connection import Database
from postgres_database.workflows import check, review, revision

HEAD = """
import asyncio
import sys
import sqlalchemy as sa
from alembic import context

config = context.config
target_metadata = sa.MetaData()
parts = {parts!r}


def scripts(connection, **how):
    context.configure(connection=connection, target_metadata=target_metadata, **how)
    with context.begin_transaction():
        context.run_migrations()


def by_itself():
    engine = sa.create_engine("postgresql+psycopg2://", connect_args=parts)
    with engine.connect() as connection:
        scripts(connection)
        connection.commit()


given = config.attributes.get("connection")
"""
SHARED = env_script.SHARE.replace("...", "by_itself()")
OFFLINE = """
if context.is_offline_mode():
    context.configure(dialect_name="postgresql", target_metadata=target_metadata)
    with context.begin_transaction():
        context.run_migrations()
    sys.exit()
"""
GOOD = {
    "the lines of the error": SHARED,
    "a transaction for each script": "scripts(given, transaction_per_migration=True)",
    "with a transaction of its own": """
        with given.begin():
            scripts(given)
    """,
    "with a transaction of its own, and asking for one for each script": """
        with given.begin():
            context.configure(connection=given, transaction_per_migration=True)
            context.run_migrations()
    """,
}
FOREIGN = "connects by itself instead of using the connection that it is handed; nothing was run"
BAD = {
    "an engine of its own": ("by_itself()", FOREIGN),
    "asyncio": (
        """
        async def main():
            by_itself()
        asyncio.run(main())
        """,
        FOREIGN,
    ),
    "it keeps errors to itself": (
        """
        try:
            by_itself()
        except Exception:
            pass
        """,
        FOREIGN,
    ),
    "it never comes to the scripts": ("pass", "ended without running the scripts"),
    "only if": (
        "if config.get_main_option('run_it'):\n            scripts(given)",
        "ended without running the scripts",
    ),
    "it exits": ("sys.exit(3)", "failed before the first script; nothing was run"),
    "it lacks a variable": (
        "{}['DATABASE_URL']",
        "failed before the first script; nothing was run",
    ),
    "its server is not there": (
        "parts['port'] = '1'; by_itself()",
        "failed before the first script; nothing was run",
    ),
    "it runs Alembic inside": (
        """
        from alembic.runtime.environment import EnvironmentContext
        with EnvironmentContext(config, None):
            pass
        scripts(given)
        """,
        "runs Alembic again inside of it; nothing was run",
    ),
    "it never commits": (
        "context.configure(connection=given); context.run_migrations()",
        "did not commit what the scripts did; it was rolled back",
    ),
}
HALF = {
    "it closes the connection": (
        "scripts(given); given.close()",
        "closed the connection that it was handed",
    ),
    "it runs them again": ("scripts(given); scripts(given)", "runs the scripts more than once"),
}


@pytest.fixture
def other(server: Database) -> Iterator[Database]:
    """The database that an env.py connects to by itself."""
    with fresh(server) as made:
        yield made


def env(project: Project, other: Database, body: str) -> None:
    """Write an env.py, in a folder of its own, and two scripts."""
    theirs = project.root / "theirs"
    (theirs / "versions").mkdir(parents=True, exist_ok=True)
    text = HEAD.replace("{parts!r}", repr(dict(other.dsn.parts)))
    (theirs / "env.py").write_text(text + textwrap.dedent(body).strip() + "\n")
    (project.root / "shared.py").write_text(text + SHARED)
    ini = project.root / "alembic.ini"
    ini.write_text(ini.read_text().replace("%(here)s/migration", "%(here)s/theirs"))
    project.versions = theirs / "versions"
    new = f"CREATE TABLE one (a int)')  # {secrets.token_hex(6)}, so that there is no template"
    project.script("r1", "", f"op.execute('{new}", "op.execute('DROP TABLE one')")
    project.script(
        "r2", "r1", "op.execute('CREATE TABLE two (a int)')", "op.execute('DROP TABLE two')"
    )


def state(database: Database) -> list[tuple[object, ...]]:
    """Return what tables there are."""
    return run_sql(
        database,
        "SELECT coalesce(string_agg(relname, ' ' ORDER BY relname), '') FROM pg_class"
        " WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace",
    )


@pytest.mark.parametrize(
    "body",
    [
        "with op.online(): op.execute('CREATE INDEX on_one ON one (a)')",
        "op.backfill('one', {'a': '1'})",
        "op.backfill('one', {'a': None})",
    ],
)
def test_an_env_whose_transaction_nobody_else_commits(
    project: Project, other: Database, body: str
) -> None:
    """Steps beside live traffic need commits: its fault is named, and no script is written that it cannot run."""
    register = "from postgres_database import alembic_env\nalembic_env.register()\n"
    template = project.root / "migration" / "script.py.mako"
    env(project, other, f"{register}with given.begin():\n    scripts(given)")
    project.script("r2", "r1", body)
    up(project.settings, project.database, target="r1", confirm=yes)
    with pytest.raises(ExpectedError, match=r"theirs/env\.py leaves no room") as caught:
        up(project.settings, project.database, confirm=yes)
    assert "online = false in alembic.ini" in caught.value.hint
    assert run_sql(project.database, "SELECT version_num FROM alembic_version") == [("r1",)]
    (project.versions / "r2.py").unlink()
    (project.root / "theirs" / template.name).write_text(template.read_text())
    project.models("sa.Table('one', metadata, sa.Column('a', sa.Integer, index=True))")
    with pytest.raises(ExpectedError, match="leaves no room"):
        revision.write(*project.settings, "An index")
    assert len(project.scripts()) == 1


@pytest.mark.long
@pytest.mark.parametrize("name", GOOD)
def test_an_env_that_shares_the_connection(project: Project, other: Database, name: str) -> None:
    """Such an env.py works, with each script in a transaction of its own, its stamp and its entry in the log."""
    env(project, other, GOOD[name])
    project.script("r2", "r1", "op.execute('CREATE TABLE two (a int)'); op.execute('SELECT 1 / 0')")
    with pytest.raises(ExpectedError, match="stopped at revision r2"):
        up(project.settings, project.database, confirm=yes)
    assert run_sql(
        project.database, "SELECT version_num, to_regclass('two') FROM alembic_version"
    ) == [("r1", None)]
    project.script(
        "r2", "r1", "op.execute('CREATE TABLE two (a int)')", "op.execute('DROP TABLE two')"
    )
    steps: list[str] = []
    up(
        project.settings,
        project.database,
        confirm=yes,
        on_step=lambda step: steps.append(step.revision.id),
    )
    assert steps == ["r2"]
    assert state(project.database) == [("alembic_version alembic_version_log one two",)]
    log = "SELECT string_agg(revision || ' ' || outcome, ', ' ORDER BY started) FROM alembic_version_log"
    assert run_sql(project.database, log) == [("r1 done, r2 failed, r2 done",)]
    down(project.settings, project.database, target="base", confirm=yes)
    assert state(project.database) == [("alembic_version alembic_version_log",)]
    mark(project.settings, project.database, "r1", confirm=yes)
    assert run_sql(project.database, "SELECT version_num FROM alembic_version") == [("r1",)]
    assert state(other) == [("",)]


@pytest.mark.long
def test_an_env_that_would_run_them_elsewhere(project: Project, other: Database) -> None:
    """What does not run the scripts where they belong is refused; nothing is made anywhere, and nothing kept."""
    for name, (body, what) in BAD.items():
        env(project, other, body)
        for run in (
            lambda: up(project.settings, project.database, confirm=yes),
            lambda: check.compare(*project.settings),
        ):
            with pytest.raises(ExpectedError) as caught:
                run()
            assert what in caught.value.what, name
            assert caught.value.cause, name
            hint = caught.value.hint
            if "DATABASE_URL" in body:
                assert hint.startswith("export DATABASE_URL=…   (theirs/env.py reads the process")
            elif "inside" in name:
                assert hint == "${EDITOR:-vi} theirs/env.py   (make the application without that)"
            else:
                assert 'config.attributes.get("connection")' in hint, name
        assert state(other) == [("",)], name
        assert state(project.database) == [("alembic_version_log",)], name
        (project.root / "theirs" / "env.py").write_text((project.root / "shared.py").read_text())
        with databases.session(*project.settings) as session:
            assert state(session.at_head(project.settings.project)) == [
                ("alembic_version one two",)
            ], name


@pytest.mark.parametrize("name", HALF)
def test_an_env_that_does_more_than_it_should(project: Project, other: Database, name: str) -> None:
    """What is found after a script was run ends the command there."""
    body, what = HALF[name]
    env(project, other, body)
    with pytest.raises(ExpectedError, match=what):
        up(project.settings, project.database, confirm=yes)
    assert run_sql(project.database, "SELECT version_num FROM alembic_version") == [("r1",)]


def test_an_env_that_hides_what_scripts_raise(project: Project, other: Database) -> None:
    """A script that failed is not taken for done."""
    env(project, other, "try:\n    scripts(given)\nexcept Exception:\n    pass")
    project.script("r2", "r1", "op.execute('SELECT 1 / 0')")
    with pytest.raises(ExpectedError, match="stopped at revision r2") as caught:
        up(project.settings, project.database, confirm=yes)
    assert "env.py caught what the script raised" in caught.value.cause
    with pytest.raises(ExpectedError, match="stopped at revision r2"):
        check.compare(*project.settings)


def test_printing_connects_nowhere_it_matters(project: Project, other: Database) -> None:
    """What scripts would run is printed as with our env.py, though this one prints otherwise, or connects."""
    for body in ("by_itself()", OFFLINE, SHARED):
        env(project, other, body)
        project.script("r2", "r1", "op.execute(\"DELETE FROM one WHERE 'a%' LIKE 'b'\")")
        plan = project.settings.project.history.revisions
        texts = [step.statements for step in printed(project.settings.project, "upgrade", plan)]
        assert texts == [("CREATE TABLE one (a int)",), ("DELETE FROM one WHERE 'a%' LIKE 'b'",)], (
            body
        )
        assert state(other) == [("",)]
        assert "CREATE TABLE one" in runner.offline(
            project.settings.project, "upgrade", "base", "r1"
        )
    for body in ("pass", "{}['DATABASE_URL']", "sys.exit()"):
        env(project, other, body)
        with pytest.raises(ExpectedError, match=r"theirs/env\.py"):
            runner.offline(project.settings.project, "upgrade", "base", "r1")


@pytest.mark.parametrize("line", ["raise ValueError", "this is no Python"])
def test_lines_that_are_there_are_not_advised(three: Project, line: str) -> None:
    """Where env.py has the lines that our commands need, only its own fault is named."""
    path = three.root / "migration" / "env.py"
    path.write_text(f"{line}\n{path.read_text()}")
    with pytest.raises(ExpectedError) as caught:
        up(three.settings, three.database, confirm=yes)
    assert "failed before the first script" in caught.value.what
    assert caught.value.hint == "${EDITOR:-vi} migration/env.py"


def test_an_application_that_flask_does_not_find(project: Project) -> None:
    """Where env.py fails, no script is written and called the culprit; for Flask its variable is named."""
    project.models("sa.Table('t', metadata, sa.Column('x', sa.Integer))")
    path = project.root / "migration" / "env.py"
    fails = "class NoAppException(Exception): ...\nraise NoAppException('Could not import shpo')"
    path.write_text(f"{path.read_text()}\n{fails}\n".replace("alembic_env.run(context)", ""))
    with pytest.raises(ExpectedError, match="failed before the first script") as caught:
        revision.write(*project.settings, "One")
    assert "Could not import shpo" in caught.value.cause
    assert caught.value.hint.startswith("export FLASK_APP=…")
    assert project.scripts() == []


def test_a_library_that_lacks_another_one(
    project: Project, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not installed is no fault of env.py; a name that env.py itself gets wrong is."""
    place = tmp_path_factory.mktemp("installed")
    (place / "half_installed.py").write_text("import not_installed_at_all\n")
    monkeypatch.syspath_prepend(place)
    project.script("r1")
    path = project.root / "migration" / "env.py"
    text = path.read_text()
    for name, hint in {
        "half_installed": "pip install …   (a library needs the module not_installed_at_all,",
        "not_installed_at_all": "${EDITOR:-vi} migration/env.py",
    }.items():
        path.write_text(f"import {name}\n{text}")
        with pytest.raises(ExpectedError, match="failed before the first script") as caught:
            up(project.settings, project.database, confirm=yes)
        assert caught.value.hint.startswith(hint)


def test_models_that_env_py_cannot_import(three: Project) -> None:
    """Where a module that env.py imports fails, its line is named, and no script is called the culprit."""
    (three.root / "broken_models.py").write_text(
        "import sqlalchemy as sa\nid = Column(sa.Integer)\n"
    )
    path = three.root / "migration" / "env.py"
    path.write_text(f"import broken_models\n{path.read_text()}")
    for run in (
        lambda: up(three.settings, three.database, confirm=yes),
        lambda: review.perform(*three.settings, three.database),
    ):
        with pytest.raises(ExpectedError, match="failed before the first script") as caught:
            run()
        assert "(in broken_models.py, line 2)" in caught.value.cause
        assert caught.value.hint == "${EDITOR:-vi} broken_models.py"
