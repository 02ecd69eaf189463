"""Scripts that run up and down: which of them fails, and which downgrades do not bring back what was there."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from postgres_database.errors import ExpectedError
from postgres_database.history.graph import Revision
from postgres_database.history.project import Project
from postgres_database.running import runner
from postgres_database.running.listener import Listener
from postgres_database.schema import snapshot
from postgres_database.scratch.databases import Scratch
from postgres_database.server.connection import Database

SHOWN = 5  # names


class Following(Listener):
    """Hears which script is running."""

    def __init__(self, plan: Sequence[Revision]) -> None:
        """Begin before the first of these scripts."""
        self.revision = plan[0]
        self._revisions = {str(revision): revision for revision in plan}

    def at_work(self, doing: str) -> AbstractContextManager[None]:
        """Hear of the next script."""
        self.revision = self._revisions[doing]
        return nullcontext()


def run(
    project: Project, database: Database, verb: str, plan: Sequence[Revision]
) -> tuple[Revision, ExpectedError | None]:
    """Run scripts without measuring them; return the last one that was begun, and why it fails."""
    following = Following(plan)
    with runner.open_runner(project, database) as work:
        try:
            work.run(verb, plan, following)
        except ExpectedError as error:
            return following.revision, error
    return following.revision, None


@dataclass(frozen=True)
class WayBack:
    """The scripts of a plan, which run up and down again on copies of a scratch database without an error."""

    project: Project
    session: Scratch
    copy: Database
    """The database before the scripts, which stays as it is."""
    text: str
    """Its dump; empty: not taken."""
    plan: Sequence[Revision]

    def lost(self, database: Database) -> Iterator[tuple[Revision, str]]:
        """Yield each revision whose downgrade does not lead back, and what then differs, in words.

        Args:
            database: A copy on which all scripts ran up and down again.
        """
        left = self._differing(database)
        while left:
            # After the first `low` scripts nothing of this differs, after the first `high` it does.
            low, high, found = 0, len(self.plan), left
            while high - low > 1:
                middle = (low + high) // 2
                here = self._differing(self._there_and_back(self.plan[:middle]))
                here = [name for name in here if name in left]
                low, high, found = (low, middle, here) if here else (middle, high, found)
            yield self.plan[high - 1], ", ".join(found[:SHOWN])
            left = [name for name in left if name not in found]

    def _there_and_back(self, plan: Sequence[Revision]) -> Database:
        trial = self.session.clone(self.copy)
        run(self.project, trial, "upgrade", plan)
        # If one needs what a later one leaves, it fails here, and what is left is compared all the same.
        run(self.project, trial, "downgrade", plan[::-1])
        return trial

    def _differing(self, database: Database) -> list[str]:
        differing = snapshot.compare(self.copy, database, self.session.empty, self.text)
        return [str(difference.key) for difference in differing]
