"""Models that are several MetaData."""

import secrets
from pathlib import Path

import pytest
from commands import up
from conftest import Project, changed

from postgres_database.errors import ExpectedError
from postgres_database.history import project_models
from postgres_database.workflows import check, revision

SEVERAL = """
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase

class Base(DeclarativeBase): ...

first, second = sa.MetaData(), Base.metadata
two = sa.Table("two", second, sa.Column("id", sa.Integer, primary_key=True))
one = sa.Table(
    "one", first, sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("two", sa.Integer, sa.ForeignKey(two.c.id)), sa.Column("name", sa.Text, info={"renamed_from": "title"}),
)
models = [first, Base]
twice = [first, sa.MetaData()]
sa.Table("one", twice[1])
others = (first, 7)
nothing = []
"""


@pytest.fixture
def several(project: Project) -> Project:
    """A project whose models are a list, the first of which refers to the second."""
    module = f"m_{secrets.token_hex(6)}"
    (project.root / f"{module}.py").write_text(SEVERAL)
    project.settings = changed(project.settings, target_metadata=f"{module}:models")
    return project


@pytest.mark.long
def test_a_list_works_everywhere(several: Project) -> None:
    """The next script makes the tables of all; hints for renames and differences are found in each."""
    several.script(
        "r1",
        "",
        "op.create_table('one', sa.Column('id', sa.Integer, primary_key=True), sa.Column('title', sa.Text))",
    )
    written = revision.write(*several.settings, "Two")
    assert written.proved, written
    assert "column one.title:name" in " ".join(written.renamed)
    assert "add table two" in written.detected
    up(several.settings, several.database, confirm=lambda *_: True)
    assert check.compare(*several.settings, several.database).clean


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("twice", "more than one MetaData of the list has the table one"),
        ("others", "it is a tuple of MetaData, int, not a MetaData"),
        ("nothing", "it is a list of nothing, not a MetaData"),
    ],
)
def test_a_list_of_something_else(several: Project, name: str, cause: str) -> None:
    """A list with something else in it, without anything, or with a table twice is refused."""
    module = several.settings.project.target_metadata.partition(":")[0]
    settings = changed(several.settings, target_metadata=f"{module}:{name}")
    with pytest.raises(ExpectedError, match="cannot be loaded") as caught:
        settings.project.models()
    assert cause in caught.value.cause


FAULTS = {
    "an attribute": ("import os\n\nx = os.nothing_like_that\n", "m_{0}.py, line 3", "python -c 'import m_{0}'"),
    "a column": ("import sqlalchemy as sa\nsa.Table('t', sa.MetaData(), 7)\n", "m_{0}.py, line 2", "python -c"),
    "another module": ("import m_{0}_more\n", "m_{0}_more.py, line 2", "python -c"),
    "a variable": ("import os\n\nkey = os.environ['SHOP_{0}']\n", "m_{0}.py, line 3", "export SHOP_{0}=…"),
    "a variable of a file": (
        "import os\nkey = os.environ['SHOP_KEY_OF_A_FILE']\n", "m_{0}.py, line 2", "set -a; . ./.env.shop; set +a",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "place", "hint"), FAULTS.values(), ids=FAULTS)
def test_what_is_wrong_in_models_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, place: str, hint: str
) -> None:
    """File and line are those of the project, and a variable that only a settings file has is said to be there."""
    name = secrets.token_hex(6)
    (tmp_path / f"m_{name}.py").write_text(text.format(name))
    (tmp_path / f"m_{name}_more.py").write_text("\n1 / 0\n")
    (tmp_path / ".env.shop").write_text("SHOP_KEY_OF_A_FILE=hush\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ExpectedError) as caught:
        project_models.load(tmp_path, f"m_{name}:metadata")
    assert f"(in {place.format(name)})" in caught.value.cause
    assert caught.value.hint.startswith(hint.format(name))
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("class Base(DeclarativeBase): pass\nclass T(Base): __table__ = sa.Table('t', Base.metadata, {})", "Base"),
        ("t = sa.Table('t', sa.MetaData(), {})\nours = t.metadata", "ours"),
        ("x = 1", "…"),
    ],
    ids=["a declarative base", "a MetaData", "nothing"],
)  # fmt: skip
def test_another_name_is_advised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, name: str
) -> None:
    """Where the module can be imported, the advice is the name in it that stands for all models, if there is one."""
    module = f"m_{secrets.token_hex(6)}"
    key = "sa.Column('id', sa.Integer, primary_key=True)"
    head = "import sqlalchemy as sa\nfrom sqlalchemy.orm import DeclarativeBase\n"
    (tmp_path / f"{module}.py").write_text(head + text.replace("{}", key))
    monkeypatch.syspath_prepend(tmp_path)
    for wrong in ("nowhere", "sa"):
        with pytest.raises(ExpectedError) as caught:
            project_models.load(tmp_path, f"{module}:{wrong}")
        assert caught.value.hint.startswith(
            f"${{EDITOR:-vi}} alembic.ini   (target_metadata = {module}:{name};"
        )


@pytest.mark.parametrize(
    "how", ["import {}.tables", "from {} import tables", "from {}.tables import *"]
)
def test_models_that_env_py_imports(
    project: Project, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Tables belong to the models where env.py, and not the module of the base, imports what defines them."""
    package = f"p_{secrets.token_hex(6)}"
    (project.root / package).mkdir()
    (project.root / package / "__init__.py").write_text(
        "import sqlalchemy as sa\nmetadata = sa.MetaData()\n"
    )
    tables = project.root / package / "tables.py"
    tables.write_text(
        f"import sqlalchemy as sa\nimport {package}\nsa.Table('t', {package}.metadata)\n"
    )
    env = project.root / "migration" / "env.py"
    env.write_text(f"{how.format(package)}\n{env.read_text()}")
    monkeypatch.syspath_prepend(project.root)
    loaded = project_models.load(project.root, f"{package}:metadata")
    assert "t" in loaded.tables  # type: ignore[union-attr]


def test_models_in_a_module_of_a_package(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name may lead through a module that its package does not import, as in `from shop import models`."""
    package = f"p_{secrets.token_hex(6)}"
    (project.root / package).mkdir()
    (project.root / package / "__init__.py").write_text("")
    (project.root / package / "models.py").write_text(SEVERAL)
    (project.root / package / "broken.py").write_text("import no_such_module\n")
    monkeypatch.syspath_prepend(project.root)
    loaded = project_models.load(project.root, f"{package}:models.Base.metadata")
    assert "two" in loaded.tables  # type: ignore[union-attr]
    for name, cause in ("nothing", f"module '{package}' has no attribute"), ("broken", "no_such"):
        with pytest.raises(ExpectedError) as caught:
            project_models.load(project.root, f"{package}:{name}.Base")
        assert cause in caught.value.cause
