"""Rows of a target that stand in the way of pending scripts, seen before the first statement."""

from collections.abc import Sequence

import psycopg2
import pytest
from answers import yes
from commands import Heard, down, up
from conftest import ROOT, Project, changed, needs_version, run_sql

from postgres_database.errors import ExpectedError
from postgres_database.history.graph import Revision
from postgres_database.preflight import drops, row_checks, row_queries
from postgres_database.preflight.preview import Printed
from postgres_database.schema import dump
from postgres_database.server.connection import Database
from postgres_database.sql.syntax import statements

BEFORE = """
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE DOMAIN short AS text;
CREATE DOMAIN filled AS int DEFAULT 1;
CREATE TYPE pair AS (x int, y int);
CREATE TABLE tenants (id int PRIMARY KEY, region text, number int, UNIQUE (region, number));
INSERT INTO tenants VALUES (1, 'eu', 1), (2, 'us', 1);
CREATE TABLE users (id int PRIMARY KEY, email text, age int, tenant int, region text, number bigint, two pair,
                    note short, "100% %s ""x" text);
INSERT INTO users VALUES
    (7, NULL, 5, 1, 'eu', 1, (NULL, NULL), 'a', 'x'), (9, 'a@b', -1, 3, 'eu', NULL, NULL, 'long', 'x'),
    (12, 'a@b', 70000, NULL, NULL, NULL, (1, NULL), 'a', NULL), (100, 'A@B', NULL, 3, 'as', 1, (1, 2), NULL, NULL);
CREATE TABLE empty (id int);
CREATE TABLE "odd ""%s" ("a b" int, c text);
INSERT INTO "odd ""%s" VALUES (NULL, 'x'), (1, 'x');
CREATE SCHEMA other;
CREATE TABLE other.pairs (a int, b text, c int, PRIMARY KEY (a, b));
INSERT INTO other.pairs SELECT n % 2, 'n ' || n, NULL FROM generate_series(1, 7) n;
CREATE TABLE parts (id int NOT NULL, day date, v int) PARTITION BY RANGE (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10);
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (10) TO (20);
INSERT INTO parts VALUES (1, NULL, 1), (11, NULL, 1), (12, '2020-01-01', 1);
CREATE TABLE parent (id int PRIMARY KEY, v int);
CREATE TABLE child () INHERITS (parent);
INSERT INTO child VALUES (1, NULL), (1, NULL);
CREATE MATERIALIZED VIEW seen AS SELECT 'a' AS email FROM generate_series(1, 2);
CREATE TABLE old (id int PRIMARY KEY, age int, tenant int);
INSERT INTO old VALUES (1, 0, 3), (2, 1, NULL);
ALTER TABLE old ADD CONSTRAINT grown CHECK (age > 0) NOT VALID;
ALTER TABLE old ADD CONSTRAINT tenant FOREIGN KEY (tenant) REFERENCES tenants NOT VALID;
"""
NEW_COLUMN = (
    "4 rows of public.users have no value for the new column c, which is NOT NULL without a default:"
    " id = 7, 9, 12, 100"
)
CASES = {
    "ALTER TABLE users ALTER email SET NOT NULL": ["1 row of public.users has no value in email: id = 7"],
    "ALTER TABLE users ALTER number SET NOT NULL": ["2 rows of public.users have no value in number: id = 9, 12"],
    "ALTER TABLE users ALTER two SET NOT NULL": ["1 row of public.users has no value in two: id = 9"],
    'ALTER TABLE users ALTER "100% %s ""x" SET NOT NULL': [
        '2 rows of public.users have no value in "100% %s ""x": id = 12, 100'
    ],
    'ALTER TABLE "odd ""%s" ALTER "a b" SET NOT NULL': [
        '1 row of public."odd ""%s" has no value in "a b": ctid = (0,1)'
    ],
    "ALTER TABLE other.pairs ALTER c SET NOT NULL": [
        "7 rows of other.pairs have no value in c: (a, b) = (0, n 2), (0, n 4), (0, n 6), (1, n 1), (1, n 3), …"
    ],
    "ALTER TABLE parts ALTER day SET NOT NULL": [
        "2 rows of public.parts have no value in day: (tableoid::regclass, ctid) = (parts_1, (0,1)), (parts_2, (0,1))"
    ],
    "ALTER TABLE parts_2 ALTER day SET NOT NULL": ["1 row of public.parts_2 has no value in day: ctid = (0,1)"],
    "ALTER TABLE parent ALTER v SET NOT NULL": ["2 rows of public.parent have no value in v: id = 1, 1"],
    "ALTER TABLE users ADD c int NOT NULL": [
        NEW_COLUMN
    ],
    "ALTER TABLE users ADD c filled NOT NULL": [],
    "ALTER TABLE users ADD c int NOT NULL DEFAULT 0": [],
    "ALTER TABLE users ADD COLUMN IF NOT EXISTS age int NOT NULL": [],
    "ALTER TABLE empty ADD c int NOT NULL": [],
    "ALTER TABLE empty ADD c int PRIMARY KEY": [],
    "ALTER TABLE users ADD c int; ALTER TABLE users ALTER c SET NOT NULL": [
        NEW_COLUMN
    ],
    "ALTER TABLE users ADD CHECK (users.age > 0 AND email <> '%s')": [
        "1 row of public.users breaks CHECK (users.age > 0 AND email <> '%s'): id = 9"
    ],
    "ALTER TABLE users ADD CHECK (age > -2)": [],
    "ALTER TABLE parent ADD CHECK (v IS NOT NULL) NO INHERIT": [],
    "ALTER TABLE parent ADD NOT NULL v NO INHERIT": [],
    "ALTER TABLE parent ADD CHECK (v IS NOT NULL)": ["2 rows of public.parent have no value in v: id = 1, 1"],
    "ALTER TABLE old VALIDATE CONSTRAINT grown": ["1 row of public.old breaks CHECK (age > 0): id = 1"],
    "ALTER TABLE old VALIDATE CONSTRAINT tenant": [
        "1 row of public.old points to nothing in tenants by (tenant): id = 1"
    ],
    "ALTER TABLE users ADD UNIQUE (email)": ["2 rows of public.users are equal in (email): id = 9, 12"],
    "ALTER TABLE users ADD UNIQUE (region, number)": [],
    "ALTER TABLE users ADD UNIQUE NULLS NOT DISTINCT (number, age)": [],
    "ALTER TABLE users ADD UNIQUE NULLS NOT DISTINCT (number)": [
        "4 rows of public.users are equal in (number): id = 7, 9, 12, 100"
    ],
    "ALTER TABLE parent ADD UNIQUE (v)": [],
    "ALTER TABLE parts ADD UNIQUE (v, id)": [],
    "ALTER TABLE users DROP CONSTRAINT users_pkey, ADD PRIMARY KEY (number)": [
        "2 rows of public.users have no value in number: id = 9, 12",
        "2 rows of public.users are equal in (number): id = 7, 100",
    ],
    "CREATE UNIQUE INDEX ON users (lower(email) text_pattern_ops DESC) WHERE id > 7": [
        "3 rows of public.users are equal in (lower(email)) WHERE id > 7: id = 9, 12, 100"
    ],
    'CREATE UNIQUE INDEX ON users ((email || \'%\') COLLATE "C", tenant)': [],
    "CREATE UNIQUE INDEX IF NOT EXISTS users_pkey ON users (email)": [],
    "CREATE UNIQUE INDEX ON seen (email)": ["2 rows of public.seen are equal in (email): ctid = (0,1), (0,2)"],
    "CREATE UNIQUE INDEX ON parts_1 (v)": [],
    "ALTER TABLE users ADD FOREIGN KEY (tenant) REFERENCES tenants": [
        "2 rows of public.users point to nothing in tenants by (tenant): id = 9, 100"
    ],
    "ALTER TABLE users ADD FOREIGN KEY (region, number) REFERENCES tenants (region, number)": [
        "1 row of public.users points to nothing in tenants by (region, number): id = 100"
    ],
    "ALTER TABLE users ADD FOREIGN KEY (region, number) REFERENCES tenants (region, number) MATCH FULL": [
        "2 rows of public.users point to nothing in tenants by (region, number): id = 9, 100"
    ],
    "ALTER TABLE empty ADD FOREIGN KEY (id) REFERENCES tenants": [],
    "ALTER TABLE child ADD FOREIGN KEY (id) REFERENCES parent": [
        "2 rows of public.child point to nothing in parent by (id): ctid = (0,1), (0,2)"
    ],
    "ALTER TABLE users ALTER age TYPE smallint": [
        "1 row of public.users holds a value in age that does not become smallint: id = 12"
    ],
    "ALTER TABLE users ALTER age TYPE bigint": [],
    "ALTER TABLE users ALTER region TYPE char": [
        "3 rows of public.users hold a value in region that does not become char(1): id = 7, 9, 100"
    ],
    "ALTER TABLE users ALTER email TYPE text USING (age / (number - 1))::text": [
        "1 row of public.users holds a value in email that does not become text: id = 7"
    ],
    "ALTER TABLE users ALTER region TYPE varchar(2)": [],
    "ALTER TABLE users ALTER email TYPE varchar(2)": [
        "3 rows of public.users hold a value in email that does not become varchar(2): id = 9, 12, 100"
    ],
    "ALTER TABLE users ALTER email TYPE varchar(2) USING email::varchar(2)": [],
    "ALTER TABLE users ALTER email TYPE text": [],
    "ALTER TABLE users ALTER age TYPE numeric(3, 1)": [
        "1 row of public.users holds a value in age that does not become numeric(3, 1): id = 12"
    ],
    "ALTER TABLE users ALTER COLUMN note TYPE int USING age / (number - 1)": [
        "1 row of public.users holds a value in note that does not become int: id = 7"
    ],
    "ALTER TABLE users ALTER email TYPE mood USING CASE WHEN users.id > 7 THEN 'good' ELSE 'x%s' END::mood": [
        "1 row of public.users holds a value in email that does not become mood: id = 7"
    ],
    "ALTER TABLE parts ALTER day TYPE int USING extract(year FROM day)": [],
    "ALTER DOMAIN short ADD CHECK (length(VALUE) < 2)": [
        "1 row of public.users breaks CHECK (length(value) < 2): id = 9"
    ],
    "ALTER DOMAIN short SET NOT NULL": ["1 row of public.users breaks CHECK (value IS NOT NULL): id = 100"],
    # scripts that mend before they ask
    "UPDATE users SET email = '' WHERE email IS NULL; ALTER TABLE users ALTER email SET NOT NULL": [],
    "DELETE FROM child; ALTER TABLE parent ALTER v SET NOT NULL": [],
    "DELETE FROM parts; ALTER TABLE parts_1 ALTER day SET NOT NULL": [],
    "DROP TABLE parts_1, parts_2; ALTER TABLE parts ALTER day SET NOT NULL": [],
    "INSERT INTO tenants VALUES (3); ALTER TABLE old VALIDATE CONSTRAINT tenant": [],
    "ALTER TABLE old ALTER age TYPE int USING age + 1; ALTER TABLE old VALIDATE CONSTRAINT grown": [],
    "ALTER TABLE users DROP note; ALTER DOMAIN short ADD CHECK (length(VALUE) < 2)": [],
    "ALTER TYPE mood RENAME VALUE 'bad' TO 'x'; ALTER TABLE users ALTER email TYPE mood USING 'x'": [],
    "ALTER TABLE parts DETACH PARTITION parts_1; ALTER TABLE parts_1 ALTER v SET NOT NULL": [],
}  # fmt: skip


