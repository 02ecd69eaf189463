"""How long `revision` takes beside plain Alembic, in one run, with a short and with a long history.

`make bench`. Exit code 1 if a bound is missed: twice the time of `alembic revision --autogenerate` and a
second, however many scripts there are.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
ROUNDS = 7
LONG = 300
"""Scripts of the long history."""
FACTOR, SECONDS = 2, 1.0

CHANGE = """

import sqlalchemy as sa
metadata.tables["file_meta_data"].append_column(sa.Column("checksum", sa.Text))
"""
PLAIN_INI = """
[alembic]
script_location = plain
version_locations = migration/versions
path_separator = os
"""
PLAIN_ENV = """
    from alembic import context
    from sqlalchemy import create_engine
    from postgres_database.history import operations
    from postgres_database.models import metadata
    from postgres_database.server import embedded, environment

    engine = embedded.target(environment.load()).engine
    with engine.connect() as connection:
        context.configure(connection=connection, target_metadata=metadata, compare_server_default=True)
        with context.begin_transaction():
            context.run_migrations()
"""


class Checkout:
    """A copy of this repository, whose database is at head and whose models are ahead of it."""

    def __init__(self, root: Path) -> None:
        """Copy the files."""
        self.root = root
        self.environ = {name: os.environ[name] for name in ("PATH",)} | {"HOME": str(root.parent)}
        ignored = shutil.ignore_patterns("__pycache__", ".*", "tests")
        shutil.copytree(ROOT, root, ignore=ignored)
        shutil.copytree(root / "migration", root / "plain")
        (root / "plain" / "env.py").write_text(textwrap.dedent(PLAIN_ENV))
        (root / "plain.ini").write_text(PLAIN_INI)
        self.versions = root / "migration" / "versions"

    def prepare(self, scripts: int) -> None:
        """Make so many more scripts, bring the database to head, and let the models be ahead."""
        parent = self.run("-m", "alembic", "heads").split()[0]
        for number in range(scripts):
            text = f'revision = "r{number}"\ndown_revision = "{parent}"\n\n'
            text += "def upgrade():\n    pass\n\n\ndef downgrade():\n    pass\n"
            (self.versions / f"r{number}.py").write_text(text)
            parent = f"r{number}"
        self.run("-m", "invoke", "upgrade", "--yes")
        with (self.root / "postgres_database" / "models" / "__init__.py").open("a") as models:
            models.write(CHANGE)

    def run(self, *arguments: str) -> str:
        """Run Python in it and return what it prints."""
        command = [sys.executable, *arguments]
        done = subprocess.run(
            command, cwd=self.root, env=self.environ, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"{' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
        return done.stdout

    def seconds(self, *arguments: str) -> float:
        """Measure a command that writes a script, and take the script away again."""
        before = {*self.versions.iterdir()}
        start = time.perf_counter()
        self.run(*arguments)
        taken = time.perf_counter() - start
        (written,) = (path for path in {*self.versions.iterdir()} - before if path.suffix == ".py")
        written.unlink()
        return taken


def compare(name: str, checkout: Checkout) -> bool:
    """Time both in turn, print the medians, and tell whether the bound holds."""
    message = ("--msg", "Added column")
    plain_command = ("-m", "alembic", "-c", "plain.ini", "revision", "--autogenerate", "-m", "x")
    ours: Sequence[str] = ("-m", "invoke", "revision", *message)
    checkout.seconds(*ours)  # the template of the history is made now
    pairs = [(checkout.seconds(*plain_command), checkout.seconds(*ours)) for _ in range(ROUNDS)]
    plain, taken = (statistics.median(column) for column in zip(*pairs, strict=True))
    bound = FACTOR * plain + SECONDS
    good = bool(taken <= bound)
    verdict = "ok" if good else "MISSED"
    print(f"{name:24} {plain:9.2f} {taken:9.2f} {bound:9.2f}  {verdict}")
    return good


def main() -> int:
    """Compare with a short and a long history."""
    print(f"{'seconds':24} {'alembic':>9} {'revision':>9} {'bound':>9}")
    good = []
    with tempfile.TemporaryDirectory() as folder:
        for name, scripts in {"history as shipped": 0, f"{LONG} scripts more": LONG}.items():
            checkout = Checkout(Path(folder) / f"history{scripts}" / "checkout")
            try:
                checkout.prepare(scripts)
                good.append(compare(name, checkout))
            finally:
                checkout.run("-m", "invoke", "stop")
    return 0 if all(good) else 1


if __name__ == "__main__":
    raise SystemExit(main())
