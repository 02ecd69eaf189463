"""Setting up migration/, and starting a history of one's own."""

import filecmp
import shutil

import pytest
from conftest import ROOT, Project

from postgres_database.errors import ExpectedError
from postgres_database.workflows import initialise


def yes(_question: str, _details: object) -> bool:
    return True


def no(_question: str, _details: object) -> bool:
    return False


def never(question: str, _details: object) -> bool:
    pytest.fail(f"nobody should be asked: {question}")


def test_migration_that_is_set_up_is_left_alone(project: Project) -> None:
    """Where everything is there, nothing is made or removed."""
    project.script("aaaa")
    assert initialise.init(project.settings.project, never) == initialise.InitResult((), ())
    assert project.scripts() == ["aaaa.py"]


def test_missing_migration_is_made(project: Project) -> None:
    """Where there is none, migration/ is made so that Alembic can read it."""
    shutil.rmtree(project.root / "migration")
    result = initialise.init(project.settings.project, never)
    assert [str(path) for path in result.created] == [
        "migration/env.py",
        "migration/script.py.mako",
    ]
    assert project.settings.project.history.head == "base"


def test_own_files_are_never_overwritten(project: Project) -> None:
    """A team's own env.py stays, also with --fresh."""
    (project.root / "migration" / "env.py").write_text("# ours\n")
    initialise.init(project.settings.project, yes, fresh=True)
    assert (project.root / "migration" / "env.py").read_text() == "# ours\n"


def test_fresh_removes_the_history(project: Project) -> None:
    """--fresh removes scripts and the SQL beside them, after a yes."""
    project.script("aaaa")
    (project.versions / "aaaa.sql").write_text("SELECT 1;\n")
    (project.versions / "notes.txt").write_text("kept\n")
    initialise.init(project.settings.project, yes, fresh=True)
    assert project.scripts() == []
    assert (project.versions / "notes.txt").exists()


def test_fresh_needs_a_yes(project: Project) -> None:
    """Without a yes the history stays."""
    project.script("aaaa")
    with pytest.raises(ExpectedError, match="not confirmed"):
        initialise.init(project.settings.project, no, fresh=True)
    assert project.scripts() == ["aaaa.py"]


def test_template_is_what_is_committed() -> None:
    """`init` makes the files that this repository ships."""
    names = ["env.py", "script.py.mako"]
    equal, *_ = filecmp.cmpfiles(ROOT / "migration", initialise.TEMPLATE, names, shallow=False)
    assert equal == names


def test_script_location_is_honoured(project: Project) -> None:
    """Where alembic.ini names another folder, that one is set up, and no migration/ is made."""
    shutil.rmtree(project.root / "migration")
    ini = project.root / "alembic.ini"
    ini.write_text(ini.read_text().replace("%(here)s/migration", "%(here)s/src/db"))
    result = initialise.init(project.settings.project, never)
    assert [str(path) for path in result.created] == ["src/db/env.py", "src/db/script.py.mako"]
    assert not (project.root / "migration").exists()
    assert project.settings.project.history.head == "base"
