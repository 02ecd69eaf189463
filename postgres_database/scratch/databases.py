"""Scratch databases: empty, at a revision, or from the models; all gone when the command ends.

A database at a revision is cloned from a template that is named by a hash of the scripts up to
it, so that the history is replayed once for each new script and not once for each command.
"""

import hashlib
import re
import secrets
import sys
import traceback
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import replace
from textwrap import shorten
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from postgres_database.errors import ExpectedError
from postgres_database.history import project_models
from postgres_database.history.graph import Revision, cluster_names
from postgres_database.history.project import Project
from postgres_database.history.project_models import Models
from postgres_database.running import runner
from postgres_database.scratch import templates
from postgres_database.scratch.rights import Rights
from postgres_database.scratch.templates import Recipe
from postgres_database.server import cluster, embedded
from postgres_database.server.connection import Database
from postgres_database.server.environment import Environment
from postgres_database.sql.names import quoted

PREFIX = embedded.SCRATCH_PREFIX
TEMPLATE_PREFIX = "postgres_database_template_"
KEPT_TEMPLATES = 8
ME = """
    SELECT current_database(), current_user, pg_encoding_to_char(encoding),
           (SELECT string_agg(name || ' ' || default_version, ',' ORDER BY name) FROM pg_available_extensions),
           current_setting('fsync') = 'off' AND current_setting('server_version_num')::int >= 150000
    FROM pg_database WHERE datname = 'template0'
"""
UNDEFINED_TABLE = "42P01"
UNDEFINED = (UNDEFINED_TABLE, "42704", "42883", "3F000")
"""SQLSTATE of a relation, an object (type, collation, operator class, …), a function or a schema that is not there."""
MISSING = re.compile(r'(?P<kind>role|schema) "(?P<name>.*)" does not exist')


class MissingError(ExpectedError):
    """Models name something that is not there, and that they do not make."""


