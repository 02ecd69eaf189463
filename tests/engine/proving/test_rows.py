"""Scratch databases are filled with rows that satisfy all constraints, and lost rows and values are noticed."""

import secrets
from collections.abc import Iterator, Mapping, Sequence

import pytest
from conftest import fresh, run_sql

from postgres_database.proving import contents, lost_rows, made_up_rows
from postgres_database.proving.constraints import Sandbox
from postgres_database.schema import catalog
from postgres_database.server.connection import Database
from postgres_database.sql.names import Name, quoted


@pytest.fixture
def goal(server: Database) -> Iterator[Database]:
    """Another fresh empty database."""
    with fresh(server) as made:
        yield made


def each(cases: Mapping[str, str]) -> list[str]:
    """Return statements that run each case in a schema of its own."""
    return [
        f"CREATE SCHEMA {quoted(case)}; SET LOCAL search_path TO {quoted(case)}; {sql}"
        for case, sql in cases.items()
    ]


def numbers(database: Database, schema: str = "public") -> dict[str, int]:
    """Return how many rows the tables of a schema have."""
    tables = contents.take(database).tables
    return {name: rows.number for (where, name), rows in tables.items() if where == schema}


USER_TYPES = r"""
    CREATE TYPE mood AS ENUM ('sad', 'it''s "ok" \ %s', '{a,b}');
    CREATE DOMAIN above AS integer CHECK (VALUE > 41);
    CREATE DOMAIN code AS varchar(8) CHECK (VALUE ~ '^[A-Z]{2}-[0-9]+$');
    CREATE TYPE pair AS (a above, "b c" text, m mood);
    CREATE TYPE floats AS RANGE (subtype = float8, multirange_type_name = floatsmulti);
    CREATE TABLE parent (x integer, y text);
"""
TYPES = [
    *("smallint", "integer", "bigint", "numeric", "numeric(3,2)", "numeric(2,2)", "numeric(4,-2)", "real", "money"),
    *("double precision", "oid", "regclass", "text", "varchar", "varchar(1)", "char(3)", "char", "name", '"char"'),
    *("boolean", "date", "time", "timetz", "timestamp(0)", "timestamptz", "interval", "interval year to month"),
    *("interval hour", "uuid", "json", "jsonb", "bytea", "bit", "bit(5)", "bit varying(3)", "inet", "cidr"),
    *("macaddr", "macaddr8", "point", "line", "lseg", "box", "path", "polygon", "circle", "tsvector", "tsquery"),
    *("pg_lsn", "jsonpath", "tid", "xid", "refcursor", "pg_snapshot", "int4range", "numrange", "tstzrange"),
    *("daterange", "int4multirange", "datemultirange", "integer[]", "text[][]", "jsonb[]", "numeric(3,2)[]"),
    *("varchar(2)[]", "box[]", "interval[]", "int4range[]", "mood", "mood[]", "above", "above[]", "code"),
    *("pair", "pair[]", "floats", "floatsmulti", "parent"),
]  # fmt: skip


def test_types(database: Database, goal: Database) -> None:
    """A column of any type gets two different values, and NULL in a third row."""
    tables = [f"CREATE TABLE {quoted(f'of {type_}')} (x {type_})" for type_ in TYPES]
    for side in (database, goal):
        run_sql(side, USER_TYPES, *tables)
    assert made_up_rows.fill(database, goal) == ()
    query = "SELECT count(*), count(x), count(DISTINCT x::text) FROM "
    found = {type_: run_sql(database, query + quoted(f"of {type_}")) for type_ in TYPES}
    assert {type_: result for type_, result in found.items() if result != [(3, 2, 2)]} == {}


@pytest.mark.long
def test_text_becomes_anything(database: Database, goal: Database) -> None:
    """A text column whose type changes in the goal gets values that the new type accepts."""
    types = dict(enumerate(TYPES))
    run_sql(database, USER_TYPES, *(f"CREATE TABLE t{n} (x text UNIQUE)" for n in types))
    run_sql(goal, USER_TYPES, *(f"CREATE TABLE t{n} (x {type_})" for n, type_ in types.items()))
    assert made_up_rows.fill(database, goal) == ()
    before = contents.take(database)
    run_sql(database, *(f"ALTER TABLE t{n} DROP CONSTRAINT t{n}_x_key" for n in types))
    for n, type_ in types.items():
        run_sql(database, f"ALTER TABLE t{n} ALTER x TYPE {type_} USING x::{type_}")
    assert lost_rows.compare(before, contents.take(database)).lost == ()


