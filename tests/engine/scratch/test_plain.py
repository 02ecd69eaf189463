"""How plain models name constraints is known by their files; any others are asked, and any change is noticed."""

import importlib
import os
import secrets
import sys
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from postgres_database.history import reads
from postgres_database.history.project import Project
from postgres_database.scratch import plain
from postgres_database.scratch.recipes import Equal, Recipe

BASE = """
from sqlalchemy import MetaData
from sqlalchemy.orm import DeclarativeBase
from {package}.naming import NAMING

class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING)
"""
MODELS = """
from __future__ import annotations
import datetime as dt
import enum
import fractions
import uuid
import sqlalchemy as sa
from sqlalchemy import func
from sqlalchemy.orm import Mapped, mapped_column, relationship
from typing import TYPE_CHECKING
from uuid import uuid4
from . import base
from .base import Base

class Kind(enum.StrEnum):
    OPEN = "open"

class User(Base):
    __tablename__ = "user"
    id: Mapped[int] = mapped_column(primary_key=True)
    open: Mapped[bool] = mapped_column(default=False)
    made: Mapped[dt.datetime] = mapped_column(server_default=func.now())
    seen: Mapped[dt.datetime] = mapped_column(server_default=sa.func.now())
    key: Mapped[uuid.UUID] = mapped_column(server_default=sa.text("gen_random_uuid()"))
    other: Mapped[uuid.UUID] = mapped_column(sa.Uuid, default=uuid4)
    changed: Mapped[dt.datetime] = mapped_column(onupdate=lambda: dt.datetime.now(dt.UTC), default=dt.datetime.now)
    others: Mapped[set["User"]] = relationship(viewonly=True, collection_class=set)

    def names(self, known: frozenset[str]) -> list[str]:
        return [key for key, _ in {'b': 2}.items() if key not in known] + sorted({"a": 1}.keys())

table = sa.Table("more", Base.metadata, sa.Column("id", sa.ForeignKey(User.id)))
"""
NAMING = "NAMING = {'ix': 'by_%(column_0_name)s', 'pk': '%(table_name)s_key'}\n"
INI = "[alembic]\nscript_location = migration\nprepend_sys_path = .\n"
ODD = {
    "the process environment": "import os\nX = os.environ.get('X')",
    "a variable": "from os import getenv\nX = getenv('X')",
    "a library of settings": "import dotenv\nX = dotenv.dotenv_values()",
    "the environment through a library": "import typing\nX = typing.sys.argv",
    "the clock": "import datetime\nX = datetime.datetime.now()",
    "the day": "from datetime import date\nX = date.today()",
    "a clock by another name": "from datetime import datetime\nclock = datetime.now\nX = clock()",
    "a random number": "import random\nX = random.random()",
    "the clock in a definition": (
        "from datetime import datetime\nfrom sqlalchemy import Column\nX = Column(server_default=str(datetime.now()))"
    ),
    "the clock in another call": "from datetime import datetime\nX = dict(default=datetime.now())",
    "a random UUID": "import uuid\nX = uuid.uuid4()",
    "one by another name": "from uuid import uuid4 as new\nX = new()",
    "a file": "with open('/dev/null') as file:\n    X = file.read()",
    "a file by pathlib": "from pathlib import Path\nX = Path('x').exists()",
    "its place": "X = __file__",
    "a set": "X = ' '.join({'a', 'b'})",
    "a set of a comprehension": "X = ' '.join({each for each in 'ab'})",
    "a set that is made": "X = ' '.join(set('ab'))",
    "a set that is handed over": "X = [*map(set, 'ab')]",
    "a set of a method": "X = frozenset.union",
    "a set with a type": "X = ' '.join(set[str](('a', 'b')))",
    "a set by another name": "Names = frozenset\nX = ' '.join(Names('ab'))",
    "a set of a field": (
        "from dataclasses import dataclass, field\n@dataclass\nclass X:\n    names: list = field(default_factory=set)"
    ),
    "a class of sets": "class Names(set):\n    pass",
    "a set of keys": "X = ' '.join({'a': 1}.keys() - {'b': 1}.keys())",
    "a set of keys with names": "a = {'a': 1}.keys()\nb = {'b': 1}.keys()\nX = ' '.join(a | b)",
    "a set of keys in place": "X = {'a': 1}.items()\nX |= {'b': 1}.items()",
    "a set of SQLAlchemy": "import sqlalchemy as sa\nX = [*sa.Table('x', sa.MetaData()).indexes]",
    "an order by numbers of objects": "X = sorted([int, str], key=id)",
    "numbers of objects": "X = [*map(hash, 'ab')]",
    "another default": (
        "from datetime import datetime\ndef Column(default): return default\nX = Column(default=datetime.now())"
    ),
    "another default that is imported": (
        "from sqlalchemy import Column\nfrom datetime import *\nX = Column(default=datetime.now())"
    ),
    "a default that is defined": (
        "from datetime import datetime\nfrom sqlalchemy import Column, Sequence\n"
        "X = Column(default=Sequence(f'x{datetime.now():%Y}'))"
    ),
    "a default that is asked": (
        "from datetime import datetime\nfrom sqlalchemy import Column\n"
        "X = str(Column(default=datetime.now()).default.arg)"
    ),
    "a default that is matched": (
        "from datetime import datetime\nfrom sqlalchemy import Column\n"
        "match Column(default=datetime.now()):\n    case Column(default=X):\n        pass"
    ),
    "a library that is changed": "import sqlalchemy as sa\nsa.Days = lambda default: default",
    "another func": "import datetime\ndef X(func): return func.now()\nX = X(datetime.datetime)",
    "a hash": "X = hash('a')",
    "the time zone by a number": "import datetime as dt\nX = dt.datetime(2000, 1, 1).timestamp()",
    "the time zone": "import datetime as dt\nX = dt.datetime(2000, 1, 1).astimezone()",
    "the machine": "import platform\nX = platform.node()",
    "the machine through a library": "import uuid\nX = uuid.platform.node()",
    "a module of a library": "from sqlalchemy.engine.default import random\nX = random.random()",
    "what SQLAlchemy has for itself": "from sqlalchemy import util\nX = util.to_set(['a', 'b'])",
    "a name that is computed later": "import operator, typing\nX = operator.attrgetter('s' + 'ys.argv')(typing)",
    "the place of a library": "import enum\nX = enum.__file__",
    "how it was loaded": "X = __spec__.origin",
    "a flag of Python": "X = __debug__",
    "a pool of connections": (
        "from sqlalchemy import create_pool_from_url\nX = create_pool_from_url"
    ),
    "a database": "import sqlalchemy\nX = sqlalchemy.create_engine('postgresql+psycopg2://')",
    "a name that is computed": "import uuid\nX = getattr(uuid, 'uuid' + '4')()",
    "a module that is computed": "X = __import__('o' + 's').environ",
    "a text that is run": "exec('import os')",
    "the engine": "from postgres_database.server import root\nX = root",
    "what is not there": "try:\n    import nowhere\nexcept ImportError:\n    pass",
}


