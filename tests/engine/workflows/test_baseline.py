"""The adoption of a database that is online."""

import difflib
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from answers import no, yes
from commands import adopt, down, mark, printed, up
from conftest import PASSWORD, ROOT, Project, changed, fresh, run_sql
from servers import cheap_server

from postgres_database.console import report, show, show_state
from postgres_database.errors import ExpectedError
from postgres_database.running import log
from postgres_database.running.runner import open_runner
from postgres_database.schema import dump, snapshot
from postgres_database.scratch import databases
from postgres_database.scratch.databases import Scratch
from postgres_database.server.connection import Database
from postgres_database.server.version_table import VersionTable
from postgres_database.workflows import check, stamp
from postgres_database.workflows import revision as revisions
from postgres_database.workflows.adoption import BaselineResult

ONLINE = r'''
CREATE SCHEMA audit;
CREATE EXTENSION hstore;
CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
CREATE TYPE mood AS ENUM ('sad', 'it''s ok', '100%');
CREATE SEQUENCE audit.numbers INCREMENT 7;
CREATE TABLE users (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    email varchar(80) UNIQUE CHECK (email LIKE '%@%'),
    mood mood DEFAULT '100%',
    age positive,
    status varchar(9) CHECK (status IN ('new', 'old')),
    tags hstore,
    shout text GENERATED ALWAYS AS (upper(email)) STORED,
    CONSTRAINT "weird %(name)s :x {}" CHECK (age <> 13)
);
CREATE TABLE audit.log (at timestamptz DEFAULT now(), what text, day date NOT NULL) PARTITION BY RANGE (day);
CREATE TABLE audit.log_2026 PARTITION OF audit.log FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE INDEX users_lower ON users (lower(email)) WHERE mood <> 'sad';
CREATE VIEW happy AS SELECT id, email AS "e:mail" FROM users WHERE mood = '100%';
CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS n FROM users;
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    -- Name: fake; Type: TABLE; Schema: public; Owner: -
    INSERT INTO audit.log (what, day) VALUES (format('%s :name {} """ \n', NEW.email), '2026-05-05');
	RETURN NEW; -- a tab before, and a carriage return behind<CR>
END
$body$;
CREATE TRIGGER note AFTER INSERT ON users FOR EACH ROW EXECUTE FUNCTION note();
ALTER TABLE users ENABLE ROW LEVEL SECURITY;
CREATE POLICY adults ON users TO app USING (age >= 18);
GRANT SELECT ON users TO app;
COMMENT ON TABLE users IS E'100%% :sure \\ $$ """ <SEPARATOR>';
INSERT INTO users (email, age, status, tags)
SELECT g || '@example.com', g, 'new', 'a=>1' FROM generate_series(20, 99) g;
'''.replace("<CR>", "\r").replace("<SEPARATOR>", "\u2028")
MODELS = """
sa.Table("users", metadata, sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True))
"""


@pytest.fixture
def online(project: Project) -> Project:
    """A database with rows, whose schema is more than its tables, and no scripts."""
    run_sql(project.database, ONLINE)
    project.models(MODELS)
    return project


def files(result: BaselineResult) -> tuple[Path, Path]:
    """Return the two files of a baseline."""
    assert result.path
    return result.path, result.path.with_suffix(".sql")


def contents(database: Database) -> dict[str, object]:
    """Return a hash of every table's rows, every sequence's state and the whole schema."""
    relations = run_sql(
        database,
        "SELECT oid::regclass::text, relkind FROM pg_class WHERE relkind IN ('r', 'm', 'S')"
        " AND relnamespace::regnamespace::text IN ('public', 'audit')"
        " AND relname NOT IN ('alembic_version', 'alembic_version_log') ORDER BY 1",
    )
    hashed = "SELECT count(*), md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {} t"
    state = "SELECT last_value, is_called FROM {}"
    rows = {
        str(name): run_sql(database, (state if kind == "S" else hashed).format(name))
        for name, kind in relations
    }
    return {**rows, "schema": dump.take(database)}


def test_online_database_is_adopted_exactly(online: Project) -> None:
    """An empty database upgraded with the baseline has the online schema; no row has changed."""
    before = contents(online.database)
    result = adopt(online.settings, online.database, "Init tables", yes)
    assert contents(online.database) == before
    assert run_sql(online.database, "SELECT version_num FROM alembic_version") == [
        (result.revision,)
    ]
    path, sql = files(result)
    assert re.fullmatch(r"\d{4}_\d\d_\d\d_\d{4}-[0-9a-f]{12}_init_tables\.py", path.name)
    assert online.scripts() == [path.name, sql.name]
    name = f"{online.database.dsn.database}_new"
    with Database(online.database.dsn.with_parts(dbname="postgres"), "t").connect(
        autocommit=True
    ) as maintenance:
        maintenance.exec_driver_sql(f"CREATE DATABASE {name} TEMPLATE template0")
        try:
            new = Database(online.database.dsn.with_parts(dbname=name), "test")
            up(online.settings, new, confirm=yes)
            assert not snapshot.take(online.database).difference(snapshot.take(new))
            assert run_sql(new, "SELECT prosrc FROM pg_proc WHERE proname = 'note'") == run_sql(
                online.database, "SELECT prosrc FROM pg_proc WHERE proname = 'note'"
            )
        finally:
            maintenance.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")


