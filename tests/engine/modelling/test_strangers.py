"""Models that are not those of the database: refused by name instead of a script that drops it."""

import secrets

import pytest
from answers import yes
from commands import Heard, adopt
from conftest import Project, changed, run_sql

from postgres_database.errors import ExpectedError
from postgres_database.modelling import strangers
from postgres_database.workflows import check, revision
from postgres_database.workflows.adoption import BaselineResult

OTHER = 'sa.Table("other", metadata, sa.Column("id", sa.Integer, primary_key=True))'
PAY = 'sa.Table("pay", metadata, sa.Column("id", sa.Integer, primary_key=True))'


def adopted(project: Project, *, with_models: bool = False) -> BaselineResult:
    run_sql(
        project.database,
        "CREATE TABLE IF NOT EXISTS pay (id serial PRIMARY KEY)",
        "CREATE TABLE IF NOT EXISTS goods (id serial PRIMARY KEY)",
    )
    return adopt(project.settings, project.database, "Init", yes, with_models=with_models)


def test_models_of_another_database_are_no_next_step(project: Project) -> None:
    """With models that know none of its tables a database is adopted, but no revision leads to them."""
    project.models(OTHER)
    with pytest.raises(ExpectedError, match="know none of the tables") as caught:
        adopted(project, with_models=True)
    assert "2 tables: goods, pay" in caught.value.cause
    assert project.scripts() == []
    assert run_sql(project.database, "SELECT to_regclass('alembic_version')") == [(None,)]
    result = adopted(project)
    assert result.unlike_models is None
    assert "belong to another database" in result.notes[-1]
    found = check.compare(*project.settings)
    assert not found.clean
    assert "belong to another database" in found.unfit


@pytest.mark.long
@pytest.mark.parametrize("answer", ["no terminal", "no", "yes", "--drop-adopted"])
def test_what_an_adopted_database_brought_is_not_dropped_by_itself(
    project: Project, answer: str
) -> None:
    """Models that never had a table do not drop it; where nobody can answer, a flag can."""
    project.models(PAY)
    adopted(project)
    before = project.scripts()
    flag = answer == "--drop-adopted"
    asked: list[str] = []

    def ask(question: str) -> bool:
        asked.append(question)
        return answer == "yes"

    def write() -> None:
        revision.write(
            *project.settings,
            "Next",
            listener=Heard(choose=ask if answer in {"yes", "no"} else None),
            drop_adopted=flag,
        )

    if answer in {"yes", "--drop-adopted"}:
        write()
        scripts = [(project.versions / name).read_text() for name in project.scripts()]
        assert any("op.drop_table(" in each for each in scripts)
    else:
        with pytest.raises(ExpectedError, match="do not have the table goods") as caught:
            write()
        assert "--drop-adopted" in caught.value.hint
        assert project.scripts() == before
    assert len(asked) == (answer in {"yes", "no"})


def test_models_without_tables_do_not_agree_with_anything(project: Project) -> None:
    """A MetaData that nothing was defined on is a mistake, not a wish for an empty database."""
    project.models("")
    result = check.compare(*project.settings)
    assert "have no tables" in result.unfit
    assert not result.clean
    with pytest.raises(ExpectedError, match="have no tables"):
        revision.write(*project.settings, "First")


@pytest.mark.long
@pytest.mark.parametrize(
    ("text", "table"),
    [
        ('class Late(Base):\n    __tablename__ = "late"\n    id = sa.Column(sa.Integer, primary_key=True)\n', "late"),
        ('class Late(Base):\n    __tablename__: str = "late"\n', "late"),
        ('late = sa.Table("late", Base.metadata, sa.Column("id", sa.Integer), schema="s")\n', "s.late"),
        ("class Late(SQLModel, table=True):\n    id: int\n", "late"),
        ("<<<<<<< HEAD\n__tablename__ = 'late'\n", "what cannot be read"),
        ('late = sa.Table("early", Base.metadata)\n', ""),
        ('revision, down_revision = "a", None\nlate = sa.Table("late", Base.metadata)\n', ""),
        ('from rich.table import Table\nlate = Table("late")\n', ""),
    ],
)  # fmt: skip
def test_a_module_of_the_models_that_was_not_imported_is_named(
    project: Project, text: str, table: str
) -> None:
    """A table that is defined beside the models and not known to them would be dropped, or never made."""
    name = f"shop_{secrets.token_hex(4)}"
    package = project.root / name / "models"
    (package / "deep").mkdir(parents=True)
    head = "import sqlalchemy as sa\nfrom sqlalchemy.orm import DeclarativeBase\n"
    (project.root / name / "__init__.py").touch()
    (package / "__init__.py").write_text(
        f"{head}class Base(DeclarativeBase): pass\n"
        'sa.Table("early", Base.metadata, sa.Column("id", sa.Integer, primary_key=True))\n'
    )
    (package / "deep" / "late.py").write_text(text)
    settings = changed(project.settings, target_metadata=f"{name}.models:Base.metadata")
    settings.project.models()
    found = strangers.unimported(settings.project, settings.project.models())
    assert found == ([strangers.Unread(package / "deep" / "late.py", (table,))] if table else [])
    excluded = changed(settings, exclude=("*late", "what*"))
    assert not strangers.unimported(excluded.project, excluded.project.models())
    if table == "late":
        assert (
            f"{name}/models/deep/late.py was not imported; it defines late"
            in check.compare(*settings).unfit
        )