@dataclass(frozen=True)
class Models:
    """A package of models."""

    project: Project
    package: Path

    def write(self, name: str, text: str) -> None:
        """Write a module, and forget what was loaded of the package."""
        self.package.mkdir(parents=True, exist_ok=True)
        (self.package / name).write_text(text.replace("{package}", self.package.name))
        for loaded in [*sys.modules]:
            if loaded.partition(".")[0] in {self.package.name, "odd"}:
                del sys.modules[loaded]
        importlib.invalidate_caches()

    def facts(self) -> dict[str, str]:
        """Load the models, and return what their naming convention depends on."""
        self.project.models()
        return {**plain.facts(self.project)}


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Models]:
    """Plain models in three modules."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(sys, "path", [*sys.path])
    name = f"models_{secrets.token_hex(6)}"
    (tmp_path / "alembic.ini").write_text(INI)
    made = Models(Project(tmp_path, f"{name}.all:Base"), tmp_path / name)
    texts = {"__init__.py": "", "base.py": BASE, "naming.py": NAMING, "all.py": MODELS}
    for file, text in texts.items():
        made.write(file, text)
    yield made
    made.write("__init__.py", "")  # and forget them


def test_plain_models(models: Models) -> None:
    """They use SQLAlchemy and types, and what they depend on is each of their files."""
    facts = models.facts()
    name = models.package.name
    files = {f"./{name}/{each}.py" for each in ("__init__", "all", "base", "naming")}
    assert {key for key in facts if "/" in key} == {f"./{name}", *files}
    assert plain.hold(facts, models.project)
    assert not plain.hold({}, models.project)


@pytest.mark.parametrize("text", ODD.values(), ids=ODD)
@pytest.mark.parametrize("name", ["naming.py", "__init__.py"])
def test_others_are_asked(models: Models, name: str, text: str) -> None:
    """Of models that use what their files do not say nothing is known, in whichever of them that is."""
    models.write(name, f"{text}\n{NAMING}")
    assert models.facts() == {}


@pytest.mark.parametrize("name", ["more_{package}", "{package}.sub", "{package}.sub.sub"])
def test_a_package_without_a_file_is_asked(models: Models, name: str) -> None:
    """Its modules may be in several places, and it may get a file, which then runs."""
    name = name.format(package=models.package.name)
    folder = models.project.root / name.replace(".", "/")
    folder.mkdir(parents=True)
    (folder / "names.py").write_text(NAMING)
    models.write("naming.py", f"from {name}.names import NAMING")
    assert models.facts() == {}


def test_what_may_come_into_a_package_without_a_file_is_asked(models: Models) -> None:
    """A module that is not there is imported once it is."""
    (models.package / "sub").mkdir()
    models.write(
        "naming.py", f"try:\n    from .sub.more import X\nexcept ImportError:\n    {NAMING}"
    )
    assert models.facts() == {}


def test_what_is_installed_and_env_py_imports_is_asked(models: Models) -> None:
    """It may change models, and its files are not among theirs."""
    (models.project.root / "migration").mkdir()
    (models.project.root / "migration" / "env.py").write_text("import psycopg2")
    assert models.facts() == {}


def test_what_env_py_imports_beside_them_counts(models: Models) -> None:
    """It is loaded with them, and may change them."""
    models.write("more.py", "import os\nX = os.environ.get('X')")
    (models.project.root / "migration").mkdir()
    (models.project.root / "migration" / "env.py").write_text(
        f"from {models.package.name} import more"
    )
    assert models.facts() == {}


def edited(name: str, text: str = "# more\n") -> Callable[[Models], object]:
    return lambda models: models.write(name, text)


def shadowed(models: Models) -> None:
    """Let another `fractions` be found first."""
    models.write("__init__.py", "")
    sys.modules.pop("fractions")
    (models.project.root / "fractions.py").write_text("")


def moved(models: Models) -> None:
    """Let another package of this name be found first."""
    other = models.project.root / "other"
    other.mkdir()
    models.package.rename(other / models.package.name)
    sys.path.insert(0, str(other))
    models.package.mkdir()
    for path in (other / models.package.name).glob("*.py"):
        models.write(path.name, path.read_text())


CHANGES: dict[str, Callable[[Models], object]] = {
    "the models": edited("all.py"),
    "the base": edited("base.py"),
    "the convention": edited("naming.py", NAMING.replace("by_", "ix_")),
    "the package": edited("__init__.py"),
    "a module more": edited("naming", "a package of this name would be found first"),
    "a module less": lambda models: (models.package / "base.py").unlink(),
    "a module in the place of a library": shadowed,
    "another package in front": moved,
    "another way to run Python": lambda _: sys.warnoptions.append("error"),
    "another Python": lambda _: pytest.MonkeyPatch().setattr(sys, "version", "4.0"),
}


def test_other_models_have_other_facts(models: Models) -> None:
    """What is known of one name is not known of another, such as that of TARGET_METADATA."""
    facts = models.facts()
    other = Project(models.project.root, f"{models.package.name}.all:table.metadata")
    assert not plain.hold(facts, other)


def test_models_that_have_changed_since_they_were_loaded(models: Models) -> None:
    """What a file says now is not what was loaded."""
    models.project.models()
    (models.package / "naming.py").write_text(NAMING.replace("by_", "ix_"))
    assert plain.facts(models.project) == {}


LOADED = reads.loaded
TASKS = (
    "from pathlib import Path\nfrom invoke import task\nfrom postgres_database.tasks import check\n"
)


def everything(models: Models, monkeypatch: pytest.MonkeyPatch, *loaded: str) -> dict[str, str]:
    """Load the models, and return what all of them depends on, where no other modules are loaded than these."""
    forget(models, monkeypatch, *loaded)
    models.project.models()
    return {**plain.everything(models.project)}


def forget(models: Models, monkeypatch: pytest.MonkeyPatch, *loaded: str) -> None:
    """Be a process that has loaded these modules, the package of the models, and no test."""
    mine = {models.package.name, "odd", *loaded}

    def of_process() -> dict[str, str]:
        return {name: path for name, path in LOADED().items() if name.partition(".")[0] in mine}

    monkeypatch.setattr(reads, "loaded", of_process)


def tasks(models: Models, monkeypatch: pytest.MonkeyPatch, text: str) -> str:
    """Load a module as invoke loads tasks.py, and return its name."""
    name = f"tasks_{models.package.name}"
    (models.project.root / f"{name}.py").write_text(text.replace("{package}", models.package.name))
    models.project.find_modules()
    monkeypatch.delitem(sys.modules, name, raising=False)
    importlib.import_module(name)
    monkeypatch.setitem(sys.modules, name, sys.modules[name])
    return name


def restarted(models: Models) -> None:
    """Forget the models, as a new process has not loaded them."""
    models.write("__init__.py", (models.package / "__init__.py").read_text())


def test_all_of_plain_models(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their files, those beside them, and the commands that were loaded are all that they depend on."""
    name = tasks(models, monkeypatch, TASKS)
    facts = everything(models, monkeypatch, name)
    restarted(models)
    assert plain.all_hold(facts, models.project)
    assert {f"./{name}.py", f"./{models.package.name}/**"} <= facts.keys()
    assert not plain.all_hold({}, models.project)


