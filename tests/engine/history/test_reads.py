"""A kept scratch database is used only as long as its scripts would read the same."""

import importlib
import secrets
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from conftest import Project, changed, run_sql

from postgres_database.history import reads
from postgres_database.running.execution import Running
from postgres_database.scratch import databases
from postgres_database.server.connection import Database
from postgres_database.workflows import check, revision

READS = {
    "a file": "op.execute((ROOT / 'sql' / 'one.sql').read_text())",
    "a folder": "op.execute((min((ROOT / 'sql').glob('*.sql'))).read_text())",
    "a file at import": "op.execute(TEXT)",
    "a helper": "from helper import make; make(op)",
    "a helper of a helper": "from package import outer; op.execute(outer.text())",
    "a helper by a name that is made up": "import importlib; importlib.import_module('hel' + 'per').make(op)",
    "a file that a helper read when it was imported": "import package.reader; op.execute(package.reader.TEXT)",
    "execute_file": "op.execute_file(ROOT / 'sql' / 'one.sql')",
}


@pytest.fixture
def project(project: Project, server: Database) -> Project:
    """A repository whose kept scratch databases are its own: those of another maintenance database are others."""
    own = server.dsn.with_parts(dbname=project.database.dsn.database)
    project.settings = changed(project.settings, scratch=own)
    return project


def files(project: Project, name: str) -> None:
    """Write what a script may read, all of which makes a table of this name."""
    create = f"CREATE TABLE {name} (a int)"
    for path, text in {
        "sql/one.sql": create,
        "helper.py": f"def make(op): op.execute('{create}')",
        "package/__init__.py": "",
        "package/outer.py": "from . import inner\n\ndef text(): return inner.TEXT",
        "package/inner.py": f"TEXT = '{create}'",
        "package/reader.py": "from pathlib import Path\n"
        "TEXT = (Path(__file__).parents[1] / 'sql' / 'one.sql').read_text()",
    }.items():
        (project.root / path).parent.mkdir(exist_ok=True)
        (project.root / path).write_text(text)


def script(project: Project, body: str) -> Path:
    """Write a history whose first script is like none before, and whose second one reads."""
    project.script("r1", "", f"op.execute('CREATE TABLE t_{secrets.token_hex(8)} (a int)')")
    path = project.script("r2", "r1", body)
    head = "from pathlib import Path\nROOT = Path(__file__).parents[2]\n"
    head += "TEXT = (ROOT / 'sql' / 'one.sql').read_text()\n" if "TEXT)" in body else ""
    path.write_text(path.read_text().replace("import sqlalchemy", f"{head}import sqlalchemy", 1))
    project.script("r3", "r2")
    return path


