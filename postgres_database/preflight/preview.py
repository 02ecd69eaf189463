"""What the scripts of a plan run: their statements, printed without a target."""

import ast
import io
import re
import traceback
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass, field, replace
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
from postgres_database.sql.syntax import UnreadableError, read, statements
from postgres_database.sql.tokens import without_literals

SHOWN = 12  # statements of a revision
WIDTH = 120  # characters of a statement
DEPENDS = re.compile(r"\bas_sql\b|\bis_offline_mode\b")
"""What a script asks that does something else when it is printed."""
PARAMETER = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|(?<!:):([^\W\d]\w*)")
"""A text, a name, or a parameter as SQLAlchemy prints it, by its name."""
LIBRARIES = tuple(Path(str(library.__file__)).parent for library in (alembic, sa))
OPEN = re.compile(
    r"(?:ALTER|CREATE|DROP)(?: OR REPLACE)?(?: UNIQUE| MATERIALIZED| UNLOGGED)? (?:TABLE|INDEX|VIEW|TYPE|DOMAIN"
    r"|SEQUENCE|SCHEMA|FUNCTION|PROCEDURE|TRIGGER|POLICY|EXTENSION)|DROP|COMMENT|GRANT|REVOKE|TRUNCATE",
    re.IGNORECASE,
)
"""How statements begin whose literals belong to the schema: they are no values of rows, and no passwords."""


@dataclass(frozen=True)
class Printed:
    """What a revision runs."""

    revision: Revision
    statements: tuple[str, ...] | None
    """In their order, each on one line outside quotes; None if they cannot be known beforehand."""
    online: bool
    """Whether some of it runs outside a transaction."""
    refusal: ExpectedError | None = None
    """Why the script refuses to run, if it does."""
    unfilled: tuple[tuple[str, ExpectedError], ...] = ()
    """Tables for whose rows the script does not say what they get, and why it refuses to run where they have rows."""
    source: str = field(default="", repr=False)
    """The function of the script that is run, and those beside it that may be called."""
    reason: str = ""
    """Why statements cannot be known."""

    def lines(self) -> Iterator[str]:
        """Yield the revision with its kind, and below it what it runs, without values of rows."""
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
                yield f"  not known what this does, because PostgreSQL's parser does not read it: {error}"
                yield f"  {_line(statement)}"


def _line(statement: str) -> str:
    text = statement if OPEN.match(statement) else without_literals(statement)
    return f"  {shorten(text, WIDTH, placeholder=' …')}"


class _ReadsRowsError(BaseException):
    """A script looks at what a query returns; it may catch errors."""


class _Rows:
    """What a query returns where there is no database: a script may leave it, but not look at it."""

    def __getattr__(self, name: str) -> Any:
        raise _ReadsRowsError

    def __bool__(self) -> bool:
        raise _ReadsRowsError

    def __iter__(self) -> Iterator[Any]:
        raise _ReadsRowsError


