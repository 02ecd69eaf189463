"""Whether models and history agree, and a target with its revision."""

import importlib
import secrets
import sys
from unittest import mock

import pytest
from answers import yes
from commands import up
from conftest import Project, changed, run_sql

from postgres_database.reviewing import cautions
from postgres_database.scratch import provided
from postgres_database.server.connection import Database
from postgres_database.workflows import check
from postgres_database.workflows.check import CheckResult

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


def test_models_that_were_equal_are_not_created_again(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as nothing has changed the answer is the same, without a database of the models; with a target, too."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    project.models(TABLE)
    by_hand = "op.execute('CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$SELECT 1$$')"
    script = project.script("aaaa", "", f"{CREATE}\n{by_hand}  # {secrets.token_hex(8)}")
    name = project.settings.project.target_metadata.partition(":")[0]
    models = project.root / f"{name}.py"
    compared = check.compare(*project.settings)
    assert compared.differences is not None
    assert [str(key) for key in compared.differences.kept] == ["FUNCTION f()"]
    up(project.settings, project.database)
    with_target = check.compare(*project.settings, project.database)
    monkeypatch.setattr(cautions, "find", lambda *_, **__: ())  # it runs the last script

    def made(target: Database | None = None, *, fresh: bool = False) -> tuple[CheckResult, bool]:
        """Compare, and tell whether the models were created."""
        sys.modules.pop(name, None)
        importlib.invalidate_caches()
        with monkeypatch.context() as patch:
            build = mock.Mock(wraps=provided.build)
            patch.setattr(provided, "build", build)
            return check.compare(*project.settings, target, fresh=fresh), build.called

    assert made() == (compared, False)
    assert made(target=project.database) == (with_target, False)
    assert made(fresh=True) == (compared, True)
    assert made() == (compared, False)
    models.write_text(models.read_text().replace("primary_key", "comment='x', primary_key"))
    result, created = made()
    assert created
    assert not result.clean
    models.write_text(models.read_text().replace("comment='x', ", ""))
    assert made() == (compared, False)
    run_sql(project.database, "COMMENT ON TABLE t IS 'x'")
    result, created = made(target=project.database)
    assert (result.agree, result.clean, created) == (True, False, False)
    script.write_text(script.read_text().replace("SELECT 1", "SELECT 2"))
    assert made() == (compared, True)
    project.script("bbbb", "aaaa", "op.add_column('t', sa.Column('a', sa.Integer))")
    result, created = made()
    assert (result.clean, created) == (False, True)


def test_a_module_of_models_that_is_not_imported_is_found_each_time(project: Project) -> None:
    """A module beside the models that has a table, and is not imported, is found however often they were equal."""
    name = f"app_{secrets.token_hex(6)}"
    package = project.root / name
    package.mkdir()
    head = "import sqlalchemy as sa\nmetadata = sa.MetaData()\n"
    (package / "__init__.py").write_text(head + TABLE)
    project.settings = changed(project.settings, target_metadata=f"{name}:metadata")
    project.script("aaaa", "", CREATE.replace("primary_key=True)", "primary_key=True)"))
    assert check.compare(*project.settings).clean
    assert check.compare(*project.settings).clean
    (package / "more.py").write_text(head + TABLE.replace("'t'", "'u'"))
    assert "more.py was not imported" in check.compare(*project.settings).unfit
