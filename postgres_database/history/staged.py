"""Publish scripts all at one moment.

A folder beside the scripts holds those that are not proved yet. Once they are, each file is copied beside its place
under a name that Alembic does not read, and the folder is renamed: from that moment on the files belong to the history,
and the next command finishes what a killed one left to do.
"""

import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from postgres_database.errors import ExpectedError

OPEN, DONE = ".staged", ".staged-done"
"""The names of the folder before and after the moment."""
MOVES = "moves"
"""The file in it that lists the names of the copies and their places, both from `home`."""
POLLED = 0.1  # seconds


@contextmanager
def folder(home: Path, on_wait: Callable[[str], None], wait: float | None = None) -> Iterator[Path]:
    """Make an empty folder for scripts, for this command alone.

    See `script_files.staging`; `home` has the folder of the scripts.

    Raises:
        ExpectedError: Another command still works in this checkout after so many seconds, or nothing can be
            written here.
    """
    with locked(home, on_wait, wait):
        with explained(home):
            _finish(home)
            _discard(home / OPEN)
            (home / OPEN).mkdir()
        try:
            yield home / OPEN
        finally:
            _discard(home / OPEN)


def publish(
    staged: Path, places: Sequence[tuple[Path, Path]], removed: Sequence[Path] = ()
) -> None:
    """Put the files of a folder into their places, in this order, all at one moment, and remove others.

    Raises:
        ExpectedError: They cannot be written; none was put anywhere.
    """
    moves = [(place.with_name(f"{OPEN}-{place.name}.new"), place) for _, place in places]
    names = [[os.path.relpath(path, staged.parent) for path in move] for move in moves]
    names += [["", os.path.relpath(path, staged.parent)] for path in removed]
    with explained(staged.parent):
        (staged / MOVES).write_text(json.dumps(names), encoding="utf-8")
        for (file, _), (aside, place) in zip(places, moves, strict=True):
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, aside)
            shutil.copymode(file, aside)
        staged.rename(staged.with_name(DONE))
    _finish(staged.parent)


@contextmanager
def explained(home: Path) -> Iterator[None]:
    """Turn errors of the operating system into an ExpectedError, before the moment."""
    try:
        yield
    except OSError as error:
        written = error.filename2 or error.filename  # of a copy, the second
        folder = Path(written).parent if written else home
        raise ExpectedError(
            "the script cannot be written; nothing was written",
            cause=str(error),
            hint=f"df -h {folder}; ls -la {folder}   (then the same command again)",
        ) from error


def finish(home: Path) -> None:
    """Finish what a command left to do that was killed while it published scripts.

    Raises:
        ExpectedError: They cannot be moved.
    """
    if not (home / DONE).exists():
        return
    try:
        with locked(home, lambda _: None):
            _finish(home)
    except OSError as error:
        raise ExpectedError(
            "the scripts of a command that was killed are not all in their places",
            cause=str(error),
            hint=f"ls -la {home}   (once it can be written, the same command again)",
        ) from error


def _finish(home: Path) -> None:
    for aside, place in _moves(home / DONE):
        if aside is None:
            place.unlink(missing_ok=True)
        elif aside.exists():
            aside.replace(place)
    shutil.rmtree(home / DONE, ignore_errors=True)


def _discard(staged: Path) -> None:
    for aside, _ in _moves(staged):
        if aside:
            aside.unlink(missing_ok=True)
    shutil.rmtree(staged, ignore_errors=True)


def _moves(staged: Path) -> list[tuple[Path | None, Path]]:
    """Return the names aside and the places, no name where a file is removed; nothing if nothing was copied yet."""
    try:
        moves = json.loads((staged / MOVES).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return []
    home = staged.parent
    return [(home / aside if aside else None, home / place) for aside, place in moves]


@contextmanager
def locked(home: Path, on_wait: Callable[[str], None], wait: float | None = None) -> Iterator[None]:
    """Hold the lock of a folder, which ends with the process; see `folder`."""
    lock = os.open(home, os.O_RDONLY)
    try:
        _lock(lock, on_wait, wait)
        yield
    finally:
        os.close(lock)


def _lock(lock: int, on_wait: Callable[[str], None], wait: float | None) -> None:
    started, reported = time.monotonic(), False
    while True:
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        if wait is not None and time.monotonic() - started >= wait:
            raise ExpectedError(
                "another command works in this checkout; nothing was done",
                cause=f"it writes scripts, and holds migration/; waited {wait:g} s",
                hint="the same command again, or with a longer --wait",
            )
        if not reported:
            on_wait("another command that writes scripts in this checkout")
            reported = True
        time.sleep(POLLED)
