"""The root of a project: the nearest folder upward that has an alembic.ini."""

from pathlib import Path

from postgres_database.errors import ExpectedError


def find(start: Path) -> Path | None:
    """Return the root of the project that a folder belongs to; None if it belongs to none."""
    return next(
        (folder for folder in (start, *start.parents) if (folder / "alembic.ini").is_file()), None
    )


def require_root(start: Path) -> Path:
    """Return the root of the project that a folder belongs to.

    Raises:
        ExpectedError: It belongs to none.
    """
    if root := find(start):
        return root
    raise ExpectedError(
        "this folder belongs to no project",
        cause=f"neither {start} nor a folder above it has an alembic.ini",
        hint="invoke init   (or cd into the repository, or git checkout alembic.ini)",
    )
