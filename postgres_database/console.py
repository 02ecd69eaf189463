"""The only module that prints and asks."""

import dataclasses
import os
import sys
from collections.abc import Iterable, Sequence
from io import TextIOWrapper
from typing import Any

from rich.console import Console
from rich.table import Table

from postgres_database import server
from postgres_database.baseline import BaselineResult
from postgres_database.check import CheckResult, EnvironmentStatus
from postgres_database.connection import Database
from postgres_database.errors import ExpectedError
from postgres_database.history import Revision
from postgres_database.initialise import InitResult
from postgres_database.matching import Ask
from postgres_database.revision import RevisionResult
from postgres_database.runner import Step
from postgres_database.settings import ROOT, Settings
from postgres_database.snapshot import Difference, Key
from postgres_database.upgrade import Confirm, UpgradeResult

# Results are lines of their own length: nothing is wrapped, marked up or highlighted by itself.
WIDTH = None if sys.stdout.isatty() else 400
# With NO_COLOR nothing is bold either.
LOOK: dict[str, Any] = {
    "soft_wrap": True,
    "markup": False,
    "highlight": False,
    "emoji": False,
    "color_system": None if os.environ.get("NO_COLOR") else "auto",
}
OUT = Console(**LOOK, width=WIDTH)
ERR = Console(**LOOK, stderr=True)


SHOWN_KEPT = 5


def say(text: str = "", style: str = "") -> None:
    """Print a line of the result."""
    OUT.print(text, style=style or None)


for stream in (sys.stdout, sys.stderr):
    if isinstance(stream, TextIOWrapper):  # a message may hold what the terminal cannot show
        stream.reconfigure(errors="backslashreplace")


def raw(text: str) -> None:
    """Print text for programs exactly as it is."""
    sys.stdout.write(text if text.endswith("\n") else text + "\n")


def warn(settings: Settings) -> None:
    """Print what is odd about the settings."""
    for warning in settings.warnings:
        ERR.print(f"warning: {warning}", style="yellow")


def open_target(settings: Settings, *, quiet: bool = False, name: str = "") -> Database:
    """Print the line that names the target and return it; the embedded server is started for it.

    Args:
        settings: Of the environment.
        quiet: Print the line to stderr, because stdout is for a program.
        name: Another database of the same server.
    """
    if settings.target is None and not server.embedded(settings.root).is_running():
        ERR.print("starting the embedded PostgreSQL …", style="dim")
    database = server.target(settings)
    if name:
        database = dataclasses.replace(database, dsn=database.dsn.with_parts(dbname=name))
    (ERR if quiet else OUT).print(str(database), style="bold")
    return database


def confirmation(settings: Settings, verb: str, *, yes: bool) -> Confirm:
    """Return a way to ask on the terminal.

    A protected environment wants the name of its database typed, any other a `y`. Without a
    terminal nobody can answer: then `--yes` is required.
    """

    def confirm(question: str, details: Sequence[str]) -> bool:
        for detail in details:
            say(f"  {detail}")
        if yes:
            return True
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise ExpectedError(
                f"confirmation needed to {question}",
                cause="there is no terminal to ask on"
                + ("; PROTECTED=1 is set" if settings.protected else ""),
                hint=f"invoke {verb}{settings.env_option} --yes   (and what else you typed)",
            )
        if settings.protected:
            name = settings.target.database if settings.target else server.DATABASE
            return _ask(f"{question}?\ntype the name of the database ({name}) to go on: ") == name
        return _ask(f"{question}? [y/N] ").lower() in {"y", "yes"}

    return confirm


