"""What the models would send to an empty database: noted by a copy of this process, and not run.

Models that send the same statements make the same schema, as long as no answer of the server can make them send others
and no statement makes something else when it is run at another time. So the copy refuses whatever reads from a server,
and `Heard` tells whether the models, when they were really created, sent the same and were answered nothing.

It is a copy, because what models register may act once only: in this process they are not created twice.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from multiprocessing.connection import Connection
from types import SimpleNamespace
from typing import Any, NoReturn

import psycopg2
import sqlalchemy as sa
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - a class

from postgres_database.history import project_models
from postgres_database.history.project import Project
from postgres_database.history.project_models import Models
from postgres_database.scratch import known
from postgres_database.scratch.databases import Scratch
from postgres_database.server.connection import Database
from postgres_database.sql import syntax

PATIENCE = 10.0
"""Seconds after which the copy is ended: it may wait for a lock that a thread had which it does not have."""
# On these, too, the schema depends that statements make (besides `known.around`): listeners may have set them.
SETTINGS = "SELECT string_agg(concat(name, '=', setting), ', ' ORDER BY name) FROM pg_settings"
KINDS = frozenset((
    "AlterDefaultPrivilegesStmt", "AlterDomainStmt", "AlterEnumStmt", "AlterSeqStmt", "AlterTableStmt", "CommentStmt",
    "CompositeTypeStmt", "CreateDomainStmt", "CreateEnumStmt", "CreateExtensionStmt", "CreateFunctionStmt",
    "CreatePolicyStmt", "CreateRangeStmt", "CreateSchemaStmt", "CreateSeqStmt", "CreateStatsStmt", "CreateStmt",
    "CreateTrigStmt", "DropStmt", "GrantStmt", "IndexStmt", "RuleStmt", "TransactionStmt", "VariableSetStmt",
    "ViewStmt",
))  # fmt: skip
"""Statements that make a schema of what is written in them and of nothing else; `_is_lasting` has the exceptions."""
READS = ("SelectStmt", "TransactionStmt", "VariableSetStmt", "VariableShowStmt")
MOMENT = re.compile(
    r"(?<![a-z])(?:now|today|tomorrow|yesterday)(?![a-z])", re.IGNORECASE
)  # also in 'today04:05'
"""Words that PostgreSQL replaces in a constant when it reads it (manual, "Special Values" of date and time types)."""
COMPUTED = ("FuncCall", "SQLValueFunction", "SubLink", "ColumnRef", "A_Expr")


class RefusedError(Exception):
    """What was asked for has an answer that only a server knows."""


@dataclass
class Notes:
    """What was sent."""

    sent: list[str] = field(default_factory=list)
    plain: bool = True
    """Whether nothing was asked for that has an answer, and no statement has values, which may be anything."""
    failed: bool = False
    """Whether a statement had an error."""
    ends: list[tuple[str, int]] = field(default_factory=list)
    """The ends of transactions, each with the number of statements before it."""

    def refuse(self) -> NoReturn:
        """Remember, in case the error is caught, that an answer was asked for."""
        self.plain = False
        raise RefusedError

    @property
    def digest(self) -> str:
        """A hash of what was sent."""
        return sha256("\0".join(self.sent).encode()).hexdigest()


class _Noting:
    """Stands for a cursor."""

    description = None
    rowcount = -1  # that of any statement that makes something

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self.connection = SimpleNamespace(notices=())  # SQLAlchemy logs them

    def __getattr__(self, name: str) -> NoReturn:
        self._notes.refuse()

    def execute(self, query: Any, values: Any = None) -> None:
        if values or not isinstance(query, str):
            self._notes.refuse()
        self._notes.sent.append(query)

    def close(self) -> None:
        pass


ALLOWED = frozenset(("_end", "autocommit", "close", "closed", "commit", "cursor", "rollback"))
"""What SQLAlchemy asks of a connection whoever works with it."""


class _Silent(psycopg2.extensions.connection):
    """A connection of the driver that is closed once it notes: nothing can reach the server."""

    notes: Notes | None = None
    before: Heard
    """What was sent while it was open."""

    def __getattribute__(self, name: str) -> Any:
        notes = object.__getattribute__(self, "notes")
        if notes and name not in ALLOWED:
            notes.refuse()
        return object.__getattribute__(self, name)

    def cursor(self, *args: Any, **options: Any) -> Any:
        notes = object.__getattribute__(self, "notes")
        if notes is None:
            default: Any = self.cursor_factory
            usual = options.pop("cursor_factory", None) or default or Cursor
            heard = self.before.cursors(usual)
            return super().cursor(*args, cursor_factory=heard, **options)
        if args or options:
            notes.refuse()
        return _Noting(notes)

    def __setattr__(self, name: str, value: Any) -> None:
        if notes := object.__getattribute__(self, "notes"):
            notes.refuse()
        object.__setattr__(self, name, value)

    def commit(self) -> None:
        self._end("commit", super().commit)

    def rollback(self) -> None:
        self._end("rollback", super().rollback)

    def _end(self, how: str, end: Callable[[], None]) -> None:
        if notes := object.__getattribute__(self, "notes"):
            notes.ends.append((how, len(notes.sent)))
        else:
            end()


@dataclass(frozen=True)
class Recording:
    """What models would send."""

    statements: str
    """A hash of the statements."""
    before: tuple[str, ...]
    """What was sent on connecting, by SQLAlchemy and by whoever listens to it."""
    key: str
    """A hash of all that the comparison of the models with a history depends on, besides the history."""


class Heard(Notes):
    """What models have sent while they were created in a database."""

    def cursors(self, usual: type[Cursor]) -> type[Cursor]:
        """Return a class of cursors that notes and runs statements."""
        heard = self

        class Hearing(usual):  # type: ignore[misc, valid-type]
            def execute(self, query: Any, values: Any = None) -> None:
                heard.sent.append(str(query))
                heard.plain &= not values
                try:
                    super().execute(query, values)
                except psycopg2.Error:
                    heard.plain, heard.failed = False, True
                    raise
                heard.plain &= self.description is None

        return Hearing

    def is_as(self, recording: Recording) -> bool:
        """Tell whether the recording has these statements, and whoever sends them makes what they have made."""
        return (
            self.plain
            and self.digest == recording.statements
            and all(map(_is_lasting, self.sent))
            and all(map(_only_reads, recording.before))
        )


@contextmanager
def begun(session: Scratch, project: Project, models: Models) -> Iterator[_Copy]:
    """Let a copy of this process note what the models would send, while this one goes on."""
    # Elsewhere libraries do not bear a copy of a process; and only of a line is anything kept.
    if sys.platform != "linux" or project.line is None:
        yield _Copy(models)
        return
    database = session.empty()
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    copy = context.Process(target=_note, args=(database, models, theirs), daemon=True)
    # There may be no room for it, or this process be one that may have none. Then nothing is noted.
    with suppress(OSError, AssertionError), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads, for which PATIENCE is
        copy.start()
    theirs.close()
    try:
        yield _Copy(models, known.around(project, session.place), ours)
    finally:
        if copy.pid:
            copy.kill()
            copy.join()
        ours.close()


@dataclass(frozen=True)
class _Copy:
    """A copy of this process that notes."""

    models: Models
    around: str = ""
    """What they depend on besides (`known.around`)."""
    answer: Connection | None = None

    def recording(self) -> Recording | None:
        """Wait for it, and return what the models would send; None if that depends on answers of the server."""
        if self.answer is None:
            return None
        tables = sorted(map(str, project_models.tables(self.models)))
        try:
            said = self.answer.recv() if self.answer.poll(PATIENCE) else None
        except (EOFError, OSError):
            return None
        if said is None:
            return None
        statements, settings, before = said
        key = repr((statements, settings, before, tables, self.around))
        return Recording(statements, before, sha256(key.encode()).hexdigest())


def _note(database: Database, models: Models, answer: Connection) -> None:
    """Note, in the copy, and send what `_noted` returns."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    try:
        answer.send(_noted(database, models))
    except BaseException:  # noqa: BLE001 - models may raise anything; it is met again when they are created
        answer.send(None)


