"""One command on many environments: each in a process of its own, a bounded number at once, a line each.

Alembic works on one database at a time in a process; so one that fails cannot stop the others.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from postgres_database.console.terminal import ERR, say

DIFFERENT = 2


def run(environments: Sequence[str], command: Sequence[str], at_once: int) -> int:
    """Run a command on each environment, print how each ended, and return the exit code of all.

    Args:
        environments: Their names.
        command: The command and its options, without `--env`.
        at_once: How many work at the same time.

    Returns:
        1 if one failed, else 2 if one found differences, else 0.
    """
    codes = {0}
    width = max(map(len, environments), default=0)
    with ThreadPoolExecutor(at_once) as pool:
        running = {pool.submit(_run, name, command): name for name in environments}
        for each in as_completed(running):
            name, done = running[each], each.result()
            codes.add(done.returncode)
            last = (done.stdout.strip().splitlines() or [""])[-1]
            failed = done.returncode not in {0, DIFFERENT}
            say(f"{name:<{width}}  {'failed' if failed else last}", style="red" if failed else "")
            if failed:
                for line in done.stderr.strip().splitlines():
                    ERR.print(f"{'':<{width}}  {line}")
    return 1 if codes - {0, DIFFERENT} else max(codes)


def _run(environment: str, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*_program(), *command, "--env", environment],
        env=os.environ | {"ENV": environment},
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
