"""Python programs in processes of their own, which a test lets go on by closing their input."""

import os
import subprocess
import sys
from pathlib import Path

from conftest import ROOT


def start(program: str, *arguments: str | Path, **environ: str) -> subprocess.Popen[str]:
    """Start a Python program at the root of the repository; `environ` is added to its environment."""
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        cwd=ROOT,
        env={**os.environ, **environ},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def next_line(process: subprocess.Popen[str]) -> str:
    """Return the next line that a child prints."""
    assert process.stdout
    return process.stdout.readline().strip()


def finish(*processes: subprocess.Popen[str]) -> list[tuple[int, str]]:
    """Close the input of all children, then return their exit codes and what else they printed."""
    for process in processes:
        assert process.stdin
        process.stdin.close()
    finished = []
    for process in processes:
        with process:
            assert process.stdout
            printed = process.stdout.read()
        finished.append((process.returncode, printed))
    return finished
