"""What people wrote into a target never runs with rights that they do not have."""

import re
import secrets
from collections.abc import Iterator
from dataclasses import replace
from threading import Timer

import pytest
import servers
from answers import yes
from commands import Heard, adopt
from conftest import ROOT, Project, changed, run_sql
from psycopg2.errors import InsufficientPrivilege

from postgres_database.errors import ExpectedError
from postgres_database.history.graph import Revision
from postgres_database.preflight import drops, row_checks
from postgres_database.preflight.preview import Printed
from postgres_database.schema import dump
from postgres_database.scratch import databases
from postgres_database.server import connection
from postgres_database.server.connection import Database
from postgres_database.server.embedded import SCRATCH_PREFIX
from postgres_database.sql.syntax import statements
from postgres_database.workflows import check, review
from postgres_database.workflows import revision as revision_module

CALLED = re.compile(r"called (\w+): (.*) as superuser (\w+)$", re.MULTILINE)
# Tries all ways to be more than it is, and writes into the log of the server where it was called from.
EVIL = """
CREATE SCHEMA app;
CREATE FUNCTION app.evil(place text, value integer DEFAULT 0) RETURNS integer LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    name text;
    more text := current_setting('is_superuser');
BEGIN
    IF current_database() NOT LIKE 'postgres_database_scratch_%' THEN
        RETURN 1;
    END IF;
    FOR name IN SELECT rolname FROM pg_roles WHERE rolsuper UNION ALL SELECT 'none' LOOP
        BEGIN
            PERFORM set_config('role', name, true);
            more := more || current_setting('is_superuser');
            RAISE EXCEPTION 'undone';
        EXCEPTION WHEN OTHERS THEN
        END;
        BEGIN
            PERFORM set_config('session_authorization', name, true);
            more := more || current_setting('is_superuser');
            RAISE EXCEPTION 'undone';
        EXCEPTION WHEN OTHERS THEN
        END;
    END LOOP;
    RAISE LOG 'called TOKEN: % as superuser %', place, more LIKE '%on%';
    RETURN 1;
END $$;
CREATE FUNCTION app.fires() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM app.evil(TG_NAME); RETURN NEW; END $$;
CREATE FUNCTION app.definer() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
    $$ BEGIN PERFORM app.evil('definer'); RETURN NEW; END $$;
"""
ADOPTED = """
CREATE DOMAIN app.checked AS integer CHECK (VALUE + app.evil('domain') > -9);
CREATE TABLE app.item (
    id integer PRIMARY KEY,
    given integer DEFAULT app.evil('default'),
    kept integer GENERATED ALWAYS AS (id + app.evil('generated')) STORED,
    domained app.checked,
    CONSTRAINT checked CHECK (id + app.evil('check') > -9999)
);
CREATE TRIGGER before_row BEFORE INSERT OR UPDATE ON app.item FOR EACH ROW EXECUTE FUNCTION app.fires();
CREATE TRIGGER after_statement AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON app.item EXECUTE FUNCTION app.fires();
CREATE TRIGGER definers AFTER INSERT ON app.item EXECUTE FUNCTION app.definer();
CREATE CONSTRAINT TRIGGER deferred AFTER INSERT ON app.item DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION app.fires();
CREATE INDEX ON app.item ((id + app.evil('index')));
CREATE INDEX ON app.item (id) WHERE id + app.evil('predicate') > 0;
CREATE STATISTICS app.seen ON (id + app.evil('statistics')), given FROM app.item;
CREATE TABLE app.ruled (id integer PRIMARY KEY);
CREATE RULE ruled AS ON INSERT TO app.ruled DO ALSO SELECT app.evil('rule');
CREATE TABLE app.parted (id integer) PARTITION BY RANGE ((id + app.evil('partition key')));
CREATE TABLE app.part PARTITION OF app.parted FOR VALUES FROM (0) TO (9);
CREATE MATERIALIZED VIEW app.matter AS SELECT app.evil('materialized view');
CREATE VIEW app.seen_through AS SELECT app.evil('view');
CREATE TYPE app.pair AS (a integer);
CREATE FUNCTION app.shown(app.pair) RETURNS text LANGUAGE sql AS $$ SELECT app.evil('cast')::text $$;
CREATE CAST (app.pair AS text) WITH FUNCTION app.shown(app.pair);
CREATE TABLE app.cast_to_text (id integer PRIMARY KEY, pair app.pair);
CREATE FUNCTION app.add(app.checked, integer) RETURNS app.checked LANGUAGE sql AS $$ SELECT $2::app.checked $$;
CREATE AGGREGATE app.first(integer) (SFUNC = app.add, STYPE = app.checked, INITCOND = '1');
"""
STEPS = """
INSERT INTO app.item (id) VALUES (1);
UPDATE app.item SET given = app.evil('update');
SET CONSTRAINTS ALL IMMEDIATE;
SET CONSTRAINTS ALL DEFERRED;
ALTER TABLE app.item ADD COLUMN more integer DEFAULT app.evil('added default');
ALTER TABLE app.item ADD CONSTRAINT more CHECK (more + app.evil('added check') > 0);
ALTER TABLE app.item ALTER COLUMN given TYPE bigint USING app.evil('using');
CREATE INDEX ON app.ruled ((id + app.evil('added index')));
CREATE TABLE app.bound PARTITION OF app.parted FOR VALUES FROM (app.evil('bound') + 99) TO (200);
CREATE TABLE app.copied AS SELECT app.evil('create table as');
REFRESH MATERIALIZED VIEW app.matter;
ALTER DOMAIN app.checked ADD CONSTRAINT again CHECK (VALUE + app.evil('added domain check') > -9);
DO $$ BEGIN PERFORM app.evil('block'); END $$;
ANALYZE app.item;
CREATE FUNCTION app.seen() RETURNS event_trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM app.evil('event trigger'); END $$;
CREATE EVENT TRIGGER seen ON ddl_command_end EXECUTE FUNCTION app.seen();
COMMENT ON TABLE app.item IS 'after the event trigger';
INSERT INTO app.item (id) VALUES (2);
"""


