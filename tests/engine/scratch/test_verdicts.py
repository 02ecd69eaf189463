"""What was found to be equal is not compared again, until anything changes that it was made of."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from checkouts import ROOT, as_text
from commands import up
from conftest import Project, run_sql

MODELS = """
    import os
    from pathlib import Path
    from more import columns
    sa.Table('t', metadata, sa.Column('id', sa.Integer, primary_key=True), *columns())
"""
MORE = """
import sqlalchemy as sa
from pathlib import Path

def columns():
    names = Path(__file__).with_name("names.txt").read_text().split()
    return [sa.Column(name, sa.Text) for name in names]
"""
CREATE = """
    op.create_table('t', sa.Column('id', sa.Integer, primary_key=True), sa.Column('a', sa.Text))
    op.create_index('t_a', 't', ['a'])
    op.drop_index('t_a')
"""
ALL = """
import sys
from pathlib import Path
from postgres_database.history import project
from postgres_database.server import embedded, environment
from postgres_database.workflows import check, standing, status

here, there = project.load(Path.cwd()), environment.load("x", root=Path.cwd())
target = embedded.target(there, here.versions)
"""
CHECK = "print(check.compare(here, there, target).clean, 'sqlalchemy' in sys.modules)"
STATUS = (
    "print(all(each.clean for each in status.collect(here, ['x'])), 'sqlalchemy' in sys.modules)"
)
SETTLED = (
    "found = standing.settled(here, there, target); print(bool(found and found.kept is not None))"
)


def run(project: Project, code: str, environ: Mapping[str, str] | None = None) -> str:
    """Run code in a process of its own, as a command does, and return what it prints."""
    path = project.root / ".env.x"
    if not path.exists():
        path.write_text(
            f"POSTGRES_DSN={as_text(project.database.dsn)}\nSCRATCH_DSN={as_text(project.scratch)}\n"
        )
        path.chmod(0o600)
    done = subprocess.run(
        [sys.executable, "-c", ALL + code],
        cwd=project.root,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "TARGET_METADATA": project.settings.project.target_metadata,
            **(environ or {}),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def equal(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project whose models, history and target are equal."""
    for name, text in {"more.py": MORE, "names.txt": "a"}.items():
        (project.root / name).write_text(text)
    project.models(MODELS)
    project.script("aaaa", "", CREATE)
    monkeypatch.delitem(sys.modules, "more", raising=False)
    up(project.settings, project.database)
    return project


def test_what_is_equal_is_known_without_a_comparison(equal: Project) -> None:
    """The second `check` says the same and needs neither the models nor a scratch database; nor does `status`."""
    assert run(equal, CHECK) == "True True"
    assert run(equal, CHECK) == "True False"
    assert run(equal, STATUS) == "True False"


def test_status_keeps_what_it_compared(equal: Project) -> None:
    """It is known then that the target has not drifted, but not whether the models are those of the history."""
    assert run(equal, STATUS) == "True True"
    assert run(equal, STATUS) == "True False"
    assert run(equal, CHECK) == "True True"
    assert run(equal, CHECK) == "True False"


Change = Callable[[Project], object]


def _append(name: str, text: str) -> Change:
    def change(project: Project) -> None:
        path = project.root / name if name else next(project.root.glob("models_*.py"))
        path.write_text(path.read_text() + text)

    return change


def _write(name: str, text: str) -> Change:
    def change(project: Project) -> None:
        path = project.root / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    return change


def _sql(*statements: str) -> Change:
    return lambda project: run_sql(project.database, *statements)


def _verdicts(text: Callable[[str], str]) -> Change:
    def change(project: Project) -> None:
        for path in (project.root / ".postgres" / "verdicts").iterdir():
            path.write_text(text(path.read_text()))

    return change


SCRIPT = "migration/versions/aaaa.py"
CHANGES: dict[str, Change] = {
    "models": _append("", "sa.Table('u', metadata, sa.Column('id', sa.Integer))\n"),
    "what models import": _append("more.py", "\n"),
    "what models read": _write("names.txt", "b"),
    "a script": _append(SCRIPT, "\n# edited\n"),
    "a file beside a script": _write("migration/versions/aaaa.sql", "SELECT 1"),
    "env.py": _append("migration/env.py", "\n"),
    "alembic.ini": _append("alembic.ini", "\n# edited\n"),
    "a module that may stand before another": _write("more/__init__.py", MORE),
    "the target": _sql("ALTER TABLE t ADD b text"),
    "an index that is not valid": _sql(
        "CREATE INDEX i ON t (a)",
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'i'::regclass",
    ),
    "the stamp": _sql("DELETE FROM alembic_version"),
    "what ran": _sql("UPDATE alembic_version_log SET digest = 'another'"),
    "a run that failed": _sql("UPDATE alembic_version_log SET outcome = 'failed'"),
    "half a verdict": _verdicts(lambda text: text[: len(text) // 2]),
    "another verdict": _verdicts(lambda _: "[]"),
}


@pytest.mark.long
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_makes_it_unknown(equal: Project, change: Change) -> None:
    """Whatever a verdict was made of: when it changes, everything is compared again."""
    run(equal, CHECK)
    assert run(equal, SETTLED) == "True"
    change(equal)
    assert run(equal, SETTLED) == "False"


def test_the_environment_is_part_of_it(equal: Project) -> None:
    """Models may read the variables of the process."""
    run(equal, CHECK)
    assert run(equal, SETTLED, {"COLUMNS": "80"}) == "True"
    assert run(equal, SETTLED, {"TENANT": "b"}) == "False"


ASKING = {
    "a listener": """
        @sa.event.listens_for(metadata, "after_create")
        def ask(target, connection, **_):
            connection.execute(sa.text("SELECT count(*) FROM pg_roles"))
    """,
    "a program": "import subprocess\nsubprocess.run(['true'])",
    "an engine": """
        engine = sa.create_engine("postgresql+psycopg2://", creator=lambda: __import__("os").environ and real())
        def real():
            from psycopg2 import connect
            return connect({dsn!r})
        with engine.connect():
            pass
    """,
    "a driver": "import psycopg2",
}


@pytest.mark.long
@pytest.mark.parametrize("models", ASKING.values(), ids=ASKING)
def test_models_that_ask_others_than_files_are_always_compared(equal: Project, models: str) -> None:
    """What a database, a program or the network says may be another thing the next time."""
    path: Path = next(equal.root.glob("models_*.py"))
    text = textwrap.dedent(models).replace("{dsn!r}", repr(as_text(equal.database.dsn)))
    path.write_text(path.read_text() + text)
    assert run(equal, CHECK) == "True True"
    assert run(equal, SETTLED) == "False"
