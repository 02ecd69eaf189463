"""What stands in a script: Alembic's operations and ours on `op`, and nothing that a newer version could move."""

import ast

import pytest
from commands import down, up
from conftest import Project, run_sql

from postgres_database.errors import ExpectedError
from postgres_database.workflows import revision

ALLOWED = {"sqlalchemy", "alembic"}

OLD_TYPE = """
    from postgres_database.operations import SqlType
    op.run_sql("CREATE DOMAIN label AS text")
    op.create_table("t", sa.Column("a", SqlType("label"), nullable=False))
"""
OLD_REFUSAL = """
    from postgres_database.errors import ExpectedError
    raise ExpectedError("this revision is not undone", cause="it is the first", hint="invoke current")
"""
BEFORE = """
    CREATE DOMAIN label AS text;
    CREATE TABLE old_name (id serial PRIMARY KEY, old_column text);
    CREATE TABLE "other Schema" (a int);
    CREATE SCHEMA s;
    CREATE TABLE s.t (old_column int)
"""
MODELS = """
    from sqlalchemy.dialects.postgresql import DOMAIN, INET
    sa.Table("new_name", metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("new_column", sa.Text),
        sa.Column("more", DOMAIN("label", sa.Text)), sa.Column("address", INET))
    sa.Table("other 'Schema'", metadata, sa.Column("a", sa.Integer))
    sa.Table("t", metadata, sa.Column("new_column", sa.Integer), schema="s")
"""
RENAMES = (
    "old_name:new_name",
    "old_name.old_column:new_column",
    "other Schema:other 'Schema'",
    "s.t.old_column:new_column",
)

AGNOSTIC = """
    from sqlalchemy.dialects.postgresql import JSONB
    class Agnostic(sa.types.TypeDecorator):
        impl = sa.Text
        cache_ok = True
        def __init__(self, at_home):
            super().__init__()
            self.at_home = at_home
        def load_dialect_impl(self, dialect):
            return dialect.type_descriptor(self.at_home if dialect.name == "postgresql" else sa.Text())
    sa.Table("t", metadata, sa.Column("id", Agnostic(sa.Uuid()), primary_key=True),
        sa.Column("more", Agnostic(JSONB())))
"""


def imported(text: str) -> set[str]:
    """Return the packages that a script imports."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(str(node.module).partition(".")[0])
    return found


def test_scripts_of_earlier_versions_run(project: Project) -> None:
    """What earlier versions wrote imports from the package, and goes on doing what it did."""
    project.script("aaaa", upgrade=OLD_TYPE, downgrade=OLD_REFUSAL)
    up(project.settings, project.database, target="head", confirm=lambda *_: True)
    assert run_sql(
        project.database,
        "SELECT format_type(atttypid, NULL) FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum = 1",
    ) == [("label",)]
    with pytest.raises(ExpectedError, match="this revision is not undone") as caught:
        down(project.settings, project.database, target="base", confirm=lambda *_: True)
    assert "it is the first" in str(caught.value)


@pytest.mark.long
def test_scripts_import_nothing_of_ours(project: Project) -> None:
    """A script imports sqlalchemy and alembic only: types and renames are operations on `op`."""
    project.script("aaaa", upgrade=f"op.execute({BEFORE!r})", downgrade="pass")
    project.models(MODELS)
    written = revision.write(*project.settings, "Rename", rename=RENAMES)
    assert written.proved, written
    assert written.path
    text = written.path.read_text()
    assert imported(text) == ALLOWED
    assert "op.sql_type('label')" in text
    assert "op.rename_table('old_name', 'new_name')" in text
    assert "op.alter_column('t', 'old_column',\n" in text
    assert "RENAME COLUMN" not in text
    up(project.settings, project.database, target="head", confirm=lambda *_: True)
    assert revision.write(*project.settings, "Nothing").path is None


def test_a_type_that_the_driver_made_has_a_table(project: Project) -> None:
    """A type of the application that is some type of PostgreSQL, such as SQLAlchemy's own GUID, is named in a table."""
    project.models(AGNOSTIC)
    written = revision.write(*project.settings, "A table")
    assert written.proved, written
    assert written.path
    text = written.path.read_text()
    assert "sa.Column('id', op.sql_type('UUID'), nullable=False)" in text
    assert "sa.Column('more', op.sql_type('JSONB'), nullable=True)" in text


def test_a_script_that_refuses(project: Project) -> None:
    """`op.refuse` ends a script with what it says, and nothing of the script stays."""
    project.script(
        "aaaa",
        upgrade="op.execute('CREATE TABLE t ()')\nop.refuse('not now', cause='because', hint='invoke current')",
    )
    with pytest.raises(ExpectedError, match="not now") as caught:
        up(project.settings, project.database, target="head", confirm=lambda *_: True)
    assert caught.value.cause.startswith("because\n(in migration/versions/aaaa.py")
    assert caught.value.hint == "invoke current"
    assert run_sql(project.database, "SELECT to_regclass('t')") == [(None,)]
    assert project.settings.project.history.heads == ("aaaa",)


MOODS = """
    mood = sa.Enum({labels}, name='mood')
    sa.Table('t', metadata, sa.Column('m', mood))
"""
USES = """
    sa.Table('u', metadata, sa.Column('id', sa.Integer, primary_key=True),
        sa.Column('m', mood, server_default={label!r}))
"""


@pytest.mark.long
@pytest.mark.parametrize("label", ["c", "it's", "back\\slash", 'say "c"'])
def test_table_beside_a_new_value_of_an_enum(project: Project, label: str) -> None:
    """A table whose default is a new value is Alembic's operation, after the value was committed."""
    project.models(MOODS.format(labels="'a', 'b'"))
    assert revision.write(*project.settings, "Two moods").proved
    project.models(
        MOODS.format(labels=f"'a', 'between', {label!r}, 'b'") + USES.format(label=label)
    )
    written = revision.write(*project.settings, "More moods")
    assert written.proved, written
    assert written.path
    upgrades = written.path.read_text().partition("def downgrade")[0]
    assert "autocommit_block" in upgrades
    assert "op.create_table('u'" in upgrades
    assert "CREATE TABLE" not in upgrades
