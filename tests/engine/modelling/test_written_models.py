"""Models written from a database, and compared with it."""

import importlib
import secrets
from pathlib import Path

import pytest
from commands import Heard, adopt
from conftest import Project, changed, run_sql

from postgres_database.errors import ExpectedError
from postgres_database.server.connection import Database
from postgres_database.sql.names import Name
from postgres_database.workflows import check, written_models
from postgres_database.workflows.written_models import Form, ModelsResult

SCHEMAS = sorted((Path(__file__).parents[1] / "helpers" / "modelled").glob("*.sql"))


def written(
    project: Project, into: str = "", *, as_tables: bool = False, yes: bool = True
) -> ModelsResult:
    """Write the models of the target."""
    listener = Heard(lambda *_: yes)
    return written_models.write(
        *project.settings, project.database, Form(into, as_tables), listener
    )


@pytest.mark.long
@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda path: path.stem)
def test_models_make_the_tables_of_the_database(project: Project, schema: Path) -> None:
    """As classes and as tables; after the baseline, models, history and target are equal."""
    run_sql(project.database, schema.read_text(encoding="utf-8"))
    for as_tables in (True, False):
        module = f"shop_{secrets.token_hex(4)}"
        result = written(project, f"{module}.py", as_tables=as_tables)
        assert [str(each.key) for each in result.unlike] == [], result.text
        assert (project.root / f"{module}.py").read_text() == result.text
        assert importlib.import_module(module).metadata.tables
    project.settings = changed(project.settings, target_metadata=f"{module}:metadata")
    adopt(project.settings, project.database, "Init", lambda *_: True)
    checked = check.compare(*project.settings, project.database)
    assert checked.clean, checked


@pytest.mark.parametrize(
    ("into", "cause"),
    [
        ("../models.py", "outside of"),
        ("/etc/models.py", "outside of"),
        ("models.txt", "not the name of a Python module"),
        ("my-models.py", "not the name of a Python module"),
        ("nowhere/models.py", "there is no folder"),
        ("folder.py", "it is a folder"),
    ],
)
def test_models_are_only_written_to_a_module_in_the_project(
    project: Project, into: str, cause: str
) -> None:
    """Another path is an error, raised before the database is read."""
    (project.root / "folder.py").mkdir()
    with pytest.raises(ExpectedError, match="cannot be written to") as caught:
        written(project, into)
    assert cause in caught.value.cause


def test_overwriting_a_file_and_writing_secrets_must_be_confirmed(project: Project) -> None:
    """A "no" leaves the file unchanged; writing the same models again needs no confirmation."""
    with pytest.raises(ExpectedError, match="has no tables"):
        written(project)
    run_sql(project.database, "CREATE TABLE t (id int PRIMARY KEY)")
    path = project.root / "kept.py"
    path.write_text("mine = 1\n")
    with pytest.raises(ExpectedError, match="not confirmed"):
        written(project, "kept.py", yes=False)
    assert path.read_text() == "mine = 1\n"
    assert "class T(Base)" in written(project, "kept.py").text
    written(project, "kept.py", yes=False)
    assert [each.name for each in project.root.glob(".kept*")] == []
    run_sql(project.database, "CREATE TABLE u (dsn text DEFAULT 'postgres://me:hunter22@db/x')")
    with pytest.raises(ExpectedError, match="not confirmed"):
        written(project, yes=False)


def test_objects_that_are_no_tables_are_counted(project: Project) -> None:
    """Views, functions, triggers and policies are not in the models; the result has their numbers."""
    schema = next(path for path in SCHEMAS if path.stem == "authentication")
    run_sql(project.database, schema.read_text(encoding="utf-8"))
    kinds = dict(written(project).kept)
    assert kinds["VIEW"] == kinds["POLICY"] == 1


def test_a_refused_change_stops_no_other(database: Database) -> None:
    """Of the statements for what SQLAlchemy cannot say, those of each change that the server accepts are kept."""
    run_sql(database, "CREATE TABLE a (x int); CREATE TABLE b (x int)")
    first, second = Name("public", "a"), Name("public", "b")
    refer = ["ALTER TABLE public.a ADD FOREIGN KEY (x) REFERENCES public.b;"]
    key = ["ALTER TABLE public.b ADD PRIMARY KEY (x);"]
    half = [
        "ALTER TABLE public.b ALTER x SET STATISTICS 7;",
        "ALTER TABLE public.b SET (none = 1);",
    ]
    accepted = written_models._accepted(database, {first: [refer], second: [half, key]})
    assert accepted == {first: refer, second: key}
