"""What statements ask of the rows that are there before the first of them runs."""

import pytest

from postgres_database.preflight.dropping import Loss
from postgres_database.preflight.requirements import Requirement, StatementReader
from postgres_database.sql.rules import (
    Cast,
    Check,
    ForeignKey,
    NoRows,
    NotNull,
    Rule,
    Stored,
    Unique,
)
from postgres_database.sql.syntax import statements

ASKED: dict[str, list[Rule | Stored]] = {
    "ALTER TABLE t ALTER a SET NOT NULL": [NotNull("a")],
    'ALTER TABLE IF EXISTS ONLY s."T t" ALTER COLUMN "a b" SET NOT NULL': [NotNull('"a b"')],
    "ALTER TABLE t ADD CONSTRAINT n NOT NULL a": [NotNull("a")],
    "ALTER TABLE t ADD CONSTRAINT n NOT NULL a NOT VALID": [],
    "ALTER TABLE t ADD a int NOT NULL": [NoRows("a", "int")],
    "ALTER TABLE t ADD COLUMN IF NOT EXISTS a numeric(5, 2) NOT NULL": [
        NoRows("a", "numeric(5, 2)")
    ],
    "ALTER TABLE t ADD a timestamp with time zone CONSTRAINT c NOT NULL": [
        NoRows("a", "timestamp with time zone")
    ],
    "ALTER TABLE t ADD a int NOT NULL DEFAULT 0": [],
    "ALTER TABLE t ADD a int": [],
    "ALTER TABLE t ADD a text CHECK (a IS NOT NULL)": [],
    "ALTER TABLE t ADD a int GENERATED ALWAYS AS IDENTITY PRIMARY KEY": [],
    "ALTER TABLE t ADD a bigserial NOT NULL": [],
    "ALTER TABLE t ADD a int PRIMARY KEY": [NoRows("a", "int")],
    "ALTER TABLE t ADD a int; ALTER TABLE t ALTER a SET NOT NULL": [NoRows("a", "")],
    "ALTER TABLE t ADD a int, ALTER a SET NOT NULL": [NoRows("a", "")],
    "ALTER TABLE t ADD a int DEFAULT 0; ALTER TABLE t ALTER a SET NOT NULL": [],
    "ALTER TABLE t ADD a int; UPDATE t SET a = 1; ALTER TABLE t ALTER a SET NOT NULL": [],
    "ALTER TABLE t ADD CHECK (a > 0 AND b <> 'NOT VALID, )')": [
        Check("a > 0 AND b <> 'NOT VALID, )'")
    ],
    "ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0) NO INHERIT": [Check("a > 0", inherited=False)],
    "ALTER TABLE t ADD CONSTRAINT c NOT NULL a NO INHERIT": [NotNull("a", inherited=False)],
    "ALTER TABLE t ADD CHECK (a > 0) NOT VALID": [],
    "ALTER TABLE t ADD CHECK (a > 0) NOT ENFORCED": [],
    "ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0) NOT VALID; ALTER TABLE t VALIDATE CONSTRAINT c": [
        Check("a > 0")
    ],
    "ALTER TABLE t VALIDATE CONSTRAINT c": [Stored("c")],
    "ALTER TABLE t DROP CONSTRAINT c; ALTER TABLE t VALIDATE CONSTRAINT c": [],
    "ALTER TABLE t ADD UNIQUE (a, b)": [Unique(("a", "b"))],
    'ALTER TABLE t ADD UNIQUE NULLS NOT DISTINCT ("a, b") INCLUDE (c)': [
        Unique(('"a, b"',), nulls_equal=True)
    ],
    "ALTER TABLE t ADD CONSTRAINT u UNIQUE USING INDEX i": [],
    "ALTER TABLE t ADD UNIQUE (a, b WITHOUT OVERLAPS)": [],
    "ALTER TABLE t ADD PRIMARY KEY (a, b)": [NotNull("a"), NotNull("b"), Unique(("a", "b"))],
    "ALTER TABLE t ADD EXCLUDE USING gist (a WITH &&)": [],
    "ALTER TABLE t ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES o ON DELETE CASCADE": [
        ForeignKey(("a",), "o")
    ],
    "ALTER TABLE t ADD FOREIGN KEY(a, b) REFERENCES s.o(x, y) MATCH FULL ON DELETE SET NULL (a)": [
        ForeignKey(("a", "b"), "s.o", ("x", "y"), full=True)
    ],
    "ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES o (x) NOT VALID": [],
    "CREATE INDEX i ON t (a)": [],
    "CREATE UNIQUE INDEX ON t (a)": [Unique(("a",))],
    """CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS i ON s.t USING btree
       (lower(a) text_pattern_ops DESC, (b || ','), c COLLATE "C" NULLS FIRST) INCLUDE (d)
       NULLS NOT DISTINCT WITH (fillfactor = 70) WHERE d IS NULL""": [
        Unique(
            ("lower(a)", "(b || ',')", 'c COLLATE "C"'),
            "d IS NULL",
            nulls_equal=True,
            existing_index="s.i",
        )
    ],
    "ALTER TABLE t ALTER a TYPE varchar(5)": [Cast("a", "varchar(5)")],
    """ALTER TABLE t ALTER COLUMN a SET DATA TYPE text[] COLLATE "C" USING string_to_array(a, ',')""": [
        Cast("a", "text[]", "string_to_array(a, ',')")
    ],
    "ALTER TABLE t ALTER a SET NOT NULL, ADD CHECK (b > 0), DROP c": [NotNull("a"), Check("b > 0")],
    "ALTER TABLE t ADD CHECK (a > 0), ALTER a TYPE int USING abs(a)": [Cast("a", "int", "abs(a)")],
    "ALTER TABLE t ADD CHECK (a > 0), DROP a": [],
    "ALTER DOMAIN d ADD CONSTRAINT c CHECK (VALUE > 0)": [Check("value > 0")],
    "ALTER DOMAIN d ADD CHECK (VALUE > 0) NOT VALID": [],
    "ALTER DOMAIN d ADD CONSTRAINT c CHECK (VALUE > 0) NOT VALID; ALTER DOMAIN d VALIDATE CONSTRAINT c": [
        Check("value > 0")
    ],
    "ALTER DOMAIN d VALIDATE CONSTRAINT c": [Stored("c")],
    "ALTER DOMAIN d SET NOT NULL": [Check("value IS NOT NULL")],
    # what is another one by then
    "CREATE TABLE t (a int); ALTER TABLE t ALTER a SET NOT NULL": [],
    "CREATE TABLE s.t (a int); ALTER TABLE t ALTER a SET NOT NULL": [],
    "CREATE TABLE s.t (a int); ALTER TABLE o.t ALTER a SET NOT NULL": [NotNull("a")],
    "CREATE TABLE o (x int); ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES o (x)": [],
    "ALTER TABLE t ALTER a TYPE text; ALTER TABLE public.t ADD CHECK (a <> '')": [
        Cast("a", "text")
    ],
    "ALTER TABLE t ALTER a TYPE text; ALTER TABLE t ADD CHECK (b <> 'a')": [
        Cast("a", "text"),
        Check("b <> 'a'"),
    ],
    "ALTER TABLE t RENAME a TO b; ALTER TABLE t ALTER b SET NOT NULL": [],
    "ALTER TABLE t RENAME COLUMN b TO a; ALTER TABLE t ALTER a SET NOT NULL": [],
    "ALTER TABLE t DROP a; ALTER TABLE t ADD a int NOT NULL": [],
    "DROP TABLE t; ALTER TABLE t ALTER a SET NOT NULL": [],
    "ALTER TYPE e ADD VALUE 'x'; ALTER TABLE t ALTER a TYPE e USING a::text::e": [],
    "CREATE FUNCTION f(int) RETURNS bool RETURN true; ALTER TABLE t ADD CHECK (f(a))": [],
    "ALTER TABLE t DETACH PARTITION p; ALTER TABLE t ALTER a SET NOT NULL": [],
    # rows that are others by then
    "UPDATE t SET a = 0 WHERE a IS NULL; ALTER TABLE public.t ALTER a SET NOT NULL": [],
    "WITH gone AS (DELETE FROM ONLY t RETURNING *) SELECT 1; ALTER TABLE t ALTER a SET NOT NULL": [],
    "INSERT INTO o VALUES (1); ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES o": [],
    "MERGE INTO t USING o ON true WHEN MATCHED THEN DELETE; ALTER TABLE t ALTER a SET NOT NULL": [],
    "TRUNCATE TABLE o, t; ALTER TABLE t ADD a int NOT NULL": [],
    "TRUNCATE o CASCADE; ALTER TABLE t ALTER a SET NOT NULL": [],
    "DO $$ BEGIN UPDATE t SET a = 1; END $$; ALTER TABLE t ALTER a SET NOT NULL": [],
    "CALL mend(); ALTER TABLE t ALTER a SET NOT NULL": [],
    "CREATE FUNCTION f() RETURNS int RETURN 1; SELECT f(); ALTER TABLE t ALTER a SET NOT NULL": [],
    "CREATE TRIGGER g AFTER INSERT ON o EXECUTE FUNCTION f(); INSERT INTO o VALUES (1);"
    "ALTER TABLE t ALTER a SET NOT NULL": [],
    "SELECT set_config('search_path', '', false); ALTER TABLE t ALTER a SET NOT NULL": [],
    "SET search_path = o; ALTER TABLE t ALTER a SET NOT NULL": [],
    "DROP SCHEMA o CASCADE; ALTER TABLE t ALTER a SET NOT NULL": [],
    "SOMETHING NEW; ALTER TABLE t ALTER a SET NOT NULL": [],
    # what changes nothing
    "COMMENT ON TABLE t IS 'UPDATE t'; SET LOCAL lock_timeout = '1s'; ALTER TABLE t ALTER a SET NOT NULL": [
        NotNull("a")
    ],
    "GRANT SELECT ON t TO u; CREATE INDEX i ON t (a); ALTER TABLE t ALTER a SET NOT NULL": [
        NotNull("a")
    ],
    # statements as PostgreSQL reads them
    "TRUNCATE a *, b; ALTER TABLE b ALTER a SET NOT NULL": [],
    "TRUNCATE a, ONLY b; ALTER TABLE b ALTER a SET NOT NULL": [],
    "MERGE INTO ONLY b USING c ON true WHEN MATCHED THEN UPDATE SET a = 1; ALTER TABLE b ALTER a SET NOT NULL": [],
    "UPDATE ONLY (b) SET a = 1; ALTER TABLE b ALTER a SET NOT NULL": [],
    "DELETE FROM ONLY (b); ALTER TABLE b ALTER a SET NOT NULL": [],
    'UPDATE U&"\\0062" SET a = 1; ALTER TABLE b ALTER a SET NOT NULL': [],
    "WITH x AS (INSERT INTO b SELECT 1 RETURNING a) SELECT a FROM x; ALTER TABLE b ALTER a SET NOT NULL": [],
    "EXPLAIN ANALYZE INSERT INTO b SELECT 1; ALTER TABLE b ALTER a SET NOT NULL": [],
    "EXPLAIN INSERT INTO b SELECT 1; ALTER TABLE b ALTER a SET NOT NULL": [NotNull("a")],
    "SELECT 1 AS a INTO b; ALTER TABLE b ALTER a SET NOT NULL": [],
    "CREATE TABLE b AS SELECT 1 AS a; ALTER TABLE b ALTER a SET NOT NULL": [],
    "PREPARE p AS UPDATE b SET a = 1; ALTER TABLE b ALTER a SET NOT NULL": [NotNull("a")],
    "PREPARE p AS UPDATE b SET a = 1; EXECUTE p; ALTER TABLE b ALTER a SET NOT NULL": [],
    "COPY b TO '/tmp/b'; ALTER TABLE b ALTER a SET NOT NULL": [NotNull("a")],
    "COPY b FROM '/tmp/b'; ALTER TABLE b ALTER a SET NOT NULL": [],
    "SELECT 'UPDATE b', \"DELETE FROM b\" FROM t FOR UPDATE; ALTER TABLE b ALTER a SET NOT NULL": [
        NotNull("a")
    ],
    "SELECT pg_catalog.set_config('a.b', 'c', true); ALTER TABLE b ALTER a SET NOT NULL": [],
    "CREATE FUNCTION f() RETURNS int RETURN 1;"
    "CREATE TABLE n AS SELECT f(); ALTER TABLE b ALTER a SET NOT NULL": [],
    "CREATE FUNCTION f() RETURNS int RETURN 1;"
    "ALTER TABLE o ADD a int DEFAULT f(); ALTER TABLE b ALTER a SET NOT NULL": [],
    "CREATE VIEW v AS SELECT 1; INSERT INTO v VALUES (1); ALTER TABLE b ALTER a SET NOT NULL": [],
    "RESET search_path; ALTER TABLE b ALTER a SET NOT NULL": [],
    "RESET ALL; ALTER TABLE b ALTER a SET NOT NULL": [],
    "SET TIME ZONE 'UTC'; ALTER TABLE b ALTER a SET NOT NULL": [],
    "ALTER ROLE a RENAME TO b; ALTER TYPE c RENAME ATTRIBUTE d TO e; ALTER DOMAIN d RENAME CONSTRAINT a TO b;"
    "ALTER DATABASE x RENAME TO y; ALTER SERVER s RENAME TO z; ALTER TABLE b ALTER a SET NOT NULL": [
        NotNull("a")
    ],
    "SET standard_conforming_strings = off; ALTER TABLE b ALTER a SET NOT NULL": [],
    "ROLLBACK TO s; ALTER TABLE b ALTER a SET NOT NULL": [],
    "ALTER TABLE b ATTACH PARTITION p DEFAULT; ALTER TABLE b ALTER a SET NOT NULL": [],
    "CREATE TABLE IF NOT EXISTS b (a int); ALTER TABLE b ALTER a SET NOT NULL": [],
    "CREATE SCHEMA s CREATE TABLE b (a int); ALTER TABLE s.b ALTER a SET NOT NULL": [],
    "ALTER TABLE t ADD a int NOT NULL DEFAULT NULL": [NoRows("a", "int")],
    "ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES o NOT ENFORCED": [],
    'ALTER TABLE U&"\\0054" ADD CONSTRAINT "ä" CHECK ("ö ö" <> E\'\\\\\' /* x */)': [
        Check("\"ö ö\" <> E'\\\\'")
    ],
    "CREATE FUNCTION g() RETURNS int BEGIN ATOMIC SELECT t.end FROM t; UPDATE b SET a = 1; END;"
    "ALTER TABLE b ALTER a SET NOT NULL": [NotNull("a")],
    # what is not read is unknown
    "SELECT :a; ALTER TABLE b ALTER a SET NOT NULL": [],
    "SELECT 1" + " + 1" * 100 + "; ALTER TABLE b ALTER a SET NOT NULL": [],
}


