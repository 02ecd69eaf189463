"""What any history must hold: `tests/schema/test_schema.py` says it in four sentences, for an application to copy."""

from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from postgres_database.errors import ExpectedError
from postgres_database.history import project as projects
from postgres_database.history import project_models
from postgres_database.history.graph import Revision
from postgres_database.history.operations import RefusedError
from postgres_database.history.project import Project
from postgres_database.running.runner import open_runner
from postgres_database.schema import comparison
from postgres_database.schema.respelling import respell
from postgres_database.scratch import databases, made_up_rows
from postgres_database.scratch.databases import Scratch
from postgres_database.server import environment, root
from postgres_database.server.connection import Database
from postgres_database.server.environment import Environment
from postgres_database.workflows import check

SQLALCHEMYS = sa.MetaData().naming_convention
"""The convention of a MetaData that was given none: it names indexes only."""


@dataclass(frozen=True)
class Schema:
    """The models and the scripts of a project; every answer is a tuple of lines, and empty if all is well."""

    project: Project
    environment: Environment
    """Where the scratch server is."""

    @classmethod
    def here(cls) -> "Schema":
        """Return the schema of the project that the working directory belongs to.

        Raises:
            ExpectedError: There is none, or its settings are not usable.
        """
        home = root.require_root(Path.cwd())
        settings = environment.load(root=home)
        return cls(projects.load(home, settings.models), settings)

    @property
    def heads(self) -> tuple[str, ...]:
        """The ends of the history."""
        return self.project.history.heads

    @property
    def revisions(self) -> tuple[Revision, ...]:
        """All scripts, each after its parents."""
        return self.project.history.revisions

    def there_and_back(self, revision: Revision) -> tuple[str, ...]:
        """Run a script up, down and up again, on made-up rows, or on none if rows make it fail.

        Returns:
            What fails or differs, a line each. A downgrade that only says `op.refuse` is no fault.
        """
        with databases.session(self.project, self.environment) as session:
            try:
                return self._walk(session, revision, rows=True)
            except ExpectedError:
                try:
                    return self._walk(session, revision, rows=False)
                except ExpectedError as error:
                    return (str(error),)

    def _walk(self, session: Scratch, revision: Revision, *, rows: bool) -> tuple[str, ...]:
        before, here = (session.at(self.project, revision.needed) for _ in range(2))
        after = session.at(self.project, [*revision.needed, revision.id])
        if rows:
            made_up_rows.fill(here, after)
        with open_runner(self.project, here) as run:
            run.upgrade([revision])
            try:
                run.downgrade([revision])
            except ExpectedError as error:
                if isinstance(error.__cause__, RefusedError):
                    return ()
                raise
            if faults := _unlike(session, "after the downgrade", here, before):
                return faults
            run.upgrade([revision])
        return _unlike(session, "after the second upgrade", here, after)

    def differences(self) -> tuple[str, ...]:
        """Compare the models with what the scripts make, as `invoke check` does."""
        result = check.compare(self.project, self.environment)
        if result.differences is None:
            return (result.unfit or f"there are {len(result.heads)} heads",)
        return tuple(str(difference.key) for difference in result.differences.objects)

    def anonymous(self) -> tuple[str, ...]:
        """Name the tables whose constraints have no name where the models have a convention that could give one."""
        return tuple(
            f"{table.fullname}: {type(item).__name__}"
            for models in project_models.each_metadata(self.project.models())
            if models.naming_convention != SQLALCHEMYS
            for table in models.sorted_tables
            for item in (*table.constraints, *table.indexes)
            if not isinstance(getattr(item, "name", None), str)
        )


def _unlike(session: Scratch, when: str, database: Database, goal: Database) -> tuple[str, ...]:
    left, right = comparison.sides(database, goal)
    right = respell(right, left, (database, goal), session.empty)
    return tuple(
        f"{when}: {difference.key} is\n{difference.left}\ninstead of\n{difference.right}"
        for difference in left.snapshot.difference(right.snapshot)
    )
