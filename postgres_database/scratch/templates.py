"""Tells whether a template database is still what its scripts would create.

Its name contains a hash of the scripts; its comment is a `Recipe`, which lists what else they read.
"""

from __future__ import annotations

import inspect
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psycopg2.errors import UndefinedObject

from postgres_database.errors import ExpectedError
from postgres_database.history import reads, script_texts
from postgres_database.history.graph import Revision
from postgres_database.history.project import Project
from postgres_database.history.script_texts import Line
from postgres_database.scratch import plain
from postgres_database.sql.names import quoted

if TYPE_CHECKING:  # a command that has nothing to do does without it
    import sqlalchemy as sa

PREFIX = "postgres_database_template_"
OWNER = "postgres_database_owner_"
"""How the name of the role begins that owns scratch databases."""
# The first columns tell users of a server apart.
PLACE = """
    SELECT current_database(), current_user, pg_encoding_to_char(encoding),
           (SELECT string_agg(name || ' ' || default_version, ',' ORDER BY name) FROM pg_available_extensions),
           current_setting('fsync') = 'off' AND current_setting('server_version_num')::int >= 150000,
           (SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user)
    FROM pg_database WHERE datname = 'template0'
"""
MOST = 16
"""Templates of a role that are kept."""
LARGEST = 2 * 1024**3
"""Bytes that all templates of a role may have together."""
LONGEST_UNUSED = timedelta(days=30)


@dataclass(frozen=True)
class Place:
    """What the names of templates depend on besides their scripts: a server, and a role that makes them there."""

    me: str
    """Tells one role on a server from others."""
    encoding: str
    extensions: str
    """Those that can be created, with their versions."""
    unsafe: bool
    """Whether the server may lose data in a crash."""
    owner: str
    """The role that owns scratch databases; empty if that is the role of the DSN."""

    @classmethod
    def of(cls, row: Sequence[Any]) -> Place:
        """Return what a row of PLACE says.

        Names have a hash of the maintenance database and the role: a session only sees advisory locks of its own
        database (PostgreSQL manual, "Advisory Locks"), and can drop only databases of its own role.
        """
        *who, encoding, extensions, unsafe, separate = row
        me = sha256("\0".join(who).encode()).hexdigest()[:8]
        return cls(me, encoding, extensions or "", unsafe, OWNER + me if separate else "")

    @property
    def prefix(self) -> str:
        """How the names of its templates begin."""
        return f"{PREFIX}{self.me}_"

    def names(
        self, scripts: Iterable[tuple[str, Path | str]], texts: Mapping[str, bytes] | None = None
    ) -> list[str]:
        """Return the names of the templates of no script, of the first one, of the first two, and so on."""
        hashes = script_texts.fingerprints(scripts, f"{self.extensions} {self.owner}", texts=texts)
        return [f"{self.prefix}{each[:24]}" for each in hashes]

    def name(self, line: Line) -> str:
        """Return the name of the template of a whole history."""
        return self.names(line.scripts.items(), line.texts)[-1]


@dataclass(frozen=True)
class Equal:
    """Models that make the schema of a template, besides what the history has and they do not manage."""

    seal: str
    """A hash of all that this depends on besides the template (`recording.Recording.key`), and of `kept`."""
    kept: tuple[tuple[str, str, str], ...]
    """Kind, schema and name of what they do not manage."""

    @classmethod
    def of(cls, key: str, kept: tuple[tuple[str, str, str], ...]) -> Equal:
        """Seal what was found out."""
        return cls(sha256(f"{key} {kept!r}".encode()).hexdigest(), kept)


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
    dumped: str = ""
    """The server's version, and a hash of what a dump prints (`dump.Dump.digest`); empty if that is not known."""
    equal: Equal | None = None
    plain: Mapping[str, str] = field(default_factory=dict)
    """What the convention depends on (`plain.facts`); empty where only the models tell."""

    def text(self) -> str:
        """Return the text for the comment of a database; `parse` reads it."""
        equal = self.equal and [self.equal.seal, self.equal.kept]
        return json.dumps([
            self.files, self.convention, self.used, self.dumped, equal, self.plain,
        ])  # fmt: skip

    def is_current(self, project: Project) -> bool:
        """Tell whether the files and the naming convention are unchanged."""
        same = all(
            reads.digest(project.root / name) == digest for name, digest in self.files.items()
        )
        return same and (
            not self.convention
            or plain.hold(self.plain, project)
            or self.convention == _fingerprint(_naming(project))
        )

    def with_more(self, other: Recipe) -> Recipe:
        """Return the recipe of a database whose later scripts have another recipe."""
        return Recipe(
            {**self.files, **other.files},
            other.convention or self.convention,
            self.steady and other.steady,
            plain=other.plain or self.plain,
        )


