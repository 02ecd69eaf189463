"""Copies of this repository, in which commands are run as people type them."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from postgres_database.server.connection import Database
from postgres_database.server.dsn import Dsn

ROOT = Path(__file__).parents[3]
NOT_COPIED = (
    "__pycache__", ".venv*", ".git", ".postgres", ".peers", ".downloads", ".hypothesis", ".env", ".env.[!e]*",
    ".*_cache",
)  # fmt: skip
"""What is not of the repository; other tests and tools write there meanwhile."""


def as_text(dsn: Dsn) -> str:
    """Return a DSN as people would write it into a file: key=value pairs."""
    escaped = {
        key: value.replace("\\", "\\\\").replace("'", "\\'") for key, value in dsn.parts.items()
    }
    return " ".join(f"{key}='{value}'" for key, value in escaped.items())


class Checkout:
    """A copy of this repository, with a terminal to type commands into."""

    def __init__(self, root: Path, server: Database) -> None:
        self.root = root
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(root),
            "SCRATCH_DSN": as_text(server.dsn),
            "COLUMNS": "200",
        }
        shutil.copytree(ROOT, root, ignore=shutil.ignore_patterns(*NOT_COPIED), dirs_exist_ok=True)

    def invoke(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a command as a person without a terminal would."""
        return self.run(sys.executable, "-m", "invoke", *arguments, **environ)

    def run(
        self, *command: str, folder: str = "", **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """Run any program in the checkout."""
        return subprocess.run(
            command,
            cwd=self.root / folder,
            env=self.environ | environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def env_file(self, name: str, **values: str) -> None:
        """Write the file of an environment, readable by us alone."""
        path = self.root / (f".env.{name}" if name else ".env")
        path.write_text("".join(f"{key}={value}\n" for key, value in values.items()))
        path.chmod(0o600)


def ready_venv(checkout: Checkout) -> None:
    """Let the interpreter of the test be the checkout's .venv."""
    programs = checkout.root / ".venv" / "bin"
    programs.mkdir(parents=True)
    python = shlex.quote(sys.executable)
    for name, command in {
        "python": python,
        "invoke": f"{python} -m invoke",
        "alembic": f"{python} -m alembic",
    }.items():
        (programs / name).write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        (programs / name).chmod(0o755)
    for stamp in (".installed", ".installed-dev"):
        (checkout.root / ".venv" / stamp).touch()
    checkout.environ["PATH"] = f"{programs}:{checkout.environ['PATH']}"
