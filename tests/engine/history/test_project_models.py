"""Models that are several MetaData."""

import secrets

import pytest
from commands import up
from conftest import Project, changed

from postgres_database.errors import ExpectedError
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
