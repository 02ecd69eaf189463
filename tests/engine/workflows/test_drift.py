"""A database against its revision: what differs, and what brings it back."""

import pytest
from answers import yes
from commands import up
from conftest import Project, changed, run_sql

from postgres_database.errors import ExpectedError
from postgres_database.schema import snapshot
from postgres_database.scratch import databases
from postgres_database.workflows import check, drift
from postgres_database.workflows.standing import Drifts

BASE = """
CREATE SCHEMA audit;
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE TABLE users (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email varchar(80) UNIQUE, mood mood,
    status varchar(9) CHECK (status IN ('new', 'old')), team int);
CREATE TABLE teams (id int PRIMARY KEY, name text NOT NULL DEFAULT 'x');
ALTER TABLE users ADD CONSTRAINT users_team_fkey FOREIGN KEY (team) REFERENCES teams;
CREATE INDEX users_lower ON users (lower(email)) WHERE team > 1;
CREATE VIEW happy AS SELECT id, email FROM users WHERE mood = 'ok';
CREATE FUNCTION audit.note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER note BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION audit.note();
ALTER TABLE users ENABLE ROW LEVEL SECURITY;
CREATE POLICY all_of_them ON users USING (true);
CREATE TABLE numbered (id serial PRIMARY KEY);
CREATE TABLE log (day date NOT NULL, CONSTRAINT log_day CHECK (day > '2000-01-01')) PARTITION BY RANGE (day);
CREATE TABLE log_2026 PARTITION OF log FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE EXTENSION hstore;
CREATE PUBLICATION pub FOR TABLE users;
CREATE EXTENSION postgres_fdw;
CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw;
DO $$ BEGIN CREATE ROLE drift_granter; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;
CREATE TABLE granted (x int);
GRANT SELECT ON granted TO drift_granter WITH GRANT OPTION;
SET ROLE drift_granter;
GRANT SELECT ON granted TO app;
RESET ROLE;
GRANT SELECT ON happy TO app;
COMMENT ON TABLE teams IS 'of users';
"""

# What somebody did by hand, and the objects that then differ.
CHANGES = {
    "column added": ("ALTER TABLE teams ADD odd int", ["TABLE teams"]),
    "column dropped": ("ALTER TABLE teams DROP name", ["TABLE teams"]),
    "type changed": ("ALTER TABLE teams ALTER name TYPE varchar(9)", ["TABLE teams"]),
    "default of a serial dropped": ("ALTER TABLE numbered ALTER id DROP DEFAULT", ["DEFAULT numbered id"]),
    "default changed": ("ALTER TABLE teams ALTER name SET DEFAULT 'y'", ["TABLE teams"]),
    "not null dropped": ("ALTER TABLE teams ALTER name DROP NOT NULL", ["TABLE teams"]),
    "table added": ("CREATE TABLE other (id int)", ["TABLE other"]),
    "table dropped": (
        "DROP TABLE teams CASCADE",
        ["COMMENT TABLE teams", "CONSTRAINT teams teams_pkey", "FK CONSTRAINT users users_team_fkey", "TABLE teams"],
    ),
    "check changed": (
        "ALTER TABLE users DROP CONSTRAINT users_status_check, ADD CONSTRAINT users_status_check CHECK (status <> '')",
        ["TABLE users"],
    ),
    "foreign key not validated": (
        ("ALTER TABLE users DROP CONSTRAINT users_team_fkey,"
        " ADD CONSTRAINT users_team_fkey FOREIGN KEY (team) REFERENCES teams NOT VALID"),
        ["FK CONSTRAINT users users_team_fkey"],
    ),
    "unique dropped": ("ALTER TABLE users DROP CONSTRAINT users_email_key", ["CONSTRAINT users users_email_key"]),
    "index dropped": ("DROP INDEX users_lower", ["INDEX users_lower"]),
    "index changed": ("DROP INDEX users_lower; CREATE INDEX users_lower ON users (email)", ["INDEX users_lower"]),
    "index added": ("CREATE INDEX fast ON users (team)", ["INDEX fast"]),
    "index invalid": (
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'users_lower'::regclass",
        ["INDEX users_lower"],
    ),
    "view changed": ("CREATE OR REPLACE VIEW happy AS SELECT id, email FROM users", ["VIEW happy"]),
    "view added": ("CREATE VIEW sad AS SELECT 1 AS x", ["VIEW sad"]),
    "function changed": (
        "CREATE OR REPLACE FUNCTION audit.note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        ["FUNCTION audit.note()"],
    ),
    "trigger disabled": ("ALTER TABLE users DISABLE TRIGGER note", ["TRIGGER users note"]),
    "policy dropped": ("DROP POLICY all_of_them ON users", ["POLICY users all_of_them"]),
    "enum value added": ("ALTER TYPE mood ADD VALUE 'glad'", ["TYPE mood"]),
    "comment changed": ("COMMENT ON TABLE teams IS 'theirs'", ["COMMENT TABLE teams"]),
    "grant": ("GRANT SELECT ON teams TO app", ["ACL TABLE teams"]),
    "sequence added": ("CREATE SEQUENCE numbers", ["SEQUENCE numbers"]),
    "schema added": ("CREATE SCHEMA more", ["SCHEMA more"]),
    "partition detached": (
        "ALTER TABLE log DETACH PARTITION log_2026; ALTER TABLE log DROP CONSTRAINT log_day",
        ["TABLE ATTACH log_2026", "TABLE log"],
    ),
    "partition dropped": ("DROP TABLE log_2026", ["TABLE log_2026", "TABLE ATTACH log_2026"]),
    "publication": ("ALTER PUBLICATION pub ADD TABLE teams", ["PUBLICATION TABLE pub teams"]),
    "extension moved": (
        "ALTER EXTENSION hstore SET SCHEMA audit",
        ["EXTENSION hstore"],
    ),
    "user mapping": (
        "CREATE USER MAPPING FOR app SERVER far OPTIONS (user 'u')",
        ["USER MAPPING USER MAPPING app SERVER far"],
    ),
    "grants of several grantors": (
        "SET ROLE drift_granter; REVOKE SELECT ON granted FROM app; RESET ROLE; REVOKE SELECT ON happy FROM app",
        ["ACL TABLE granted", "ACL TABLE happy"],
    ),
    "two at once": ("ALTER TABLE teams ADD odd int; DROP VIEW happy", ["ACL TABLE happy", "TABLE teams", "VIEW happy"]),
}  # fmt: skip


