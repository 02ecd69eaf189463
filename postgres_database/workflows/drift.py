"""A database against a revision: in which objects the two differ, and what would bring it back."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import psycopg2
import sqlalchemy as sa

from postgres_database.drafting import draft, matching, renames
from postgres_database.drafting.changes import ALTERED
from postgres_database.drafting.matching import Decisions
from postgres_database.drafting.renames import Rename
from postgres_database.drafting.trial import Change, Trial
from postgres_database.errors import ExpectedError
from postgres_database.history.operations import RunSql
from postgres_database.history.project import Project
from postgres_database.preflight.losses import find_losses
from postgres_database.running import runner
from postgres_database.schema import catalog, comparison, dump, masks, snapshot
from postgres_database.schema.comparison import Comparison, Side
from postgres_database.schema.snapshot import Difference, Key
from postgres_database.scratch.databases import Scratch
from postgres_database.server import cluster
from postgres_database.server.connection import Database
from postgres_database.sql.names import Name
from postgres_database.workflows.standing import Drift, Drifts

INVALID = "\n-- invalid: no query uses it"
EXTENSIONS = sa.text("SELECT extname FROM pg_extension")


def find(
    project: Project, target: Database, at: Database, session: Scratch, *, repair: bool = False
) -> Drifts:
    """Compare a database, which is only read, with a scratch database at a revision.

    Another spelling of the same expression is no difference, nor is what `alembic.ini` excludes. Invalid indexes and
    constraints that are not validated are differences. The scratch database is as the session has made it.
    With `repair`, find the statements that would bring the database back.

    Raises:
        ExpectedError: The database cannot be read, or not be copied to the scratch server.
    """
    reader = target.read_only()
    with ThreadPoolExecutor() as pool:
        dumps = [*pool.map(dump.read, (reader, at), (project.scope, None))]
    texts = [each.text for each in dumps]
    session.note(at, dumps[1].digest)
    invalid = snapshot.invalid_indexes(reader)
    here, there = map(snapshot.parse, texts)
    notes = dump.omissions(texts[0])
    if here == there and not invalid:
        return Drifts(notes=notes)
    provide(reader, session)
    copies = _copies(texts, session, target)
    compared = _compared(project, *comparison.sides(*copies))
    differences = {difference.key: difference for difference in compared.differences.objects}
    repaired = _Repair()
    if differences and repair:
        repaired = _repair(copies[0], project, compared, differences)
    statements = repaired.by_object()
    objects = {
        key: Drift(key, differences[key].right, differences[key].left, statements.get(key, ()))
        for key in (*statements, *sorted(differences.keys() - statements.keys()))
    }
    script = [text for _, texts in repaired.steps for text in texts]
    for drift in _invalid(invalid, there.objects):  # on the copy it is missing
        if drift.key not in compared.differences.kept:
            objects[drift.key] = drift
            script = [text for text in script if text not in statements.get(drift.key, ())]
            script += drift.repair
    secret = f"a secret belongs in the place of {masks.MASK}, which only you know"
    return Drifts(
        tuple(objects.values()),
        tuple(script),
        (*repaired.losses, *([secret] if masks.MASK in "".join(script) else [])),
        repaired.left,
        compared.differences.kept,
        notes,
    )


def like(
    project: Project, session: Scratch, target: Database, before: Sequence[str]
) -> tuple[Database, tuple[Difference, ...], str]:
    """Return a scratch database like a target: of its schema where that is not what its revision says.

    Args:
        project: Has the scripts, and says what of the target is looked at.
        session: Creates it.
        target: Only read.
        before: Its revisions.

    Returns:
        The database, what of the target differs from its revision, and the dump of the database if nothing does.

    Raises:
        ExpectedError: The target cannot be read, or its dump not restored.
    """
    at = session.at(project, before)
    reader = target.read_only()
    with ThreadPoolExecutor() as pool:
        texts = [*pool.map(dump.take, (reader, at), (project.scope, None))]
    if snapshot.parse(texts[0]) == snapshot.parse(texts[1]):
        return at, (), texts[1]
    provide(reader, session)
    copy, here = snapshot.copies(texts, session.empty)
    differing = snapshot.compare(copy, here, session.empty)
    if not differing:
        return at, (), texts[1]
    if before:
        with runner.open_runner(project, copy) as run:
            run.stamp(before)
    return copy, differing, ""


def _compared(project: Project, left: Side, right: Side) -> Comparison:
    """Compare two schemas in which nothing is kept because the models do not know it."""
    return Comparison(project.scope, left, right, [str(key) for key in left.snapshot.objects])


def provide(reader: Database, session: Scratch) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Make what a database's schema needs of a scratch server; return the roles and tablespaces.

    Raises:
        ExpectedError: The server lacks extensions.
    """
    with reader.connect() as connection, connection.begin():
        roles = tuple(connection.execute(cluster.ROLES).scalars())
        tablespaces = tuple(connection.execute(cluster.TABLESPACES).scalars())
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