class Scratch:
    """Makes scratch databases on one server. Use `databases.session`."""

    def __init__(self, project: Project, maintenance: Database, connection: sa.Connection) -> None:
        """Work through a connection to the server's maintenance database, in autocommit.

        Names tell sessions apart that could not drop each other's databases, or not see each
        other's locks: an advisory lock holds in one database.
        """
        *me, encoding, self._extensions, unsafe = connection.exec_driver_sql(ME).one()
        self._me = hashlib.sha256("\0".join(me).encode()).hexdigest()[:8]
        # The checkpoints of a copy of files cost less than WAL where nothing is forced to disk.
        self._strategy = " STRATEGY file_copy" if unsafe else ""
        self._encoding = "" if encoding == "UTF8" else " ENCODING 'UTF8' LOCALE 'C'"
        self._project = project
        self._maintenance = maintenance
        self._connection = connection
        self._made: list[str] = []
        self._models = ExitStack()
        self._rights = Rights(maintenance, connection, self._me)

    def empty(self) -> Database:
        """Make an empty database."""
        return self._clone("template0", self._encoding)

    def at(self, project: Project, ids: Iterable[str]) -> Database:
        """Make a database at these revisions of a project.

        Raises:
            ExpectedError: A script fails.
        """
        revisions = project.history.upto(ids)
        if not revisions:
            return self.empty()
        self.provide(*cluster_names(revisions))
        hashes = templates.fingerprints(revisions, f"{self._extensions or ''} {self._rights.owner}")
        names = [f"{TEMPLATE_PREFIX}{self._me}_{hash_[:24]}" for hash_ in hashes]
        with self._lock(names[-1]):  # another command may be making the same
            known = self._recipe(project, names[-1])
            made = self._clone(names[-1]) if known else self._make(project, names, revisions)
        self._drop_unused(self._databases(TEMPLATE_PREFIX)[:-KEPT_TEMPLATES])
        return made

    def at_head(self, project: Project) -> Database:
        """Make a database at the end of a project's history."""
        return self.at(project, project.history.heads)

    def provide(self, roles: Collection[str], tablespaces: Collection[str] = ()) -> None:
        """Create the roles and tablespaces that schemas name, where they are missing.

        Raises:
            ExpectedError: The server does not let us.
        """
        if roles or tablespaces:
            attribute = "SUPERUSER" if tablespaces else "CREATEROLE"
            with self._lock("roles"), self._refusals(attribute):  # another command may create them
                cluster.provide(self._connection, roles, tablespaces)
                self._rights.include(roles, tablespaces)

    def available(self) -> set[str]:
        """Return the extensions that the server has."""
        return {each.rpartition(" ")[0] for each in (self._extensions or "").split(",")}

    def clone(self, database: Database) -> Database:
        """Make a copy of a scratch database that has no connections."""
        return self._clone(database.dsn.database)

    def from_models(
        self, models: Models, database: Database | None = None, cursors: Any = None
    ) -> Database:
        """Make a database with all that the models create.

        Schemas and roles that the models only name are created as well, these without login. Until the session ends,
        no index of the models is made concurrently, and constraints may be named as PostgreSQL names them.

        Args:
            models: The models.
            database: A scratch database that has what they need; an empty one where there is none.
            cursors: A class of the driver for the cursors that create them.

        Raises:
            MissingError: The models name something that is not there, and that they do not make.
            ExpectedError: The models cannot be created.
        """
        where = "in a database with what the history has" if database else "in an empty database"
        self._models.enter_context(project_models.unchanged(models))
        for index in (index for table in project_models.tables(models) for index in table.indexes):
            index.dialect_options["postgresql"]["concurrently"] = False  # not in a transaction
        database = database or self.empty()
        made: set[tuple[str, str]] = set()
        with database.connect(usual_path=True) as connection:
            if cursors:
                driver: Any = connection.connection.driver_connection
                driver.cursor_factory = cursors
            try:
                while missing := _create(connection, models, made):
                    made.add(missing)
                    if missing[0] == "role":
                        self.provide([missing[1]])
            except ExpectedError:
                raise
            except Exception as error:  # what models run in events may raise anything
                code = getattr(getattr(error, "orig", None), "pgcode", "")
                raise (MissingError if code in UNDEFINED else ExpectedError)(
                    f"the models {self._project.target_metadata} cannot be created {where}",
                    cause=_words(database, error),
                    hint="invoke check   (once the models are mended)",
                ) from error
        return database

    def close(self) -> None:
        """Drop what was made, and leave the models as they were."""
        self._models.close()
        for name in self._made:
            self._drop(name)

    def drop_orphans(self) -> None:
        """Drop scratch databases of commands that died: their locks are free."""
        self._drop_unused(dict.fromkeys([*self._databases(PREFIX), *self._logins()]))

    def _make(
        self, project: Project, names: Sequence[str], revisions: Sequence[Revision]
    ) -> Database:
        """Make a database from these revisions, and the last of these templates; names[n] is that of the first n."""
        done, database, begun = self._longest(project, names[:-1])
        with runner.open_runner(project, database) as run:
            models = run.upgrade(revisions[done:])
        more = templates.recipe(project, revisions[done:], models)
        recipe = begun.with_more(more)
        if not recipe.steady:  # a file has changed since it was read: the next one reads it anew
            return database
        template = quoted(names[-1])
        text = recipe.text().replace("\\", "\\\\").replace("'", "\\'").replace("%", "%%")
        for statement in (  # no function in a clone may change what a template says of itself
            f"ALTER DATABASE {quoted(database.dsn.database)} OWNER TO CURRENT_USER",
            f"COMMENT ON DATABASE {quoted(database.dsn.database)} IS E'{text}'",
            f"ALTER DATABASE {quoted(database.dsn.database)} RENAME TO {template}",
        ):
            self._connection.exec_driver_sql(statement)
        return self._clone(names[-1])

    def _longest(self, project: Project, names: Sequence[str]) -> tuple[int, Database, Recipe]:
        """Clone the longest part of a history that there is a template of."""
        for done in range(len(names) - 1, 0, -1):
            with self._lock(names[done]):  # so that no other command drops it
                if recipe := self._recipe(project, names[done]):
                    return done, self._clone(names[done]), recipe
        return 0, self.empty(), Recipe({})

    def _recipe(self, project: Project, name: str) -> Recipe | None:
        """Return what a template was made from, whose lock we hold; drop it if scripts would read something else."""
        query = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s"
        found = self._connection.exec_driver_sql(query, (name,)).one_or_none()
        if found is None:
            return None
        recipe = templates.parse(found[0])
        if recipe and recipe.is_current(project):
            return recipe
        self._connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {quoted(name)} WITH (FORCE)")
        return None

    def forget(self) -> None:
        """Drop what is kept, so that the whole history is run again."""
        for name in self._databases(TEMPLATE_PREFIX):
            with self._lock(name):  # another command may be making clones of it
                self._connection.exec_driver_sql(
                    f"DROP DATABASE IF EXISTS {quoted(name)} WITH (FORCE)"
                )

    def _clone(self, template: str, options: str = "") -> Database:
        name = f"{PREFIX}{self._me}_{secrets.token_hex(8)}"
        self._scalar("SELECT pg_advisory_lock(hashtextextended(%s, 0))", name)
        self._made.append(name)
        options = f"{options}{self._strategy}{self._rights.owned}"
        with self._refusals("CREATEDB"):
            self._connection.exec_driver_sql(
                f"CREATE DATABASE {quoted(name)} TEMPLATE {quoted(template)}{options}"
            )
        return replace(self._rights.admit(name), versions=self._project.versions)

    def _databases(self, prefix: str) -> Sequence[str]:
        """Return our databases with this prefix, oldest first."""
        query = "SELECT datname FROM pg_database WHERE starts_with(datname, %s) ORDER BY oid"
        return self._connection.exec_driver_sql(query, (f"{prefix}{self._me}_",)).scalars().all()

    def _logins(self) -> Sequence[str]:
        """Return the login roles of our databases."""
        query = "SELECT rolname FROM pg_roles WHERE starts_with(rolname, %s) ORDER BY 1"
        return self._connection.exec_driver_sql(query, (f"{PREFIX}{self._me}_",)).scalars().all()

    def _drop_unused(self, names: Iterable[str]) -> None:
        """Drop the databases whose lock no session holds."""
        for name in names:
            if self._scalar("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", name):
                self._drop(name)

    def _drop(self, name: str) -> None:
        """Drop a database whose lock we hold."""
        self._connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {quoted(name)} WITH (FORCE)")
        self._rights.dismiss(name)
        self._scalar("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", name)

    @contextmanager
    def _lock(self, name: str) -> Iterator[None]:
        self._scalar("SELECT pg_advisory_lock(hashtextextended(%s, 0))", name)
        try:
            yield
        finally:
            self._scalar("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", name)

    @contextmanager
    def _refusals(self, attribute: str) -> Iterator[None]:
        """Raise ExpectedError with advice if the server rejects what scratch databases need."""
        try:
            yield
        except DBAPIError as error:
            forbidden = getattr(error.orig, "pgcode", "") == "42501"
            grant = f"ALTER ROLE … {attribute}   (in psql, as a superuser of that server; or unset SCRATCH_DSN)"
            raise ExpectedError(
                f"nothing can be made for scratch databases on {self._maintenance.dsn}",
                cause=self._maintenance.words(error),
                hint=grant if forbidden else "invoke check   (once that server has what it lacks)",
            ) from error

    def _scalar(self, query: str, argument: str) -> object:
        return self._connection.exec_driver_sql(query, (argument,)).scalar()


