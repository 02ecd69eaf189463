"""The root of a project: the nearest folder upward that has an alembic.ini."""

from pathlib import Path

from postgres_database.errors import ExpectedError


def find(start: Path) -> Path | None:
    """Return the root of the project that a folder belongs to; None if it belongs to none."""
    return next(
        (each for each in (start, *start.parents) if (each / "alembic.ini").is_file()), None
    )


def require() -> Path:
    """Return the root of the project that is worked in.

    Raises:
        ExpectedError: The working directory belongs to none.
    """
    here = Path.cwd()
    if root := find(here):
        return root
    raise ExpectedError(
        "this folder belongs to no project",
        cause=f"neither {here} nor a folder above it has an alembic.ini",
        hint="postgres-database init   (or cd into the repository)",
    )
