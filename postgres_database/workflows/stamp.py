"""Write into a target which revision it is; ask first where its schema is another."""

from collections.abc import Sequence, Sized

from postgres_database.errors import ExpectedError
from postgres_database.history import graph
from postgres_database.history.graph import History
from postgres_database.history.project import Project
from postgres_database.running import runner
from postgres_database.running.listener import SILENT, Listener
from postgres_database.scratch import databases
from postgres_database.server.connection import Database
from postgres_database.server.environment import Environment
from postgres_database.workflows import drift
from postgres_database.workflows.drift import Drift

SHOWN = 20


def write(  # noqa: PLR0913
    project: Project,
    environment: Environment,
    database: Database,
    target: str,
    *,
    purge: bool = False,
    wait: float | None = None,
    listener: Listener = SILENT,
) -> str:
    """Write a revision, `head` or `base` into a database without running anything; return its id.

    The listener is asked in a protected environment, and where the database differs from the revision. `purge` forgets
    what was stamped before, also a revision whose script is lost. `wait` is in seconds; None: for ever.

    Raises:
        ExpectedError: It was not confirmed; nothing was written.
    """
    scripts = project.history
    goal = scripts.resolve(target)
    with runner.open_runner(project, database) as run, run.alone(listener, wait):
        before = () if purge else run.require_current()
        run.require_writable()
        state = _after(scripts, goal, before)
        doubts = _doubts(project, environment, database, state)
        if doubts or environment.protected:
            name = str(scripts[goal]) if goal in scripts else goal
            listener.require_yes(f"stamp {database.dsn} as {goal}", [name, *doubts])
        run.stamp([goal], purge=purge)
    return goal


def _after(scripts: History, goal: str, before: Sequence[str]) -> tuple[str, ...]:
    """Return the revisions of the target after the stamp: other branches keep theirs, except at base."""
    if goal == "base":
        return ()
    under = {revision.id for revision in scripts.upto([goal])}
    others = [
        other
        for other in before
        if other not in under and goal not in {revision.id for revision in scripts.upto([other])}
    ]
    return graph.tips(scripts.upto([goal, *others]))


def _doubts(
    project: Project,
    environment: Environment,
    database: Database,
    state: Sequence[str],
) -> list[str]:
    """Return how the target differs from what is to be stamped, a line each."""
    try:
        with databases.session(project, environment) as session:
            drifts = drift.find(project, database, session.at(project, state), session).objects
    except ExpectedError as error:
        reason = " ".join(error.cause.split())
        return [f"whether the database is at that revision is not known: {error.what} ({reason})"]
    lines = [describe(item) for item in drifts[:SHOWN]]
    more = [f"and {len(drifts) - SHOWN} more"] if len(drifts) > SHOWN else []
    head = (
        [f"the database is not at that revision; it differs in {counted(drifts)}:"]
        if drifts
        else []
    )
    return [*head, *(f"  {line}" for line in (*lines, *more))]


def counted(things: Sized) -> str:
    """Say how many objects there are."""
    return "1 object" if len(things) == 1 else f"{len(things)} objects"


def describe(item: Drift) -> str:
    """Say in a line how an object differs."""
    if not item.target:
        return f"{item.key} is missing"
    return f"{item.key} differs" if item.history else f"{item.key} is not in the history"