# Statements, and how many rows each table gets.
FILLED: dict[str, tuple[str, dict[str, int]]] = {
    "check": ("CREATE TABLE t (x int CHECK (x > 17 AND x < 21))", {"t": 3}),
    "list": ("CREATE TABLE t (x text NOT NULL CHECK (x IN ('a', 'it''s', '%s')))", {"t": 3}),
    "length": ("CREATE TABLE t (x text NOT NULL CHECK (length(x) = 17))", {"t": 3}),
    "LIKE": ("CREATE TABLE t (x varchar(9) UNIQUE CHECK (x LIKE 'A_c%'))", {"t": 3}),
    "regular expression": (
        r"CREATE TABLE t (x text NOT NULL UNIQUE CHECK (x ~ '^[[:alpha:]]{2,4}\.(?:\d+|x)#$'))",
        {"t": 3},
    ),
    "address": ("CREATE TABLE t (x text NOT NULL CHECK (x ~* '^[^@]+@[^@]+[.][a-z]+$'))", {"t": 3}),
    "telephone": (
        r"CREATE TABLE t (x text NOT NULL CHECK (x ~ '^\+(\d{2} ){3}[1-9]\d?$'))",
        {"t": 3},
    ),
    "keys": ("CREATE TABLE t (x jsonb NOT NULL CHECK (x ? 'name'))", {"t": 3}),
    "elements": (
        "CREATE TABLE t (x text[] NOT NULL CHECK (cardinality(x) > 0 AND x <@ ARRAY['y', 'z']))",
        {"t": 3},
    ),
    "two columns": ("CREATE TABLE t (a date NOT NULL, b date NOT NULL, CHECK (a < b))", {"t": 3}),
    "one of many": (
        """CREATE TABLE t (a int, b text, c uuid, d date, e int, f int, g text,
        CHECK (num_nonnulls(a, b, c, d, e, f, g) = 1))""",
        {"t": 3},
    ),
    "either": ("CREATE TABLE t (a int, b text, CHECK ((a IS NULL) <> (b IS NULL)))", {"t": 3}),
    "many checks": (
        """CREATE TABLE t (a int CHECK (a > 5), b int CHECK (b < 0), c text CHECK (c = 'x'),
        d numeric(3, 2) NOT NULL CHECK (d BETWEEN 0 AND 1), CHECK (a + b < 1))""",
        {"t": 3},
    ),
    "two values": ("CREATE TABLE t (x boolean UNIQUE NOT NULL)", {"t": 2}),
    "one value": ("CREATE TABLE t (x int PRIMARY KEY CHECK (x = 7))", {"t": 1}),
    "one NULL": ("CREATE TABLE t (x int, UNIQUE NULLS NOT DISTINCT (x))", {"t": 3}),
    "unique expression": (
        "CREATE TABLE t (x text NOT NULL, y int); CREATE UNIQUE INDEX ON t (lower(x))",
        {"t": 3},
    ),
    "unique column and expression": (
        """CREATE TABLE t (x text NOT NULL, y int NOT NULL CHECK (y = 1));
        CREATE UNIQUE INDEX ON t (y, length(x))""",
        {"t": 3},
    ),
    "domains without NULL": (
        """CREATE DOMAIN given AS int NOT NULL;
        CREATE TABLE t (a given, b given, c given, d given, e given, f given, g given, h given)""",
        {"t": 3},
    ),
    "unique where": (
        "CREATE TABLE t (x boolean NOT NULL, y int); CREATE UNIQUE INDEX ON t (x) WHERE x",
        {"t": 3},
    ),
    "exclusion": (
        """CREATE TABLE t (x tstzrange NOT NULL, y int4range,
        EXCLUDE USING gist (x WITH &&), EXCLUDE USING gist (y WITH &&))""",
        {"t": 3},
    ),
    "no columns": ("CREATE TABLE t ()", {"t": 3}),
    "serial": ("CREATE TABLE t (id serial PRIMARY KEY, x text UNIQUE)", {"t": 3}),
    "identity": ("CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY)", {"t": 3}),
    "generated": (
        "CREATE TABLE t (x int NOT NULL, y int GENERATED ALWAYS AS (x * 2) STORED UNIQUE)",
        {"t": 3},
    ),
    "steps": (
        """CREATE TABLE t (id int GENERATED BY DEFAULT AS IDENTITY (START 50 INCREMENT 10) PRIMARY KEY);
        CREATE TABLE a (id int REFERENCES t NOT NULL)""",
        {"t": 3, "a": 3},
    ),
    'na%s."me': (
        """CREATE TYPE "My %s.Type" AS ENUM ('%', 'b');
        CREATE TABLE "order" ("select" int PRIMARY KEY, "%(a)s" text NOT NULL CHECK ("%(a)s" <> '%'),
        "ü.x" int REFERENCES "order", "O'" "My %s.Type" NOT NULL)""",
        {"order": 3},
    ),
    "default of an odd type": (
        "CREATE TABLE t (x aclitem NOT NULL DEFAULT '=r/pg_monitor')",
        {"t": 3},
    ),
    "foreign key": (
        "CREATE TABLE z (id uuid PRIMARY KEY); CREATE TABLE a (z uuid NOT NULL UNIQUE REFERENCES z)",
        {"z": 3, "a": 3},
    ),
    "composite foreign key": (
        """CREATE TABLE z (a int, b text, PRIMARY KEY (b, a));
        CREATE TABLE a (x text NOT NULL, y int NOT NULL, FOREIGN KEY (x, y) REFERENCES z)""",
        {"z": 3, "a": 3},
    ),
    "MATCH FULL": (
        """CREATE TABLE z (a int, b text, UNIQUE (a, b));
        CREATE TABLE a (x text, y int, FOREIGN KEY (y, x) REFERENCES z (a, b) MATCH FULL)""",
        {"z": 3, "a": 3},
    ),
    "tenants": (
        """CREATE TABLE z (id serial PRIMARY KEY);
        CREATE TABLE y (z int NOT NULL REFERENCES z, id serial, PRIMARY KEY (z, id));
        CREATE TABLE x (z int NOT NULL REFERENCES z, id serial, PRIMARY KEY (z, id));
        CREATE TABLE a (z int, y int, x int, PRIMARY KEY (z, y),
        FOREIGN KEY (z, y) REFERENCES y, FOREIGN KEY (z, x) REFERENCES x)""",
        {"z": 3, "y": 3, "x": 3, "a": 3},
    ),
    "many to many": (
        """CREATE TABLE z (id serial PRIMARY KEY); CREATE TABLE y (id serial PRIMARY KEY);
        CREATE TABLE a (z int REFERENCES z, y int REFERENCES y, PRIMARY KEY (z, y))""",
        {"z": 3, "y": 3, "a": 3},
    ),
    "key that is a reference": (
        "CREATE TABLE z (id serial PRIMARY KEY); CREATE TABLE a (id serial PRIMARY KEY REFERENCES z)",
        {"z": 3, "a": 3},
    ),
    "self": ("CREATE TABLE t (id serial PRIMARY KEY, up int REFERENCES t)", {"t": 3}),
    "self without NULL": (
        "CREATE TABLE t (id bigint PRIMARY KEY, up bigint NOT NULL REFERENCES t)",
        {"t": 3},
    ),
    "self of a sequence": (
        """CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        up int NOT NULL REFERENCES t)""",
        {"t": 3},
    ),
    "cycle": (
        """CREATE TABLE b (id int PRIMARY KEY, a int);
        CREATE TABLE a (id int PRIMARY KEY, b int NOT NULL REFERENCES b);
        ALTER TABLE b ADD FOREIGN KEY (a) REFERENCES a""",
        {"a": 3, "b": 3},
    ),
    "deferred": (
        """CREATE TABLE t (id int PRIMARY KEY, x boolean NOT NULL UNIQUE DEFERRABLE INITIALLY DEFERRED,
        up int REFERENCES t DEFERRABLE INITIALLY DEFERRED)""",
        {"t": 2},
    ),
    "range partitions": (
        """CREATE TABLE t (id bigserial, at timestamptz, x text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
        CREATE TABLE p PARTITION OF t FOR VALUES FROM ('2031-05-01') TO ('2031-06-01')""",
        {"t": 3},
    ),
    "list partitions": (
        """CREATE TABLE t (x text) PARTITION BY LIST (x);
        CREATE TABLE p PARTITION OF t FOR VALUES IN ('it''s', 'b');
        CREATE TABLE q PARTITION OF t FOR VALUES IN (NULL)""",
        {"t": 3},
    ),
    "partitions of partitions": (
        """CREATE TABLE t (x int, y text, a uuid NOT NULL, b text NOT NULL CHECK (b = 'b'),
        c date NOT NULL CHECK (c = '2030-01-01')) PARTITION BY RANGE (x);
        CREATE TABLE p PARTITION OF t FOR VALUES FROM (70) TO (80) PARTITION BY LIST (y);
        CREATE TABLE q PARTITION OF p FOR VALUES IN ('nnn');
        CREATE UNIQUE INDEX ON q (x)""",
        {"t": 3},
    ),
    "partitions by expression": (
        """CREATE TABLE t (x int, y int) PARTITION BY RANGE ((x + 1));
        CREATE TABLE p PARTITION OF t FOR VALUES FROM (70) TO (80)""",
        {"t": 3},
    ),
    "references to partitions": (
        """CREATE TABLE t (x int PRIMARY KEY) PARTITION BY HASH (x);
        CREATE TABLE p PARTITION OF t FOR VALUES WITH (MODULUS 1, REMAINDER 0);
        CREATE TABLE a (x int REFERENCES t, y int NOT NULL REFERENCES p)""",
        {"t": 3, "a": 3},
    ),
    "children": (
        "CREATE TABLE t (x int PRIMARY KEY); CREATE TABLE u (y int) INHERITS (t)",
        {"t": 3, "u": 3},
    ),
    "trigger": (
        """CREATE TABLE log (x text); CREATE TABLE t (id int PRIMARY KEY, x text NOT NULL);
        CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
        BEGIN NEW.x = '%' || NEW.x; INSERT INTO log VALUES (NEW.x); RETURN NEW; END $$;
        CREATE TRIGGER f BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()""",
        {"t": 3, "log": 6},
    ),
    "rows of a script": (
        """CREATE TABLE t (id serial PRIMARY KEY, x text UNIQUE CHECK (x = 'only'));
        INSERT INTO t VALUES (1, 'only'); CREATE TABLE a (x int NOT NULL REFERENCES t)""",
        {"t": 3, "a": 3},
    ),
    "left alone": (
        """CREATE TABLE alembic_version (version_num text); CREATE MATERIALIZED VIEW m AS SELECT 1;
        CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w;
        CREATE FOREIGN TABLE f (x int) SERVER s""",
        {},
    ),
}


