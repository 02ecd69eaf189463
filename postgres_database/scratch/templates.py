"""The template databases of a history on a server: their names, their comments, and which of them to drop.

A name contains a hash of the scripts; a comment is a `Recipe`, which lists what else they read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psycopg2.errors import UndefinedObject

from postgres_database.history import script_texts
from postgres_database.history.script_texts import Line
from postgres_database.scratch import recipes
from postgres_database.scratch.recipes import Equal, Recipe
from postgres_database.sql.names import quoted

if TYPE_CHECKING:  # a command that has nothing to do does without it
    import sqlalchemy as sa

PREFIX = "postgres_database_template_"
OWNER = "postgres_database_owner_"
"""How the name of the role begins that owns scratch databases."""
# The first columns tell users of a server apart; the third one is what their sessions begin with.
PLACE = """
    SELECT current_database(), current_user,
           concat(version(), (SELECT string_agg(concat(name, '=', reset_val), ', ' ORDER BY name) FROM pg_settings),
                  (SELECT string_agg(s::text, ', ' ORDER BY s::text) FROM pg_db_role_setting s
                   WHERE setdatabase = 0 AND setrole IN (0, (SELECT oid FROM pg_roles WHERE rolname = current_user))),
                  to_jsonb(d) - 'datfrozenxid' - 'datminmxid'),
           pg_encoding_to_char(encoding),
           (SELECT string_agg(name || ' ' || default_version, ',' ORDER BY name) FROM pg_available_extensions),
           current_setting('fsync') = 'off' AND current_setting('server_version_num')::int >= 150000,
           (SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user)
    FROM pg_database d WHERE datname = 'template0'
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
    session: str
    """A hash of the server's version, the settings that sessions begin with, and what new databases are copied from."""

    @classmethod
    def of(cls, row: Sequence[Any]) -> Place:
        """Return what a row of PLACE says.

        Names have a hash of the maintenance database and the role: a session only sees advisory locks of its own
        database (PostgreSQL manual, "Advisory Locks"), and can drop only databases of its own role.
        """
        *who, session, encoding, extensions, unsafe, separate = row
        me = sha256("\0".join(who).encode()).hexdigest()[:8]
        owner = OWNER + me if separate else ""
        digest = sha256(session.encode()).hexdigest()
        return cls(me, encoding, extensions or "", unsafe, owner, digest)

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
        recipe = recipes.parse(self.comment(name))
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
            recipe, size = recipes.parse(self.comment(name)), self._size(name)
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