@pytest.fixture
def drifting(project: Project) -> Project:
    """A database that one script made."""
    project.models("")
    (project.versions / "aaaa.sql").write_text(BASE)
    project.script(
        "aaaa",
        "",
        "from postgres_database.history import operations\n"
        "op.execute_file(__file__.removesuffix('.py') + '.sql')",
    )
    up(project.settings, project.database, confirm=yes)
    return project


def found(project: Project) -> Drifts:
    with databases.session(*project.settings) as session:
        at = session.at_head(project.settings.project)
        return drift.find(project.settings.project, project.database, at, session, repair=True)


def checked(project: Project) -> check.TargetCheck:
    target = check.compare(*project.settings, project.database).target
    assert target is not None
    return target


EACH = [
    pytest.param(*case, id=name, marks=pytest.mark.slow if number % 3 else ())
    for number, (name, case) in enumerate(CHANGES.items())
]


@pytest.mark.long
@pytest.mark.parametrize(("change", "objects"), EACH)
def test_drift_is_named_and_brought_back(
    drifting: Project, change: str, objects: list[str]
) -> None:
    """What was changed by hand is named, object by object; the statements that are told bring it back."""
    run_sql(drifting.database, change)
    differing = snapshot.take(drifting.database)
    drifts = found(drifting)
    assert sorted(str(each.key) for each in drifts.objects) == sorted(objects)
    assert snapshot.take(drifting.database) == differing  # only read
    assert all(each.history != each.target for each in drifts.objects)
    assert sorted(drifts.repair) == sorted(text for each in drifts.objects for text in each.repair)
    for statement in drifts.repair:
        with drifting.database.connect(autocommit=True, usual_path=True) as connection:
            connection.connection.cursor().execute(statement)
    assert found(drifting).objects == ()


def test_rights_are_given_before_they_are_taken(drifting: Project) -> None:
    """A repair of grants takes no right away that is to stay."""
    run_sql(drifting.database, "GRANT UPDATE ON happy TO app")
    (repair,) = found(drifting).objects
    assert repair.repair == ("REVOKE UPDATE ON TABLE public.happy FROM app;",)


