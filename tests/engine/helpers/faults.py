"""Upgrades in child processes, which are watched statement by statement, or killed at one of them."""

import copy
import dataclasses
import os
import signal
import threading
from collections.abc import Callable, Sequence
from typing import Any

import psycopg2.extensions
from commands import up
from conftest import Project, changed

from postgres_database.errors import ExpectedError
from postgres_database.server import connection
from postgres_database.server.connection import Database

OK, REFUSED, BROKEN = 0, 1, 3
"""Exit codes of children: done; an ExpectedError; another exception."""
KILLED = -signal.SIGKILL


def run_child(work: Callable[[], None]) -> int:
    """Run a function in a child process, and return its exit code, or minus the signal that killed it."""
    return wait_for([start_child(work)])[0]


def start_child(work: Callable[[], None]) -> int:
    """Run a function in a child process, and return the process id."""
    child = os.fork()
    if child:
        return child
    code = BROKEN
    try:
        work()
        code = OK
    except ExpectedError as error:
        os.write(2, f"{error}\n".encode())
        code = REFUSED
    finally:
        os._exit(code)


def wait_for(children: Sequence[int]) -> list[int]:
    """Return the exit codes of processes, or minus the signals that killed them."""
    ends = [os.waitpid(child, 0)[1] for child in children]
    return [os.waitstatus_to_exitcode(end) for end in ends]


def kill(child: int) -> None:
    """Kill a process by SIGKILL."""
    os.kill(child, signal.SIGKILL)
    wait_for([child])


def upgraded(project: Project, **options: Any) -> None:
    """Upgrade on new connections: a child must not use those of its parent."""
    database = dataclasses.replace(project.database)
    up(project.settings, database, confirm=lambda *_: True, **options)


Hook = Callable[["Counted", int, str], None]


def nothing(_cursor: "Counted", _number: int, _sql: str) -> None:
    """Do nothing."""


class Counted(psycopg2.extensions.cursor):
    """A cursor that calls hooks before and after each statement of the main thread, with its number."""

    before: Hook = staticmethod(nothing)
    after: Hook = staticmethod(nothing)
    count = 0

    def execute(self, query: Any, values: Any = None) -> None:
        """Run a statement."""
        if threading.current_thread() is not threading.main_thread():
            super().execute(query, values)
            return
        Counted.count += 1
        number, sql = Counted.count, str(query)
        Counted.before(self, number, sql)
        super().execute(query, values)
        Counted.after(self, number, sql)


def watched(before: Hook = nothing, after: Hook = nothing) -> None:
    """Count the statements of this process from now on, and call the hooks; for a child, as it is never undone."""
    connection.CONNECT_DEFAULTS["cursor_factory"] = Counted  # type: ignore[assignment]
    Counted.count = 0
    Counted.before = staticmethod(before)
    Counted.after = staticmethod(after)


def killing(number: int, *, after: bool) -> None:
    """Have this process killed by SIGKILL before or after the statement of this number."""

    def kill(_cursor: Counted, count: int, _sql: str) -> None:
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)

    watched(nothing if after else kill, kill if after else nothing)


def counted(project: Project) -> int:
    """Return the number of statements of an upgrade, which is run in a child."""
    reader, writer = os.pipe()

    def work() -> None:
        watched()
        upgraded(project)
        os.write(writer, str(Counted.count).encode())

    assert run_child(work) == OK
    os.close(writer)
    with os.fdopen(reader) as pipe:
        return int(pipe.read())


def elsewhere(project: Project, database: Database) -> Project:
    """Return the same project with another target."""
    other = copy.copy(project)
    other.database = database
    other.settings = changed(project.settings, target=database.dsn)
    return other
