"""Set up `migration/` where there is none, or start a history of one's own."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from postgres_database.errors import ExpectedError
from postgres_database.settings import Settings
from postgres_database.upgrade import Confirm

TEMPLATE = Path(__file__).parent / "template"
SCRIPTS = ("*.py", "*.sql")


@dataclass(frozen=True)
class InitResult:
    """What was made and what was removed, as paths from the repository root."""

    created: tuple[Path, ...]
    removed: tuple[Path, ...]


def init(settings: Settings, confirm: Confirm, *, fresh: bool = False) -> InitResult:
    """Create what is missing of `migration/`; touches no database.

    Args:
        settings: Where the repository is.
        confirm: Asked before scripts are removed.
        fresh: Remove all scripts, so that the history starts anew.

    Raises:
        ExpectedError: Nobody confirmed; nothing was changed.
    """
    migration = settings.root / "migration"
    versions = migration / "versions"
    scripts = (
        tuple(sorted(path for pattern in SCRIPTS for path in versions.glob(pattern)))
        if fresh
        else ()
    )
    if scripts and not confirm(
        "remove the whole history of this repository (databases stay as they are)",
        [str(path.relative_to(settings.root)) for path in scripts],
    ):
        raise ExpectedError("not confirmed: nothing was changed")
    wanted = [(TEMPLATE / name, migration / name) for name in ("env.py", "script.py.mako")]
    missing = [(source, place) for source, place in wanted if not place.exists()]
    versions.mkdir(parents=True, exist_ok=True)
    (versions / ".gitkeep").touch()
    for source, place in missing:
        shutil.copyfile(source, place)
    for path in scripts:
        path.unlink()
    return InitResult(
        tuple(place.relative_to(settings.root) for _, place in missing),
        tuple(path.relative_to(settings.root) for path in scripts),
    )
