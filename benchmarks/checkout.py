"""What is measured: a copy of this repository with a database, and a client of that database."""

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg2

from postgres_database.server.embedded import EmbeddedServer

ROOT = Path(__file__).parent.parent
PROBE = 0.01  # seconds
UPGRADE = ("invoke", "upgrade", "--skip-row-checks", "--yes")
SCRIPT = '''"""{name}"""

import sqlalchemy as sa
from alembic import op

revision = {name!r}
down_revision = {parent!r}


def upgrade() -> None:
    {body}


def downgrade() -> None:
    pass
'''


class Checkout:
    """A copy of this repository with a history of its own, and a database on a server."""

    def __init__(self, root: Path, server: EmbeddedServer, name: str) -> None:
        """Copy the files and make the database."""
        self.root = root / name
        self.parts: dict[str, Any] = server.dsn.with_parts(dbname=name).parameters()
        ignored = shutil.ignore_patterns("__pycache__", ".*", "tests", "20*.py")
        shutil.copytree(ROOT, self.root, ignore=ignored)
        self._server = server
        self._name = name
        self._maintain(f"CREATE DATABASE {name}")
        text = " ".join(f"{key}='{value}'" for key, value in self.parts.items())
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(root),
            "POSTGRES_DSN": text,
            "SCRATCH_DSN": text,
        }

    def _maintain(self, *statements: str) -> None:
        maintenance: dict[str, Any] = self._server.dsn.parameters()
        with closing(psycopg2.connect(**maintenance)) as connection:
            connection.autocommit = True
            for each in statements:
                connection.cursor().execute(each)

    def save(self) -> None:
        """Keep the database as it is now."""
        self._maintain(f"CREATE DATABASE {self._name}_saved TEMPLATE {self._name}")

    def restore(self) -> None:
        """Make the database what was kept."""
        again = f"CREATE DATABASE {self._name} TEMPLATE {self._name}_saved STRATEGY file_copy"
        self._maintain(f"DROP DATABASE {self._name}", again)

    def script(self, name: str, parent: str | None, body: str) -> None:
        """Write a script of one statement."""
        path = self.root / "migration" / "versions" / f"{name}.py"
        path.write_text(SCRIPT.format(name=name, parent=parent, body=body))

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start a command."""
        return subprocess.Popen(
            [sys.executable, "-m", *(command or UPGRADE)], cwd=self.root, env=self.environ,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, *command: str, fine: Sequence[int] = (0,)) -> str:
        """Run a command and return what was told."""
        process = self.start(*command)
        _, said = process.communicate()
        if process.returncode not in fine:
            raise SystemExit(f"{' '.join(command or UPGRADE)} failed:\n{said}")
        return said

    @contextmanager
    def session(self) -> Iterator[psycopg2.extensions.cursor]:
        """Open a session whose statements commit by themselves."""
        connection = psycopg2.connect(**self.parts)
        connection.autocommit = True
        try:
            yield connection.cursor()
        finally:
            connection.close()

    def query(self, sql: str) -> list[tuple[object, ...]]:
        """Run SQL."""
        with self.session() as cursor:
            cursor.execute(sql)
            return [*cursor.fetchall()] if cursor.description else []


class Probe:
    """A client that reads and writes a row a hundred times a second, and its longest wait."""

    def __init__(self, checkout: Checkout, sql: str) -> None:
        """Begin to run SQL again and again."""
        self.longest = 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(checkout, sql))
        self._thread.start()

    def _run(self, checkout: Checkout, sql: str) -> None:
        with checkout.session() as cursor:
            while not self._done.wait(PROBE):
                started = time.monotonic()
                cursor.execute(sql)
                self.longest = max(self.longest, time.monotonic() - started)

    def end(self) -> float:
        """End, and return the longest wait."""
        self._done.set()
        self._thread.join()
        return self.longest
