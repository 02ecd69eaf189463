"""What the scripts of a plan run: their statements, printed without a target."""

import ast
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass, field
from textwrap import shorten
from typing import Any

from alembic.operations import Operations
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext

from postgres_database.errors import ExpectedError
from postgres_database.history import script_errors
from postgres_database.history.graph import Revision
from postgres_database.history.project import Project
from postgres_database.sql.syntax import statements
from postgres_database.sql.tokens import without_literals

SHOWN = 12  # statements of a revision
WIDTH = 120  # characters of a statement
DEPENDS = re.compile(r"\bas_sql\b|\bis_offline_mode\b")
"""What a script asks that does something else when it is printed."""
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
    source: str = field(default="", repr=False)
    """The function of the script that is run, and those beside it that may be called."""

    def lines(self) -> Iterator[str]:
        """Yield the revision with its kind, and below it what it runs, without values of rows."""
        yield f"{self.revision}  ({'online' if self.online else 'transactional'})"
        if self.refusal:
            yield f"  refuses: {self.refusal.what}"
            return
        if self.statements is None:
            yield "  statements that only a run shows: the script reads rows"
            return
        for statement in self.statements[:SHOWN]:
            text = statement if OPEN.match(statement) else without_literals(statement)
            yield f"  {shorten(text, WIDTH, placeholder=' …')}"
        if (more := len(self.statements) - SHOWN) > 0:
            yield f"  … and {more} more"


def printed(project: Project, verb: str, plan: Sequence[Revision]) -> tuple[Printed, ...]:
    """Return what revisions run, each for itself.

    Alembic's offline mode runs the scripts; it has no database, so a script that reads rows fails, and
    what it runs cannot be known.

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

    def run(_heads: object, context: MigrationContext) -> list[Any]:
        # Alembic's offline mode as it is with us: an env.py may print otherwise, or connect.
        printer = MigrationContext.configure(
            dialect_name="postgresql",
            dialect_opts={"paramstyle": "named"},
            opts={**context.opts, "as_sql": True, "literal_binds": True, "output_buffer": output},
        )
        for revision in plan:
            output.seek(0)
            output.truncate()
            try:
                with Operations.context(printer):
                    getattr(directory.get_revision(revision.id).module, verb)()
                texts[revision.id] = output.getvalue()
            except ExpectedError as error:
                refusals[revision.id] = script_errors.located(error, project.folders, revision.path)
            except Exception:  # noqa: BLE001, S112 - it reads rows, or is broken: a run will tell
                continue
        return []

    with (
        suppress(Exception, SystemExit),  # an env.py that has no offline mode
        redirect_stdout(io.StringIO()),  # what scripts say
        EnvironmentContext(config, directory, fn=run, as_sql=True),
    ):
        directory.run_env()
    return tuple(
        _printed(revision, verb, texts.get(revision.id), refusals.get(revision.id))
        for revision in plan
    )


def _printed(
    revision: Revision, verb: str, text: str | None, refusal: ExpectedError | None
) -> Printed:
    if refusal:
        return Printed(revision, None, revision.online, refusal)
    if text is None or DEPENDS.search(revision.text):
        return Printed(revision, None, revision.online, source=_source(revision.text, verb))
    lines = statements(text)
    kept = tuple(line for line in lines if line.upper() not in {"BEGIN", "COMMIT"})
    return Printed(revision, kept, online=len(kept) < len(lines))


def _source(script: str, verb: str) -> str:
    """Return a script without the function of the other direction."""
    other = {"upgrade": "downgrade", "downgrade": "upgrade"}[verb]
    with suppress(SyntaxError):
        body = ast.parse(script).body
        return "\n".join(ast.unparse(each) for each in body if getattr(each, "name", "") != other)
    return script
