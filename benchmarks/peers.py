"""Other tools that bring a database to head, where they are installed: the same SQL in the files of each.

`make bench-peers`, or `python -m benchmarks.peers`, installs them into `.peers` from PyPI and npm.
"""

import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib import metadata
from pathlib import Path

from benchmarks.histories import ROOT, History
from benchmarks.pairs import Run, measured

PLACE = ROOT / ".peers"
INSTALL = "make bench-peers"
FROM_PYPI = ("flask-migrate", "flask-sqlalchemy", "django", "yoyo-migrations", "psycopg2-binary")
FROM_NPM = ("dbmate", "node-pg-migrate", "pg")
OURS_TOO = ("alembic", "sqlalchemy")
"""What Flask-Migrate gets in the version that we have."""
STATEMENTS = re.compile(
    r"^-- Running upgrade [^\n]*-> (\w+)\n(.*?)^(?:INSERT INTO|UPDATE) alembic_version ",
    re.DOTALL | re.MULTILINE,
)
FLASK = """
import os

from flask import Flask
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy

app = Flask(__name__)
app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["PLAIN_URL"]
Migrate(app, SQLAlchemy(app))
"""
DJANGO = """
import os

NAMES = {"NAME": "PGDATABASE", "HOST": "PGHOST", "PORT": "PGPORT", "USER": "PGUSER"}
DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql"} | {n: os.environ[v] for n, v in NAMES.items()}}
INSTALLED_APPS = ["app"]
"""
DJANGO_SCRIPT = """
from django.db import migrations


class Migration(migrations.Migration):
    dependencies = {parents}
    operations = [migrations.RunSQL({sql!r})]
"""


@dataclass(frozen=True)
class Tool:
    """A command that brings a database to head, and does nothing if it is there."""

    name: str
    program: str | Path
    arguments: tuple[str | Path, ...]
    files: Callable[[History, str], Mapping[str, str]] | None = None
    """The files of a history that it reads, by their names in a folder of its own; it gets the SQL of the history.

    None: it runs in the project.
    """

    @property
    def installed(self) -> bool:
        """Whether it can be run."""
        return Path(self.program).exists()

    def prepare(self, history: History, sql: str) -> History:
        """Write its files, and return the history with an empty database of its own."""
        own = replace(history, tool=self.name)
        if self.files:
            folder = self._folder(own)
            for name, text in self.files(own, sql).items():
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
        own.empty()
        return own

    def run(self, history: History) -> Run:
        """Bring the database of a history that was prepared to head."""
        command = [str(word) for word in (self.program, *self.arguments)]
        environ = _environ(history) if self.files else history.environ
        return measured(command, self._folder(history), environ)

    def again(self, history: History) -> Run:
        """Make the database anew, which is not measured, and bring it to head."""
        history.empty()
        return self.run(history)

    def _folder(self, history: History) -> Path:
        return history.root / "tools" / self.name if self.files else history.root


def _environ(history: History) -> dict[str, str]:
    """Return how tools that know nothing of the project reach the database."""
    url = history.environ["PLAIN_URL"]
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(history.root),
        "PLAIN_URL": url,
        "DATABASE_URL": url.replace("+psycopg2", ""),
        **{f"PG{key.upper()}": history.parts[key] for key in ("host", "port", "user")},
        "PGDATABASE": history.database,
    }


def statements(sql: str) -> dict[str, str]:
    """Return what each revision runs, without its stamp."""
    return {name: text.strip() for name, text in STATEMENTS.findall(sql)}


def _flask(history: History, _: str) -> dict[str, str]:
    (package,) = PLACE.glob("lib/python*/site-packages/flask_migrate")
    template = package / "templates" / "flask"
    return {
        "app.py": FLASK,
        "migrations/alembic.ini": (template / "alembic.ini.mako").read_text(),
        "migrations/env.py": (template / "env.py").read_text(),
    } | {
        f"migrations/versions/{path.name}": path.read_text()
        for path in history.versions.iterdir()
        if path.is_file()
    }


def _django(_: History, sql: str) -> dict[str, str]:
    files = {"settings.py": DJANGO, "app/__init__.py": "", "app/migrations/__init__.py": ""}
    parents: list[tuple[str, str]] = []
    for name, text in statements(sql).items():
        files[f"app/migrations/{name}.py"] = DJANGO_SCRIPT.format(parents=parents, sql=text)
        parents = [("app", name)]
    return files


def _yoyo(_: History, sql: str) -> dict[str, str]:
    files, parent = {}, ""
    for name, text in statements(sql).items():
        files[f"migrations/{name}.sql"] = f"-- depends: {parent}\n{text}\n"
        parent = name
    return files


def _numbered(form: str, _: History, sql: str) -> dict[str, str]:
    """Return files of a tool whose revisions are numbers; `form` is what is around the SQL."""
    texts = enumerate(statements(sql).values(), 1)
    return {f"migrations/{number:013}_revision.sql": form.format(text) for number, text in texts}


PEERS = (
    Tool("Flask-Migrate", PLACE / "bin" / "flask", ("--app", "app", "db", "upgrade"), _flask),
    Tool(
        "Django",
        PLACE / "bin" / "django-admin",
        ("migrate", "--settings=settings", "--pythonpath=."),
        _django,
    ),
    Tool(
        "yoyo",
        PLACE / "bin" / "yoyo",
        ("apply", "--batch", "--no-config-file", "--database=postgresql://", "migrations"),
        _yoyo,
    ),
    Tool(
        "dbmate",
        PLACE / "bin" / "dbmate",
        ("--migrations-dir=migrations", "--no-dump-schema", "migrate"),
        partial(_numbered, "-- migrate:up\n{}\n-- migrate:down\n"),
    ),
    Tool(
        "node-pg-migrate",
        PLACE / "node_modules" / ".bin" / "node-pg-migrate",
        ("up", "--migrations-dir=migrations"),
        partial(_numbered, "-- Up Migration\n{}\n"),
    ),
)


def missing() -> str:
    """Return which tools are not installed and what to type, in a line; empty if all are."""
    names = [peer.name for peer in PEERS if not peer.installed]
    advice = f"try: {INSTALL}   (dbmate and node-pg-migrate need npm)"
    return f"not installed, so not measured: {', '.join(names)}; {advice}" if names else ""


def _commands() -> Iterator[list[str | Path]]:
    ours = [f"{name}=={metadata.version(name)}" for name in OURS_TOO]
    yield [PLACE / "bin" / "python", "-m", "pip", "install", "--quiet", *FROM_PYPI, *ours]
    if npm := shutil.which("npm"):
        yield [npm, "install", "--prefix", PLACE, "--no-save", "--no-audit", "--no-fund", *FROM_NPM]


def main() -> int:
    """Install them."""
    venv.create(PLACE, clear=True, with_pip=True)
    for command in _commands():
        print(*command, flush=True)
        if subprocess.run(command, check=False).returncode:
            return 1
    for program in PLACE.glob(
        "node_modules/@dbmate/*/bin/dbmate"
    ):  # not npm's, which starts node first
        (PLACE / "bin" / "dbmate").symlink_to(program)
    print(missing() or f"installed in {PLACE}: {', '.join(peer.name for peer in PEERS)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
