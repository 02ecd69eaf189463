"""Adoptions that are killed, and several at once."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from checkouts import as_text
from conftest import ROOT, Project, run_sql

from postgres_database.server.connection import Database

ADOPT = """
import os, signal, sys
from pathlib import Path
from postgres_database.history import project, script_files
from postgres_database.running.runner import Runner
from postgres_database.schema import dump
from postgres_database.server import embedded, environment
from postgres_database.workflows import adoption, baseline

def die(*_args, **_options):
    os.kill(os.getpid(), signal.SIGKILL)

def killed(owner, name, count, before):
    plain, calls = getattr(owner, name), []
    def wrapped(*args, **options):
        calls.append(1)
        if before and len(calls) == count:
            die()
        result = plain(*args, **options)
        if len(calls) == count:
            die()
        return result
    setattr(owner, name, wrapped)

root, point = sys.argv[1:]
if point:
    owner, name, count, before = eval(point)
    killed(owner, name, count, before)
loaded = environment.load("online", root=Path(root))
here = project.load(loaded.root)
result = baseline.adopt(here, loaded, embedded.target(loaded), "Init tables")
print(result.revision)
"""

POINTS = {
    "before the dump": "dump, 'take', 1, True",
    "after the dump": "dump, 'take', 1, False",
    "before the script": "script_files, 'write', 1, True",
    "after the script": "script_files, 'write', 1, False",
    "before the SQL": "Path, 'write_bytes', 1, True",
    "after the SQL": "Path, 'write_bytes', 1, False",
    "in the proof": "dump, 'take', 2, False",
    "before the last look": "adoption.Adoption, '_commit', 1, True",
    "before the move": "Path, 'replace', 1, True",
    "between the moves": "Path, 'replace', 2, True",
    "after the moves": "Path, 'replace', 2, False",
    "before the stamp": "Runner, 'stamp', 1, True",
    "after the stamp": "Runner, 'stamp', 1, False",
    "at the end": "adoption.Adoption, '_commit', 1, False",
}
SCHEMA = """
CREATE TABLE users (id int PRIMARY KEY, name text);
INSERT INTO users SELECT g, g FROM generate_series(1, 10) g;
"""


@pytest.fixture
def online(project: Project) -> Project:
    """A database with rows and a checkout whose environment `online` it is."""
    run_sql(project.database, SCHEMA)
    prepare(project.root, project)
    return project


def prepare(root: Path, project: Project) -> None:
    (root / "models.py").write_text("import sqlalchemy\nmetadata = sqlalchemy.MetaData()\n")
    (root / ".env.online").write_text(
        f"POSTGRES_DSN={as_text(project.database.dsn)}\nSCRATCH_DSN={as_text(project.scratch)}\n"
        "TARGET_METADATA=models:metadata\n"
    )


def adopt(root: Path, point: str = "") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", ADOPT, str(root), point],
        cwd=root,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{ROOT}:{root}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def stamped(database: Database) -> list[object]:
    return [row[0] for row in run_sql(database, "SELECT version_num FROM alembic_version")]


EACH = [
    pytest.param(point, id=name, marks=pytest.mark.slow if number % 2 else ())
    for number, (name, point) in enumerate(POINTS.items())
]


@pytest.mark.long
@pytest.mark.parametrize("point", EACH)
def test_killed_adoption_can_be_run_again(online: Project, point: str) -> None:
    """Killed at any point, the next run finishes: one script, one stamp, no row touched, nothing left over."""
    first = adopt(online.root, point)
    first.communicate()
    assert first.returncode == -signal.SIGKILL
    again = adopt(online.root)
    revision, said = again.communicate()
    assert again.returncode == 0, said
    assert stamped(online.database) == [revision.strip()]
    script, sql = online.scripts()
    assert sql == f"{script.removesuffix('.py')}.sql"
    assert not (online.versions.parent / ".baseline").exists()
    assert run_sql(online.database, "SELECT count(*), sum(id) FROM users") == [(10, 55)]


@pytest.mark.long
def test_two_adoptions_in_one_checkout(online: Project) -> None:
    """Of two at once, one adopts and the other finds that it is done."""
    both = [adopt(online.root) for _ in range(2)]
    said = [each.communicate() for each in both]
    assert [each.returncode for each in both] == [0, 0], said
    assert said[0][0] == said[1][0]
    assert stamped(online.database) == [said[0][0].strip()]
    assert len(online.scripts()) == 2


@pytest.mark.long
def test_two_adoptions_in_two_checkouts(online: Project, tmp_path: Path) -> None:
    """Of two at once in different checkouts one wins; the other says so and writes nothing."""
    other = tmp_path / "other"
    shutil.copytree(online.root, other, ignore=shutil.ignore_patterns("other"))
    both = [adopt(root) for root in (online.root, other)]
    said = [each.communicate() for each in both]
    assert sorted(each.returncode for each in both) == [0, 1], said
    loser = 0 if both[0].returncode else 1
    assert "already is at revision" in said[loser][1]
    roots = online.root, other
    assert [*(roots[loser] / "migration" / "versions").glob("*.[ps]*")] == []
    assert stamped(online.database) == [said[1 - loser][0].strip()]
