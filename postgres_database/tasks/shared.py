"""What the commands share: the words of their options, and what they work on."""

from pathlib import Path
from typing import Any

from postgres_database.errors import ExpectedError

ENV = (
    "environment: reads .env.NAME (default: the variable ENV, else .env, else the embedded server)"
)
YES = "answer every question with yes"
JSON = "print one JSON object"
DRY_RUN = "show the plan and change nothing"
SKIP = "do not look beforehand for rows that violate requirements, which reads whole tables"
WAIT = (
    "how long to wait for another command, such as 30s or 5min; 0 does not wait (default: for ever)"
)
SQL = "print SQL instead of running it"


def parse_wait(text: str) -> float | None:
    """Return how many seconds to wait, from `30s`, `5min` or `0`; None for an empty text: wait for ever.

    Raises:
        ExpectedError: It is not a duration, or a number without a unit.
    """
    if not text:
        return None
    from postgres_database.server.environment import milliseconds

    time = milliseconds(text)
    if time is None or (time and text.isdigit()):
        raise ExpectedError(
            f"--wait {text} is not a duration", hint="--wait 30s   (or 500ms, 5min, 1h, 0)"
        )
    return time / 1000


def project_here(metadata: str = "") -> Any:
    """Return the project in whose root a command runs."""
    from postgres_database.history import project

    return project.load(Path.cwd(), metadata)


def project_and_environment(env: str = "") -> tuple[Any, Any]:
    """Return the project and the environment."""
    from postgres_database.console import terminal
    from postgres_database.server import environment

    loaded = environment.load(env, root=Path.cwd())
    terminal.warn(loaded)
    return project_here(loaded.models), loaded


def project_alone() -> tuple[Any, Any]:
    """Return the project, and the environment of a command that works on none: none is read."""
    from postgres_database.server.environment import Environment

    project = project_here()
    return project, Environment(project.root)
