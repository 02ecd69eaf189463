"""`upgrade --fast`: what the revisions make, at once, and never anything else."""

import json
import secrets
from dataclasses import replace
from pathlib import Path

import pytest
from answers import never, no, yes
from commands import up
from conftest import Project, changed, fresh, run_sql

from postgres_database.errors import ExpectedError
from postgres_database.history import project as projects
from postgres_database.proving import contents, image
from postgres_database.running import lock, log, runner
from postgres_database.running.listener import SILENT
from postgres_database.schema import snapshot
from postgres_database.scratch import recipes
from postgres_database.server.connection import Database
from postgres_database.server.version_table import ALEMBICS, VersionTable

SHOP = """
op.execute('''
    CREATE SCHEMA shop;
    CREATE TYPE shop.kind AS ENUM ('a', 'b');
    CREATE TABLE shop.item (
        id serial PRIMARY KEY, kind shop.kind NOT NULL, name text DEFAULT 'none',
        half int GENERATED ALWAYS AS (id / 2) STORED
    );
    CREATE TABLE line (item int REFERENCES shop.item, at int GENERATED ALWAYS AS IDENTITY, PRIMARY KEY (item, at));
    CREATE FUNCTION total() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM public.line';
    CREATE MATERIALIZED VIEW totals AS SELECT total();
    INSERT INTO shop.item (kind, name) VALUES ('a', E'it''s\\\\n%s'), ('b', NULL);
''')
"""
MORE = """
op.execute('''
    INSERT INTO line (item) VALUES (1), (2), (2);
    CREATE INDEX line_item ON line (item) WHERE item > 1;
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no more'; END $$;
    CREATE TRIGGER refuse BEFORE INSERT ON shop.item EXECUTE FUNCTION refuse();
    REFRESH MATERIALIZED VIEW totals;
''')
"""
VERSION_TABLE = """
    SELECT n.nspname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, o.conname,
           pg_get_constraintdef(o.oid)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 JOIN pg_constraint o ON o.conrelid = c.oid
    WHERE c.relname = '{}' ORDER BY 1, 2, 5
"""
BRANCH = "op.execute('CREATE TABLE branch (a int)')"
NOT_CARRIED = {
    "CREATE ROLE in bbbb": "op.execute('SELECT 1 -- CREATE  role')",
    "default privileges": "op.execute('ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC')",
    "large objects": "op.execute('SELECT lo_create(4711)')",
    "passwords": "op.execute('CREATE EXTENSION postgres_fdw; CREATE SERVER s FOREIGN DATA WRAPPER postgres_fdw;"
    " CREATE USER MAPPING FOR CURRENT_USER SERVER s OPTIONS (password $$p$$)')",
}


@pytest.fixture
def shop(project: Project) -> Project:
    """Three revisions with two heads, and rows."""
    project.script("aaaa", "", SHOP)
    project.script("bbbb", "aaaa", MORE)
    project.script("cccc", "aaaa", BRANCH)
    return project


def fast(project: Project, database: Database, target: str = "heads") -> tuple[bool, list[str]]:
    """Upgrade; return whether that was done at once, and what was noted."""
    notes: list[str] = []
    result = up(project.settings, database, target, fast=True, confirm=yes, on_note=notes.append)
    return result.restored, notes


@pytest.mark.parametrize("target", ["heads", "bbbb"])
def test_it_makes_what_the_revisions_make(shop: Project, server: Database, target: str) -> None:
    """Schema, rows, sequences, stamp and log are those of revision after revision, also from the kept file."""
    up(shop.settings, shop.database, target, confirm=yes)
    for _ in "made", "kept":
        with fresh(server) as other:
            assert fast(shop, other, target) == (True, [])
            assert snapshot.take(other) == snapshot.take(shop.database)
            assert not [*contents.differences(contents.take(shop.database), contents.take(other))]
            version = "SELECT version_num FROM alembic_version ORDER BY 1"
            assert run_sql(other, version) == run_sql(shop.database, version)
            entries = [
                [(each.revision, each.digest, each.outcome) for each in log.read(one)]
                for one in (other, shop.database)
            ]
            assert entries[0] == entries[1]
            up(shop.settings, other, "heads", confirm=yes)


