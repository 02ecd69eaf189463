"""Write the next script from the models, and try it on scratch databases."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import render_python_code
from alembic.autogenerate.api import AutogenContext
from alembic.operations import Operations
from alembic.operations.ops import DowngradeOps, DropTableOp, ModifyTableOps, UpgradeOps
from alembic.runtime.migration import MigrationContext
from alembic.script import Script
from sqlalchemy.dialects import postgresql

from postgres_database import comparison, history, rest, runner, scratch, snapshot
from postgres_database.connection import Database, quoted
from postgres_database.errors import ExpectedError
from postgres_database.history import Revision
from postgres_database.operations import RunSql
from postgres_database.settings import Settings
from postgres_database.snapshot import Difference, Key, Snapshot


@dataclass(frozen=True)
class RevisionResult:
    """What was written, and what a human must still look at."""

    path: Path | None = None
    """The script; None where none was written."""
    revision: str = ""
    detected: tuple[str, ...] = ()
    """What Alembic found and wrote, a line each."""
    completed: tuple[str, ...] = ()
    """What was written besides, from PostgreSQL's own text: the first lines of the statements."""
    cautions: tuple[str, ...] = ()
    """What the script throws away and what rows may stand in its way, a line each."""
    failure: str = ""
    """Why the script does not run on a scratch database."""
    not_upgraded: tuple[Difference, ...] = ()
    """Objects that after the upgrade still differ from the models."""
    not_downgraded: tuple[Difference, ...] = ()
    """Objects that the downgrade does not bring back."""
    kept: tuple[Key, ...] = ()
    """Objects that only the history has and that stay: views, functions, partitions, …"""
    tried: bool = True
    """Whether the script was run at all: an empty one is not."""
    sql: str = ""
    """The script as SQL, if it was asked for."""

    @property
    def proved(self) -> bool:
        """Whether the script leads to the models, back, and there again."""
        return not (self.failure or self.not_upgraded or self.not_downgraded)


def revision(
    settings: Settings, message: str, *, empty: bool = False, sql: bool = False
) -> RevisionResult:
    """Write a script that brings the history to the models; no target is needed or touched.

    Args:
        settings: Where the models and the scratch server are.
        message: What the script is for.
        empty: Write a script without content, to be filled by hand.
        sql: Return the script as SQL, too.

    Raises:
        ExpectedError: Nothing was written.
    """
    if not message.strip():
        raise ExpectedError(
            "a revision needs a message",
            hint="invoke revision --msg 'Added column to file_meta_data'   (make revision MSG='…')",
        )
    before = history.read(settings)
    head = before.head
    if empty:
        return _with_sql(
            settings,
            head,
            RevisionResult(*_write_empty(settings, message), tried=False),
            wanted=sql,
        )
    metadata = scratch.load_metadata(settings)
    with scratch.session(settings) as session:
        at_head = session.at(before, before.heads)
        from_models = session.from_models(metadata)
        schemas = snapshot.take(at_head), snapshot.take(from_models)
        found = comparison.differences(at_head, *schemas)
        if not found.objects:
            return RevisionResult(kept=found.kept)
        draft = _Draft(from_models, *schemas)
        try:
            draft.write(settings, message, at_head, session.at(before, before.heads), metadata)
            if draft.path is None:
                return RevisionResult(not_upgraded=found.objects, kept=found.kept)
            result = _prove(settings, head, draft, at_head)
            return _with_sql(settings, head, result, wanted=sql)
        except BaseException:
            draft.discard()
            raise