def _noted(
    database: Database, models: Models
) -> tuple[str, tuple[object, ...], tuple[str, ...]] | None:
    """Return a hash of the statements, what SETTINGS returns, and what was sent on connecting; None if that is no key.

    Whoever listens to new connections may read here, but not write.
    """
    database, notes, before, begun = database.read_only(), Notes(), Heard(), False

    @sa.event.listens_for(database.engine, "do_connect")
    def connect(_dialect: Any, _record: Any, _args: Any, parameters: dict[str, Any]) -> None:
        if begun:
            notes.refuse()
        parameters["connection_factory"] = type("Silent", (_Silent,), {"before": before})

    with project_models.creatable(models), database.connect(usual_path=True) as connection:
        driver: Any = connection.connection.driver_connection
        with closing(driver.cursor()) as cursor:
            cursor.execute(SETTINGS)
            settings = cursor.fetchone()
        driver.close()
        begun, driver.notes = True, notes
        missing = project_models.create(connection, models, ())
        whole = notes.ends == [("commit", len(notes.sent))] and not missing
        plain = notes.plain and not before.failed
        return (notes.digest, settings, (*before.sent,)) if plain and whole else None


@cache
def _only_reads(sql: str) -> bool:
    """Tell whether a statement changes nothing but the settings of its session."""
    try:
        return syntax.read(sql).tag in READS
    except syntax.UnreadableError:
        return False


@cache
def _is_lasting(sql: str) -> bool:
    """Tell whether a statement makes the same whenever it is run.

    Bounds of partitions are computed when they are made, and words for a moment are replaced then. What is in the text
    of a function is not read before it is called.
    """
    try:
        statement = syntax.read(sql)
    except syntax.UnreadableError:
        return False
    bounds = (
        node for bound in statement.find("PartitionBoundSpec") for node in bound.find(*COMPUTED)
    )
    return (
        statement.tag in KINDS
        and next(bounds, None) is None
        and not any(map(MOMENT.search, (_text(each) for each in statement.find("A_Const"))))
    )


def _text(constant: syntax.Node) -> str:
    return constant.sval.sval if constant.sval else ""
