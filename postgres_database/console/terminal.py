"""The only module that prints and asks."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import cached_property
from io import TextIOWrapper
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, TextIO

from postgres_database.commands.advice import TYPED, as_typed
from postgres_database.errors import ExpectedError, without_blanks_at_ends
from postgres_database.history.graph import Revision
from postgres_database.running.listener import Listener, Step
from postgres_database.server import embedded
from postgres_database.server.connection import Database
from postgres_database.server.environment import Environment
from postgres_database.server.version_table import VersionTable

if TYPE_CHECKING:  # imported for a terminal, or for what it alone can show
    from rich.console import Console
    from rich.status import Status

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


COLOURED = ("FORCE_COLOR", "TTY_COMPATIBLE")
"""Variables by which rich takes anything for a terminal (rich documentation, "Terminal detection")."""


class Output:
    """Prints lines without blanks at their ends, by rich where they are more than text."""

    def __init__(self, *, stderr: bool) -> None:
        """Print to stderr, or to stdout."""
        self._stderr = stderr

    @cached_property
    def console(self) -> Console:
        """What knows the terminal."""
        from rich.console import Console  # noqa: PLC0415 - see above

        return Console(**LOOK, stderr=self._stderr, width=None if self._stderr else WIDTH)

    @property
    def width(self) -> int:
        """How many columns there are."""
        plain = WIDTH and not self._stderr and not any(map(os.environ.get, COLOURED))
        return WIDTH if plain and WIDTH else self.console.width

    def print(self, text: str = "", style: str | None = None) -> None:
        """Print a text."""
        text = without_blanks_at_ends(text)
        stream = sys.stderr if self._stderr else sys.stdout
        plain = text.replace("\n", "").isprintable() and not any(map(os.environ.get, COLOURED))
        if plain and not stream.isatty():
            _write(stream, f"{text}\n")
        else:
            self.console.print(text, style=style)


OUT, ERR = Output(stderr=False), Output(stderr=True)
SOON, OFTEN = 0.5, 10.0
"""Seconds after which long work is shown on a terminal, and between two lines about it in a log."""


def say(text: str = "", style: str = "") -> None:
    """Print a line of the result."""
    OUT.print(text, style=style or None)


def advise(text: str, style: str = "") -> None:
    """Print a line that says what to type next; see `advice`."""
    say(as_typed(text), style)


for stream in (sys.stdout, sys.stderr):
    if isinstance(stream, TextIOWrapper):  # a message may hold what the terminal cannot show
        stream.reconfigure(errors="backslashreplace")


def raw(text: str) -> None:
    """Print text for programs exactly as it is."""
    _write(sys.stdout, text if text.endswith("\n") else text + "\n")


def _write(stream: TextIO, text: str) -> None:
    """Write a text; where its reader has gone, such as `head`, it goes nowhere, and the command does its work.

    Python itself would write once more at its end (Python documentation, "Note on SIGPIPE").
    """
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def warn(environment: Environment) -> None:
    """Print what is odd about the settings of an environment."""
    for warning in environment.warnings:
        ERR.print(f"warning: {warning}", style="yellow")


def open_target(
    environment: Environment,
    versions: VersionTable,
    *,
    quiet: bool = False,
    name: str = "",
    user: str = "",
) -> Database:
    """Print the line that names the target and return it; the embedded server is started for it.

    Args:
        environment: Says where it is.
        versions: Where it keeps its revision.
        quiet: Print the line to stderr, because stdout is for a program.
        name: Another database of the same server.
        user: Another role; the password is not that of the DSN.
    """
    if environment.target is None and not embedded.server_at(environment.root).is_running():
        ERR.print("starting the embedded PostgreSQL …", style="dim")
    database = embedded.target(environment, versions)
    if name:
        database = replace(database, dsn=database.dsn.with_parts(dbname=name))
    if user:
        database = replace(database, dsn=database.dsn.of_role(user))
    (ERR if quiet else OUT).print(str(database), style="bold")
    return database


@dataclass
class Terminal(Listener):
    """Prints what a command says, and asks on the terminal.

    In a protected environment the name of its database must be typed, in any other a `y`. Without a terminal `--yes`
    is required.
    """

    environment: Environment
    """Where the command works."""
    _: KW_ONLY
    yes: bool = False
    """Whether every question is answered with yes."""
    asks: bool = True
    """Whether people are asked to choose: not where the result is for a program."""
    quiet: bool = False
    """Whether details of a question go to stderr, because stdout is for a program."""
    planned: int = 0
    """How many revisions will be run."""
    steps: int = 0
    """How many of them are done."""
    noted: set[str] = field(default_factory=set)
    """What was noted."""

    def __post_init__(self) -> None:
        """Have a clock for long work."""
        self._clock = Clock()

    def confirm(self, question: str, details: Sequence[str]) -> bool:
        """Show the details and ask."""
        environment = self.environment
        _show(details, ERR if self.quiet else OUT)
        if self.yes:
            return True
        if not _is_terminal():
            raise ExpectedError(
                f"confirmation needed to {question}",
                cause="there is no terminal to ask on"
                + ("; PROTECTED=1 is set" if environment.protected else ""),
                hint=f"{TYPED.get()} --yes",
            )
        if environment.protected:
            name = environment.target.database if environment.target else embedded.DATABASE
            return _ask(f"{question}?\ntype the name of the database ({name}) to go on: ") == name
        return _is_yes(_ask(f"{question}? [y/N] "))

    def choose(self, question: str) -> bool | None:
        """Ask yes or no; None without a terminal."""
        return _is_yes(_ask(f"{question} [y/N] ")) if self.asks and _is_terminal() else None

    def offer(self, question: str, details: Sequence[str]) -> bool:
        """Show the details and ask; without a terminal and `--yes` it is not done."""
        if self.yes or _is_terminal():
            return self.confirm(question, details)
        _show(details, OUT)
        return False

    def words(self, question: str) -> str:
        """Ask for words; nothing without a terminal."""
        return _ask(question) if _is_terminal() else ""

    def plan(self, revisions: Sequence[Revision]) -> None:
        """Count the revisions that will be run."""
        self.planned, self.steps = len(revisions), 0

    @contextmanager
    def at_work(self, doing: str) -> Iterator[None]:
        """Show what is done, once it takes long: with a clock on a terminal, else in a line now and then."""
        count = f"[{self.steps + 1}/{self.planned}]  " if self.planned else ""
        with self._clock.running(f"{count}{doing}"):
            yield

    def step(self, step: Step) -> None:
        """Print a line for a revision that is done."""
        self.steps += 1
        line = f"  [{self.steps}/{self.planned}]  {step.revision}  {step.seconds:.2f} s"
        (ERR if self.quiet else OUT).print(line)

    def wait(self, who: str) -> None:
        """Say what the command waits for."""
        ERR.print(f"waiting for {who} …", style="dim")

    def progress(self, text: str) -> None:
        """Say how far something is."""
        ERR.print(f"     {text}", style="dim")

    def note(self, text: str) -> None:
        """Say what could not be looked at, the same thing once."""
        if text not in self.noted:
            self.noted.add(text)
            ERR.print(f"note: {text}", style="yellow")


class Clock:
    """Shows what is at work once it takes long: in a live line on a terminal, else in a line every few seconds.

    One thread looks now and then what that is, so that short work costs nothing. It ends where nothing is at work.
    """

    def __init__(self) -> None:
        """Begin with nothing at work."""
        self._lock = Lock()
        self._works: list[_Work] = []
        """The innermost last."""
        self._looks = False
        """Whether the thread is there."""
        self._status: Status | None = None
        """The live line of a terminal."""
        if sys.stderr and (sys.stderr.isatty() or any(map(os.environ.get, COLOURED))):
            # Not in the thread: root may act meanwhile as an account that cannot read this Python.
            from rich.status import Status  # noqa: PLC0415 - see above

            self._status = Status("", console=ERR.console, spinner="line")

    @contextmanager
    def running(self, doing: str) -> Iterator[None]:
        """Show what is done as long as the block runs."""
        now = time.monotonic()
        with self._lock:
            self._works.append(_Work(doing, now, now))
            if not self._looks:
                self._looks = True
                Thread(target=self._look, daemon=True).start()
        try:
            yield
        finally:
            with self._lock:
                self._works.pop()
                if self._status:
                    self._status.stop()

    def _look(self) -> None:
        while self._looks:
            time.sleep(min(SOON, OFTEN))
            with self._lock:
                if self._works:
                    self._show(self._works[-1], time.monotonic())
                else:
                    self._looks = False

    def _show(self, work: _Work, now: float) -> None:
        if now - work.shown < min(SOON, OFTEN):
            return
        line = f"{work.doing}: {now - work.since:.0f} s so far"
        if self._status and ERR.console.is_terminal:
            from rich.text import Text  # noqa: PLC0415 - see above

            self._status.update(Text(line))
            self._status.start()
        elif now - work.shown >= OFTEN:
            ERR.print(f"     {line}", style="dim")
            work.shown = now


@contextmanager
def watched(doing: str) -> Iterator[None]:
    """Show to whoever watches what is done, once it takes long; elsewhere nothing, so that cron sends no mail."""
    with Clock().running(doing) if sys.stderr and sys.stderr.isatty() else nullcontext():
        yield


@dataclass
class _Work:
    doing: str
    since: float
    """When it began."""
    shown: float
    """When a line about it was last printed, or it began."""


def _show(details: Sequence[str], out: Output) -> None:
    for detail in details:
        out.print(f"  {detail}")


def _is_terminal() -> bool:
    streams = sys.stdin, sys.stdout  # None where the shell has closed them
    return all(stream and not stream.closed and stream.isatty() for stream in streams)


def _is_yes(answer: str) -> bool:
    return answer.lower() in {"y", "yes"}


def _ask(question: str) -> str:
    """Return what is typed; an end of the input is no answer."""
    try:
        return OUT.console.input(question, markup=False, emoji=False).strip()
    except EOFError:
        say()
        return ""
