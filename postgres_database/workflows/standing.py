"""Where a target stands, read in three statements and from the headers of the scripts.

A command that has nothing to do imports neither SQLAlchemy, Alembic nor the models: what they would say is known here,
or it is asked them where anything is unusual, so that there is one place for each error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Sized
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import psycopg2

from postgres_database.errors import ExpectedError
from postgres_database.history import script_texts
from postgres_database.history.graph import Revision
from postgres_database.history.project import Project
from postgres_database.history.script_texts import Line
from postgres_database.running import log, stamped
from postgres_database.server.connection import Database
from postgres_database.server.environment import Environment

if TYPE_CHECKING:
    from postgres_database.preflight.drops import Dropped
    from postgres_database.preflight.preview import Printed
    from postgres_database.preflight.row_checks import Violation
    from postgres_database.schema.dump import Dump
    from postgres_database.schema.snapshot import Key
    from postgres_database.scratch.known import Template

ALEMBIC = Lock()
"""Alembic runs one thing at a time, what scripts call `op` belongs to the process; so does stdout where models load."""
FACTS = """
    SELECT split_part(current_setting('server_version'), ' ', 1), pg_size_pretty(pg_database_size(current_database()))
"""


@dataclass(frozen=True)
class Drift:
    """An object in which a database is not what a revision says."""

    key: Key
    history: str
    """Its DDL by the revision; empty where the revision has no such object."""
    target: str
    """Its DDL in the database; empty where that has none."""
    repair: tuple[str, ...]
    """Statements for this object, out of those that were seen to bring a copy of the database back."""


@dataclass(frozen=True)
class Drifts:
    """In what a database differs from a revision."""

    objects: tuple[Drift, ...] = ()
    """In the order in which they can be repaired."""
    repair: tuple[str, ...] = ()
    """All statements that bring the database back, in their order."""
    losses: tuple[str, ...] = ()
    """What these statements do to rows: which they drop, which they may refuse, a line each."""
    unrepaired: tuple[Key, ...] = ()
    """Objects that they do not bring back: no statement is known."""
    kept: tuple[Key, ...] = ()
    """What the history does not manage: new partitions, tables of other tools."""
    notes: tuple[str, ...] = ()
    """What of the database was not compared, a line each."""


@dataclass(frozen=True)
class UpgradeResult:
    """The plan, and the target before and after it."""

    before: tuple[str, ...]
    """The revisions of the target before."""
    plan: tuple[Revision, ...]
    after: tuple[str, ...]
    """Its revisions now."""
    at_head: bool
    """Whether that is the end of the history."""
    steps: tuple[Printed, ...] = ()
    """What the revisions of the plan run."""
    violations: tuple[Violation, ...] = ()
    """Rows that violate what the plan requires, in a dry run; any other run ends there with an error."""
    dropped: tuple[Dropped, ...] = ()
    """Rows that the plan would drop, in a dry run."""
    cautions: tuple[str, ...] = ()
    """What others would wait for while the plan of a dry run runs."""
    seconds: float = 0
    """How long the revisions took."""
    restored: bool = False
    """Whether what they make was made at once, and none of them was run."""


def at_head(
    project: Project, database: Database, target: str, *, dry_run: bool
) -> UpgradeResult | None:
    """Return the result of an upgrade that has nothing to do; None where `upgrade.perform` must tell.

    Args:
        project: Whose scripts.
        database: The target.
        target: As in `Move`.
        dry_run: Whether nothing would be changed. Any other upgrade waits for a command that changes the database now.

    Raises:
        ExpectedError: The database cannot be reached, or its version table not be trusted.
    """
    seen = _glance(database)
    if seen is None or not seen.revisions or not (seen.alone or dry_run):
        return None
    line = project.line
    if line is None or target not in {"head", "heads", line.head} or seen.revisions != (line.head,):
        return None
    return UpgradeResult(seen.revisions, (), seen.revisions, at_head=True)


@dataclass(frozen=True)
class Settled:
    """A target at the head of the history, without drift."""

    revision: tuple[str, ...]
    version: str
    """The server's version."""
    size: str