def called(token: str) -> dict[str, list[str]]:
    """Return from where a function was called, and for each call whether by a superuser."""
    log = servers.test_server().log.read_text(errors="replace")
    found: dict[str, list[str]] = {}
    for its, place, superuser in CALLED.findall(log):
        if its == token:
            found.setdefault(place, []).append(superuser)
    return found


def test_no_function_of_a_target_runs_as_a_superuser_of_the_scratch_server(
    project: Project,
) -> None:
    """Adopting, comparing, filling, probing and proving call functions only where they can do nothing."""
    token = secrets.token_hex(6)
    run_sql(project.database, EVIL.replace("TOKEN", token), ADOPTED)
    project.models("sa.Table('item', metadata, sa.Column('id', sa.Integer, primary_key=True))\n")
    adopted = adopt(project.settings, project.database, "Adopt", yes)
    project.script("second", adopted.revision, f"op.execute({STEPS!r})")

    check.compare(*project.settings, project.database)
    review.perform(*project.settings, project.database)
    written = revision_module.write(
        *project.settings, "A table", no_renames=True, drop_adopted=True
    )

    assert written.path
    found = called(token)
    places = set(re.findall(r"evil\('([\w ]+)'", ADOPTED + STEPS)) | {
        *("before_row", "after_statement", "deferred", "definer", "event trigger")
    }
    assert places - found.keys() == {"view"}  # which nothing reads
    assert {place for place, superuser in found.items() if "t" in superuser} == set()