@pytest.fixture(scope="module")
def filled(server: Database) -> Iterator[Database]:
    """A database in which each case of FILLED has a schema and rows."""
    statements = each({case: sql for case, (sql, _) in FILLED.items()})
    with fresh(server) as database, fresh(server) as goal:
        for side in (database, goal):
            run_sql(side, *statements)
        before = contents.take(goal)
        assert made_up_rows.fill(database, goal) == ()
        assert contents.take(goal) == before
        yield database


@pytest.mark.parametrize("case", FILLED)
def test_filled(filled: Database, case: str) -> None:
    """A table gets three rows that satisfy all its constraints, or fewer if the constraints allow no more."""
    _, expected = FILLED[case]
    assert numbers(filled, case) == expected


# What the history has, and what makes of it what the models have.
UPGRADES: dict[str, tuple[str, str]] = {
    "not null": ("CREATE TABLE t (x int, y text)", "ALTER TABLE t ALTER x SET NOT NULL"),
    "unique": (
        "CREATE TABLE t (x boolean, y text NOT NULL DEFAULT 'd')",
        "ALTER TABLE t ADD UNIQUE (x, y)",
    ),
    "unique expression": ("CREATE TABLE t (x text)", "CREATE UNIQUE INDEX ON t (lower(x))"),
    "check": (
        "CREATE TABLE t (x text, y int)",
        "ALTER TABLE t ADD CHECK (x IN ('a', 'b')), ADD CHECK (y BETWEEN 90 AND 100)",
    ),
    "exclusion": (
        "CREATE TABLE t (x int4range)",
        "ALTER TABLE t ADD EXCLUDE USING gist (x WITH &&)",
    ),
    "foreign key": (
        """CREATE TABLE a (z text NOT NULL);
        CREATE TABLE z (id text PRIMARY KEY CHECK (id LIKE 'zz%_'))""",
        "ALTER TABLE a ADD FOREIGN KEY (z) REFERENCES z",
    ),
    "key and foreign key": (
        "CREATE TABLE a (x int NOT NULL, y text NOT NULL); CREATE TABLE z (x int, y text)",
        """ALTER TABLE z ADD PRIMARY KEY (y, x);
        ALTER TABLE a ADD FOREIGN KEY (x, y) REFERENCES z (x, y)""",
    ),
    "foreign key to a new table": (
        "CREATE TABLE t (x int)",
        "CREATE TABLE u (id serial PRIMARY KEY); ALTER TABLE t ADD FOREIGN KEY (x) REFERENCES u",
    ),
    "type of a key": (
        "CREATE TABLE z (id text PRIMARY KEY); CREATE TABLE a (z text REFERENCES z)",
        """ALTER TABLE a DROP CONSTRAINT a_z_fkey;
        ALTER TABLE z ALTER id TYPE uuid USING id::uuid;
        ALTER TABLE a ALTER z TYPE uuid USING z::uuid, ADD FOREIGN KEY (z) REFERENCES z""",
    ),
    "shorter": (
        "CREATE TABLE t (x text, y varchar(20))",
        "ALTER TABLE t ALTER x TYPE varchar(2), ALTER y TYPE char(1)",
    ),
    "to text": (
        "CREATE TABLE t (x int, y timestamptz)",
        "ALTER TABLE t ALTER x TYPE text, ALTER y TYPE text",
    ),
    "to boolean": (
        "CREATE TABLE t (x int NOT NULL)",
        "ALTER TABLE t ALTER x TYPE boolean USING x::boolean",
    ),
    "from boolean": (
        "CREATE TABLE t (x boolean NOT NULL)",
        "ALTER TABLE t ALTER x TYPE int USING x::int",
    ),
    "smaller": (
        "CREATE TABLE t (x bigint CHECK (x > 40000 OR x < 9))",
        "ALTER TABLE t ALTER x TYPE smallint",
    ),
    "digits": (
        "CREATE TABLE t (x numeric(10, 4), y double precision, z numeric(10, 2) NOT NULL)",
        """ALTER TABLE t ALTER x TYPE numeric(2, 1), ALTER y TYPE numeric(3, 3),
        ALTER z TYPE int, ADD CHECK (z > 70)""",
    ),
    "dates": (
        "CREATE TABLE t (x timestamptz, y date)",
        "ALTER TABLE t ALTER x TYPE date, ALTER y TYPE timestamptz",
    ),
    "seconds": (
        "CREATE TABLE t (x int)",
        "ALTER TABLE t ALTER x TYPE timestamptz USING to_timestamp(x)",
    ),
    "arrays": (
        "CREATE TABLE t (x text, y text[])",
        "ALTER TABLE t ALTER x TYPE text[] USING x::text[], ALTER y TYPE int[] USING y::int[]",
    ),
    "json": (
        "CREATE TABLE t (x json, y text)",
        "ALTER TABLE t ALTER x TYPE jsonb, ALTER y TYPE json USING y::json",
    ),
    "enum": (
        "CREATE TABLE t (x text DEFAULT 'c', y text)",
        """CREATE TYPE mood AS ENUM ('a', 'b'); ALTER TABLE t ALTER x DROP DEFAULT,
        ALTER x TYPE mood USING x::mood, ALTER y TYPE mood[] USING y::mood[]""",
    ),
    "enum that loses": (
        "CREATE TYPE mood AS ENUM ('a', 'b', 'c'); CREATE TABLE t (x mood)",
        """ALTER TABLE t ALTER x TYPE text; DROP TYPE mood; CREATE TYPE mood AS ENUM ('c');
        ALTER TABLE t ALTER x TYPE mood USING x::mood""",
    ),
    "domains": (
        "CREATE TABLE t (x int, y text)",
        """CREATE DOMAIN small AS int CHECK (VALUE < -60);
        CREATE DOMAIN code AS text CHECK (VALUE ~ '^x+$') NOT NULL;
        ALTER TABLE t ALTER x TYPE small, ALTER y TYPE code""",
    ),
    "to identity": (
        "CREATE TABLE t (id int PRIMARY KEY)",
        "ALTER TABLE t ALTER id ADD GENERATED ALWAYS AS IDENTITY; SELECT setval('t_id_seq', max(id)) FROM t",
    ),
    "from identity": (
        "CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY)",
        "ALTER TABLE t ALTER id DROP IDENTITY",
    ),
    "new columns": (
        "CREATE TABLE t (x int)",
        """ALTER TABLE t ADD id serial PRIMARY KEY, ADD y int NOT NULL DEFAULT 5 CHECK (y > x + 2),
        ADD z int GENERATED ALWAYS AS (x * 2) STORED""",
    ),
    "reference to a new key": (
        "CREATE TABLE t (x int NOT NULL); CREATE TABLE u (x int NOT NULL)",
        """ALTER TABLE t ADD id serial PRIMARY KEY;
        ALTER TABLE u ADD t int REFERENCES t, ADD UNIQUE (x)""",
    ),
    "no longer generated": (
        "CREATE TABLE t (x int NOT NULL, y int GENERATED ALWAYS AS (x * 2) STORED)",
        "ALTER TABLE t ALTER y DROP EXPRESSION, ALTER y SET NOT NULL",
    ),
    "less": (
        "CREATE TABLE t (x int, y int); CREATE TABLE u (x int NOT NULL)",
        "ALTER TABLE t DROP y, ADD UNIQUE (x); DROP TABLE u",
    ),
    "children": (
        "CREATE TABLE t (x int); CREATE TABLE u (y int) INHERITS (t)",
        "ALTER TABLE t ADD z int; ALTER TABLE u ALTER y SET NOT NULL",
    ),
}


