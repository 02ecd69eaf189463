"""What others would wait for while pending scripts run, in a line for each statement."""

from collections.abc import Mapping, Sequence

from postgres_database.errors import ExpectedError
from postgres_database.history.graph import Revision
from postgres_database.history.project import Leg, Project
from postgres_database.reviewing import findings, rehearsal
from postgres_database.reviewing.settings import WORST, of_target
from postgres_database.reviewing.sizes import Sizes, read
from postgres_database.running.listener import Listener
from postgres_database.scratch import databases
from postgres_database.scratch.databases import Scratch
from postgres_database.server.connection import Database
from postgres_database.server.environment import Environment


def find(  # noqa: PLR0913 - what is run, where, and what is known of it
    session: Scratch,
    project: Project,
    before: Sequence[str],
    plan: Sequence[Revision],
    *,
    verb: str = "upgrade",
    sizes: Sizes | None = None,
    settings: Mapping[str, str] = WORST,
) -> list[str]:
    """Return the statements of scripts for which other sessions wait as long as a table is scanned or rewritten.

    Args:
        session: Creates the scratch database.
        project: Has the scripts.
        before: The revisions that the target is at.
        plan: The scripts to run, in order.
        verb: `upgrade` or `downgrade`.
        sizes: The tables of the target with rows, see `sizes.read`; None: every table may be large.
        settings: Those of the target.

    Returns:
        A line for each such statement. If a script fails, the last line says from which revision on nothing is known.
    """
    if not plan or sizes == {}:
        return []
    measured = rehearsal.measure(
        project, session.at(project, before), plan, verb, settings=settings
    )
    lines = [each.caution() for each in findings.waits(measured, sizes, project.folders.name)]
    if measured.failed and measured.failure:
        why = measured.failure.cause.partition("\n")[0]
        lines.append(
            f"what others wait for from revision {measured.failed.id} on is not known: {why}"
        )
    return lines


def of_legs(
    environment: Environment,
    database: Database,
    verb: str,
    legs: Sequence[Leg],
    listener: Listener,
) -> tuple[str, ...]:
    """Return what `find` does of all parts of a way; the listener hears why, if that cannot be measured."""
    try:
        there = read(database) if any(leg.plan for leg in legs) else {}
        if not there:
            return ()
        given = of_target(database)
        with databases.session(legs[0].project, environment) as session:
            return tuple(
                line
                for leg in legs
                for line in find(
                    session,
                    leg.project,
                    leg.before,
                    leg.plan,
                    verb=verb,
                    sizes=there,
                    settings=given,
                )
            )
    except ExpectedError as error:
        listener.note(f"what others would wait for is not measured: {error.what}: {error.cause}")
        return ()
