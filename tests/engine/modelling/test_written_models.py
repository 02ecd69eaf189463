"""Models that are written from a database, and proved."""

import importlib
import secrets
from pathlib import Path

import pytest
from commands import Heard, adopt
from conftest import Project, changed, run_sql

from postgres_database.workflows import check, written_models
from postgres_database.workflows.written_models import ModelsResult

SCHEMAS = sorted((Path(__file__).parents[1] / "helpers" / "modelled").glob("*.sql"))


def written(
    project: Project, *, into: str = "", as_tables: bool = False, yes: bool = True
) -> ModelsResult:
    """Write the models of the target."""
    return written_models.write(
        *project.settings,
        project.database,
        into,
        as_tables=as_tables,
        listener=Heard(lambda *_: yes),
    )


@pytest.mark.long
@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda path: path.stem)
def test_models_make_the_tables_of_the_database(project: Project, schema: Path) -> None:
    """As classes and as tables; after the adoption nothing is left to do."""
    run_sql(project.database, schema.read_text(encoding="utf-8"))
    for as_tables in (True, False):
        module = f"shop_{secrets.token_hex(4)}"
        result = written(project, into=f"{module}.py", as_tables=as_tables)
        assert [str(each.key) for each in result.unlike] == [], result.text
        assert (project.root / f"{module}.py").read_text() == result.text
        assert importlib.import_module(module).metadata.tables
    project.settings = changed(project.settings, target_metadata=f"{module}:metadata")
    adopt(project.settings, project.database, "Init", lambda *_: True)
    checked = check.compare(*project.settings, project.database)
    assert checked.clean, checked
