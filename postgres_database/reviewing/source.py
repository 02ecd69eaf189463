"""The Python source of a script: the statement at a line, and the findings that comments accept. Pure."""

import ast
import io
import re
import textwrap
import tokenize
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

ACCEPT = re.compile(r"#\s*review:\s*accept\s+([\w:-]+)(?:\s+because\s+(.*\S))?", re.IGNORECASE)
"""A comment that accepts the findings of a rule."""


@dataclass(frozen=True)
class Acceptance:
    """A comment by which the author of a script accepts the findings of a rule."""

    rule: str
    reason: str
    """Empty if none is given; then nothing is accepted."""
    line: int
    """Of the comment."""
    first: int
    last: int
    """The lines of the statement that it is about: the one beside or below it. Outside of functions: all lines."""

    def covers(self, rule: str, line: int) -> bool:
        """Tell whether it accepts a finding of a rule at a line."""
        return bool(self.reason) and rule == self.rule and self.first <= line <= self.last


def acceptances(script: str) -> list[Acceptance]:
    """Return the comments of a script that accept findings: `# review: accept RULE because REASON`."""
    if "accept" not in script.lower():
        return []
    lines = script.count("\n") + 1
    found = []
    for line, comment in _comments(script):
        if match := ACCEPT.match(comment):
            first, last = _span(script, line) or (0, lines)
            found.append(Acceptance(match[1].lower(), match[2] or "", line, first, last))
    return found


def _comments(script: str) -> Iterator[tuple[int, str]]:
    with suppress(tokenize.TokenError, SyntaxError):
        for token in tokenize.generate_tokens(io.StringIO(script).readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string


def _span(script: str, line: int) -> tuple[int, int] | None:
    """Return the lines of the statement at a line of a function, or of the next one in it."""
    for function in _functions(script):
        last = max(function.end_lineno or 0, line) if _is_below(script, function, line) else 0
        if not function.lineno <= line <= max(function.end_lineno or 0, last):
            continue
        inside = [node for node in ast.walk(function) if isinstance(node, ast.stmt)][1:]
        at = [node for node in inside if node.lineno <= line <= (node.end_lineno or 0)]
        if simple := [node for node in at if not hasattr(node, "body")]:
            return simple[-1].lineno, simple[-1].end_lineno or line
        following = [node for node in inside if node.lineno > line]
        if following:
            node = min(following, key=lambda each: each.lineno)
            return node.lineno, node.end_lineno or node.lineno
        return line, line
    return None


def _is_below(script: str, function: ast.stmt, line: int) -> bool:
    """Tell whether a line below the last statement of a function is indented as its body is."""
    rows = script.splitlines()
    end = function.end_lineno or 0
    between = rows[end:line]
    return bool(between) and all(not row.strip() or row[0].isspace() for row in between)


def _functions(script: str) -> list[ast.FunctionDef]:
    with suppress(SyntaxError):
        return [node for node in ast.parse(script).body if isinstance(node, ast.FunctionDef)]
    return []


def statement(script: str, line: int) -> str:
    """Return the statement of a function at a line, without its indentation; a loop or block whole. Else nothing."""
    for function in _functions(script):
        for node in function.body:
            if node.lineno <= line <= (node.end_lineno or 0):
                rows = script.splitlines()[node.lineno - 1 : node.end_lineno]
                return textwrap.dedent("\n".join(rows))
    return ""
