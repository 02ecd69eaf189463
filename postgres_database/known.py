"""Whether the scripts of what a database is at are there, and who has run those that are not."""

from collections.abc import Collection
from datetime import UTC

from postgres_database import journal
from postgres_database.connection import Database
from postgres_database.errors import ExpectedError
from postgres_database.history import History


def require(scripts: History, database: Database, current: Collection[str]) -> None:
    """Raise ExpectedError, with who ran it and when, if a database is at a revision that is not among the scripts."""
    try:
        scripts.require(current)
    except ExpectedError as error:
        unknown = sorted(each for each in current if each not in scripts)
        error.cause += f"\n{origin(database, unknown)}"
        error.hint = (
            f"git pull   (if that does not bring the script: git log --all --oneline -S{unknown[0]} finds its branch;"
            f" if it is lost for good: invoke stamp{database.env_option} --purge --target …)"
        )
        raise


def origin(database: Database, revisions: Collection[str]) -> str:
    """Return who has brought a database to revisions, and when, a line each; says if the log does not know."""
    log = journal.read(database)
    lines = []
    for revision in revisions:
        runs = [each for each in log if each.revision == revision and each.direction == "upgrade"]
        if runs:
            when = runs[-1].started.astimezone(UTC)
            lines.append(
                f"{revision} was run by {runs[-1].who} on {runs[-1].host}, {when:%Y-%m-%d %H:%M} UTC"
            )
        else:
            lines.append(f"the log of the database does not say who has run {revision}")
    return "\n".join(lines)