@pytest.fixture(scope="module")
def upgradable(server: Database) -> Iterator[Database]:
    """A database in which each case of UPGRADES has a schema and rows."""
    old = each({case: sql for case, (sql, _) in UPGRADES.items()})
    new = each({case: f"{sql}; {upgrade}" for case, (sql, upgrade) in UPGRADES.items()})
    with fresh(server) as database, fresh(server) as goal:
        run_sql(database, *old)
        run_sql(goal, *new)
        assert made_up_rows.fill(database, goal) == ()
        yield database


@pytest.mark.parametrize("case", UPGRADES)
def test_upgrades(upgradable: Database, case: str) -> None:
    """A change to the goal succeeds on the rows, and loses none."""
    before = contents.take(upgradable)
    assert set(numbers(upgradable, case).values()) <= {2, 3}
    _, upgrade = UPGRADES[case]
    run_sql(upgradable, f"SET LOCAL search_path TO {quoted(case)}", upgrade)
    assert lost_rows.compare(before, contents.take(upgradable)).lost == ()


PARTITIONS = {
    "RANGE (x)": "FOR VALUES FROM ('2031-05-01') TO ('2031-06-01')",
    "LIST (x)": "FOR VALUES IN ('2031-05-01')",
    "HASH (x)": "FOR VALUES WITH (MODULUS 1, REMAINDER 0)",
}