def at_head(project: Project) -> str:
    """Return what the history makes on a scratch database, as in a new process."""
    for name in [each for each in sys.modules if each.partition(".")[0] in {"helper", "package"}]:
        del sys.modules[name]
    importlib.invalidate_caches()
    reads._opened.clear()
    reads._loaded.clear()
    with databases.session(*project.settings) as session:
        names = "SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class WHERE relname LIKE 'made%'"
        return str(run_sql(session.at_head(project.settings.project), names)[0][0])


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The revisions that were run, in their order."""
    found: list[str] = []
    original = Running.applied

    def applied(self: Running, *, step: Any, **others: Any) -> None:
        found.append(step.up_revision_id)
        original(self, step=step, **others)

    monkeypatch.setattr(Running, "applied", applied)
    return found


@pytest.mark.long
@pytest.mark.parametrize("name", READS)
def test_what_scripts_read_counts(project: Project, runs: list[str], name: str) -> None:
    """What a script opens or imports, at whatever time, is part of what its scratch database is made from."""
    files(project, "made_one")
    script(project, READS[name])
    assert at_head(project) == at_head(project) == "made_one"
    files(project, "made_three")
    assert at_head(project) == at_head(project) == "made_three"
    assert runs == ["r1", "r2", "r3"] * 2  # once for each


def test_what_scripts_do_not_read_does_not_count(project: Project, runs: list[str]) -> None:
    """Models that change, other files and what comes into being beside them are no reason to run anything again."""
    files(project, "made_one")
    script(project, READS["a helper"])
    module = f"m_{secrets.token_hex(6)}"
    project.settings = changed(project.settings, target_metadata=f"{module}:metadata")
    models = "import sqlalchemy as sa\nimport helper\nmetadata = sa.MetaData()\n"
    (project.root / f"{module}.py").write_text(models)
    check.compare(*project.settings)
    (project.root / f"{module}.py").write_text(models + "sa.Table('t', metadata)\n")
    (project.root / "sql" / "two.sql").write_text("")
    del sys.modules[module]
    at_head(project)
    assert runs == ["r1", "r2", "r3", "r3"]  # check measures the last one
    project.script("r4", "r3")
    at_head(project)
    assert runs == ["r1", "r2", "r3", "r3", "r4"]


def test_a_prefix_of_the_history_counts_as_well(project: Project, runs: list[str]) -> None:
    """What is made further from a kept database is made from what that one was made from."""
    files(project, "made_one")
    script(project, READS["a file"])
    at_head(project)
    project.script("r4", "r3")
    assert at_head(project) == "made_one"
    files(project, "made_three")
    assert at_head(project) == "made_three"
    assert runs == ["r1", "r2", "r3", "r4", "r1", "r2", "r3", "r4"]


def test_env_and_naming_convention_count(project: Project, runs: list[str]) -> None:
    """Another env.py runs the history again; other names for constraints do so where a script asked for them."""
    project.script("r1", "", f"op.execute('CREATE TABLE t_{secrets.token_hex(8)} (a int)')")
    project.models("")
    at_head(project)
    project.models("metadata = sa.MetaData(naming_convention={'uq': 'other_%(table_name)s'})")
    at_head(project)
    assert runs == ["r1"]
    project.script("r2", "r1", "op.create_table('t', sa.Column('made', sa.Integer, unique=True))")
    assert at_head(project) == "None"
    project.models("metadata = sa.MetaData(naming_convention={'uq': 'made_%(table_name)s'})")
    assert at_head(project) == "made_t"
    assert runs == ["r1", "r2", "r2"]
    env = project.root / "migration" / "env.py"
    env.write_text(env.read_text() + "# changed\n")
    at_head(project)
    assert runs == ["r1", "r2", "r2", "r1", "r2"]


def test_what_changed_since_it_was_read_is_not_kept(project: Project, runs: list[str]) -> None:
    """A file that is written while the history runs is no part of what is kept."""
    files(project, "made_one")
    script(
        project,
        READS["a file"]
        + "; (ROOT / 'sql' / 'one.sql').write_text('CREATE TABLE made_three (a int)')",
    )
    assert at_head(project) == "made_one"
    assert at_head(project) == "made_three"
    assert runs == ["r1", "r2", "r3"] * 2


@pytest.mark.long
def test_check_fresh_runs_the_history_again(project: Project, runs: list[str]) -> None:
    """What no file tells, such as a variable, is asked anew."""
    script(project, "pass")
    check.compare(*project.settings)
    check.compare(*project.settings)
    assert runs == ["r1", "r2", "r3", *["r3"] * 2]  # each check measures the last one
    check.compare(*project.settings, fresh=True)
    assert runs[5:] == ["r1", "r2", "r3", "r3"]


class Absent(ModuleType):
    """What stands in for a module, imports it when it is asked for anything, and fails."""

    def __getattr__(self, name: str) -> object:
        """Fail."""
        raise ImportError(self.__name__)


def test_what_stands_in_for_a_module_is_not_asked(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A library may keep old names of its modules that way, and some may be gone."""
    project.models("sa.Table('t', metadata, sa.Column('x', sa.Integer))")
    for name in ("old_place", f"{project.settings.project.target_metadata.partition(':')[0]}.old"):
        monkeypatch.setitem(sys.modules, name, Absent(name))
    assert revision.write(*project.settings, "One").proved
    assert check.compare(*project.settings).clean


@pytest.mark.parametrize("name", ["alembic", "sqlalchemy"])
def test_a_folder_of_scripts_that_is_a_package(project: Project, name: str) -> None:
    """A folder `alembic` beside alembic.ini, with an `__init__.py`, is not taken for Alembic."""
    (project.root / name).mkdir()
    (project.root / name / "__init__.py").touch()
    code = (
        "import pathlib; from postgres_database.history import project;"
        " project.load(pathlib.Path.cwd()).find_modules(); import alembic.util, sqlalchemy.sql"
    )
    run = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.remove(''); {code}"],
        cwd=project.root,
        env={"PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
