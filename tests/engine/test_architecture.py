"""The rules that the shape of the repository keeps."""

import ast
import re
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT

from postgres_database.server import environment

PACKAGE = ROOT / "postgres_database"
ARCHITECTURE = ROOT / "docs" / "architecture.md"
ROOMS = re.findall(r"^\| `(\w+)/` \|", ARCHITECTURE.read_text(), re.MULTILINE)
LONGEST_MODULE = 350
LARGEST_ROOM = 14
BESIDE = ("__init__", "alembic_env", "errors", "naming", "operations")
"""The modules that are in no room."""


def modules(room: str) -> list[str]:
    """Return the modules of a room in the order of its docstring."""
    doc = ast.get_docstring(ast.parse((PACKAGE / room / "__init__.py").read_text())) or ""
    return re.findall(r"^    (\w+)  +\S", doc, re.MULTILINE)


def imports(path: Path) -> set[str]:
    """Return what a module imports of the package anywhere in it: `room.module`, or a name at the top."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("postgres_database"):
            _, *inside = str(node.module).split(".")
            for alias in node.names:
                first, *others = [*inside, alias.name]
                found.add(".".join([first, *others[:1]]) if first in ROOMS else first)
    return found


def test_every_room_is_in_the_architecture() -> None:
    """docs/architecture.md lists the rooms, and nothing of the engine is outside one but what it names."""
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")} - {
        "models",
        "tasks",
        "testing",
    }
    assert folders == set(ROOMS)
    assert sorted(path.stem for path in PACKAGE.glob("*.py")) == sorted(BESIDE)


def test_tests_are_in_the_rooms() -> None:
    """A folder of tests is a room's, or that of the helpers; what is about all of them is in none."""
    folders = {path.parent for path in (ROOT / "tests" / "engine").rglob("test_*.py")}
    rooms = {path.relative_to(ROOT / "tests" / "engine").as_posix() for path in folders}
    assert rooms - {"."} == {*ROOMS}


@pytest.mark.parametrize("room", ROOMS)
def test_every_module_is_in_the_docstring_of_its_room(room: str) -> None:
    """The docstring of a room lists its modules, each once, and there are not too many."""
    there = sorted(path.stem for path in (PACKAGE / room).glob("*.py") if path.stem != "__init__")
    assert sorted(modules(room)) == there
    assert len(there) <= LARGEST_ROOM


@pytest.mark.parametrize("room", ROOMS)
def test_no_function_has_the_name_of_its_module(room: str) -> None:
    """A call says more than its module does: `baseline.adopt`, not `baseline.baseline`."""
    for module in modules(room):
        tree = ast.parse((PACKAGE / room / f"{module}.py").read_text())
        names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert module not in names


@pytest.mark.parametrize("room", ROOMS)
def test_modules_import_only_what_stands_above_them(room: str) -> None:
    """Data flows one way: from rooms above, and within a room from modules above."""
    above = {f"{each}.{name}" for each in ROOMS[: ROOMS.index(room)] for name in modules(each)}
    above |= {"errors", "__version__"}
    for module in modules(room):
        assert imports(PACKAGE / room / f"{module}.py") <= above, module
        above.add(f"{room}.{module}")


def test_models_stand_apart() -> None:
    """Models import nothing of the package but each other and the names; only project_models loads them, by name."""
    for path in (PACKAGE / "models").glob("*.py"):
        assert imports(path) <= {"models", "naming"}
    for path in PACKAGE.rglob("*.py"):
        if path.parent.name != "models":
            assert "models" not in imports(path)


@pytest.mark.parametrize(
    "path",
    sorted(PACKAGE.rglob("*.py")),
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_modules_are_read_at_one_sitting(path: Path) -> None:
    """No module is longer than a sitting."""
    assert len(path.read_text().splitlines()) <= LONGEST_MODULE


def test_only_the_console_prints() -> None:
    """print and input are in no other module."""
    for path in PACKAGE.rglob("*.py"):
        names = {
            node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)
        }
        assert not names & {"print", "input"}, path


def test_no_private_names_of_libraries() -> None:
    """Only public interfaces of other packages are imported."""
    for path in [*PACKAGE.rglob("*.py"), ROOT / "tasks.py"]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and not str(node.module).startswith(
                "postgres_database"
            ):
                parts = [*str(node.module).split("."), *(alias.name for alias in node.names)]
                assert not [part for part in parts if re.match("_[^_]", part)], path


@pytest.mark.parametrize("name", [".env", ".env.production", ".env.local", "sub/.env.x"])
def test_git_ignores_env_files(name: str) -> None:
    """No env file but the example can be committed by accident."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    ignored = subprocess.run(
        ["git", "check-ignore", "--no-index", "--quiet", name], cwd=ROOT, check=False
    )
    example = subprocess.run(
        ["git", "check-ignore", "--no-index", "--quiet", ".env.example"], cwd=ROOT, check=False
    )
    assert (ignored.returncode, example.returncode) == (0, 1)


def test_no_env_file_is_tracked() -> None:
    """Git knows no env file but the example."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    tracked = subprocess.run(
        ["git", "ls-files", ".env*", "**/.env*"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    assert tracked.stdout.split() == [".env.example"]


def test_example_of_an_env_file(tmp_path: Path) -> None:
    """.env.example explains every setting, and with its comments taken off it is read without a fault."""
    text = (ROOT / ".env.example").read_text()
    keys = re.findall(r"^#([A-Z_]+)=", text, re.MULTILINE)
    assert sorted([*keys, "DATABASE_URL"]) == sorted(environment.KEYS)
    assert "DATABASE_URL" in text
    (tmp_path / ".env.trial").write_text(re.sub(r"^#([A-Z_]+=)", r"\1", text, flags=re.MULTILINE))
    loaded = environment.load("trial", root=tmp_path, environ={})
    assert loaded.warnings == ()
    assert loaded.protected
    assert str(loaded.target) == "app@localhost:5432/shop"
