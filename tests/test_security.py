"""What people wrote into a target never runs with rights that they do not have."""

import re
import secrets

import conftest
from conftest import Project, run_sql

from postgres_database import baseline, check
from postgres_database import revision as revision_module

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


def yes(*_: object) -> bool:
    """Answer every question."""
    return True


def called(token: str) -> dict[str, set[str]]:
    """Return from where the function was called on scratch databases, and whether a superuser called it."""
    log = conftest.test_server().log.read_text(errors="replace")
    found: dict[str, set[str]] = {}
    for its, place, superuser in CALLED.findall(log):
        if its == token:
            found.setdefault(place, set()).add(superuser)
    return found


def test_no_function_of_a_target_runs_as_a_superuser_of_the_scratch_server(
    project: Project,
) -> None:
    """Adopting, comparing, filling, probing and proving call functions only where they can do nothing."""
    token = secrets.token_hex(6)
    run_sql(project.database, EVIL.replace("TOKEN", token), ADOPTED)
    project.models("sa.Table('item', metadata, sa.Column('id', sa.Integer, primary_key=True))\n")
    adopted = baseline.baseline(project.settings, project.database, "Adopt", yes)
    project.script("second", adopted.revision, f"op.execute({STEPS!r})")

    check.check(project.settings, project.database)
    written = revision_module.revision(project.settings, "A table", no_renames=True)

    assert written.path
    found = called(token)
    places = set(re.findall(r"evil\('([\w ]+)'", ADOPTED + STEPS)) | {
        *("before_row", "after_statement", "deferred", "definer", "event trigger")
    }
    assert places - found.keys() == {"view"}  # which nothing reads
    assert {place for place, superuser in found.items() if superuser != {"f"}} == set()
