"""What is kept of a template's dump: a target with the same one is not compared again, and any change is noticed."""

import json
import secrets
from collections.abc import Callable
from importlib import metadata
from typing import Any

import psycopg2
import pytest
from checkouts import as_text
from commands import up
from conftest import Project, run_sql

from postgres_database.history import script_texts
from postgres_database.schema import dump
from postgres_database.scratch import databases, templates
from postgres_database.server.connection import Database
from postgres_database.workflows import drift, standing, status
from postgres_database.workflows.standing import Settled
from postgres_database.workflows.status import EnvironmentStatus

SCRIPT = """
    op.create_table('t', sa.Column('id', sa.Integer, primary_key=True), *[sa.Column(name, sa.Text) for name in 'ab'])
    op.create_index('by_a', 't', ['a'])
    op.execute((Path(__file__).parents[1] / 'more.sql').read_text())
"""
MORE = (
    "CREATE VIEW v AS SELECT id FROM t; CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'"
)
MODELS = "sa.Table('t', metadata, sa.Column('id', sa.Integer, primary_key=True))"
LOGGED = "UPDATE alembic_version_log SET {}"
ENVIRONMENT = "x"
Change = Callable[[Project, pytest.MonkeyPatch], Any]


@pytest.fixture
def known_project(project: Project) -> Project:
    """A project whose target is at head, and was compared with it."""
    (project.root / "migration" / "more.sql").write_text(MORE)
    script = project.script("aaaa", "", SCRIPT)
    script.write_text(
        script.read_text().replace(
            "import sqlalchemy", "from pathlib import Path\nimport sqlalchemy"
        )
    )
    project.script(
        "bbbb", "aaaa", f"pass  # {secrets.token_hex(8)}: no other test has this template"
    )
    project.models(MODELS)
    up(project.settings, project.database)
    compare(project)
    assert settled(project)
    return project


def compare(project: Project) -> None:
    """Compare the target with its revision, as `status` and `check` do."""
    here, environment = project.settings
    with databases.session(here, environment) as session:
        assert not drift.find(here, project.database, session.at_head(here), session).objects


def settled(project: Project) -> Settled | None:
    return standing.settled(*project.settings, project.database)


def sql(*statements: str) -> Change:
    return lambda project, _: run_sql(project.database, *statements)


def file(name: str, change: Callable[[str], str] = lambda text: f"{text}\n") -> Change:
    def run(project: Project, _: pytest.MonkeyPatch) -> None:
        path = project.root / name
        path.write_text(change(path.read_text()))

    return run


def maintenance(project: Project) -> Database:
    return Database(project.scratch, "test")


def template(project: Project) -> str:
    """Return the name of the template of the head."""
    with databases.session(*project.settings) as session:
        return session._names(project.settings.project.history.revisions)[-1]


def dumped_as(text: str, pattern: str) -> str:
    """Return the comment of a template with another version and hash of its dump."""
    files, convention, used, dumped, *more = json.loads(text)
    changed = pattern.format(*dumped.split(" "))
    assert changed != dumped
    return json.dumps([files, convention, used, changed, *more])


def comment(change: Callable[[str], str]) -> Change:
    def run(project: Project, _: pytest.MonkeyPatch) -> None:
        name = template(project)
        query = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s"
        with maintenance(project).connect(autocommit=True) as connection:
            text = connection.exec_driver_sql(query, (name,)).scalar_one()
            said = change(text).replace("'", "''").replace("%", "%%")
            connection.exec_driver_sql(f"COMMENT ON DATABASE \"{name}\" IS '{said}'")

    return run


def dropped(project: Project, _: pytest.MonkeyPatch) -> None:
    name = template(project)
    with maintenance(project).connect(autocommit=True) as connection:
        connection.exec_driver_sql(f'DROP DATABASE "{name}"')


def patched(target: object, name: str, value: object) -> Change:
    return lambda _, patch: patch.setattr(target, name, value)


def renamed_table(project: Project, _: pytest.MonkeyPatch) -> None:
    run_sql(project.database, "ALTER TABLE alembic_version RENAME TO versions")
    file(
        "alembic.ini",
        lambda text: text.replace(
            "[postgres_database]", "[postgres_database]\nversion_table = versions"
        ),
    )(project, _)


def other_models(project: Project, _: pytest.MonkeyPatch) -> None:
    module = project.settings.project.target_metadata.partition(":")[0]
    path = project.root / f"{module}.py"
    path.write_text(
        path.read_text().replace(
            "NAMING_CONVENTION)", "{**NAMING_CONVENTION, 'ix': 'by_%(column_0_name)s'})"
        )
    )
    text = path.read_text()
    project.models(text.partition("\n")[2].partition("\n")[2])
    path = project.root / f"{project.settings.project.target_metadata.partition(':')[0]}.py"
    path.write_text(text)


def versions(name: str, true: Callable[[str], str] = metadata.version) -> str:
    return "0.0.1" if name == "sqlalchemy" else true(name)


