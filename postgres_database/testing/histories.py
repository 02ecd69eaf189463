"""What any history must hold: `tests/schema/test_schema.py` says it in four sentences, for an application to copy."""

from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from postgres_database.history import project as projects
from postgres_database.history import project_models
from postgres_database.history.graph import Revision
from postgres_database.history.project import Project
from postgres_database.proving import round_trip
from postgres_database.scratch import databases
from postgres_database.server import environment, root
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
            return round_trip.there_and_back(self.project, session, revision)

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