# What a role without rights may put into a database where it has a schema and may create in public.
THEIRS = """
SET ROLE {role};
CREATE FUNCTION app.f(anyelement) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS
    $$ BEGIN RAISE LOG 'called TOKEN: f as superuser f'; RETURN true; END $$;
CREATE FUNCTION app.number(integer) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT 1 + app.f(1)::int';
CREATE TABLE app.item (id integer PRIMARY KEY, name varchar(9), other integer, pair public.pair);
INSERT INTO app.item VALUES (1, 'x', NULL, NULL), (2, 'x', 3, NULL);
CREATE TABLE app.other (id integer PRIMARY KEY, name varchar(9) UNIQUE);
CREATE FUNCTION app.attribute(app.item) RETURNS boolean LANGUAGE sql AS 'SELECT app.f($1)';
CREATE FUNCTION app.same(integer, integer) RETURNS boolean LANGUAGE sql AS 'SELECT app.f(1)';
CREATE OPERATOR app.### (FUNCTION = app.same, LEFTARG = integer, RIGHTARG = integer);
CREATE DOMAIN app.checked AS integer CHECK (app.f(VALUE));
CREATE TYPE app.their AS (a integer);
CREATE FUNCTION app.shown(app.their) RETURNS text LANGUAGE sql AS 'SELECT app.f(1)::text';
CREATE CAST (app.their AS text) WITH FUNCTION app.shown(app.their);
CREATE TABLE app.typed (their app.their UNIQUE, id integer);
CREATE TABLE app.indexed (id integer, other integer);
CREATE INDEX ON app.indexed ((id + app.number(1)));
CREATE TABLE app.predicate (id integer, other integer);
CREATE INDEX ON app.predicate (id) WHERE id > app.number(1);
CREATE TABLE app.constrained (id integer, other integer, CHECK (id > app.number(1)));
CREATE TABLE app.counted (id integer, other integer);
CREATE STATISTICS app.counts ON (id + app.number(1)), other FROM app.counted;
CREATE TABLE app.parted (id integer, other integer) PARTITION BY RANGE ((id + app.number(1)));
CREATE TABLE app.part PARTITION OF app.parted FOR VALUES FROM (0) TO (9);
"""
SHADOWS = """
SET ROLE {role};
CREATE FUNCTION public.lower(varchar) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT app.f(1)::text';
CREATE FUNCTION public.like_them(varchar, varchar) RETURNS boolean LANGUAGE sql AS 'SELECT app.f(1)';
CREATE OPERATOR public.= (FUNCTION = public.like_them, LEFTARG = varchar, RIGHTARG = varchar);
CREATE OPERATOR public.~~ (FUNCTION = public.like_them, LEFTARG = varchar, RIGHTARG = varchar);
"""
F, NUMBER = "app.f(anyelement)", "app.number(integer)"
ASKED = {
    "ALTER TABLE app.item ALTER other SET NOT NULL": "",
    "ALTER TABLE app.item ADD CHECK (other > 7 OR lower(name) = '')": "",
    "CREATE UNIQUE INDEX ON app.item (lower(name))": "",
    "ALTER TABLE app.item ADD FOREIGN KEY (name) REFERENCES app.other (name)": "",
    "ALTER TABLE app.item ALTER name TYPE integer USING name::integer": "",
    "ALTER TABLE app.item ADD CHECK (public.trusted(other))": "",
}
NOT_ASKED = {
    "ALTER TABLE app.item ADD CHECK (app.f(other))": F,
    'ALTER TABLE app.item ADD CHECK ("app" . "f" /**/ (other))': F,
    "ALTER TABLE app.item ADD CHECK (item.attribute)": "app.attribute(app.item)",
    "ALTER TABLE app.item ADD CHECK (other OPERATOR(app.###) 1)": "app.same(integer,integer)",
    'ALTER TABLE app.item ADD CHECK (U&"app".U&"\\0066"(other))': F,
    "ALTER TABLE app.item ADD CHECK (query_to_xml('SELECT app.f(1)', true, true, '') IS NULL)": "query_to_xml()",
    "CREATE UNIQUE INDEX ON app.item ((app.f(other)))": F,
    "CREATE UNIQUE INDEX ON app.item (id) WHERE app.f(other)": F,
    "ALTER TABLE app.item ALTER name TYPE app.checked USING 7": F,
    "ALTER TABLE app.item ALTER name TYPE integer USING app.number(id)": NUMBER,
    "ALTER TABLE app.typed ALTER id SET NOT NULL": "app.shown(app.their)",
    "ALTER TABLE app.indexed ALTER other SET NOT NULL": NUMBER,
    "ALTER TABLE app.predicate ALTER other SET NOT NULL": NUMBER,
    "ALTER TABLE app.constrained ALTER other SET NOT NULL": NUMBER,
    "ALTER TABLE app.counted ALTER other SET NOT NULL": NUMBER,
    "ALTER TABLE app.parted ALTER other SET NOT NULL": NUMBER,
    "ALTER TABLE app.part ALTER other SET NOT NULL": NUMBER,
    "DROP TABLE app.indexed": NUMBER,
}
SHADOWED = {
    "ALTER TABLE app.item ADD CHECK (lower(name) <> '')": "lower(character varying)",
    "ALTER TABLE app.item ADD FOREIGN KEY (name) REFERENCES app.other (name)": "like_them",
    "ALTER TABLE app.item ADD CHECK (name LIKE name)": "like_them",
    "ALTER TABLE app.item ADD CHECK (name IN ('a', name))": "like_them",
}


