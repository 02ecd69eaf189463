"""Whether the scripts of the revisions of a database are in this checkout, and who has run those that are not."""

from collections.abc import Collection
from datetime import UTC

from postgres_database.errors import ExpectedError
from postgres_database.history.graph import History
from postgres_database.running import log
from postgres_database.server.connection import Database


def require_scripts(scripts: History, database: Database, current: Collection[str]) -> None:
    """Raise ExpectedError if a database is at a revision without a script, or at one and also at one before it."""
    unknown = sorted(revision for revision in current if revision not in scripts)
    if unknown:
        raise ExpectedError(
            f"the database is at revision {', '.join(unknown)}, which is not among the scripts of this checkout",
            cause="it was upgraded with a script of another checkout or branch\n"
            + origin(database, unknown),
            hint=f"git pull   (if that does not bring the script: git log --all --oneline -S{unknown[0]} finds its"
            f" branch; if it is lost for good: {forgetting(database.env_option)})",
        )
    for revision in current:
        below = _below(scripts, revision)
        if doubled := sorted(below.intersection(current)):
            raise ExpectedError(
                f"the database says that it is at {revision} and at {', '.join(doubled)}, which comes before",
                cause="its version table has a row for each; Alembic writes only the last revision of a branch",
                hint=f"invoke stamp{database.env_option} --purge --target {revision}"
                "   (it compares the database with that revision)",
            )


def forgetting(env_option: str) -> str:
    """Return what to type, so that a database is no longer at a revision without a script."""
    return (
        f"invoke stamp{env_option} --purge --target base, then invoke baseline-existing{env_option}"
    )


def _below(scripts: History, revision: str) -> set[str]:
    """Return what leads to a revision."""
    below: set[str] = set()
    waiting = [*scripts[revision].parents]
    while waiting:
        parent = waiting.pop()
        if parent not in below:
            below.add(parent)
            waiting += scripts[parent].parents
    return below


def origin(database: Database, revisions: Collection[str]) -> str:
    """Return who has brought a database to revisions, and when, a line each, as far as its log knows."""
    try:
        entries = log.read(database)
    except ExpectedError as error:
        return f"{error.what}: {error.cause}"
    lines = []
    for revision in revisions:
        runs = [
            entry
            for entry in entries
            if entry.revision == revision and entry.direction == "upgrade"
        ]
        if runs:
            when = runs[-1].started.astimezone(UTC)
            lines.append(
                f"{revision} was run by {runs[-1].who} on {runs[-1].host}, {when:%Y-%m-%d %H:%M} UTC"
            )
        else:
            lines.append(f"the log of the database does not say who has run {revision}")
    return "\n".join(lines)
