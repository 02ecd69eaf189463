"""The models and the end of the history, each in a scratch database: made and read at the same time.

A server makes the tables of the models one after the other; meanwhile another one of its processes reads the history.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

from postgres_database.history.project import Project
from postgres_database.history.project_models import Models
from postgres_database.schema import comparison, respelling
from postgres_database.schema.comparison import Comparison, Side
from postgres_database.scratch import provided
from postgres_database.scratch.beside import threads
from postgres_database.scratch.databases import Scratch
from postgres_database.scratch.provided import Built
from postgres_database.server.connection import Database


@dataclass(frozen=True)
class Pair:
    """Two databases, and what they were when they were read."""

    session: Scratch
    project: Project
    built: Built
    """From the models."""
    at_head: Database
    here: Side
    """The history."""
    goal: Side
    """The models."""

    def compare(self, owned: Collection[str]) -> Comparison:
        """Compare them, whatever the spelling; `owned` is what once came from the models."""
        return respelling.compare_read(
            self.project.scope,
            (self.at_head, self.built.database),
            (self.here, self.goal),
            owned,
            self.session.empty,
        )

    def again(self) -> "Pair":
        """Read the history once more: something was done to its database."""
        return replace(self, here=comparison.side(self.at_head))


def make(session: Scratch, project: Project, models: Models) -> Pair:
    """Create and read both databases.

    Raises:
        ExpectedError: The models cannot be created, or the history has several heads or does not run.
    """
    line = replace(project, staged=None).line
    ready = session.prepare(line) if line else None
    with threads() as pool:
        early = pool.submit(comparison.side, ready) if ready else None
        # Before a script is imported, which may change the models.
        built = provided.build(session, models, lambda: session.at_head(project))
        goal = pool.submit(comparison.side, built.database)
        _ = project.history.head  # there must be one
        at_head = session.at_head(project)
        here = early if early and at_head is ready else pool.submit(comparison.side, at_head)
        return Pair(session, project, built, at_head, here.result(), goal.result())
