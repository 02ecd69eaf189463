"""Results → lines on the terminal: what a command did, what to look at, what to type next."""

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from postgres_database.console.terminal import OUT, advise, raw, say
from postgres_database.history.graph import History, Revision
from postgres_database.running.journal import DONE, Entry
from postgres_database.schema.snapshot import Difference, Key
from postgres_database.server.environment import Environment
from postgres_database.workflows.adoption import BaselineResult
from postgres_database.workflows.check import CheckResult, TargetCheck
from postgres_database.workflows.revision import RevisionResult
from postgres_database.workflows.stamp import counted, describe
from postgres_database.workflows.status import EnvironmentStatus
from postgres_database.workflows.upgrade import UpgradeResult

SHOWN_KEPT = 5
SHOWN_DRIFTS = 20
FILL = "next: invoke edit, and say in op.backfill what the rows that are there get; then invoke upgrade"


def plan(result: UpgradeResult, verb: str) -> None:
    """Show what an upgrade or downgrade would run."""
    say(f"at {_places(result.before)}")
    for step in result.steps:
        first, *others = step.lines()
        say(f"  would {verb}  {first}")
        for line in others:
            say(f"  {line}", style="dim")
    for line in map(str, (*result.dropped, *result.violations, *result.cautions)):
        _look_at(line)
    if not result.plan:
        say(_nothing(result, verb))


def upgrade(result: UpgradeResult, verb: str) -> None:
    """Show where the target stands now."""
    revisions = f"{len(result.plan)} revision{'s' if len(result.plan) > 1 else ''}"
    took = f"   ({revisions} in {result.seconds:.2f} s)"
    now = f"now at {'head: ' if result.at_head else ''}{_places(result.after)}{took}"
    say(now if result.after != result.before else _nothing(result, verb), style="green")


def _nothing(result: UpgradeResult, verb: str) -> str:
    at_head = "head: " if result.at_head else ""
    return f"already at {at_head}{_places(result.before)}; nothing to {verb}"


def _places(revisions: Sequence[str]) -> str:
    return ", ".join(revisions) or "base"


def revision(result: RevisionResult) -> None:
    """Show what was written, what a human must still look at, and what to type next."""
    for word in ("renamed", "detected", "completed"):
        for line in getattr(result, word):
            say(f"{word:<9} {line}")
    for path in filter(None, (result.path, result.then)):
        say(f"wrote     {_relative(path)}")
    for line in result.empty:
        say(f"no rows   {line}", style="dim")
    failures = [f"on a scratch database: {result.failure}"] if result.failure else []
    for line in (*result.cautions, *failures, *result.faults):
        _look_at(line)
    _show_objects("the upgrade does not make", result.not_upgraded, "history", "models")
    _show_objects("the downgrade does not bring back", result.not_downgraded, "after", "before")
    _show_kept(result.kept)
    _show_next(result)
    if result.sql:
        raw(result.sql)


def _show_next(result: RevisionResult) -> None:
    if result.path is None and result.proved:
        say("nothing to do: models and history agree", style="green")
    elif result.path is None:
        say("nothing written: what differs must be written by hand", style="yellow")
        advise("next: invoke revision --empty --msg '…'   (and op.run_sql for these objects)")
    elif not result.tried:
        advise("next: write upgrade() and downgrade(), then invoke upgrade")
    elif result.proved:
        plural = "s" if result.then else ""
        proved = (
            "proved    up, down and up again on a scratch database; the result equals the models"
        )
        say(proved, style="green")
        advise(FILL if result.unfilled else f"next: review the script{plural}, then invoke upgrade")
    else:
        advise("next: mend the script, remove the error from its upgrade(), then invoke check")


def _show_kept(kept: Sequence[Key]) -> None:
    if kept:
        say(f"kept      {len(kept)} objects that the models do not know: {_some(kept)}", "dim")


def check(result: CheckResult) -> None:
    """Show what `check` found; that all is well is shown on a terminal only."""
    notes = result.target.drifts.notes if result.target else ()
    for line in (*(f"not compared: {note}" for note in notes), *result.cautions):
        _look_at(line)
    if result.clean:
        if sys.stdout.isatty():
            _show_agreement(result)
        return
    if not result.target_only:
        _show_models(result)
    if result.target and result.target.drifts.objects:
        _show_drift(result.target)