class _Draft:
    """The script that is being written: Alembic's operations, and the rest from the snapshots."""

    def __init__(self, from_models: Database, before: Snapshot, goal: Snapshot) -> None:
        self.from_models = from_models
        self.before = before
        self.goal = goal
        self.path: Path | None = None
        self.revision = ""
        self.diffs: list[Any] = []
        self.completed: list[str] = []

    def write(
        self, settings: Settings, message: str, at_head: Database, trial: Database, metadata: Any
    ) -> None:
        """Let Alembic compare and write; a comparison that finds nothing writes nothing.

        Args:
            settings: Where the scripts are.
            message: What the script is for.
            at_head: What is compared with the models.
            trial: Another database at head, on which the operations are tried.
            metadata: The models.
        """

        def complete(_context: Any, _revision: Any, directives: list[Any]) -> None:
            (script,) = directives
            self.diffs = script.upgrade_ops.as_diffs()
            if self._complete(script.upgrade_ops, trial, self.goal, drops=False):
                self._complete(script.downgrade_ops, trial, self.before, drops=True)
            if script.upgrade_ops.is_empty():
                directives.clear()

        configure = {
            **comparison.options(at_head, self.from_models),
            "process_revision_directives": complete,
            "render_item": _render_enum,
        }
        with at_head.connect() as connection, history.script_errors(settings):
            config = history.alembic_config(
                settings, connection=connection, target_metadata=metadata, configure=configure
            )
            script = command.revision(config, message, autogenerate=True)
        if isinstance(script, Script):
            self.path, self.revision = Path(script.path), script.revision

    def _complete(
        self,
        ops: UpgradeOps | DowngradeOps,
        trial: Database,
        goal: Snapshot,
        *,
        drops: bool,
    ) -> bool:
        """Add to Alembic's operations what they leave to do; tell whether they run at all."""
        dropped = rest.drop_early(trial, goal) if drops else []
        early = [*dropped, *rest.write_early(trial, goal)]
        runs = _run(ops, trial)
        if not runs and (dropped := rest.drop_views_on(trial, goal, _tables(ops))):
            early += dropped
            runs = _run(ops, trial)
        late = rest.write(trial, goal, drops=drops) if runs else []
        if not drops:
            self.completed = [*early, *late]
        ops.ops[:] = [*map(RunSql, early), *ops.ops, *map(RunSql, late)]
        return runs

    def discard(self) -> None:
        """Leave no script behind."""
        if self.path:
            self.path.unlink(missing_ok=True)


def _render_enum(kind: str, item: Any, autogen: AutogenContext) -> str | Literal[False]:
    """Write an enum so that it does not create its type, which has a statement of its own.

    Alembic would create it with the first table, not for a new column, and never drop it.
    """
    if kind != "type" or not isinstance(item, sa.Enum) or not item.native_enum or not item.name:
        return False
    autogen.imports.add("from sqlalchemy.dialects import postgresql")
    values = "".join(f"{value!r}, " for value in item.enums)
    schema = f"schema={item.schema!r}, " if item.schema else ""
    return f"postgresql.ENUM({values}name={str(item.name)!r}, {schema}create_type=False)"


def _tables(ops: UpgradeOps | DowngradeOps) -> set[str]:
    """Return the tables that operations work on, as SQL names them."""
    named = [op for op in ops.ops if isinstance(op, (ModifyTableOps, DropTableOp))]
    return {".".join(quoted(part) for part in (op.schema, op.table_name) if part) for op in named}


def _run(ops: UpgradeOps | DowngradeOps, trial: Database) -> bool:
    """Run operations as they will stand in the script; tell whether that works."""
    with trial.connect() as connection:
        context = MigrationContext.configure(connection)
        body = render_python_code(ops, render_item=_render_enum, migration_context=context)
        namespace: dict[str, Any] = {"op": Operations(context), "sa": sa, "postgresql": postgresql}
        try:
            with connection.begin():
                exec(f"def run():\n    {body}\nrun()", namespace)  # noqa: S102 - it is the script
        except Exception:  # noqa: BLE001 - the proof tells what goes wrong in the script
            return False
    return True


def _write_empty(settings: Settings, message: str) -> tuple[Path, str]:
    with history.script_errors(settings):
        script = command.revision(history.alembic_config(settings), message)
    if not isinstance(script, Script):
        raise ExpectedError("Alembic wrote no script", hint="invoke history")
    return Path(script.path), script.revision


def _prove(settings: Settings, head: str, draft: _Draft, at_head: Database) -> RevisionResult:
    """Upgrade, compare with the models, downgrade, compare with before, upgrade again."""
    facts: dict[str, Any] = {
        "path": draft.path,
        "revision": draft.revision,
        "detected": comparison.describe(draft.diffs),
        "completed": tuple(statement.partition("\n")[0] for statement in draft.completed),
        "cautions": comparison.cautions(draft.diffs),
    }
    scripts = history.read(settings)
    if len(scripts.heads) > 1:
        facts["cautions"] += ("another script was written meanwhile: invoke merge joins the heads",)
    plan: tuple[Revision, ...] = (scripts[draft.revision],)
    try:
        with runner.open_runner(settings, at_head) as run:
            run.upgrade(plan)
            found = comparison.differences(at_head, snapshot.take(at_head), draft.goal)
            facts |= {"not_upgraded": found.objects, "kept": found.kept}
            run.downgrade(plan, head)
            facts["not_downgraded"] = snapshot.take(at_head).difference(draft.before)
            run.upgrade(plan)
    except ExpectedError as error:
        facts["failure"] = f"{error.what}\n{error.cause}"
    return RevisionResult(**facts)


def _with_sql(
    settings: Settings, head: str, result: RevisionResult, *, wanted: bool
) -> RevisionResult:
    if not wanted:
        return result
    return replace(result, sql=runner.offline(settings, "upgrade", head, result.revision))
