"""Models that use objects of the history are created with these objects, and with no others of the history."""

import pytest
from commands import up
from conftest import Project, run_sql

from postgres_database.errors import ExpectedError
from postgres_database.workflows import check, revision

PROVIDES = """
SET check_function_bodies = off;
CREATE EXTENSION citext;
CREATE EXTENSION pg_trgm;
CREATE SCHEMA app;
CREATE TYPE app.span AS RANGE (subtype = numeric);
CREATE COLLATION app.german FROM "C";
CREATE DOMAIN app.short AS text CHECK (length(VALUE) < 9);
CREATE SEQUENCE app.numbers;
CREATE FUNCTION app.inner_one() RETURNS text LANGUAGE sql AS 'SELECT md5(random()::text)';
CREATE FUNCTION app.token(a app.short) RETURNS text LANGUAGE sql AS 'SELECT app.inner_one() FROM public.person';
COMMENT ON FUNCTION app.token(app.short) IS 'made by hand';
CREATE FUNCTION unneeded() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE TYPE unneeded_type AS ENUM ('x');
CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE TABLE person (
    id serial PRIMARY KEY, email citext, token text DEFAULT app.token('a'), span app.span, name text COLLATE app.german,
    short app.short, number int DEFAULT nextval('app.numbers'), mood mood
);
CREATE INDEX similar_names ON person USING gin (name gin_trgm_ops);
"""
MODELS = """
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import UserDefinedType

class Named(UserDefinedType):
    cache_ok = True
    def __init__(self, name): self.name = name
    def get_col_spec(self, **_): return self.name

metadata = sa.MetaData()
person = sa.Table(
    "person", metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("email", postgresql.CITEXT),
    sa.Column("token", sa.Text, server_default=sa.text("app.token('a')")), sa.Column("span", Named("app.span")),
    sa.Column("name", sa.Text(collation="german")), sa.Column("short", Named("app.short")),
    sa.Column("number", sa.Integer, server_default=sa.text("nextval('app.numbers')")),
    sa.Column("mood", sa.Enum({values}, name="mood")),
    sa.Index("similar_names", "name", postgresql_using="gin", postgresql_ops={{"name": "gin_trgm_ops"}}),
    {more}
)
"""


def models(project: Project, values: str = "'sad', 'happy'", more: str = "") -> None:
    """Write the models; the collation needs its schema."""
    text = MODELS.format(values=values, more=more)
    project.models(text.replace('sa.Text(collation="german")', "Named('text COLLATE app.german')"))


@pytest.fixture
def provided(project: Project) -> Project:
    """A project whose history creates the objects that its models use."""
    project.script("r1", "", f"op.run_sql({PROVIDES!r})", "op.execute('SELECT 1')")
    models(project)
    return project


def test_nothing_differs_for_what_the_history_has(provided: Project) -> None:
    """Types, functions, collations, sequences and extensions that only the history creates are no difference."""
    result = check.compare(*provided.settings)
    assert result.differences
    assert not result.differences.objects
    kept = {str(key) for key in result.differences.kept}
    assert {"FUNCTION unneeded()", "TYPE unneeded_type"} <= kept


@pytest.mark.long
def test_objects_of_models_are_not_taken_from_the_history(provided: Project) -> None:
    """A new value of an enum of the models is a difference; the script does not create objects of the history again."""
    models(provided, values="'sad', 'happy', 'calm'", more="sa.Column('more', sa.Integer),")
    written = revision.write(*provided.settings, "Calm")
    assert written.proved, written
    assert written.path
    text = (provided.root / written.path).read_text()
    assert "calm" in text
    assert "app.token" not in text
    assert "citext" not in text
    up(provided.settings, provided.database, confirm=lambda *_: True)
    assert check.compare(*provided.settings, provided.database).clean
    models(provided, values="'sad', 'happy', 'calm'")
    assert revision.write(*provided.settings, "Less").proved
    assert run_sql(provided.database, "SELECT to_regproc('app.token') IS NOT NULL") == [(True,)]


def test_missing_object_is_an_error(project: Project) -> None:
    """An object that neither models nor history create is an error with the server's message."""
    project.script("r1", "", "op.execute('CREATE TYPE x AS ENUM ()')")
    models(project)
    with pytest.raises(ExpectedError, match="cannot be created") as caught:
        check.compare(*project.settings)
    assert "citext" in caught.value.cause
    assert "invoke revision --empty --msg '…'" in caught.value.hint
    assert "op.execute('CREATE EXTENSION …')" in caught.value.hint
    assert project.settings.project.history.head == "r1"


def test_function_of_a_table_that_a_default_of_it_calls(project: Project) -> None:
    """A function of the history that takes rows of a table of the models is provided once the table is there."""
    made = """
        CREATE TABLE looped (r int, id int PRIMARY KEY);
        CREATE FUNCTION worth(looped) RETURNS int LANGUAGE sql AS 'SELECT 7';
        ALTER TABLE looped ALTER r SET DEFAULT worth(NULL::looped);
    """
    project.script("r1", "", f"op.run_sql({made!r})", "op.execute('SELECT 1')")
    project.models("""
        metadata = sa.MetaData()
        looped = sa.Table(
            "looped", metadata, sa.Column("r", sa.Integer),
            sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        )
        default = sa.DDL("ALTER TABLE looped ALTER r SET DEFAULT worth(NULL::looped)")
        sa.event.listen(looped, "after_create", default)
    """)
    result = check.compare(*project.settings)
    assert result.differences
    assert not result.differences.objects