@pytest.fixture
def stranger(database: Database) -> Iterator[str]:
    """A role that owns the schema app of a database and may create in public."""
    role = f"stranger_{secrets.token_hex(6)}"
    run_sql(
        database,
        f"CREATE ROLE {role}; CREATE SCHEMA app AUTHORIZATION {role}; GRANT CREATE ON SCHEMA public TO {role}",
        "CREATE TYPE public.pair AS (a integer, b integer)",
        "CREATE FUNCTION public.trusted(integer) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
    )
    yield role
    run_sql(database, f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")


def notes(database: Database, sql: str) -> str:
    """Ask what a script requires and drops, and return what was not asked."""
    said: list[str] = []
    step = Printed(Revision("aaaa", "m", ROOT), tuple(statements(sql)), online=False)
    row_checks.violations(database, [step], Heard(on_note=said.append))
    dropped = [each.text for each in drops.dropped(database, [step])]
    return "\n".join([*said, *(line for line in dropped if "not counted" in line)])


def test_row_checks_call_nothing_of_a_role_that_may_do_less(
    database: Database, stranger: str
) -> None:
    """What is not asked is said, with what it would have called and whose that is."""
    token = secrets.token_hex(6)
    theirs = THEIRS.format(role=stranger).replace("TOKEN", token)
    run_sql(database, theirs)
    before = called(token)
    found = {sql: notes(database, sql) for sql in (*ASKED, *NOT_ASKED)}
    run_sql(database, SHADOWS.format(role=stranger))
    found |= {f"{sql} -- shadowed": notes(database, sql) for sql in SHADOWED}

    assert called(token) == before
    expected = ASKED | NOT_ASKED | {f"{sql} -- shadowed": what for sql, what in SHADOWED.items()}
    wrong = {sql: said for sql, said in found.items() if bool(said) != bool(expected[sql])}
    assert wrong == {}
    assert {sql: said for sql, said in found.items() if expected[sql] not in said} == {}
    assert {
        sql: said
        for sql, said in found.items()
        if said.count("belongs to") > 1 and sql in NOT_ASKED
    } == {}
    assert all(
        f"belongs to {stranger}" in found[sql]
        for sql, what in NOT_ASKED.items()
        if "(a" in what or "(i" in what
    )


ROLES = {
    "CREATEDB": True,
    "CREATEDB CREATEROLE": True,
    "CREATEDB IN ROLE pg_write_server_files": False,
}


@pytest.mark.parametrize("options", ROLES)
def test_the_role_of_the_scratch_server_has_nothing_to_take(
    project: Project, server: Database, options: str
) -> None:
    """A role that may only make databases is used as it is; one that may do more makes others, or is refused."""
    role = f"{SCRATCH_PREFIX}{secrets.token_hex(6)}"
    settings = changed(project.settings, scratch=server.dsn.with_parts(user=role))
    run_sql(server, f"CREATE ROLE {role} LOGIN {options}")
    try:
        if ROLES[options]:
            with databases.session(*settings) as session:
                made = session.empty()
                ((creates,),) = run_sql(
                    made,
                    "SELECT bool_or(rolcreaterole) FROM pg_roles WHERE rolname IN (current_user, session_user)",
                )
                assert creates is False
                run_sql(made, "CREATE SCHEMA mine; CREATE TABLE public.t (id int)")
                assert "CREATE TABLE public.t" in dump.take(session.clone(made))
        else:
            with (
                pytest.raises(ExpectedError, match="may not be used") as caught,
                databases.session(*settings),
            ):
                pass
            assert "CREATE ROLE scratch LOGIN CREATEDB" in caught.value.hint
    finally:
        run_sql(server, f"DROP OWNED BY {role}")
        owners = run_sql(
            server,
            "SELECT string_agg(format('DROP ROLE %I', rolname), ';') FROM pg_roles r WHERE r.rolname LIKE"
            f" 'postgres_database_owner_%' AND pg_has_role('{role}', oid, 'MEMBER') AND NOT rolsuper",
        )
        run_sql(server, *(str(drop) for (drop,) in owners if drop), f"DROP ROLE {role}")


def test_a_scratch_server_that_lets_no_other_role_in(server: Database) -> None:
    """The error says which role the DSN should name."""
    refused = connection.Database(
        server.dsn.with_parts(user="postgres_nobody"), "scratch", alias=("a", "b")
    )
    with pytest.raises(ExpectedError) as caught, refused.connect():
        pass
    assert "CREATE ROLE scratch LOGIN CREATEDB" in caught.value.hint


SUPERUSERS = """
CREATE EXTENSION postgres_fdw;
CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw;
CREATE USER MAPPING FOR CURRENT_USER SERVER far OPTIONS (user 'u');
CREATE FOREIGN TABLE away (id int) SERVER far;
COMMENT ON EXTENSION postgres_fdw IS 'not ours';
CREATE TABLE here (id int);
CREATE FUNCTION sum_of(int, int) RETURNS int LANGUAGE internal IMMUTABLE AS 'int4pl';
ALTER FUNCTION sum_of(int, int) RENAME TO plus;
DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'ROLE') THEN CREATE ROLE ROLE; END IF; END $$;
GRANT SELECT ON here TO ROLE WITH GRANT OPTION;
SET SESSION AUTHORIZATION 'ROLE'; GRANT SELECT ON here TO PUBLIC; RESET SESSION AUTHORIZATION;
ALTER TABLE here OWNER TO ROLE; ALTER TABLE here OWNER TO postgres; ALTER TABLE here ADD name text;
SET session_replication_role = replica;
CREATE EVENT TRIGGER seen ON ddl_command_end EXECUTE FUNCTION noted();
ALTER EVENT TRIGGER seen DISABLE
"""


def test_what_only_a_superuser_may_make(project: Project, server: Database) -> None:
    """It is made on the scratch server statement by statement; before and after each the session is none."""
    role = f"made_{secrets.token_hex(6)}"
    with databases.session(*project.settings) as session:
        made = session.empty()
        run_sql(
            made, "CREATE FUNCTION noted() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'"
        )
        with made.connect(usual_path=True) as connection, connection.begin():
            cursor = connection.connection.cursor()
            for statement in [
                *SUPERUSERS.replace("ROLE", role)
                .replace(f"CREATE {role} ", "CREATE ROLE ")
                .split("\n")
            ]:
                cursor.execute(statement or "SELECT")
                cursor.execute(
                    "SELECT rolsuper FROM pg_roles WHERE rolname IN (current_user, session_user)"
                )
                assert cursor.fetchall() == [(False,), (False,)]
        dumped = dump.take(made)
    run_sql(server, f"DROP ROLE {role}")
    assert "user 'u'" in dumped.replace('"', "")
    assert f"SET SESSION AUTHORIZATION {role}" in dumped
    assert "CREATE EVENT TRIGGER seen" in dumped


def test_a_statement_that_the_server_reads_otherwise_is_not_run_by_a_superuser(
    project: Project,
) -> None:
    """A setting by which a quoted text ends earlier lets nothing that stands in it run."""
    with databases.session(*project.settings) as session:
        made = session.empty()
        run_sql(made, "CREATE EXTENSION postgres_fdw", "CREATE TABLE who (is_superuser text)")
        mark = "INSERT INTO who SELECT rolname FROM pg_roles"
        with pytest.raises(InsufficientPrivilege):
            run_sql(
                made,
                "SET standard_conforming_strings = off",
                f"COMMENT ON EXTENSION postgres_fdw IS 'it\\''; {mark}; --'",
            )


def test_a_superuser_in_a_scratch_database_is_waited_for(
    project: Project, server: Database
) -> None:
    """A role without rights cannot end autovacuum, which runs as a superuser; it drops the database after that."""
    role = f"{SCRATCH_PREFIX}{secrets.token_hex(6)}"
    settings = changed(project.settings, scratch=server.dsn.with_parts(user=role))
    run_sql(server, f"CREATE ROLE {role} LOGIN CREATEDB")
    try:
        with databases.session(*settings) as session:
            name = session.empty().dsn.database
            inside = replace(server, dsn=server.dsn.with_parts(dbname=name)).engine.connect()
            Timer(0.5, inside.close).start()
            session.drop(name)
        assert run_sql(server, f"SELECT FROM pg_database WHERE datname = '{name}'") == []
    finally:
        run_sql(server, f"DROP OWNED BY {role}", f"DROP ROLE {role}")