@pytest.mark.parametrize("by", PARTITIONS)
def test_partitions_that_the_models_do_not_know(
    database: Database, goal: Database, by: str
) -> None:
    """What the goal asks of rows counts where only the history has partitions, too."""
    table = f"CREATE TABLE t (x date, y int%s) PARTITION BY {by}"
    run_sql(database, table % "", f"CREATE TABLE p PARTITION OF t {PARTITIONS[by]}")
    run_sql(goal, table % " NOT NULL CHECK (y > 70)")
    assert made_up_rows.fill(database, goal) == ()
    assert run_sql(database, "SELECT count(*), min(y) > 70, count(y) FROM t") == [(3, True, 3)]


@pytest.mark.parametrize(
    "key", ["CHECK (false)", "REFERENCES only_new"], ids=["nothing", "nothing yet"]
)
def test_rows_that_only_the_goal_rejects(database: Database, goal: Database, key: str) -> None:
    """A table whose rows only the goal rejects gets rows nevertheless, and so do tables that reference it."""
    a = "CREATE TABLE a (z int NOT NULL REFERENCES z, x int NOT NULL {})"
    run_sql(database, "CREATE TABLE z (id int PRIMARY KEY)", a.format(""))
    run_sql(
        goal,
        "CREATE TABLE only_new (id int PRIMARY KEY)",
        f"CREATE TABLE z (id int PRIMARY KEY {key})",
        a.format("CHECK (x > 70)"),
    )
    assert made_up_rows.fill(database, goal) == ()
    assert numbers(database) == {"a": 3, "z": 3}
    assert run_sql(database, "SELECT min(x) > 70 FROM a") == [(True,)]
    assert numbers(goal) == {"a": 0, "only_new": 0, "z": 0}


