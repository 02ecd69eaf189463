"""Statements as PostgreSQL's parser reads them."""

import pytest

from postgres_database.sql import syntax
from postgres_database.sql.syntax import UnreadableError, read, statements

ATOMIC = (
    "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT t.end FROM t; SELECT 1 AS end; SELECT 2 AS case;"
    " SELECT CASE WHEN CASE WHEN true THEN true END THEN 1 END; END"
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" ;; -- nothing\n; /* ; */", []),
        ("SELECT 1;\n\n  SELECT\t2", ["SELECT 1", "SELECT 2"]),
        ("COMMENT ON TABLE \"a;  --b\" IS E'it\\'s;  '", ["COMMENT ON TABLE \"a;  --b\" IS E'it\\'s;  '"]),
        ("SELECT 1 /* a; /* b; */ c; */ + 2; SELECT 3", ["SELECT 1 + 2", "SELECT 3"]),
        ("DO $a$ BEGIN; -- $$ x\n END $a$; SELECT 1", ["DO $a$ BEGIN; -- $$ x\n END $a$", "SELECT 1"]),
        ("CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2); SELECT 3",
         ["CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2)", "SELECT 3"]),
        ("CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END; SELECT 3",
         ["CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END", "SELECT 3"]),
        ("BEGIN; SELECT 1; END; SELECT 2", ["BEGIN", "SELECT 1", "END", "SELECT 2"]),
        (f"{ATOMIC}; SELECT 'é', 'ü'\n  'ö'; SELECT 3", [ATOMIC, "SELECT 'é', 'ü'\n  'ö'", "SELECT 3"]),
        ("CREATE RULE r AS ON INSERT TO t DO ALSO (DELETE FROM a; DELETE FROM b); END",
         ["CREATE RULE r AS ON INSERT TO t DO ALSO (DELETE FROM a; DELETE FROM b)", "END"]),
        ("SELECT $1; SELECT U&'a;\\0061', B'1', x.\"y;\"", ["SELECT $1", "SELECT U&'a;\\0061', B'1', x.\"y;\""]),
        # text that the parser rejects
        (f"{ATOMIC}; SOMETHING NEW (a; b) -- c;\n; SELECT :name, %(x)s; 1 2",
         [ATOMIC, "SOMETHING NEW (a; b)", "SELECT :name, %(x)s", "1 2"]),
        ("COPY t FROM stdin;\n1\t2\n\\.\n", ["COPY t FROM stdin", "1 2 \\."]),
        ("SELECT 1; SELECT 'open", ["SELECT 1; SELECT 'open"]),
        ("SELECT 1\0; DROP TABLE t", ["SELECT 1\0; DROP TABLE t"]),
        ("SELECT '\udc80'; SELECT 1", ["SELECT '\udc80'; SELECT 1"]),
    ],
)  # fmt: skip
def test_text_is_split_into_statements(text: str, expected: list[str]) -> None:
    """Text is split where PostgreSQL ends its statements, and comments are removed."""
    assert statements(text) == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not one statement"),
        ("SELECT 1; SELECT 2", "not one statement"),
        ("SELECT FROM FROM", "syntax error"),
        ("SELECT :name", "syntax error"),
        ("SELECT 1\0", "null character"),
        ("SELECT '\udc80'", "surrogates"),
        ("SELECT " + "(" * 100_000, "memory exhausted"),
        ("SELECT 1" + " + 1" * 100, "nested too deeply"),
        ("SELECT 1" + " + 1" * 200_000, "nested too deeply"),
        ("SELECT 1, 2" + " UNION ALL SELECT 1, 2" * 200_000, "nested too deeply"),
    ],
)
def test_unreadable_text_is_an_error(text: str, why: str) -> None:
    """Text that is not one statement, or is too large for the parser, raises an error with the reason."""
    with pytest.raises(UnreadableError, match=why):
        read(text)


@pytest.mark.parametrize(
    "expression",
    [
        "a > 0 AND (b <> ')' OR NOT c)",
        "f(\"A b\", ß) -> E'\\\\x'",
        "CASE WHEN a THEN b::varchar(5) ELSE (c).d END",
        "a IN (SELECT b FROM s.t) AND c BETWEEN 1 AND 2",
        "(a || 'x') COLLATE \"C\" LIKE '50%' ESCAPE '!'",
    ],
)
def test_parsed_expressions_are_written_with_the_same_meaning(expression: str) -> None:
    """An expression that is parsed, written and parsed again has the same parse tree."""
    written = read(f"SELECT {expression}").target_list[0].val.sql()
    assert read(f"SELECT {written}").target_list[0].val.sql() == written
    fingerprints = {
        syntax._library().fingerprint(f"SELECT {each}").hex for each in (expression, written)
    }
    assert len(fingerprints) == 1


@pytest.mark.parametrize(
    ("sql", "name", "rest"),
    [
        ("CREATE INDEX i ON s.t (a)", "s.t", "(a)"),
        ('CREATE INDEX "ä" ON "Ö ö" . t * USING btree (a)', '"Ö ö".t', "USING btree (a)"),
        ('CREATE INDEX ON U&"d\\0061t" (a)', "dat", "(a)"),
    ],
)
def test_text_after_a_name(sql: str, name: str, rest: str) -> None:
    """Locations are byte offsets; names are those of the catalog, quoted only where needed."""
    table = read(sql).relation
    assert (syntax.name(table), syntax.after_name(sql, table.location)) == (name, rest)
