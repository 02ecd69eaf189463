"""Parses the statements that have a form that is safe beside live traffic."""

import pytest

from postgres_database.online.forms import LONGEST_NAME, not_null_check, offline, parse

SAFE = {
    "CREATE INDEX i ON t (a)": ["CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON t (a)"],
    'CREATE UNIQUE INDEX "ä ö" ON ONLY s."T t" USING btree ((b || \')\') DESC) WHERE c;': [
        'CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS "ä ö" ON s."T t" USING btree ((b || \')\') DESC) WHERE c'
    ],
    "DROP INDEX IF EXISTS s.i": ["DROP INDEX CONCURRENTLY IF EXISTS s.i"],
    'ALTER TABLE ONLY t ADD CONSTRAINT u UNIQUE NULLS NOT DISTINCT (a, "B") INCLUDE (c) INITIALLY DEFERRED': [
        'CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS u ON t (a, "B") INCLUDE (c) NULLS NOT DISTINCT',
        "ALTER TABLE t ADD CONSTRAINT u UNIQUE USING INDEX u DEFERRABLE INITIALLY DEFERRED",
    ],
    "ALTER TABLE U&\"\\0054\" ADD CONSTRAINT U&\"\\00e4\" CHECK (a <> 'NOT VALID, ')": [
        "ALTER TABLE U&\"\\0054\" ADD CONSTRAINT U&\"\\00e4\" CHECK (a <> 'NOT VALID, ') NOT VALID",
        'ALTER TABLE "T" VALIDATE CONSTRAINT "ä"',
    ],
    "ALTER TABLE t ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES o ON DELETE SET NULL (a)": [
        "ALTER TABLE t ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES o ON DELETE SET NULL (a) NOT VALID",
        "ALTER TABLE t VALIDATE CONSTRAINT f",
    ],
    "ALTER TYPE s.e ADD VALUE 'it''s' AFTER 'a'": ["ALTER TYPE s.e ADD VALUE IF NOT EXISTS 'it''s' AFTER 'a'"],
    "ALTER TYPE e ADD VALUE 'b' BEFORE 'c'": ["ALTER TYPE e ADD VALUE IF NOT EXISTS 'b' BEFORE 'c'"],
}  # fmt: skip


@pytest.mark.parametrize("sql", SAFE)
def test_safe_form_of_a_statement(sql: str) -> None:
    """Names are decoded, and quoted where they need it; definitions are copied as they are."""
    statement = parse(sql)
    assert statement
    assert offline(statement) == SAFE[sql]


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE t (a int)",
        "CREATE INDEX ON t (a)",
        "DROP INDEX a, b",
        "DROP INDEX a CASCADE",
        "ALTER TABLE t ADD CONSTRAINT u UNIQUE (a) WITH (fillfactor = 70)",
        "ALTER TABLE t ADD CONSTRAINT u UNIQUE USING INDEX i",
        "ALTER TABLE t ADD CONSTRAINT u UNIQUE (a, b WITHOUT OVERLAPS)",
        "ALTER TABLE t ADD COLUMN a int",
        "ALTER TABLE t ALTER a SET NOT NULL, ALTER b SET NOT NULL",
        "ALTER TABLE t ALTER a DROP NOT NULL",
        "ALTER TABLE t ADD UNIQUE (a)",
        "ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0) NOT VALID",
        "ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0) NOT ENFORCED",
        "ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0), DROP b",
        "ALTER TABLE t ADD CONSTRAINT x EXCLUDE USING gist (a WITH &&)",
        "ALTER TYPE e ADD VALUE IF NOT EXISTS 'a'",
        "ALTER TYPE e RENAME VALUE 'a' TO 'b'",
        "ALTER VIEW v ALTER a SET DEFAULT 0",
        "SELECT 'CREATE INDEX i ON t (a)'",
        "CREATE INDEX i ON t (a); SELECT 1",
        "CREATE INDEX i ON t (:a)",
        "",
    ],
)
def test_statement_without_a_safe_form(sql: str) -> None:
    """A statement that is safe already, does several things, has no safe form or is not valid SQL stays as it is."""
    assert parse(sql) is None


def test_names_of_temporary_checks_are_distinct() -> None:
    """The temporary CHECKs of two columns with long names have different names that PostgreSQL does not truncate."""
    long = "x" * 60
    names = {not_null_check("t", f"{long}{end}") for end in "ab"}
    assert len(names) == 2
    assert all(len(name) <= LONGEST_NAME for name in names)
