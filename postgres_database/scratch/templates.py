"""Tells whether a template database is still what its scripts would create.

Its name contains a hash of the scripts; its comment is a `Recipe`, which lists what else they read.
"""

import inspect
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from itertools import accumulate
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
from postgres_database.sql.names import quoted

PREFIX = "postgres_database_template_"
FOUND = """
    SELECT datname, shobj_description(oid, 'pg_database'), pg_database_size(oid) AS size
    FROM pg_database WHERE starts_with(datname, %s) ORDER BY oid
"""
MOST = 16
"""Templates of a role that are kept."""
LARGEST = 2 * 1024**3
"""Bytes that all templates of a role may have together."""
LONGEST_UNUSED = timedelta(days=30)


@dataclass(frozen=True)
class Recipe:
    """What scripts read besides themselves and their SQL files, and how they named constraints."""

    files: Mapping[str, str]
    """Path from the root of the repository → digest of the file or folder."""
    convention: str = ""
    """A hash of the naming convention of the models; empty if no script used it."""
    steady: bool = True
    """Whether no file changed between its reading and the digest."""
    used: str = ""
    """The last day on which a command used the database, as YYYY-MM-DD; empty if that is not known."""

    def text(self) -> str:
        """Return the text for the comment of a database; `parse` reads it."""
        return json.dumps([self.files, self.convention, self.used])

    def is_current(self, project: Project) -> bool:
        """Tell whether the files and the naming convention are unchanged."""
        same = all(
            reads.digest(project.root / name) == digest for name, digest in self.files.items()
        )
        return same and (not self.convention or self.convention == _fingerprint(_naming(project)))

    def with_more(self, other: "Recipe") -> "Recipe":
        """Return the recipe of a database whose later scripts have another recipe."""
        return Recipe(
            {**self.files, **other.files},
            other.convention or self.convention,
            self.steady and other.steady,
        )


def parse(text: str | None) -> Recipe | None:
    """Read the comment of a database; None if it is no text of a recipe."""
    try:
        files, convention, *used = json.loads(text or "")
        return Recipe(dict(files), str(convention), used=str(used[0]) if used else "")
    except (ValueError, TypeError):
        return None


@dataclass(frozen=True)
class Kept:
    """A template database on the server."""

    name: str
    used: str
    """As in `Recipe.used`."""
    size: int
    """Bytes."""


def superfluous(kept: Sequence[Kept], today: date) -> list[str]:
    """Return which templates to drop: the last one stays, of the others those that were used last and fit.

    Args:
        kept: All templates, the oldest first.
        today: The current day.
    """
    eldest = (today - LONGEST_UNUSED).isoformat()
    places = {each.name: place for place, each in enumerate(kept)}
    latest = sorted(kept, key=lambda each: (each.used, places[each.name]), reverse=True)
    sizes = accumulate(each.size for each in latest)
    return [
        each.name
        for number, (each, size) in enumerate(zip(latest, sizes, strict=True))
        if number and (number >= MOST or size > LARGEST or each.used < eldest)
    ]


class Store:
    """The templates of a role on a server: their names and comments. Their locks are the caller's."""

    def __init__(self, connection: sa.Connection, me: str) -> None:
        """Use a connection in autocommit mode; `me` tells the templates of one role from those of others."""
        self._connection = connection
        self._prefix = f"{PREFIX}{me}_"

    def named(self, hash_: str) -> str:
        """Return the name of the template with this hash."""
        return f"{self._prefix}{hash_[:24]}"

    def names(self) -> Sequence[str]:
        """Return the names of all templates, the oldest first."""
        query = "SELECT datname FROM pg_database WHERE starts_with(datname, %s) ORDER BY oid"
        return self._connection.exec_driver_sql(query, (self._prefix,)).scalars().all()

    def comment(self, name: str) -> str | None:
        """Return the comment of a template, empty if it has none; None if there is no such template."""
        query = "SELECT coalesce(shobj_description(oid, 'pg_database'), '') FROM pg_database WHERE datname = %s"
        return self._connection.exec_driver_sql(query, (name,)).scalar()

    def describe(self, name: str, recipe: Recipe) -> None:
        """Write the recipe of a template into its comment, and that it is used today, unless that stands there."""
        if recipe.used != (today := _today().isoformat()):
            text = replace(recipe, used=today).text()
            text = text.replace("\\", "\\\\").replace("'", "\\'").replace("%", "%%")
            self._connection.exec_driver_sql(f"COMMENT ON DATABASE {quoted(name)} IS E'{text}'")

    def superfluous(self) -> list[str]:
        """Return the templates that were not used for long, or are too many or too large together."""
        rows = self._connection.exec_driver_sql(FOUND, (self._prefix,)).all()
        there = (row for row in rows if row.size is not None)  # another command has just dropped it
        recipes = ((name, parse(text), size) for name, text, size in there)
        kept = [Kept(name, recipe.used if recipe else "", size) for name, recipe, size in recipes]
        return superfluous(kept, _today())


def _today() -> date:
    return datetime.now(UTC).date()


def recipe(project: Project, revisions: Iterable[Revision], models: object) -> Recipe:
    """Return the recipe of scripts that were run in this process.

    Args:
        project: Has the scripts, and the models that name their constraints.
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
    # If env.py imports the models, of their files only the naming convention matters to a script.
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
    """Return the loaded files of the module or package of the models."""
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
    """Return a hash of a naming convention; of its functions, only the names: `Recipe.files` has their files."""
    items = sorted(
        f"{key!r}: {getattr(value, '__qualname__', repr(value))}" for key, value in naming.items()
    )
    return sha256("\0".join(items).encode()).hexdigest()[:32]


def fingerprints(revisions: Iterable[Revision], *more: str) -> list[str]:
    """Return a hash of no script, of the first one, of the first two, … with the SQL files beside them.

    Databases with the same hash and the same recipe have the same schema.

    Args:
        revisions: The scripts in the order in which they run.
        more: Whatever else the schema depends on.
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
