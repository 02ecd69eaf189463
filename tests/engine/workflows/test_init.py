"""Setting up a project: what is missing is written, and what is there stays as it is unless somebody says yes."""

import filecmp
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import alembic
import pytest
from answers import never, no, yes
from checkouts import Checkout
from commands import Confirm, Heard
from conftest import ROOT, Project

from postgres_database.errors import ExpectedError
from postgres_database.history import project as projects
from postgres_database.history.project_files import TEMPLATE
from postgres_database.workflows import init, revision

ALEMBICS = Path(alembic.__file__).parent / "templates"


def set_up(
    root: Path,
    confirm: Confirm,
    agree: Confirm,
    words: Callable[[str], str] = lambda _: "",
    **how: Any,
) -> init.InitResult:
    """Set up a project, with functions that answer."""
    return init.set_up(root, Heard(confirm, offer=agree, words=words), **how)


def graph_head(project: Project) -> str:
    """Return the head of a history, as commands read it."""
    return projects.load(project.root, environ={}).history.head


def test_what_is_set_up_is_left_alone(checkout: Checkout) -> None:
    """Where everything is there, as in a clone, nothing is made, changed or asked."""
    assert set_up(checkout.root, never, never) == init.InitResult()


def test_missing_migration_is_made(project: Project) -> None:
    """Where there is none, migration/ is made so that Alembic can read it."""
    shutil.rmtree(project.root / "migration")
    result = set_up(project.root, never, yes)
    assert {str(path) for path in result.created} >= {
        "migration/env.py",
        "migration/script.py.mako",
    }
    assert graph_head(project) == "base"


def test_own_files_are_never_overwritten(project: Project) -> None:
    """A team's own env.py stays, also with --fresh."""
    ours = "# ours\nfrom postgres_database import alembic_env\nalembic_env.run(1)\n"
    (project.root / "migration" / "env.py").write_text(ours)
    set_up(project.root, yes, never, fresh=True)
    assert (project.root / "migration" / "env.py").read_text() == ours


def test_fresh_removes_the_history(project: Project) -> None:
    """--fresh removes scripts and the SQL beside them, after a yes; the file that makes a package is no script."""
    project.script("aaaa")
    (project.versions / "__init__.py").touch()
    (project.versions / "aaaa.sql").write_text("SELECT 1;\n")
    (project.versions / "notes.txt").write_text("kept\n")
    set_up(project.root, yes, never, fresh=True)
    assert project.scripts() == ["__init__.py"]
    assert (project.versions / "notes.txt").exists()


@pytest.mark.parametrize(
    ("said", "folder"),
    [("", "migration"), ("shop:db:scripts", "scripts"), ("shop.db:scripts", "db/scripts"), ("a:b", "migration")],
)  # fmt: skip
def test_a_folder_in_a_package_is_named_from_the_root(
    tmp_path: Path, said: str, folder: str
) -> None:
    """Where alembic.ini names the scripts by their package, the advice is their folder."""
    (tmp_path / "alembic.ini").write_text(f"[alembic]\nscript_location = {said}\n")
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / "env.py").touch()
    with pytest.raises(ExpectedError, match="names no folder") as caught:
        set_up(tmp_path, never, never)
    assert f"(script_location = %(here)s/{folder})" in caught.value.hint


@pytest.mark.parametrize(
    ("said", "folders"),
    [
        (
            "recursive_version_locations = true\npath_separator = os",
            ("migration/versions/2024/expand",),
        ),
        (
            "version_locations = %(here)s/migration/versions:%(here)s/more\npath_separator = :",
            ("more",),
        ),
    ],
)
def test_fresh_removes_the_whole_history(
    project: Project, said: str, folders: tuple[str, ...]
) -> None:
    """Scripts are removed wherever alembic.ini says that they are."""
    ini = project.root / "alembic.ini"
    text = re.sub("(?m)^(version_locations|path_separator) = .*$", "", ini.read_text())
    ini.write_text(text.replace("[alembic]", f"[alembic]\n{said}"))
    project.script("aaaa")
    for number, folder in enumerate(folders):
        place = project.root / folder
        place.mkdir(parents=True)
        script = (project.versions / "aaaa.py").read_text().replace("aaaa", f"bbb{number}")
        (place / f"bbb{number}.py").write_text(script)
        (place / f"bbb{number}.sql").write_text("SELECT 1;\n")
    set_up(project.root, yes, never, fresh=True)
    assert not project.scripts()
    assert not [*project.root.rglob("bbb*")]


