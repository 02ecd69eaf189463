"""Bring a target to a revision, up or down, one revision after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from postgres_database.errors import ExpectedError
from postgres_database.history import graph
from postgres_database.history.graph import Revision
from postgres_database.history.project import Leg, Project
from postgres_database.preflight.look import Look
from postgres_database.running import log, stamped
from postgres_database.running.listener import SILENT, Listener
from postgres_database.server import transactions
from postgres_database.server.connection import Database
from postgres_database.server.environment import Environment
from postgres_database.workflows.standing import UpgradeResult

if TYPE_CHECKING:  # what scripts, rows, a dry run, a plan and --fast need is imported there
    from postgres_database.preflight.preview import Printed
    from postgres_database.reviewing.pins import Plan
    from postgres_database.running.runner import Runner

SHOWN = 5  # names of tables


@dataclass(frozen=True)
class Move:
    """What an upgrade or a downgrade is to do."""

    verb: str = "upgrade"
    """Or `downgrade`."""
    target: str = "head"
    """A revision, `head`, `base`, or a number of steps such as `+1` or `-1`."""
    dry_run: bool = False
    """Return the plan and touch nothing."""
    skip_row_checks: bool = False
    """Do not look for violations beforehand; tables may be very large."""
    reviewed: Plan | None = None
    """What a review has pinned: exactly that is run, instead of what leads to `target`."""
    fast: bool = False
    """On an empty database make at once what the revisions make, where that is proved equal."""
    wait: float | None = None
    """How many seconds to wait at most for another command; None: for ever."""


def perform(
    project: Project,
    environment: Environment,
    database: Database,
    move: Move,
    listener: Listener = SILENT,
) -> UpgradeResult:
    """Run the revisions of a move, each in a transaction of its own: what is done stays done.

    A downgrade always asks, and says what rows will be lost: it drops what its revisions added. An upgrade asks in a
    protected environment, before it drops a table with rows, and on a database with tables but no revision.

    Raises:
        ExpectedError: It was not confirmed, rows violate what is required, a revision failed and was rolled back, or
            something is not as it was when it was reviewed.
    """
    if move.fast and (done := _at_once(project, environment, database, move)):
        return done

    from postgres_database.running import runner  # noqa: PLC0415 - see above
    from postgres_database.server import cluster  # noqa: PLC0415 - see above

    scripts = project.history
    if move.reviewed:
        from postgres_database.reviewing import pins  # noqa: PLC0415 - see above

        pins.require_files(project, move.reviewed, environment.env_option)
    with (
        runner.open_runner(project, database) as run,
        nullcontext() if move.dry_run else run.alone(listener, move.wait),
    ):
        before, (here, *_) = run.require_route()
        legs: tuple[Leg, ...]
        if move.reviewed:
            legs = (_reviewed(project, database, before, move.reviewed, listener),)
        elif move.verb == "upgrade":
            legs = project.legs(before, move.target)
        else:
            legs = (Leg(here, before, here.undone(before, move.target)[0]),)
        plan = tuple(revision for leg in legs for revision in leg.plan)
        empty = _is_empty(run, before)
        unseen = empty and not (move.dry_run or environment.protected)
        steps = () if unseen else _printed(legs, move.verb)
        look = Look(database, steps, listener, move.skip_row_checks)
        if move.dry_run or not plan:
            at_head = before == scripts.heads
            seen = look.violations(), look.dropped()
            from postgres_database.reviewing import cautions  # noqa: PLC0415 - see above

            waits = cautions.of_legs(environment, database, move.verb, legs, listener)
            return UpgradeResult(before, plan, before, at_head, steps, *seen, waits)
        run.require_writable()
        look.require_runnable()
        if move.verb == "upgrade":
            _confirm_upgrade(run, environment, look, listener, empty=empty)
            if environment.target is None:
                with database.connect(autocommit=True) as own:
                    cluster.provide(own, *graph.cluster_names(plan))
        else:
            question = f"downgrade {database.dsn}, with the data that these revisions added"
            listener.require_yes(question, [*look.lines(look.dropped()), *_half_done(database)])
        started = time.monotonic()
        listener.plan(plan)
        ready = replace(_ready(run, environment, listener), unwaited=unseen)
        restored = move.fast and empty and _restored(ready, environment, plan, listener)
        for leg in () if restored else legs:
            on = replace(ready, project=leg.project)
            _retry_while_locked(on, environment, move.verb, leg.plan, listener)
        seconds = time.monotonic() - started
        after = run.current()
        at_head = after == scripts.heads
        return UpgradeResult(before, plan, after, at_head, seconds=seconds, restored=restored)


def _printed(legs: Sequence[Leg], verb: str) -> tuple[Printed, ...]:
    """Return what the revisions of a move run."""
    from postgres_database.preflight import preview  # noqa: PLC0415 - see above

    return tuple(step for leg in legs for step in preview.printed(leg.project, verb, leg.plan))


def _is_empty(run: Runner, before: Sequence[str]) -> bool:
    """Tell whether a database has no table, so that no statement can meet a row: what it runs need not be read."""
    if before:
        return False
    with run.ours() as ours:
        return not stamped.unmarked(run.database, *ours)


def _at_once(
    project: Project, environment: Environment, database: Database, move: Move
) -> UpgradeResult | None:
    """Restore what is kept of the whole history; None where `perform` must look, ask or tell."""
    line, asks = project.line, move.dry_run or move.reviewed or environment.protected
    if line is None or asks or move.target not in {"head", "heads", line.head}:
        return None

    from postgres_database.proving import image  # noqa: PLC0415 - see above

    if (done := image.put(project, line, environment, database)) is None:
        return None
    plan, seconds = done
    return UpgradeResult((), plan, (line.head,), at_head=True, seconds=seconds, restored=True)


def _restored(
    run: Runner, environment: Environment, plan: Sequence[Revision], listener: Listener
) -> bool:
    """Make at once what the revisions of a plan make; if that is not possible, the listener hears why."""
    from postgres_database.proving import image  # noqa: PLC0415 - see above

    into = run.journal.log if run.journal else None
    try:
        sql = image.of(run.project, environment, plan, listener)
        limits = transactions.limits(environment)
        image.restore(sql, run.database, run.driver, plan, into=into, limits=limits)
    except ExpectedError as error:
        why = error.cause.partition("\n")[0]
        listener.note(f"the revisions are run, one after the other: {error.what}: {why}")
        return False
    return True


def _reviewed(
    project: Project,
    database: Database,
    before: tuple[str, ...],
    reviewed: Plan,
    listener: Listener,
) -> Leg:
    """Return what was reviewed, if all is as it was; files may have changed while another command was waited for."""
    from postgres_database.reviewing import durations, pins  # noqa: PLC0415 - see above

    plan = pins.require_files(project, reviewed, database.env_option)
    pins.require_state(project, database, before, reviewed)
    if reviewed.target != str(database.dsn):
        listener.note(
            f"the plan was made for {reviewed.target}; {database.dsn} is in the same state"
        )
    elif fault := durations.keep(project.root, database.dsn.place, reviewed.estimates):
        listener.note(fault)
    return Leg(project, before, plan)


def _confirm_upgrade(
    run: Runner, environment: Environment, look: Look, listener: Listener, *, empty: bool
) -> None:
    """Ask what an upgrade asks before it changes anything."""
    if not empty:
        _confirm_all_scripts(run, listener)
    lost = look.dropped()
    tables = any(dropped.table for dropped in lost)
    if environment.protected or tables:
        more = ", which drops tables with their rows" if tables else ""
        listener.require_yes(f"upgrade {run.database.dsn}{more}", look.lines(lost))


def offline(
    project: Project, environment: Environment, open_target: Callable[[], Database], move: Move
) -> str:
    """Return the SQL of a move instead of running it; for `start:end` no target is opened."""
    from postgres_database.running import runner  # noqa: PLC0415 - see above

    verb = move.verb
    start, colon, end = move.target.rpartition(":")
    if colon:
        here = project.having(start or "base")
        first = here.history.resolve(start or "base")
        before: tuple[str, ...] = () if first == "base" else (first,)
    else:
        with runner.open_runner(project, open_target()) as run:
            before, (here, *_) = run.require_route()
    if len(before) > 1:
        raise ExpectedError(
            f"the database is at {len(before)} revisions: {', '.join(before)}",
            cause="SQL can be printed only from one revision to another",
            hint=f"invoke {verb}{environment.env_option}",
        )
    ways: list[tuple[Project, str, str]] = []
    if verb == "upgrade":
        legs = (leg for leg in project.legs(before, end) if leg.plan)
        ways = [(leg.project, "".join(leg.before), leg.plan[-1].id) for leg in legs]
    else:
        plan, goal = here.undone(before, end)
        ways = [(here, "".join(before), goal)] if plan else []
    if not ways and colon:
        raise ExpectedError(
            f"there is nothing to {verb} from {start or 'base'} to {end}",
            cause="an upgrade leads from an older revision to a newer one, a downgrade back",
            hint="invoke history",
        )
    return "".join(
        runner.offline(each, verb, start or "base", goal, environment.env_option)
        for each, start, goal in ways
    )


def _confirm_all_scripts(run: Runner, listener: Listener) -> None:
    """Ask before all scripts are run on a database that has tables but no revision.

    If its log has a run, the database is at base because that was undone or interrupted.
    """
    dsn, env = run.database.dsn, run.database.env_option
    with run.ours() as ours:
        tables = [
            f"{schema}.{name}"
            for schema, name in stamped.unmarked(run.database, *ours)
            if run.project.scope.includes(schema, name)
        ]
    if not tables or log.read(run.database):
        return
    more = f" and {len(tables) - SHOWN} more" if len(tables) > SHOWN else ""
    held = f"it holds {', '.join(tables[:SHOWN])}{more}, and no revision in {run.database.versions.name}"
    adopt = f"invoke baseline-existing{env}"
    lines = [held, f"{adopt} finds out which revision it is, or adopts it, and keeps its rows"]
    refused = ExpectedError(
        f"{dsn} holds tables but no revision; nothing was changed",
        cause=held,
        hint=f"{adopt}   (or the same command with --yes, if the scripts shall run beside these tables)",
    )
    try:
        agreed = listener.confirm(f"run every script on {dsn}, as on a new database", lines)
    except ExpectedError as error:  # there is no terminal, and --yes is not what is meant
        raise refused from error
    if not agreed:
        raise refused


def _half_done(database: Database) -> list[str]:
    """Say of interrupted scripts what a downgrade of the revisions below means for them."""
    try:
        revisions = log.half_done(database)
    except ExpectedError as error:
        return [f"whether a revision was interrupted is not known: {error.cause}"]
    return [
        f"revision {revision} was interrupted: what it has committed is not undone, and its next run begins anew"
        for revision in revisions
    ]


def _ready(run: Runner, environment: Environment, listener: Listener) -> Runner:
    """Open the log of the target, set the time limits, and let the steps of scripts report to the listener."""
    from postgres_database.running import context, journal  # noqa: PLC0415 - see above

    target_log = journal.open_journal(run.database, run.connection)
    if target_log and target_log.log.fault:
        listener.note(target_log.log.fault)
    transactions.limit_waits(run.connection, environment)
    context.of(run.connection).listener = listener
    return replace(run, journal=target_log)


def _retry_while_locked(
    run: Runner,
    environment: Environment,
    verb: str,
    plan: Sequence[Revision],
    listener: Listener,
) -> None:
    """Run revisions; one that does not get its locks is rolled back and tried again, a number of times.

    All later sessions wait behind one that waits for a lock, so the wait is short and the pauses between are long.
    """
    from postgres_database.running import waiting  # noqa: PLC0415 - see above
    from postgres_database.running.runner import BlockedError  # noqa: PLC0415 - see above

    left, pauses = plan, waiting.pauses()
    tried: Revision | None = None
    with run.connection.begin():  # what libpq knows is a pooler's, if there is one
        pid = run.connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
    with waiting.watching(run.database, pid, environment.lock_timeout, listener.wait) as watch:
        while True:
            try:
                run.run(verb, left, listener)
            except BlockedError as error:
                if error.revision != tried:
                    tried, pauses = error.revision, waiting.pauses()
                pause = next(pauses, None)
                if pause is None:
                    held = f"\nheld by {watch.seen}" if watch.seen else ""
                    raise error.with_(cause=error.cause + held) from error
                listener.wait(
                    f"a lock for {tried}, held by {watch.seen or 'another session'}; again in {pause:.1f} s"
                )
                left = left[left.index(tried) :]
                watch.seen = ""
                time.sleep(pause)
            else:
                return