@pytest.mark.long
def test_secret_that_a_repair_lacks(drifting: Project) -> None:
    """A repair that would write the mask in the place of a secret says so."""
    path = drifting.versions / "aaaa.sql"
    mapping = "CREATE USER MAPPING FOR app SERVER far OPTIONS (password 'p');\n"
    path.write_text(path.read_text() + mapping)
    drifts = found(drifting)
    assert [str(each.key) for each in drifts.objects] == [
        "USER MAPPING USER MAPPING app SERVER far"
    ]
    assert drifts.losses == ("a secret belongs in the place of ***, which only you know",)


def test_what_nobody_knows_to_repair(drifting: Project) -> None:
    """Objects that the statements do not bring back are told as such."""
    run_sql(
        drifting.database,
        "ALTER SERVER far OPTIONS (ADD host 'x'); CREATE VIEW more AS SELECT 1 AS x",
        "CREATE FOREIGN TABLE there (x int) SERVER far",
    )
    drifts = found(drifting)
    assert set(drifts.unrepaired) <= {each.key for each in drifts.objects}
    assert "VIEW more" not in map(str, drifts.unrepaired)


@pytest.mark.long
@pytest.mark.parametrize(
    "change",
    [
        'ALTER TABLE teams RENAME TO "other ""teams"',
        "ALTER TABLE teams RENAME name TO label",
        "ALTER TABLE teams RENAME TO groups; ALTER TABLE groups RENAME name TO label",
        "ALTER TABLE teams SET SCHEMA audit",
    ],
)
def test_what_was_renamed_is_renamed_back(drifting: Project, change: str) -> None:
    """A name that was changed by hand is changed back: the rows stay."""
    run_sql(drifting.database, "INSERT INTO teams VALUES (1, 'kept')", change)
    drifts = found(drifting)
    assert drifts.losses == ()
    run_sql(drifting.database, *drifts.repair)
    assert found(drifting).objects == ()
    assert run_sql(drifting.database, "SELECT id, name FROM teams") == [(1, "kept")]


def test_what_a_repair_loses_is_told(drifting: Project) -> None:
    """Dropping what is not in the history drops its rows: that is said."""
    run_sql(drifting.database, "CREATE TABLE other (id int); ALTER TABLE users ADD odd int")
    assert found(drifting).losses == (
        "the rows of table other are dropped",
        "the values of column users.odd are dropped",
    )


@pytest.mark.long
@pytest.mark.parametrize(
    "change",
    [
        "CREATE TABLE log_2027 PARTITION OF log FOR VALUES FROM ('2027-01-01') TO ('2028-01-01')",
        "INSERT INTO teams VALUES (1, 'a'); INSERT INTO users (email, team) VALUES ('a', 1)",
        "ALTER TABLE teams DROP name; ALTER TABLE teams ADD name text NOT NULL DEFAULT 'x'",
        (
            "ALTER TABLE users DROP CONSTRAINT users_status_check, ADD CONSTRAINT users_status_check CHECK"
            " ((status)::text = ANY (ARRAY[('new'::varchar)::text, ('old'::varchar)::text]))"
        ),
        "CREATE TABLE flyway_schema_history (x int)",
    ],
)
def test_what_is_no_drift(drifting: Project, change: str) -> None:
    """Rows, the order of columns, spelling, partitions made since and tables of other tools are no drift."""
    run_sql(drifting.database, change)
    assert found(drifting).objects == ()


def test_excluded_objects_are_no_drift(drifting: Project) -> None:
    """What alembic.ini excludes is somebody else's business."""
    run_sql(drifting.database, "CREATE TABLE x_backup (x int)")
    drifting.settings = changed(drifting.settings, exclude=("*_backup",))
    assert found(drifting).objects == ()


def test_pending_revisions_are_no_drift(drifting: Project) -> None:
    """A target is compared with the revision that it is stamped with, not with the head."""
    drifting.script("bbbb", "aaaa", "op.execute('CREATE TABLE later (x int)')")
    target = checked(drifting)
    assert target.drifts.objects == ()
    assert target.pending == ("bbbb  Message of bbbb",)


def test_database_without_a_stamp(drifting: Project) -> None:
    """Of a database without a revision everything is drift."""
    run_sql(drifting.database, "DROP TABLE alembic_version")
    target = checked(drifting)
    assert target.revision == ()
    assert len(target.drifts.objects) > 10


def test_database_of_another_history(drifting: Project) -> None:
    """A revision that no script has is an error: there is nothing to compare with."""
    run_sql(drifting.database, "UPDATE alembic_version SET version_num = 'theirs'")
    with pytest.raises(ExpectedError, match="theirs"):
        check.compare(*drifting.settings, drifting.database)
    assert len(drifting.settings.project.history.revisions) == 1
