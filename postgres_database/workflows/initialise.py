"""Set up `migration/` where there is none, or start a history of one's own."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from postgres_database.errors import ExpectedError
from postgres_database.history.project import Project
from postgres_database.workflows.upgrade import Confirm

TEMPLATE = Path(__file__).parents[1] / "template"
SCRIPTS = ("*.py", "*.sql")


@dataclass(frozen=True)
class InitResult:
    """What was made and what was removed, as paths from the repository root."""

    created: tuple[Path, ...]
    removed: tuple[Path, ...]


def init(project: Project, confirm: Confirm, *, fresh: bool = False) -> InitResult:
    """Create what is missing of `migration/`; touches no database.

    Args:
        project: Where the repository is.
        confirm: Asked before scripts are removed.
        fresh: Remove all scripts, so that the history starts anew.

    Raises:
        ExpectedError: Nobody confirmed; nothing was changed.
    """
    migration = _location(project)
    known = project.alembic_config().get_version_locations_list()
    versions = Path(known[0]) if known else migration / "versions"
    scripts = (
        tuple(sorted(path for pattern in SCRIPTS for path in versions.glob(pattern)))
        if fresh
        else ()
    )
    if scripts and not confirm(
        "remove the whole history of this repository (databases stay as they are)",
        [os.path.relpath(path, project.root) for path in scripts],
    ):
        raise ExpectedError("not confirmed: nothing was changed")
    wanted = [(TEMPLATE / name, migration / name) for name in ("env.py", "script.py.mako")]
    missing = [(source, place) for source, place in wanted if not place.exists()]
    versions.mkdir(parents=True, exist_ok=True)
    (versions / ".gitkeep").touch()
    migration.mkdir(parents=True, exist_ok=True)
    for source, place in missing:
        shutil.copyfile(source, place)
    for path in scripts:
        path.unlink()
    return InitResult(
        tuple(Path(os.path.relpath(place, project.root)) for _, place in missing),
        tuple(Path(os.path.relpath(path, project.root)) for path in scripts),
    )


def _location(project: Project) -> Path:
    """Return the folder of env.py and the template, which may not be there yet.

    Raises:
        ExpectedError: alembic.ini names none, or one in a package.
    """
    named = project.alembic_config().get_main_option("script_location") or ""
    if not named or (":" in named and not Path(named).is_absolute()):
        raise ExpectedError(
            "alembic.ini names no folder for the scripts",
            cause=f"script_location = {named}",
            hint="${EDITOR:-vi} alembic.ini   (script_location = %(here)s/migration)",
        )
    return project.root / named
