"""A team whose script.py.mako writes no downgrade()."""

import pytest
from answers import yes
from commands import down, up
from conftest import Project, changed, run_sql

from postgres_database.errors import ExpectedError
from postgres_database.history.graph import Revision
from postgres_database.preflight.preview import printed
from postgres_database.workflows import revision

TEMPLATE = '''"""${message}"""
from alembic import op
import sqlalchemy as sa
${imports if imports else ""}
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}


def upgrade():
    ${upgrades if upgrades else "pass"}
'''


def test_scripts_without_a_downgrade(project: Project) -> None:
    """A script is proved up alone, and what would undo it says before anything runs that nothing does."""
    (project.root / "migration" / "script.py.mako").write_text(TEMPLATE)
    project.models('sa.Table("a", metadata, sa.Column("id", sa.Integer))')
    written = revision.write(*project.settings, "A table")
    assert written.proved, written
    assert written.one_way
    project.settings = changed(project.settings)  # reads the scripts anew
    up(project.settings, project.database, confirm=yes)
    (plan,) = printed(project.settings.project, "downgrade", written_plan(project))
    assert plan.refusal
    with pytest.raises(ExpectedError, match="is not written") as caught:
        down(project.settings, project.database, confirm=yes)
    assert caught.value.cause.startswith("its script has no downgrade()")
    assert caught.value.hint.startswith("invoke edit --target ")
    assert run_sql(project.database, "SELECT count(*) FROM a") == [(0,)]


def written_plan(project: Project) -> tuple[Revision, ...]:
    """Return the scripts of a project, the last one first."""
    return project.settings.project.history.revisions[::-1]
