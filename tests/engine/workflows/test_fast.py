"""`upgrade --fast`: what the revisions make, at once, and never anything else."""

import json
from pathlib import Path

import pytest
from answers import yes
from commands import up
from conftest import Project, fresh, run_sql

from postgres_database.history import project as projects
from postgres_database.proving import contents, image
from postgres_database.running import log
from postgres_database.schema import snapshot
from postgres_database.scratch import recipes
from postgres_database.server.connection import Database

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
