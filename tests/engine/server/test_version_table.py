"""The version table of a project is honoured wherever it is; a database without one is not taken for a new one."""

import dataclasses
from collections.abc import Sequence

import pytest
from answers import never, no, yes
from commands import adopt, down, mark, up
from conftest import Project, Settings, changed, run_sql

from postgres_database.errors import ExpectedError
from postgres_database.history import project as projects
from postgres_database.running import log, runner
from postgres_database.server import version_table
from postgres_database.server.connection import Database
from postgres_database.server.version_table import VersionTable
from postgres_database.workflows import check, revision

ENV = """
from alembic import context
TABLE = "app_version"
def run():
    if context.is_offline_mode():
        context.configure(dialect_name="postgresql", literal_binds=True, {options})
    else:
        context.configure(connection=context.config.attributes["connection"], {options})
    with context.begin_transaction():
        context.run_migrations()
run()
"""


@pytest.fixture
def app(project: Project) -> Project:
    """A database that is at the head of its history, by tables of other names; and rows that scripts would delete."""
    project.script("v1", upgrade='op.execute("CREATE TABLE IF NOT EXISTS a (id int)")')
    project.script("v2", "v1", upgrade='op.execute("DELETE FROM a WHERE id > 5")')
    project.models('sa.Table("a", metadata, sa.Column("id", sa.Integer))')
    run_sql(
        project.database,
        "CREATE TABLE a (id int); INSERT INTO a SELECT generate_series(1, 10)",
        "CREATE SCHEMA app; CREATE TABLE app.app_version (version_num varchar(32) PRIMARY KEY)",
        "INSERT INTO app.app_version VALUES ('v2')",
    )
    return project


def with_table(project: Project, **ini: str) -> tuple[Settings, Database]:
    """Return settings and target as commands read them."""
    path = project.root / "alembic.ini"
    lines = "".join(f"{key} = {value}\n" for key, value in ini.items())
    path.write_text(
        path.read_text().replace("[postgres_database]\n", f"[postgres_database]\n{lines}")
    )
    read = projects.load(project.root, environ={}).versions
    return (
        changed(project.settings, versions=read),
        dataclasses.replace(project.database, versions=read),
    )


@pytest.mark.parametrize("has_terminal", [True, False])
def test_tables_without_a_revision_are_no_new_database(app: Project, has_terminal: bool) -> None:  # noqa: FBT001
    """Before scripts run on tables that somebody made, that is asked; else how to adopt is said."""

    def ask(question: str, details: Sequence[str]) -> bool:
        if has_terminal:
            return no(question, details)
        raise ExpectedError("there is no terminal", hint="invoke upgrade --yes")

    with pytest.raises(ExpectedError) as caught:
        up(app.settings, app.database, confirm=ask)
    assert "holds tables but no revision" in caught.value.what
    assert caught.value.hint.startswith("invoke baseline-existing ")
    assert run_sql(app.database, "SELECT count(*) FROM a") == [(10,)]
    assert up(app.settings, app.database, confirm=yes).after == ("v2",)


def test_tables_of_extensions_are_nobodys(project: Project) -> None:
    """What belongs to an extension, or is excluded, asks nothing."""
    project.script("v1", upgrade='op.execute("CREATE TABLE a (id int)")')
    run_sql(
        project.database,
        "CREATE TABLE dual (); ALTER EXTENSION plpgsql ADD TABLE dual; CREATE SCHEMA audit; CREATE TABLE audit.x ()",
    )
    excluding = changed(project.settings, exclude=("audit.*",))
    up(excluding, project.database, confirm=never)


