"""Whether models and history agree, and a target with its revision."""

from answers import yes
from commands import up
from conftest import Project, run_sql

from postgres_database.workflows import check

TABLE = "sa.Table('t', metadata, sa.Column('id', sa.Integer, primary_key=True))"
CREATE = "op.create_table('t', sa.Column('id', sa.Integer, primary_key=True))"


def test_models_and_history_that_agree(project: Project) -> None:
    """Models that the history leads to are clean, and nothing is said of them."""
    project.models(TABLE)
    project.script("aaaa", "", CREATE)
    result = check.compare(*project.settings)
    assert result.clean
    assert result.heads == ("aaaa",)


def test_models_that_are_ahead(project: Project) -> None:
    """A change of the models without a script is found, whatever the target holds."""
    run_sql(project.database, "CREATE TABLE t (id int PRIMARY KEY)")
    project.models(TABLE)
    result = check.compare(*project.settings)
    assert not result.clean
    assert result.differences is not None
    assert result.differences.detected == ("add table t",)
    assert "TABLE t" in [str(item.key) for item in result.differences.objects]


def test_difference_that_alembic_does_not_see(project: Project) -> None:
    """A constraint with another expression is found, though Alembic has no words for it."""
    project.models(TABLE[:-1] + ", sa.CheckConstraint('id > 1'))")
    project.script("aaaa", "", CREATE[:-1] + ", sa.CheckConstraint('id > 0', name='t_id_check'))")
    result = check.compare(*project.settings)
    assert result.differences is not None
    assert result.differences.detected == ()
    assert [str(item.key) for item in result.differences.objects] == ["TABLE t"]


def test_several_heads_are_told(project: Project) -> None:
    """With several heads there is nothing to compare with: they are named."""
    project.models(TABLE)
    project.script("aaaa")
    project.script("bbbb")
    result = check.compare(*project.settings)
    assert not result.clean
    assert result.heads == ("aaaa", "bbbb")


def test_column_of_a_type_that_sqlalchemy_does_not_know(project: Project) -> None:
    """It is named like any other, though its type cannot be."""
    project.models(TABLE)
    pair = (
        "CREATE TYPE pair AS (a int, b int); CREATE TABLE t (id int PRIMARY KEY, p pair, q pair[])"
    )
    project.script("aaaa", "", f"op.execute({pair!r})")
    result = check.compare(*project.settings)
    assert result.differences is not None
    unknown = "a type that SQLAlchemy does not know"
    assert sorted(result.differences.detected) == [
        f"remove column t.p ({unknown})",
        f"remove column t.q ({unknown})",
    ]


def test_target_alone(project: Project) -> None:
    """Models that are missing or broken are no fault of a target: it is as its revision says, or it is not."""
    project.script("aaaa", "", "op.execute('CREATE TABLE t (id int PRIMARY KEY)')")
    project.models("raise RuntimeError('never imported')")
    up(project.settings, project.database, confirm=yes)
    assert check.compare_target(*project.settings, project.database).clean
    run_sql(project.database, "ALTER TABLE t ADD odd int")
    result = check.compare_target(*project.settings, project.database)
    assert not result.clean
    assert result.target
    assert [str(drift.key) for drift in result.target.drifts.objects] == ["TABLE t"]
