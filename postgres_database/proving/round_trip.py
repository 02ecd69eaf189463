"""A script of the history: up, down and up again where it is now, compared with what it made before."""

from postgres_database.errors import ExpectedError
from postgres_database.history.graph import Revision
from postgres_database.history.operations import RefusedError
from postgres_database.history.project import Project
from postgres_database.proving import made_up_rows
from postgres_database.running import runner
from postgres_database.schema import comparison
from postgres_database.schema.respelling import respell
from postgres_database.scratch.databases import Scratch
from postgres_database.server.connection import Database


def there_and_back(project: Project, session: Scratch, revision: Revision) -> tuple[str, ...]:
    """Run a script of a history up, down and up again, on made-up rows, or on none if rows make it fail.

    Returns:
        What fails or differs, a line each. A downgrade that only says `op.refuse` is no fault.
    """
    try:
        return _there_and_back(project, session, revision, rows=True)
    except ExpectedError:
        try:
            return _there_and_back(project, session, revision, rows=False)
        except ExpectedError as error:
            return (f"{error.what}\n{error.cause}",)


def _there_and_back(
    project: Project, session: Scratch, revision: Revision, *, rows: bool
) -> tuple[str, ...]:
    before, here = (session.at(project, revision.needed) for _ in range(2))
    after = session.at(project, [*revision.needed, revision.id])
    if rows:
        made_up_rows.fill(here, after)
    with runner.open_runner(project, here) as run:
        run.upgrade([revision])
        try:
            run.downgrade([revision])
        except ExpectedError as error:
            if isinstance(error.__cause__, RefusedError):
                return ()
            raise
        if faults := unlike(session, "after the downgrade", here, before):
            return faults
        run.upgrade([revision])
    return unlike(session, "after the second upgrade", here, after)


def unlike(session: Scratch, when: str, database: Database, goal: Database) -> tuple[str, ...]:
    """Return in what two scratch databases differ in more than the spelling of expressions, a text each."""
    left, right = comparison.sides(database, goal)
    right = respell(right, left, (database, goal), session.empty)
    return tuple(
        f"{when}: {difference.key} is\n{difference.left}\ninstead of\n{difference.right}"
        for difference in left.snapshot.difference(right.snapshot)
    )
