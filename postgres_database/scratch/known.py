"""What is known of a template of the history: neither a scratch database nor SQLAlchemy is needed to ask for it."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

from postgres_database.history import reads
from postgres_database.history.project import Project
from postgres_database.history.script_texts import Line
from postgres_database.schema.snapshot import Key
from postgres_database.scratch import plain, recipes, templates
from postgres_database.scratch.recipes import Equal, Recipe
from postgres_database.scratch.templates import Place
from postgres_database.server import programs
from postgres_database.server.connection import Database

SETTINGS = ("alembic.ini", "pyproject.toml")
COMMENT = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s"


@dataclass(frozen=True)
class Template:
    """A template of all scripts of a history, which a command has used today."""

    recipe: Recipe
    version: str
    """The version of its server."""
    place: Place

    @property
    def dumped(self) -> str:
        """The hash of its dump (`dump.Dump.digest`); empty if that is not known."""
        version, _, dumped = self.recipe.dumped.rpartition(" ")
        return dumped if version == self.version else ""

    def kept(self, key: str) -> tuple[Key, ...] | None:
        """Return what models with this key do not manage, if they make the schema of the template; else None."""
        equal = self.recipe.equal
        if equal is None or equal.seal != Equal.sealed(key, equal.kept):
            return None
        return tuple(Key(*each) for each in equal.kept)

    def kept_by_plain(self, project: Project) -> tuple[Key, ...] | None:
        """Return the same of plain models, which are not imported; None where only they tell."""
        equal = self.recipe.equal
        if (
            equal is None
            or not plain.all_hold(equal.files, project)
            or equal.around != Equal.sealed(around(project, self.place), equal.kept)
        ):
            return None
        return tuple(Key(*each) for each in equal.kept)


def around(project: Project, place: Place) -> str:
    """Return a hash of what the comparison of models with a history depends on, besides these two."""
    dump = subprocess.check_output([programs.BINARIES / "pg_dump", "--version"])
    files = (reads.digest(project.root / name) for name in SETTINGS)
    facts = (
        place.session,
        dump,
        project.scope,
        project.versions,
        *files,
        templates.today(),
        _engine(),
    )
    return sha256(repr(facts).encode()).hexdigest()


@cache
def _engine() -> str:
    """Return a hash of the engine's code."""
    digest = sha256()
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def find(maintenance: Database, line: Line) -> Template | None:
    """Return the template of the end of a history; None if there is none, or none that was used today.

    So what is known of a template is found out anew each day. Whether it is current, only `Recipe.is_current` tells.

    Args:
        maintenance: The maintenance database of the scratch server.
        line: The history.

    Raises:
        ExpectedError: The server refuses the connection.
        psycopg2.Error: It refuses a query.
    """
    with maintenance.reading() as (cursor, _):
        cursor.execute(templates.PLACE)
        place = Place.of(cursor.fetchone() or ())
        cursor.execute(COMMENT, (place.name(line),))
        recipe = recipes.parse((cursor.fetchone() or (None,))[0])
        version = cursor.connection.info.parameter_status("server_version")
    if recipe is None or recipe.used != templates.today():
        return None
    return Template(recipe, str(version), place)


def is_current(project: Project, template: Template) -> bool:
    """Tell whether the scripts of a history would make its template anew as it is; may import the models."""
    return template.recipe.is_current(project)
