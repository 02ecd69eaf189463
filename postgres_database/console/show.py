"""Results → lines on the terminal: what a command did, what to look at, what to type next."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from postgres_database.console.lines import (
    look_at,
    places,
    show_kept,
    show_objects,
    show_table,
    show_text,
    some,
)
from postgres_database.console.terminal import advise, raw, say
from postgres_database.history.graph import History
from postgres_database.reviewing import durations
from postgres_database.reviewing.durations import Ranges
from postgres_database.reviewing.statements import span
from postgres_database.running.log import DONE, Entry
from postgres_database.server.environment import Environment
from postgres_database.workflows.adoption import BaselineResult
from postgres_database.workflows.rebase import RebaseResult
from postgres_database.workflows.revision import RevisionResult
from postgres_database.workflows.squash import SquashResult
from postgres_database.workflows.stamp import describe
from postgres_database.workflows.standing import counted

SHOWN_DRIFTS = 20
FILL = "next: invoke edit, and say in op.backfill what the rows that are there get; then invoke upgrade"


def revision(result: RevisionResult) -> None:
    """Show what was written, what a human must still look at, and what to type next."""
    for word in ("renamed", "detected", "completed"):
        for line in getattr(result, word):
            say(f"{word:<9} {line}")
    for path in filter(None, (result.path, result.then)):
        say(f"wrote     {_relative(path)}")
    for line in result.empty:
        say(f"no rows   {line}; what the script does to its rows is not shown", style="dim")
    for line in result.not_shown:
        say(f"not shown {line}", style="dim")
    failures = [f"on a scratch database: {result.failure}"] if result.failure else []
    for line in (*result.cautions, *failures, *result.faults):
        look_at(line)
    show_objects("the upgrade does not make", result.not_upgraded, "history", "models")
    show_objects("the downgrade does not bring back", result.not_downgraded, "after", "before")
    show_kept(result.kept)
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
        ways = (
            "up, not down, for it has no downgrade(),"
            if result.one_way
            else "up, down and up again"
        )
        proved = f"proved    {ways} on a scratch database; the result equals the models"
        say(proved, style="green")
        advise(FILL if result.unfilled else f"next: review the script{plural}, then invoke upgrade")
    else:
        advise("next: mend the script, remove the error from its upgrade(), then invoke check")


def rebase(result: RebaseResult) -> None:
    """Show what follows what now."""
    for line in result.notes:
        look_at(line)
    if result.branch:
        say(f"yours     what {result.branch} has not", "dim")
    for each in result.moved:
        say(f"moved     {_relative(each.path)}")
    first = result.moved[0]
    say(f"proved    {first.id} follows {result.onto}: up, down and up again", style="green")
    advise("next: git add --all and git commit, then invoke upgrade")


def squash(result: SquashResult) -> None:
    """Show what stands for what."""
    for line in result.notes:
        look_at(line)
    last, path = result.revision, result.revision.path
    say(f"wrote     {_relative(path)}")
    say(f"wrote     {_relative(path.with_suffix('.sql'))}")
    for name, count in result.rows:
        say(f"rows      {name}: {count}")
    say(
        f"kept      {len(result.replaced)} scripts in {_relative(result.kept)}, for databases in the middle"
    )
    say(
        f"proved    a database made by {last.id} has the same {result.objects} objects and the same rows",
        style="green",
    )
    advise("next: invoke check, then git add --all and git commit")


def log(entries: Sequence[Entry], scripts: History, estimates: Ranges) -> None:
    """Show what was run on a target, the newest first; beside it how long reviews had estimated that it takes."""
    known = any(durations.of_run(entry, estimates) for entry in entries)
    table = []
    for entry in reversed(entries):
        started = entry.started.astimezone().strftime("%Y-%m-%d %H:%M:%S")
        seconds = "" if entry.seconds is None else f"{entry.seconds:.2f}"
        name = str(scripts[entry.revision]) if entry.revision in scripts else entry.revision
        who = f"{entry.who} at {entry.host}"
        style = "" if entry.outcome == DONE else "yellow"
        found = durations.of_run(entry, estimates)
        estimate = [span(*found) if found else ""] * known
        cells = started, seconds, *estimate, entry.direction, name, entry.outcome, who, entry.tool
        table.append((cells, style))
    more = ["estimate"] * known
    titles = ("started", "seconds", *more, "what", "revision", "outcome", "who", "tool")
    if entries:
        show_table(titles, table, {"revision", "who", "tool"})
    else:
        say("nothing was run here by upgrade or downgrade, or its user may not keep a log")


def baseline(result: BaselineResult, environment: Environment, *, goes_on: bool = False) -> None:
    """Show what was adopted, or which revision the target is, and what comes next unless the command goes on."""
    for note in () if result.path else result.notes:
        look_at(f"{note}")
    if result.path is None:
        _show_match(result, environment, goes_on=goes_on)
        return
    say(f"wrote     {_relative(result.path)}")
    say(f"wrote     {_relative(result.path.with_suffix('.sql'))}")
    say(
        f"proved    an empty database upgraded with it has the same {result.objects} objects",
        style="green",
    )
    if result.respelled:
        say(f"same      {some(result.respelled)}: equal, but PostgreSQL prints it otherwise", "dim")
    say(f"stamped   {result.revision}  (no statement of the script was run)")
    for note in result.notes:
        look_at(f"{note}")
    if result.unlike_models:
        count, names = counted(result.unlike_models), some(result.unlike_models)
        look_at(f"the models differ from the database in {count}: {names}")
        if not goes_on:
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


def _show_match(result: BaselineResult, environment: Environment, *, goes_on: bool) -> None:
    match = result.match
    if match is None:
        return
    state = places(match.state)
    if not match.drifts.objects:
        say(
            f"proved    the database has the same {result.objects} objects as revision {state}",
            "green",
        )
        say(f"stamped   {state}  (no statement of a script was run)")
        upgrade = f"invoke upgrade{environment.env_option}"
        if not goes_on:
            advise(
                f"next: {upgrade if result.pending else f'invoke check{environment.env_option}'}"
            )
        return
    look_at(f"the database is no revision of this history; {state} comes nearest")
    for drift in match.drifts.objects[:SHOWN_DRIFTS]:
        look_at(f"{describe(drift)}")
        show_text("history", drift.history)
        show_text("target", drift.target)
    if len(match.drifts.objects) > SHOWN_DRIFTS:
        say(f"  and {len(match.drifts.objects) - SHOWN_DRIFTS} more   (--json prints all)")
    say("nothing was written")
    env = environment.env_option
    advise(
        f"next: if the database is right: put what differs into the models (invoke models{env} prints its own), invoke"
        " revision --msg '…'; what models do not say, by invoke revision --empty --msg '…'; then invoke"
        f" baseline-existing{env}, which stamps it"
    )
    if match.state:  # from base nothing leads back but to drop all
        stamped = ", ".join(f"invoke stamp{env} --target {each}" for each in match.state)
        advise(
            f"next: if the history is right: {stamped}, then invoke check{env}   (prints the statements that bring the"
            " database back)"
        )
    advise(
        f"next: if they have nothing to do with each other: invoke psql{env} --command '\\l'   (lists the databases:"
        " the DSN may name another); or, for a history of this one, invoke init --fresh"
    )


def servers(lines: Iterable[tuple[str, Any]]) -> None:
    """Show a name and a fact, a line each."""
    for name, fact in lines:
        say(f"{name:<9} {fact}")


def _relative(path: Path) -> str:
    return os.path.relpath(path)
