"""A script that follows another revision than before: its text and its name, and nothing else of it changes; pure."""

import ast
import re
from datetime import datetime

REVISES = re.compile(rb"^(Revises:[ \t]*)[^\r\n]*", re.MULTILINE)
"""The line of Alembic's template that names what a script follows."""
TOKEN = re.compile(r"%\((\w+)\)[-#0 +\d.]*[sd]")
"""A part of `file_template` (Alembic documentation, tutorial, "Editing the .ini File")."""
DATES = ("year", "month", "day", "hour", "minute", "second", "epoch")


def followed(script: bytes, parent: str) -> bytes:
    """Return the text of a script with another `down_revision`, in code and docstring.

    Raises:
        ValueError: It does not give one as a literal; the message is for people.
    """
    tree = ast.parse(script)
    values = [
        node.value
        for node in tree.body
        if isinstance(node, (ast.Assign, ast.AnnAssign))
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name) and target.id == "down_revision"
    ]
    value = values[0] if len(values) == 1 else None
    if value is None or not _is_literal(value):
        raise ValueError("its down_revision is not given once, as a literal")
    start, end = _span(script, value)
    mark = script[start : start + 1] if script[start : start + 1] in {b"'", b'"'} else b'"'
    changed = script[:start] + mark + parent.encode() + mark + script[end:]
    first = tree.body[0]
    if isinstance(first, ast.Expr) and ast.get_docstring(tree, clean=False) is not None:
        begin, stop = _span(script, first)  # before the value: its place is the same
        header = REVISES.sub(lambda match: match[1] + parent.encode(), script[begin:stop], count=1)
        changed = changed[:begin] + header + changed[stop:]
    return changed


def _is_literal(value: ast.expr | None) -> bool:
    if isinstance(value, ast.Tuple):
        return all(map(_is_literal, value.elts))
    return isinstance(value, ast.Constant) and isinstance(value.value, str | None)


def _span(script: bytes, node: ast.expr | ast.stmt) -> tuple[int, int]:
    """Return where a node begins and ends in its text, in bytes, as Python counts columns."""
    lines = script.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    end_line, end_column = node.end_lineno or node.lineno, node.end_col_offset or 0
    mark = 3 if script.startswith(b"\xef\xbb\xbf") else 0
    first, last = (mark if line == 1 else 0 for line in (node.lineno, end_line))
    return (
        starts[node.lineno - 1] + node.col_offset + first,
        starts[end_line - 1] + end_column + last,
    )


def renamed(name: str, template: str, when: datetime) -> str:
    """Return the name of a script with another date, by Alembic's `file_template`; unchanged if it holds none."""
    if not {match[1] for match in TOKEN.finditer(template)}.intersection(DATES):
        return name
    stem, pattern, end = name.removesuffix(".py"), "", 0
    for match in TOKEN.finditer(template):
        pattern += re.escape(template[end : match.start()])
        pattern += r"(\d+)" if match[1] in DATES else "(.*)"
        end = match.end()
    found = re.fullmatch(pattern + re.escape(template[end:]), stem)
    if found is None:
        return name
    parts = iter(found.groups())

    def part(match: re.Match[str]) -> str:
        old = next(parts)
        if match[1] not in DATES:
            return old
        value = int(when.timestamp()) if match[1] == "epoch" else getattr(when, match[1])
        return match[0] % {match[1]: value}

    return f"{TOKEN.sub(part, template)}.py"