def seen(database: Database, text: str) -> tuple[list[str], list[str]]:
    """Return the violations and the notes for a script."""
    notes: list[str] = []
    step = Printed(Revision("aaaa", "m", ROOT), tuple(statements(text)), online=False)
    return [
        str(each) for each in row_checks.violations(database, [step], Heard(on_note=notes.append))
    ], notes


@pytest.mark.parametrize("text", CASES)
def test_violations_are_the_rows_on_which_a_script_fails(database: Database, text: str) -> None:
    """Violations are reported if, and only if, the script fails on them."""
    run_sql(database, BEFORE)
    assert seen(database, text) == (CASES[text], [])
    if CASES[text]:
        with pytest.raises(psycopg2.Error) as caught:
            run_sql(database, text)
        assert (caught.value.pgcode or "")[:2] in {"22", "23"}
    else:
        run_sql(database, text)


SHADOWS = """
CREATE SCHEMA mine;
CREATE DOMAIN mine.jsonb AS pg_catalog.text CHECK (false);
CREATE FUNCTION mine.add(pg_catalog.int8) RETURNS pg_catalog.int8 LANGUAGE sql AS 'SELECT NULL::pg_catalog.int8';
CREATE FUNCTION mine.num_nulls(pg_catalog.int4) RETURNS pg_catalog.int4 LANGUAGE sql AS 'SELECT 5';
CREATE FUNCTION mine.current_setting(pg_catalog.text) RETURNS pg_catalog.text LANGUAGE sql AS 'SELECT NULL::text';
CREATE FUNCTION mine.set_config(pg_catalog.text, pg_catalog.text, pg_catalog.bool) RETURNS pg_catalog.text
    LANGUAGE sql AS 'SELECT NULL::text';
CREATE FUNCTION mine.left(pg_catalog.text, pg_catalog.int4) RETURNS pg_catalog.text LANGUAGE sql AS 'SELECT $$42$$';
CREATE FUNCTION mine.never(pg_catalog.int8, pg_catalog.int4) RETURNS pg_catalog.bool
    LANGUAGE sql AS 'SELECT false';
CREATE OPERATOR mine.> (LEFTARG = pg_catalog.int8, RIGHTARG = pg_catalog.int4, FUNCTION = mine.never);
CREATE OPERATOR mine.<= (LEFTARG = pg_catalog.int8, RIGHTARG = pg_catalog.int4, FUNCTION = mine.never);
CREATE AGGREGATE mine.count(*) (SFUNC = mine.add, STYPE = pg_catalog.int8);
"""


