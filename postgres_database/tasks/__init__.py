"""The commands. Each body is: project and environment, one call, show.

The `tasks.py` of a project imports them by name. What a command needs is imported when it runs, so that `--list` and
`--help` answer at once.

    shared     the words of their options, and what they work on
    scripts    the commands for scripts
    databases  the commands for databases
    reviews    the command that reviews scripts
    adoption   the commands for databases that were online before they had scripts
    server     the commands for the embedded server, and psql
"""

import sys
from pathlib import Path

from invoke import Collection, Exit, Program

from postgres_database import __version__
from postgres_database.commands.command import answer_before_invoke, command
from postgres_database.commands.listing import grouped
from postgres_database.tasks.adoption import baseline_existing, models
from postgres_database.tasks.databases import (
    check,
    current,
    downgrade,
    stamp,
    status,
    upgrade,
)
from postgres_database.tasks.reviews import review
from postgres_database.tasks.scripts import (
    branches,
    edit,
    heads,
    history,
    init,
    merge,
    rebase,
    revision,
    show,
    squash,
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
    "rebase",
    "review",
    "revision",
    "show",
    "squash",
    "stamp",
    "start",
    "status",
    "stop",
    "understand",
    "upgrade",
]


def understand(name: str) -> None:
    """Answer a command line that calls for no command of this module: a list, a completion, or what is misspelt."""
    if "invoke" in sys.argv[0] or Path(sys.argv[0]).name == "inv":
        answer_before_invoke(Collection.from_module(sys.modules[name]))


class _Installed(Program):
    """The program of the package, whose help lists the commands in groups, too."""

    def list_tasks(self) -> None:
        """Print the commands."""
        sys.stdout.write(grouped(self.collection))


def main() -> None:
    """Run `postgres-database`: the same commands where there is no tasks.py."""
    commands = Collection.from_module(sys.modules[__name__])
    try:
        answer_before_invoke(commands)
    except Exit as error:
        sys.exit(error.message or error.code)
    _Installed(namespace=commands, name="postgres-database", version=__version__).run()
