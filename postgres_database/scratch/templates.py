"""What a kept scratch database was made from: by its name scripts, by its comment what these read besides."""

import inspect
import json
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import alembic
import sqlalchemy as sa

from postgres_database import __version__
from postgres_database.errors import ExpectedError
from postgres_database.history import reads
from postgres_database.history.graph import Revision
from postgres_database.history.project import Project
from postgres_database.history.project_models import Deferred


@dataclass(frozen=True)
class Recipe:
    """What scripts read besides themselves, and how they named constraints."""

    files: Mapping[str, str]
    """Digests of files and folders, by their paths from the root of the repository."""
    convention: str = ""
    """What stands for the naming convention of the models; empty if no script asked for it."""
    steady: bool = True
    """Whether the files still are what they were when they were read."""

    def text(self) -> str:
        """Return it as text, for the comment of a database."""
        return json.dumps([self.files, self.convention])

    def is_current(self, project: Project) -> bool:
        """Tell whether scripts would read the same now."""
        same = all(
            reads.digest(project.root / name) == digest for name, digest in self.files.items()
        )
        return same and (not self.convention or self.convention == _fingerprint(_naming(project)))

    def with_more(self, other: "Recipe") -> "Recipe":
        """Return what a database was made from whose first scripts were run for this one."""
        return Recipe(
            {**self.files, **other.files},
            other.convention or self.convention,
            self.steady and other.steady,
        )


def parse(text: str | None) -> Recipe | None:
    """Return what the comment of a database says; None if it says nothing that is understood."""
    try:
        files, convention = json.loads(text or "")
        return Recipe(dict(files), str(convention))
    except (ValueError, TypeError):
        return None


def recipe(project: Project, revisions: Iterable[Revision], models: object) -> Recipe:
    """Return what scripts have read in this process.

    Args:
        project: Where they are, and whose models name their constraints.
        revisions: The scripts that were run.
        models: Alembic's `target_metadata`, as env.py gave it to them.
    """
    ours = isinstance(models, Deferred) or _is_named(project, models)
    asked = models.asked if isinstance(models, Deferred) else ours
    naming = _naming(project) if asked else {}
    functions = [inspect.getsourcefile(each) for each in naming.values() if callable(each)]
    sources = [Path(name) for name in functions if name]
    env = Path(project.scripts.dir) / "env.py"
    needed, steady = reads.closure([*(revision.path for revision in revisions), *sources])
    # Where env.py imports the models, all that counts of them is how they name constraints.
    more, also = reads.closure([env], leave=_sources(project) if ours else ())
    return Recipe(
        {
            os.path.relpath(path, project.root): reads.digest(path)
            for path in sorted({env, *sources, *needed, *more})
        },
        _fingerprint(naming) if asked else "",
        steady and also,
    )


def _is_named(project: Project, models: object) -> bool:
    """Tell whether these are the models of the project."""
    try:
        several = tuple(models) if isinstance(models, list) else models
        return several == project.models()
    except ExpectedError:
        return False


def _sources(project: Project) -> list[Path]:
    """Return the files of the module or package that the models are in, as far as they are loaded."""
    name = project.target_metadata.partition(":")[0]
    modules = [
        module
        for each, module in [*sys.modules.items()]
        if each == name or each.startswith(f"{name}.")
    ]
    files = (getattr(module, "__file__", None) for module in modules)
    return [Path(file) for file in files if isinstance(file, str)]


def _naming(project: Project) -> Mapping[str, Any]:
    return getattr(project.deferred, "naming_convention", {})


def _fingerprint(naming: Mapping[str, Any]) -> str:
    """Return what stands for a naming convention; its functions are known by their names, and by their files."""
    items = sorted(
        f"{key!r}: {getattr(value, '__qualname__', repr(value))}" for key, value in naming.items()
    )
    return sha256("\0".join(items).encode()).hexdigest()[:32]


def fingerprints(revisions: Iterable[Revision], *more: str) -> list[str]:
    """Return a hash for none, one, two, … of these scripts with the SQL files beside them.

    Same hash and same recipe, same schema. `more` is what else the schema depends on.
    """
    versions = __version__, alembic.__version__, sa.__version__
    digest = sha256("\0".join([*versions, *more]).encode())
    hashes = [digest.hexdigest()[:32]]
    for revision in revisions:
        digest.update(f"\0{revision.id}\0".encode())
        for path in (revision.path, revision.path.with_suffix(".sql")):
            digest.update(path.read_bytes() if path.exists() else b"")
        hashes.append(digest.hexdigest()[:32])
    return hashes