@pytest.mark.parametrize(
    "text",
    [
        "ALTER TABLE users ALTER email SET NOT NULL",
        "ALTER TABLE users ADD UNIQUE (email)",
        "ALTER TABLE users ADD FOREIGN KEY (tenant) REFERENCES tenants",
        "ALTER TABLE users ALTER age TYPE smallint",
    ],
)
def test_queries_use_functions_of_postgresql(database: Database, text: str) -> None:
    """Functions of the database that have names of PostgreSQL's own change no result."""
    run_sql(database, BEFORE, SHADOWS)
    path = "SET search_path = mine, pg_catalog, public"
    run_sql(database, f"ALTER DATABASE {database.dsn.database} {path}")
    assert seen(database, text) == (CASES[text], [])
    step = Printed(Revision("aaaa", "m", ROOT), ("DROP TABLE tenants",), online=False)
    assert [*map(str, drops.dropped(database, [step]))] == ["2 rows of public.tenants are dropped"]


@pytest.mark.parametrize(
    "before",
    [
        "CREATE TRIGGER t AFTER INSERT ON empty EXECUTE FUNCTION mend()",
        "CREATE RULE r AS ON INSERT TO empty DO ALSO UPDATE users SET email = ''",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'UPDATE users SET email = ''''; SELECT 1'",
    ],
)
def test_rows_that_may_be_corrected_indirectly(database: Database, before: str) -> None:
    """Rows that an earlier statement may change by a trigger, a rule or a function are no violations."""
    mend = "BEGIN UPDATE users SET email = ''; RETURN NULL; END"
    run_sql(
        database,
        BEFORE,
        f"CREATE FUNCTION mend() RETURNS trigger LANGUAGE plpgsql AS $${mend}$$",
        before,
    )
    value = "f()" if "f()" in before else "1"
    text = f"INSERT INTO empty VALUES ({value}); ALTER TABLE users ALTER email SET NOT NULL"
    assert seen(database, text) == ([], [])
    run_sql(database, text)


def test_cascades_make_rows_uncertain(database: Database) -> None:
    """Rows that an earlier statement may delete by a cascade are no violations."""
    run_sql(database, BEFORE, "CREATE TABLE a (id int REFERENCES tenants ON DELETE CASCADE, v int)")
    run_sql(database, "INSERT INTO a VALUES (1)")
    text = "DELETE FROM tenants; ALTER TABLE a ALTER v SET NOT NULL"
    assert seen(database, text) == ([], [])
    run_sql(database, text)


def test_not_null_by_constraint(server: Database, database: Database) -> None:
    """NOT NULL that is added NOT VALID is required of rows when it is validated."""
    needs_version(server, 18, "NOT NULL … NOT VALID")
    run_sql(database, BEFORE, "ALTER TABLE users ADD CONSTRAINT n NOT NULL email NOT VALID")
    assert seen(database, "ALTER TABLE users ADD CONSTRAINT o NOT NULL number NOT VALID")[0] == []
    found, _ = seen(database, "ALTER TABLE users VALIDATE CONSTRAINT n")
    assert found == ["1 row of public.users has no value in email: id = 7"]


def test_failed_checks_are_noted(database: Database) -> None:
    """A failed query gives a note without values of rows; an object that does not exist yet gives none."""
    run_sql(database, BEFORE)
    assert seen(database, "ALTER TABLE users ADD CHECK (email::int > 0)") == (
        [],
        [
            "not known whether rows of users violate requirements of revision aaaa: an expression fails on one of them"
        ],
    )
    for text in ("no_function(age)", "no_column > 0", "age::no_type > 0"):
        assert seen(database, f"ALTER TABLE users ADD CHECK ({text})") == ([], [])
    assert seen(database, "ALTER TABLE nowhere ALTER a SET NOT NULL") == ([], [])
    assert seen(database, "ALTER TABLE users ALTER age TYPE int USING no_function(age)") == ([], [])


def test_checks_are_read_only(database: Database) -> None:
    """A function that a script calls for each row cannot write while the rows are checked."""
    writes = "INSERT INTO empty VALUES (1); SELECT 1"
    run_sql(database, BEFORE, f"CREATE FUNCTION f() RETURNS int LANGUAGE sql AS '{writes}'")
    found, notes = seen(database, "ALTER TABLE users ALTER email TYPE int USING f()")
    assert found == []
    assert "cannot execute INSERT in a read-only transaction" in notes[0]
    assert run_sql(database, "SELECT FROM empty") == []


def test_locked_table_is_noted(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A check waits only briefly for a locked table, and is noted."""
    run_sql(database, BEFORE)
    hurried = row_queries.BEGIN.replace("5s", "100ms")
    monkeypatch.setattr(row_queries, "BEGIN", hurried)
    with database.connect(usual_path=True) as other, other.begin():
        other.exec_driver_sql("LOCK TABLE users")
        found, notes = seen(
            database,
            "ALTER TABLE users ALTER email SET NOT NULL; ALTER TABLE other.pairs ADD c2 int NOT NULL",
        )
    assert [line.partition(":")[0] for line in found] == [
        "7 rows of other.pairs have no value for the new column c2, which is NOT NULL without a default"
    ]
    (note,) = notes
    assert note.startswith(
        "not known whether rows of users violate requirements of revision aaaa: "
    )
    assert note.endswith("another session has locked the table for more than 5 s")


def test_rows_that_a_policy_hides(database: Database) -> None:
    """Row security that hides rows gives a note; references to hidden rows are no violations."""
    run_sql(
        database,
        BEFORE,
        "UPDATE users SET tenant = 1 WHERE tenant = 3",
        "CREATE ROLE limited" if not roles(database) else "SELECT",
        "GRANT SELECT ON users, tenants TO limited",
        "ALTER TABLE tenants ENABLE ROW LEVEL SECURITY",
        f"ALTER DATABASE {database.dsn.database} SET role = limited",
    )
    found, notes = seen(database, "ALTER TABLE users ADD FOREIGN KEY (tenant) REFERENCES tenants")
    assert found == []
    assert "row-level security policy" in notes[0]
    assert seen(database, "ALTER TABLE other.pairs ALTER c SET NOT NULL")[0] == []


def roles(database: Database) -> Sequence[object]:
    return run_sql(database, "SELECT FROM pg_roles WHERE rolname = 'limited'")


@pytest.fixture
def shop(project: Project) -> Project:
    """A history whose second and third revision need rows that the target does not have."""
    run_sql(project.database, BEFORE)
    project.script("aaaa", "", "op.execute('CREATE TABLE made (a int)')")
    project.script(
        "bbbb",
        "aaaa",
        "op.alter_column('users', 'email', nullable=False); op.create_index('i', 'users', ['email'], unique=True)",
        "op.drop_table('tenants'); op.drop_column('users', 'age'); op.execute('DELETE FROM parent')",
    )
    project.script(
        "cccc", "bbbb", "op.add_column('users', sa.Column('c', sa.Text, nullable=False))"
    )
    run_sql(project.database, "DROP TABLE old")
    return project


def test_upgrade_ends_before_its_first_statement(shop: Project) -> None:
    """All violations are reported at once, before any question and any change."""
    before = dump.take(shop.database)
    protected = changed(shop.settings, protected=True)
    with pytest.raises(ExpectedError) as caught:
        up(protected, shop.database, confirm=lambda *_: pytest.fail("asked"))
    assert caught.value.what.endswith("violate requirements of 2 revisions; nothing was changed")
    assert caught.value.cause.splitlines() == [
        "bbbb: 1 row of public.users has no value in email: id = 7",
        "bbbb: 2 rows of public.users are equal in (email): id = 9, 12",
        f"cccc: {NEW_COLUMN}",
    ]
    assert caught.value.hint.startswith("invoke psql")
    assert "--skip-row-checks" in caught.value.hint
    assert dump.take(shop.database) == before
    result = up(shop.settings, shop.database, dry_run=True, confirm=yes)
    assert [each.revision.id for each in result.violations] == ["bbbb", "bbbb", "cccc"]
    with pytest.raises(ExpectedError, match="stopped at revision bbbb"):
        up(shop.settings, shop.database, confirm=yes, skip_row_checks=True)


def test_upgrade_after_rows_were_corrected(shop: Project) -> None:
    """After the violations are corrected, the same command succeeds."""
    run_sql(shop.database, "DELETE FROM users")
    assert up(shop.settings, shop.database, confirm=yes).after == ("cccc",)


MAY_BE = "may be dropped: a statement before it may change the search path"
LOST = [
    "2 rows of public.tenants are dropped",
    "values of public.users.age in 3 rows are dropped",
    "rows of public.parent are deleted; it has 2 now",
]


def test_downgrade_shows_losses(shop: Project) -> None:
    """The question before a downgrade, and its dry run, show how many rows and values are dropped."""
    up(shop.settings, shop.database, target="aaaa", confirm=yes)
    run_sql(shop.database, "UPDATE alembic_version SET version_num = 'bbbb'")
    result = down(shop.settings, shop.database, dry_run=True, confirm=yes)
    assert [*map(str, result.dropped)] == LOST
    asked: list[str] = []

    def refuse(_question: str, details: Sequence[str]) -> bool:
        asked.extend(details)
        return False

    with pytest.raises(ExpectedError, match="not confirmed"):
        down(shop.settings, shop.database, confirm=refuse)
    assert asked[-3:] == LOST
    with pytest.raises(ExpectedError, match="not confirmed"):
        down(shop.settings, shop.database, confirm=refuse, skip_row_checks=True)
    assert asked[-3:] == [
        "rows of tenants are dropped",
        "values of users.age are dropped",
        "rows of parent are deleted",
    ]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("DROP TABLE empty; ALTER TABLE empty DROP id; DROP MATERIALIZED VIEW seen; DROP TABLE nowhere", []),
        ("DROP SCHEMA other CASCADE", ["7 rows of other.pairs are dropped with schema other"]),
        ("DROP TABLE parts", ["3 rows of public.parts are dropped"]),
        ('ALTER TABLE "odd ""%s" DROP "a b"', ['values of public."odd ""%s"."a b" in 1 row are dropped']),
        ("ALTER TABLE tenants RENAME TO t; DROP TABLE t", ["2 rows of public.tenants are dropped"]),
        ("CREATE TABLE t (a int); DROP TABLE t", []),
        ("DO ''; TRUNCATE other.pairs", ["rows of other.pairs are deleted; it has 7 now"]),
        ("DO $$ BEGIN DROP TABLE parts; END $$", ["tables may be dropped with their rows by DO …"]),
        ("SET search_path = other; DROP TABLE pairs", [f"7 rows of other.pairs {MAY_BE}"]),
        ("SET LOCAL ROLE app; DROP TABLE tenants", [f"2 rows of public.tenants {MAY_BE}"]),
        ("SELECT set_config('search_path', 'other', true); DROP TABLE pairs", [f"7 rows of other.pairs {MAY_BE}"]),
        ("SET search_path = other; DROP TABLE public.parts", ["3 rows of public.parts are dropped"]),
        ("SET search_path = other; CREATE TABLE parts (a int); DROP TABLE parts", []),
        ("ALTER SCHEMA other RENAME TO o; ALTER SCHEMA o RENAME TO n; DROP TABLE n.pairs",
            ["7 rows of other.pairs are dropped"]),
        ("ALTER SCHEMA other RENAME TO o; DROP SCHEMA o CASCADE",
            ["7 rows of other.pairs are dropped with schema other"]),
        ("DROP OWNED BY app", ["tables may be dropped with their rows by DROP OWNED BY app"]),
        ("CREATE FUNCTION f() RETURNS void LANGUAGE sql AS 'DROP TABLE parts'", []),
    ],
)  # fmt: skip
def test_rows_that_are_dropped(database: Database, text: str, lines: list[str]) -> None:
    """Dropped rows are counted in the target; empty tables and those that the scripts create are not reported."""
    run_sql(database, BEFORE)
    step = Printed(Revision("aaaa", "m", ROOT), tuple(statements(text)), online=False)
    assert [*map(str, drops.dropped(database, [step]))] == lines


DEPENDING = """
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE DOMAIN state AS mood[];
CREATE TYPE pair AS (a mood, b int);
CREATE TABLE people (id int PRIMARY KEY, feels mood, felt state, "Both" pair, old mood);
INSERT INTO people VALUES (1, 'good', '{bad}', '(good,1)'), (2, 'bad', NULL, NULL);
CREATE TABLE nobody (id int, feels mood);
CREATE FUNCTION "Twice"(n int) RETURNS int IMMUTABLE RETURN n * 2;
CREATE TABLE sums (
    n int, twice int GENERATED ALWAYS AS ("Twice"(n)) STORED, four int DEFAULT "Twice"(2), CHECK ("Twice"(n) > 0)
);
INSERT INTO sums VALUES (1);
CREATE FUNCTION region(text) RETURNS text IMMUTABLE RETURN $1;
CREATE TABLE places (name text) PARTITION BY LIST (region(name));
CREATE TABLE places_a PARTITION OF places FOR VALUES IN ('a');
INSERT INTO places VALUES ('a');
CREATE TABLE item OF pair;
CREATE TABLE one (id int PRIMARY KEY, v text);
CREATE TABLE child (w int) INHERITS (one);
INSERT INTO one VALUES (1, 'x'); INSERT INTO child VALUES (2, 'y', 3);
CREATE TABLE other_one (id int REFERENCES one, whole one);
INSERT INTO other_one VALUES (1, '(1,x)');
CREATE SEQUENCE numbers OWNED BY one.id;
ALTER TABLE one ALTER id SET DEFAULT nextval('numbers');
CREATE VIEW seen AS SELECT * FROM one;
CREATE SCHEMA app;
CREATE TYPE app.kind AS ENUM ('k');
CREATE TABLE app.own (id int);
INSERT INTO app.own VALUES (1);
CREATE TABLE kinds (k app.kind);
INSERT INTO kinds VALUES ('k');
CREATE EXTENSION hstore;
CREATE TABLE bags (bag hstore);
INSERT INTO bags VALUES ('a=>1');
"""


ELSEWHERE = "not counted: a statement before it may change the search path"


@pytest.mark.parametrize(
    ("text", "lines", "tables"),
    [
        ("DROP TYPE mood CASCADE", ['parts of the values of public.people."Both" in 1 row are dropped with type mood',
                                    "values of public.people.feels in 2 rows are dropped with type mood",
                                    "values of public.people.felt in 1 row are dropped with type mood"], False),
        ("DROP TYPE IF EXISTS public.pair, nothing CASCADE",
         ['values of public.people."Both" in 1 row are dropped with type public.pair'], False),
        ("DROP DOMAIN state CASCADE", ["values of public.people.felt in 1 row are dropped with type state"], False),
        ('DROP FUNCTION "Twice"(int) CASCADE',
         ['values of public.sums.twice in 1 row are dropped with function "Twice"'], False),
        ('DROP ROUTINE "Twice" CASCADE',
         ['values of public.sums.twice in 1 row are dropped with function "Twice"'], False),
        ("DROP ROUTINE region(text) CASCADE",
         ["1 row of public.places is dropped with function region"], True),
        ("DROP EXTENSION hstore CASCADE",
         ["values of public.bags.bag in 1 row are dropped with extension hstore"], False),
        ("DROP SCHEMA app CASCADE",
         ["1 row of app.own is dropped with schema app",
          "values of public.kinds.k in 1 row are dropped with schema app"],
         True),
        ("DROP TABLE one CASCADE",
         ["2 rows of public.one are dropped", "1 row of public.child is dropped with table one",
          "values of public.other_one.whole in 1 row are dropped with table one"], True),
        ('ALTER TABLE people ALTER feels TYPE text, DROP felt, DROP "Both"; DROP TYPE mood CASCADE',
         ["values of public.people.felt in 1 row are dropped", 'values of public.people."Both" in 1 row are dropped'],
         False),
        ("ALTER TYPE pair RENAME TO two; DROP TYPE two CASCADE",
         ['values of public.people."Both" in 1 row are dropped with type pair'], False),
        ("ALTER TABLE one DROP CONSTRAINT one_pkey CASCADE; DROP SEQUENCE numbers CASCADE; DROP VIEW seen CASCADE",
         [], False),
        ("ALTER TABLE one DROP v CASCADE",
         ["values of public.one.v in 2 rows are dropped",
          "parts of the values of public.other_one.whole in 1 row are dropped with column one.v"], False),
        ("CREATE TYPE new AS ENUM ('a'); DROP TYPE new CASCADE", [], False),
        ("SET search_path = app; DROP TYPE kind CASCADE",
         [f"what depends on type kind is dropped, with rows and values   ({ELSEWHERE})"], True),
        ("DO $$ BEGIN DROP TYPE mood CASCADE; END $$", ["tables may be dropped with their rows by DO …"], True),
        ("DROP TABLE :name", ["tables may be dropped with their rows by DROP TABLE :name"], True),
    ],
)  # fmt: skip
def test_losses_by_cascade_are_counted(
    database: Database, text: str, lines: list[str], *, tables: bool
) -> None:
    """Tables and columns that depend on a dropped object are counted like those that are dropped by name."""
    run_sql(database, DEPENDING)
    step = Printed(Revision("aaaa", "m", ROOT), tuple(statements(text)), online=False)
    found = drops.dropped(database, [step])
    assert ([*map(str, found)], any(each.table for each in found)) == (lines, tables)
    if ":" not in text:
        run_sql(database, text)


def test_drop_owned_is_counted(database: Database, role: str) -> None:
    """DROP OWNED must be confirmed, and the rows of the role's tables are counted."""
    run_sql(
        database,
        "CREATE TABLE his (id int)",
        "INSERT INTO his VALUES (1)",
        f"ALTER TABLE his OWNER TO {role}",
    )
    step = Printed(Revision("aaaa", "m", ROOT), (f"DROP OWNED BY {role}",), online=False)
    found = drops.dropped(database, [step])
    run_sql(database, "DROP TABLE his")
    assert [*map(str, found)] == [
        f"1 row of public.his is dropped with role {role}",
        f"tables may be dropped with their rows by DROP OWNED BY {role}",
    ]


def test_uncounted_cascades_must_be_confirmed(database: Database) -> None:
    """Without counting, everything that depends on an object must be confirmed like a table."""
    step = Printed(Revision("aaaa", "m", ROOT), ("DROP TYPE mood CASCADE",), online=False)
    (found,) = drops.dropped(database, [step], counted=False)
    assert (str(found), found.table) == (
        "what depends on type mood is dropped, with rows and values",
        True,
    )
