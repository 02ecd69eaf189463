"""Values of options for the completion of a shell: Invoke itself completes commands and options alone."""

from pathlib import Path

from postgres_database.errors import ExpectedError

NAMES = ("head", "base")


def values(line: str, root: Path) -> list[str]:
    """Return what may stand behind the last option of a command line, if that is --env or --target; else nothing.

    Args:
        line: The command line so far, as Invoke's scripts for shells hand it over: without the blank at its end.
        root: The repository.
    """
    match line.replace("=", " ").split()[-2:]:
        case [*_, "--env"] | ["--env", _]:
            from postgres_database.server import environment  # noqa: PLC0415 - see command_line

            return [*environment.env_files(root)]
        case [*_, "--target"] | ["--target", _]:
            from postgres_database.history import project  # noqa: PLC0415 - it reads the scripts

            try:
                revisions = project.load(root).history.revisions
            except ExpectedError:  # a completion is no place for it: each command says it
                return [*NAMES]
            return [*NAMES, *(revision.id for revision in revisions)]
    return []