def _create(
    connection: sa.Connection, models: Models, made: Collection[tuple[str, str]]
) -> tuple[str, str] | None:
    """Create what the models have; return the role or schema that is missing for it, if one is.

    Args:
        connection: To an empty database.
        models: The models.
        made: What was missing before; schemas among it are created.
    """
    try:
        with connection.begin(), redirect_stdout(sys.stderr):
            for schema in (name for kind, name in made if kind == "schema"):
                connection.execute(sa.schema.CreateSchema(schema, if_not_exists=True))
            _create_all(connection, models)
    except DBAPIError as error:
        missing = MISSING.match(str(error.orig))
        if missing is None or missing.groups() in made:
            raise
        return missing["kind"], missing["name"]
    return None


def _create_all(connection: sa.Connection, models: Models) -> None:
    """Create what models have; tables may refer to those of another MetaData, whichever comes first."""
    waiting = project_models.each_metadata(models)
    while waiting:
        later: list[sa.MetaData] = []
        for metadata in waiting:
            try:
                with connection.begin_nested():
                    metadata.create_all(connection)
            except DBAPIError as error:
                if getattr(error.orig, "pgcode", "") != UNDEFINED_TABLE or len(waiting) == 1:
                    raise
                later.append(metadata)
                refused = error
        if len(later) == len(waiting):
            raise refused
        waiting = tuple(later)


def _words(database: Database, error: Exception) -> str:
    """Return what went wrong, and the statement or the place, shortened to a line."""
    if isinstance(error, SQLAlchemyError):
        statement = " ".join((getattr(error, "statement", None) or "").split())
        place = shorten(statement, 120, placeholder=" …")
        said = database.words(error)
    else:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{frame.filename}, line {frame.lineno}"
        said = f"{type(error).__name__}: {database.words(error)}"
    return f"{said}\n(in {place})" if place else said


@contextmanager
def session(project: Project, environment: Environment) -> Iterator[Scratch]:
    """Open the scratch server; every database made in the session is dropped at its end."""
    maintenance = embedded.scratch_server(environment)
    with maintenance.connect(autocommit=True) as connection:
        scratch = Scratch(project, maintenance, connection)
        scratch.drop_orphans()
        try:
            yield scratch
        finally:
            scratch.close()