def read(text: str) -> tuple[list[Requirement], list[Loss]]:
    return StatementReader().read(statements(text))


@pytest.mark.parametrize("text", ASKED)
def test_requirements_of_statements(text: str) -> None:
    """Each statement has its requirements; tables that were created, altered or written before have none."""
    requirements, _ = read(text)
    assert [requirement.rule for requirement in requirements] == ASKED[text]


def test_requirements_of_renamed_tables() -> None:
    """A requirement has the name of its table in the target, also if an earlier statement renames the table."""
    requirements, _ = read(
        """
        ALTER TABLE s.old RENAME TO new;
        ALTER TABLE s.new SET SCHEMA z;
        CREATE TABLE s.old (a int);
        ALTER TABLE ONLY z.new ALTER a SET NOT NULL;
        ALTER TABLE s.old ALTER a SET NOT NULL;
        ALTER DOMAIN "D" SET NOT NULL;
        """
    )
    assert [(each.table, each.only, each.domain) for each in requirements] == [
        ('s."old"', True, False),
        ('"D"', False, True),
    ]


def test_requirements_know_earlier_statements() -> None:
    """A requirement lists the tables that earlier statements write and alter, and the functions that they call."""
    ((first, last), _) = read(
        """
        ALTER TABLE t ALTER a SET NOT NULL;
        UPDATE "o 1" SET b = public.f(c), d = lower(e);
        ALTER TABLE z ADD c int;
        ALTER TABLE t ALTER a SET NOT NULL;
        """
    )
    assert not first.written | first.altered | first.calls
    assert {*last.written} == {'"o 1"'}
    assert {*last.altered} == {"t", "z"}
    assert last.calls >= {"f", "lower"}


