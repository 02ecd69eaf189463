"""The revision of every environment, what is pending there, and whether its schema has drifted."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from postgres_database.errors import ExpectedError
from postgres_database.history import project as projects
from postgres_database.history.graph import Revision
from postgres_database.history.project import Project
from postgres_database.running import log
from postgres_database.running.log import Edited
from postgres_database.server import embedded
from postgres_database.server import environment as environments_of
from postgres_database.server.connection import Database
from postgres_database.server.environment import Environment
from postgres_database.workflows import standing
from postgres_database.workflows.standing import ALEMBIC

if TYPE_CHECKING:  # a target at head does without it
    from postgres_database.running.runner import Runner


@dataclass(frozen=True)
class EnvironmentStatus:
    """The target of an environment."""

    environment: str
    target: str = ""
    version: str = ""
    """The server's version."""
    size: str = ""
    revision: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    run: str = ""
    """The last run of a revision, if that goes on, was interrupted or failed."""
    read_only: str = ""
    """Why what is pending cannot be run there: such as that it is a standby."""
    drift: tuple[str, ...] | None = None
    """The objects that differ from the revision; None if that is unknown."""
    edited: tuple[Edited, ...] = ()
    """Scripts of its revisions that were edited after they ran there."""
    not_compared: tuple[str, ...] = ()
    """What of the target was left out, a line each."""
    drift_fault: str = ""
    """Why it is unknown."""
    fault: str = ""
    """Why nothing is known."""
    hint: str = ""
    """What to type, so that what is unknown is known, or what is pending can be run."""
    env_option: str = ""
    """What to add to a command so that it works on this environment."""

    @property
    def clean(self) -> bool:
        """Whether there is nothing to do."""
        faults = self.fault or self.drift_fault or self.run
        return not (faults or self.pending or self.drift or self.edited)


def collect(project: Project, environments: Sequence[str]) -> tuple[EnvironmentStatus, ...]:
    """Look at the environments of a project in parallel; the empty name is the default one."""

    def look(name: str, environment: Environment | ExpectedError) -> EnvironmentStatus:
        try:
            if isinstance(environment, ExpectedError):
                raise environment
            return _look(project, environment)
        except ExpectedError as error:
            return EnvironmentStatus(name or "default", fault=_told(error), hint=error.hint)

    # Not in a thread: root starts a server as another account, which the whole process is meanwhile.
    ready = [_ready(project, name) for name in environments]
    with ThreadPoolExecutor() as pool:
        return tuple(pool.map(look, environments, ready))


def _ready(project: Project, name: str) -> Environment | ExpectedError:
    """Read an environment and start the embedded servers that it needs; an error of theirs is met again."""
    try:
        environment = environments_of.load(name, root=project.root)
    except ExpectedError as error:
        return error
    for start in embedded.target, embedded.scratch_server:
        with suppress(ExpectedError):
            start(environment)
    return environment


def _look(project: Project, environment: Environment) -> EnvironmentStatus:
    here = projects.load(project.root, environment.models) if environment.models else project
    database = embedded.target(environment, here.versions)
    label, target = environment.label, str(database.dsn)
    try:
        found = standing.settled(here, environment, database)
    except ExpectedError as error:
        return EnvironmentStatus(label, target, fault=_told(error), hint=error.hint)
    if found:
        return EnvironmentStatus(
            label,
            target,
            found.version,
            found.size,
            found.revision,
            drift=(),
            env_option=environment.env_option,
        )
    with ALEMBIC:  # modules that import each other must not be imported by two threads at once
        from postgres_database.running import lock, runner
        from postgres_database.running.missing_scripts import require_scripts
        from postgres_database.server import pooler

    try:
        with runner.open_runner(here, database) as run:
            pooler.require_session(database, run.driver)
            with ALEMBIC:
                current = run.current()
            with run.ours() as (cursor, path):
                cursor.execute(standing.FACTS)
                version, size = cursor.fetchone() or ("", "")
                holder = lock.holder(database, cursor, path)
            read_only = _read_only(run)
    except ExpectedError as error:
        return EnvironmentStatus(label, target, fault=_told(error), hint=error.hint)
    known = EnvironmentStatus(
        label,
        target,
        version,
        size,
        current,
        run=_last_run(database, holder),
        env_option=environment.env_option,
    )
    route = here.route(current)
    try:
        require_scripts(route[0].history, database, current)
    except ExpectedError as error:
        return replace(known, fault=_told(error), hint=error.hint)
    pending = tuple(str(each) for leg in here.legs(current, "heads") for each in leg.plan)
    applied = route[0].history.upto(current)
    try:
        edited = log.edited(database, applied)
    except ExpectedError:  # `run` says that the log cannot be read
        edited = ()
    run_now = _last_run(database, holder, applied)
    known = replace(known, pending=pending, edited=edited, run=run_now)
    if pending and read_only:
        known = replace(known, read_only=read_only.cause, hint=read_only.hint)
    return _with_drift(known, route[0], environment, database)


def _read_only(run: Runner) -> ExpectedError | None:
    try:
        run.require_writable()
    except ExpectedError as error:
        return error
    return None


def _told(error: ExpectedError) -> str:
    """Return in one line what happened, and why."""
    return "; ".join([error.what, *error.cause.splitlines()])


def _last_run(database: Database, holder: str, applied: Collection[Revision] | None = None) -> str:
    """Say of the last run of a revision that it goes on, was interrupted or failed.

    Nothing if it is done, or a stamp has said since that the database is where the run was to lead.
    """
    try:
        last = log.unfinished(database)
    except ExpectedError as error:
        return f"whether a run is unfinished is not known: {error.cause}"
    if last is None:
        return f"another command works on it: {holder}" if holder else ""
    what = f"{last.direction} of revision {last.revision}"
    since = f"{last.started.astimezone():%Y-%m-%d %H:%M:%S} by {last.who} at {last.host}"
    if applied is not None and not holder:
        is_applied = last.revision in {each.id for each in applied}
        if is_applied == (last.direction == "upgrade"):
            return ""
    if last.outcome == log.RUNNING and holder:
        return f"{what} runs since {since}: {holder}"
    ended = "failed" if last.outcome == log.FAILED else "was interrupted"
    return f"{what} {ended}, begun {since}"


def _with_drift(
    known: EnvironmentStatus,
    here: Project,
    environment: Environment,
    database: Database,
) -> EnvironmentStatus:
    with ALEMBIC:
        from postgres_database.scratch import databases
        from postgres_database.workflows import drift

    try:
        with databases.session(here, environment) as session:
            with ALEMBIC:
                at = session.at(here, known.revision)
            drifts = drift.find(here, database, at, session)
    except ExpectedError as error:
        return replace(known, drift_fault=_told(error), hint=known.hint or error.hint)
    drift_names = tuple(str(item.key) for item in drifts.objects)
    return replace(known, drift=drift_names, not_compared=drifts.notes)
