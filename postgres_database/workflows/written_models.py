"""Write the models of a database, and prove them: what they make against what is there."""

import os
import secrets
import sys
import tempfile
import types
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import psycopg2
import sqlalchemy as sa

from postgres_database.errors import ExpectedError
from postgres_database.history.project import Project
from postgres_database.modelling import completed, described, module
from postgres_database.modelling.module import Contents
from postgres_database.running.listener import Listener
from postgres_database.schema import comparison, disclosures, dump, partitions, respelling, snapshot
from postgres_database.schema.comparison import Comparison
from postgres_database.schema.snapshot import Difference
from postgres_database.scratch import databases, provided
from postgres_database.scratch.databases import Scratch
from postgres_database.server.connection import Database
from postgres_database.server.environment import Environment
from postgres_database.sql.names import Name
from postgres_database.workflows import drift

HINT = "invoke models --into models.py   (a path from the root of the project)"
MODE = 0o644


@dataclass(frozen=True)
class ModelsResult:
    """The models of a database."""

    text: str
    """The module."""
    path: Path | None
    """Where it is; None if it was only asked for."""
    tables: int
    statements: int
    """How many statements stand in it for what SQLAlchemy has no words for."""
    unlike: tuple[Difference, ...]
    """What the models make otherwise: what they make is on the right, and what is there on the left."""
    kept: tuple[tuple[str, int], ...]
    """What is no part of a table, and stays with the history: each kind, and how many."""
    notes: tuple[str, ...]
    """What of the database was not looked at."""


@dataclass(frozen=True)
class Form:
    """What is wanted."""

    into: str = ""
    """The file, from the root of the project; empty: none."""
    as_tables: bool = False
    """Whether every table is a `Table`, and none a class."""


@dataclass(frozen=True)
class _Try:
    """Models that were made a database."""

    text: str
    made: Database
    compared: Comparison


def write(
    project: Project,
    environment: Environment,
    target: Database,
    form: Form,
    listener: Listener,
) -> ModelsResult:
    """Write the models of a database.

    Args:
        project: Says what is excluded, and where it is.
        environment: Where the scratch server is.
        target: The database, which is only read.
        form: What is wanted.
        listener: Asked before a file is overwritten, and before what may be a secret is written.

    Raises:
        ExpectedError: There is nothing to write, it cannot be written, or was not confirmed; no file was changed.
    """
    into = form.into
    path = _place(project.root, into) if into else None
    reader = target.read_only()
    with listener.at_work("read the schema of the target"):
        dumped = dump.take(reader, project.scope)
    with databases.session(project, environment) as session:
        drift.provide(reader, session)
        with listener.at_work("make a copy of the schema"):
            copy = snapshot.copies([dumped], session.empty)[0]
            writer = _Writer(project, session, copy, as_tables=form.as_tables)
        if not writer.contents.tables:
            raise ExpectedError(
                f"{target.dsn} has no tables",
                cause="there is nothing to write models of; no file was changed",
                hint=f"invoke models --env …   (another environment; invoke psql{environment.env_option} looks at it)",
            )
        with listener.at_work("prove the models on a scratch database"):
            done = writer.best()
        if found := disclosures.find(dump.take(done.made)):
            where = into or "what is printed"
            listener.require_yes(
                f"write what may be a secret into {where}", [f"look at   {line}" for line in found]
            )
    differences = done.compared.differences
    notes = [f"{key} is invalid, and not in the models" for key in snapshot.invalid_indexes(reader)]
    if path:
        _put(path, done.text, into, listener)
    return ModelsResult(
        done.text,
        path,
        len(writer.contents.tables),
        done.text.count("sa.DDL("),
        differences.objects,
        tuple(Counter(key.kind for key in differences.kept).most_common()),
        (*dump.omissions(dumped), *notes),
    )


