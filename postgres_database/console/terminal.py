"""The only module that prints and asks."""

import dataclasses
import os
import sys
from collections.abc import Callable, Sequence
from io import TextIOWrapper
from typing import Any

from rich.console import Console

from postgres_database.drafting.matching import Ask
from postgres_database.errors import ExpectedError
from postgres_database.running.execution import Step
from postgres_database.server import embedded
from postgres_database.server.connection import Database
from postgres_database.server.environment import Environment
from postgres_database.server.version_table import VersionTable
from postgres_database.workflows.upgrade import Confirm

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
SHOWN_DRIFTS = 20


def say(text: str = "", style: str = "") -> None:
    """Print a line of the result."""
    OUT.print(text, style=style or None)


for stream in (sys.stdout, sys.stderr):
    if isinstance(stream, TextIOWrapper):  # a message may hold what the terminal cannot show
        stream.reconfigure(errors="backslashreplace")


def raw(text: str) -> None:
    """Print text for programs exactly as it is."""
    sys.stdout.write(text if text.endswith("\n") else text + "\n")


def warn(environment: Environment) -> None:
    """Print what is odd about the settings of an environment."""
    for warning in environment.warnings:
        ERR.print(f"warning: {warning}", style="yellow")


def open_target(
    environment: Environment, versions: VersionTable, *, quiet: bool = False, name: str = ""
) -> Database:
    """Print the line that names the target and return it; the embedded server is started for it.

    Args:
        environment: Says where it is.
        versions: Where it keeps its revision.
        quiet: Print the line to stderr, because stdout is for a program.
        name: Another database of the same server.
    """
    if environment.target is None and not embedded.embedded(environment.root).is_running():
        ERR.print("starting the embedded PostgreSQL …", style="dim")
    database = embedded.target(environment, versions)
    if name:
        database = dataclasses.replace(database, dsn=database.dsn.with_parts(dbname=name))
    (ERR if quiet else OUT).print(str(database), style="bold")
    return database


def confirmation(environment: Environment, verb: str, *, yes: bool) -> Confirm:
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
                + ("; PROTECTED=1 is set" if environment.protected else ""),
                hint=f"invoke {verb}{environment.env_option} --yes   (and what else you typed)",
            )
        if environment.protected:
            name = environment.target.database if environment.target else embedded.DATABASE
            return _ask(f"{question}?\ntype the name of the database ({name}) to go on: ") == name
        return _ask(f"{question}? [y/N] ").lower() in {"y", "yes"}

    return confirm


def offer(environment: Environment, *, yes: bool) -> Confirm:
    """Return a way to ask whether what is shown may be done; without a terminal and `yes` it is not done."""
    if yes or asking():
        return confirmation(environment, "init", yes=yes)

    def decline(_question: str, details: Sequence[str]) -> bool:
        for detail in details:
            say(f"  {detail}")
        return False

    return decline


def asking_words() -> Callable[[str], str] | None:
    """Return a way to ask for words on the terminal; None without one."""
    return _ask if asking() else None


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


class Progress:
    """Prints a line for every revision that is done."""

    def __init__(self) -> None:
        self._count = 0

    def __call__(self, step: Step) -> None:
        """Print the line."""
        self._count += 1
        say(f"  {self._count}  {step.revision}  {step.seconds:.2f} s")


def show_waiting(who: str) -> None:
    """Say for what is waited."""
    ERR.print(f"waiting for {who} …", style="dim")


def show_progress(text: str) -> None:
    """Say how far something is."""
    ERR.print(f"     {text}", style="dim")


def show_note(text: str) -> None:
    """Say what could not be looked at."""
    ERR.print(f"note: {text}", style="yellow")
