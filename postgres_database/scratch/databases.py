"""Creates scratch databases: empty, at a revision, or from the models. All are dropped when the command ends.

A database at a revision is cloned from a template database whose name has a hash of the scripts up to that revision.
So each script runs once when it is new or changed, not once in each command.
"""

import secrets
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import Any, NamedTuple

import sqlalchemy as sa
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - a class
from sqlalchemy.exc import DBAPIError

from postgres_database.errors import ExpectedError
from postgres_database.history import project_models
from postgres_database.history.graph import Revision, cluster_names
from postgres_database.history.project import Project
from postgres_database.history.project_models import Models
from postgres_database.history.script_texts import Line
from postgres_database.scratch import recipes, templates
from postgres_database.scratch.recipes import Equal, Recipe
from postgres_database.scratch.rights import Rights
from postgres_database.scratch.templates import Place, Store
from postgres_database.server import cluster, embedded
from postgres_database.server.connection import Database
from postgres_database.server.environment import Environment
from postgres_database.sql.names import quoted

PREFIX = embedded.SCRATCH_PREFIX
DROPPED_AT_ONCE = 4
SCRATCHES = """SELECT name FROM (SELECT datname, oid FROM pg_database UNION SELECT rolname, NULL FROM pg_roles) AS s
    (name, age) WHERE starts_with(name, %s) ORDER BY age, name"""


class Origin(NamedTuple):
    """The template of a database, as it was when it was copied: other commands may drop it."""

    name: str
    oid: int | None
    recipe: Recipe


