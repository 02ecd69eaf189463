"""One PostgreSQL for the whole test run, a database of its own for each test."""

import contextlib
import dataclasses
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import hypothesis
import pytest
import sqlalchemy as sa
from checkouts import Checkout, as_text, ready_venv
from forwarding import forward_all
from servers import HOME_VARIABLE, OtherServer, test_server

from postgres_database.history import project as projects
from postgres_database.online import pace
from postgres_database.schema.scope import Scope
from postgres_database.scratch import recording
from postgres_database.server.connection import Database
from postgres_database.server.environment import Environment

ROOT = Path(__file__).parents[2]
"""The repository."""
MEMORY = Path("/dev/shm")  # noqa: S108 - for a private directory
ROOM = 4 << 30
"""Bytes; a run of all tests takes about a third of it."""
PASSWORD = "p@ss/w%rd#$1"  # holds what URLs, env files and configparser trip over

pace.FIRST, pace.PERIOD = 0.9, float("inf")  # others that are at work on the server are tests
recording.PATIENCE = 60.0  # and they may be many

# Whoever runs the tests has settings of their own; none of them may reach a test.
for name in [*os.environ]:
    if name.startswith("PG") or name in {
        "ENV",
        "POSTGRES_DATABASE_CALLER",
        "POSTGRES_DSN",
        "DATABASE_URL",
        "SCRATCH_DSN",
        "DEBUG",
        "MSG",
    }:
        del os.environ[name]


def _prefer_memory() -> None:
    """Put servers and checkouts into memory where there is room: disks are slow."""
    if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= ROOM:
        os.environ.setdefault("TMPDIR", str(MEMORY))
        tempfile.tempdir = None  # so that it is looked up again


hypothesis.settings.register_profile(
    "whatever the load", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("whatever the load")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        _prefer_memory()
        home = Path(tempfile.mkdtemp(prefix="pgdb-"))
        home.chmod(0o755)  # as root the server runs under another account
        os.environ[HOME_VARIABLE] = str(home)
        if isinstance(used := test_server(), OtherServer):
            used.make_reachable()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the first case of each long test that has several; of the others leave out what TEST_LONG does not name."""
    seen = set()
    for item in items:
        test = item.nodeid.partition("[")[0]
        if "[" in item.nodeid and test not in seen and item.get_closest_marker("long"):
            item.add_marker("first")
        seen.add(test)
    part, parts = map(int, os.environ.get("TEST_LONG", "1/1").split("/"))
    long = [item for item in items if item.get_closest_marker("long")]
    rest = [item for item in long if not item.get_closest_marker("first")]
    others = {item for number, item in enumerate(rest) if number % parts != part - 1}
    config.hook.pytest_deselected(items=[*others])
    items[:] = [item for item in items if item not in others]


def pytest_report_header() -> str:
    """Name the server that is tested by its full version."""
    postgres = test_server().binaries / "postgres"
    done = subprocess.run([postgres, "--version"], capture_output=True, text=True, check=True)
    return done.stdout.strip().replace("postgres (PostgreSQL)", "test server: PostgreSQL")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Start a worker more than there are cores: most tests wait for processes now and then.

    All share one server; beyond eight they only wait for it.
    """
    return min((os.cpu_count() or 1) + 1, 8)


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        test_server().stop()
        shutil.rmtree(os.environ.pop(HOME_VARIABLE))


@pytest.fixture(autouse=True)
def compiled_anew() -> Iterator[None]:
    """Python tells compiled files by size and second: a test may write two scripts of one size within one.

    Not by `monkeypatch`, which would then outlive the databases of each test.
    """
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    yield
    sys.dont_write_bytecode = before


@pytest.fixture(scope="session")
def server() -> Database:
    """The test server, by a maintenance database of this process.

    Templates are those of a role and of such a database (`Place.of`): tests at once do not drop each other's.
    """
    running = test_server()
    maintenance = Database(running.ensure_running(), "test")
    with maintenance.connect(autocommit=True) as connection:
        connection.exec_driver_sql("SELECT pg_advisory_lock(1)")
        roles = connection.exec_driver_sql("SELECT rolname FROM pg_roles").scalars().all()
        if "app" not in roles:
            connection.exec_driver_sql(
                f"CREATE ROLE app LOGIN PASSWORD '{PASSWORD.replace('%', '%%')}'"
            )
            connection.exec_driver_sql("CREATE ROLE logins")
            hba = running.data / "pg_hba.conf"
            rules = "local all app,+logins scram-sha-256\nlocal replication all trust\n"
            hba.write_text(rules + hba.read_text())
            connection.exec_driver_sql("SELECT pg_reload_conf()")
        own = f"worker_{os.environ.get('PYTEST_XDIST_WORKER', '')}"
        connection.exec_driver_sql(f"CREATE DATABASE {own} TEMPLATE template0")
    return Database(maintenance.dsn.with_parts(dbname=own), "test")


def needs_version(server: Database, major: int, what: str) -> None:
    """Skip what an older server does not have."""
    if int(str(run_sql(server, "SHOW server_version_num")[0][0])) < major * 10000:
        pytest.skip(f"{what}: new in PostgreSQL {major}")


@contextlib.contextmanager
def fresh(server: Database) -> Iterator[Database]:
    """Make an empty database for a while."""
    name = f"test_{secrets.token_hex(6)}"
    with server.connect(autocommit=True) as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name} TEMPLATE template0 STRATEGY file_copy")
    yield Database(server.dsn.with_parts(dbname=name), "test", "from the test")
    with server.connect(autocommit=True) as connection:
        connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture
