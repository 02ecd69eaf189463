"""Statements that have a form that is safe beside live traffic, taken apart."""

import pytest

from postgres_database.online.forms import offline, parse

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
    """Names are those of the catalog, in quotes where they need them; definitions stay as they are."""
    statement = parse(sql)
    assert statement
    assert offline(statement) == SAFE[sql]


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE INDEX ON t (a)",
        "DROP INDEX a, b",
        "DROP INDEX a CASCADE",
        "ALTER TABLE t ADD CONSTRAINT u UNIQUE (a) WITH (fillfactor = 70)",
        "ALTER TABLE t ADD CONSTRAINT u UNIQUE USING INDEX i",
        "ALTER TABLE t ADD CONSTRAINT u UNIQUE (a, b WITHOUT OVERLAPS)",
        "ALTER TABLE t ADD UNIQUE (a)",
        "ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0) NOT VALID",
        "ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0) NOT ENFORCED",
        "ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0), DROP b",
        "ALTER TABLE t ADD CONSTRAINT x EXCLUDE USING gist (a WITH &&)",
        "ALTER TYPE e ADD VALUE IF NOT EXISTS 'a'",
        "ALTER TYPE e RENAME VALUE 'a' TO 'b'",
        "ALTER VIEW v ALTER a SET DEFAULT 0",
        "CREATE INDEX i ON t (a); SELECT 1",
        "CREATE INDEX i ON t (:a)",
        "",
    ],
)
def test_statement_without_a_safe_form(sql: str) -> None:
    """What is safe already, does more than one thing, or is not read, stays as it is."""
    assert parse(sql) is None
