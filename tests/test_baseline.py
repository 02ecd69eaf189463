"""The adoption of a database that is online."""

import dataclasses
import re
import subprocess
import sys

import pytest
from conftest import PASSWORD, Project, run_sql

from postgres_database import baseline, dump, history, snapshot, upgrade
from postgres_database.connection import Database
from postgres_database.errors import ExpectedError

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


def yes(_question: str, _details: object) -> bool:
    return True


def no(_question: str, _details: object) -> bool:
    return False


@pytest.fixture
def online(project: Project) -> Project:
    """A database with rows, whose schema is more than its tables, and no scripts."""
    run_sql(project.database, ONLINE)
    project.models(MODELS)
    return project


def contents(database: Database) -> dict[str, object]:
    """Return a hash of every table's rows, every sequence's state and the whole schema."""
    relations = run_sql(
        database,
        "SELECT oid::regclass::text, relkind FROM pg_class WHERE relkind IN ('r', 'm', 'S')"
        " AND relnamespace::regnamespace::text IN ('public', 'audit')"
        " AND relname <> 'alembic_version' ORDER BY 1",
    )
    hashed = "SELECT count(*), md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {} t"
    state = "SELECT last_value, is_called FROM {}"
    rows = {
        str(name): run_sql(database, (state if kind == "S" else hashed).format(name))
        for name, kind in relations
    }
    return {**rows, "schema": dump.dump(database)}


def test_online_database_is_adopted_exactly(online: Project) -> None:
    """An empty database upgraded with the baseline has the online schema; no row has changed."""
    before = contents(online.database)
    result = baseline.baseline(online.settings, online.database, "Init tables", yes)
    assert contents(online.database) == before
    assert run_sql(online.database, "SELECT version_num FROM alembic_version") == [
        (result.revision,)
    ]
    assert re.fullmatch(r"\d{4}_\d\d_\d\d_\d{4}-[0-9a-f]{12}_init_tables\.py", result.path.name)
    assert online.scripts() == [result.path.name, result.path.with_suffix(".sql").name]
    name = f"{online.database.dsn.database}_new"
    with Database(online.database.dsn.with_parts(dbname="postgres"), "t").connect(
        autocommit=True
    ) as maintenance:
        maintenance.exec_driver_sql(f"CREATE DATABASE {name} TEMPLATE template0")
        try:
            new = Database(online.database.dsn.with_parts(dbname=name), "test")
            upgrade.upgrade(online.settings, new, confirm=yes)
            assert not snapshot.take(online.database).difference(snapshot.take(new))
            assert run_sql(new, "SELECT prosrc FROM pg_proc WHERE proname = 'note'") == run_sql(
                online.database, "SELECT prosrc FROM pg_proc WHERE proname = 'note'"
            )
        finally:
            maintenance.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")


def test_second_workflow_to_its_end(online: Project) -> None:
    """After the adoption the next script adds what the models have more, and the rows stay."""
    run_sql(online.database, "DROP MATERIALIZED VIEW counted; DROP VIEW happy")
    baseline.baseline(online.settings, online.database, "Init tables", yes)
    adopted = history.read(online.settings)
    online.script("added", adopted.head, "op.add_column('users', sa.Column('nick', sa.Text))")
    result = upgrade.upgrade(online.settings, online.database, confirm=yes)
    assert result.after == ("added",)
    assert run_sql(online.database, "SELECT count(*), count(nick) FROM users") == [(80, 0)]


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
    protected = dataclasses.replace(online.settings, protected=True)
    with pytest.raises(ExpectedError, match="not confirmed"):
        baseline.baseline(protected, online.database, "Init tables", no)
    assert online.scripts() == []
    assert run_sql(online.database, "SELECT to_regclass('alembic_version')") == [(None,)]


def test_second_baseline_is_refused(online: Project) -> None:
    """A database that is stamped is not adopted again; the error names the upgrade."""
    baseline.baseline(online.settings, online.database, "Init tables", yes)
    files = online.scripts()
    with pytest.raises(ExpectedError, match="already is at revision") as caught:
        baseline.baseline(online.settings, online.database, "Again", yes)
    assert caught.value.hint.startswith("invoke upgrade")
    assert online.scripts() == files


def test_history_that_is_not_empty_is_refused(online: Project) -> None:
    """A baseline does not stand on other scripts; the error names the way to an empty history."""
    online.script("aaaa")
    with pytest.raises(ExpectedError, match="not empty: its head is aaaa") as caught:
        baseline.baseline(online.settings, online.database, "Init tables", yes)
    assert caught.value.hint.startswith("invoke init --fresh")
    assert online.scripts() == ["aaaa.py"]


def test_schema_that_cannot_be_rebuilt_writes_nothing(online: Project) -> None:
    """What pg_dump itself cannot restore is an error with the server's words; nothing is left."""
    run_sql(
        online.database,
        "CREATE VIEW loop AS SELECT 1 AS x; CREATE OR REPLACE VIEW loop AS SELECT x FROM loop",
    )
    with pytest.raises(ExpectedError):
        baseline.baseline(online.settings, online.database, "Init tables", yes)
    assert online.scripts() == []
    assert run_sql(online.database, "SELECT to_regclass('alembic_version')") == [(None,)]


def test_downgrade_of_the_baseline_refuses(online: Project) -> None:
    """Undoing the baseline would drop the data: it says so and changes nothing."""
    baseline.baseline(online.settings, online.database, "Init tables", yes)
    before = contents(online.database)
    with pytest.raises(ExpectedError) as caught:
        upgrade.downgrade(online.settings, online.database, confirm=yes)
    assert "would drop its data" in caught.value.cause
    assert contents(online.database) == before


def test_baseline_as_sql(online: Project) -> None:
    """The baseline is printed byte for byte, so that psql makes the same database."""
    result = baseline.baseline(online.settings, online.database, "Init tables", yes)
    sql = upgrade.offline(
        online.settings, lambda: online.database, verb="upgrade", target="base:head"
    )
    assert result.path.with_suffix(".sql").read_bytes().decode() in sql


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
    settings = dataclasses.replace(online.settings, target=over_tcp.dsn)
    result = baseline.baseline(settings, over_tcp, "Init tables", yes)
    for path in (result.path, result.path.with_suffix(".sql")):
        assert PASSWORD not in path.read_text()