class _Writer:
    """Writes models until what they make is what is there, or no better way is known."""

    def __init__(
        self, project: Project, session: Scratch, copy: Database, *, as_tables: bool
    ) -> None:
        self._project = project
        self._session = session
        self._copy = copy
        catalog = comparison.side(copy).catalog
        tables = [
            name
            for name, table in catalog.tables.items()
            if table.kind != "f"
            and not table.partition
            and project.scope.includes(*name)
            and name.name not in partitions.OTHERS
        ]
        self.contents = Contents(catalog, described.comments(copy), tables, as_tables)

    def best(self) -> _Try:
        """Return the models that come nearest: as SQLAlchemy says it, then with statements for what differs."""
        contents, first = self.contents, None
        for own_types in (True, False):  # functions of the history may need them
            contents = replace(contents, own_types=own_types)
            with suppress(ExpectedError):  # a part that cannot be made as SQLAlchemy says it
                first = self._try(contents)
                break
        if first and not first.compared.differences.objects:
            return first
        goal = contents.catalog if first is None else first.compared.before.catalog
        here = replace(goal, tables={}) if first is None else first.compared.models.catalog
        bare = replace(contents, omitted=completed.unlike(here, goal, contents.tables))
        try:
            without = self._try(bare)
        except ExpectedError as error:
            raise ExpectedError(
                "no models of this database can be written; no file was changed",
                cause=error.cause,
                hint="exclude = … in alembic.ini names the table that has this, then the same command again",
            ) from error
        lacking = completed.statements(
            without.compared.models.catalog,
            without.compared.before.catalog,
            [described.sequences(each) for each in (without.made, self._copy)],
            contents.tables,
        )
        every = {name: [*chain(*changes)] for name, changes in lacking.items()}
        tries = [first] if first else []
        try:
            tries.append(self._try(replace(bare, statements=every)))
        except ExpectedError:  # one of them stands in the way of all
            accepted = _accepted(without.made, lacking)
            tries.append(self._try(replace(bare, statements=accepted)))
        return min(tries, key=lambda each: len(each.compared.differences.objects))

    def _try(self, contents: Contents) -> _Try:
        text = module.written(contents)
        with _executed(text) as metadata:
            built = provided.build(self._session, metadata, lambda: self._copy)
            compared = respelling.compare(
                self._project.scope, self._copy, built.database, (), self._session.empty
            )
        return _Try(text, built.database, compared)


def _accepted(
    database: Database, statements: Mapping[Name, Sequence[Sequence[str]]]
) -> dict[Name, list[str]]:
    """Run the statements of each change; return those of the changes that the server accepts, by table.

    Args:
        database: Has the tables; it is changed.
        statements: By table, the statements of each of its changes.
    """
    found: dict[Name, list[str]] = {name: [] for name in statements}
    left = [(name, change) for name, changes in statements.items() for change in changes]
    with database.connect() as connection, connection.begin():
        cursor = connection.connection.cursor()
        while left:
            refused = []
            for name, change in left:
                cursor.execute("SAVEPOINT change")
                try:
                    cursor.execute("".join(change))
                except psycopg2.Error:
                    cursor.execute("ROLLBACK TO change")
                    refused.append((name, change))
                else:
                    found[name] += change
            if len(refused) == len(left):
                break
            left = refused  # a foreign key may need the key of a table that came later
    return found


@contextmanager
def _executed(text: str) -> Iterator[sa.MetaData]:
    """Run a module of models, which Python forgets afterwards."""
    name = f"models_{secrets.token_hex(8)}"
    made = sys.modules[name] = types.ModuleType(name)
    try:
        exec(compile(text, f"<{name}>", "exec"), made.__dict__)  # noqa: S102 - we wrote it
        metadata: sa.MetaData = made.__dict__["metadata"]
        yield metadata
    except ExpectedError:
        raise
    except Exception as error:
        raise ExpectedError(
            "the models that were written cannot be imported; no file was changed",
            cause=f"{type(error).__name__}: {error}",
            hint="invoke models --tables   (which writes no classes)",
        ) from error
    finally:
        del sys.modules[name]


def _place(root: Path, into: str) -> Path:
    """Return the file, in the project."""
    path = (root / into).resolve()
    fault = ""
    if not path.is_relative_to(root.resolve()):
        fault = f"it is outside of {root}"
    elif path.suffix != ".py" or not path.stem.isidentifier():
        fault = "it is not the name of a Python module, such as models.py"
    elif not path.parent.is_dir():
        fault = f"there is no folder {path.parent}"
    elif path.is_dir():
        fault = "it is a folder"
    if fault:
        raise ExpectedError(f"the models cannot be written to {into}", cause=fault, hint=HINT)
    return path


def _put(path: Path, text: str, into: str, listener: Listener) -> None:
    """Write the file at one moment; one that is there is replaced only after a question."""
    before = path.read_bytes() if path.exists() else None
    if before == text.encode():
        return
    mode = path.stat().st_mode if before is not None else MODE
    if before is not None:
        lines = len(before.splitlines())
        listener.require_yes(f"replace {into}", [f"{into} is there, with {lines} lines"])
    handle, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(aside).chmod(mode)
        Path(aside).replace(path)
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise
