"""What was found to be equal is not compared again, until anything changes that it was made of."""

import os
import shutil
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


def run(
    project: Project,
    code: str,
    environ: Mapping[str, str] | None = None,
    *,
    root: Path | None = None,
    before: str = "",
) -> str:
    """Run code in a process of its own, as a command does, and return what it prints; `before` runs first."""
    path = project.root / ".env.x"
    if not path.exists():
        path.write_text(
            f"POSTGRES_DSN={as_text(project.database.dsn)}\nSCRATCH_DSN={as_text(project.scratch)}\n"
        )
        path.chmod(0o600)
    done = subprocess.run(
        [sys.executable, "-c", before + ALL + code],
        cwd=root or project.root,
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
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    return change


def _sql(*statements: str) -> Change:
    return lambda project: run_sql(project.database, *statements)


def _verdicts(text: Callable[[str], str]) -> Change:
    def change(project: Project) -> None:
        for path in (project.root / ".postgres" / "verdicts").iterdir():
            path.write_text(text(path.read_text()))

    return change


def _options(options: str) -> Change:
    def change(project: Project) -> None:
        dsn = as_text(project.scratch.with_parts(options=options))
        text = f"POSTGRES_DSN={as_text(project.database.dsn)}\nSCRATCH_DSN={dsn}\n"
        (project.root / ".env.x").write_text(text)

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
    "the options of scratch databases": _options("-c default_toast_compression=lz4"),
    "half a verdict": _verdicts(lambda text: text[: len(text) // 2]),
    "a verdict with other types": _verdicts(
        lambda _: '{"files": [], "kept": null, "dumps": [], "scripts": 1}'
    ),
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
    "an engine whose driver is not named": """
        engine = sa.create_engine(sa.make_url("postgresql+psycopg2://"), connect_args={parts})
        with engine.connect():
            pass
    """,
    "a driver": "import psycopg2",
    "a child": "if not (child := os.fork()):\n    os._exit(0)\nos.waitpid(child, 0)",
    "a file of SQLite": "import sqlite3\nsqlite3.connect(Path(__file__).with_name('some.db')).execute('SELECT 1')",
    "a library that opens files by itself": "try:\n    import duckdb\nexcept ImportError: pass",
    "whether there is a file": "if Path(__file__).with_name('some').joinpath('file').exists():\n    raise OSError",
    "a name for that": "from os.path import isfile\nisfile('some/file')",
}


@pytest.mark.long
@pytest.mark.parametrize("models", ASKING.values(), ids=ASKING)
def test_models_that_ask_others_than_files_are_always_compared(equal: Project, models: str) -> None:
    """What a database, a program or the network says may be another thing the next time."""
    path: Path = next(equal.root.glob("models_*.py"))
    text = textwrap.dedent(models).replace("{dsn!r}", repr(as_text(equal.database.dsn)))
    text = text.replace("{parts}", repr(dict(equal.database.dsn.parts)))
    path.write_text(path.read_text() + text)
    assert run(equal, CHECK) == "True True"
    assert run(equal, SETTLED) == "False"


def _packages(root: Path) -> Path:
    """Return a folder of installed packages that only this project has."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return root / "user" / "lib" / version / "site-packages"


def _again(name: str) -> Change:
    """Write a file anew in place, with the times it had."""

    def change(project: Project) -> None:
        path = project.root / name.replace("{packages}", str(_packages(project.root)))
        facts = path.stat()
        path.write_text(path.read_text().replace("a", "b"))
        os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))

    return change


def _installed(*names: str) -> Change:
    """Write files of installed packages."""

    def change(project: Project) -> None:
        for name in names:
            path = _packages(project.root) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("x = 'a'\n")

    return change


def _elsewhere(project: Project) -> None:
    """Let a package be installed from another folder, in the same version."""
    (_packages(project.root) / "shop.pth").write_text("/another/checkout\n")


UNLIKE = "sa.Table('u', metadata, sa.Column('id', sa.Integer))\n"
MADE_OF: dict[str, tuple[str, dict[str, str], Change]] = {
    "a module that is not imported": (
        "import shop.loaded",
        {"shop/loaded.py": "", "shop/drafts.py": ""},
        _write("shop/drafts.py", UNLIKE),
    ),
    "one below": (
        "import shop.loaded",
        {"shop/__init__.py": "", "shop/loaded.py": "", "shop/more/text.txt": ""},
        _write("shop/more/drafts.py", UNLIKE),
    ),
    "where a module would be found": (
        (
            "import sys\nsys.path.insert(0, str(Path(__file__).with_name('first')))\n"
            "try:\n    import local\nexcept ImportError: pass"
        ),
        {"first/text.txt": ""},
        _write("first/local.py", ""),
    ),
    "a part of a package without a file of its own": (
        (
            "import sys\nsys.path += [str(Path(__file__).with_name(name)) for name in ('one', 'two')]\n"
            "import shop.loaded\ntry:\n    from shop import extra\nexcept ImportError: pass"
        ),
        {"one/shop/text.txt": "", "two/shop/loaded.py": ""},
        _write("one/shop/extra.py", ""),
    ),
    "settings that are looked for upward": (
        "from dotenv import load_dotenv\nimport app.db.conf",
        {"app/db/conf.py": "from dotenv import load_dotenv\nload_dotenv()\n", ".env": "A=1"},
        _write("app/.env", "A=2"),
    ),
    "an installed package": ("import pack", {}, _again("{packages}/pack/__init__.py")),
    "what an installed package reads": (
        "import pack\nPath(pack.__file__).with_name('data.txt').read_text()",
        {},
        _again("{packages}/pack/data.txt"),
    ),
    "where a package is installed from": ("", {}, _elsewhere),
}


@pytest.mark.long
@pytest.mark.parametrize(("models", "files", "change"), MADE_OF.values(), ids=MADE_OF)
def test_what_models_are_made_of(
    equal: Project, models: str, files: dict[str, str], change: Change
) -> None:
    """Also what only would be found, or is installed, makes it unknown."""
    _installed("pack/__init__.py", "pack/data.txt", "shop.pth")(equal)
    for name, text in files.items():
        _write(name, text)(equal)
    _append("", f"{models}\n")(equal)
    environ = {
        "PYTHONUSERBASE": str(equal.root / "user"),
        "PYTHONPATH": f"{ROOT}{os.pathsep}{_packages(equal.root)}",
    }
    if "shop.loaded" in models and "sys.path" not in models:
        module = next(equal.root.glob("models_*.py"))
        module.rename(equal.root / "shop" / module.name)
        _write("shop/more.py", MORE)(equal)
        _write("shop/names.txt", "a")(equal)
        environ["TARGET_METADATA"] = f"shop.{equal.settings.project.target_metadata}"
    run(equal, CHECK, environ)
    assert run(equal, SETTLED, environ) == "True"
    change(equal)
    assert run(equal, SETTLED, environ) == "False"


def test_models_may_change_the_environment(equal: Project) -> None:
    """A verdict is known by the variables that the process was started with."""
    _append("", "os.environ['TENANT'] = 'a'\n")(equal)
    run(equal, CHECK)
    assert run(equal, SETTLED) == "True"
    assert run(equal, SETTLED, {"TENANT": "a"}) == "False"


BEFORE = {
    "another machine": "import os\nos.uname = lambda: ('another',)\n",
    "another user": "import os\nos.getuid = lambda: 4711\n",
}


@pytest.mark.parametrize("before", BEFORE.values(), ids=BEFORE)
def test_machine_and_user_are_part_of_it(equal: Project, before: str) -> None:
    """Models may ask for them."""
    run(equal, CHECK)
    assert run(equal, SETTLED) == "True"
    assert run(equal, SETTLED, before=before) == "False"


def test_a_copy_of_the_project_is_another_one(equal: Project) -> None:
    """Its models may be installed from the first one."""
    run(equal, CHECK)
    copy = equal.root.with_name("copy")
    shutil.copytree(equal.root, copy)
    assert run(equal, SETTLED) == "True"
    assert run(equal, SETTLED, root=copy) == "False"


def test_the_engine_is_part_of_it(equal: Project) -> None:
    """Also the modules that are in no room, such as the names of constraints."""
    engine = equal.root / "engine" / "postgres_database"
    shutil.copytree(ROOT / "postgres_database", engine)
    environ = {"PYTHONPATH": str(engine.parent)}
    run(equal, CHECK, environ)
    assert run(equal, SETTLED, environ) == "True"
    _append("engine/postgres_database/naming.py", "\n")(equal)
    assert run(equal, SETTLED, environ) == "False"


def test_nothing_is_kept_if_the_day_changes_meanwhile(equal: Project) -> None:
    """The models are those of the day before."""
    later = "from postgres_database.scratch import verdicts\nday = verdicts._today()\n"
    run(equal, f"{later}verdicts._today = lambda: day + ' after'\n{CHECK}")
    assert run(equal, f"{later}verdicts._today = lambda: day + ' after'\n{SETTLED}") == "False"


def test_nothing_is_kept_if_the_project_ran_before(equal: Project) -> None:
    """What its modules read then is not known."""
    run(equal, CHECK, before="import sys\nsys.path.insert(0, '.')\nimport more\nmore.columns()\n")
    assert run(equal, SETTLED) == "False"
