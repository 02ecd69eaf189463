"""Where a target stands, read in three statements and from the headers of the scripts.

A command that has nothing to do imports neither SQLAlchemy, Alembic nor the models: what they would say is known here,
or it is asked them where anything is unusual, so that there is one place for each error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg2

from postgres_database.history.graph import Revision
from postgres_database.history.project import Project
from postgres_database.running import stamped
from postgres_database.server.connection import Database

if TYPE_CHECKING:
    from postgres_database.preflight.drops import Dropped
    from postgres_database.preflight.preview import Printed
    from postgres_database.preflight.row_checks import Violation


@dataclass(frozen=True)
class UpgradeResult:
    """The plan, and the target before and after it."""

    before: tuple[str, ...]
    """The revisions of the target before."""
    plan: tuple[Revision, ...]
    after: tuple[str, ...]
    """Its revisions now."""
    at_head: bool
    """Whether that is the end of the history."""
    steps: tuple[Printed, ...] = ()
    """What the revisions of the plan run."""
    violations: tuple[Violation, ...] = ()
    """Rows that violate what the plan requires, in a dry run; any other run ends there with an error."""
    dropped: tuple[Dropped, ...] = ()
    """Rows that the plan would drop, in a dry run."""
    cautions: tuple[str, ...] = ()
    """What others would wait for while the plan of a dry run runs."""
    seconds: float = 0
    """How long the revisions took."""
    restored: bool = False
    """Whether what they make was made at once, and none of them was run."""


def at_head(
    project: Project, database: Database, target: str, *, dry_run: bool
) -> UpgradeResult | None:
    """Return the result of an upgrade that has nothing to do; None where `upgrade.perform` must tell.

    Args:
        project: Whose scripts.
        database: The target.
        target: As in `Move`.
        dry_run: Whether nothing would be changed. Any other upgrade waits for a command that changes the database now.

    Raises:
        ExpectedError: The database cannot be reached, or its version table not be trusted.
    """
    line = project.line
    if line is None or target not in {"head", "heads", line.head}:
        return None
    seen = _glance(database)
    if seen is None or seen.revisions != (line.head,) or not (seen.alone or dry_run):
        return None
    return UpgradeResult(seen.revisions, (), seen.revisions, at_head=True)


def heads(project: Project) -> tuple[str, ...]:
    """Return the end of the history.

    Raises:
        ExpectedError: A script cannot be read, or the scripts do not fit together.
    """
    return (project.line.head,) if project.line else project.history.heads


def revisions(project: Project, database: Database) -> tuple[Revision, ...]:
    """Return the revisions that a database is stamped with.

    Raises:
        ExpectedError: They cannot be read, or a script is missing.
    """
    line = project.line
    seen = _glance(database) if line else None
    if line and seen and len(seen.revisions) <= 1 and line.scripts.keys() >= {*seen.revisions}:
        return tuple(map(line.revision, seen.revisions))
    from postgres_database.running import runner  # noqa: PLC0415 - Alembic and SQLAlchemy

    with runner.open_runner(project, database) as run:
        ids, (here, *_) = run.require_route()
    return tuple(here.history[revision_id] for revision_id in ids)


def _glance(database: Database) -> stamped.Glance | None:
    """Read a version table; None where the server refuses that, which has its words elsewhere."""
    try:
        return stamped.glance(database)
    except psycopg2.Error:
        return None
