"""Lines that the results of several commands share."""

import pytest

from postgres_database.console import lines

LONG = "CREATE TABLE orders (\n    a integer,\n    b integer,\n    c integer\n)"


@pytest.mark.parametrize(
    ("left", "right", "shown"),
    [
        ("a\nb", "a\nc", ("a\nb", "a\nc")),
        (LONG, "", (LONG, "")),
        (
            f"{LONG}\nPARTITION BY RANGE (a);",
            f"{LONG};",
            ("…\n)\nPARTITION BY RANGE (a);", "…\n);"),
        ),
        (LONG, LONG.replace("    b integer,\n", ""), ("…\n    b integer,\n…", "…\n…")),
        (
            LONG,
            LONG.replace("b integer", "b bigint"),
            ("…\n    b integer,\n…", "…\n    b bigint,\n…"),
        ),
        ("a\nb\nc\nd\ne", "v\nw\nx\ny\nz", ("a\nb\nc\nd\ne", "v\nw\nx\ny\nz")),
    ],
    ids=[
        "short",
        "on one side",
        "partitioned",
        "line missing",
        "line changed",
        "nothing in common",
    ],
)
def test_long_definitions_are_shown_by_what_differs(
    left: str, right: str, shown: tuple[str, str]
) -> None:
    """Lines that both sides have are not repeated; a definition of one side is shown whole."""
    assert lines.unlike(left, right) == shown