def database(server: Database) -> Iterator[Database]:
    """A fresh empty database."""
    with fresh(server) as made:
        yield made


@pytest.fixture
def engine(database: Database) -> sa.Engine:
    """An engine on a fresh empty database."""
    return database.engine


def run_sql(database: Database, *statements: str) -> list[tuple[object, ...]]:
    """Run statements as they are and return the rows of the last one."""
    with database.connect(usual_path=True) as connection, connection.begin():
        cursor = connection.connection.cursor()
        for statement in statements:
            cursor.execute(statement)
        return list(cursor.fetchall()) if cursor.description else []


PROJECTS = {each.name for each in dataclasses.fields(projects.Project)} - {"root"}
SCOPES = {each.name for each in dataclasses.fields(Scope)}


class Settings(NamedTuple):
    """What a command works on, in the order of the parameters of workflows."""

    project: projects.Project
    environment: Environment


def changed(settings: Settings, **values: Any) -> Settings:
    """Return settings in which the project or the environment has other values."""
    of_project = {name: values.pop(name) for name in [*values] if name in PROJECTS}
    scope = {name: values.pop(name) for name in [*values] if name in SCOPES}
    if scope:
        of_project["scope"] = dataclasses.replace(settings.project.scope, **scope)
    return Settings(
        dataclasses.replace(settings.project, **of_project),
        dataclasses.replace(settings.environment, **values),
    )


class Project:
    """A repository of its own: alembic.ini, migration/ without scripts, models of the test's making."""

    def __init__(self, root: Path, server: Database, database: Database) -> None:
        self.root = root
        self.database = database
        shutil.copy(ROOT / "alembic.ini", root)
        shutil.copytree(
            ROOT / "migration",
            root / "migration",
            ignore=shutil.ignore_patterns("20*", "__pycache__"),
        )
        self.versions = root / "migration" / "versions"
        self.scratch = server.dsn
        self.settings = Settings(
            projects.Project(root),
            Environment(root, "", "from the test", database.dsn, scratch=self.scratch),
        )

    @property
    def settings(self) -> Settings:
        """What a command works on, which reads the scripts anew."""
        return Settings(self._settings.project.anew(), self._settings.environment)

    @settings.setter
    def settings(self, settings: Settings) -> None:
        self._settings = settings

    def models(self, text: str) -> None:
        """Make these the models: the body of a module in which `metadata` is an empty MetaData."""
        module = f"models_{secrets.token_hex(6)}"
        head = "import sqlalchemy as sa\nfrom postgres_database.naming import NAMING_CONVENTION\n"
        head += "metadata = sa.MetaData(naming_convention=NAMING_CONVENTION)\n"
        (self.root / f"{module}.py").write_text(head + textwrap.dedent(text))
        self.settings = changed(self.settings, target_metadata=f"{module}:metadata")

    def script(
        self, revision: str, parents: str = "", upgrade: str = "pass", downgrade: str = "pass"
    ) -> Path:
        """Write a revision by hand; several parents are separated by commas."""
        path = self.versions / f"{revision}.py"
        down = tuple(parents.split(",")) if "," in parents else parents or None
        path.write_text(
            f'"""Message of {revision}"""\n\nimport sqlalchemy as sa\nfrom alembic import op\n\n'
            f"revision = {revision!r}\ndown_revision = {down!r}\n\n\n"
            f"def upgrade():\n{textwrap.indent(textwrap.dedent(upgrade).strip(), '    ')}\n\n\n"
            f"def downgrade():\n{textwrap.indent(textwrap.dedent(downgrade).strip(), '    ')}\n"
        )
        return path

    def env_file(self, name: str, target: Database | None = None) -> None:
        """Write the file of an environment: its target, or that of the project, and the scratch server of the tests."""
        dsn = (target or self.database).dsn
        lines = f"POSTGRES_DSN={as_text(dsn)}\nSCRATCH_DSN={as_text(self.scratch)}\n"
        (self.root / f".env.{name}").write_text(lines)

    def scripts(self) -> list[str]:
        """Return the names of all files of the history."""
        return sorted(
            path.name for path in self.versions.iterdir() if path.suffix in {".py", ".sql"}
        )


