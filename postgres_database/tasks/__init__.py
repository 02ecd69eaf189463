"""The commands. Each body is: project and environment, one call, show.

The `tasks.py` of a project imports them by name. What a command needs is imported when it runs, so that `--list` and
`--help` answer at once.

    shared     the words of their options, and what they work on
    scripts    the commands for scripts
    databases  the commands for databases
    adoption   the commands for databases that were online before they had scripts
    server     the commands for the embedded server, and psql
"""

import sys
from pathlib import Path

from invoke import Collection, Exit, Program

from postgres_database import __version__
from postgres_database.console.command import command, require_understood
from postgres_database.tasks.adoption import baseline_existing, models
from postgres_database.tasks.databases import (
    check,
    current,
    downgrade,
    stamp,
    status,
    upgrade,
)
from postgres_database.tasks.scripts import (
    branches,
    edit,
    heads,
    history,
    init,
    merge,
    revision,
    show,
)
from postgres_database.tasks.server import psql, start, stop

__all__ = [
    "baseline_existing",
    "branches",
    "check",
    "command",
    "current",
    "downgrade",
    "edit",
    "heads",
    "history",
    "init",
    "main",
    "merge",
    "models",
    "psql",
    "revision",
    "show",
    "stamp",
    "start",
    "status",
    "stop",
    "understand",
    "upgrade",
]


def understand(name: str) -> None:
    """End a command of this module that Invoke would not understand, with what was probably meant; nothing is run."""
    if "invoke" in sys.argv[0] or Path(sys.argv[0]).name == "inv":
        require_understood(Collection.from_module(sys.modules[name]))


def main() -> None:
    """Run `postgres-database`: the same commands where there is no tasks.py."""
    commands = Collection.from_module(sys.modules[__name__])
    try:
        require_understood(commands)
    except Exit as error:
        sys.exit(f"{error}")
    Program(namespace=commands, name="postgres-database", version=__version__).run()