def test_second_workflow_to_its_end(online: Project) -> None:
    """After the adoption the next script adds what the models have more, and the rows stay."""
    run_sql(online.database, "DROP MATERIALIZED VIEW counted; DROP VIEW happy")
    adopt(online.settings, online.database, "Init tables", yes)
    adopted = online.settings.project.history
    online.script("added", adopted.head, "op.add_column('users', sa.Column('nick', sa.Text))")
    result = up(online.settings, online.database, confirm=yes)
    assert result.after == ("added",)
    assert run_sql(online.database, "SELECT count(*), count(nick) FROM users") == [(80, 0)]


@pytest.mark.long
def test_what_models_know_at_the_adoption_is_theirs(project: Project) -> None:
    """What models and database both have goes when the models lose it; what only the database has stays."""
    table = 'sa.Table("t", metadata, sa.Column("id", sa.Integer, primary_key=True))\n'
    event = 'sa.event.listen(metadata, "after_create", sa.DDL({!r}))\n'
    both = [
        "CREATE VIEW seen AS SELECT id FROM t",
        "CREATE FUNCTION f(a integer) RETURNS integer LANGUAGE sql AS 'SELECT a'",
        "CREATE SEQUENCE numbers",
    ]
    run_sql(project.database, "CREATE TABLE t (id serial PRIMARY KEY)", *both)
    run_sql(project.database, "CREATE VIEW by_hand AS SELECT id FROM t")
    project.models(table + "".join(map(event.format, both)))
    adopt(project.settings, project.database, "Init tables", yes)
    project.models(table + event.format(both[1].replace("(a ", "(b integer, a ")))
    result = revisions.write(*project.settings, "After")
    assert [str(key) for key in result.kept] == ["VIEW by_hand"]
    up(project.settings, project.database, confirm=yes)
    assert run_sql(
        project.database,
        "SELECT relname FROM pg_class WHERE relkind IN ('v', 'S') AND relnamespace = 'public'::regnamespace"
        " UNION ALL SELECT proname || pronargs FROM pg_proc WHERE pronamespace = 'public'::regnamespace ORDER BY 1",
    ) == [("by_hand",), ("f2",), ("t_id_seq",)]


def test_plain_alembic_falls_into_the_trap(online: Project) -> None:
    """Plain autogenerate against the online database writes a script that rebuilds nothing."""
    run_sql(
        online.database, "CREATE SCHEMA plain; CREATE TABLE plain.users (id bigint PRIMARY KEY)"
    )
    environ = {"POSTGRES_DSN": "", "PATH": "/usr/bin:/bin"}
    (online.root / "models.py").write_text(
        "import sqlalchemy as sa\nmetadata = sa.MetaData()\n"
        "sa.Table('users', metadata, sa.Column('id', sa.BigInteger, primary_key=True))\n"
    )
    (online.root / "migration" / "env.py").write_text(
        "import sqlalchemy as sa\nfrom alembic import context\nfrom models import metadata\n"
        f"parts = {dict(online.database.dsn.parts)!r}\n"
        "parts['options'] = '-c search_path=plain'\n"
        "engine = sa.create_engine('postgresql+psycopg2://', connect_args=parts)\n"
        "with engine.connect() as connection:\n"
        "    context.configure(connection=connection, target_metadata=metadata)\n"
        "    with context.begin_transaction():\n"
        "        context.run_migrations()\n"
    )
    command = [sys.executable, "-m", "alembic", "revision", "--autogenerate", "-m", "Init tables"]
    subprocess.run(command, cwd=online.root, env=environ, check=True, capture_output=True)
    (script,) = online.versions.glob("*.py")
    assert script.read_text().count("pass\n") == 2


def test_protected_target_needs_a_yes(online: Project) -> None:
    """Without a yes nothing is written: no script, no stamp."""
    protected = changed(online.settings, protected=True)
    with pytest.raises(ExpectedError, match="not confirmed"):
        adopt(protected, online.database, "Init tables", no)
    assert online.scripts() == []
    assert run_sql(online.database, "SELECT to_regclass('alembic_version')") == [(None,)]


@pytest.mark.long
def test_second_baseline_writes_nothing(online: Project) -> None:
    """A database that is adopted already is compared once more; nothing is written."""
    first = adopt(online.settings, online.database, "Init tables", yes)
    before = (contents(online.database), online.scripts())
    again = adopt(online.settings, online.database, "Again", no)
    assert (again.revision, again.path) == (first.revision, None)
    assert (contents(online.database), online.scripts()) == before