def test_rows_of_a_script(database: Database, goal: Database) -> None:
    """Made-up rows may reference rows that a script of the history inserted."""
    z = "CREATE TABLE z (id int PRIMARY KEY)"
    a = "CREATE TABLE a (z int NOT NULL REFERENCES z, x int NOT NULL{})"
    run_sql(database, z, "INSERT INTO z VALUES (7), (8), (9), (10)", a.format(""))
    run_sql(goal, z, a.format(" CHECK (x > 70)"))
    assert made_up_rows.fill(database, goal) == ()
    assert numbers(database) == {"a": 3, "z": 4}
    assert run_sql(database, "SELECT min(x) > 70 FROM a") == [(True,)]


# Tables that accept no row, and the line about them.
EMPTY: dict[str, tuple[str, dict[str, str]]] = {
    "check": (
        "CREATE TABLE t (x int CONSTRAINT never CHECK (x > 1 AND x IS NULL AND x IS NOT NULL))",
        {"t": 'new row for relation "t" violates check constraint "never"'},
    ),
    "trigger": (
        """CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE 'it''s shut' USING DETAIL = 'why'; END $$; CREATE TABLE t (x int);
        CREATE TRIGGER f BEFORE INSERT ON t FOR EACH STATEMENT EXECUTE FUNCTION f()""",
        {"t": "it's shut"},
    ),
    "trigger without words": (
        """CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RETURN NULL; END $$; CREATE TABLE t (x int);
        CREATE TRIGGER f BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()""",
        {"t": "a trigger or rule discards the row"},
    ),
    "rule": (
        "CREATE TABLE t (x int); CREATE RULE r AS ON INSERT TO t DO INSTEAD NOTHING",
        {"t": 'cannot perform INSERT RETURNING on relation "t"'},
    ),
    "no partition": (
        "CREATE TABLE t (x int) PARTITION BY LIST (x)",
        {"t": 'no partition of relation "t" found for row'},
    ),
    "cycle": (
        """CREATE TABLE a (id int PRIMARY KEY, b int NOT NULL);
        CREATE TABLE b (id int PRIMARY KEY REFERENCES a);
        ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES b; CREATE TABLE c (x int REFERENCES b)""",
        {
            "a": 'insert or update on table "a" violates foreign key constraint "a_b_fkey"',
            "b": 'insert or update on table "b" violates foreign key constraint "b_id_fkey"',
        },
    ),
    "odd type": (
        "CREATE TABLE t (x aclitem NOT NULL); CREATE TABLE u (x int)",
        {"t": 'null value in column "x" of relation "t" violates not-null constraint'},
    ),
    "index": (
        "CREATE TABLE t (x int NOT NULL); CREATE UNIQUE INDEX ON t ((1 / (x - x)))",
        {"t": "division by zero"},
    ),
}


@pytest.fixture(scope="module")
def refusals(server: Database) -> Iterator[tuple[Database, tuple[str, ...]]]:
    """A database in which each case of EMPTY has a schema, and what is said of it."""
    statements = each({case: sql for case, (sql, _) in EMPTY.items()})
    with fresh(server) as database, fresh(server) as goal:
        for side in (database, goal):
            run_sql(side, *statements)
        yield database, made_up_rows.fill(database, goal)


@pytest.mark.parametrize("case", EMPTY)
def test_tables_that_stay_empty(refusals: tuple[Database, tuple[str, ...]], case: str) -> None:
    """A table that accepts no row is reported with the error of the server; other tables get rows."""
    _, reasons = EMPTY[case]
    database, lines = refusals
    said = [line for line in lines if line.startswith(f"table {case}.")]
    assert said == [f"table {case}.{table}: {reason}" for table, reason in reasons.items()]
    empty = {table for table, number in numbers(database, case).items() if not number}
    assert empty == set(reasons)


def test_tables_of_extensions(database: Database, goal: Database) -> None:
    """A table of an extension gets no rows, and rows that it loses are not reported."""
    for side in (database, goal):
        run_sql(
            side,
            "CREATE TABLE t (x int)",
            "CREATE TABLE owned (x int)",
            "ALTER EXTENSION plpgsql ADD TABLE owned",
        )
    assert made_up_rows.fill(database, goal) == ()
    assert numbers(database) == {"t": 3}


def test_only_some_tables_are_filled(database: Database, goal: Database) -> None:
    """Rows are put into the tables that are named, though others refer to them and the goal has more."""
    for side in (database, goal):
        run_sql(
            side,
            "CREATE TABLE a (id int PRIMARY KEY, n int CHECK (n > 1))",
            "CREATE TABLE b (id int PRIMARY KEY, a int NOT NULL REFERENCES a)",
            "CREATE TABLE c (b int NOT NULL REFERENCES b)",
        )
    run_sql(goal, "CREATE TABLE d (a int REFERENCES a)")
    assert made_up_rows.fill(database, goal, ()) == ()
    assert numbers(database) == {"a": 0, "b": 0, "c": 0}
    assert made_up_rows.fill(database, goal, {Name("public", "a"), Name("public", "b")}) == ()
    assert numbers(database) == {"a": 3, "b": 3, "c": 0}


