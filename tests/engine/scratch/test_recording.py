"""Models that were compared need not be created again while they would send the same, and any change is noticed."""

import errno
import importlib
import multiprocessing.process
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from conftest import Project, changed, run_sql
from sqlalchemy.ext.compiler import deregister
from sqlalchemy.schema import CreateTable

from postgres_database.schema.scope import Scope
from postgres_database.schema.snapshot import Key
from postgres_database.scratch import databases, known, provided, recipes, recording, templates
from postgres_database.scratch.known import Template
from postgres_database.scratch.recipes import Equal, Recipe
from postgres_database.scratch.recording import Heard, Recording
from postgres_database.scratch.templates import Place
from postgres_database.server.version_table import VersionTable

PLACE = Place("me", "UTF8", "", unsafe=True, owner="", session="")
MODELS = """
import os
from pathlib import Path
from sqlalchemy import event
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.schema import CreateTable

class Code(sa.types.UserDefinedType):
    cache_ok = True
    def get_col_spec(self, **_):
        return "varchar(7)"

kind = sa.Enum("a", "b", name="kind")
parent = sa.Table("parent", metadata, sa.Column("id", sa.BigInteger, primary_key=True), sa.Column("k", kind))
child = sa.Table(
    "child", metadata,
    sa.Column("id", sa.Integer, sa.Identity(start=1), primary_key=True),
    sa.Column("parent", sa.ForeignKey("parent.id", ondelete="CASCADE")),
    sa.Column("k", kind, server_default="a"),
    sa.Column("size", sa.Numeric(8, 2), nullable=False, comment="cm"),
    sa.Column("twice", sa.Numeric, sa.Computed("size * 2", persisted=True)),
    sa.Column("code", Code),
    sa.CheckConstraint("size > 0", name="size"),
    sa.UniqueConstraint("parent", "size"),
    sa.Index("by_size", "size", postgresql_where=sa.text("size > 1")),
    comment="children",
)
event.listen(metadata, "after_create", sa.DDL("CREATE VIEW v AS SELECT id FROM child"))

@event.listens_for(child, "after_create")
def more(target, connection, **_):
    connection.execute(sa.text("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'"))
    connection.exec_driver_sql((Path(__file__).parent / "more.sql").read_text())
"""
MORE = "CREATE POLICY p ON child USING (true)"
UNLOGGED = """
@compiles(CreateTable)
def unlogged(element, compiler, **options):
    return compiler.visit_create_table(element, **options).replace('CREATE', 'CREATE UNLOGGED')
"""
CHANGES = {
    "a column": (
        'sa.Column("code", Code),',
        'sa.Column("code", Code), sa.Column("more", sa.Text),',
    ),
    "a type": ("sa.BigInteger", "sa.Integer"),
    "a precision": ("8, 2", "8, 3"),
    "a type of one's own": ("varchar(7)", "varchar(8)"),
    "NOT NULL": ("nullable=False, ", ""),
    "a default": ('server_default="a"', 'server_default="b"'),
    "an enum": ('"a", "b", name', '"a", "b", "c", name'),
    "the order of an enum": ('"a", "b", name', '"b", "a", name'),
    "an identity": ("start=1", "start=2"),
    "an expression": ("size * 2", "size * 3"),
    "a check": ("size > 0", "size > 9"),
    "a key": ('"parent", "size"', '"size"'),
    "ON DELETE": ("CASCADE", "SET NULL"),
    "a comment": ('comment="cm"', 'comment="mm"'),
    "the comment of a table": ('"children"', '"child"'),
    "an index": ('"by_size", "size"', '"by_size", "size", "id"'),
    "the condition of an index": ("size > 1", "size > 2"),
    "an option": ('comment="children"', 'comment="children", postgresql_with={"fillfactor": 70}'),
    "a schema": ('sa.Column("k", kind))', 'sa.Column("k", kind), schema="s")'),
    "the name of a constraint": ('name="size"', 'name="sizes"'),
    "the naming convention": (
        "import os\n",
        'import os\nmetadata.naming_convention = {"uq": "u_%(table_name)s"}\n',
    ),
    "a table less": ('"child", metadata', '"child", sa.MetaData()'),
    "a view": ("SELECT id FROM child", "SELECT id, size FROM child"),
    "a function": ("SELECT 1", "SELECT 2"),
    "a statement less": ("connection.execute(sa.text(", "str(sa.text("),
    "a statement by the environment": (
        "SELECT 1",
        "SELECT \" + os.environ.get('ANSWER', '1') + \"",
    ),
    "how a table is written": (
        "event.listen(metadata",
        UNLOGGED + "event.listen(metadata",
    ),
    "a condition": ('FROM child"))', 'FROM child").execute_if(callable_=lambda *_, **__: False))'),
    "what the dialect says": (
        "SELECT 1",
        'SELECT " + str(connection.dialect.server_version_info[0]) + "',
    ),
}
"""What changes in the models: a text, and what stands in its place."""
SECRETIVE = {
    "rows are read": "connection.execute(sa.text('SELECT 1')).all()",
    "rows are read, whatever happens": "try: connection.execute(sa.text('SELECT 1')).all()\n    except Exception: pass",
    "rows may be read": "connection.execute(sa.text('SELECT 1'))",
    "the catalog is inspected": "sa.inspect(connection).has_table('x')",
    "a setting is read": "connection.get_isolation_level()",
    "a block runs": "connection.execute(sa.text('DO $$ BEGIN NULL; END $$'))",
    "rows are written": "connection.execute(sa.text('INSERT INTO parent VALUES (1)'))",
    "a statement with values": "connection.exec_driver_sql('COMMENT ON TABLE child IS %s', ('x',))",
    "a day with an hour": "connection.exec_driver_sql(\"CREATE TABLE d (d timestamp DEFAULT 'today04:05')\")",
    "a day in a range": "connection.exec_driver_sql(\"CREATE VIEW r AS SELECT '[today,)'::daterange AS r\")",
    "an event trigger": (
        "connection.exec_driver_sql(\"CREATE FUNCTION g() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'\");"
        " connection.exec_driver_sql('CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION g()')"
    ),
    "a materialized view": "connection.exec_driver_sql('CREATE MATERIALIZED VIEW m AS SELECT 1 AS a')",
    "rows are written by the model": "connection.execute(parent.insert(), [{'id': 1}, {'id': 2}])",
    "a role is made": "connection.execute(sa.text('SET ROLE NONE; SELECT 1'))",
    "a cursor of the driver's own": "connection.connection.cursor('named')",
    "a cursor made by hand": (
        "import psycopg2.extensions as e;"
        " e.cursor(connection.connection.driver_connection).execute('SELECT 1')"
    ),
    "the connection is asked": "connection.connection.driver_connection.info.backend_pid",
    "the end of the transaction": "connection.connection.driver_connection.rollback()",
    "the end of the transaction, by SQLAlchemy": "connection.connection.commit()",
    "a mode of the connection": (
        "try: connection.connection.driver_connection.autocommit = True\n    except Exception: pass"
    ),
    "the notices": "connection.connection.driver_connection.notices",
    "a connection of one's own": "connection.engine.connect().close()",
    "several statements at once": "connection.exec_driver_sql('CREATE TABLE a (); CREATE TABLE b ()')",
    "a day": "connection.exec_driver_sql(\"CREATE TABLE d (d date DEFAULT 'today')\")",
    "a moment in another spelling": "connection.exec_driver_sql(\"CREATE TABLE d (d date DEFAULT ' Now ')\")",
    "a bound that is computed": (
        "connection.exec_driver_sql('CREATE TABLE d (d date) PARTITION BY RANGE (d)');"
        " connection.exec_driver_sql('CREATE TABLE e PARTITION OF d FOR VALUES FROM (current_date) TO (MAXVALUE)')"
    ),
    "a table of a query": "connection.exec_driver_sql('CREATE TABLE q AS SELECT current_setting($$server_version$$)')",
    "an error that is caught": (
        "from sqlalchemy.exc import DBAPIError\n"
        "    try:\n        with connection.begin_nested(): connection.exec_driver_sql('CREATE TABLE parent ()')\n"
        "    except DBAPIError: pass"
    ),
    "a text that is another one each time": "connection.exec_driver_sql(f'CREATE TABLE x{os.urandom(4).hex()} ()')",
}
"""What models do, so that nothing is kept of them."""