def asking() -> Ask | None:
    """Return a way to ask yes or no on the terminal; None without one."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return None
    return lambda question: _ask(f"{question} [y/N] ").lower() in {"y", "yes"}


def _ask(question: str) -> str:
    """Return what is typed; an end of the input is no answer."""
    try:
        return OUT.input(question, markup=False, emoji=False).strip()
    except EOFError:
        say()
        return ""


def show_init(result: InitResult) -> None:
    """Show what `init` did."""
    if result.removed:
        say(f"removed  {len(result.removed)} scripts")
    for path in result.created:
        say(f"created  {path}")
    if not (result.created or result.removed):
        say("migration/ is already set up")
    say(
        'next: invoke revision --msg "…", or invoke baseline-existing --env … for a database that is online'
    )


def show_plan(result: UpgradeResult, verb: str) -> None:
    """Show what an upgrade or downgrade would run."""
    say(f"at {_places(result.before)}")
    for revision in result.plan:
        say(f"  would {verb}  {revision}")
    if not result.plan:
        say(_nothing(result, verb))


def show_waiting(who: str) -> None:
    """Say that another command works on the target."""
    ERR.print(f"waiting for another command: {who} …", style="dim")


class Progress:
    """Prints a line for every revision that is done."""

    def __init__(self) -> None:
        self._count = 0

    def __call__(self, step: Step) -> None:
        """Print the line."""
        self._count += 1
        say(f"  {self._count}  {step.revision}  {step.seconds:.2f} s")


def show_upgrade(result: UpgradeResult, verb: str) -> None:
    """Show where the target stands now."""
    at_head = "head: " if result.at_head else ""
    say(
        f"now at {at_head}{_places(result.after)}"
        if result.after != result.before
        else _nothing(result, verb),
        style="green",
    )


def _nothing(result: UpgradeResult, verb: str) -> str:
    at_head = "head: " if result.at_head else ""
    return f"already at {at_head}{_places(result.before)}; nothing to {verb}"


def _places(revisions: Sequence[str]) -> str:
    return ", ".join(revisions) or "base"


def show_revision(result: RevisionResult) -> None:
    """Show what was written, what a human must still look at, and what to type next."""
    for line in result.renamed:
        say(f"renamed   {line}")
    for line in result.detected:
        say(f"detected  {line}")
    for line in result.completed:
        say(f"completed {line}")
    if result.path:
        say(f"wrote     {_relative(result.path)}")
    for line in result.empty:
        say(f"no rows   {line}", style="dim")
    failures = [f"on a scratch database: {result.failure}"] if result.failure else []
    broken = [f"broken: {line}" for line in result.broken]
    lost = [f"lost: {line}" for line in result.lost]
    for line in (*result.cautions, *failures, *broken, *lost):
        say(f"look at   {line}", style="yellow")
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
        say("next: invoke revision --empty --msg '…'   (and op.run_sql for these objects)")
    elif not result.tried:
        say("next: write upgrade() and downgrade(), then invoke upgrade")
    elif result.proved:
        proved = (
            "proved    up, down and up again on a scratch database; the result equals the models"
        )
        say(proved, style="green")
        say("next: review the script, then invoke upgrade")
    else:
        say("next: edit the script; invoke check tells whether history and models agree")


def _show_kept(kept: Sequence[Key]) -> None:
    if kept:
        more = ", …" if len(kept) > SHOWN_KEPT else ""
        names = ", ".join(map(str, kept[:SHOWN_KEPT]))
        say(
            f"kept      {len(kept)} objects that the models do not know: {names}{more}", style="dim"
        )


def show_check(result: CheckResult) -> None:
    """Show what `check` found; nothing that needs attention is one line."""
    if result.clean:
        say("models and history agree", style="green")
        _show_kept(result.differences.kept if result.differences else ())
    elif result.differences is None:
        say(f"the history has {len(result.heads)} heads: {', '.join(result.heads)}", style="yellow")
        say('next: invoke merge --msg "Merge the heads"')
    else:
        for line in result.differences.detected:
            say(f"detected  {line}")
        _show_objects("differs", result.differences.objects, "history", "models")
        say("next: invoke revision --msg '…'")


def _show_objects(title: str, differences: Iterable[Difference], left: str, right: str) -> None:
    for difference in differences:
        say(f"look at   {title}: {difference.key}", style="yellow")
        for name, text in ((left, difference.left), (right, difference.right)):
            body = text.strip().replace("\n", "\n              ") or "(none)"
            say(f"  {name + ':':<11} {body}", style="dim")


def show_status(environments: Iterable[EnvironmentStatus], heads: Sequence[str]) -> None:
    """Show a table with a row for each environment."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("environment", "target", "server", "size", "revision", "pending"):
        table.add_column(title, overflow="fold")
    rows = list(environments)
    for row in rows:
        where = "see below" if row.fault else _places(row.revision)
        pending = "" if row.fault else str(len(row.pending) or "none")
        style = "red" if row.fault else "yellow" if row.pending else ""
        table.add_row(
            row.environment, row.target, row.version, row.size, where, pending, style=style
        )
    OUT.print(table, soft_wrap=False)
    say(f"head: {_places(heads)}")
    for row in rows:
        if row.fault:
            say(f"{row.environment}: {' '.join(row.fault.split())}", style="red")
    if len(heads) > 1:
        say('next: invoke merge --msg "Merge the heads"')
        return
    for row in rows:
        if row.pending and not row.fault:
            say(f"next: invoke upgrade{row.env_option}")


def show_current(revisions: Sequence[Revision], heads: Sequence[str]) -> None:
    """Show the revisions that a target is stamped with."""
    for revision in revisions:
        say(f"{revision}" + ("  (head)" if revision.id in heads else ""))
    if not revisions:
        say("base: no revision is applied")


def show_baseline(result: BaselineResult, settings: Settings) -> None:
    """Show what was adopted and what comes next."""
    say(f"wrote     {_relative(result.path)}")
    say(f"wrote     {_relative(result.path.with_suffix('.sql'))}")
    say(
        f"proved    an empty database upgraded with it has the same {result.objects} objects",
        style="green",
    )
    say(f"stamped   {result.revision}  (no statement of the script was run)")
    differing = len(result.differences.objects)
    if differing:
        say(
            f"look at   the models differ from the database in {differing} objects:", style="yellow"
        )
        for line in result.differences.detected or [
            str(item.key) for item in result.differences.objects
        ]:
            say(f"            {line}")
        say(f"next: invoke revision --msg '…', review it, then invoke upgrade{settings.env_option}")
    else:
        say("models and database agree; next: change a model, then invoke revision --msg '…'")


def show_servers(lines: Iterable[tuple[str, Any]]) -> None:
    """Show a name and a fact, a line each."""
    for name, fact in lines:
        say(f"{name:<9} {fact}")


def _relative(path: Any) -> str:
    return os.path.relpath(path, ROOT)
