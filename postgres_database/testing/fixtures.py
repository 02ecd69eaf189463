"""The fixtures of pytest that hand out databases at head; a team's conftest.py imports them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from postgres_database.history import project as projects
from postgres_database.server import environment, root
from postgres_database.testing.stock import DatabaseAtHead, Stock

STOCKS = pytest.StashKey[dict[tuple[Path, str], Stock]]()


@pytest.fixture
def database_at_head(request: pytest.FixtureRequest) -> Iterator[DatabaseAtHead]:
    """A database of this test at the head of the history, with no rows but those that scripts insert.

    The history is that of the project that the test is in: the nearest folder upward with an alembic.ini.
    """
    yield from _hand_out(request, "database_at_head", rows=False)


@pytest.fixture
def database_with_rows(request: pytest.FixtureRequest) -> Iterator[DatabaseAtHead]:
    """The same with a few made-up rows in each table that takes some."""
    yield from _hand_out(request, "database_with_rows", rows=True)


def _hand_out(request: pytest.FixtureRequest, name: str, *, rows: bool) -> Iterator[DatabaseAtHead]:
    """Give a test a database, and drop it afterwards; all tests of a process share a stock."""
    stocks = request.config.stash.setdefault(STOCKS, {})
    home = root.require_root(request.path.parent)
    stock = stocks.get((home, name))
    if not stock:
        settings = environment.load(root=home)
        stock = stocks[home, name] = Stock(
            projects.load(home, settings.models), settings, rows=rows
        )
        request.config.add_cleanup(stock.close)
    wanted = sum(name in getattr(item, "fixturenames", ()) for item in request.session.items)
    database = stock.take(wanted)
    yield database
    stock.give_back(database)