@pytest.mark.long
def test_adopted_database_that_drifted(online: Project) -> None:
    """Of a database that is stamped, and no longer what the revision says, the differences are told."""
    adopt(online.settings, online.database, "Init tables", yes)
    run_sql(online.database, "ALTER TABLE users ADD nick text")
    again = adopt(online.settings, online.database, "Again", no)
    assert again.revision == ""
    assert again.match is not None
    assert [str(each.key) for each in again.match.drifts.objects] == ["TABLE users"]


def test_database_of_another_history_is_refused(online: Project) -> None:
    """A revision that no script has is somebody else's; the error names the way out."""
    run_sql(
        online.database,
        "CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)",
        "INSERT INTO alembic_version VALUES ('theirs')",
    )
    with pytest.raises(ExpectedError, match="already is at revision theirs") as caught:
        adopt(online.settings, online.database, "Init tables", yes)
    assert "invoke stamp --purge --target base" in caught.value.hint
    assert online.scripts() == []


@pytest.mark.long
def test_history_whose_first_tables_no_script_makes_begins_anew(
    project: Project, server: Database
) -> None:
    """Tables that `create_all` made: the first script that changes one fails, and a baseline takes its place."""
    project.models(
        "sa.Table('t', metadata, sa.Column('id', sa.Integer, primary_key=True), sa.Column('note', sa.Text))"
    )
    script = project.script("one", "", "op.add_column('t', sa.Column('note', sa.Text))")
    with fresh(server) as other:
        for database in (project.database, other):
            run_sql(database, "CREATE TABLE t (id serial PRIMARY KEY)")
            up(project.settings, database, confirm=yes)
        with pytest.raises(ExpectedError) as caught:
            check.compare(*project.settings)
        assert 'relation "t" does not exist' in caught.value.cause
        with fresh(server) as empty, pytest.raises(ExpectedError) as caught:
            up(project.settings, empty, confirm=yes)
        assert "or create_all made the table elsewhere: invoke check says" in caught.value.hint
        script.unlink()
        for database in (project.database, other):
            mark(project.settings, database, "base", purge=True, confirm=yes)
            adopted = adopt(project.settings, database, "Init tables", yes)
            assert bool(adopted.path) == (database is project.database)
            assert adopted.revision
        assert len(project.scripts()) == 2
    assert check.compare(*project.settings).clean