@pytest.fixture
def models(project: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Let the same module have another text."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (project.root / "more.sql").write_text(MORE)
    project.models(MODELS)
    project.script("aaaa")
    name = project.settings.project.target_metadata.partition(":")[0]
    path = project.root / f"{name}.py"
    head = path.read_text().removesuffix(MODELS)

    def write(text: str) -> None:
        path.write_text(head + text)
        sys.modules.pop(name, None)
        importlib.invalidate_caches()

    yield write
    sys.modules.pop(name, None)


def recorded(project: Project) -> Recording | None:
    here, environment = project.settings
    with (
        databases.session(here, environment) as session,
        recording.begun(session, here, here.models()) as copy,
    ):
        return copy.recording()


def would_be_kept(project: Project) -> bool:
    """Create the models, and tell whether it would be kept that they were equal."""
    here, environment = project.settings
    heard = Heard()
    with databases.session(here, environment) as session:
        loaded = here.models()
        with recording.begun(session, here, loaded) as copy:
            said = copy.recording()
        if said is None:
            return False
        provided.build(session, loaded, session.empty, heard)
        return heard.is_as(said)


def test_the_same_models_are_known(project: Project, models: Callable[[str], None]) -> None:
    """Models that send the same statements have the same key, whatever else changes in their text."""
    first = recorded(project)
    assert first
    assert would_be_kept(project)
    models(MODELS + "\n# nothing\n")
    assert recorded(project) == first


@pytest.mark.long
def test_a_change_of_models_is_noticed(
    project: Project, models: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Models that would send other statements have another key, or none."""
    keys = {"": recorded(project)}
    for name, (old, new) in CHANGES.items():
        assert old in MODELS, name
        try:
            models(MODELS.replace(old, new))
            keys[name] = recorded(project)
        finally:
            deregister(CreateTable)  # what models say of it holds for the whole process
    models(MODELS)
    (project.root / "more.sql").write_text(MORE.replace("true", "false"))
    keys["a file"] = recorded(project)
    (project.root / "more.sql").write_text(MORE)
    models(MODELS.replace(*CHANGES["a statement by the environment"]))
    monkeypatch.setenv("ANSWER", "42")
    keys["the environment"] = recorded(project)
    same = [name for name, key in keys.items() if name and key == keys[""]]
    assert same == ["a statement by the environment"]  # which is not set


@pytest.mark.long
@pytest.mark.parametrize("does", SECRETIVE.values(), ids=[*SECRETIVE])
def test_what_depends_on_answers_is_not_kept(
    project: Project, models: Callable[[str], None], does: str
) -> None:
    """Nothing is kept of models that ask the server, write rows, or make something else at another time."""
    models(f"{MODELS}    {does}\n")
    assert not would_be_kept(project)


@pytest.mark.usefixtures("models")
def test_what_else_a_comparison_depends_on(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings of the session, what is managed, the version table, the engine, pg_dump and the day are in the key."""
    keys = [recorded(project)]
    usual = project.settings
    for values in ({"scope": Scope(exclude=("x",))}, {"versions": VersionTable("other")}):
        project.settings = usual._replace(project=replace(usual.project, **values))
        keys.append(recorded(project))
    project.settings = usual
    for target, name, value in (
        (templates, "today", lambda: "2001-01-01"),
        (known, "_engine", lambda: "other"),
        (subprocess, "check_output", lambda *_: b"pg_dump 99"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(target, name, value)
            keys.append(recorded(project))
    options = "-c default_statistics_target=55"
    project.settings = changed(
        project.settings, scratch=project.scratch.with_parts(options=options)
    )
    keys.append(recorded(project))
    assert None not in keys
    assert len({*keys}) == len(keys)


@pytest.mark.usefixtures("models")
def test_settings_of_another_database_are_no_matter(project: Project) -> None:
    """They reach no scratch database, and somebody may set them at any time."""
    before = recorded(project)
    name = project.database.dsn.database
    run_sql(project.database, f"ALTER DATABASE {name} SET app.key = 'x'")
    assert recorded(project) == before is not None


def test_a_listener_that_acts_once_is_not_used_up(
    project: Project, models: Callable[[str], None]
) -> None:
    """What is noted is noted by a copy of the process: the models are created as if nothing had been."""
    models(
        MODELS
        + "event.listen(metadata, 'after_create', sa.DDL('CREATE TABLE late ()'), once=True)\n"
    )
    here, environment = project.settings
    with databases.session(here, environment) as session:
        loaded = here.models()
        with recording.begun(session, here, loaded) as copy:
            assert copy.recording()
        made = session.from_models(loaded)
        with made.connect() as connection:
            assert connection.exec_driver_sql(
                "SELECT to_regclass('public.late') IS NOT NULL"
            ).scalar()


def test_a_process_that_cannot_be_copied_creates_the_models(
    project: Project, models: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no copy can be made, or it ends or waits, nothing is known, and nothing fails."""

    def full(_: object) -> None:
        raise OSError(errno.EAGAIN, "no more processes")

    with monkeypatch.context() as patch:
        patch.setattr(multiprocessing.process.BaseProcess, "start", full)
        assert recorded(project) is None
    models(MODELS + "    os._exit(7)\n")
    assert recorded(project) is None
    monkeypatch.setattr(recording, "PATIENCE", 0.3)
    models(MODELS + "    import time; time.sleep(60)\n")
    assert recorded(project) is None


def test_what_is_kept_of_models_is_sealed() -> None:
    """Names that somebody has changed in the comment of a template are not shown, nor those of other models."""
    names = (("FUNCTION", "public", "f(\"a\", 'b')"), ("VIEW", "s", "v"))
    text = Recipe({}, equal=Equal.of("key", names, {}, "")).text()

    def kept(text: str, key: str = "key") -> tuple[Key, ...] | None:
        recipe = recipes.parse(text)
        return Template(recipe, "18", PLACE).kept(key) if recipe else None

    assert kept(text) == tuple(Key(*each) for each in names)
    assert kept(text, "other") is None
    assert kept(text.replace("VIEW", "TABLE")) is None
    assert kept(Recipe({}).text()) is None
    assert kept(text[:-9]) is None
    assert kept(text.replace('["VIEW", "s", "v"]', '["VIEW"]')) is None


CONNECTED = """
@event.listens_for(sa.engine.Engine, "connect")
def connected(driver, _):
    if os.environ.get("CONNECTED"):
        try:
            with driver.cursor() as cursor:
                cursor.execute(os.environ["CONNECTED"])
        except Exception:
            pass
        driver.rollback()
"""


def test_what_is_sent_on_connecting_counts(
    project: Project, models: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listener may read or set something on each new connection, and then that counts; one that writes is refused."""
    models(MODELS.replace("kind = sa", CONNECTED + "kind = sa"))
    keys = [recorded(project)]
    for sql in ("SELECT 1", "SELECT 2", "SET default_statistics_target = 7"):
        monkeypatch.setenv("CONNECTED", sql)
        keys.append(recorded(project))
    assert None not in keys
    assert len({*keys}) == len(keys)
    for sql in ("CREATE TABLE x ()", "SELECT 1 FROM nowhere"):
        monkeypatch.setenv("CONNECTED", sql)
        assert recorded(project) is None
    monkeypatch.setenv("CONNECTED", "DO $$ BEGIN PERFORM 1; END $$")
    assert not would_be_kept(project)