def test_sequences_are_used(database: Database, goal: Database) -> None:
    """Sequences are advanced: a row that is inserted later does not collide with made-up rows."""
    for side in (database, goal):
        run_sql(
            side,
            "CREATE TABLE a (id serial PRIMARY KEY)",
            "CREATE TABLE b (id int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY)",
            "CREATE TABLE c (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY)",
        )
    made_up_rows.fill(database, goal)
    for table in "abc":
        run_sql(database, f"INSERT INTO {table} DEFAULT VALUES")
    assert numbers(database) == {"a": 4, "b": 4, "c": 4}


def test_same_rows_each_time(server: Database) -> None:
    """The made-up rows are the same in each run."""
    taken = []
    for _ in range(2):
        with fresh(server) as database, fresh(server) as goal:
            for side in (database, goal):
                run_sql(side, "CREATE TABLE t (a date, b date, c int, d uuid, CHECK (a < b))")
            made_up_rows.fill(database, goal)
            taken.append(contents.take(database))
    assert taken[0] == taken[1]


def test_needs_no_superuser(server: Database, database: Database, goal: Database) -> None:
    """The owner of both databases can fill one without being a superuser."""
    role = f"test_{secrets.token_hex(6)}"
    run_sql(server, f"CREATE ROLE {role}")
    sql = "CREATE TABLE t (id serial PRIMARY KEY, x int REFERENCES t)"
    sides = []
    for side, more in ((database, ""), (goal, "; ALTER TABLE t ADD y int NOT NULL")):
        run_sql(side, f"CREATE SCHEMA s AUTHORIZATION {role}")
        options = f"-c role={role} -c search_path=s"
        sides.append(Database(side.dsn.with_parts(options=options), "test"))
        run_sql(sides[-1], sql + more)
    assert made_up_rows.fill(sides[0], sides[1]) == ()
    assert numbers(database, "s") == {"t": 3}
    for side in (database, goal):
        run_sql(side, f"DROP OWNED BY {role}")
    run_sql(server, f"DROP ROLE {role}")


BEFORE = """
    CREATE TABLE t (id int, x text, y int GENERATED ALWAYS AS (2) STORED, "Z.%" text);
    INSERT INTO t VALUES (1, 'a', DEFAULT, 'p'), (2, 'b', DEFAULT, 'p'), (3, NULL, DEFAULT, 'q');
    CREATE TABLE u (n numeric);
    INSERT INTO u VALUES (1.5);
    CREATE TABLE child (z text) INHERITS (u);
    INSERT INTO child VALUES (4, 'z');
    CREATE TABLE part (x int) PARTITION BY LIST (x);
    CREATE TABLE part_1 PARTITION OF part FOR VALUES IN (1);
    INSERT INTO part VALUES (1), (1);
"""
LOST: dict[str, tuple[str, list[str]]] = {
    "nothing": ("SELECT 1", []),
    "row": ("DELETE FROM t WHERE id = 2", ["1 of 3 rows of table public.t"]),
    "all rows": (
        "TRUNCATE t, part",
        ["2 of 2 rows of table public.part", "3 of 3 rows of table public.t"],
    ),
    "more rows": ("INSERT INTO t VALUES (4)", ["the number of rows of table public.t: 3, now 4"]),
    "row of a child": ("DELETE FROM child", ["1 of 1 rows of table public.child"]),
    "value": ("UPDATE t SET x = 'B' WHERE id = 2", ["values of column public.t.x"]),
    "digits": ("UPDATE ONLY u SET n = 1.50", ["values of column public.u.n"]),
    "NULL": (
        """UPDATE t SET "Z.%" = NULL WHERE id > 1""",
        ["2 of 3 values of column public.t.Z.%"],
    ),
    "no NULL": ("UPDATE t SET x = '' WHERE x IS NULL", ["values of column public.t.x"]),
    "other row": (
        "UPDATE t SET x = CASE x WHEN 'a' THEN 'b' WHEN 'b' THEN 'a' END",
        ["values of table public.t: they are in other rows"],
    ),
    "other rows": (
        """UPDATE t SET x = CASE x WHEN 'a' THEN 'b' WHEN 'b' THEN 'a' END,
        "Z.%" = CASE id WHEN 2 THEN 'q' ELSE 'p' END""",
        ["values of table public.t: they are in other rows"],
    ),
    "column dropped": ("ALTER TABLE t DROP x", []),
    "column replaced": ("ALTER TABLE t DROP x, ADD x text", ["2 of 2 values of column public.t.x"]),
    "column of another type": (
        "ALTER TABLE t DROP x, ADD x int",
        ["2 of 2 values of column public.t.x"],
    ),
    "column added": ("ALTER TABLE t ADD n int NOT NULL DEFAULT 0", []),
    "table dropped": ("DROP TABLE t", []),
    "table replaced": (
        "DROP TABLE t; CREATE TABLE t (id int)",
        ["3 of 3 rows of table public.t"],
    ),
    "not to be read any more": (
        """
        CREATE FOREIGN DATA WRAPPER w;
        CREATE SERVER w FOREIGN DATA WRAPPER w;
        CREATE FOREIGN TABLE part_2 PARTITION OF part FOR VALUES IN (9) SERVER w
        """,
        [
            'all rows of table public.part, which cannot be read: foreign-data wrapper "w" has no handler'
        ],
    ),
    "table moved": ("CREATE SCHEMA s; ALTER TABLE t SET SCHEMA s", []),
    "partition": ("DROP TABLE part_1", ["2 of 2 rows of table public.part"]),
    "type": ("ALTER TABLE t ALTER id TYPE text; ALTER TABLE u ALTER n TYPE int", []),
    "type and value": (
        "ALTER TABLE t ALTER id TYPE text USING 'n' || id",
        ["values of column public.t.id: not what a cast to text gives"],
    ),
    "type and another row": (
        "ALTER TABLE t ALTER id TYPE text USING (4 - id)::text",
        ["values of column public.t.id: they are in other rows"],
    ),
    "type and NULL": (
        "ALTER TABLE t ALTER x TYPE int USING length(nullif(x, 'a'))",
        ["1 of 2 values of column public.t.x"],
    ),
    "type and no NULL": (
        "ALTER TABLE t ALTER x TYPE int USING 1",
        ["values of column public.t.x"],
    ),
    "generated": ("ALTER TABLE t DROP y, ADD y int GENERATED ALWAYS AS (3) STORED", []),
    "no longer generated": (
        "ALTER TABLE t ALTER y DROP EXPRESSION; UPDATE t SET y = 9",
        ["values of column public.t.y"],
    ),
    "generated no longer": ("ALTER TABLE t ALTER y DROP EXPRESSION", []),
}


