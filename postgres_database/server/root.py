"""The root of a project: the nearest folder upward that has an alembic.ini."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from postgres_database.errors import ExpectedError


def find(start: Path) -> Path | None:
    """Return the root of the project that a folder belongs to; None if it belongs to none."""
    return next(
        (folder for folder in (start, *start.parents) if (folder / "alembic.ini").is_file()), None
    )


def tool_alembic(root: Path) -> Mapping[str, Any]:
    """Return [tool.alembic] of the pyproject.toml of a project, as it stands there; empty if there is none.

    Alembic looks there for what alembic.ini does not say (Alembic documentation, "Using pyproject.toml for
    configuration").

    Raises:
        ExpectedError: The file cannot be read.
    """
    path = root / "pyproject.toml"
    text = path.read_bytes() if path.is_file() else b""
    if b"alembic" not in text:  # the usual case, without a parser
        return {}
    import tomllib  # noqa: PLC0415 - see above

    try:
        found = tomllib.loads(text.decode()).get("tool", {}).get("alembic", {})
    except ValueError as error:
        hint = "${EDITOR:-vi} pyproject.toml"
        raise ExpectedError(f"{path} cannot be read", cause=str(error), hint=hint) from error
    return found if isinstance(found, dict) else {}


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
