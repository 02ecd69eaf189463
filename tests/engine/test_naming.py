"""Scripts run under the naming convention of the models, everywhere, as they do under plain Alembic."""

import os
import subprocess
import sys
import textwrap

import pytest
from commands import down, up
from conftest import Project, changed, fresh, run_sql

from postgres_database.errors import ExpectedError
from postgres_database.running import runner
from postgres_database.schema import dump, snapshot
from postgres_database.scratch import databases
from postgres_database.server.connection import Database
from postgres_database.sql.syntax import statements
from postgres_database.workflows import check

CONVENTION = """
metadata = sa.MetaData(
    schema={schema!r},
    naming_convention={{
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }},
)
metadatas = [metadata]
"""
ENV = """
from alembic import context
import sqlalchemy as sa
import {module}

def run(**how):
    context.configure(target_metadata={module}.{name}, **how)
    with context.begin_transaction():
        context.run_migrations()

with sa.create_engine("postgresql+psycopg2://", connect_args={parts!r}).connect() as connection:
    run(connection=connection)
    connection.commit()
"""
FIRST = """
op.create_table(
    "author", sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.Text, index=True),
)
op.create_table(
    "book",
    sa.Column("id", sa.Integer), sa.Column("isbn", sa.Text), sa.Column("code", sa.Text, unique=True),
    sa.Column("pages", sa.Integer), sa.Column("old", sa.Integer),
    sa.Column("kind", sa.Enum("a", "b", name="kind", native_enum=False, create_constraint=True)),
    sa.Column("sold", sa.Boolean(name="sold_or_not", create_constraint=True)),
    sa.Column("author", sa.Integer, sa.ForeignKey("author.id")),
    sa.PrimaryKeyConstraint("id"), sa.UniqueConstraint("isbn"),
    sa.CheckConstraint("pages > 0", name="pages_positive"),
    sa.CheckConstraint("pages < 9999", name=op.f("few_pages")), sa.CheckConstraint("old > 1", name="old"),
)
op.create_table("loan", sa.Column("id", sa.Integer, nullable=False), sa.Column("book", sa.Integer))
op.create_table("gone", sa.Column("a", sa.Integer, unique=True))
"""
SECOND = """
op.add_column("book", sa.Column("shelf", sa.Integer, unique=True))
op.add_column("book", sa.Column("room", sa.Integer, index=True))
op.add_column("book", sa.Column("editor", sa.Integer, sa.ForeignKey("author.id")))
op.create_primary_key(None, "loan", ["id"])
op.create_index(None, "book", ["pages", "isbn"])
op.create_unique_constraint(None, "loan", ["book"])
op.create_unique_constraint(op.f("as_it_is"), "loan", ["book", "id"])
op.create_foreign_key(None, "loan", "book", ["book"], ["id"])
op.create_check_constraint("some", "loan", "book > 0")
op.drop_constraint("old", "book", type_="check")
op.drop_constraint("uq_book_isbn", "book", type_="unique")
op.drop_table("gone")
"""
BATCH = """
with op.batch_alter_table("book") as batch:
    batch.create_check_constraint("batch", "pages <> 13")
    batch.create_unique_constraint(None, ["pages"])
    batch.add_column(sa.Column("page", sa.Integer, index=True))
    batch.drop_constraint("few_pages", type_="unique")
op.alter_column("loan", "book", type_=sa.BigInteger(), nullable=False)
op.get_bind().execute(sa.text("CREATE TABLE by_hand (a int UNIQUE)")) if op.get_bind() is not None else None
"""


def write(project: Project, *, schema: str | None = None) -> None:
    """Write a history with each operation that names something."""
    project.models(CONVENTION.format(schema=schema))
    scripts(project, online=False)


def scripts(project: Project, *, online: bool) -> None:
    """Write the scripts, with the second as an online block or without."""
    project.script(
        "r1", "", FIRST, "op.drop_table('loan'); op.drop_table('book'); op.drop_table('author')"
    )
    block = f"with op.online():\n{textwrap.indent(SECOND, '    ')}"
    project.script("r2", "r1", block if online else SECOND)
    project.script("r3", "r2", BATCH)


