"""The labels of an error are in colour where a terminal shows them."""

import io
import re
import sys

import pytest

from postgres_database.commands.command import failed
from postgres_database.errors import ExpectedError

ERROR = ExpectedError("x: no", cause="cause: a\ntry: b", hint="invoke check")


class Stream(io.StringIO):
    """A stream that is a terminal, or none."""

    def __init__(self, *, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        """Tell which."""
        return self.terminal


@pytest.mark.parametrize(
    ("terminal", "environ", "coloured"),
    [
        (True, {"TERM": "xterm"}, True),
        (False, {"TERM": "xterm"}, False),
        (True, {"TERM": "dumb"}, False),
        (True, {}, False),
        (True, {"TERM": "xterm", "NO_COLOR": "1"}, False),
        (True, {"TERM": "xterm", "NO_COLOR": ""}, True),
    ],
)
def test_labels(
    monkeypatch: pytest.MonkeyPatch, *, terminal: bool, environ: dict[str, str], coloured: bool
) -> None:
    """Only the three labels are coloured, each in its own; the text is the same."""
    for name in ("TERM", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stderr", Stream(terminal=terminal))
    said = str(failed(ERROR).message)
    labels = re.findall(r"\x1b\[([0-9;]+)m(\w+:)\x1b\[0m", said)
    wanted = [("1;31", "error:"), ("33", "cause:"), ("1;32", "try:")]
    assert labels == (wanted if coloured else [])
    assert re.sub(r"\x1b\[[0-9;]*m", "", said) == str(ERROR)