@pytest.fixture(scope="module")
def looked_at(server: Database) -> Iterator[Database]:
    """A database in which each case of LOST has a schema."""
    with fresh(server) as database:
        run_sql(database, *each(dict.fromkeys(LOST, BEFORE)))
        yield database


@pytest.mark.parametrize("case", LOST)
def test_lost(looked_at: Database, case: str) -> None:
    """Rows and values that are gone or changed are reported; dropped columns and changed types are not."""
    change, lines = LOST[case]
    before = contents.take(looked_at)
    run_sql(looked_at, f"SET LOCAL search_path TO {quoted(case)}", change)
    expected = [line.replace(" public.", f" {case}.") for line in lines]
    assert lost_rows.compare(before, contents.take(looked_at)).lost == tuple(expected)


def test_tables_that_cannot_be_read(database: Database, goal: Database) -> None:
    """A table that cannot be read is reported by `fill`, and not counted as lost."""
    for side in (database, goal):
        run_sql(
            side,
            "CREATE TABLE t (x int)",
            "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w",
            "CREATE TABLE part (x int) PARTITION BY LIST (x)",
            "CREATE FOREIGN TABLE part_1 PARTITION OF part FOR VALUES IN (1) SERVER s",
        )
    reason = 'foreign-data wrapper "w" has no handler'
    assert made_up_rows.fill(database, goal) == (f"table public.part: {reason}",)
    assert numbers(database) == {"t": 3}


def test_the_rows_of_many_tables_take_few_statements(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tables and sequences are read a hundred at once, whether they have rows or not."""
    names = [f"t{number:03}" for number in range(120)]
    tables = [f"CREATE TABLE {name} (id serial, a text);" for name in names]
    filled = [f"INSERT INTO {name} (a) VALUES ('x'), (NULL);" for name in names[:110]]
    parts = """
        CREATE TABLE p (a integer) PARTITION BY LIST (a); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);
        INSERT INTO p VALUES (1); CREATE TABLE q (a integer) PARTITION BY LIST (a);
        CREATE TABLE q1 PARTITION OF q FOR VALUES IN (1);
        DELETE FROM t001; ALTER SEQUENCE t002_id_seq RESTART 7;
    """
    run_sql(database, " ".join([*tables, *filled, parts]))
    statements: list[str] = []
    run = Sandbox.run

    def counted(self: Sandbox, statement: str, values: Sequence[object] = ()) -> object:
        statements.append(statement)
        return run(self, statement, values)

    monkeypatch.setattr(Sandbox, "run", counted)
    found = contents.take(database)
    assert len(statements) < 15
    held = {name.name: rows.number for name, rows in found.tables.items()}
    expected = {name: 2 * (name in names[:110] and name != "t001") for name in names}
    assert held == {**expected, "p": 1, "q": 0}
    last = {name.name: number for name, number in found.numbers.items()}
    assert last == {f"{name}_id_seq": expected[name] for name in names} | {
        "t001_id_seq": 2,
        "t002_id_seq": 6,
    }
    assert len(found.numbered) == len(names)


def test_a_column_that_a_script_does_not_make_has_no_default(
    database: Database, goal: Database
) -> None:
    """Rows are asked for the defaults of those new columns only that are there."""
    run_sql(database, "CREATE TABLE t (id int)", "INSERT INTO t VALUES (1)")
    before = catalog.take(database)
    run_sql(database, "ALTER TABLE t ADD there int")
    run_sql(goal, "CREATE TABLE t (id int, there int DEFAULT 7, missing int DEFAULT 8)")
    found = lost_rows.not_given(database, goal, before, catalog.take(goal))
    assert found == ("the default of column t.there: 1 rows have another value",)