@pytest.fixture
def project(
    tmp_path: Path, server: Database, database: Database, monkeypatch: pytest.MonkeyPatch
) -> Project:
    """A repository whose target is a fresh database."""
    monkeypatch.syspath_prepend(tmp_path)
    return Project(tmp_path, server, database)


@pytest.fixture
def three(project: Project) -> Project:
    """A history of three revisions that make a table and two columns."""
    project.script(
        "aaaa", "", "op.execute('CREATE TABLE t (id int)')", "op.execute('DROP TABLE t')"
    )
    for revision, parent in (("bbbb", "aaaa"), ("cccc", "bbbb")):
        project.script(
            revision,
            parent,
            f"op.execute('ALTER TABLE t ADD {revision} int')",
            f"op.execute('ALTER TABLE t DROP {revision}')",
        )
    return project


def columns(database: Database) -> list[object]:
    query = "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass('t') AND attnum > 0"
    return [name for (name,) in run_sql(database, query + " AND NOT attisdropped ORDER BY attnum")]


@pytest.fixture
def clone(tmp_path: Path, server: Database) -> Checkout:
    """A copy of this repository, with the models and the history that it has."""
    return Checkout(tmp_path / "checkout", server)


@pytest.fixture
def checkout(clone: Checkout) -> Checkout:
    """A copy of this repository with models and a history that tests know: those of `helpers/example`."""
    example = ROOT / "tests" / "engine" / "helpers" / "example"
    for name, place in {
        "models": "postgres_database/models",
        "versions": "migration/versions",
    }.items():
        shutil.rmtree(clone.root / place)
        shutil.copytree(example / name, clone.root / place)
    return clone


@pytest.fixture
def newcomer(server: Database) -> Iterator[Checkout]:
    """A checkout where the embedded server may live as well, with a .venv that is ready."""
    home = Path(tempfile.mkdtemp(prefix="pgdb-readme-"))
    home.chmod(0o755)
    checkout = Checkout(home / "c", server)
    ready_venv(checkout)
    del checkout.environ["SCRATCH_DSN"]
    yield checkout
    checkout.invoke("stop")
    shutil.rmtree(home)


@pytest.fixture
def port(server: Database) -> Iterator[int]:
    """A TCP port of 127.0.0.1 behind which the test server asks for the password of `app`."""
    path = f"{server.dsn.parts['host']}/.s.PGSQL.{server.dsn.parts['port']}"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=forward_all, args=(listener, path), daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def role(server: Database) -> Iterator[str]:
    """A role that may log in and nothing else; asked for before the database in which it owns something."""
    name = f"test_{secrets.token_hex(6)}"
    with server.connect(autocommit=True) as connection:
        connection.exec_driver_sql(f"CREATE ROLE {name} LOGIN")
    yield name
    with server.connect(autocommit=True) as connection:
        connection.exec_driver_sql(f"DROP ROLE IF EXISTS {name}")