@pytest.mark.long
@pytest.mark.parametrize(
    ("ini", "options"),
    [
        ({"version_table": "app_version", "version_table_schema": "app"}, ""),
        ({"version_table_schema": "app"}, "version_table=TABLE"),
        ({}, "version_table='app_version', version_table_schema='app'"),
        ({}, "**{'version_table': TABLE, 'version_table_schema': 'app'}"),
    ],
    ids=["alembic.ini", "both", "env.py", "a dictionary in env.py"],
)
def test_version_table_of_a_project(app: Project, ini: dict[str, str], options: str) -> None:
    """Settings and env.py say where the revision is; everything goes by that."""
    if options:
        (app.root / "migration" / "env.py").write_text(ENV.format(options=options))
    mine, target = with_table(app, **ini)
    assert mine.project.versions == VersionTable("app_version", "app")
    assert up(mine, target, confirm=never).plan == ()
    app.script(
        "v3",
        "v2",
        upgrade='op.execute("CREATE TABLE c ()")',
        downgrade='op.execute("DROP TABLE c")',
    )
    mine = changed(mine)  # reads the scripts anew
    assert up(mine, target, confirm=never).after == ("v3",)
    assert [entry.revision for entry in log.read(target)] == ["v3"]
    mark(mine, target, "v2", confirm=yes)
    mark(mine, target, "v3", confirm=never)
    down(mine, target, confirm=yes)
    found = check.compare(*mine, target).target
    assert found is not None
    assert found.drifts.objects == ()
    names = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname LIKE 'app_version%' ORDER BY 1"
    assert run_sql(app.database, names) == [("app_version",), ("app_version_log",)]
    if "schema" in options or not options:
        sql = runner.offline(mine.project, "upgrade", "base", "v2")
        assert "CREATE TABLE IF NOT EXISTS app.app_version (" in sql
    else:
        with pytest.raises(ExpectedError, match=r"another version table than app\.app_version"):
            runner.offline(mine.project, "upgrade", "base", "v2")
    assert run_sql(app.database, "SELECT count(*) FROM a") == [(10,)]


def test_version_table_that_env_py_gives_in_secret_is_refused(app: Project) -> None:
    """Where env.py turns out to keep revisions elsewhere, nothing is run, and the lines to write are said."""
    secret = "**dict([('version_' + 'table', TABLE)])"
    (app.root / "migration" / "env.py").write_text(ENV.format(options=secret))
    mine, target = with_table(app)
    with pytest.raises(ExpectedError) as caught:
        up(mine, target, confirm=yes)
    assert "version_table = app_version" in caught.value.hint
    assert run_sql(app.database, "SELECT count(*) FROM a") == [(10,)]


def test_version_table_that_env_py_computes() -> None:
    """A name that cannot be read is to be written down."""
    with pytest.raises(ValueError, match="version_table_schema"):
        version_table.given("context.configure(version_table_schema=schema())")
    assert version_table.given("configure(version_table_schema=None, other=1)") == {
        "version_table_schema": ""
    }


def test_computed_schema_that_is_none(app: Project) -> None:
    """Where env.py computes a schema, alembic.ini says that it is none by an empty value."""
    path = app.root / "migration" / "env.py"
    path.write_text(ENV.format(options="version_table_schema=str(None)"))
    with pytest.raises(ExpectedError, match="or version_table_schema = where it is None"):
        with_table(app)
    (mine, _) = with_table(app, version_table_schema="")
    assert not mine.project.versions.schema


@pytest.mark.long
@pytest.mark.parametrize(
    "schema", ['CREATE SCHEMA "Ops Room"; COMMENT ON SCHEMA "Ops Room" IS \'x\'', ""]
)
def test_schema_of_the_version_table_is_adopted(project: Project, schema: str) -> None:
    """A schema that only the version table needs is no difference, and no obstacle: made where it is missing."""
    project.models('sa.Table("c", metadata, sa.Column("id", sa.Integer))')
    run_sql(project.database, f"CREATE TABLE c (id int); {schema}")
    mine, target = with_table(
        project, version_table='My.Ver"sion :old', version_table_schema="Ops Room"
    )
    adopted = adopt(mine, target, "Init tables", yes)
    assert "search path" not in "".join(adopted.notes)
    project.models(
        'sa.Table("c", metadata, sa.Column("id", sa.Integer), sa.Column("x", sa.Integer))'
    )
    assert revision.write(*changed(mine), "One more").proved
    mine = changed(mine)  # reads the scripts anew
    assert up(mine, target, confirm=never).at_head
    found = check.compare(*mine, target)
    assert found.differences is not None
    assert found.differences.objects == ()
    assert found.target is not None
    assert found.target.drifts.objects == ()


def test_version_table_without_a_row(project: Project) -> None:
    """An empty version table says no revision either; but what our own log tells of has been at one."""
    project.script("v1", upgrade="op.execute('CREATE TABLE b (id int)')")
    run_sql(
        project.database,
        "CREATE TABLE a (id int)",
        "CREATE TABLE alembic_version (version_num text)",
    )
    with pytest.raises(ExpectedError, match="holds tables but no revision"):
        up(project.settings, project.database, confirm=no)
    up(project.settings, project.database, confirm=yes)
    down(project.settings, project.database, confirm=yes)
    run_sql(project.database, "DROP TABLE b")
    assert up(project.settings, project.database, confirm=never).after == ("v1",)
