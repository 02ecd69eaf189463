"""What `check` and `status` found → lines for people."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from postgres_database.commands.advice import for_environment
from postgres_database.console.lines import (
    SHOWN_KEPT,
    look_at,
    places,
    show_kept,
    show_objects,
    show_table,
    show_text,
    some,
)
from postgres_database.console.terminal import advise, say
from postgres_database.history.graph import ONE_HEAD
from postgres_database.schema.snapshot import Difference
from postgres_database.workflows.standing import counted

if TYPE_CHECKING:  # they import what a command that has nothing to do does without
    from postgres_database.workflows.check import CheckResult, TargetCheck
    from postgres_database.workflows.status import EnvironmentStatus


def check(result: CheckResult) -> None:
    """Show what `check` found; that all is well is shown on a terminal only."""
    notes = result.target.drifts.notes if result.target else ()
    for line in (*(f"not compared: {note}" for note in notes), *result.cautions):
        look_at(line)
    if result.clean:
        if sys.stdout.isatty():
            _show_agreement(result)
        return
    if not result.target_only:
        _show_models(result)
    if result.target and result.target.drifts.objects:
        _show_drift(result.target)
    if result.target:
        _show_edited(result.target)


def _show_agreement(result: CheckResult) -> None:
    if not result.target_only:
        say("models and history agree", style="green")
    if result.target:
        say(f"the database is what revision {places(result.target.revision)} says", "green")
        _show_pending(result.target)
    show_kept(result.differences.kept if result.differences else ())


def _show_models(result: CheckResult) -> None:
    if result.unfit:
        say(result.unfit, style="yellow")
    elif result.differences is None:
        say(f"the history has {len(result.heads)} heads: {', '.join(result.heads)}", style="yellow")
        advise(f"next: {ONE_HEAD}")
    elif not result.agree:
        for line in result.differences.detected:
            say(f"detected  {line}")
        show_objects("differs", result.differences.objects, "history", "models")
        advise("next: invoke revision --msg '…'")


def _show_drift(checked: TargetCheck) -> None:
    say(f"{checked.environment}  {checked.target}", style="bold")
    objects = checked.drifts.objects
    if not checked.revision:
        look_at(f"no revision is stamped, but the database has {counted(objects)}")
        advise(f"next: invoke baseline-existing{checked.env_option}")
        return
    for drift in objects:
        show_objects(
            f"drift from revision {places(checked.revision)}",
            [Difference(drift.key, drift.history, drift.target)],
            "history",
            "target",
        )
        by_hand = "(by hand: no statement is known)"
        other = by_hand if drift.key in checked.drifts.unrepaired else "(comes with another object)"
        repair = "\n".join(drift.repair) or other
        show_text("repair", repair)
    for line in checked.drifts.losses:
        look_at(f"the repair, for rows: {line}")
    _show_pending(checked)
    if left := checked.drifts.unrepaired:
        look_at(f"the repair does not bring back {some(left)}")
    advise(
        f"next: invoke psql{checked.env_option}   (the lines under repair, seen to work on a copy);"
        " or put into the models what is right, then invoke revision --msg '…'"
    )
    if checked.pending:
        advise(
            "next: if pending revisions make what was changed by hand:"
            f" invoke baseline-existing{checked.env_option}   (finds which of them the database is)"
        )


def _show_edited(checked: TargetCheck) -> None:
    """Show which scripts are not what ran."""
    for each in checked.edited[:SHOWN_KEPT]:
        look_at(f"{each}\n(git log -p -- {os.path.relpath(each.revision.path)})")
    if others := checked.edited[SHOWN_KEPT:]:
        look_at(f"and {len(others)} more scripts were edited after they ran")
    if checked.unread:
        look_at(checked.unread)
    if checked.edited:
        stamp = f"invoke stamp{checked.env_option} --target {checked.revision[0]}"
        advise(
            "next: put back what ran, and write what is to change into a new revision; or, if what is written is"
            f" right: {stamp}   (it compares the schema first; from then on these scripts count as what ran)"
        )


def _show_pending(checked: TargetCheck) -> None:
    if checked.pending:
        advise(f"pending   {len(checked.pending)}: invoke upgrade{checked.env_option}", style="dim")


def status(environments: Iterable[EnvironmentStatus], heads: Sequence[str]) -> None:
    """Show a table with a row for each environment."""
    titles = ("environment", "target", "server", "size", "revision", "pending", "drift")
    rows, table = list(environments), []
    for row in rows:
        where = "see below" if row.fault else places(row.revision)
        pending = "" if row.fault else str(len(row.pending) or "none")
        style = "red" if row.fault else "yellow" if row.pending or row.drift else ""
        cells = row.environment, row.target, row.version, row.size, where, pending, _drift(row)
        table.append((cells, style))
    show_table(titles, table, {"target"})
    say(f"head: {places(heads)}")
    for row in rows:
        for remark in _remarks(row):
            style = "red" if row.fault else "yellow"
            say(f"{row.environment}: {' '.join(remark.split())}", style=style)
    if len(heads) > 1:
        advise(f"next: {ONE_HEAD}")
        return
    for row in rows:
        if row.hint:
            name = row.environment if row.env_option else ""
            advise(for_environment(f"next: {row.hint}", name))
        for command in _next(row):
            advise(f"next: invoke {command}{row.env_option}")


def _remarks(row: EnvironmentStatus) -> Iterator[str]:
    if row.drift and row.revision:
        yield f"not as its revision says: {some(row.drift)}"
    yield from map(str, row.edited[:SHOWN_KEPT])
    if others := row.edited[SHOWN_KEPT:]:
        yield f"and {len(others)} more scripts were edited after they ran"
    yield from (f"not compared: {note}" for note in row.not_compared)
    if row.read_only:
        yield f"what is pending cannot be run there: {row.read_only}"
    yield from filter(None, (row.run, row.fault, row.drift_fault))


def _next(row: EnvironmentStatus) -> Iterator[str]:
    if row.drift and not row.revision:
        yield "baseline-existing"
    elif not row.fault:
        yield from ["check"] * bool((row.drift or row.edited) and row.env_option)
        if row.edited and not row.env_option:  # there is no check of this target
            right = "if what is written is right; else put back what ran"
            yield f"stamp --target {row.revision[0]}   ({right})"
        yield from ["upgrade"] * bool(row.pending and not row.read_only)


def _drift(row: EnvironmentStatus) -> str:
    if row.fault:
        return ""
    if row.drift is None:
        return "see below"
    return counted(row.drift) if row.drift else "none"