def test_fresh_needs_a_yes(project: Project) -> None:
    """Without a yes the history stays, and nothing else is written."""
    project.script("aaaa")
    before = sorted(project.root.rglob("*"))
    with pytest.raises(ExpectedError, match="not confirmed"):
        set_up(project.root, no, never, fresh=True)
    assert sorted(project.root.rglob("*")) == before


def test_template_is_what_is_committed() -> None:
    """`init` makes the files that this repository ships; tasks.py without the commands for this repository."""
    for name, place in {
        "env.py": "migration",
        "script.py.mako": "migration",
        "alembic.ini": ".",
        ".env.example": ".",
    }.items():
        assert filecmp.cmp(ROOT / place / name, TEMPLATE / name.strip("."), shallow=False), name
    ours = (ROOT / "tasks.py").read_text()
    start, end = (ours.index(line) for line in ("# For people who work on", "# Your own commands"))
    assert (TEMPLATE / "tasks.py").read_text() == ours[:start] + ours[end:]
    tasks = re.compile(r"^TASKS +:= .*\\\n.*$", re.MULTILINE)
    theirs, shipped = ((each / "Makefile").read_text() for each in (TEMPLATE, ROOT))
    assert tasks.findall(theirs)[0].split() == tasks.findall(shipped)[0].split()


@pytest.mark.parametrize(
    ("typed", "command"),
    [
        (["upgrade", "TARGET=+1", "MSG=x", "ARGS=--yes"], "upgrade --target=+1 --yes"),
        (["revision", 'MSG=a `id` $HOME "b"', "TARGET=x"], 'revision --msg=a `id` $HOME "b"'),
        (["status", "TARGET=x"], "status"),
        ([], "--list"),
    ],
)
def test_the_makefile_of_an_application(typed: list[str], command: str) -> None:
    """It hands on what was typed as it was typed, each option to the commands that take it."""
    make = ["make", "--no-print-directory", "-f", str(TEMPLATE / "Makefile"), "INVOKE=echo"]
    done = subprocess.run([*make, *typed], check=True, capture_output=True, text=True)
    assert done.stdout.split() == command.split()


def test_script_location_is_honoured(project: Project) -> None:
    """Where alembic.ini names another folder, that one is set up, and no migration/ is made."""
    shutil.rmtree(project.root / "migration")
    ini = project.root / "alembic.ini"
    ini.write_text(ini.read_text().replace("%(here)s/migration", "%(here)s/src/db"))
    result = set_up(project.root, never, never)
    assert {str(path) for path in result.created} >= {"src/db/env.py", "src/db/script.py.mako"}
    assert not (project.root / "migration").exists()
    assert graph_head(project) == "base"


PYPROJECT = """
[tool.alembic]
script_location = "%(here)s/db"
prepend_sys_path = ["src"]
file_template = "%%(rev)s"
"""


