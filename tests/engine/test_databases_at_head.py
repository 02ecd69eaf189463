"""The fixtures that give each test of a team a database at head."""

import os
import re
import subprocess
import sys
import time

import pytest
import sqlalchemy as sa
from checkouts import as_text
from conftest import ROOT, Project, run_sql

from postgres_database.server.connection import Database
from postgres_database.testing.stock import AHEAD, Stock

PAGE = (ROOT / "docs" / "testing.md").read_text()
FILES = re.findall(r"```python\n# (\S+)\n(.*?)```", PAGE, re.DOTALL)
MODELS = """
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    total: Mapped[int]
"""
UPGRADE = """
op.create_table("orders", sa.Column("id", sa.Integer, primary_key=True), sa.Column("total", sa.Integer, nullable=False))
op.execute("CREATE TABLE countries AS SELECT 'Malta' AS name")
"""
NOTES = """
import os
import signal

import pytest


@pytest.fixture(autouse=True)
def noted(request):
    for name in {"database_at_head", "database_with_rows"} & {*request.fixturenames}:
        with open("names", "a") as file:
            file.write(f"{request.getfixturevalue(name).url.database}\\n")
"""
KILLED = """
import os
import signal


def test_killed(database_at_head):
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def shop(project: Project) -> Project:
    """An application with models, a history and the files of the page."""
    for name, text in [("shop/models.py", MODELS), *FILES, ("tests/test_killed.py", KILLED)]:
        path = project.root / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    project.script("aaaa", "", UPGRADE)
    return project


def run_tests(project: Project, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run tests of a team."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--color=no", *arguments],
        cwd=project.root,
        env=os.environ | {"SCRATCH_DSN": as_text(project.scratch), "PYTHONPATH": f".:{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )


def left(project: Project, server: Database) -> list[tuple[object, ...]]:
    """Return the databases and roles that tests had and that are still there."""
    names = (project.root / "names").read_text().split()
    return run_sql(
        server,
        f"""SELECT name FROM (SELECT datname FROM pg_database UNION ALL SELECT rolname FROM pg_roles) AS a (name)
            WHERE name IN ({", ".join(f"'{name}'" for name in names)})""",
    )


@pytest.mark.long
@pytest.mark.parametrize("workers", ["0", "2"])
def test_page_is_true(shop: Project, server: Database, workers: str) -> None:
    """The example works as it stands there, with and without xdist, and leaves nothing behind."""
    (shop.root / "conftest.py").write_text(NOTES)
    ran = run_tests(shop, "-n", workers, "tests/test_orders.py")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "2 passed" in ran.stdout
    assert len({*(shop.root / "names").read_text().split()}) == 2
    assert left(shop, server) == []


@pytest.mark.long
def test_killed_tests_are_cleaned_up_after(shop: Project, server: Database) -> None:
    """The next run drops the databases and roles of one that was killed."""
    (shop.root / "conftest.py").write_text(NOTES)
    assert run_tests(shop, "-n", "0", "tests/test_killed.py").returncode == -9
    assert len(left(shop, server)) == 2
    end = time.monotonic() + 20
    while left(shop, server):  # the server has to notice first that the maker is dead
        assert time.monotonic() < end
        assert run_tests(shop, "-n", "0", "tests/test_orders.py").returncode == 0


def test_each_database_is_as_the_history_makes_it(shop: Project) -> None:
    """One test's rows and tables are not in the next one's; rows of scripts are in each."""
    stock = Stock(*shop.settings, rows=False)
    try:
        for _ in range(3):
            database = stock.take(3)
            with database.connect() as connection, connection.begin():
                tables = sa.inspect(connection).get_table_names()
                assert sorted(tables) == ["alembic_version", "countries", "orders"]
                assert connection.scalar(sa.text("SELECT count(*) FROM orders")) == 0
                assert connection.scalar(sa.text("SELECT name FROM countries")) == "Malta"
                connection.execute(sa.text("INSERT INTO orders VALUES (1, 1)"))
                connection.execute(sa.text("CREATE TABLE mine (id int)"))
            stock.give_back(database)
    finally:
        stock.close()


def test_no_more_are_made_than_are_asked_for(shop: Project) -> None:
    """A single test causes one copy, many tests cause no more ahead than the limit."""
    stock = Stock(*shop.settings, rows=False)
    try:
        stock.take(1)
        assert len(stock._waiting) == 0
        stock.take(1000)
        assert len(stock._waiting) == AHEAD
    finally:
        stock.close()


def test_table_without_rows_is_named(project: Project) -> None:
    """What no made-up row can please is in `left_empty`, with the reason."""
    project.script(
        "aaaa", "", "op.execute('CREATE TABLE t (id int CHECK (id IS NULL AND id = 1))')"
    )
    project.script("bbbb", "aaaa", "op.execute('CREATE TABLE u (id int CHECK (false))')")
    stock = Stock(*project.settings, rows=True)
    try:
        (line,) = stock.take(1).left_empty
        assert line.startswith("table public.u: ")
    finally:
        stock.close()