def test_it_follows_every_edit(
    shop: Project, server: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is kept is used as long as the scripts and what they read are as they were."""
    monkeypatch.chdir(shop.root)
    read = "with open('rows.sql') as rows:\n    op.execute(rows.read())"
    shop.script("bbbb", "aaaa", read)
    rows = Path("rows.sql")
    for text in ("1", "2"):
        rows.write_text(f"INSERT INTO line (item) VALUES ({text})")
        with fresh(server) as other:
            assert fast(shop, other)[0]
            assert run_sql(other, "SELECT item FROM line") == [(int(text),)]


@pytest.mark.parametrize("why", NOT_CARRIED)
def test_what_no_dump_carries_is_run(project: Project, why: str) -> None:
    """Where a dump would lack something the revisions are run, and it is said why."""
    project.script("aaaa", "", "op.execute('CREATE TABLE t (a int)')")
    project.script("bbbb", "aaaa", NOT_CARRIED[why])
    restored, (note,) = fast(project, project.database)
    assert not restored
    assert why in note
    assert [entry.outcome for entry in log.read(project.database)] == ["done", "done"]


def test_what_the_target_refuses_is_run(shop: Project) -> None:
    """A database in which an object is already there stays as it is, and the revisions say what is wrong."""
    run_sql(shop.database, "CREATE FUNCTION public.total() RETURNS int LANGUAGE sql AS 'SELECT 1'")
    shop.script(
        "aaaa",
        "",
        SHOP.replace("CREATE FUNCTION", "DROP FUNCTION IF EXISTS total(); CREATE FUNCTION"),
    )
    restored, (note,) = fast(shop, shop.database)
    assert not restored
    assert 'function "total" already exists' in note
    assert run_sql(shop.database, "SELECT total()") == [(3,)]


def test_a_database_with_tables_is_upgraded(shop: Project) -> None:
    """Where there is a table, the revisions that are pending are run."""
    up(shop.settings, shop.database, "aaaa", confirm=yes)
    assert fast(shop, shop.database) == (False, [])
    assert len(log.read(shop.database)) == 3


def test_a_folder_that_cannot_be_written(shop: Project) -> None:
    """A checkout that is read-only is no hindrance: the dump is restored, and not kept."""
    folder = shop.root / image.FOLDER
    folder.parent.mkdir()
    folder.touch()
    restored, (note,) = fast(shop, shop.database)
    assert restored
    assert "made anew each time" in note


def test_a_file_that_is_spoilt_is_made_anew(shop: Project, server: Database) -> None:
    """What is no image is not restored, and few images are kept."""
    for text in ("", "{", "[]", json.dumps({"recipe": '[{}, ""]'})):
        with fresh(server) as other:
            assert fast(shop, other) == (True, [])
        (path,) = (shop.root / image.FOLDER).iterdir()
        assert path.stat().st_mode & 0o077 == 0
        path.write_text(text)


def test_an_image_that_another_command_removes(
    shop: Project, server: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was read is restored, and nothing takes its place."""
    assert fast(shop, shop.database) == (True, [])
    (path,) = (shop.root / image.FOLDER).iterdir()
    current = recipes.Recipe.is_current

    def is_current(self: recipes.Recipe, project: projects.Project) -> bool:
        path.unlink(missing_ok=True)
        return current(self, project)

    with monkeypatch.context() as patch, fresh(server) as other:
        patch.setattr(recipes.Recipe, "is_current", is_current)
        patch.setattr(image, "_keep", None)
        assert fast(shop, other) == (True, [])
    assert [*path.parent.iterdir()] == []


def test_an_image_that_two_commands_keep(
    shop: Project, server: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each writes a file of its own, which only its owner can read; files that others remove are no hindrance."""
    folder = shop.root / image.FOLDER
    put, listed = Path.replace, Path.iterdir

    def replace(self: Path, place: Path) -> Path:
        monkeypatch.setattr(Path, "replace", put)
        with fresh(server) as other:  # a whole command between two steps of another one
            assert fast(shop, other) == (True, [])
        return put(self, place)

    monkeypatch.setattr(Path, "replace", replace)
    monkeypatch.setattr(Path, "iterdir", lambda self: iter([*listed(self), self / "gone"]))
    assert fast(shop, shop.database) == (True, [])
    (path,) = listed(folder)
    assert path.stat().st_mode & 0o077 == 0
    assert json.loads(path.read_text())["sql"]


@pytest.fixture
def line(project: Project) -> Project:
    """Two revisions, one after the other, whose image is kept."""
    project.script("aaaa", "", SHOP)
    project.script("bbbb", "aaaa", MORE)
    assert fast(project, project.database, "head") == (True, [])
    return project


def fail(*_: object) -> None:
    """Fail where the scripts are about to be run, or Alembic reads them."""
    pytest.fail("it was not done by the driver alone")


@pytest.mark.parametrize("versions", [ALEMBICS, VersionTable("own table", "own")], ids=str)
def test_what_is_kept_is_restored_by_the_driver_alone(
    line: Project, server: Database, monkeypatch: pytest.MonkeyPatch, versions: VersionTable
) -> None:
    """It makes the same schema, rows, version table and log as the revisions, each with its message and digest."""
    with fresh(server) as one, fresh(server) as two:
        pair = [replace(each, versions=versions) for each in (one, two)]
        settings = changed(line.settings, versions=versions)
        with monkeypatch.context() as patch:
            patch.setattr(runner, "open_runner", fail)
            patch.setattr(projects.Project, "history", property(fail))
            at_once = up(settings, pair[0], fast=True, confirm=never)
        by_steps = up(settings, pair[1], confirm=never)
        assert at_once.restored
        assert (at_once.before, at_once.after, at_once.at_head) == ((), ("bbbb",), True)
        facts = [
            [(each.id, each.message, each.path, each.parents, each.digest) for each in result.plan]
            for result in (at_once, by_steps)
        ]
        assert facts[0] == facts[1]
        assert snapshot.take(pair[0]) == snapshot.take(pair[1])
        assert not [*contents.differences(*map(contents.take, pair))]
        tables = [run_sql(each, VERSION_TABLE.format(versions.name)) for each in pair]
        assert tables[0] == tables[1] != []
        logs = [
            [
                (each.revision, each.digest, each.outcome, each.who, each.tool)
                for each in log.read(one)
            ]
            for one in pair
        ]
        assert logs[0] == logs[1]
        assert up(settings, pair[0], confirm=never).after == ("bbbb",)


def test_a_protected_environment_asks_before_it_restores(line: Project, server: Database) -> None:
    """What is kept is restored there, too, and only after a yes."""
    protected = changed(line.settings, protected=True)
    with fresh(server) as other:
        with pytest.raises(ExpectedError, match="not confirmed"):
            up(protected, other, fast=True, confirm=no)
        assert run_sql(other, "SELECT to_regclass('line')") == [(None,)]
        assert up(protected, other, fast=True, confirm=yes).restored


def test_it_waits_for_another_command(line: Project, server: Database) -> None:
    """While another command changes the database nothing is restored."""
    with (
        fresh(server) as other,
        other.session() as driver,
        lock.one_command_at_a_time(other, driver, SILENT, 0),
    ):
        with pytest.raises(ExpectedError, match="another command"):
            up(line.settings, other, fast=True, wait=0)
        assert run_sql(other, "SELECT to_regclass('line')") == [(None,)]


def test_the_embedded_server_gets_roles_first(
    project: Project, server: Database, database: Database
) -> None:
    """What scripts name of a server is made there before what is kept is restored, also if no dump names it."""
    path = project.script("aaaa", "", "op.execute('CREATE TABLE t (a int)')")
    path.write_text(path.read_text() + f"\nroles = ({(role := f'r_{secrets.token_hex(6)}')!r},)\n")
    assert fast(project, database, "head") == (True, [])
    run_sql(server, f"DROP ROLE IF EXISTS {role}")
    embedded = changed(project.settings, target=None)
    with fresh(server) as other:
        assert up(embedded, other, fast=True).restored
    run_sql(server, f"DROP ROLE {role}")


def test_time_limits_hold_for_what_is_restored(line: Project, server: Database) -> None:
    """The statement that takes too long ends it, and nothing is left behind."""
    hasty = changed(line.settings, statement_timeout=500)
    notes: list[str] = []
    with fresh(server) as other:
        run_sql(
            other,
            "CREATE FUNCTION public.slow() RETURNS event_trigger LANGUAGE plpgsql AS"
            " 'BEGIN PERFORM pg_sleep(1); END';"
            " CREATE EVENT TRIGGER slow ON ddl_command_end WHEN tag IN ('CREATE FUNCTION') EXECUTE FUNCTION slow()",
        )
        with pytest.raises(ExpectedError, match="aaaa"):
            up(hasty, other, fast=True, confirm=yes, on_note=notes.append)
        assert "statement timeout" in notes[0]
        assert run_sql(other, "SELECT to_regclass('line')") == [(None,)]
