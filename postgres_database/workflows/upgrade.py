"""Bring a target to a revision, up or down, one revision after the other."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace

from postgres_database.errors import ExpectedError
from postgres_database.history import graph
from postgres_database.history.graph import Revision
from postgres_database.history.project import Project
from postgres_database.preflight import drops, preview, row_checks
from postgres_database.preflight.drops import Dropped
from postgres_database.preflight.preview import Printed
from postgres_database.preflight.row_checks import Obstacle, OnNote
from postgres_database.running import journal, missing_scripts, runner, stamped, waiting
from postgres_database.running.autocommit import REPORT, TELL
from postgres_database.running.execution import OnStep
from postgres_database.running.runner import BlockedError, Runner
from postgres_database.server import cluster, transactions
from postgres_database.server.connection import Database
from postgres_database.server.environment import Environment

SHOWN = 5  # names of tables
Confirm = Callable[[str, Sequence[str]], bool]
"""Ask a question after showing some lines; the answer is no unless somebody says yes."""


OnWait = Callable[[str], None]


@dataclass(frozen=True)
class UpgradeResult:
    """What was to be done and what was done."""

    before: tuple[str, ...]
    """Where the target stood."""
    plan: tuple[Revision, ...]
    after: tuple[str, ...]
    """Where the target stands now."""
    at_head: bool
    """Whether that is the end of the history."""
    steps: tuple[Printed, ...] = ()
    """What the revisions of the plan run."""
    obstacles: tuple[Obstacle, ...] = ()
    """Rows that stand in the way, if this was a dry run; any other ends there."""
    dropped: tuple[Dropped, ...] = ()
    """What rows are dropped by the plan of a dry run."""


def upgrade(  # noqa: PLR0913
    project: Project,
    environment: Environment,
    database: Database,
    *,
    target: str = "head",
    dry_run: bool = False,
    confirm: Confirm,
    on_step: OnStep = lambda _: None,
    on_wait: OnWait = lambda _: None,
    wait: float | None = None,
    on_progress: OnWait = lambda _: None,
    on_note: OnNote = lambda _: None,
    skip_row_checks: bool = False,
) -> UpgradeResult:
    """Run the pending revisions, each in a transaction of its own: what is done stays done.

    Args:
        project: Where the scripts are.
        environment: Time limits, and whether it is protected.
        database: The target.
        target: A revision, `head`, or `+1`.
        dry_run: Return the plan and touch nothing.
        confirm: Asked before anything is changed in a protected environment, and before a table with rows is dropped.
        on_step: Called after every revision.
        on_wait: Called if somebody must be waited for, another command or who holds a lock: with who that is.
        wait: How many seconds to wait at most for another command; None: for ever.
        on_progress: Called now and then with how far a long step is.
        on_note: Called with what could not be looked at before.
        skip_row_checks: Do not ask before whether rows stand in the way; tables may be very large.

    Raises:
        ExpectedError: Nobody confirmed, rows stand in the way, or a revision failed and was rolled back.
    """
    scripts = project.history
    with runner.open_runner(project, database) as run, _alone(run, on_wait, wait, unless=dry_run):
        before = run.current()
        missing_scripts.require(scripts, database, before)
        plan = scripts.pending(before, target)
        steps = preview.printed(project, "upgrade", plan)
        look = _Look(database, steps, on_note, skip_row_checks)
        if dry_run or not plan:
            at_head = before == scripts.heads
            seen = look.obstacles(), look.dropped()
            return UpgradeResult(before, plan, before, at_head, steps, *seen)
        look.refuse(run)
        _doubt(run, confirm)
        lost = look.dropped()
        tables = any(each.table for each in lost)
        if environment.protected or tables:
            more = ", which drops tables with their rows" if tables else ""
            ask(confirm, f"upgrade {database.dsn}{more}", look.lines(lost))
        if environment.target is None:
            with database.connect(autocommit=True) as own:
                cluster.provide(own, *graph.cluster_names(plan))
        ready = _ready(run, environment, on_wait, on_progress)
        _patiently(
            ready,
            plan,
            lambda left: ready.upgrade(left, on_step),
            environment.lock_timeout,
            on_wait,
        )
        after = run.current()
        return UpgradeResult(before, plan, after, after == scripts.heads)


def downgrade(  # noqa: PLR0913
    project: Project,
    environment: Environment,
    database: Database,
    *,
    target: str = "-1",
    dry_run: bool = False,
    confirm: Confirm,
    on_step: OnStep = lambda _: None,
    on_wait: OnWait = lambda _: None,
    wait: float | None = None,
    on_progress: OnWait = lambda _: None,
    on_note: OnNote = lambda _: None,
    skip_row_checks: bool = False,
) -> UpgradeResult:
    """Undo revisions down to `target` (a revision, `base`, or `-1`); otherwise like `upgrade`.

    It always asks, and says what rows will be lost: a downgrade drops what its revisions added.
    """
    scripts = project.history
    with runner.open_runner(project, database) as run, _alone(run, on_wait, wait, unless=dry_run):
        before = run.current()
        missing_scripts.require(scripts, database, before)
        plan, _goal = scripts.undone(before, target)
        steps = preview.printed(project, "downgrade", plan)
        look = _Look(database, steps, on_note, skip_row_checks)
        if dry_run or not plan:
            at_head = before == scripts.heads
            seen = look.obstacles(), look.dropped()
            return UpgradeResult(before, plan, before, at_head, steps, *seen)
        look.refuse(run)
        question = f"undo on {database.dsn}, with the data that these revisions added"
        ask(confirm, question, [*look.lines(look.dropped()), *_half_done(database)])
        ready = _ready(run, environment, on_wait, on_progress)
        _patiently(
            ready,
            plan,
            lambda left: ready.downgrade(left, on_step),
            environment.lock_timeout,
            on_wait,
        )
        after = run.current()
        return UpgradeResult(before, plan, after, after == scripts.heads)


def offline(
    project: Project,
    environment: Environment,
    open_target: Callable[[], Database],
    *,
    verb: str,
    target: str,
) -> str:
    """Return the SQL of an upgrade or downgrade instead of running it.

    Args:
        project: Where the scripts are.
        environment: Named in errors.
        open_target: Called only if the start is not part of `target`.
        verb: `upgrade` or `downgrade`.
        target: A revision, or `start:end`, for which no database is needed.
    """
    scripts = project.history
    start, colon, end = target.rpartition(":")
    if colon:
        first = scripts.resolve(start or "base")
        before: tuple[str, ...] = () if first == "base" else (first,)
    else:
        with runner.open_runner(project, open_target()) as run:
            before = run.current()
            missing_scripts.require(scripts, run.database, before)
    if len(before) > 1:
        raise ExpectedError(
            f"the database is at {len(before)} revisions: {', '.join(before)}",
            cause="SQL can be printed only from one revision to another",
            hint=f"invoke {verb}{environment.env_option}",
        )
    if verb == "upgrade":
        plan = scripts.pending(before, end)
        goal = plan[-1].id if plan else ""
    else:
        plan, goal = scripts.undone(before, end)
    if not plan and colon:
        raise ExpectedError(
            f"there is nothing to {verb} from {start or 'base'} to {end}",
            cause="an upgrade leads from an older revision to a newer one, a downgrade back",
            hint="invoke history",
        )
    if not plan:
        return ""
    start = before[0] if before else "base"
    return runner.offline(project, verb, start, goal, environment.env_option)


def _doubt(run: Runner, confirm: Confirm) -> None:
    """Ask before scripts are run from the first one on a database that holds tables, but says no revision.

    Where the log has any run, the database is at base because one was undone or has not come to its end.
    """
    dsn, env = run.database.dsn, run.database.env_option
    with run.connection.begin():
        tables = [
            f"{schema}.{name}"
            for schema, name in stamped.unmarked(run.database, run.connection)
            if run.project.scope.includes(schema, name)
        ]
    if not tables or journal.read(run.database):
        return
    more = f" and {len(tables) - SHOWN} more" if len(tables) > SHOWN else ""
    held = f"it holds {', '.join(tables[:SHOWN])}{more}, and no revision in {run.database.versions.name}"
    adopt = f"invoke baseline-existing{env}"
    lines = [held, f"{adopt} finds out which revision it is, or adopts it, and keeps its rows"]
    if not confirm(f"run every script on {dsn}, as on a new database", lines):
        raise ExpectedError(
            f"{dsn} holds tables but no revision; nothing was changed",
            cause=held,
            hint=f"{adopt}   (or the same command with --yes, if the scripts shall run beside these tables)",
        )


@dataclass(frozen=True)
class _Look:
    """What is to be known of a target before its first statement."""

    database: Database
    steps: Sequence[Printed]
    on_note: OnNote
    skip: bool

    def obstacles(self) -> tuple[Obstacle, ...]:
        if self.skip:
            return ()
        return tuple(row_checks.obstacles(self.database, self.steps, self.on_note))

    def dropped(self) -> tuple[Dropped, ...]:
        return drops.dropped(self.database, self.steps, counted=not self.skip)

    def lines(self, lost: Sequence[Dropped]) -> list[str]:
        """Return what is shown to whoever confirms."""
        return [*(line for step in self.steps for line in step.lines()), *map(str, lost)]

    def refuse(self, run: Runner) -> None:
        """Raise ExpectedError, before anything is changed, if a script is certain to fail."""
        for step in self.steps:
            if step.refusal:
                raise step.refusal
        run.require_writable()
        row_checks.refuse(self.database, self.obstacles())


def _half_done(database: Database) -> list[str]:
    """Say of scripts that were interrupted what a downgrade of those below means for them."""
    return [
        f"revision {each} was interrupted: what it has committed is not undone, and its next run begins anew"
        for each in journal.half_done(database)
    ]


def _ready(run: Runner, environment: Environment, on_wait: OnWait, on_progress: OnWait) -> Runner:
    """Open the log of the target, set the time limits, and let steps tell for whom they wait and how far they are."""
    log = journal.open_journal(run.database, run.connection)
    transactions.limit_waits(run.connection, environment)
    run.connection.info.update({TELL: on_wait, REPORT: on_progress})
    return replace(run, log=log)


def _patiently(
    run: Runner,
    plan: Sequence[Revision],
    move: Callable[[Sequence[Revision]], object],
    lock_timeout: int,
    on_wait: OnWait,
) -> None:
    """Run revisions; one that does not get its locks is rolled back and tried again, a number of times.

    Whoever waits for a lock makes all others wait that come later, so the wait is short and the pauses
    between are long.
    """
    left, pauses = plan, waiting.pauses()
    tried: Revision | None = None
    with run.connection.begin():  # what libpq knows is a pooler's, if there is one
        pid = run.connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
    with waiting.watching(run.database, pid, lock_timeout, on_wait) as watch:
        while True:
            try:
                move(left)
            except BlockedError as error:
                if error.revision != tried:
                    tried, pauses = error.revision, waiting.pauses()
                if watch.seen:
                    error.cause += f"\nheld by {watch.seen}"
                pause = next(pauses, None)
                if pause is None:
                    raise
                on_wait(
                    f"a lock for {tried}, held by {watch.seen or 'somebody'}; again in {pause:.1f} s"
                )
                left = left[left.index(tried) :]
                watch.seen = ""
                time.sleep(pause)
            else:
                return


@contextmanager
def _alone(run: Runner, on_wait: OnWait, wait: float | None, *, unless: bool) -> Iterator[None]:
    with nullcontext() if unless else run.alone(on_wait, wait):
        yield


def ask(confirm: Confirm, question: str, details: Sequence[object]) -> None:
    """Raise ExpectedError unless somebody says yes.

    Args:
        confirm: Asks.
        question: What would be done.
        details: Shown before, a line each.
    """
    if not confirm(question, [str(detail) for detail in details]):
        raise ExpectedError(
            "not confirmed: nothing was changed",
            cause="the answer was not the one that was asked for",
            hint="the same command again; --yes answers every question",
        )
