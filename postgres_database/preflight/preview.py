"""The statements of the scripts of a plan, printed by Alembic's offline mode, without a target."""

import ast
import io
import re
import traceback
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from textwrap import shorten
from typing import Any

import alembic
import sqlalchemy as sa
from alembic.operations import Operations
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.util import CommandError

from postgres_database.errors import ExpectedError
from postgres_database.history import script_errors
from postgres_database.history.graph import Revision
from postgres_database.history.operations import UNFILLED
from postgres_database.history.project import Project
from postgres_database.running import execution
from postgres_database.sql.syntax import UnreadableError, read, statements
from postgres_database.sql.tokens import without_literals

SHOWN = 12  # statements of a revision
WIDTH = 120  # characters of a statement
DEPENDS = re.compile(r"\bas_sql\b|\bis_offline_mode\b")
"""Names by which a script asks for offline mode: it may print other statements than it runs."""
PARAMETER = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|(?<!:):([^\W\d]\w*)")
"""A quoted text or name, or (group 1) the name of a parameter as SQLAlchemy prints it."""
LIBRARIES = tuple(Path(str(library.__file__)).parent for library in (alembic, sa))
OPEN = re.compile(
    r"(?:ALTER|CREATE|DROP)(?: OR REPLACE)?(?: UNIQUE| MATERIALIZED| UNLOGGED)? (?:TABLE|INDEX|VIEW|TYPE|DOMAIN"
    r"|SEQUENCE|SCHEMA|FUNCTION|PROCEDURE|TRIGGER|POLICY|EXTENSION)|DROP|COMMENT|GRANT|REVOKE|TRUNCATE",
    re.IGNORECASE,
)
"""Statements whose literals are shown: they belong to the schema, and are neither values of rows nor passwords."""


@dataclass(frozen=True)
class Printed:
    """The statements of a revision, or why they are unknown or cannot run."""

    revision: Revision
    statements: tuple[str, ...] | None
    """In order, each on one line outside quotes; None if only running the script shows them."""
    online: bool
    """Whether some statements run outside the transaction of the revision."""
    refusal: ExpectedError | None = None
    """The error with which the script is certain to fail."""
    unfilled: tuple[tuple[str, ExpectedError], ...] = ()
    """Tables to whose rows `op.backfill` gives no value, each with the error that it raises if the table has rows."""
    source: str = field(default="", repr=False)
    """If statements are unknown: the script without the function of the other direction."""
    reason: str = ""
    """Why statements are unknown."""

    def lines(self) -> Iterator[str]:
        """Yield the lines of a plan: the revision with its kind, then its statements without values of rows."""
        yield f"{self.revision}  ({'online' if self.online else 'transactional'})"
        if self.refusal:
            yield f"  error: {self.refusal.what}"
            yield from (f"    {line}" for line in self.refusal.cause.splitlines())
            return
        yield from (
            f"  only where {table} has no rows: {error.what}" for table, error in self.unfilled
        )
        if self.statements is None:
            why = f": {self.reason}" if self.reason else ""
            yield f"  statements that only a run shows{why}"
            return
        yield from map(_line, self.statements[:SHOWN])
        if (more := len(self.statements) - SHOWN) > 0:
            yield f"  … and {more} more"
        for statement in self.statements:
            try:
                read(statement)
            except UnreadableError as error:
                yield f"  unknown statement, which PostgreSQL's parser rejects: {error}"
                yield f"  {_line(statement)}"


def shown(statement: str) -> str:
    """Return a statement in one line, without values of rows and passwords."""
    return " ".join(without_values(statement).split())


def without_values(statement: str) -> str:
    """Return a statement in its lines, without values of rows and passwords."""
    return statement if OPEN.match(statement) else without_literals(statement)


def _line(statement: str) -> str:
    return f"  {shorten(shown(statement), WIDTH, placeholder=' …')}"


class _ReadsRowsError(BaseException):
    """A script reads a query's result. Not an Exception, because the script may catch those."""


class _Rows:
    """The result of a query in offline mode: any access raises _ReadsRowsError."""

    def __getattr__(self, name: str) -> Any:
        raise _ReadsRowsError

    def __bool__(self) -> bool:
        raise _ReadsRowsError

    def __iter__(self) -> Iterator[Any]:
        raise _ReadsRowsError


class _Bind:
    """The connection of Alembic's offline mode; `asked` becomes true when a script uses it."""

    def __init__(self, mock: Any, output: io.StringIO) -> None:
        self._mock = mock
        self._output = output
        self.asked = False

    def execute(self, construct: Any, *values: Any, **options: Any) -> _Rows:
        """Print a statement, with NULL in the place of each bound parameter."""
        self.asked = True
        start = self._output.tell()
        self._mock.execute(construct, *values, **options)
        if values:
            text = self._output.getvalue()[start:]
            self._output.seek(start)
            self._output.write(PARAMETER.sub(lambda found: "NULL" if found[1] else found[0], text))
            self._output.truncate()
        return _Rows()

    def __getattr__(self, name: str) -> Any:
        self.asked |= name not in {"in_transaction", "dialect"}  # what needs no database
        return getattr(self._mock, name)


