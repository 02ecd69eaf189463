"""Scratch databases: empty, at a revision, or from the models; all gone when the command ends.

A database at a revision is cloned from a template that is named by a hash of the scripts up to
it, so that the history is replayed once for each new script and not once for each command.
"""

import importlib
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from postgres_database import __version__, runner, server
from postgres_database.connection import Database, quoted
from postgres_database.errors import ExpectedError
from postgres_database.history import History, fingerprints
from postgres_database.runner import Runner
from postgres_database.settings import Settings

PREFIX = "postgres_database_scratch_"
TEMPLATE_PREFIX = "postgres_database_template_"
KEPT_TEMPLATES = 8


def load_metadata(settings: Settings) -> sa.MetaData:
    """Import the models that the settings name.

    Raises:
        ExpectedError: They cannot be imported, or are no MetaData.
    """
    module_name, _, attribute = settings.target_metadata.partition(":")
    hint = (
        f"python -c 'import {module_name}'   (TARGET_METADATA, in alembic.ini or an env file,"
        " names package.module:name)"
    )
    what = f"the models {settings.target_metadata} cannot be loaded"
    try:
        found = importlib.import_module(module_name)
        for name in attribute.split("."):
            found = getattr(found, name)
    except Exception as error:
        raise ExpectedError(what, cause=f"{type(error).__name__}: {error}", hint=hint) from error
    metadata = found if isinstance(found, sa.MetaData) else getattr(found, "metadata", None)
    if not isinstance(metadata, sa.MetaData):
        raise ExpectedError(
            what,
            cause=f"it is a {type(found).__name__}, not a MetaData or a declarative base",
            hint=hint,
        )
    return metadata


class Scratch:
    """Makes scratch databases on one server. Use `scratch.session`."""

    def __init__(
        self, settings: Settings, maintenance: Database, connection: sa.Connection
    ) -> None:
        """Work through a connection to the server's maintenance database, in autocommit."""
        self._settings = settings
        self._maintenance = maintenance
        self._connection = connection
        self._made: list[str] = []

    def empty(self) -> Database:
        """Make an empty database."""
        return self._clone("template0")

    def at(self, history: History, ids: Iterable[str]) -> Database:
        """Make a database at these revisions.

        Raises:
            ExpectedError: A script fails.
        """
        revisions = history.upto(ids)
        names = [TEMPLATE_PREFIX + hash_ for hash_ in fingerprints(revisions, __version__)]
        known = set(self._databases(TEMPLATE_PREFIX))
        done = next((count for count in range(len(revisions), 0, -1) if names[count] in known), 0)
        Runner(self._settings, self._maintenance, self._connection).create_roles(revisions)
        if done < len(revisions):
            database = self._clone(names[done] if done else "template0")
            with runner.open_runner(self._settings, database) as run:
                run.upgrade(revisions[done:])
            self._keep_as_template(database, names[-1])
        return self._clone(names[-1] if revisions else "template0")

    def from_models(self, metadata: sa.MetaData) -> Database:
        """Make a database with all that the models create.

        Raises:
            ExpectedError: The models cannot be created.
        """
        database = self.empty()
        with database.connect() as connection:
            try:
                with connection.begin():
                    for schema in sorted(
                        {table.schema for table in metadata.tables.values() if table.schema}
                    ):
                        connection.execute(sa.schema.CreateSchema(schema, if_not_exists=True))
                    metadata.create_all(connection)
            except SQLAlchemyError as error:
                raise ExpectedError(
                    f"the models {self._settings.target_metadata} cannot be created in an empty database",
                    cause=database.words(error),
                    hint="invoke check   (once the models are mended)",
                ) from error
        return database

    def close(self) -> None:
        """Drop what was made."""
        for name in self._made:
            self._drop(name)

    def drop_orphans(self) -> None:
        """Drop scratch databases whose makers died: nobody holds their lock any more."""
        for name in self._databases(PREFIX):
            if self._scalar("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", name):
                self._drop(name)

    def _clone(self, template: str) -> Database:
        name = PREFIX + secrets.token_hex(8)
        self._scalar("SELECT pg_advisory_lock(hashtextextended(%s, 0))", name)
        self._made.append(name)
        self._connection.exec_driver_sql(
            f"CREATE DATABASE {quoted(name)} TEMPLATE {quoted(template)}"
        )
        return Database(self._maintenance.dsn.with_parts(dbname=name), "scratch")

    def _keep_as_template(self, database: Database, template: str) -> None:
        """Give a finished database the template's name, unless another command was faster."""
        if template not in self._databases(TEMPLATE_PREFIX):
            rename = f"ALTER DATABASE {quoted(database.dsn.database)} RENAME TO {quoted(template)}"
            self._connection.exec_driver_sql(rename)
        for old in self._databases(TEMPLATE_PREFIX)[:-KEPT_TEMPLATES]:
            self._drop(old)

    def _databases(self, prefix: str) -> Sequence[str]:
        """Return the databases with this prefix, oldest first."""
        query = "SELECT datname FROM pg_database WHERE starts_with(datname, %s) ORDER BY oid"
        return self._connection.exec_driver_sql(query, (prefix,)).scalars().all()

    def _drop(self, name: str) -> None:
        self._connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {quoted(name)} WITH (FORCE)")
        self._scalar("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", name)

    def _scalar(self, query: str, argument: str) -> object:
        return self._connection.exec_driver_sql(query, (argument,)).scalar()


@contextmanager
def session(settings: Settings) -> Iterator[Scratch]:
    """Open the scratch server; every database made in the session is dropped at its end."""
    maintenance = server.scratch_server(settings)
    with maintenance.connect(autocommit=True) as connection:
        scratch = Scratch(settings, maintenance, connection)
        scratch.drop_orphans()
        try:
            yield scratch
        finally:
            scratch.close()
