"""Scratch databases: their contents, when they are dropped, and several commands that create them at once."""

import secrets
import shutil
import signal
import subprocess
import tempfile
import textwrap
import time
from collections.abc import Iterator
from concurrent.futures import Future
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from checkouts import as_text
from children import finish, next_line, start
from conftest import PASSWORD, Project, changed, run_sql
from servers import cheap_server

from postgres_database.errors import ExpectedError
from postgres_database.history import project_models
from postgres_database.schema import dump, snapshot
from postgres_database.scratch import databases, templates
from postgres_database.scratch.beside import threads
from postgres_database.scratch.databases import PREFIX
from postgres_database.scratch.templates import PREFIX as TEMPLATE_PREFIX
from postgres_database.server.connection import Database
from postgres_database.server.dsn import Dsn

PRELUDE = """
import sys
from pathlib import Path
from postgres_database.history.project import Project
from postgres_database.scratch import databases
from postgres_database.server import dsn
from postgres_database.server.environment import Environment
project = Project(Path(sys.argv[1]))
environment = Environment(project.root, scratch=dsn.parse(sys.argv[2]))
def say(text):
    print(text, flush=True)
    sys.stdin.readline()
"""
"""`say` prints a line and waits for one."""
OTHERS = (
    "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


@pytest.fixture(scope="module")
def own() -> Iterator[Database]:
    """A server that no other test uses: its databases can be counted, and all roles may log in without a password."""
    directory = Path(tempfile.mkdtemp(prefix="pgdb-"))
    directory.chmod(0o755)
    running = cheap_server(directory / "home")
    maintenance = Database(running.ensure_running(), "test")
    (running.data / "pg_hba.conf").write_text("local all all trust\n")
    run_sql(maintenance, "SELECT pg_reload_conf()")
    yield maintenance
    running.stop()
    shutil.rmtree(directory)


@pytest.fixture
def alone(project: Project, own: Database) -> Project:
    """A project with a scratch server that no other test uses."""
    project.settings = changed(project.settings, scratch=own.dsn)
    for name in names(own, "postgres_database_"):
        statement(own, f'DROP DATABASE "{name}" WITH (FORCE)')
    return project


def statement(database: Database, sql: str) -> None:
    """Run a statement that cannot run in a transaction block."""
    with database.connect(autocommit=True, usual_path=True) as connection:
        connection.exec_driver_sql(sql)


def names(server: Database, prefix: str) -> set[str]:
    """Return the databases with a prefix."""
    rows = run_sql(
        server, f"SELECT datname FROM pg_database WHERE starts_with(datname, '{prefix}')"
    )
    return {str(name) for (name,) in rows}


def child(project: Project, code: str, dsn: Dsn | None = None) -> subprocess.Popen[str]:
    """Start product code in another process, on the scratch server of the project."""
    scratch_dsn = dsn or project.settings.environment.scratch
    assert scratch_dsn
    return start(PRELUDE + textwrap.dedent(code), project.root, as_text(scratch_dsn))


def wait_until_forgotten(server: Database, database: str) -> None:
    """Wait until the server has released the lock of a killed process on a scratch database."""
    query = f"SELECT pg_try_advisory_lock(hashtextextended('{database}', 0))"
    end = time.monotonic() + 20
    while run_sql(server, query) != [(True,)]:
        assert time.monotonic() < end
        time.sleep(0.01)


def counting(project: Project, revision: str, parents: str = "", more: str = "") -> Path:
    """Write a script that creates a table and appends a letter to a file when it runs; return the file."""
    notes = project.root / f"{revision}.ran"
    project.script(
        revision,
        parents,
        f"""
        op.create_table("t_{revision}", sa.Column("id", sa.Integer, primary_key=True))
        with open({str(notes)!r}, "a") as notes:
            notes.write("x")
        {more}
        """,
    )
    return notes


def ran(notes: Path) -> int:
    """Return the number of times that a script of `counting` ran."""
    return len(notes.read_text()) if notes.exists() else 0


def at_head(project: Project) -> list[str]:
    """Create a scratch database at head and return its tables."""
    with databases.session(*project.settings) as session:
        return tables(session.at_head(project.settings.project))


def tables(database: Database) -> list[str]:
    """Return the tables of the schema public."""
    with database.connect(usual_path=True) as connection:
        return sorted(sa.inspect(connection).get_table_names())


def test_encoding_is_utf8_on_any_server(alone: Project, own: Database) -> None:
    """Scratch databases are UTF8 even on a server with SQL_ASCII, the choice of initdb without a locale."""
    encoding = (
        "UPDATE pg_database SET encoding = pg_char_to_encoding('{}') WHERE datname = 'template0'"
    )
    statement(own, encoding.format("SQL_ASCII"))
    try:
        with databases.session(*alone.settings) as session:
            made = session.empty()
            run_sql(made, "CREATE TABLE t (a int)", "COMMENT ON TABLE t IS 'größer'")
            assert "größer" in dump.take(made)
            assert run_sql(made, "SHOW server_encoding") == [("UTF8",)]
    finally:
        statement(own, encoding.format("UTF8"))


def test_target_with_sql_ascii_is_read(server: Database) -> None:
    """Text of a target with the encoding SQL_ASCII is read as UTF-8."""
    name = f"test_{secrets.token_hex(6)}"
    statement(server, f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'")
    made = Database(server.dsn.with_parts(dbname=name), "test")
    try:
        run_sql(made, 'CREATE TABLE "größer" (a int)')
        assert run_sql(made, "SELECT relname FROM pg_class WHERE relkind = 'r' AND oid > 16383")
        assert "größer" in dump.take(made)
    finally:
        statement(server, f"DROP DATABASE {name}")


def test_empty_is_empty(alone: Project, own: Database) -> None:
    """An empty database has no objects, even if template1 has."""
    template1 = Database(own.dsn.with_parts(dbname="template1"), "test")
    run_sql(template1, "CREATE TABLE IF NOT EXISTS somebodys ()")

    with databases.session(*alone.settings) as session:
        assert snapshot.take(session.empty()).objects == {}


def test_databases_of_one_session_are_separate(project: Project) -> None:
    """Each call creates another database, even from the same template."""
    counting(project, "a1")
    with databases.session(*project.settings) as session:
        first, second = (session.at_head(project.settings.project) for _ in range(2))
        run_sql(first, "INSERT INTO t_a1 VALUES (1)")
        run_sql(first, "DROP TABLE alembic_version")

        assert run_sql(second, "SELECT * FROM t_a1") == []
        assert tables(session.at_head(project.settings.project)) == ["alembic_version", "t_a1"]


@pytest.mark.parametrize("ids", [(), ("base",)], ids=["no revision", "base"])
def test_at_base(project: Project, ids: tuple[str, ...]) -> None:
    """A database at base is empty, and no template is kept for it."""
    counting(project, "a1")
    with databases.session(*project.settings) as session:
        assert snapshot.take(session.at(project.settings.project, ids)).objects == {}


def test_at_a_revision_in_the_middle(project: Project) -> None:
    """A database at a revision has the objects up to that revision, and its stamp."""
    counting(project, "a1")
    counting(project, "b2", "a1")
    counting(project, "c3", "b2")
    with databases.session(*project.settings) as session:
        middle = session.at(project.settings.project, ["b2"])
        assert tables(middle) == ["alembic_version", "t_a1", "t_b2"]
        assert run_sql(middle, "SELECT version_num FROM alembic_version") == [("b2",)]


def test_at_several_heads(project: Project) -> None:
    """A database can be at the heads of two branches."""
    counting(project, "a1")
    counting(project, "b2", "a1")
    counting(project, "c3", "a1")

    assert at_head(project) == ["alembic_version", "t_a1", "t_b2", "t_c3"]


@pytest.mark.parametrize("ending", [None, RuntimeError, KeyboardInterrupt, SystemExit])
def test_databases_go_with_the_session(
    project: Project, ending: type[BaseException] | None
) -> None:
    """Databases are dropped however a command ends, also while sessions are connected to them."""
    made: list[Database] = []
    connections = []
    counting(project, "a1")

    def work() -> None:
        with databases.session(*project.settings) as session:
            made.extend(
                [
                    session.empty(),
                    session.at(project.settings.project, ["a1"]),
                    session.from_models(sa.MetaData()),
                ]
            )
            connections.append(made[0].engine.connect())
            if ending:
                raise ending

    if ending:
        with pytest.raises(ending):
            work()
    else:
        work()

    assert project.settings.environment.scratch
    left = names(Database(project.settings.environment.scratch, ""), PREFIX)
    assert len(made) == 3
    assert left.isdisjoint(database.dsn.database for database in made)
    connections[0].invalidate()
    connections[0].close()


MAKE_ONE = """
with databases.session(project, environment) as session:
    say(session.empty().dsn.database)
"""


def test_after_an_error_threads_are_not_waited_for(project: Project) -> None:
    """Ctrl-C, or an error, ends a command: what threads do on scratch databases ends with these."""
    waiting: list[Future[object]] = []

    def interrupted() -> None:
        with databases.session(*project.settings) as session, threads() as pool:
            database = session.empty()
            waiting.append(pool.submit(run_sql, database, "SELECT pg_sleep(3600)"))
            while not run_sql(database, OTHERS):
                time.sleep(0.01)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert waiting[0].exception()


def test_only_databases_of_killed_processes_are_dropped(alone: Project, own: Database) -> None:
    """A session drops the databases of killed processes, but not those of running ones."""
    dead, living = child(alone, MAKE_ONE), child(alone, MAKE_ONE)
    orphan, kept = next_line(dead), next_line(living)
    dead.kill()
    assert finish(dead)[0][0] == -signal.SIGKILL
    assert names(own, PREFIX) == {orphan, kept}
    wait_until_forgotten(own, orphan)

    with databases.session(*alone.settings):
        assert names(own, PREFIX) == {kept}

    assert finish(living) == [(0, "")]
    assert names(own, PREFIX) == set()


def test_sessions_by_other_maintenance_databases_are_kept(alone: Project, own: Database) -> None:
    """SCRATCH_DSNs may name different databases of one server, which do not see each other's advisory locks."""
    living = child(alone, MAKE_ONE, own.dsn.with_parts(dbname="template1"))
    kept = next_line(living)

    with databases.session(*alone.settings):
        assert names(own, PREFIX) == {kept}

    assert finish(living) == [(0, "")]


def test_databases_of_other_roles_are_left_alone(alone: Project, own: Database) -> None:
    """On a shared server a role that is no superuser works beside databases that it may not drop."""
    name = f"maker_{secrets.token_hex(4)}"
    statement(own, f"CREATE ROLE {name} LOGIN CREATEDB")
    counting(alone, "a1")
    at_head(alone)  # a template of the superuser
    dead = child(alone, MAKE_ONE)
    orphan = next_line(dead)
    dead.kill()
    finish(dead)
    wait_until_forgotten(own, orphan)
    alone.settings = changed(alone.settings, scratch=own.dsn.with_parts(user=name))

    assert at_head(alone) == ["alembic_version", "t_a1"]
    assert at_head(alone) == ["alembic_version", "t_a1"]

    assert names(own, PREFIX) == {orphan}
    for template in names(own, TEMPLATE_PREFIX):
        statement(own, f'DROP DATABASE "{template}"')
    statement(own, f"DROP ROLE {name}")


def test_a_role_that_may_not_create_databases(project: Project, server: Database) -> None:
    """A SCRATCH_DSN whose user lacks CREATEDB is an error that says so."""
    weak = server.dsn.with_parts(user="app", password=PASSWORD)
    settings = changed(project.settings, scratch=weak)

    with pytest.raises(ExpectedError) as caught, databases.session(*settings) as session:
        session.empty()

    assert "permission denied to create database" in caught.value.cause
    assert "CREATEDB" in caught.value.hint
    assert PASSWORD not in str(caught.value)


def test_a_role_that_may_not_create_roles(alone: Project, own: Database) -> None:
    """Scripts that name roles need a scratch server on which the roles exist or can be created."""
    name = f"maker_{secrets.token_hex(4)}"
    statement(own, f"CREATE ROLE {name} LOGIN CREATEDB")
    alone.settings = changed(alone.settings, scratch=own.dsn.with_parts(user=name))
    with_roles(alone, "a1", (f"reader_{name}",))

    with pytest.raises(ExpectedError) as caught:
        at_head(alone)

    assert "permission denied to create role" in caught.value.cause
    statement(own, f"CREATE ROLE reader_{name}")
    at_head(alone)
    for template in names(own, TEMPLATE_PREFIX):
        statement(own, f'DROP DATABASE "{template}"')
    statement(own, f"DROP ROLE {name}, reader_{name}")


def test_template_is_created_once(project: Project) -> None:
    """Each script of the history runs once; after a new script is written, only that one runs."""
    first = counting(project, "a1")
    second = counting(project, "b2", "a1")
    at_head(project)
    at_head(project)
    assert (ran(first), ran(second)) == (1, 1)

    third = counting(project, "c3", "b2")

    assert at_head(project) == ["alembic_version", "t_a1", "t_b2", "t_c3"]
    assert (ran(first), ran(second), ran(third)) == (1, 1, 1)


def test_what_scripts_read_is_known_without_their_template(project: Project) -> None:
    """Another command may drop a template as soon as it was copied."""
    counting(project, "a1")
    here, environment = project.settings
    with databases.session(here, environment) as session:
        made, copied = session.at_head(here), session.at_head(here)
        session.forget()
        assert None not in (session.recipe(here, made), session.recipe(here, copied))


def test_a_database_made_before_scripts_are_executed(project: Project) -> None:
    """It is the next one at head, once, if its template is kept; not once a script has changed meanwhile."""
    counting(project, "a1")
    last = counting(project, "b2", "a1")
    with databases.session(*project.settings) as session:
        first = project.settings.project
        assert first.line
        assert session.prepare(first.line) is None  # no template is there
        session.at_head(first)
        ready = session.prepare(first.line)
        made = [session.at_head(first) for _ in range(2)]
        assert made[0] is ready
        assert made[1] is not ready
        assert snapshot.take(made[0]) == snapshot.take(made[1])

        before = session.prepare(first.line)
        change_script(project)
        assert session.at_head(project.settings.project) is not before
    assert ran(last) == 2


def change_script(project: Project) -> None:
    path = project.versions / "b2.py"
    path.write_text(path.read_text().replace("t_b2", "t_changed"))


def change_sql(project: Project) -> None:
    (project.versions / "b2.sql").write_bytes(b"CREATE TABLE t_changed ();")


@pytest.mark.parametrize("change", [change_script, change_sql])
def test_a_template_is_rebuilt_when_a_script_changes(project: Project, change: object) -> None:
    """A script that changed, also in its SQL file, is run again with later ones; earlier scripts are not."""
    first = counting(project, "a1")
    run_file = "op.execute_file(__file__.removesuffix('.py') + '.sql')"
    second = counting(project, "b2", "a1", f"import postgres_database.operations; {run_file}")
    (project.versions / "b2.sql").write_bytes(b"CREATE TABLE t_sql ();")
    with databases.session(*project.settings) as session:
        session.at(project.settings.project, ["a1"])
    assert at_head(project) == ["alembic_version", "t_a1", "t_b2", "t_sql"]

    assert callable(change)
    change(project)

    assert "t_changed" in at_head(project)
    assert (ran(first), ran(second)) == (1, 2)


def test_few_templates_are_kept(
    alone: Project, own: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only those that were used last are kept, and they are still used."""
    monkeypatch.setattr(templates, "MOST", 2)
    notes = []
    for number in range(4):
        notes.append(counting(alone, f"r{number}", f"r{number - 1}" if number else ""))
        at_head(alone)
        assert len(names(own, TEMPLATE_PREFIX)) == min(number + 1, 2)

    at_head(alone)

    assert [ran(note) for note in notes] == [1] * 4


@pytest.mark.parametrize(
    ("kept", "dropped"),
    [
        ([], []),
        ([("a", "2026-03-01", 9**12)], []),
        ([("a", "", 1), ("b", "2026-03-01", 1)], ["a"]),
        ([("a", "2026-01-30", 1), ("b", "2026-01-29", 1), ("c", "2026-02-28", 1)], ["b"]),
        ([("a", "2026-02-28", 2**30), ("b", "2026-02-27", 2**30), ("c", "2026-02-26", 1)], ["c"]),
        ([("a", "2026-02-28", 2**30), ("b", "2026-02-28", 2**30), ("c", "2026-02-28", 1)], ["a"]),
        ([(f"t{n:02}", "2026-02-28", 1) for n in range(18)], ["t01", "t00"]),
    ],
)
def test_which_templates_are_dropped(kept: list[tuple[str, str, int]], dropped: list[str]) -> None:
    """The last one stays; of the others the most recently used, up to a number, a size and an age."""
    found = templates.superfluous([templates.Kept(*each) for each in kept], date(2026, 3, 1))
    assert found == dropped


def test_a_template_that_another_command_drops_is_not_counted(own: Database) -> None:
    """A template that is dropped while the sizes of all are asked for is left out, and is no error."""
    prefix = f"{TEMPLATE_PREFIX}{secrets.token_hex(4)}_"
    kept, gone = f"{prefix}kept", f"{prefix}gone"
    with own.connect() as outside, own.connect() as connection:
        run = outside.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql
        for name in (kept, gone):
            run(f"CREATE DATABASE {name} TEMPLATE template0")
        # In its snapshot the row of a dropped database can still be read.
        connection.execution_options(isolation_level="REPEATABLE READ")
        store = templates.Store(connection, prefix)
        assert store.names() == [kept, gone]
        run(f"DROP DATABASE {gone}")
        assert store.names() == [kept, gone]

        assert store.superfluous() == []
        run(f"DROP DATABASE {kept}")


def test_a_long_history_is_looked_at_once(
    alone: Project, own: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database at head takes as many statements with a long history as with a short one."""
    for number in range(30):
        counting(alone, f"r{number:02}", f"r{number - 1:02}" if number else "")
    at_head(alone)
    counts = []
    for _ in range(2):
        statements: list[str] = []
        execute = sa.Connection.exec_driver_sql

        def counted(
            self: sa.Connection,
            statement: str,
            *rest: Any,
            said: list[str] = statements,
            run: Any = execute,
        ) -> Any:
            said.append(statement)
            return run(self, statement, *rest)

        with monkeypatch.context() as patch:
            patch.setattr(sa.Connection, "exec_driver_sql", counted)
            at_head(alone)
        counts.append(len(statements))
        counting(alone, "s", "r29")
    assert counts[0] < 25
    assert counts[1] < 60
    assert names(own, PREFIX) == set()


def test_an_interrupted_template_is_never_used(
    alone: Project, own: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was not renamed to a template, in the last step of all, is dropped and made again."""
    notes = counting(alone, "a1")
    describe = templates.Store.describe

    def interrupted(self: templates.Store, name: str, recipe: Any) -> None:
        describe(self, name, recipe)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(templates.Store, "describe", interrupted)
        with pytest.raises(KeyboardInterrupt):
            at_head(alone)
    assert names(own, TEMPLATE_PREFIX) == names(own, PREFIX) == set()
    at_head(alone)
    assert ran(notes) == 2


AT_HEAD = """
heads = project.history.heads
with databases.session(project, environment) as session:
    say("ready")
    with session.at(project, heads).connect(usual_path=True) as connection:
        print(connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar())
"""


@pytest.mark.long
def test_template_that_two_commands_need_at_once(alone: Project, own: Database) -> None:
    """Commands that need the same template at once all get a database, and its scripts run once."""
    notes = counting(alone, "a1", more='op.execute("SELECT pg_sleep(0.3)")')
    children = [child(alone, AT_HEAD) for _ in range(4)]
    assert {next_line(process) for process in children} == {"ready"}

    assert finish(*children) == [(0, "a1\n")] * 4
    assert ran(notes) == 1
    assert len(names(own, TEMPLATE_PREFIX)) == 1
    assert names(own, PREFIX) == set()


@pytest.mark.long
def test_template_in_use_is_not_dropped(alone: Project) -> None:
    """Commands on different scripts do not drop the templates that another one is cloning."""
    code = """
    import dataclasses, os, shutil
    from postgres_database.scratch import templates
    templates.MOST = 1
    say("ready")
    for number in range(4):
        root = project.root / f"{os.getpid()}-{number}"
        shutil.copytree(project.root / "migration", root / "migration")
        shutil.copy(project.root / "alembic.ini", root)
        (root / "migration" / "versions" / "b2.sql").write_text(root.name)
        mine = dataclasses.replace(project, root=root)
        with databases.session(mine, environment) as session:
            session.at(mine, ["a1"])
            session.at(mine, ["b2"])
    """
    counting(alone, "a1")
    counting(alone, "b2", "a1")
    children = [child(alone, code) for _ in range(4)]
    assert {next_line(process) for process in children} == {"ready"}

    assert finish(*children) == [(0, "")] * 4


def with_roles(project: Project, revision: str, roles: tuple[str, ...]) -> None:
    """Write a script that grants to roles and names them."""
    grants = "\n".join(f"op.execute({f'GRANT SELECT ON t TO {_quoted(role)}'!r})" for role in roles)
    path = project.script(revision, upgrade='op.execute("CREATE TABLE t ()")\n' + grants)
    path.write_text(path.read_text() + f"\n\nroles = {roles!r}\n")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def test_roles_of_scripts_are_created(alone: Project, own: Database) -> None:
    """Roles that a script names are created without login, also if the template existed before."""
    roles = tuple(f"{name} {secrets.token_hex(4)}" for name in ("reader", 'the "100%"', "ö:x"))
    with_roles(alone, "a1", roles)

    at_head(alone)

    query = "SELECT rolname, rolcanlogin, rolsuper FROM pg_roles"
    assert {(role, False, False) for role in roles} <= set(run_sql(own, query))
    at_head(alone)  # they are there already
    drop_templates_and_roles(own, roles)


def drop_templates_and_roles(own: Database, roles: tuple[str, ...]) -> None:
    for template in names(own, TEMPLATE_PREFIX):
        statement(own, f'DROP DATABASE "{template}"')
    for role in roles:
        statement(own, f"DROP ROLE {_quoted(role).replace('%', '%%')}")


@pytest.mark.long
def test_two_commands_create_the_same_role_at_once(alone: Project, own: Database) -> None:
    """Commands whose scripts name the same missing role all succeed."""
    rounds = [f"r{number}_{secrets.token_hex(4)}" for number in range(20)]
    with_roles(alone, "a1", tuple(rounds))
    children = [child(alone, AT_HEAD) for _ in range(4)]
    assert {next_line(process) for process in children} == {"ready"}

    assert finish(*children) == [(0, "a1\n")] * 4
    drop_templates_and_roles(own, tuple(rounds))


def test_a_failing_script_leaves_no_template(alone: Project, own: Database) -> None:
    """A script that fails is an expected error that names it, and its database is dropped."""
    counting(alone, "a1")
    alone.script("b2", "a1", 'op.execute("CREATE TABLE half ()"); op.execute("SELECT 1/0")')

    with pytest.raises(ExpectedError) as caught:
        at_head(alone)

    assert "b2" in caught.value.what
    assert "division by zero" in caught.value.cause
    assert "b2.py, line" in caught.value.cause
    assert names(own, "postgres_database_") == set()
    alone.script("b2", "a1", 'op.execute("CREATE TABLE whole ()")')
    assert at_head(alone) == ["alembic_version", "t_a1", "whole"]


def test_models_in_other_schemas(project: Project) -> None:
    """The schemas of tables and types are created before them, also those whose names need quotes."""
    project.models(
        """
        sa.Table("t", metadata, sa.Column("id", sa.Integer, primary_key=True), schema='My "Shop"; 100%')
        mood = sa.Enum("SAD", "OK", name="mood", schema="types")
        sa.Table("u", metadata, sa.Column("mood", mood), sa.Column("moods", sa.ARRAY(mood)))
        only_in_array = sa.Enum("x", name="x", schema="arrays")
        sa.Table("v", metadata, sa.Column("xs", sa.ARRAY(only_in_array)))
        """
    )

    with databases.session(*project.settings) as session:
        made = session.from_models(project.settings.project.models())
        keys = {str(key) for key in snapshot.take(made).objects}

    assert {'TABLE My "Shop"; 100%.t', "TYPE types.mood", "TYPE arrays.x"} <= keys


def test_models_that_cannot_be_created(alone: Project, own: Database) -> None:
    """Models that PostgreSQL rejects are an expected error with its message, and leave no database."""
    alone.models(
        'sa.Table("t", metadata, sa.Column("x", sa.Integer, server_default=sa.text("oops(1)")))'
    )

    with pytest.raises(ExpectedError) as caught, databases.session(*alone.settings) as session:
        session.from_models(alone.settings.project.models())

    assert alone.settings.project.target_metadata in caught.value.what
    assert "function oops(integer) does not exist" in caught.value.cause
    assert names(own, PREFIX) == set()


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("no_such_module_here:metadata", "No module named 'no_such_module_here'"),
        ("no_such_module_here", "No module named 'no_such_module_here'"),
        ("MODULE", "has no attribute ''"),
        ("MODULE:", "has no attribute ''"),
        ("MODULE:nothing", "has no attribute 'nothing'"),
        ("MODULE:a.b", "has no attribute 'b'"),
        ("MODULE:number", "it is a int"),
        ("MODULE:raises", "it is a function"),
        (":metadata", ""),
        ("", ""),
        ("../models.py:metadata", ""),
        ("BROKEN:metadata", "ZeroDivisionError: division by zero"),
        ("SYNTAX:metadata", "line 1: invalid syntax"),
        ("EXITS:metadata", "SystemExit: 7"),
    ],
)
def test_models_that_cannot_be_loaded(
    project: Project, monkeypatch: pytest.MonkeyPatch, name: str, cause: str
) -> None:
    """Any fault of TARGET_METADATA is an error that names the setting and the cause."""
    module = f"m_{secrets.token_hex(6)}"
    for kind, text in {
        "MODULE": "a = number = 1\ndef raises(): 1 / 0",
        "BROKEN": "1 / 0",
        "SYNTAX": "def",
        "EXITS": "raise SystemExit(7)",
    }.items():
        if name.startswith(kind):
            name = name.replace(kind, module)
            (project.root / f"{module}.py").write_text(text)
    monkeypatch.chdir(project.root)
    settings = changed(project.settings, target_metadata=name)

    with pytest.raises(ExpectedError) as caught:
        settings.project.models()

    assert f"the models {name} cannot be loaded" in caught.value.what
    assert cause in caught.value.cause
    assert "TARGET_METADATA" in caught.value.hint


@pytest.mark.parametrize("name", ["metadata", "Base", "Base.metadata", "shop.Base", "db"])
def test_models_that_can_be_loaded(project: Project, name: str) -> None:
    """TARGET_METADATA may name a MetaData, a declarative base, or another object with a MetaData."""
    module = f"m_{secrets.token_hex(6)}"
    (project.root / f"{module}.py").write_text(
        textwrap.dedent(
            """
            import sqlalchemy as sa
            from sqlalchemy.orm import DeclarativeBase
            class Base(DeclarativeBase): ...
            metadata = Base.metadata
            class shop: Base = Base
            class SQLAlchemy: metadata = Base.metadata
            db = SQLAlchemy()
            sa.Table("t", metadata)
            """
        )
    )
    settings = changed(project.settings, target_metadata=f"{module}:{name}")

    assert [table.name for table in project_models.tables(settings.project.models())] == ["t"]
