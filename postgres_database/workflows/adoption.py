"""Adopt a database that has no scripts: its schema becomes the first revision, proved and stamped."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from postgres_database.errors import ExpectedError
from postgres_database.history import script_files, staged
from postgres_database.history.project import Project
from postgres_database.modelling import strangers
from postgres_database.running import runner
from postgres_database.running.listener import Listener
from postgres_database.schema import (
    disclosures,
    dump,
    masks,
    partitions,
    respelling,
    sections,
    snapshot,
)
from postgres_database.schema.snapshot import Key
from postgres_database.scratch import databases, provided
from postgres_database.scratch.databases import Scratch
from postgres_database.server import transactions
from postgres_database.server.connection import Database
from postgres_database.server.environment import Environment
from postgres_database.sql.names import DEFAULT_SCHEMA, Name
from postgres_database.sql.tokens import printed_unchanged
from postgres_database.workflows import drift
from postgres_database.workflows.stamp import Match

UPGRADE = 'op.execute_file(__file__.removesuffix(".py") + ".sql")'
DOWNGRADE = """op.refuse(
        "the first revision of an adopted database is not undone",
        cause="it is the database as it was before it had scripts; undoing it would drop its data",
        hint="invoke current",
    )"""
SERVER = sa.text(
    """
    SELECT split_part(current_setting('server_version'), ' ', 1),
           current_setting('server_version_num')::int / 10000,
           (SELECT rolname FROM pg_roles WHERE oid = 10)
    """
)
PUBLIC = sa.text("SELECT to_regnamespace('public') IS NOT NULL")
VERSIONS = sa.text("SELECT extname, extversion FROM pg_extension ORDER BY 1")
OUTSIDE = sa.text(
    """
    SELECT 'the subscription ' || subname FROM pg_subscription
    WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())
    UNION ALL
    SELECT 'the setting of the database ' || split_part(pair, '=', 1)
    FROM pg_db_role_setting d, unnest(d.setconfig) AS pair
    WHERE d.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
    ORDER BY 1
    """
)


@dataclass(frozen=True)
class BaselineResult:
    """What was adopted, or which revision of the history the target is."""

    revision: str
    """What the target is stamped with; empty if it is no revision of the history."""
    path: Path | None = None
    """The script that was written; None where there was a history."""
    objects: int = 0
    """How many objects the schema has; every one was found equal in a database made by the script."""
    respelled: tuple[Key, ...] = ()
    """Objects that PostgreSQL prints differently once they are restored."""
    notes: tuple[str, ...] = ()
    """What is not in the script, and what else a human should know."""
    match: Match | None = None
    """What equals the target in the history, or comes nearest; None where a script was written."""
    pending: bool = False
    """Whether the history goes on after the revision."""
    unlike_models: tuple[Key, ...] | None = None
    """Objects that the models say differently; None if that was not asked, or is unknown."""


@dataclass
class Adoption:
    """Writes the first revision of a database, proves it and stamps the database with it."""

    project: Project
    environment: Environment
    database: Database
    staged: Project
    """What `script_files.staging` yields."""

    def __post_init__(self) -> None:
        """Only read the database until it is stamped."""
        self._reader = self.database.read_only()

    def adopt(self, message: str, listener: Listener) -> BaselineResult:
        """Write, prove, stamp."""
        with listener.at_work("read the schema of the target"):
            dumped = dump.take(self._reader, self.project.scope)
        objects = snapshot.parse(dumped).objects
        if not objects:
            env = self.environment.env_option
            raise ExpectedError(
                f"{self.database.dsn} is empty: there is nothing to adopt",
                cause="none of the schemas that this project manages has an object",
                hint=f"invoke psql{env} --command '\\l'   (lists the databases: the DSN may name another;"
                f" for a new one: invoke revision{env} --msg …, then invoke upgrade{env})",
            )
        if secrets := disclosures.find(dumped):
            lines = [f"look at   {line}" for line in secrets]
            where = "migration/, for everyone who reads the repository"
            listener.require_yes(f"write what may be a secret into {where}", lines)
        with databases.session(self.staged, self.environment) as session:
            roles, tablespaces = drift.provide(self._reader, session)
            bootstrap = _server(self._reader)[2]  # no catalog lists where this role is named
            if sections.names_role(dumped, bootstrap):
                roles = tuple(sorted({*roles, bootstrap}))
            self._write(message, dumped, roles, tablespaces)
            with listener.at_work("prove the script on a scratch database"):
                rebuilt = self._rebuild(dumped, session)
                respelled = self._prove(dumped, rebuilt, session)
            with listener.at_work("compare with the models"):
                unlike, known, failure = self._models(rebuilt, session)
            if known:
                self._write(message, dumped, roles, tablespaces, known)
            scripts = self.staged.history
            notes = (*self._notes(dumped, rebuilt), *failure)
        revision = scripts[scripts.head]
        if self.environment.protected:
            what = f"{revision}  (runs nothing; writes the table {self.database.versions.name})"
            listener.require_yes(f"stamp {self.database.dsn}", [what])
        if dump.take(self._reader, self.project.scope) != dumped:
            raise ExpectedError(
                f"the schema of {self.database.dsn} changed while it was adopted; nothing was written",
                cause="the script was proved for a schema that the database no longer has",
                hint=f"invoke baseline-existing{self.environment.env_option}   (again)",
            )
        return BaselineResult(
            revision.id,
            self._commit(revision.id),
            len(objects),
            respelled,
            notes,
            unlike_models=unlike,
        )

    def _write(
        self,
        message: str,
        dumped: str,
        roles: tuple[str, ...],
        tablespaces: tuple[str, ...],
        objects: tuple[str, ...] = (),
    ) -> None:
        """Write the script and its SQL; a second time it takes the place of the first."""
        revision = self.staged.history.head
        if revision != "base":
            path = Path(self.staged.scripts.get_revision(revision).path)
            path.unlink()
            path.with_suffix(".sql").unlink()
        written, self.staged = script_files.write(
            self.staged.anew(),
            message,
            (),
            revision="" if revision == "base" else revision,
            objects=objects,
            upgrade=UPGRADE,
            downgrade=DOWNGRADE,
            roles=roles,
            tablespaces=tablespaces,
        )
        text = printed_unchanged(dump.restorable(dumped)).encode()
        with staged.explained(self.project.root):
            Path(written.path).with_suffix(".sql").write_bytes(text)

    def _rebuild(self, dumped: str, session: Scratch) -> Database:
        try:
            return session.at_head(self.staged)
        except ExpectedError as error:
            named = dump.unrestorable(dumped, session.empty())
            what = named.what if named else "the schema cannot be rebuilt on the scratch server"
            raise ExpectedError(
                f"{what}; nothing was written",
                cause=(named or error).cause,
                hint=f"invoke psql{self.environment.env_option}   (look at it; if only the scratch server"
                " lacks something, SCRATCH_DSN names another)",
            ) from error

    def _prove(self, dumped: str, rebuilt: Database, session: Scratch) -> tuple[Key, ...]:
        """Raise ExpectedError unless all objects are equal; return those that are only spelled differently."""
        again = dump.take(rebuilt)
        unlike = snapshot.parse(dumped).difference(snapshot.parse(again))
        if not unlike:
            return ()
        with ThreadPoolExecutor() as pool:
            texts = pool.map(dump.take, snapshot.copies([dumped, again], session.empty))
            copies = [*map(snapshot.parse, texts)]
        if different := copies[0].difference(copies[1]):
            raise ExpectedError(
                "a database made by the baseline would not equal the online one; nothing was written",
                cause="\n".join(str(difference.key) for difference in different),
                hint=f"invoke psql{self.database.env_option}   (look at these objects)",
            )
        return tuple(difference.key for difference in unlike)

    def _models(
        self, rebuilt: Database, session: Scratch
    ) -> tuple[tuple[Key, ...] | None, tuple[str, ...], tuple[str, ...]]:
        """Return in what the models differ, what of theirs is there, and why neither is known.

        Broken models are no reason not to adopt.
        """
        try:
            models = self.project.models()
            built = provided.build(session, models, lambda: rebuilt)
            scope = self.project.scope
            compared = respelling.compare(scope, rebuilt, built.database, (), session.empty)
            strangers.require_whole(self.project, models, compared)
        except ExpectedError as error:
            return None, (), (f"{error.what}: {' '.join(error.cause.split())}",)
        if strangers.share_nothing(models, compared.before.catalog.tables):
            other = (
                f"the models {self.project.target_metadata} know none of the database's tables:"
                " they belong to another database"
            )
            return None, (), (other,)
        there = {str(key) for key in compared.before.snapshot.objects} - built.provided
        known = tuple(each for each in compared.new_objects() if each in there)
        return tuple(each.key for each in compared.differences.objects), known, ()

    def _notes(self, dumped: str, rebuilt: Database) -> Iterator[str]:
        """Yield what is not in the script, and what else is worth knowing."""
        with self._reader.connect() as connection, connection.begin():
            outside = connection.execute(OUTSIDE).scalars().all()
            with transactions.driven(connection) as ours:
                schema = self._reader.version_schema(*ours)
            has_public = connection.execute(PUBLIC).scalar()
            here = {row.extname: row.extversion for row in connection.execute(VERSIONS)}
        with rebuilt.connect() as connection, connection.begin():
            there = {row.extname: row.extversion for row in connection.execute(VERSIONS)}
        (version, major, _), (other, other_major, _) = map(_server, (self._reader, rebuilt))
        if major != other_major:
            yield (
                f"the target is PostgreSQL {version}, the scratch server {other}:"
                " SCRATCH_DSN may name one of the same version"
            )
        for name in sorted(here.keys() & there.keys()):
            if here[name] != there[name]:
                yield f"the extension {name} is {here[name]} online and {there[name]} on the scratch server"
        for line in dump.omissions(dumped):
            yield f"not in the script: {line}"
        yield from _of_others(dumped)
        for key in snapshot.invalid_indexes(self._reader):
            name = Name(key.schema, key.name).sql
            yield f"not in the script: {key}, which is invalid; REINDEX INDEX CONCURRENTLY {name}, or drop it"
        if not has_public:
            yield "not in the script: that there is no schema public, which every new database has"
        if schema not in (DEFAULT_SCHEMA, self._reader.versions.schema):
            yield (
                f"{self._reader.versions.name} is in the schema {schema}, to which a search path leads: an empty"
                " database"
                " needs the same search path, and for its first upgrade a schema on it"
            )
        for line in outside:
            yield f"not in the script: {line}"
        if masks.is_masked(dumped):
            yield f"secrets of foreign servers are not in the script: it says {masks.MASK} in their place"

    def _commit(self, revision_id: str) -> Path:
        """Publish the script, then stamp; if that ends early, the next run finds and stamps it.

        The script stays: a stamp may have been committed though its answer did not arrive.
        """
        (path,) = script_files.publish(self.staged, ())
        with runner.open_runner(self.project.anew(), self.database) as run:
            run.stamp([revision_id])
        return path


def _of_others(dumped: str) -> Iterator[str]:
    """Yield which tables of the script other tools keep."""
    for key in snapshot.parse(dumped).objects:
        if key.kind == "TABLE" and key.name in partitions.OTHERS:
            yield f"in the script, though another tool keeps it: {key}; no revision drops it by itself"


def _server(database: Database) -> tuple[str, int, str]:
    """Return version, major version and the role that initdb made."""
    with database.connect() as connection, connection.begin():
        version, major, bootstrap = connection.execute(SERVER).one()
        return version, major, bootstrap