def test_database_that_cannot_be_written(online: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that is read-only by a setting is refused before anything is dumped."""
    name = online.database.dsn.database
    run_sql(online.database, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    monkeypatch.setattr(dump, "take", lambda _: pytest.fail("dumped"))
    with pytest.raises(ExpectedError, match="is read-only") as caught:
        adopt(online.settings, online.database, "Init tables", yes)
    assert "RESET default_transaction_read_only" in caught.value.hint


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_database_in_another_encoding(project: Project, server: Database, encoding: str) -> None:
    """A database whose encoding lacks characters that we write is adopted, checked, upgraded and looked at."""
    name = project.database.dsn.database
    with server.connect(autocommit=True) as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name}")
        connection.exec_driver_sql(
            f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0"
        )
    run_sql(
        project.database,
        'CREATE TABLE "größe" ("stück" text PRIMARY KEY); COMMENT ON TABLE "größe" IS $$Zähler$$',
        f"ALTER DATABASE {name} SET app.key = 'x'",
    )
    adopted = adopt(project.settings, project.database, "Größe → mehr", yes)
    assert "not in the script: the setting of the database app.key" in adopted.notes
    project.script(
        "next", adopted.revision, """op.execute('COMMENT ON TABLE "größe" IS $$Maß$$')"""
    )
    assert up(project.settings, project.database, confirm=yes).at_head
    assert check.compare_target(*project.settings, project.database).clean
    assert [entry.outcome for entry in log.read(project.database)][-1] == log.DONE
    assert adopt(project.settings, project.database, "", yes).revision == "next"


def test_search_path_without_a_schema(online: Project) -> None:
    """Where no schema of the search path is there, the advice is another path, with which it is adopted."""
    run_sql(online.database, "ALTER SCHEMA public RENAME TO app")
    with pytest.raises(
        ExpectedError, match="has no schema for the table alembic_version"
    ) as caught:
        adopt(online.settings, online.database, "Init tables", yes)
    assert "options='-c search_path=…'" in caught.value.hint
    dsn = online.database.dsn.with_parts(options="-c search_path=app")
    adopted = adopt(online.settings, replace(online.database, dsn=dsn), "Init tables", yes)
    assert any("alembic_version is in the schema app" in note for note in adopted.notes)


def test_user_that_may_not_stamp(online: Project, port: int) -> None:
    """Whoever may read but not create the version table learns it before anything is dumped."""
    parts = {"host": "127.0.0.1", "port": str(port), "user": "app", "password": PASSWORD}
    target = Database(online.database.dsn.with_parts(**parts), "online", "from the test")
    run_sql(online.database, "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    with pytest.raises(ExpectedError, match="cannot be stamped") as caught:
        adopt(online.settings, target, "Init tables", yes)
    assert "GRANT USAGE, CREATE ON SCHEMA public" in caught.value.hint


@pytest.mark.parametrize("public", ["", "ALTER SCHEMA public OWNER TO app;"], ids=["", "owned"])
def test_schema_that_cannot_be_rebuilt_writes_nothing(online: Project, public: str) -> None:
    """What pg_dump itself cannot restore is an error with the server's words; nothing is left.

    Of a schema public that has another owner a dump holds a comment, which is no statement.
    """
    run_sql(
        online.database,
        f"{public} CREATE VIEW loop AS SELECT 1 AS x; CREATE OR REPLACE VIEW loop AS SELECT x FROM loop",
    )
    with pytest.raises(ExpectedError, match="cannot restore its own dump of VIEW loop") as caught:
        adopt(online.settings, online.database, "Init tables", yes)
    assert "loop" in caught.value.cause
    assert online.scripts() == []
    assert run_sql(online.database, "SELECT to_regclass('alembic_version')") == [(None,)]


def test_extension_that_the_scratch_server_lacks(
    online: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An extension that only the target has is named, with the way to another scratch server."""
    monkeypatch.setattr(Scratch, "available", lambda _: {"plpgsql"})
    with pytest.raises(ExpectedError, match="does not have the extension hstore") as caught:
        adopt(online.settings, online.database, "Init tables", yes)
    assert caught.value.hint.startswith("SCRATCH_DSN=")
    assert online.scripts() == []


def test_schema_that_changes_meanwhile(online: Project) -> None:
    """What changed between proof and stamp is not stamped."""

    def change(_question: str, _details: object) -> bool:
        run_sql(online.database, "ALTER TABLE users ADD late text")
        return True

    protected = changed(online.settings, protected=True)
    with pytest.raises(ExpectedError, match="changed while it was adopted"):
        adopt(protected, online.database, "Init tables", change)
    assert online.scripts() == []
    assert run_sql(online.database, "SELECT to_regclass('alembic_version')") == [(None,)]


def test_what_is_not_in_the_script_is_told(online: Project) -> None:
    """Settings of the database, subscriptions, invalid indexes and secrets are left out, and named."""
    name = online.database.dsn.database
    run_sql(
        online.database,
        f"ALTER DATABASE {name} SET app.key = 's3cr3t-1'",
        "CREATE EXTENSION postgres_fdw",
        "CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'h')",
        "CREATE USER MAPPING FOR PUBLIC SERVER far OPTIONS (user 'u', password 's3cr3t-2')",
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'users_lower'::regclass",
    )
    result = adopt(online.settings, online.database, "Init tables", yes)
    told = "\n".join(result.notes)
    for part in (
        "the setting of the database app.key",
        "INDEX users_lower, which is invalid",
        "secrets",
    ):
        assert part in told
    assert "s3cr3t" not in told + "".join(path.read_text() for path in files(result))


def test_subscription_is_left_out(online: Project) -> None:
    """A subscription says where another server is: its connection string gets nowhere."""
    run_sql(
        online.database,
        "CREATE SUBSCRIPTION sub CONNECTION 'host=far password=s3cr3t-1' PUBLICATION p WITH (connect = false)",
    )
    try:
        result = adopt(online.settings, online.database, "Init tables", yes)
    finally:
        run_sql(
            online.database,
            "ALTER SUBSCRIPTION sub SET (slot_name = NONE)",
            "DROP SUBSCRIPTION sub",
        )
    assert "not in the script: the subscription sub" in result.notes
    assert "s3cr3t" not in "".join(path.read_text() for path in files(result))


@pytest.mark.long
def test_roles_and_tablespaces_of_the_target(online: Project, own_server: Database) -> None:
    """What a server has, and a schema names, is made on the scratch server, and not by the script."""
    with own_server.connect(autocommit=True) as connection:
        connection.exec_driver_sql("CREATE ROLE of_theirs SUPERUSER LOGIN PASSWORD 's3cr3t-1'")
        connection.exec_driver_sql("SET allow_in_place_tablespaces = on")
        connection.exec_driver_sql("CREATE TABLESPACE fast LOCATION ''")
    run_sql(
        own_server,
        "CREATE TABLE t (x int) TABLESPACE fast",
        "GRANT SELECT ON t TO of_theirs",
        "ALTER DEFAULT PRIVILEGES FOR ROLE of_theirs GRANT SELECT ON TABLES TO PUBLIC",
    )
    result = adopt(online.settings, own_server, "Init tables", yes)
    script = "".join(path.read_text() for path in files(result))
    assert "CREATE ROLE" not in script
    assert "s3cr3t" not in script
    (revision,) = online.settings.project.history.revisions
    assert (revision.roles, revision.tablespaces) == (("of_theirs",), ("fast",))


def test_downgrade_of_the_baseline_refuses(online: Project) -> None:
    """Undoing the baseline would drop the data: it says so and changes nothing."""
    adopt(online.settings, online.database, "Init tables", yes)
    before = contents(online.database)
    with pytest.raises(ExpectedError) as caught:
        down(online.settings, online.database, confirm=yes)
    assert "would drop its data" in caught.value.cause
    assert contents(online.database) == before


def test_baseline_as_sql(online: Project) -> None:
    """The baseline is printed byte for byte, so that psql makes the same database."""
    result = adopt(online.settings, online.database, "Init tables", yes)
    sql = printed(online.settings, lambda: online.database, verb="upgrade", target="base:head")
    assert files(result)[1].read_bytes().decode() in sql


@pytest.mark.long
def test_no_secret_enters_the_repository(online: Project, port: int) -> None:
    """Adopting over a connection with a password writes it nowhere."""
    run_sql(online.database, f"GRANT ALL ON DATABASE {online.database.dsn.database} TO app")
    run_sql(
        online.database,
        "GRANT ALL ON SCHEMA public, audit TO app; GRANT SELECT ON ALL TABLES IN SCHEMA public, audit TO app",
    )
    run_sql(online.database, "GRANT SELECT ON audit.numbers TO app")
    parts = {"host": "127.0.0.1", "port": str(port), "user": "app", "password": PASSWORD}
    over_tcp = Database(online.database.dsn.with_parts(**parts), "online", "from the test")
    settings = changed(online.settings, target=over_tcp.dsn)
    result = adopt(settings, over_tcp, "Init tables", yes)
    for path in files(result):
        assert PASSWORD not in path.read_text()


@pytest.mark.long
@pytest.mark.parametrize(
    ("settings", "left_out"),
    [
        ({"include_schemas": ("public",)}, 'the schema Sec.ret" *'),
        ({"exclude": ("Sec*",)}, 'the schema Sec.ret" *'),
        ({"exclude": ('Sec.ret" [*].*',)}, 'the tables and views of the schema Sec.ret" *'),
    ],
)
def test_schema_of_others_that_is_excluded(
    project: Project, port: int, settings: dict[str, tuple[str, ...]], left_out: str
) -> None:
    """What is excluded and cannot be read is no obstacle: it is left out and named, then and afterwards."""
    project.models("sa.Table('item', metadata, sa.Column('id', sa.Integer))")
    secret = '"Sec.ret"" *"'
    run_sql(
        project.database,
        f"GRANT ALL ON SCHEMA public TO app; CREATE TABLE item (id int); ALTER TABLE item OWNER TO app;"
        f"CREATE SCHEMA {secret}; CREATE TABLE {secret}.a (x int); CREATE VIEW {secret}.v AS TABLE {secret}.a;"
        f"CREATE TABLE {secret}.b (id serial PRIMARY KEY, x int REFERENCES {secret}.b)",
    )
    parts = {"host": "127.0.0.1", "port": str(port), "user": "app", "password": PASSWORD}
    target = Database(project.database.dsn.with_parts(**parts), "online", "from the test")
    with pytest.raises(ExpectedError, match="cannot be dumped") as caught:
        adopt(project.settings, target, "Init tables", yes)
    assert "permission denied" in caught.value.cause
    assert "include_schemas" in caught.value.hint
    project.settings = changed(project.settings, target=target.dsn, **settings)
    result = adopt(project.settings, target, "Init tables", yes)
    why = f"{left_out}: excluded, and not readable for this user"
    assert f"not in the script: {why}" in result.notes
    assert result.unlike_models == ()
    checked = check.compare(*project.settings, target).target
    assert checked
    assert (checked.drifts.objects, checked.drifts.notes) == ((), (why,))
    assert adopt(project.settings, target, "", yes).notes == (f"not compared: {why}",)


def test_what_is_left_out_and_needed(project: Project, port: int) -> None:
    """Whoever needs what had to be left out reads that with the server's words."""
    run_sql(
        project.database,
        "GRANT ALL ON SCHEMA public TO app; CREATE SCHEMA hidden; CREATE TABLE hidden.a (id int PRIMARY KEY);"
        "CREATE TABLE item (id int REFERENCES hidden.a); ALTER TABLE item OWNER TO app",
    )
    parts = {"host": "127.0.0.1", "port": str(port), "user": "app", "password": PASSWORD}
    target = Database(project.database.dsn.with_parts(**parts), "online", "from the test")
    settings = changed(project.settings, include_schemas=("public",))
    with pytest.raises(ExpectedError, match="FK CONSTRAINT item item_id_fkey; nothing") as caught:
        adopt(settings, target, "Init tables", yes)
    assert "left out of the dump: the schema hidden: excluded" in caught.value.cause


@pytest.fixture
def own_server() -> Iterator[Database]:
    """A server of the test's own: for what belongs to a server and not to a database."""
    home = Path(tempfile.mkdtemp(prefix="pgdb-own-"))
    home.chmod(0o755)
    running = cheap_server(home)
    yield Database(running.ensure_running(), "online", "from the test")
    running.stop()
    shutil.rmtree(home)


@pytest.fixture
def three(project: Project) -> Project:
    """A history of three revisions and a database that was brought to the second, and lost its stamp."""
    project.models("")
    project.script("aaaa", "", "op.execute('CREATE TABLE a (id int PRIMARY KEY, x text)')")
    project.script("bbbb", "aaaa", "op.execute('CREATE FUNCTION f() RETURNS int RETURN 1')")
    project.script("cccc", "bbbb", "op.execute('ALTER TABLE a ADD y text')")
    up(project.settings, project.database, target="bbbb", confirm=yes)
    run_sql(project.database, "DROP TABLE alembic_version")
    return project


def stamped(database: Database) -> object:
    if run_sql(database, "SELECT to_regclass('alembic_version')") == [(None,)]:
        return None
    return [row[0] for row in run_sql(database, "SELECT version_num FROM alembic_version")]


@pytest.mark.long
@pytest.mark.parametrize("place", ["aaaa", "bbbb", "cccc"])
def test_database_that_lost_its_stamp_is_found(three: Project, place: str) -> None:
    """The revision that a database is gets stamped; no script is written and none is run."""
    steps = {"aaaa": "DROP FUNCTION f", "bbbb": "SELECT 1", "cccc": "ALTER TABLE a ADD y text"}
    run_sql(three.database, steps[place], "INSERT INTO a VALUES (1, 'kept')")
    result = adopt(three.settings, three.database, "Init tables", no)
    assert (result.revision, result.pending) == (place, place != "cccc")
    assert stamped(three.database) == [place]
    assert three.scripts() == ["aaaa.py", "bbbb.py", "cccc.py"]
    assert run_sql(three.database, "SELECT x FROM a") == [("kept",)]


@pytest.mark.long
@pytest.mark.parametrize(
    "state", [("left",), ("right",), ("deep",), ("left", "right"), ("deep", "left"), ("both",)]
)
def test_database_on_a_branch_is_found(project: Project, state: tuple[str, ...]) -> None:
    """A database may be on one branch of a history, or on several: that is what is stamped."""
    project.models("")
    for name, parents in {
        "root": "",
        "left": "root",
        "right": "root",
        "deep": "right",
        "both": "left,deep",
    }.items():
        project.script(name, parents, f"op.execute('CREATE TABLE {name}_ (x int)')")
    scripts = project.settings.project.history
    for revision in scripts.upto(state):
        run_sql(project.database, f"CREATE TABLE {revision.id}_ (x int)")
    result = adopt(project.settings, project.database, "", no)
    assert sorted(result.revision.split(", ")) == sorted(state), result
    found = stamped(project.database)
    assert isinstance(found, list)
    assert sorted(found) == sorted(state)


def test_states_aside_of_the_way(project: Project) -> None:
    """A history without branches has no state aside; of one with branches no pair stands on itself."""
    for number in range(5):
        project.script(f"r{number}aa", f"r{number - 1}aa" if number else "")
    linear = project.settings.project.history
    assert [*stamp._aside(linear)] == [(revision.id,) for revision in linear.revisions]
    project.script("side", "r2aa")
    assert {frozenset(state) for state in stamp._aside(project.settings.project.history)} == {
        *(frozenset({f"r{number}aa"}) for number in range(5)),
        frozenset({"side"}),
        frozenset({"r3aa", "side"}),
        frozenset({"r4aa", "side"}),
    }


@pytest.mark.long
def test_stamp_that_fails_can_be_made_up_for(online: Project) -> None:
    """A proved script stays if the stamp fails; the next run stamps with it."""
    run_sql(
        online.database,
        "CREATE FUNCTION no() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF current_database() LIKE 'test%' THEN RAISE EXCEPTION 'no DDL today'; END IF; END $$",
        "CREATE EVENT TRIGGER no ON ddl_command_end EXECUTE FUNCTION no()",
    )
    with pytest.raises(ExpectedError, match="cannot be stamped") as caught:
        adopt(online.settings, online.database, "Init tables", yes)
    assert "no DDL today" in caught.value.cause
    scripts = online.scripts()
    assert len(scripts) == 2
    superuser = online.database.dsn.with_parts(options="-c session_replication_role=replica")
    again = Database(superuser, "online", "from the test")  # in which the trigger is not fired
    result = adopt(online.settings, again, "Again", no)
    assert f"{result.revision}_init_tables.py" in scripts[0]
    assert stamped(online.database) == [result.revision]
    assert online.scripts() == scripts


@pytest.mark.long
def test_version_table_of_another_application(online: Project) -> None:
    """Only our own version table is left out; one in another schema, and what refers to ours, is adopted."""
    run_sql(
        online.database,
        "CREATE SCHEMA airflow; CREATE TABLE airflow.alembic_version (version_num varchar(32) PRIMARY KEY)",
        "CREATE VIEW airflow.watched AS SELECT version_num FROM airflow.alembic_version",
    )
    result = adopt(online.settings, online.database, "Init tables", yes)
    assert "CREATE TABLE airflow.alembic_version" in files(result)[1].read_text()
    run_sql(online.database, "CREATE VIEW seen AS SELECT version_num FROM alembic_version")
    again = adopt(online.settings, online.database, "", no)
    assert again.match is not None
    assert [str(each.key) for each in again.match.drifts.objects] == ["VIEW seen"]


@pytest.mark.long
def test_database_that_is_no_revision(three: Project) -> None:
    """The nearest revision and the differences are told, and nothing is stamped."""
    run_sql(three.database, "ALTER TABLE a ADD odd int", "CREATE VIEW v AS SELECT 1 AS x")
    result = adopt(three.settings, three.database, "Init tables", yes)
    assert result.revision == ""
    assert result.match is not None
    assert result.match.state == ("bbbb",)
    assert [str(each.key) for each in result.match.drifts.objects] == ["TABLE a", "VIEW v"]
    assert stamped(three.database) is None


@pytest.mark.long
def test_revisions_that_only_change_rows(three: Project) -> None:
    """Which of two revisions with one schema it is, nobody can see: somebody says so, or nothing is stamped."""
    three.script("dddd", "cccc", "op.execute('UPDATE a SET x = x || 1')")
    run_sql(three.database, "ALTER TABLE a ADD y text")
    with pytest.raises(ExpectedError, match="not confirmed"):
        adopt(three.settings, three.database, "Init tables", no)
    assert stamped(three.database) is None
    asked: list[str] = []

    def confirm(_question: str, details: Sequence[str]) -> bool:
        asked.extend(details)
        return True

    assert adopt(three.settings, three.database, "", confirm).revision == "dddd"
    assert any("the same before dddd" in line for line in asked)


def test_empty_database_is_not_adopted(three: Project) -> None:
    """Where there are scripts, an empty database is to be upgraded."""
    run_sql(three.database, "DROP FUNCTION f; DROP TABLE a")
    with pytest.raises(ExpectedError, match="is empty") as caught:
        adopt(three.settings, three.database, "Init tables", yes)
    assert caught.value.hint == "invoke upgrade"


def test_empty_database_without_scripts_is_not_adopted(project: Project) -> None:
    """Nothing is written or stamped: the DSN probably names another database than was meant."""
    with pytest.raises(ExpectedError, match="is empty: there is nothing to adopt") as caught:
        adopt(project.settings, project.database, "Init tables", yes)
    assert caught.value.hint.startswith("invoke psql --command '\\l'   (lists the databases")
    assert project.scripts() == []
    assert stamped(project.database) is None


@pytest.mark.long
def test_versions_of_another_alembic_stay(project: Project) -> None:
    """With a version table of another name, `alembic_version` is another application's: told, and not dropped."""
    run_sql(
        project.database,
        "CREATE TABLE a (id int PRIMARY KEY)",
        "CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)",
    )
    ini = project.root / "alembic.ini"
    ini.write_text(ini.read_text().replace("[alembic]", "[alembic]\nversion_table = ours", 1))
    project.models('sa.Table("a", metadata, sa.Column("id", sa.Integer, primary_key=True))\n')
    ours = VersionTable("ours")
    project.settings = changed(project.settings, versions=ours)
    database = replace(project.database, versions=ours)
    result = adopt(project.settings, database, "Init tables", yes)
    told = "in the script, though another tool keeps it: TABLE alembic_version; no revision drops it by itself"
    assert told in result.notes
    written = revisions.write(*project.settings, "After")
    assert "TABLE alembic_version" in [str(key) for key in written.kept]


@pytest.mark.long
def test_stamp_of_what_the_database_is_not(three: Project) -> None:
    """A stamp that the schema contradicts names the differences, and needs a yes."""
    asked: list[str] = []

    def confirm(_question: str, details: Sequence[str]) -> bool:
        asked.extend(details)
        return False

    with pytest.raises(ExpectedError, match="not confirmed"):
        mark(three.settings, three.database, "cccc", confirm=confirm)
    assert "  TABLE a differs" in asked
    assert stamped(three.database) is None
    assert mark(three.settings, three.database, "bbbb", confirm=no) == "bbbb"
    assert stamped(three.database) == ["bbbb"]
    asked.clear()
    with pytest.raises(ExpectedError, match="not confirmed"):
        mark(three.settings, three.database, "base", confirm=confirm)
    assert "  TABLE a is not in the history" in asked


def feature_files(database: Database) -> list[str]:
    """Return the texts of the features that the server has."""
    major = int(str(run_sql(database, "SHOW server_version_num")[0][0])) // 10000
    names = ["common", *(f"since_{each}" for each in (16, 17, 18) if each <= major), "rows"]
    return [(ROOT / "tests/engine/helpers/features" / f"{name}.sql").read_text() for name in names]


@pytest.mark.long
def test_every_feature_is_adopted(project: Project) -> None:
    """A schema with every kind of object and odd names is adopted; rows, sequences and schema stay as they were."""
    for text in feature_files(project.database):
        run_sql(project.database, text)
    project.models(MODELS)
    before = all_contents(project.database)
    adopt(project.settings, project.database, "Init tables", yes)
    assert all_contents(project.database) == before
    (revision,) = project.settings.project.history.revisions
    with databases.session(*project.settings) as session:
        made = session.at(project.settings.project, [revision.id])
        assert snapshot.compare(project.database, made, session.empty) == ()
        raw = [each.splitlines() for each in map(dump.take, (project.database, made))]
    lines = difflib.unified_diff(raw[0], raw[1], n=0, lineterm="")
    unlike = [line for line in lines if line[0] in "+-"]
    assert len(unlike) < 40, (
        unlike
    )  # an unnamed constant, and rights that owners took from themselves


# Alembic reads comments of the features that SQLAlchemy takes for dialects.
@pytest.mark.long
@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")
def test_no_secret_of_the_database_is_written(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of twenty planted secrets none is in a file of the repository, nor in what is shown."""
    texts = feature_files(project.database)
    name = project.database.dsn.database
    more = (
        "ALTER ROLE feature_owner PASSWORD 's3cr3t-18'",
        "ALTER ROLE feature_reader PASSWORD 's3cr3t-21'",
        f"ALTER DATABASE {name} SET app.key = 's3cr3t-19'",
        f"CREATE SUBSCRIPTION {name} CONNECTION 'password=s3cr3t-20' PUBLICATION p WITH (connect = false)",
    )
    planted = {found for text in (*texts, *more) for found in re.findall(r"s3cr3t-\d+", text)}
    assert len(planted) >= 20
    run_sql(project.database, *texts)
    for statement in more:
        run_sql(project.database, statement)
    project.models(
        'sa.Table("customer", metadata, sa.Column("id", sa.Integer, primary_key=True), schema="shop")'
    )
    try:
        result = adopt(project.settings, project.database, "Init tables", yes)
        run_sql(project.database, "ALTER SERVER feature_far OPTIONS (SET fetch_size '7')")
        checked = check.compare(*project.settings, project.database)
    finally:
        run_sql(
            project.database,
            f"ALTER SUBSCRIPTION {name} SET (slot_name = NONE)",
            f"DROP SUBSCRIPTION {name}",
        )
    show.baseline(result, project.settings.environment)
    show_state.check(checked)
    shown = capsys.readouterr().out
    assert "secrets of foreign servers are not in the script" in shown
    written = b"".join(path.read_bytes() for path in project.root.rglob("*") if path.is_file())
    assert b"CREATE TABLE" in written
    assert b"s3cr3t" not in written + (shown + report.check_json(checked)).encode()


def all_contents(database: Database) -> dict[str, object]:
    """Return a hash of the rows of every table, the state of every sequence, and the schema."""
    found: dict[str, object] = {"schema": dump.take(database)}
    for name, kind in run_sql(
        database,
        "SELECT format('%I.%I', n.nspname, c.relname), relkind FROM pg_class c"
        " JOIN pg_namespace n ON n.oid = relnamespace WHERE relkind IN ('r', 'S')"
        " AND nspname !~ '^pg_' AND nspname <> 'information_schema'"
        " AND relname NOT IN ('alembic_version', 'alembic_version_log')",
    ):
        state = f"SELECT last_value, is_called FROM {name}"
        rows = f"SELECT count(*), md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {name} t"
        found[str(name)] = run_sql(database, state if kind == "S" else rows)
    return found


@pytest.mark.long
@pytest.mark.parametrize(
    ("change", "place"),
    [
        ("ALTER TABLE a ADD y text", "cccc"),
        ("DROP FUNCTION f", "aaaa"),
        ("DROP FUNCTION f; DROP TABLE a", "base"),
    ],
)
def test_database_that_is_another_revision_than_it_says(
    three: Project, change: str, place: str
) -> None:
    """What a database is, by hand or from a backup, is found although it is stamped, and stamped after a yes."""
    with open_runner(three.settings.project, three.database) as run:
        run.stamp(["bbbb"])
    run_sql(three.database, change)
    if place == "cccc":
        with pytest.raises(ExpectedError, match="stopped at revision cccc") as caught:
            up(three.settings, three.database, confirm=yes)
        assert "invoke baseline-existing" in caught.value.hint
    with pytest.raises(ExpectedError, match="not confirmed"):
        adopt(three.settings, three.database, "", no)
    assert stamped(three.database) == ["bbbb"]
    asked: list[str] = []

    def agree(question: str, details: Sequence[str]) -> bool:
        asked.extend([question, *details])
        return True

    result = adopt(three.settings, three.database, "", agree)
    assert result.revision == place
    assert asked[0].endswith(f"as {place}")
    assert asked[1] == "stamped as bbbb, which it is not; it is"
    assert stamped(three.database) == ([] if place == "base" else [place])