class _Bind:
    """The connection of Alembic's offline mode; it notices that a script asks for it."""

    def __init__(self, mock: Any, output: io.StringIO) -> None:
        self._mock = mock
        self._output = output
        self.asked = False

    def execute(self, construct: Any, *values: Any, **options: Any) -> _Rows:
        """Print a statement; the values of parameters are not printed, but NULL."""
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
    """Return what revisions run, each for itself.

    Alembic's offline mode runs the scripts; it has no database, so a script that reads rows fails, and what it runs
    cannot be known. One that fails without having asked for the connection fails in a run, too: that is its refusal.

    Args:
        project: Where the scripts are.
        verb: `upgrade` or `downgrade`.
        plan: The revisions, in order.
    """
    if not plan:
        return ()
    config = project.alembic_config()
    output = io.StringIO()
    directory = project.scripts
    texts: dict[str, str] = {}
    refusals: dict[str, ExpectedError] = {}
    reasons: dict[str, str] = {}
    unfilled: dict[str, list[tuple[str, ExpectedError]]] = {each.id: [] for each in plan}

    def run(_heads: object, context: MigrationContext) -> list[Any]:
        # Alembic's offline mode as it is with us: an env.py may print otherwise, or connect.
        printer = MigrationContext.configure(
            dialect_name="postgresql",
            dialect_opts={"paramstyle": "named"},
            opts={**context.opts, "as_sql": True, "literal_binds": True, "output_buffer": output},
        )
        mock = printer.connection
        for revision in plan:
            output.seek(0)
            output.truncate()
            bind: Any = _Bind(mock, output)
            printer.opts[UNFILLED] = partial(
                _note, unfilled[revision.id], revision, project.folders
            )
            printer.connection = printer.impl.connection = bind
            try:
                with Operations.context(printer):
                    getattr(directory.get_revision(revision.id).module, verb)()
                texts[revision.id] = output.getvalue()
            except ExpectedError as error:
                refusals[revision.id] = script_errors.located(error, project.folders, revision.path)
            except _ReadsRowsError:
                reasons[revision.id] = "the script reads rows"
            except (Exception, SystemExit) as error:  # noqa: BLE001 - a script may raise anything
                words = f"{type(error).__name__}: {error}"
                if bind.asked or DEPENDS.search(revision.text) or not _is_its_own(error, project):
                    reasons[revision.id] = words.partition("\n")[0]
                    continue
                refusals[revision.id] = ExpectedError(
                    f"revision {revision} cannot run; nothing was changed",
                    cause=f"{words}\n(in {script_errors.own_file_and_line(error, project.folders)})",
                    hint=f"invoke edit {revision.id}   (mend it there)",
                )
        return []

    reason = "env.py prints nothing"
    try:
        with (
            redirect_stdout(io.StringIO()),  # what scripts say
            EnvironmentContext(config, directory, fn=run, as_sql=True),
        ):
            directory.run_env()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - an env.py that has no offline mode
        reason = f"env.py cannot print: {type(error).__name__}: {error}".partition("\n")[0]
    return tuple(
        _printed(
            Printed(
                revision,
                None,
                revision.online,
                refusals.get(revision.id),
                tuple(unfilled[revision.id]),
                _source(revision.text, verb),
                reasons.get(revision.id, reason),
            ),
            texts.get(revision.id),
        )
        for revision in plan
    )


def _note(
    found: list[tuple[str, ExpectedError]],
    revision: Revision,
    folders: script_errors.Folders,
    table: str,
    error: ExpectedError,
) -> None:
    """Take note that a script does not say what the rows of a table get, and where."""
    line = script_errors.running_line(revision.path)
    where = f"\n(in {folders.name(revision.path)}, line {line})"
    found.append((table, error.with_(cause=error.cause + where)))


def _is_its_own(error: BaseException, project: Project) -> bool:
    """Tell whether an error would come in a run, too: from code of the project, or from what that gives to Alembic."""
    if isinstance(error, (sa.exc.SQLAlchemyError, CommandError)) or "as_sql" in str(error):
        return False
    last = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
    installed = {"site-packages", ".venv"}.intersection(last.parts)
    own = last.is_relative_to(project.root) and not installed
    return own or last.name == "<string>" or any(map(last.is_relative_to, LIBRARIES))


def _printed(step: Printed, text: str | None) -> Printed:
    """Return what a revision runs with its statements, if they can be known."""
    if step.refusal or text is None:
        return step
    if DEPENDS.search(step.revision.text):
        return replace(step, reason="the script asks whether it is printed")
    lines = statements(text)
    kept = tuple(line for line in lines if line.upper() not in {"BEGIN", "COMMIT"})
    return replace(step, statements=kept, online=len(kept) < len(lines), source="", reason="")


def _source(script: str, verb: str) -> str:
    """Return a script without the function of the other direction."""
    other = {"upgrade": "downgrade", "downgrade": "upgrade"}[verb]
    with suppress(SyntaxError):
        body = ast.parse(script).body
        return "\n".join(ast.unparse(each) for each in body if getattr(each, "name", "") != other)
    return script
