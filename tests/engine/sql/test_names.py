"""Names and literals, written into SQL and read out of it."""

import pytest

from postgres_database.sql.names import Name, identifier, literal, quoted, unquoted


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
def test_names_are_read_as_they_were_written(name: str, written: str) -> None:
    """A name is in quotes only if it needs them, and is the same when it is read again."""
    assert identifier(name) == written
    assert unquoted(written) == unquoted(quoted(name)) == (name,)
    assert Name.read(Name(name, name).sql) == (name, name)


def test_names_without_a_schema_are_in_the_default_one() -> None:
    """As SQLAlchemy says them, and as SQL does, a name without a schema is in `public`."""
    assert Name.of(None, "t") == Name.read("T") == ("public", "t")


@pytest.mark.parametrize(
    ("text", "written"), [("it's", "'it''s'"), ("a\\'b", "E'a\\\\''b'"), ("", "''")]
)
def test_literals(text: str, written: str) -> None:
    """A string has its quotes doubled; one with a backslash says that it escapes."""
    assert literal(text) == written
