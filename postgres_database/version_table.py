"""The table in which Alembic keeps which revision a database is; what its name is, and where it stands."""

from dataclasses import dataclass


@dataclass(frozen=True)
class VersionTable:
    """The version table of a project (Alembic documentation, `EnvironmentContext.configure`, `version_table`)."""

    name: str = "alembic_version"
    schema: str = ""
    """Empty: found by the search path, or made in its first schema."""

    @property
    def log(self) -> str:
        """The name of the table of what was run, which is beside it."""
        return f"{self.name}_log"


ALEMBICS = VersionTable()
"""Where nothing else is said."""