class Scratch:
    """Creates scratch databases on one server. Use `databases.session`."""

    def __init__(self, project: Project, maintenance: Database, connection: sa.Connection) -> None:
        """Use a connection to the server's maintenance database, in autocommit mode."""
        self.place = Place.of(connection.exec_driver_sql(templates.PLACE).one())
        self._me = self.place.me
        # Without fsync, the checkpoints of STRATEGY file_copy cost less than the WAL of the default wal_log; with it,
        # they cost several times as much on a disk (docs/performance.md, "A database for each test").
        self._strategy = " STRATEGY file_copy" if self.place.unsafe else ""
        self._encoding = "" if self.place.encoding == "UTF8" else " ENCODING 'UTF8' LOCALE 'C'"
        self._templates = Store(connection, self.place.prefix)
        self._origins: dict[str, Origin] = {}  # by database
        self._ready: dict[str, Database] = {}  # by template
        self._project = project
        self._maintenance = maintenance
        self._connection = connection
        self._made: set[str] = set()
        self._models = ExitStack()
        self.rights = Rights(maintenance, connection, self._me)

    def empty(self) -> Database:
        """Create an empty database."""
        return self._clone("template0", self._encoding)

    def at(self, project: Project, ids: Iterable[str]) -> Database:
        """Create a database at these revisions of a project.

        Raises:
            ExpectedError: A script fails, or the server rejects what it needs.
        """
        revisions = project.history.upto(ids)
        if not revisions:
            return self.empty()
        self.provide(*cluster_names(revisions))
        names = self._names(revisions)
        if made := self._ready.pop(names[-1], None):
            return made
        with self._lock(names[-1]):  # another command may be creating the same template
            if recipe := self._recipe(project, names[-1]):
                return self._copied(names[-1], recipe)
            made = self._make(project, names, revisions)
        self._drop_unused(self._templates.superfluous())
        return made

    def prepare(self, line: Line) -> Database | None:
        """Create the next database that `at_head` returns, before any script is executed; None if that needs them."""
        name = self.place.name(line)
        with self._lock(name):
            if recipe := self._recipe(self._project, name):
                self._ready[name] = self._copied(name, recipe)
        return self._ready.get(name)

    def recipe(self, project: Project, made: Database) -> Recipe | None:
        """Return what the scripts read that made a database which `at` returned; None if that has changed since."""
        origin = self._origins.get(made.dsn.database)
        return origin.recipe if origin and origin.recipe.is_current(project) else None

    def _names(self, revisions: Sequence[Revision]) -> list[str]:
        """Return the names of the templates of no revision, of the first one, of the first two, and so on."""
        return self.place.names((each.id, each.path) for each in revisions)

    def note(self, made: Database, dumped: str = "", equal: Equal | None = None) -> None:
        """Keep for `known` what was found out of a database that `at` has made and nobody has changed.

        Args:
            made: The database.
            dumped: The hash of its dump (`dump.Dump.digest`).
            equal: The models that make the same schema.
        """
        origin = self._origins.get(made.dsn.database)
        if origin and origin.oid is not None and (dumped or equal):
            with self._lock(origin.name):
                self._templates.note(origin.name, origin.oid, dumped, equal)

    def at_head(self, project: Project) -> Database:
        """Create a database at the heads of a project's history."""
        return self.at(project, project.history.heads)

    def provide(self, roles: Collection[str], tablespaces: Collection[str] = ()) -> None:
        """Create the roles and tablespaces of these names that do not exist.

        Raises:
            ExpectedError: The server rejects that.
        """
        if roles or tablespaces:
            attribute = "SUPERUSER" if tablespaces else "CREATEROLE"
            with self._lock("roles"), self._refusals(attribute):  # another command may create them
                cluster.provide(self._connection, roles, tablespaces)
                self.rights.include(roles, tablespaces)

    def available(self) -> set[str]:
        """Return the names of the extensions that can be created on the server."""
        return {each.rpartition(" ")[0] for each in self.place.extensions.split(",")}

    def clone(self, database: Database) -> Database:
        """Create a copy of a scratch database, to which there must be no connections."""
        return self._clone(database.dsn.database)

    def from_models(
        self,
        models: Models,
        database: Database | None = None,
        cursors: Callable[[type[Cursor]], type[Cursor]] | None = None,
    ) -> Database:
        """Create the models in a database.

        Also creates schemas and roles (without login) that the models use. Until the session ends, the models are
        modified: their indexes are not concurrent, and a comparison may name their unnamed constraints.

        Args:
            models: The models.
            database: A scratch database with the objects that the models use; None: a new, empty one.
            cursors: Makes of the usual class of cursors the one that runs their statements.

        Raises:
            MissingError: The models use an object that does not exist and that they do not create.
            ExpectedError: The models cannot be created.
        """
        where = "in a database with objects of the history" if database else "in an empty database"
        self._models.enter_context(project_models.creatable(models))
        database = database or self.empty()
        made: set[tuple[str, str]] = set()
        with database.connect(usual_path=True) as connection:
            if cursors:
                driver: Any = connection.connection.driver_connection
                driver.cursor_factory = cursors(database.cursor or Cursor)
            try:
                while missing := project_models.create(connection, models, made):
                    made.add(missing)
                    if missing[0] == "role":
                        self.provide([missing[1]])
            except ExpectedError:
                raise
            except Exception as error:  # event listeners of the models may raise anything
                what = f"the models {self._project.target_metadata} cannot be created {where}"
                raise project_models.uncreated(what, database, error) from error
        return database

    def close(self) -> None:
        """Drop the databases of the session, and restore the models."""
        self._models.close()
        # A server takes long to drop a database with many files, and drops several at once.
        with ThreadPoolExecutor(DROPPED_AT_ONCE) as pool:
            [*pool.map(self._drop_apart, [*self._made][1:])]
        for name in [*self._made]:
            self.drop(name)

    def drop_orphans(self) -> None:
        """Drop scratch databases and login roles of commands that were killed: no session holds their locks."""
        mine = self._connection.exec_driver_sql(SCRATCHES, (f"{PREFIX}{self._me}_",))
        self._drop_unused(mine.scalars().unique().all())

    def _make(
        self, project: Project, names: Sequence[str], revisions: Sequence[Revision]
    ) -> Database:
        """Create the template of some revisions, and a database from it.

        Args:
            project: Has the scripts.
            names: names[n] is the name of the template of the first n revisions.
            revisions: All of them, in order.
        """
        from postgres_database.running import runner  # noqa: PLC0415 - where a template is there, Alembic need not be

        done, database, begun = self._longest(project, names[:-1])
        with runner.open_runner(project, database) as run:
            models = run.upgrade(revisions[done:])
        more = recipes.of(project, revisions[done:], models)
        recipe = begun.with_more(more)
        if not recipe.steady:  # a file has changed since it was read: keep no template
            return database
        template = quoted(names[-1])
        here = database.dsn.database
        # The owner of a clone must not own the template: it could change the comment.
        self._connection.exec_driver_sql(f"ALTER DATABASE {quoted(here)} OWNER TO CURRENT_USER")
        self._templates.describe(here, recipe)
        # The last step: what is interrupted before it is an orphan, and no template.
        self._connection.exec_driver_sql(f"ALTER DATABASE {quoted(here)} RENAME TO {template}")
        return self._copied(names[-1], recipe)

    def _longest(self, project: Project, names: Sequence[str]) -> tuple[int, Database, Recipe]:
        """Clone the template with the most of these revisions.

        Returns:
            The number of its revisions, the clone, and the recipe; 0 and an empty database if there is no template.
        """
        there = {*self._templates.names()}
        for done in range(len(names) - 1, 0, -1):
            if names[done] not in there:
                continue
            with self._lock(names[done]):  # another command must not drop it
                if recipe := self._recipe(project, names[done]):
                    return done, self._clone(names[done]), recipe
        return 0, self.empty(), Recipe({})

    def _recipe(self, project: Project, name: str) -> Recipe | None:
        """Return the recipe of a template whose lock this session holds; drop the template if it is out of date."""
        if (comment := self._templates.comment(name)) is None:
            return None
        recipe = recipes.parse(comment)
        if recipe and recipe.is_current(project):
            if recipe.used != templates.today():
                self._templates.describe(name, recipe)
            return recipe
        self._drop_database(name)
        return None

    def forget(self) -> None:
        """Drop all templates, so that the whole history is run again."""
        for name in self._templates.names():
            with self._lock(name):  # another command may be cloning it
                self._drop_database(name)

    def _copied(self, template: str, recipe: Recipe) -> Database:
        """Clone a template whose lock this session holds."""
        made = self._clone(template)
        self._origins[made.dsn.database] = Origin(template, self._templates.oid(template), recipe)
        return made

    def _clone(self, template: str, options: str = "") -> Database:
        name = f"{PREFIX}{self._me}_{secrets.token_hex(8)}"
        self._scalar("SELECT pg_advisory_lock(hashtextextended(%s, 0))", name)
        self._made.add(name)
        options = f"{options}{self._strategy}{self.rights.owned}"
        with self._refusals("CREATEDB"):
            self._connection.exec_driver_sql(
                f"CREATE DATABASE {quoted(name)} TEMPLATE {quoted(template)}{options}"
            )
        return replace(self.rights.admit(name), versions=self._project.versions)

    def _drop_unused(self, names: Iterable[str]) -> None:
        """Drop the databases whose lock no session holds."""
        for name in names:
            if self._scalar("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", name):
                self.drop(name)

    def drop(self, name: str) -> None:
        """Drop a database whose lock this session holds, and its login role."""
        self._drop_database(name)
        self.rights.dismiss(name)
        self._scalar("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", name)
        self._made.discard(name)

    def _drop_apart(self, name: str) -> None:
        # Where other commands have all connections that the server gives, `close` drops it by its own.
        with suppress(ExpectedError), self._maintenance.connect(autocommit=True) as connection:
            self._drop_database(name, connection)

    def _drop_database(self, name: str, connection: sa.Connection | None = None) -> None:
        """Drop a database, if it exists, and end the sessions in it."""
        connection = connection or self._connection
        drop = f"DROP DATABASE IF EXISTS {quoted(name)}"
        try:
            connection.exec_driver_sql(f"{drop} WITH (FORCE)")
        except DBAPIError as error:
            if getattr(error.orig, "pgcode", "") != "42501":
                raise
            # Autovacuum is in it, which runs as a superuser. Without FORCE PostgreSQL ends that itself, and waits.
            connection.exec_driver_sql(drop)

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
                f"cannot create a scratch database, or a role for it, on {self._maintenance.dsn}",
                cause=self._maintenance.words(error),
                hint=grant if forbidden else "invoke check   (once that server has what it lacks)",
            ) from error

    def _scalar(self, query: str, argument: str) -> object:
        return self._connection.exec_driver_sql(query, (argument,)).scalar()


@contextmanager
def session(project: Project, environment: Environment) -> Iterator[Scratch]:
    """Open a session on the scratch server of an environment; its databases are dropped at the end.

    Raises:
        ExpectedError: The server cannot be started or reached, or its role must not be used (`rights.Rights`).
    """
    maintenance = embedded.scratch_server(environment)
    with maintenance.connect(autocommit=True) as connection:
        scratch = Scratch(project, maintenance, connection)
        scratch.drop_orphans()
        try:
            yield scratch
        finally:
            scratch.close()
