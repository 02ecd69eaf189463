"""A command of invoke: in which folder it runs, and how it ends."""

import atexit
import contextlib
import errno
import gc
import logging
import os
import re
import sys
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from invoke import Collection, Context, Exit, Task, task

from postgres_database.commands import command_line, completion
from postgres_database.commands.advice import ENVIRONMENT, TYPED, as_typed
from postgres_database.commands.listing import grouped
from postgres_database.errors import ExpectedError
from postgres_database.history import library_versions
from postgres_database.server import root

# invoke turns this off for everything that it loads; compiling anew would slow each command down.
sys.dont_write_bytecode = bool(sys.flags.dont_write_bytecode)
# Looking for garbage among modules that stay, again and again and at the end, takes a sixth of the CPU seconds of
# a command that loads SQLAlchemy: 300 revisions took 1.26 s with Python's default of 700, and as much memory.
gc.set_threshold(10_000)
atexit.register(gc.freeze)

LABELS = {"error:": "\x1b[1;31m", "cause:": "\x1b[33m", "try:": "\x1b[1;32m"}
"""How a terminal is told to show them (ECMA-48, SGR): bold red, yellow, bold green."""
LABEL = re.compile(r"^(?:error|cause|try):", re.MULTILINE)
INTERRUPTED = 130
FAILED = 1
DIFFERENT = 2
FULL_OR_READ_ONLY = (errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM)


class Command(Task[Any]):
    """A task that shows an expected failure in three lines; with DEBUG=1 as a traceback."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the body; invoke's own --dry becomes the command's dry run, if it has one."""
        context: Context = args[0]
        _replace_closed_streams()
        if context.config.run.dry:
            if "dry_run" not in self.argspec(self.body).parameters:
                raise failed(ExpectedError(f"{self.name} has no dry run"))
            kwargs["dry_run"] = True
        environment = ENVIRONMENT.set(kwargs.get("env") or os.environ.get("ENV", ""))
        typed = TYPED.set(command_line.spelled(sys.argv[1:]))
        try:
            library_versions.require_libraries()
            here = Path.cwd()
            home = root.find(here) or here if self.name == "init" else root.require_root(here)
            library_versions.require_engine(home / "alembic.ini")
            if not os.environ.get("DEBUG"):  # an env.py may let Alembic log what our commands say
                logging.disable(logging.INFO)
            with (
                contextlib.chdir(home),
                noted_warnings(),
            ):  # relative paths in alembic.ini and env.py begin there
                return super().__call__(*args, **kwargs)
        except (Exception, KeyboardInterrupt) as error:
            if end := self._end(error):
                raise end from error
            raise
        finally:
            TYPED.reset(typed)
            ENVIRONMENT.reset(environment)

    def _end(self, error: BaseException) -> Exit | None:
        """Return how the command ends by an error that is a user's to mend; None is a traceback."""
        if isinstance(error, KeyboardInterrupt):
            resumed = self.name in {"upgrade", "downgrade"}
            more = "; what is done stays, the same command goes on where it was" if resumed else ""
            return Exit(f"interrupted{more}", code=INTERRUPTED)
        expected = error if isinstance(error, ExpectedError) else _unwritable(error) or _lost(error)
        if os.environ.get("DEBUG") or not expected:
            return None
        return failed(expected)


def failed(error: ExpectedError) -> Exit:
    """Return how a command ends by an error; on a terminal its labels are in colour.

    NO_COLOR (no-color.org) and a terminal that is called dumb or nothing turn that off, as rich does.
    """
    text = as_typed(str(error))
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM", "") in {"", "dumb", "unknown"}
    if not plain and sys.stderr and sys.stderr.isatty():
        text = LABEL.sub(lambda label: f"{LABELS[label[0]]}{label[0]}\x1b[0m", text)
    return Exit(text, code=FAILED)


def _replace_closed_streams() -> None:
    """Let what is written to a stream that a shell has closed, which is None, go nowhere."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))


@contextlib.contextmanager
def noted_warnings() -> Iterator[None]:
    """Show what libraries and models warn of as a line each on stderr; with DEBUG=1 as Python does.

    The same words are shown once; which warnings are shown at all is for Python's own filters (PYTHONWARNINGS).
    """
    shown: set[str] = set()

    def show(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: object
    ) -> None:
        text = " ".join(str(message).split())
        path = Path(filename)
        inside = path.is_relative_to(Path.cwd()) and "site-packages" not in path.parts
        place = f", {path.relative_to(Path.cwd())} line {lineno}" if inside else ""
        if text not in shown:
            shown.add(text)
            sys.stderr.write(f"note: {text}   ({category.__name__}{place})\n")

    with warnings.catch_warnings():
        if not os.environ.get("DEBUG"):
            warnings.showwarning = show  # type: ignore[assignment]
        yield


def _unwritable(error: BaseException) -> ExpectedError | None:
    """Say which file cannot be written, if that is the error."""
    if not isinstance(error, OSError) or error.errno not in FULL_OR_READ_ONLY:
        return None
    place = error.filename or "a file"
    return ExpectedError(
        f"{place} cannot be written",
        cause=error.strerror or str(error),
        hint=f"df -h {Path(str(place)).parent}   (the same command again, once there is room and it may be written)",
    )


def _lost(error: BaseException) -> ExpectedError | None:
    """Say that a server has gone away, if that is the error: its driver then has no SQLSTATE."""
    driver: Any = sys.modules.get("psycopg2")  # is imported by what needs it
    said = getattr(error, "orig", error)
    if not driver or not isinstance(said, driver.OperationalError) or said.pgcode:
        return None
    return ExpectedError(
        "the connection to a server was lost",
        cause=" ".join(str(said).split()),
        hint="invoke status   (shows which targets answer; the scratch server is started anew by the same command)",
    )


# invoke takes --help for the value of a required parameter and hands out short flags by itself.
command = partial(task, klass=Command, positional=[], auto_shortflags=False)


def answer_before_invoke(commands: Collection) -> None:
    """Raise Exit, before anything runs, where Invoke's own answer to the command line would not help.

    To what it does not understand it says "No idea what 'production' is!", or it runs a second command. Its list is one
    row by the alphabet, and it completes no values of options.
    """
    home = root.find(Path.cwd()) or Path.cwd()
    try:
        core = command_line.require_understood(sys.argv[1:], commands, home)
    except ExpectedError as error:
        raise failed(error) from error
    said, args = "", core[0].args
    if args["complete"].value:
        said = "".join(f"{value}\n" for value in completion.values(core.remainder, home))
    elif not sys.argv[1:] or (
        args["list"].value is True
        and not (args["list-format"].got_value or args["list-depth"].got_value)
    ):
        said = grouped(commands)
    if said:
        sys.stdout.write(said)
        raise Exit(code=0)