def _copies(texts: Sequence[str], session: Scratch, target: Database) -> list[Database]:
    try:
        return snapshot.copies(texts, session.empty)
    except ExpectedError as error:
        hint = f"invoke psql{target.env_option}   (look at it; or name another server: SCRATCH_DSN)"
        raise error.with_(hint=hint) from error


def _invalid(invalid: Mapping[Key, str], there: Mapping[Key, tuple[str, ...]]) -> Iterator[Drift]:
    for key, text in invalid.items():
        name = Name(key.schema, key.name).sql
        known = key in there
        statement = f"REINDEX INDEX CONCURRENTLY {name};"
        repair = statement if known else f"DROP INDEX CONCURRENTLY {name};"
        yield Drift(key, "\n".join(there.get(key, ())), f"{text};{INVALID}", (repair,))


@dataclass(frozen=True)
class _Repair:
    """How a copy of a database was brought back to the revision."""

    steps: Sequence[tuple[Key, list[str]]] = ()
    """By which statements, in their order, and for which object."""
    losses: tuple[str, ...] = ()
    """What they do to rows."""
    left: tuple[Key, ...] = ()
    """What still differs after them."""

    def by_object(self) -> dict[Key, tuple[str, ...]]:
        """Return the statements of each object."""
        statements: dict[Key, tuple[str, ...]] = {}
        for key, texts in self.steps:
            statements[key] = (*statements.get(key, ()), *texts)
        return statements


def _repair(
    copy: Database, project: Project, compared: Comparison, differences: Mapping[Key, Difference]
) -> _Repair:
    """Bring a copy of the database back; what looks renamed is renamed back, so that its rows stay."""
    decisions = Decisions(choose=lambda _: True)
    goal = compared.models
    renamed = _done(copy, matching.find(compared.before.catalog, goal.catalog, decisions))
    if renamed:
        renamed += _done(copy, renames.followers(catalog.take(copy), goal.catalog))
        compared = _compared(project, comparison.side(copy), goal)
    trial = Trial(copy)
    draft.reach_goal(trial, compared, [], {})
    first = next(iter(differences))
    steps = []
    for rename in renamed:
        key = next((key for key in differences if key.name == rename.new.name), first)
        steps.append((key, [renames.statement(rename)]))
    current = first
    for change, way in trial.applied:
        current = next((key for key in _keys(change) if key in differences), current)
        steps.append(
            (current, [operation.text for operation in way if isinstance(operation, RunSql)])
        )
    unlike = compared.unlike(compared.seen(comparison.side(copy)), compared.goal)
    lost = find_losses(compared.before.catalog, compared.goal.catalog)
    return _Repair(steps, lost, tuple(difference.key for difference in unlike))


def _done(copy: Database, names: Iterable[Rename]) -> list[Rename]:
    """Rename in a copy; return what was renamed: all, or nothing if PostgreSQL refuses one of them."""
    wanted = [*names]
    try:
        with copy.connect(usual_path=True) as connection, connection.begin():
            for rename in wanted:
                connection.connection.cursor().execute(renames.statement(rename))
    except psycopg2.Error:
        return []
    return wanted


def _keys(change: Change) -> Iterator[Key]:
    """Yield the objects that a change may be about: a dump lists parts of tables by themselves."""
    key = change.key
    if key is None:
        return
    if key.kind == "TABLE" and change.subject:
        for kind in ALTERED:
            yield Key(kind, key.schema, f"{key.name} {change.subject.part}")
    yield key