def test_unknown_scripts() -> None:
    """After a script with unknown statements nothing is required of rows, but losses are still reported."""
    reading = StatementReader()
    reading.read(["ALTER TABLE t ADD a int"])
    assert reading.read(None) == ([], [])
    assert reading.read(["ALTER TABLE t ALTER b SET NOT NULL", "DROP TABLE t"]) == (
        [],
        [Loss("table", "t")],
    )


@pytest.mark.parametrize(
    ("text", "losses"),
    [
        ('DROP TABLE IF EXISTS s.a, "b c"', [Loss("table", "s.a"), Loss("table", '"b c"')]),
        ("ALTER TABLE t DROP a, DROP COLUMN IF EXISTS b", [Loss("column", "t", "a"), Loss("column", "t", "b")]),
        ("ALTER TABLE t RENAME a TO b; ALTER TABLE t ALTER b TYPE text; ALTER TABLE t DROP b",
         [Loss("column", "t", "a")]),
        ("ALTER TABLE t ALTER a TYPE text; ALTER TABLE t DROP a", [Loss("column", "t", "a")]),
        ("CREATE TABLE IF NOT EXISTS t (a int); DROP TABLE t", [Loss("table", "t")]),
        ("CREATE TABLE IF NOT EXISTS t AS SELECT 1; DROP TABLE t", [Loss("table", "t")]),
        ("ALTER TABLE t ADD IF NOT EXISTS a int; ALTER TABLE t DROP a", [Loss("column", "t", "a")]),
        ("ALTER TABLE t ATTACH PARTITION p DEFAULT; DROP TABLE t", [Loss("table", "t"), Loss("table", "p")]),
        ("MERGE INTO ONLY t USING o ON true WHEN MATCHED THEN DELETE", [Loss("rows", "t")]),
        ("EXPLAIN DELETE FROM t; EXPLAIN (ANALYZE) DELETE FROM u", [Loss("rows", "u")]),
        ("ALTER TABLE t DROP CONSTRAINT c, ALTER a DROP NOT NULL, ALTER b DROP DEFAULT", []),
        ("TRUNCATE a, b", [Loss("rows", "a"), Loss("rows", "b")]),
        ("DELETE FROM ONLY t WHERE a = 'DELETE FROM x'", [Loss("rows", "t")]),
        ("DROP VIEW v; DROP INDEX i; DROP MATERIALIZED VIEW m; DROP SEQUENCE s", []),
        ("CREATE TABLE t (a int); ALTER TABLE t DROP a; DROP TABLE t", []),
        ("ALTER TABLE t ADD a int; ALTER TABLE t DROP a", []),
        ("ALTER TABLE t RENAME TO u; DROP TABLE u", [Loss("table", "t")]),
        ("ALTER TABLE t DETACH PARTITION p; DROP TABLE p", [Loss("table", "p")]),
    ],
)  # fmt: skip
def test_losses(text: str, losses: list[Loss]) -> None:
    """What a statement drops from the target is reported; what the scripts created is not."""
    assert read(text)[1] == losses