def made(database: Database) -> snapshot.Snapshot:
    """Return what a database is."""
    return snapshot.parse(dump.take(database))


def brought_up(project: Project) -> snapshot.Snapshot:
    """Bring the target to the head and return what it is."""
    up(project.settings, project.database, confirm=lambda *_: True)
    return made(project.database)


def of_alembic(project: Project, database: Database, name: str) -> snapshot.Snapshot:
    """Run the same scripts by plain Alembic and return what they make."""
    plain = project.root / "plain"
    plain.mkdir()
    module = project.settings.project.target_metadata.partition(":")[0]
    parts = database.dsn.parts
    (plain / "env.py").write_text(ENV.format(module=module, name=name, parts=dict(parts)))
    ini = project.root / "plain.ini"
    ini.write_text(
        f"[alembic]\nscript_location = {plain}\nversion_locations = {project.versions}\n"
        f"prepend_sys_path = {project.root}\npath_separator = os\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "alembic", "-c", ini, "upgrade", "head"],
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return made(database)


def made_by_print(project: Project, database: Database) -> snapshot.Snapshot:
    """Run what the history is printed as, and return what it makes."""
    text = runner.offline(project.settings.project, "upgrade", "base", "head")
    with database.connect(autocommit=True, usual_path=True) as connection:
        for statement in statements(text):
            connection.connection.cursor().execute(statement)
    return made(database)


@pytest.mark.parametrize("name", ["metadata", "metadatas"])
def test_upgrade_makes_what_plain_alembic_makes(
    project: Project, server: Database, name: str
) -> None:
    """Whatever names something is named as by plain Alembic, which takes nothing from a list, and no schema."""
    write(project, schema="x")
    if name == "metadatas":  # without the convention, the others drop what has other names
        project.script("r2", "r1")
        project.script("r3", "r2")
    models = project.settings.project.target_metadata.partition(":")[0]
    project.settings = changed(project.settings, target_metadata=f"{models}:{name}")
    with fresh(server) as other:
        assert brought_up(project) == of_alembic(project, other, name)
    found = {str(key) for key in made(project.database).objects}
    assert ("CONSTRAINT book uq_book_code" in found) == (name == "metadata"), found


def test_every_way_to_run_a_script_names_alike(project: Project, server: Database) -> None:
    """An online block, a printed script, a scratch database and a downgrade name as an upgrade does."""
    write(project)
    upgraded = brought_up(project)
    with fresh(server) as printed:
        assert made_by_print(project, printed) == upgraded
    scripts(project, online=True)
    with fresh(server) as online:
        project.database = online
        assert brought_up(project) == upgraded
        with fresh(server) as printed:
            assert made_by_print(project, printed) == upgraded
        with databases.session(*project.settings) as session:
            assert made(session.at_head(project.settings.project)) == upgraded
        checked = check.compare(*project.settings, online).target
        assert checked
        assert not checked.drifts.objects
        down(project.settings, online, target="base", confirm=lambda *_: True)


def test_models_are_loaded_only_where_a_script_names_something(project: Project) -> None:
    """A script of SQL needs no models; where they are needed and cannot be loaded, nothing of the script is done."""
    project.settings = changed(project.settings, target_metadata="no_such.module:metadata")
    project.script("r1", "", "op.execute('CREATE TABLE a (b int UNIQUE)')")
    brought_up(project)
    project.script("r2", "r1", "op.execute('DROP TABLE a'); op.create_index(None, 'a', ['b'])")
    with pytest.raises(ExpectedError) as caught:
        brought_up(project)
    assert caught.value.what == "the models no_such.module:metadata cannot be loaded"
    assert "No module named 'no_such'" in caught.value.cause
    assert "TARGET_METADATA" in caught.value.hint
    assert run_sql(
        project.database, "SELECT to_regclass('a') IS NULL, version_num FROM alembic_version"
    ) == [(False, "r1")]
    with pytest.raises(ExpectedError, match="cannot be loaded"):
        runner.offline(project.settings.project, "upgrade", "r1", "r2")