def printed(project: Project, verb: str, plan: Sequence[Revision]) -> tuple[Printed, ...]:
    """Return the statements of revisions, one Printed for each.

    Runs the scripts in Alembic's offline mode, without a database. The statements of a script that reads rows are
    unknown. A script that fails without having used the connection would fail in a run, too: that is its refusal.

    Args:
        project: Where the scripts are.
        verb: `upgrade` or `downgrade`.
        plan: The revisions, in order.
    """
    printer = _Printer(project, verb, plan)
    reason = printer.run_env() if plan else ""
    return tuple(printer.printed(revision, reason) for revision in plan)


class _Printer:
    """Runs the scripts of a plan in offline mode, and keeps what each one printed or raised."""

    def __init__(self, project: Project, verb: str, plan: Sequence[Revision]) -> None:
        self._project = project
        self._verb = verb
        self._plan = plan
        self._output = io.StringIO()
        self._texts: dict[str, str] = {}
        self._refusals: dict[str, ExpectedError] = {}
        self._reasons: dict[str, str] = {}
        """Why the statements of a revision are unknown."""
        self._unfilled: dict[str, list[tuple[str, ExpectedError]]] = {each.id: [] for each in plan}

    def run_env(self) -> str:
        """Run env.py, which runs the scripts; return why it prints nothing, if it does not run them."""
        config, directory = self._project.alembic_config(), self._project.scripts
        try:
            with (
                redirect_stdout(io.StringIO()),  # messages of scripts
                EnvironmentContext(config, directory, fn=self._run, as_sql=True),
            ):
                directory.run_env()
        except (Exception, SystemExit) as error:  # noqa: BLE001 - an env.py that has no offline mode
            return f"env.py cannot print: {type(error).__name__}: {error}".partition("\n")[0]
        return "env.py prints nothing"

    def _run(self, _heads: object, context: MigrationContext) -> list[Any]:
        """Run all scripts; Alembic calls this with the context that env.py configured."""
        # A context of our own: env.py may configure other options, or a real connection.
        printing = MigrationContext.configure(
            dialect_name="postgresql",
            dialect_opts={"paramstyle": "named"},
            opts={
                **context.opts,
                "as_sql": True,
                "literal_binds": True,
                "output_buffer": self._output,
            },
        )
        mock = printing.connection
        for revision in self._plan:
            self._output.seek(0)
            self._output.truncate()
            bind: Any = _Bind(mock, self._output)
            printing.opts[UNFILLED] = partial(self._note, revision)
            printing.connection = printing.impl.connection = bind
            self._run_script(revision, printing, bind)
        return []

    def _run_script(self, revision: Revision, printing: MigrationContext, bind: _Bind) -> None:
        folders = self._project.folders
        try:
            with Operations.context(printing):
                script = self._project.scripts.get_revision(revision.id)
                execution.require_function(script, revision, self._verb)
                getattr(script.module, self._verb)()
            self._texts[revision.id] = self._output.getvalue()
        except ExpectedError as error:
            self._refusals[revision.id] = script_errors.located(error, folders, revision.path)
        except _ReadsRowsError:
            self._reasons[revision.id] = "the script reads rows"
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a script may raise anything
            words = f"{type(error).__name__}: {error}"
            by_mode = bind.asked or DEPENDS.search(revision.text)
            if by_mode or not _is_its_own(error, self._project):
                self._reasons[revision.id] = words.partition("\n")[0]
                return
            self._refusals[revision.id] = ExpectedError(
                f"revision {revision} cannot run; nothing was changed",
                cause=f"{words}\n(in {script_errors.own_file_and_line(error, folders)})",
                hint=f"invoke edit {revision.id}   (mend it there)",
            )

    def _note(self, revision: Revision, table: str, error: ExpectedError) -> None:
        """Record the error of an `op.backfill` without values, with the line of the script."""
        line = script_errors.running_line(revision.path)
        where = f"\n(in {self._project.folders.name(revision.path)}, line {line})"
        self._unfilled[revision.id].append((table, error.with_(cause=error.cause + where)))

    def printed(self, revision: Revision, reason: str) -> Printed:
        """Return the result for a revision; `reason` is why its statements are unknown if no other is known."""
        refusal = self._refusals.get(revision.id)
        unfilled = tuple(self._unfilled[revision.id])
        text = self._texts.get(revision.id)
        if refusal is None and text is not None and not DEPENDS.search(revision.text):
            lines = statements(text)
            kept = tuple(line for line in lines if line.upper() not in {"BEGIN", "COMMIT"})
            return Printed(revision, kept, online=len(kept) < len(lines), unfilled=unfilled)
        if text is not None:
            reason = "the script asks whether it is printed"
        reason = self._reasons.get(revision.id, reason)
        source = _source(revision.text, self._verb)
        return Printed(revision, None, revision.online, refusal, unfilled, source, reason)


def _is_its_own(error: BaseException, project: Project) -> bool:
    """Tell whether a run would raise the error, too: it is raised by the project, or by Alembic for its arguments."""
    if isinstance(error, (sa.exc.SQLAlchemyError, CommandError)) or "as_sql" in str(error):
        return False
    last = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
    installed = {"site-packages", ".venv"}.intersection(last.parts)
    own = last.is_relative_to(project.root) and not installed
    return own or last.name == "<string>" or any(map(last.is_relative_to, LIBRARIES))


def _source(script: str, verb: str) -> str:
    """Return a script without the function of the other direction."""
    other = {"upgrade": "downgrade", "downgrade": "upgrade"}[verb]
    with suppress(SyntaxError):
        body = ast.parse(script).body
        return "\n".join(ast.unparse(each) for each in body if getattr(each, "name", "") != other)
    return script
