"""Generated projects: a history of any length, models that equal its end, and a database, for ours and plain Alembic.

In the folder of a project, `invoke upgrade` and `alembic -c plain.ini upgrade head` run the same scripts on the same
database. The second has the env.py that `alembic init` writes, and nothing of ours.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import psycopg2

from postgres_database.server.embedded import EmbeddedServer

ROOT = Path(__file__).parent.parent
TEMPLATE = ROOT / "postgres_database" / "template"
ALEMBIC = ("alembic", "-c", "plain.ini")
INI = """
[alembic]
script_location = plain
version_locations = migration/versions
prepend_sys_path = .
path_separator = os
"""
ENV = """
import os

from alembic import context
from sqlalchemy import create_engine, pool

from app_models import metadata

engine = create_engine(os.environ["PLAIN_URL"], poolclass=pool.NullPool)
with engine.connect() as connection:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        compare_server_default=True,
        include_name=lambda name, *_: name != "alembic_version_log",
    )
    with context.begin_transaction():
        context.run_migrations()
"""
SCRIPT = '''"""{message}

Revision ID: {name}
Revises: {parent}
Create Date: 2026-01-01 12:00:00

"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = {name!r}
down_revision: str | Sequence[str] | None = {parent!r}
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Upgrade schema."""
    {up}


def downgrade() -> None:
    """Downgrade schema."""
    {down}
'''
TABLE = """op.create_table(
        {table!r},
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("parent", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("id", name={key!r}),
        sa.ForeignKeyConstraint(["parent"], ["{other}.id"], name={foreign!r}),
    )"""
MODELS = '''"""The models at the end of the history."""

import sqlalchemy as sa

metadata = sa.MetaData()


def _table(name: str, other: str, columns: int) -> None:
    sa.Table(
        name,
        metadata,
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("parent", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=f"{name}_pkey"),
        sa.ForeignKeyConstraint(["parent"], [f"{other}.id"], name=f"{name}_parent_fkey"),
        *(sa.Column(f"c{number}", sa.Text(), nullable=True) for number in range(columns)),
    )


'''


@dataclass(frozen=True)
class Servers:
    """Where databases of generated histories are, and where what is tried on them is."""

    target: EmbeddedServer
    scratch: EmbeddedServer


@dataclass(frozen=True)
class History:
    """A project of generated scripts, and its database."""

    root: Path
    """The project."""
    servers: Servers
    revisions: int
    """The length of its history: scripts named r00000, r00001, …, each of one operation."""
    tables: int
    """How many of the first scripts make a table; the others add a column to one of them, in turn."""
    tool: str = ""
    """Whose database it is, where several tools run the same history."""

    @property
    def versions(self) -> Path:
        """The folder of its scripts."""
        return self.root / "migration" / "versions"

    @property
    def head(self) -> str:
        """The last revision."""
        return _name(self.revisions - 1)

    @property
    def database(self) -> str:
        """The name of its database."""
        return re.sub(r"\W", "_", f"history_{self.revisions}_{self.tables}_{self.tool}".lower())

    @cached_property
    def parts(self) -> dict[str, Any]:
        """How libpq reaches the database."""
        return self.servers.target.dsn.with_parts(dbname=self.database).parameters()

    @cached_property
    def environ(self) -> dict[str, str]:
        """The process environment of commands in the project."""
        folder, port, user = (self.parts[name] for name in ("host", "port", "user"))
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.root),
            "PYTHONPATH": str(ROOT),
            "POSTGRES_DSN": _text(self.parts),
            "SCRATCH_DSN": _text(self.servers.scratch.dsn.parameters()),
            "PLAIN_URL": f"postgresql+psycopg2://{user}@/{self.database}?host={folder}&port={port}",
        }

    def command(self, *words: str) -> list[str]:
        """Return a command such as `invoke upgrade`, or `*ALEMBIC, "upgrade", "head"`, as a list for subprocess."""
        return [sys.executable, "-m", *words]

    def output(self, *words: str) -> str:
        """Run a command, and return what it prints."""
        command = self.command(*words)
        return subprocess.check_output(command, cwd=self.root, env=self.environ, text=True)

    def sql(self) -> str:
        """Return what Alembic runs from an empty database to head: a transaction for each revision, with its stamp."""
        return self.output("invoke", "upgrade", "--sql", "--target", "base:head")

    def write(self) -> None:
        """Write the project, and make its database, which is empty."""
        (self.root / "plain").mkdir(parents=True)
        self.versions.mkdir(parents=True)
        ini = (TEMPLATE / "alembic.ini").read_text()
        named = ini.replace("= postgres_database.models:metadata", "= app_models:metadata")
        files = {
            "alembic.ini": named,
            "tasks.py": (TEMPLATE / "tasks.py").read_text(),
            "migration/env.py": (TEMPLATE / "env.py").read_text(),
            "migration/script.py.mako": (TEMPLATE / "script.py.mako").read_text(),
            "plain.ini": INI,
            "plain/env.py": ENV,
            "plain/script.py.mako": (TEMPLATE / "script.py.mako").read_text(),
            "app_models.py": MODELS + "".join(f"{line}\n" for line in self._models()),
        }
        for name, text in files.items():
            (self.root / name).write_text(text)
        for number in range(self.revisions):
            (self.versions / f"{_name(number)}.py").write_text(self._script(number))
        self.empty()

    def empty(self) -> None:
        """Make the database anew."""
        maintenance: dict[str, Any] = self.servers.target.dsn.parameters()
        with closing(psycopg2.connect(**maintenance)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(f"DROP DATABASE IF EXISTS {self.database} WITH (FORCE)")
                cursor.execute(f"CREATE DATABASE {self.database}")

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Run SQL in the database."""
        with closing(psycopg2.connect(**self.parts)) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            cursor.execute(sql)
            return [*cursor.fetchall()] if cursor.description else []

    def _script(self, number: int) -> str:
        parent = _name(number - 1) if number else None
        table = f"t{number % self.tables}"
        if number < self.tables:
            message, down = f"Add {table}", f"op.drop_table({table!r})"
            key, foreign = f"{table}_pkey", f"{table}_parent_fkey"
            up = TABLE.format(table=table, key=key, foreign=foreign, other=_other(number))
        else:
            column = f"c{number // self.tables - 1}"
            message, down = f"Add {column} to {table}", f"op.drop_column({table!r}, {column!r})"
            up = f"op.add_column({table!r}, sa.Column({column!r}, sa.Text(), nullable=True))"
        return SCRIPT.format(message=message, name=_name(number), parent=parent, up=up, down=down)

    def _models(self) -> Iterator[str]:
        for number in range(min(self.tables, self.revisions)):
            columns = len(range(number + self.tables, self.revisions, self.tables))
            yield f'_table("t{number}", "{_other(number)}", {columns})'


def _text(parts: Mapping[str, str]) -> str:
    return " ".join(f"{key}='{value}'" for key, value in parts.items())


def _name(number: int) -> str:
    return f"r{number:05}"


def _other(number: int) -> str:
    """Return the table that a table refers to: one that is there before it."""
    return f"t{number // 2}"


@contextmanager
def servers(folder: Path) -> Iterator[Servers]:
    """Run servers for generated histories: the target's is as durable as that of a real target."""
    folder.chmod(0o777)  # as root they run under another account
    running = Servers(
        EmbeddedServer(folder / "target"), EmbeddedServer(folder / "scratch", durable=False)
    )
    each = (running.target, running.scratch)
    try:
        for server in each:
            server.ensure_running()
        yield running
    finally:
        for server in each:
            server.stop()