TARGET = {
    "a table": sql("CREATE TABLE u ()"),
    "a column": sql("ALTER TABLE t ADD c int"),
    "a default": sql("ALTER TABLE t ALTER a SET DEFAULT 'x'"),
    "a type": sql("ALTER TABLE t ALTER a TYPE varchar"),
    "NOT NULL": sql("ALTER TABLE t ALTER a SET NOT NULL"),
    "storage": sql("ALTER TABLE t ALTER a SET STORAGE EXTERNAL"),
    "statistics": sql("ALTER TABLE t ALTER a SET STATISTICS 7"),
    "an option": sql("ALTER TABLE t SET (fillfactor = 70)"),
    "an option that a server keeps for itself": sql("ALTER TABLE t SET (autovacuum_enabled = off)"),
    "an index less": sql("DROP INDEX by_a"),
    "an index more": sql("CREATE INDEX ON t (b)"),
    "an invalid index": sql(
        "CREATE INDEX i ON t (b)",
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'i'::regclass",
    ),
    "a constraint": sql("ALTER TABLE t ADD CHECK (id > 0) NOT VALID"),
    "a comment": sql("COMMENT ON COLUMN t.a IS 'x'"),
    "a grant": sql("GRANT SELECT ON t TO PUBLIC"),
    "a policy": sql("CREATE POLICY p ON t USING (true)"),
    "row security": sql("ALTER TABLE t ENABLE ROW LEVEL SECURITY"),
    "a trigger": sql(
        "CREATE FUNCTION g() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        "CREATE TRIGGER g AFTER INSERT ON t EXECUTE FUNCTION g()",
    ),
    "a view": sql("CREATE OR REPLACE VIEW v AS SELECT id + 0 AS id FROM t"),
    "a function's body": sql(
        "CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 2'"
    ),
    "a function's cost": sql("ALTER FUNCTION f COST 7"),
    "a sequence": sql("ALTER SEQUENCE t_id_seq INCREMENT 2"),
    "a schema": sql("CREATE SCHEMA s"),
    "an enum": sql("CREATE TYPE e AS ENUM ('a')"),
    "default privileges": sql("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC"),
    "a foreign server": sql(
        "CREATE EXTENSION postgres_fdw", "CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw"
    ),
    "another revision": sql("UPDATE alembic_version SET version_num = 'aaaa'"),
    "no revision": sql("DELETE FROM alembic_version"),
    "two revisions": sql("INSERT INTO alembic_version VALUES ('aaaa')"),
    "a run that failed": sql(LOGGED.format("outcome = 'failed' WHERE revision = 'bbbb'")),
    "a run that goes on": sql(LOGGED.format("outcome = 'running' WHERE revision = 'bbbb'")),
    "a script that was another one": sql(LOGGED.format("digest = 'x' WHERE revision = 'aaaa'")),
}
"""What changes in the target."""
FILES: dict[str, Change] = {
    "a script": file("migration/versions/aaaa.py"),
    "a new script": lambda project, _: project.script("cccc", "bbbb"),
    "a branch": lambda project, _: project.script("cccc", "aaaa"),
    "a script less": lambda project, _: (project.versions / "bbbb.py").unlink(),
    "a file of SQL beside a script": lambda project, _: (project.versions / "bbbb.sql").write_text(
        "x"
    ),
    "a file that a script opens": file("migration/more.sql"),
    "env.py": file("migration/env.py"),
    "the naming convention": other_models,
    "the name of the version table": renamed_table,
    "no template": dropped,
    "a comment of somebody": comment(lambda _: "x"),
    "a damaged comment": comment(lambda text: text[:-9]),
    "another digest": comment(lambda text: dumped_as(text, "{0} x{1}")),
    "nothing compared": comment(lambda text: dumped_as(text, "")),
    "another server of scratch databases": comment(lambda text: dumped_as(text, "9.6 {1}")),
    "another day": patched(templates, "today", lambda: "2001-01-01"),
    "another engine": patched(script_texts, "__version__", "0.0.1"),
    "another SQLAlchemy": patched(metadata, "version", versions),
    "another way to dump": patched(dump, "__file__", __file__),
}
"""What changes in the project, the engine or the scratch server."""


CHANGES = TARGET | FILES


@pytest.mark.long
@pytest.mark.parametrize("change", CHANGES.values(), ids=[*CHANGES])
def test_a_change_is_noticed(
    known_project: Project, change: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever changes in the target, the project, the engine or the scratch server: all is compared."""
    change(known_project, monkeypatch)
    assert settled(known_project) is None


def test_what_is_equal_is_not_compared_again(
    known_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing has changed, `status` says what a comparison would, without one; and again after a comparison."""
    name = f".env.{ENVIRONMENT}"
    lines = f"POSTGRES_DSN={as_text(known_project.database.dsn)}\nSCRATCH_DSN={as_text(known_project.scratch)}\n"
    (known_project.root / name).write_text(lines)

    def look() -> EnvironmentStatus:
        (row,) = status.collect(known_project.settings.project, [ENVIRONMENT])
        return row

    with monkeypatch.context() as patch:
        patch.setattr(standing, "settled", lambda *_: None)
        compared = look()
    with monkeypatch.context() as patch:
        patch.setattr(databases, "session", None)
        assert look() == compared
    assert compared.clean
    dropped(known_project, monkeypatch)
    assert [look(), look()] == [compared, compared]
    assert settled(known_project)


def test_a_later_template_gets_no_hash_of_an_earlier_one(known_project: Project) -> None:
    """A template that was made anew after its clone was dumped may be another one."""
    here, environment = known_project.settings
    with databases.session(here, environment) as session:
        made = session.at_head(here)
        session.forget()
        session.at_head(here)
        session.note(made, "x" * 64)
    assert settled(known_project) is None
    compare(known_project)
    assert settled(known_project)


def test_what_is_equal_is_read_by_few_connections(
    known_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One for what must be known before pg_dump runs, one for the scratch server, one for what is read beside it."""
    connect, opened = psycopg2.connect, []

    def counted(**parts: Any) -> Any:
        opened.append(connect(**parts))
        return opened[-1]

    monkeypatch.setattr(psycopg2, "connect", counted)
    assert settled(known_project)
    assert len(opened) == 3
    assert all(each.closed for each in opened)
