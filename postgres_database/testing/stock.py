"""Databases at the head of a history, made before they are asked for.

One thread makes copies and drops those that were used, in turn, on a connection of its own: a test waits only where
tests use up databases faster than the server copies them.
"""

from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property

import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from postgres_database.history.project import Project
from postgres_database.proving import made_up_rows
from postgres_database.scratch import databases
from postgres_database.scratch.databases import Scratch
from postgres_database.server.environment import Environment

AHEAD = 8
"""How many copies wait at most; one is some 8 MB."""
IN_ADDRESS = ("user", "password", "dbname")
"""Parameters of libpq that stand before the query of a URL."""


@dataclass(frozen=True)
class DatabaseAtHead:
    """A database of one test, at the head of the history."""

    url: sa.URL
    """For SQLAlchemy's `create_engine`, with psycopg2 as the driver; `url.set(drivername=…)` is for another."""
    left_empty: tuple[str, ...] = ()
    """Of a database with made-up rows: the tables that have none, with the server's reason, a line each."""

    @property
    def dsn(self) -> str:
        """The same as a text with its password, `postgresql://…`, which libpq and other drivers take."""
        return self.url.set(drivername="postgresql").render_as_string(hide_password=False)

    @cached_property
    def engine(self) -> sa.Engine:
        """An engine that keeps no connection."""
        return sa.create_engine(self.url, poolclass=NullPool)

    def connect(self) -> sa.Connection:
        """Connect as the owner of all that the history made."""
        return self.engine.connect()


class Stock:
    """Databases at the head of a project's history."""

    def __init__(self, project: Project, environment: Environment, *, rows: bool) -> None:
        """Make the database that the others are copied from.

        Args:
            project: Whose history.
            environment: Where the scratch server is.
            rows: Whether each table gets made-up rows.

        Raises:
            ExpectedError: A script fails, or the scratch server cannot be used.
        """
        self._left_empty: tuple[str, ...] = ()
        self._waiting: deque[Future[DatabaseAtHead]] = deque()
        self._taken = 0
        with ExitStack() as opened:
            self._scratch: Scratch = opened.enter_context(databases.session(project, environment))
            self._template = self._scratch.at_head(project)
            if rows:
                goal = self._scratch.clone(self._template)
                self._left_empty = made_up_rows.fill(self._template, goal)
            self._thread = ThreadPoolExecutor(1, "databases-at-head")
            self._opened = opened.pop_all()

    def take(self, wanted: int) -> DatabaseAtHead:
        """Return a database, once it is made.

        Args:
            wanted: How many will have been asked for at the end, with this one and those before.
        """
        self._taken += 1
        missing = 1 + min(max(wanted - self._taken, 0), AHEAD) - len(self._waiting)
        self._waiting.extend(self._thread.submit(self._make) for _ in range(missing))
        return self._waiting.popleft().result()

    def give_back(self, used: DatabaseAtHead) -> None:
        """Drop a database when there is time; connections to it are closed by the server."""
        self._thread.submit(self._scratch.drop, str(used.url.database))

    def close(self) -> None:
        """Drop all that there is."""
        self._thread.shutdown(cancel_futures=True)
        self._opened.close()

    def _make(self) -> DatabaseAtHead:
        made = self._scratch.clone(self._template)
        return DatabaseAtHead(_url(self._scratch.rights.plain(made).parts), self._left_empty)


def _url(parts: Mapping[str, str]) -> sa.URL:
    """Return connection parameters of libpq as a URL; a host may be a folder, or several."""
    return sa.URL.create(
        "postgresql+psycopg2",
        username=parts.get("user"),
        password=parts.get("password"),
        database=parts.get("dbname"),
        query={name: value for name, value in parts.items() if name not in IN_ADDRESS},
    )