def test_settings_in_pyproject(project: Project) -> None:
    """What alembic.ini leaves to pyproject.toml, as in a template of Alembic's, is read there, also without Alembic."""
    ini = project.root / "alembic.ini"
    alembics = r"^(script_location|prepend_sys_path|file_template) = .*\n"
    ini.write_text(re.sub(alembics, "", ini.read_text(), flags=re.MULTILINE))
    (project.root / "pyproject.toml").write_text(PYPROJECT)
    (project.root / "migration").rename(project.root / "db")
    (project.root / "src").mkdir()
    model = "import sqlalchemy as sa\nmetadata = sa.MetaData()\nsa.Table('t', metadata, sa.Column('x', sa.Integer))\n"
    (project.root / "src" / "of_pyproject.py").write_text(model)
    env = project.root / "db" / "env.py"
    env.write_text(f"{env.read_text()}\noptions = {{'version_table': 'mine'}}\n")

    assert {str(path.parent) for path in set_up(project.root, yes, yes).created} <= {"."}
    settings = project.settings._replace(
        project=projects.load(project.root, "of_pyproject:metadata", environ={})
    )
    written = revision.write(*settings, "One")
    assert written.proved, written
    assert written.path
    assert written.path.parent == project.root / "db" / "versions"
    assert len(written.path.stem) == 12
    anew = projects.load(project.root, environ={})
    assert anew.line is not None
    assert anew.line.head == anew.history.head == written.path.stem
    assert anew.versions.name == "mine"
    (project.root / "pyproject.toml").write_text(f"{PYPROJECT}version_locations = ['other']\n")
    assert projects.load(project.root, environ={}).line is None
    (project.root / "pyproject.toml").write_text(f"{PYPROJECT}[[\n")
    with pytest.raises(ExpectedError, match=r"pyproject\.toml cannot be read") as caught:
        projects.load(project.root, environ={})
    assert "line" in caught.value.cause


@pytest.mark.parametrize("has_ini", [True, False])
def test_history_in_a_folder_below(project: Project, has_ini: bool) -> None:  # noqa: FBT001
    """No second history begins beside one that no alembic.ini of the root names; what is advised makes it the first."""
    project.script("aaaa")
    (project.root / "migration").rename(project.root / "migrations")
    ini = (project.root / "alembic.ini").rename(project.root / "migrations" / "alembic.ini")
    ini.write_text(re.sub("(script_location|prepend_sys_path) = .*\n", "", ini.read_text()))
    if not has_ini:
        ini.unlink()
    with pytest.raises(ExpectedError, match="there is a history in migrations/ already") as caught:
        set_up(project.root, never, never, models="shop.models:Base")
    assert not (project.root / "migration").exists()
    subprocess.run(caught.value.hint.partition("   (")[0], shell=True, check=True, cwd=project.root)  # noqa: S602
    set_up(project.root, yes, yes, models="" if has_ini else "shop.models:Base")
    assert graph_head(project) == "aaaa"
    assert not (project.root / "migration").exists()


def test_a_new_project(tmp_path: Path) -> None:
    """Where there is no alembic.ini, everything is made, once the name of the models is known."""
    for models in ("", "shop.models"):
        with pytest.raises(ExpectedError, match="the name of the models is not known") as caught:
            set_up(tmp_path, never, never, models=models)
        assert caught.value.hint == "invoke init --models package.module:name"
    assert not [*tmp_path.iterdir()]
    result = set_up(tmp_path, never, never, lambda _: "shop.models:Base")
    assert sorted(map(str, result.created)) == sorted(
        [".env.example", ".gitignore", "Makefile", "alembic.ini", "migration/env.py",
         "migration/script.py.mako", "tasks.py"]
    )  # fmt: skip
    made = projects.load(tmp_path, environ={})
    assert (made.target_metadata, made.history.head) == ("shop.models:Base", "base")
    assert set_up(tmp_path, never, never) == init.InitResult()
    with pytest.raises(ExpectedError, match="names other models"):
        set_up(tmp_path, never, never, models="other:Base")


INI = "[alembic]\nscript_location = alembic\nprepend_sys_path = src\npath_separator = os\n"
"""Of somebody else: without our section, and with paths from where one types."""


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """An application with Alembic's own env.py, and files that a project of ours has, too."""
    shutil.copytree(ALEMBICS / "generic", tmp_path / "alembic")
    env = tmp_path / "alembic" / "env.py"
    text = env.read_text().replace("target_metadata = None", "target_metadata = Base.metadata")
    env.write_text(
        text.replace("\nfrom alembic import", "\nfrom shop.models import Base\nfrom alembic import")
    )
    (tmp_path / "src" / "shop").mkdir(parents=True)
    (tmp_path / "src" / "shop" / "models.py").touch()
    (tmp_path / "alembic.ini").write_text(INI)
    (tmp_path / ".gitignore").write_text("*.pyc")
    (tmp_path / "makefile").write_text("all:\n")
    (tmp_path / ".venv").mkdir()
    return tmp_path