def settled(project: Project, environment: Environment, database: Database) -> Settled | None:
    """Return where a target stands if nothing is to be said of it; None where its workflow must compare, or tell why.

    Raises:
        ExpectedError: The database cannot be reached, or its version table not be trusted.
    """
    with looking(project, database) as look:
        if look is None:
            return None

        from postgres_database.scratch import known
        from postgres_database.server import embedded

        with suppress(ExpectedError, psycopg2.Error):
            return look.settled(known.find(embedded.scratch_server(environment), look.line))
    return None


@contextmanager
def looking(project: Project, database: Database) -> Iterator[Look | None]:
    """Read a target at head beside the block; None where it is not there, or another command changes it.

    Raises:
        ExpectedError: As `settled` does.
    """
    line = project.line
    if line is None:
        yield None
        return
    with ExitStack() as stack:
        dumped = None
        with database.held() as here:
            seen = _glance(here)
            if seen and seen.revisions == (line.head,) and seen.alone:
                line.texts  # noqa: B018 - they are kept, and now nobody hears of each file that is opened; see `reads`

                from postgres_database.schema import dump

                with suppress(ExpectedError, psycopg2.Error):
                    reading = dump.reading(here.read_only(), project.scope)
                    dumped = stack.enter_context(reading)
        yield Look(project, database, line, dumped) if dumped else None


@dataclass(frozen=True)
class Look:
    """What is read of a target at head."""

    project: Project
    database: Database
    line: Line
    """Whose head it is."""
    dumped: Callable[[], Dump]
    """Waits for its dump."""

    def settled(self, template: Template | None) -> Settled | None:
        """Return where the target stands if nothing is to be said of it; see `settled`.

        Its dump is then that of the template of the head, which a command has compared today, and whose scripts have
        not changed since.

        Args:
            template: What is known of that one.
        """
        if template is None or not template.dumped:
            return None

        from postgres_database.schema import snapshot
        from postgres_database.scratch import known

        with suppress(ExpectedError, psycopg2.Error):
            with ALEMBIC:
                current = known.is_current(self.project, template)
            if not current:
                return None
            with self.database.held() as here:
                if not _as_run(log.read(here), self.line) or snapshot.invalid_indexes(here):
                    return None
                with here.reading() as (cursor, _):
                    cursor.execute(FACTS)
                    version, size = cursor.fetchone() or ("", "")
            # The dump last: what is asked before that is asked while it is made.
            if self.dumped().digest == template.dumped:
                return Settled((self.line.head,), version, size)
        return None


def _as_run(entries: Sequence[log.Entry], line: Line) -> bool:
    """Tell whether the last run is done, and the scripts are those that ran."""
    if entries and entries[-1].outcome != log.DONE:
        return False
    last = {entry.revision: entry for entry in entries if entry.outcome == log.DONE}
    ran = {
        Path(line.scripts[entry.revision]): entry.digest
        for entry in last.values()
        if entry.direction == "upgrade" and entry.digest and entry.revision in line.scripts
    }
    return script_texts.digests(ran, line.texts) == ran


def counted(things: Sized) -> str:
    """Say how many objects there are."""
    return "1 object" if len(things) == 1 else f"{len(things)} objects"


def heads(project: Project) -> tuple[str, ...]:
    """Return the end of the history.

    Raises:
        ExpectedError: A script cannot be read, or the scripts do not fit together.
    """
    return (project.line.head,) if project.line else project.history.heads


def revisions(project: Project, database: Database) -> tuple[Revision, ...]:
    """Return the revisions that a database is stamped with.

    Raises:
        ExpectedError: They cannot be read, or a script is missing.
    """
    line = project.line
    seen = _glance(database) if line else None
    if line and seen and len(seen.revisions) <= 1 and line.scripts.keys() >= {*seen.revisions}:
        return tuple(map(line.revision, seen.revisions))
    from postgres_database.running import runner

    with runner.open_runner(project, database) as run:
        ids, (here, *_) = run.require_route()
    return tuple(here.history[revision_id] for revision_id in ids)


def _glance(database: Database) -> stamped.Glance | None:
    """Read a version table; None where the server refuses that, which has its words elsewhere."""
    try:
        return stamped.glance(database)
    except psycopg2.Error:
        return None
