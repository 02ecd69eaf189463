"""The commands in groups, for `--list` and `make help`: Invoke's own list is one row by the alphabet; pure."""

import inspect
import textwrap

from invoke import Collection

GROUPS = {
    "Every day": ("revision", "review", "upgrade", "downgrade", "status", "check"),
    "Setting up": ("init", "baseline-existing", "models"),
    "As in Alembic": ("history", "current", "heads", "branches", "show", "edit", "merge", "stamp"),
    "The scripts": ("rebase", "squash"),
    "The server": ("start", "stop", "psql"),
}
OTHERS = "Of this repository"
"""The group of all others: what a project adds in its tasks.py."""
WIDTH = 80


def grouped(commands: Collection) -> str:
    """Return the names of all commands, each with the first line of its docstring, in lines of at most 80 columns."""
    names = {
        name: f"{name} ({', '.join(aliases)})" if aliases else name
        for name, aliases in commands.task_names.items()
    }
    grouped = {name for group in GROUPS.values() for name in group}
    groups = GROUPS | {OTHERS: tuple(sorted({*names} - grouped))}
    margin = max(map(len, names.values())) + 5
    lines = []
    for title, group in groups.items():
        there = [name for name in group if name in names]
        lines += [f"{title}:"] if there else []
        for name in there:
            text = (inspect.getdoc(commands[name]) or "").partition("\n")[0]
            lines += textwrap.wrap(
                text,
                WIDTH,
                initial_indent=f"  {names[name]}".ljust(margin),
                subsequent_indent=" " * margin,
                break_on_hyphens=False,
            ) or [f"  {names[name]}"]
        lines += [""] if there else []
    return "\n".join(lines)