OF_T = frozenset({("t", "a")})


@pytest.mark.parametrize(
    ("text", "losses"),
    [
        ("DROP SCHEMA s", [Loss("schema", "s", address=(("s",), ()))]),
        ("DROP EXTENSION IF EXISTS e", [Loss("extension", "e", address=(("e",), ()))]),
        ("DROP TYPE s.t; DROP FUNCTION f; DROP VIEW v; DROP OPERATOR + (int, int)", []),
        ('DROP TYPE "S".t CASCADE', [Loss("type", '"S".t', address=(('"S".t',), ()))]),
        ("DROP DOMAIN d CASCADE", [Loss("type", "d", address=(("d",), ()))]),
        ("DROP FUNCTION s.f(int, VARIADIC text[]) CASCADE",
         [Loss("function", "s.f", address=(("s", "f"), ("int", "text[]")))]),
        ("DROP ROUTINE f CASCADE", [Loss("any function", "f", address=(("f",), ()))]),
        ("DROP OPERATOR s.- (NONE, int) CASCADE",
         [Loss("operator", 's."-"', address=(("s", "-"), ("none", "int")))]),
        ("DROP SEQUENCE s CASCADE; DROP VIEW v CASCADE",
         [Loss("sequence", "s", address=(("s",), ())), Loss("view", "v", address=(("v",), ()))]),
        ("DROP COLLATION c CASCADE", [Loss("collation", "c", address=(("c",), ()))]),
        ("DROP OWNED BY a, CURRENT_USER",
         [Loss("role", "a", address=(("a",), ())), Loss("role", "this role", address=(("",), ()))]),
        ("REASSIGN OWNED BY a TO b; DROP OWNED BY a", []),
        ("ALTER TABLE t DROP CONSTRAINT c CASCADE",
         [Loss("table constraint", "constraint c of t", address=(("t", "c"), ()))]),
        ("ALTER TABLE t DROP a CASCADE",
         [Loss("column", "t", "a"), Loss("table column", "t.a", address=(("t", "a"), ()))]),
        ("DROP TABLE t CASCADE", [Loss("table", "t"), Loss("table", "t", address=(("t",), ()))]),
        ("CREATE TABLE t (a int); DROP TABLE t CASCADE", []),
        ("ALTER TYPE e RENAME TO f; DROP TYPE f CASCADE", [Loss("type", "e", address=(("e",), ()))]),
        ("ALTER SCHEMA s RENAME TO r; DROP TYPE r.t CASCADE; DROP TABLE r.t CASCADE",
         [Loss("type", "r.t", address=(("s.t",), ())), Loss("table", "s.t"),
          Loss("table", "r.t", address=(("s", "t"), ()))]),
        ("SET search_path = s; DROP TYPE t CASCADE; DROP TYPE s.t CASCADE; DROP EXTENSION e",
         [Loss("type", "t", any_schema=True, address=(("t",), ())), Loss("type", "s.t", address=(("s.t",), ())),
          Loss("extension", "e", address=(("e",), ()))]),
        # what no longer depends on it, and what does by then
        ("ALTER TABLE t ALTER a TYPE int; DROP FUNCTION f CASCADE", [Loss("any function", "f", address=(("f",), ()))]),
        ("ALTER TABLE t ALTER a TYPE text; DROP TYPE e CASCADE",
         [Loss("type", "e", address=(("e",), ()), spared=OF_T)]),
        ("ALTER TABLE t ALTER a TYPE s.e USING null; DROP TYPE s.e CASCADE",
         [Loss("column", "t", "a"), Loss("type", "s.e", address=(("s.e",), ()))]),
        ("ALTER TABLE t DROP a; DROP TYPE e CASCADE",
         [Loss("column", "t", "a"), Loss("type", "e", address=(("e",), ()), spared=OF_T)]),
    ],
)  # fmt: skip
def test_losses_by_cascade(text: str, losses: list[Loss]) -> None:
    """CASCADE, and dropping a schema, extension or owner, also loses what depends on the object."""
    assert read(text)[1] == losses
