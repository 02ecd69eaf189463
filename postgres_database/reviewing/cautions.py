"""What others would wait for while pending scripts run, in a line for each statement."""

from collections.abc import Mapping, Sequence

from postgres_database.history.graph import Revision
from postgres_database.history.project import Project
from postgres_database.reviewing import findings, rehearsal
from postgres_database.reviewing.settings import WORST
from postgres_database.reviewing.sizes import Sizes
from postgres_database.scratch.databases import Scratch


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