def test_an_application_gets_what_is_missing(app: Path) -> None:
    """New files are written; what is there is changed after a yes, each by itself, and names the models."""
    asked: dict[str, list[str]] = {}

    def agree(question: str, details: Sequence[str]) -> bool:
        asked[question] = [
            line for line in details if line[0] in "+-" and line[:3] not in {"+++", "---"}
        ]
        return True

    result = set_up(app, never, agree)
    assert sorted(map(str, result.created)) == [".env.example", "tasks.py"]
    assert asked["change alembic.ini"] == [
        "+",
        "+[postgres_database]",
        "+engine = 0.1",
        "+target_metadata = shop.models:Base.metadata",
    ]
    assert asked["change .gitignore"] == [
        "+",
        "+.env*",
        "+!.env.example",
        "+.postgres/",
        "+.staged*",
    ]
    assert asked["change alembic/env.py"] == [
        "+from postgres_database import alembic_env",
        "+",
        "+alembic_env.register()  # op.online and op.backfill",
        '+elif (connection := context.config.attributes.get("connection")) is not None:',
        "+    context.configure(",
        "+        connection=connection,",
        "+        target_metadata=target_metadata,",
        "+    )",
        "+    with context.begin_transaction():",
        "+        context.run_migrations()",
    ]
    assert set_up(app, never, never) == init.InitResult(env=Path("alembic/env.py"))
    assert not [*(app / ".venv").iterdir()]


def test_a_no_leaves_a_file_as_it_is(app: Path) -> None:
    """What nobody agreed to is not written, and named."""
    before = {path: path.read_bytes() for path in app.rglob("*") if path.is_file()}
    result = set_up(app, never, no)
    assert list(map(str, result.left)) == ["alembic.ini", ".gitignore", "alembic/env.py"]
    assert {path: path.read_bytes() for path in before} == before


def test_what_only_a_person_can_write_is_named(app: Path) -> None:
    """A tasks.py of their own, models that env.py does not name, and an env.py of another shape are told."""
    (app / "tasks.py").write_text("# ours\n")
    (app / "alembic" / "env.py").write_text("target_metadata = [a, b]\n")
    result = set_up(app, never, yes)
    models, env, tasks = (line.partition("   (")[0] for line in result.by_hand)
    assert models == "target_metadata in alembic.ini"
    assert (env, tasks) == ("alembic/env.py", "tasks.py")
    assert set_up(app, never, yes, models="a.b:C").by_hand[0].startswith("alembic/env.py")
    assert projects.load(app, environ={}).target_metadata == "a.b:C"


@pytest.mark.parametrize(
    ("name", "text"),
    [("alembic/env.py", "if True\n"), ("alembic.ini", "[alembic]\n[alembic]\n"), (".gitignore", "caf\xe9")],
)  # fmt: skip
def test_a_file_that_cannot_be_read_ends_it(app: Path, name: str, text: str) -> None:
    """Before anything is written."""
    (app / name).write_bytes(text.encode("latin-1"))
    before = sorted(app.rglob("*"))
    with pytest.raises(ExpectedError):
        set_up(app, never, yes)
    assert sorted(app.rglob("*")) == before


def test_a_file_keeps_its_line_ends_and_its_mode(app: Path) -> None:
    """A file of Windows stays one, and a script that may be run as well."""
    (app / ".gitignore").write_bytes(b"*.pyc\r\n*.log\r\n")
    (app / "alembic" / "env.py").chmod(0o755)
    set_up(app, never, yes)
    text = (app / ".gitignore").read_bytes()
    assert text.startswith(b"*.pyc\r\n*.log\r\n\r\n.env*\r\n")
    assert text.count(b"\n") == text.count(b"\r\n")
    assert (app / "alembic" / "env.py").stat().st_mode & 0o777 == 0o755