def _show_agreement(result: CheckResult) -> None:
    if not result.target_only:
        say("models and history agree", style="green")
    if result.target:
        say(f"the database is what revision {_places(result.target.revision)} says", "green")
        _show_pending(result.target)
    _show_kept(result.differences.kept if result.differences else ())


def _show_models(result: CheckResult) -> None:
    if result.unfit:
        say(result.unfit, style="yellow")
    elif result.differences is None:
        say(f"the history has {len(result.heads)} heads: {', '.join(result.heads)}", style="yellow")
        advise('next: invoke merge --msg "Merge the heads"')
    elif not result.agree:
        for line in result.differences.detected:
            say(f"detected  {line}")
        _show_objects("differs", result.differences.objects, "history", "models")
        advise("next: invoke revision --msg '…'")


def _show_drift(checked: TargetCheck) -> None:
    say(f"{checked.environment}  {checked.target}", style="bold")
    objects = checked.drifts.objects
    if not checked.revision:
        _look_at(f"no revision is stamped, but the database has {counted(objects)}")
        advise(f"next: invoke baseline-existing{checked.env_option}")
        return
    for drift in objects:
        _show_objects(
            f"drift from revision {_places(checked.revision)}",
            [Difference(drift.key, drift.history, drift.target)],
            "history",
            "target",
        )
        by_hand = "(by hand: no statement is known)"
        other = by_hand if drift.key in checked.drifts.unrepaired else "(comes with another object)"
        repair = "\n".join(drift.repair) or other
        _show_text("repair", repair)
    for line in checked.drifts.losses:
        _look_at(f"the repair, for rows: {line}")
    _show_pending(checked)
    if left := checked.drifts.unrepaired:
        _look_at(f"the repair does not bring back {_some(left)}")
    advise(
        f"next: invoke psql{checked.env_option}   (the lines under repair, seen to work on a copy);"
        " or put into the models what is right, then invoke revision --msg '…'"
    )


def _show_pending(checked: TargetCheck) -> None:
    if checked.pending:
        advise(f"pending   {len(checked.pending)}: invoke upgrade{checked.env_option}", style="dim")


def _show_objects(title: str, differences: Iterable[Difference], left: str, right: str) -> None:
    for difference in differences:
        _look_at(f"{title}: {difference.key}")
        for name, text in ((left, difference.left), (right, difference.right)):
            _show_text(name, text)


def _look_at(text: str) -> None:
    indented = text.strip().replace("\n", "\n          ")
    say(f"look at   {indented}", style="yellow")


def _show_text(name: str, text: str) -> None:
    body = text.strip().replace("\n", "\n              ") or "(none)"
    say(f"  {name + ':':<11} {body}", style="dim")


def status(environments: Iterable[EnvironmentStatus], heads: Sequence[str]) -> None:
    """Show a table with a row for each environment."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("environment", "target", "server", "size", "revision", "pending", "drift"):
        table.add_column(title, overflow="fold")
    rows = list(environments)
    for row in rows:
        where = "see below" if row.fault else _places(row.revision)
        pending = "" if row.fault else str(len(row.pending) or "none")
        style = "red" if row.fault else "yellow" if row.pending or row.drift else ""
        cells = row.environment, row.target, row.version, row.size, where, pending, _drift(row)
        table.add_row(*cells, style=style)
    OUT.print(table, soft_wrap=False)
    say(f"head: {_places(heads)}")
    for row in rows:
        for remark in _remarks(row):
            style = "red" if row.fault else "yellow"
            say(f"{row.environment}: {' '.join(remark.split())}", style=style)
    if len(heads) > 1:
        advise('next: invoke merge --msg "Merge the heads"')
        return
    for row in rows:
        for command in _next(row):
            advise(f"next: invoke {command}{row.env_option}")


def _remarks(row: EnvironmentStatus) -> Iterator[str]:
    if row.drift and row.revision:
        yield f"not as its revision says: {_some(row.drift)}"
    yield from (f"not compared: {note}" for note in row.not_compared)
    yield from filter(None, (row.run, row.fault, row.drift_fault))


def _next(row: EnvironmentStatus) -> Iterator[str]:
    if row.drift and not row.revision:
        yield "baseline-existing"
    elif not row.fault:
        yield from ["check"] * bool(row.drift and row.env_option)
        yield from ["upgrade"] * bool(row.pending)


def _drift(row: EnvironmentStatus) -> str:
    if row.fault:
        return ""
    if row.drift is None:
        return "see below"
    return counted(row.drift) if row.drift else "none"


def current(revisions: Sequence[Revision], heads: Sequence[str]) -> None:
    """Show the revisions that a target is stamped with."""
    for revision in revisions:
        say(f"{revision}" + ("  (head)" if revision.id in heads else ""))
    if not revisions:
        say("base: no revision is applied")


def log(entries: Sequence[Entry], scripts: History) -> None:
    """Show what was run on a target, the newest first."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("started", "seconds", "what", "revision", "outcome", "who", "tool"):
        table.add_column(title, overflow="fold")
    for entry in reversed(entries):
        started = entry.started.astimezone().strftime("%Y-%m-%d %H:%M:%S")
        seconds = "" if entry.seconds is None else f"{entry.seconds:.2f}"
        name = str(scripts[entry.revision]) if entry.revision in scripts else entry.revision
        who = f"{entry.who} at {entry.host}"
        style = "" if entry.outcome == DONE else "yellow"
        cells = started, seconds, entry.direction, name, entry.outcome, who, entry.tool
        table.add_row(*cells, style=style)
    if entries:
        OUT.print(table, soft_wrap=False)
    else:
        say("nothing was run here by upgrade or downgrade, or its user may not keep a log")


