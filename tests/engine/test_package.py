"""The engine as a package: built, installed into an environment of its own, taken into somebody else's repository."""

import importlib.util
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import alembic
import pytest
from checkouts import as_text
from conftest import ROOT, run_sql
from pages import require_true, without_progress

from postgres_database.server.connection import Database

MODELS = """
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    total: Mapped[int]
"""
SCRIPT = """
import sqlalchemy as sa
from alembic import op

revision = {0!r}
down_revision = {1!r}


def upgrade() -> None:
    {2}


def downgrade() -> None:
    {3}
"""
SCRIPTS = (
    ("one", None, 'op.create_table("orders", sa.Column("id", sa.Integer, primary_key=True))',
     'op.drop_table("orders")'),
    ("two", "one", 'op.add_column("orders", sa.Column("total", sa.Integer, nullable=False))',
     'op.drop_column("orders", "total")'),
)  # fmt: skip


class Application:
    """A repository with models, an alembic.ini, an env.py and two scripts of its own."""

    def __init__(self, root: Path, programs: Path, scratch: Database) -> None:
        self.root = root
        self.programs = programs
        self.environ = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "SCRATCH_DSN": as_text(scratch.dsn),
            "COLUMNS": "200",
        }
        (root / "src" / "shop").mkdir(parents=True)
        self.models = root / "src" / "shop" / "models.py"
        self.models.write_text(MODELS)
        template = Path(alembic.__file__).parent / "templates" / "generic"
        ini = (template / "alembic.ini.mako").read_text()
        for name, value in {"script_location": "db", "file_template_note": ""}.items():
            ini = ini.replace("${" + name + "}", value)
        (root / "alembic.ini").write_text(
            ini.replace("prepend_sys_path = .", "prepend_sys_path = src")
        )
        (root / "db" / "versions").mkdir(parents=True)
        (root / "db" / "script.py.mako").write_text((template / "script.py.mako").read_text())
        env = (template / "env.py").read_text()
        env = env.replace(
            "from alembic import", "from shop.models import Base\nfrom alembic import"
        )
        env = env.replace("target_metadata = None", "target_metadata = Base.metadata")
        for each in ("connection=connection", "url=url"):
            env = env.replace(each, f'version_table="shop_version", {each}')
        (root / "db" / "env.py").write_text(env)
        for script in SCRIPTS:
            (root / "db" / "versions" / f"{script[0]}.py").write_text(SCRIPT.format(*script))

    def use(self, database: Database) -> None:
        """Let plain Alembic work on a database."""
        parts = database.dsn.parts
        url = f"postgresql+psycopg2://{parts['user']}@/{parts['dbname']}?host={parts['host']}&port={parts['port']}"
        ini = self.root / "alembic.ini"
        ini.write_text(ini.read_text().replace("driver://user:pass@localhost/dbname", url))

    def type(self, *words: str, folder: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command of the package."""
        return self.run(str(self.programs / "postgres-database"), *words, folder=folder)

    def run(self, *command: str, folder: str = "") -> subprocess.CompletedProcess[str]:
        """Run any program in the application."""
        done = subprocess.run(
            command,
            cwd=self.root / folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        done.stderr = without_progress(done.stderr)
        return done


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package, built as `pip wheel .` does it, without anything from elsewhere."""
    if not importlib.util.find_spec("hatchling"):
        pytest.skip("hatchling is not installed (make test installs it)")
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT))
    return next(folder.glob("*.whl"))


@pytest.fixture
def application(tmp_path: Path, wheel: Path, server: Database) -> Application:
    """An application in whose environment the package is."""
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    paths = {"base": str(tmp_path / "venv"), "platbase": str(tmp_path / "venv")}
    theirs = Path(sysconfig.get_path("purelib", "venv", vars=paths))
    libraries = [path for path in sys.path if path.endswith("site-packages")]
    (theirs / "libraries.pth").write_text("\n".join(libraries))
    pip("--python", str(python), "install", "--no-index", str(wheel))
    return Application(tmp_path / "application", python.parent, server)


def pip(*arguments: str) -> None:
    """Run pip without a network: what else is needed is here."""
    program = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*program, *arguments, "--no-deps"], check=True)


def test_the_wheel_is_the_engine_alone(wheel: Path) -> None:
    """It holds the rooms and what `init` copies, and neither models nor what only this repository needs."""
    names = {name.removeprefix("postgres_database/") for name in zipfile.ZipFile(wheel).namelist()}
    ours = {
        str(path.relative_to(ROOT / "postgres_database"))
        for path in (ROOT / "postgres_database").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    left_out = {name for name in ours if name.startswith("models/")}
    assert {name for name in names if ".dist-info/" not in name} == ours - left_out
    assert any(name.endswith("licenses/LICENSE") for name in names)


@pytest.mark.long
def test_an_application_takes_the_engine_in(application: Application, database: Database) -> None:
    """From init to check, the commands work on its own files; plain Alembic and they agree on where it is."""
    asked = application.type("init")
    assert asked.returncode == 2
    assert "left     db/env.py   (see the difference above)" in asked.stdout
    assert "honoured version_table  (db/env.py, line 44)" in asked.stdout
    done = application.type("init", "--yes")
    assert (done.returncode, done.stderr) == (0, "")
    assert "everything is already set up" in application.type("init").stdout

    (application.root / ".env.trial").write_text(f"POSTGRES_DSN={as_text(database.dsn)}\n")
    (application.root / ".env.trial").chmod(0o600)
    application.models.write_text(f"{MODELS}    note: Mapped[str | None]\n")
    written = application.type("revision", "--msg", "Orders have a note", folder="src/shop")
    assert (written.returncode, written.stderr) == (0, "")
    assert "detected  add column orders.note" in written.stdout
    upgraded = application.type("upgrade", "--env", "trial")
    assert (upgraded.returncode, upgraded.stderr) == (0, "")
    assert "now at head: " in upgraded.stdout
    checked = application.type("check", "--env", "trial")
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
    columns = "SELECT string_agg(attname, ' ' ORDER BY attnum) FROM pg_attribute WHERE attnum > 0"
    assert run_sql(database, f"{columns} AND attrelid = 'orders'::regclass") == [("id total note",)]
    assert run_sql(database, "SELECT count(*) FROM shop_version") == [(1,)]

    application.use(database)
    plain = application.run(str(application.programs / "python"), "-m", "alembic", "check")
    assert plain.stdout == "No new upgrade operations detected.\n", plain.stderr


@pytest.mark.long
@pytest.mark.timeout(300)
def test_an_application_moves_in_as_the_page_says(
    application: Application, database: Database
) -> None:
    """Every console block of docs/moving-in.md runs as it stands there."""
    (application.root / ".env.local").write_text(f"DATABASE_URL={as_text(database.dsn)}\n")
    (application.root / ".env.local").chmod(0o600)
    application.use(database)
    shown = {str(database.dsn): "shop@localhost:5432/shop", str(application.root): "/home/you/shop"}
    require_true(ROOT / "docs" / "moving-in.md", application, shown)
