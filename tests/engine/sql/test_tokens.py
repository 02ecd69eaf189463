"""What SQL text means to PostgreSQL."""

import pytest
from conftest import run_sql

from postgres_database.server.connection import Database
from postgres_database.sql.tokens import associated, stable, without_literals

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
def test_what_is_stable_is_printed_again(database: Database, check: str) -> None:
    """A constraint that is made from what PostgreSQL printed is printed so once more."""
    run_sql(database, TABLE.format("one"), f"ALTER TABLE one ADD CHECK ({check})")
    ((printed,),) = run_sql(database, DEFINITION.format("one"))
    run_sql(database, TABLE.format("other"), f"ALTER TABLE other ADD {stable(str(printed))}")
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
    """Only an array of varchar outside quotes gets a cast."""
    assert stable(text) == text


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
    """No value is left of a query, also if it was cut off."""
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
def test_groups_that_mean_nothing_are_equal(grouped: str, plain: str) -> None:
    """AND within AND, and OR within OR, are the same with and without parentheses."""
    assert associated(grouped) == associated(plain)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("((a AND b) OR c)", "(a AND (b OR c))"),
        ("(a AND (b OR c))", "(a AND b OR c)"),
        ("(v = 'a AND (b AND c)')", "(v = 'a AND b AND c')"),
    ],
)
def test_groups_that_mean_something_are_not(one: str, other: str) -> None:
    """AND within OR, OR within AND, and what stands in quotes stay as they are."""
    assert associated(one) != associated(other)