def baseline(result: BaselineResult, environment: Environment) -> None:
    """Show what was adopted, or which revision the target is, and what comes next."""
    for note in () if result.path else result.notes:
        _look_at(f"{note}")
    if result.path is None:
        _show_match(result, environment)
        return
    say(f"wrote     {_relative(result.path)}")
    say(f"wrote     {_relative(result.path.with_suffix('.sql'))}")
    say(
        f"proved    an empty database upgraded with it has the same {result.objects} objects",
        style="green",
    )
    if result.respelled:
        say(
            f"same      {_some(result.respelled)}: equal, but PostgreSQL prints it otherwise", "dim"
        )
    say(f"stamped   {result.revision}  (no statement of the script was run)")
    for note in result.notes:
        _look_at(f"{note}")
    if result.unlike_models:
        count, names = counted(result.unlike_models), _some(result.unlike_models)
        _look_at(f"the models differ from the database in {count}: {names}")
        advise(
            f"next: invoke revision --msg '…', review it, then invoke upgrade{environment.env_option}"
        )
    elif result.unlike_models is not None:
        advise("models and database agree; next: change a model, then invoke revision --msg '…'")
    else:
        advise(
            f"next: invoke models{environment.env_option} --into models.py   (writes the models of this database;"
            " or mend those that are there, or target_metadata in alembic.ini), then invoke check"
        )


def _show_match(result: BaselineResult, environment: Environment) -> None:
    match = result.match
    if match is None:
        return
    state = _places(match.state)
    if not match.drifts.objects:
        say(
            f"proved    the database has the same {result.objects} objects as revision {state}",
            "green",
        )
        say(f"stamped   {state}  (no statement of a script was run)")
        upgrade = f"invoke upgrade{environment.env_option}"
        advise(f"next: {upgrade if result.pending else f'invoke check{environment.env_option}'}")
        return
    _look_at(f"the database is no revision of this history; {state} comes nearest")
    for drift in match.drifts.objects[:SHOWN_DRIFTS]:
        _look_at(f"{describe(drift)}")
        _show_text("history", drift.history)
        _show_text("target", drift.target)
    if len(match.drifts.objects) > SHOWN_DRIFTS:
        say(f"  and {len(match.drifts.objects) - SHOWN_DRIFTS} more")
    say("nothing was written")
    advise(
        f"next: bring the database to a revision, or invoke stamp{environment.env_option} --target"
        f" {state} --yes, then invoke check{environment.env_option}; or invoke init --fresh for a history"
        " of its own"
    )


def _some(names: Sequence[object]) -> str:
    return ", ".join([*map(str, names[:SHOWN_KEPT]), *(["…"] if names[SHOWN_KEPT:] else [])])


def servers(lines: Iterable[tuple[str, Any]]) -> None:
    """Show a name and a fact, a line each."""
    for name, fact in lines:
        say(f"{name:<9} {fact}")


def _relative(path: Path) -> str:
    return os.path.relpath(path)
