"""The models of a git ref are imported from its own files, whatever stands in the working tree."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Project, changed

from postgres_database.errors import ExpectedError
from postgres_database.reviewing import deployed

MODELS = """
sa.Table("orders", metadata, sa.Column("id", sa.Integer), sa.Column("Note", sa.Text, key="text"))
sa.Table("shops", metadata, sa.Column("id", sa.Integer), schema="sales")
print("noise")
"""


def git(root: Path, *arguments: str) -> str:
    """Run git, and return what it prints."""
    who = "-c", "user.name=x", "-c", "user.email=x@example.org"
    done = subprocess.run(
        ["git", *who, *arguments], cwd=root, check=True, capture_output=True, text=True
    )
    return done.stdout


def commit(project: Project) -> None:
    """Commit all files of a project."""
    git(project.root, "init", "-q", "-b", "main")
    git(project.root, "add", ".")
    git(project.root, "commit", "-qm", "one")


def settle(project: Project) -> None:
    """Let alembic.ini name the models of the project, as an environment did."""
    ini = project.root / "alembic.ini"
    named = project.settings.project.target_metadata
    lines = [
        line for line in ini.read_text().splitlines() if not line.startswith("target_metadata")
    ]
    lines.insert(lines.index("[postgres_database]") + 1, f"target_metadata = {named}")
    ini.write_text("\n".join(lines))


@pytest.fixture
def shop(project: Project) -> Project:
    """A project in git, whose models are not yet committed."""
    project.models(MODELS)
    settle(project)
    return project


USES = {
    ("public", "orders", ""): True,
    ("other", "orders", "id"): True,
    ("public", "orders", "Note"): True,
    ("public", "orders", "text"): False,
    ("sales", "shops", "id"): True,
    ("public", "shops", ""): False,
    ("public", "users", ""): False,
}


def test_models_of_a_ref(shop: Project) -> None:
    """Tables and columns are known by their names in the database; the repository stays as it is."""
    commit(shop)
    (module,) = shop.root.glob("models_*.py")
    module.write_text("1/0")
    before = git(shop.root, "status", "--porcelain=v2", "--branch")
    models = deployed.read(shop.settings.project, "main")
    assert not models.fault
    assert {use: models.use(*use) for use in USES} == USES
    assert git(shop.root, "status", "--porcelain=v2", "--branch") == before
    assert git(shop.root, "worktree", "list").count("\n") == 1
    assert module.stem not in sys.modules


@pytest.mark.long
def test_models_below_the_top_of_the_repository(shop: Project) -> None:
    """The root of the project may be a folder of the repository, beside the package of its models."""
    top = shop.root / "top"
    top.mkdir()
    for path in [*shop.root.iterdir()]:
        if path != top:
            path.rename(top / path.name)
    (module,) = top.glob("models_*.py")
    module.rename(top.parent / module.name)
    ini = top / "alembic.ini"
    text = ini.read_text().replace("prepend_sys_path = .", "prepend_sys_path = ..")
    ini.write_text(text)
    commit(shop)
    moved = changed(shop.settings).project
    object.__setattr__(moved, "root", top)
    assert deployed.read(moved, "HEAD").use("public", "orders")


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "error": (lambda module: module.write_text("raise ValueError('no settings')"), "ValueError: no settings"),
    "missing": (lambda module: module.unlink(), "ModuleNotFoundError"),
    "no metadata": (lambda module: module.write_text("metadata = 3"), "AttributeError"),
    "silent": (lambda module: module.write_text("import os; os._exit(0)"), "Python ended with 0"),
    "not of this ref": (lambda module: module.write_text(
        f"import sys; sys.path.insert(0, {str(module.parent)!r}); import beside; metadata = beside.metadata"),
        "takes beside.py from"),
    "no alembic.ini": (lambda module: module.with_name("alembic.ini").unlink(), "no alembic.ini"),
}  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("fault", FAULTS)
def test_models_that_cannot_be_imported(shop: Project, fault: str) -> None:
    """It is said why, and everything may be used."""
    (module,) = shop.root.glob("models_*.py")
    apply, said = FAULTS[fault]
    apply(module)
    commit(shop)
    (shop.root / "beside.py").write_text("import sqlalchemy\nmetadata = sqlalchemy.MetaData()")
    models = deployed.read(shop.settings.project, "main")
    assert said in models.fault
    assert models.use("public", "whatever", "it is")
    assert "is not known" in models.evidence


def test_refs_that_are_not_there(shop: Project) -> None:
    """What is no commit, and a folder that is no repository, are errors that say what to type."""
    with pytest.raises(ExpectedError, match="what runs at main is not known") as error:
        deployed.read(shop.settings.project, "main")
    assert "not a git repository" in error.value.cause
    commit(shop)
    for ref in ("nowhere", "--all", "HEAD:alembic.ini", ""):
        with pytest.raises(ExpectedError, match="git knows no commit") as error:
            deployed.read(shop.settings.project, ref)
        assert error.value.hint.startswith("git fetch --all --tags")
