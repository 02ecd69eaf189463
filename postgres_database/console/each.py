"""One command on many environments: each in a process of its own, a bounded number at once, a line each.

Alembic works on one database at a time in a process; so one that fails cannot stop the others.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from postgres_database.commands.command import DIFFERENT, FAILED
from postgres_database.console.terminal import ERR, say


def run(environments: Sequence[str], command: Sequence[str], at_once: int, *, whole: bool) -> int:
    """Run a command on each environment, print how each ended, and return the exit code of all.

    What a command says on stderr is shown below its line. When this is interrupted, the commands that run are, too, and
    no other begins.

    Args:
        environments: Their names.
        command: The command and its options, without `--env`.
        at_once: How many work at the same time.
        whole: Whether all that a command prints is shown, and not its last line only.

    Returns:
        1 if one failed, else 2 if one found differences, else 0.
    """
    codes = {0}
    width = max(map(len, environments))
    pool = ThreadPoolExecutor(at_once)
    try:
        running = {pool.submit(_run, name, command): name for name in environments}
        for each in as_completed(running):
            name, done = running[each], each.result()
            codes.add(done.returncode)
            failed = done.returncode not in {0, DIFFERENT}
            lines = done.stdout.strip().splitlines() or [""]
            end = "failed" if failed else "" if whole else lines[-1]
            say(f"{name:<{width}}  {end}".rstrip(), "red" if failed else "")
            for line in lines if whole else ():
                say(f"{'':<{width}}  {line}")
            for line in done.stderr.strip().splitlines():
                ERR.print(f"{'':<{width}}  {line}")
    finally:
        pool.shutdown(cancel_futures=True)
    return FAILED if codes - {0, DIFFERENT} else max(codes)


def _run(environment: str, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*_program(), *command, "--env", environment],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def _program() -> list[str]:
    """Return what was typed to start this program."""
    program = Path(sys.argv[0])
    if program.suffix != ".py" and os.access(program, os.X_OK):
        return [str(program)]
    return [sys.executable, "-m", "invoke"]
