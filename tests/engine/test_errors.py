"""The three lines of an error."""

import pytest

from postgres_database.errors import ExpectedError

LINES = {
    "only what happened": (ExpectedError("a"), "error: a"),
    "all three": (
        ExpectedError("a", cause="b", hint="c"),
        "error: a\ncause: b\ntry:   c",
    ),
    "no cause": (ExpectedError("a", hint="c"), "error: a\ntry:   c"),
    "causes of several lines are indented": (
        ExpectedError("a", cause="b\nerror: no new line of ours\n", hint="c"),
        "error: a\ncause: b\n       error: no new line of ours\ntry:   c",
    ),
    "nothing is a format": (
        ExpectedError("100% {of}", cause="%s", hint="[bold]"),
        "error: 100% {of}\ncause: %s\ntry:   [bold]",
    ),
}


@pytest.mark.parametrize(("error", "text"), LINES.values(), ids=LINES)
def test_lines(error: ExpectedError, text: str) -> None:
    """Each thing to say has a line with its label; what is empty has none."""
    assert str(error) == text