def in_folder(folder: Path) -> None:
    folder.mkdir()
    (folder / "more.py").write_text("class More:\n    __tablename__ = 'more'\n")


MORE_CHANGES: dict[str, Callable[[Models], object]] = {
    **CHANGES,
    "a table that is not imported": edited("more.py", "class More:\n    __tablename__ = 'more'\n"),
    "one in a folder of no package": lambda models: in_folder(models.package / "in"),
    "other commands": lambda models: (
        models.project.root / f"tasks_{models.package.name}.py"
    ).write_text(f"{TASKS}x = 1"),
}


def test_models_that_were_compared_name_constraints(models: Models) -> None:
    """Those that were found equal to a history named its constraints, whatever they were when its template was made."""
    recipe = Recipe({}, "what any others are asked for", equal=Equal("", (), models.facts(), ""))
    assert recipe.is_current(models.project)
    assert not replace(recipe, equal=None).is_current(models.project)
    models.write("naming.py", NAMING.replace("by_", "ix_"))
    assert not recipe.is_current(models.project)


@pytest.mark.parametrize("change", MORE_CHANGES)
def test_a_change_of_plain_models_is_noticed(
    models: Models, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files, what is imported in their place, and Python; all that models make depends on more than that."""
    monkeypatch.setattr(sys, "version", sys.version)
    monkeypatch.setattr(sys, "warnoptions", [*sys.warnoptions])
    all_facts = everything(models, monkeypatch, tasks(models, monkeypatch, TASKS))
    facts = plain.facts(models.project)
    restarted(models)
    assert plain.hold(facts, models.project)
    assert plain.all_hold(all_facts, models.project)
    MORE_CHANGES[change](models)
    importlib.invalidate_caches()
    assert change not in CHANGES or not plain.hold(facts, models.project)
    assert not plain.all_hold(all_facts, models.project)


@pytest.mark.parametrize("name", ["invoke", "postgres-database"])
def test_what_starts_a_command_is_no_module_of_the_team(name: str) -> None:
    """Else everything that is read would be read by it."""
    assert reads.is_foreign(os.path.join(sysconfig.get_path("scripts"), name))  # noqa: PTH118


def test_another_module_in_the_process_is_noticed(
    models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may change models, and nothing is known of it."""
    facts = everything(models, monkeypatch)
    restarted(models)
    forget(models, monkeypatch, tasks(models, monkeypatch, TASKS))
    assert not plain.all_hold(facts, models.project)


@pytest.mark.parametrize(
    "text",
    [
        "import sqlalchemy",
        "from {package}.base import Base",
        "import {package}.all",
        "import importlib\nimportlib.import_module('{package}.base')",
        "import alembic",
    ],
)
def test_commands_that_may_change_models(
    models: Models, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """Of models that other code in the process uses, or that uses SQLAlchemy, nothing is known."""
    name = tasks(models, monkeypatch, f"{TASKS}{text}\n")
    assert everything(models, monkeypatch, name) == {}
