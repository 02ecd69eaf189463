"""A database against a revision: in which objects the two differ, and what would bring it back."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import sqlalchemy as sa

from postgres_database import comparison, draft, dump, runner, snapshot
from postgres_database.changes import ALTERED
from postgres_database.comparison import Frame
from postgres_database.connection import Database, identifier
from postgres_database.errors import ExpectedError
from postgres_database.operations import RunSql
from postgres_database.scratch import Scratch
from postgres_database.settings import Settings
from postgres_database.snapshot import Difference, Key
from postgres_database.trial import Change, Trial

INVALID = "\n-- invalid: no query uses it"
EXTENSIONS = sa.text("SELECT extname FROM pg_extension")


@dataclass(frozen=True)
class Drift:
    """An object in which a database is not what a revision says."""

    key: Key
    history: str
    """Its DDL by the revision; empty where the revision has no such object."""
    target: str
    """Its DDL in the database; empty where that has none."""
    repair: tuple[str, ...]
    """Statements that were seen to bring a copy of the database back; those of other objects may be needed."""


@dataclass(frozen=True)
class Drifts:
    """In what a database differs from a revision."""

    objects: tuple[Drift, ...] = ()
    kept: tuple[Key, ...] = ()
    """What is no business of the history: partitions made since, tables of other tools."""


def drifts(
    settings: Settings, target: Database, at: Database, session: Scratch, *, repair: bool = False
) -> Drifts:
    """Compare a database, which is only read, with a scratch database at a revision.

    How things are spelled is no difference, nor what `alembic.ini` excludes. Invalid indexes and
    constraints that are not validated are.

    Args:
        settings: Say what is excluded.
        target: The database.
        at: The scratch database.
        session: For copies.
        repair: Find out what would bring the database back.

    Raises:
        ExpectedError: The database cannot be read, or not be copied to the scratch server.
    """
    reader = target.read_only()
    with ThreadPoolExecutor() as pool:
        texts = [*pool.map(dump.dump, (reader, at))]
        invalid = pool.submit(snapshot.invalid_indexes, reader)
        broken = invalid.result()
    here, there = map(snapshot.parse, texts)
    if here == there and not broken:
        return Drifts()
    provide(reader, session)
    copies = _copies(texts, session, settings)
    left, right = comparison.sides(*copies)
    owned = [str(key) for key in left.snapshot.objects]  # nothing is kept for being unknown
    frame = Frame(settings, left, right, owned)
    found = {each.key: each for each in frame.comparison.objects}
    repairs = _repairs(copies[0], frame, found) if found and repair else {}
    objects = [
        Drift(key, each.right, each.left, tuple(repairs.get(key, ())))
        for key, each in found.items()
    ]
    kept = frame.comparison.kept
    objects += [each for each in _invalid(broken, there.objects) if each.key not in kept]
    unique = {each.key: each for each in objects}
    return Drifts(tuple(unique[key] for key in sorted(unique)), kept)


def provide(reader: Database, session: Scratch) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Make what a database's schema needs of a scratch server; return the roles and tablespaces.

    Raises:
        ExpectedError: The server lacks extensions.
    """
    with reader.connect() as connection, connection.begin():
        roles = tuple(connection.execute(runner.ROLES).scalars())
        tablespaces = tuple(connection.execute(runner.TABLESPACES).scalars())
        extensions = set(connection.execute(EXTENSIONS).scalars())
    if lacking := sorted(extensions - session.available()):
        raise ExpectedError(
            f"the scratch server does not have the extension {', '.join(lacking)}",
            cause=f"{reader.dsn} uses it, so its schema can be rebuilt only where it is installed",
            hint=other_server(reader),
        )
    session.provide(roles, tablespaces)
    return roles, tablespaces


def other_server(database: Database) -> str:
    """Return how to name another scratch server."""
    return (
        "SCRATCH_DSN='host=… dbname=postgres' in front of the same command, or in"
        f" {database.source.removeprefix('from ') or '.env'}   (a PostgreSQL of the same version with the"
        " same extensions, locales and libraries, whose user may create databases)"
    )


def _copies(texts: Sequence[str], session: Scratch, settings: Settings) -> list[Database]:
    try:
        return snapshot.copies(texts, session)
    except ExpectedError as error:
        error.hint = (
            f"invoke psql{settings.env_option}   (look at it; or name another server: SCRATCH_DSN)"
        )
        raise


def _invalid(broken: Mapping[Key, str], there: Mapping[Key, tuple[str, ...]]) -> Iterator[Drift]:
    for key, text in broken.items():
        name = f"{identifier(key.schema)}.{identifier(key.name)}"
        known = key in there
        statement = f"REINDEX INDEX CONCURRENTLY {name};"
        repair = statement if known else f"DROP INDEX CONCURRENTLY {name};"
        yield Drift(key, "\n".join(there.get(key, ())), f"{text};{INVALID}", (repair,))


def _repairs(copy: Database, frame: Frame, found: Mapping[Key, Difference]) -> dict[Key, list[str]]:
    """Bring a copy of the database back, and tell by which statements, for each object."""
    trial = Trial(copy)
    draft.bring(trial, frame, [], {})
    repairs: dict[Key, list[str]] = {key: [] for key in found}
    current = next(iter(found))
    for change, way in trial.made:
        current = next((key for key in _keys(change) if key in found), current)
        repairs[current] += [each.text for each in way if isinstance(each, RunSql)]
    return repairs


def _keys(change: Change) -> Iterator[Key]:
    """Yield the objects that a change may be about: a dump lists parts of tables by themselves."""
    key = change.key
    if key is None:
        return
    if key.kind == "TABLE" and change.subject:
        for kind in ALTERED:
            yield Key(kind, key.schema, f"{key.name} {change.subject.part}")
    yield key
