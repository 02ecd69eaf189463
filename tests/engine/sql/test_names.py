"""Names and literals, quoted for SQL and read from it."""

import pytest

from postgres_database.sql.names import (
    Name,
    identifier,
    is_own_not_null,
    literal,
    quoted,
    unquoted,
)


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("users", "users"),
        ("Users", '"Users"'),
        ("user", '"user"'),
        ("50 %", '"50 %"'),
        ('a"b', '"a""b"'),
        ("a.b", '"a.b"'),
    ],
)
def test_quoted_names_are_read_back(name: str, written: str) -> None:
    """A name is quoted only where needed, and reading it gives the same name."""
    assert identifier(name) == written
    assert unquoted(written) == unquoted(quoted(name)) == (name,)
    assert Name.read(Name(name, name).sql) == (name, name)


def test_names_without_a_schema_are_in_the_default_one() -> None:
    """A name without a schema, from SQLAlchemy or from SQL, is in `public`."""
    assert Name.of(None, "t") == Name.read("T") == ("public", "t")


@pytest.mark.parametrize(
    ("text", "written"), [("it's", "'it''s'"), ("a\\'b", "E'a\\\\''b'"), ("", "''")]
)
def test_literals_are_escaped(text: str, written: str) -> None:
    """Quotes in a string are doubled; a string with a backslash is written as E'…'."""
    assert literal(text) == written


@pytest.mark.parametrize(
    ("table", "column", "name", "own"),
    [
        ("t", "a", "t_a_not_null", True),
        ("t", "a", "t_a_not_null2", True),
        ("t", "b", "t_a_not_null", False),
        ("t", "a", "needs_a", False),
        ("t", "a", "t_a", False),
        ("orders", "count", "order_c_not_null", False),
        ("t" * 50, "c" * 20, "t" * 33 + "_" + "c" * 20 + "_not_null", True),
    ],
)
def test_names_of_not_null_are_known_as_postgresqls(
    table: str,
    column: str,
    name: str,
    own: bool,  # noqa: FBT001
) -> None:
    """PostgreSQL names NOT NULL after table and column, cuts what is too long, and numbers what is taken."""
    assert is_own_not_null(table, column, name) == own