def parse(text: str | None) -> Recipe | None:
    """Read the comment of a database; None if it is no text of a recipe."""
    try:
        said = [*json.loads(text or "")]
        more: tuple[Any, ...] = ("", "", None, {})[len(said) - 2 :]  # earlier versions wrote less
        files, convention, used, dumped, equal, facts = [*said, *more][:6]
        same = Equal(str(equal[0]), tuple((a, b, c) for a, b, c in equal[1])) if equal else None
        kept = str(used), str(dumped), same, dict(facts)
        return Recipe(dict(files), str(convention), True, *kept)  # noqa: FBT003 - steady
    except (LookupError, TypeError, ValueError):
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

    def __init__(self, connection: sa.Connection, prefix: str) -> None:
        """Use a connection in autocommit mode, and the templates whose names begin in this way."""
        self._connection = connection
        self._prefix = prefix

    def names(self) -> Sequence[str]:
        """Return the names of all templates, the oldest first."""
        query = "SELECT datname FROM pg_database WHERE starts_with(datname, %s) ORDER BY oid"
        return self._connection.exec_driver_sql(query, (self._prefix,)).scalars().all()

    def comment(self, name: str) -> str | None:
        """Return the comment of a template, empty if it has none or its drop was interrupted; None if it is not there.

        What is left of an interrupted drop keeps its comment, but cannot be copied (PostgreSQL manual, pg_database).
        """
        query = """
            SELECT CASE WHEN datconnlimit = -2 THEN '' ELSE coalesce(shobj_description(oid, 'pg_database'), '') END
            FROM pg_database WHERE datname = %s
        """
        return self._connection.exec_driver_sql(query, (name,)).scalar()

    def oid(self, name: str) -> int | None:
        """Return what tells a template from a later one of the same name; None if there is no such template."""
        query = "SELECT oid FROM pg_database WHERE datname = %s"
        return self._connection.exec_driver_sql(query, (name,)).scalar()

    def describe(self, name: str, recipe: Recipe) -> None:
        """Write the recipe of a template into its comment, and that it is used today."""
        text = replace(recipe, used=today()).text()
        text = text.replace("\\", "\\\\").replace("'", "\\'").replace("%", "%%")
        self._connection.exec_driver_sql(f"COMMENT ON DATABASE {quoted(name)} IS E'{text}'")

    def note(self, name: str, oid: int, dumped: str, equal: Equal | None) -> None:
        """Write into the comment of a template what was found out of it, unless another one has its name now."""
        recipe = parse(self.comment(name))
        if recipe is None or self.oid(name) != oid:
            return
        driver: Any = self._connection.connection.driver_connection
        version = driver.info.parameter_status("server_version")
        said = f"{version} {dumped}" if dumped else recipe.dumped
        more = replace(recipe, dumped=said, equal=equal or recipe.equal)
        if more != recipe:
            self.describe(name, more)

    def superfluous(self) -> list[str]:
        """Return the templates that were not used for long, or are too many or too large together."""
        kept = []
        for name in self.names():
            recipe, size = parse(self.comment(name)), self._size(name)
            if size is not None:
                kept.append(Kept(name, recipe.used if recipe else "", size))
        return superfluous(kept, _today())

    def _size(self, name: str) -> int | None:
        """Return the bytes of a template; None if another command has just dropped it."""
        query = "SELECT pg_database_size(oid) FROM pg_database WHERE datname = %s"
        with closing(self._connection.connection.cursor()) as cursor:
            try:
                cursor.execute(query, (name,))
            except UndefinedObject:  # the function looks for itself, later than the query
                return None
            return next((size for (size,) in cursor.fetchall()), None)


def _today() -> date:
    return datetime.now(UTC).date()


def today() -> str:
    """Return the current day as it stands in a recipe."""
    return _today().isoformat()


def recipe(project: Project, revisions: Iterable[Revision], models: object) -> Recipe:
    """Return the recipe of scripts that were run in this process.

    Args:
        project: Has the scripts, and the models that name their constraints.
        revisions: The scripts that were run.
        models: Alembic's `target_metadata`, as env.py gave it to them.
    """
    from postgres_database.history.project_models import Deferred

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
        plain=plain.facts(project),
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
    project.find_modules()
    return getattr(project.deferred, "naming_convention", {})


def _fingerprint(naming: Mapping[str, Any]) -> str:
    """Return a hash of a naming convention; of its functions, only the names: `Recipe.files` has their files."""
    items = sorted(
        f"{key!r}: {getattr(value, '__qualname__', repr(value))}" for key, value in naming.items()
    )
    return sha256("\0".join(items).encode()).hexdigest()[:32]
