"""SQL text as tokens, and texts that PostgreSQL treats as equal."""

import pytest
from conftest import run_sql

from postgres_database.server.connection import Database
from postgres_database.sql.tokens import (
    ended,
    printed_unchanged,
    without_literals,
    without_redundant_groups,
)

TABLE = "CREATE TABLE {} (a varchar(9), b text, c char(2), d varchar[])"
DEFINITION = "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = '{}'::regclass"


@pytest.mark.parametrize(
    "check",
    [
        "a IN ('x', 'y')",
        "a NOT IN ('x', 'it''s', ')::text[]')",
        "a IN ('x', 'y', a)",
        "b IN ('x', 'y')",
        "c IN ('x', 'y')",
        "a = ANY (d)",
        "d[1] IN ('x', 'y')",
        "a IN ('(ARRAY[''x''::character varying])::text[]', 'y')",
    ],
)
def test_a_printed_constraint_is_printed_again_unchanged(database: Database, check: str) -> None:
    """A constraint that is created from its printed definition has the same printed definition."""
    run_sql(database, TABLE.format("one"), f"ALTER TABLE one ADD CHECK ({check})")
    ((printed,),) = run_sql(database, DEFINITION.format("one"))
    run_sql(
        database, TABLE.format("other"), f"ALTER TABLE other ADD {printed_unchanged(str(printed))}"
    )
    assert run_sql(database, DEFINITION.format("other")) == [(printed,)]


@pytest.mark.parametrize(
    "text",
    [
        "SELECT '(ARRAY[''x''::character varying])::text[]'",
        "CREATE FUNCTION f() AS $$ SELECT (ARRAY['x'::character varying])::text[] $$",
        "SELECT (ARRAY[1, 2])::text[]",
        "SELECT a[1], ']'",
    ],
)
def test_other_texts_are_left_alone(text: str) -> None:
    """Only an array of varchar outside quotes gets a cast; other SQL stays as it is."""
    assert printed_unchanged(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT 'a''b', 12, t1, \"t\", $1, $$x$$", 'SELECT …, …, t1, "t", $1, …'),
        ("SELECT 1 /* secret */ -- secret", "SELECT … … …"),
        ("UPDATE t SET a = 'cut o", "UPDATE t SET a = …"),
        ("SELECT $x$cut o", "SELECT …"),
    ],
)
def test_values_are_masked(text: str, expected: str) -> None:
    """No literal is left in a query, not even in one that was truncated within a literal."""
    assert without_literals(text) == expected


@pytest.mark.parametrize(
    ("grouped", "plain"),
    [
        ("((a > 0) AND ((b > 0) AND (c > 0)))", "((a > 0) AND (b > 0) AND (c > 0))"),
        ("(((a > 0) OR (b > 0)) OR (c > 0))", "((a > 0) OR (b > 0) OR (c > 0))"),
        ("((v = ' AND (') AND ((b > 0) AND (c > 0)))", "((v = ' AND (') AND (b > 0) AND (c > 0))"),
        ("(a AND (b AND (c OR (d OR e))))", "(a AND b AND (c OR d OR e))"),
        ("CHECK ((VALUE AND (b AND c)))", "CHECK ((VALUE AND b AND c))"),
    ],
)
def test_redundant_groups_are_removed(grouped: str, plain: str) -> None:
    """Parentheses around AND within AND, or OR within OR, make no difference."""
    assert without_redundant_groups(grouped) == without_redundant_groups(plain)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("((a AND b) OR c)", "(a AND (b OR c))"),
        ("(a AND (b OR c))", "(a AND b OR c)"),
        ("(v = 'a AND (b AND c)')", "(v = 'a AND b AND c')"),
    ],
)
def test_other_groups_are_kept(one: str, other: str) -> None:
    """AND within OR, OR within AND, and quoted text stay as they are."""
    assert without_redundant_groups(one) != without_redundant_groups(other)


@pytest.mark.parametrize(
    ("sql", "after"),
    [
        ("SELECT 1", "SELECT 1;"),
        ("SELECT 1\n", "SELECT 1;"),
        ("SELECT 1; ", "SELECT 1; "),
        ("SELECT 1 -- one; two", "SELECT 1 -- one; two\n;"),
        ("SELECT 1; -- one", "SELECT 1; -- one"),
        ("SELECT ';' /* ; */", "SELECT ';' /* ; */;"),
        ("-- nothing", "-- nothing"),
        ("", ""),
    ],
)
def test_other_sql_can_follow(sql: str, after: str) -> None:
    """A semicolon is put behind the last statement where there is none, and never into a comment."""
    assert ended(sql) == after
