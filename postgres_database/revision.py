"""Write the next script from the models, and try it on scratch databases."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alembic import command
from alembic.script import Script

from postgres_database import comparison, history, runner, scratch, snapshot
from postgres_database.connection import Database
from postgres_database.errors import ExpectedError
from postgres_database.history import History, Revision
from postgres_database.settings import Settings
from postgres_database.snapshot import Difference


@dataclass(frozen=True)
class RevisionResult:
    """What was written, and what a human must still look at."""

    path: Path | None = None
    """The script; None where none was written."""
    revision: str = ""
    detected: tuple[str, ...] = ()
    """What Alembic found and wrote, a line each."""
    losses: tuple[str, ...] = ()
    """What the script throws away, a line each."""
    failure: str = ""
    """Why the script does not run on a scratch database."""
    not_upgraded: tuple[Difference, ...] = ()
    """Objects that after the upgrade still differ from the models."""
    not_downgraded: tuple[Difference, ...] = ()
    """Objects that the downgrade does not bring back."""
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
            settings, head, RevisionResult(*_write_empty(settings, message)), wanted=sql
        )
    metadata = scratch.load_metadata(settings)
    with scratch.session(settings) as session:
        at_head = session.at(before, before.heads)
        from_models = session.from_models(metadata)
        schema = snapshot.take(at_head)
        if not schema.difference(snapshot.take(from_models)):
            return RevisionResult()
        written = _Draft()
        try:
            written.write(settings, message, at_head, from_models, metadata)
            if written.path is None:
                return RevisionResult(not_upgraded=schema.difference(snapshot.take(from_models)))
            result = _prove(settings, head, written, at_head, from_models)
            return _with_sql(settings, head, result, wanted=sql)
        except BaseException:
            written.discard()
            raise


class _Draft:
    """The script that is being written."""

    def __init__(self) -> None:
        self.path: Path | None = None
        self.revision = ""
        self.diffs: list[Any] = []

    def write(
        self,
        settings: Settings,
        message: str,
        at_head: Database,
        from_models: Database,
        metadata: Any,
    ) -> None:
        """Let Alembic compare and write; a comparison that finds nothing writes nothing."""

        def keep(_context: Any, _revision: Any, directives: list[Any]) -> None:
            self.diffs = directives[0].upgrade_ops.as_diffs()
            if not self.diffs:
                directives.clear()

        configure = {**comparison.options(from_models), "process_revision_directives": keep}
        with at_head.connect() as connection, history.script_errors(settings):
            config = history.alembic_config(
                settings, connection=connection, target_metadata=metadata, configure=configure
            )
            script = command.revision(config, message, autogenerate=True)
        if isinstance(script, Script):
            self.path, self.revision = Path(script.path), script.revision

    def discard(self) -> None:
        """Leave no script behind."""
        if self.path:
            self.path.unlink(missing_ok=True)


def _write_empty(settings: Settings, message: str) -> tuple[Path, str]:
    with history.script_errors(settings):
        script = command.revision(history.alembic_config(settings), message)
    if not isinstance(script, Script):
        raise ExpectedError("Alembic wrote no script", hint="invoke history")
    return Path(script.path), script.revision


def _prove(
    settings: Settings, head: str, draft: _Draft, at_head: Database, from_models: Database
) -> RevisionResult:
    """Upgrade, compare with the models, downgrade, compare with before, upgrade again."""
    facts: dict[str, Any] = {
        "path": draft.path,
        "revision": draft.revision,
        "detected": comparison.describe(draft.diffs),
        "losses": comparison.losses(draft.diffs),
    }
    after: History = history.read(settings)
    plan: tuple[Revision, ...] = (after[draft.revision],)
    before = snapshot.take(at_head)
    try:
        with runner.open_runner(settings, at_head) as run:
            run.upgrade(plan)
            facts["not_upgraded"] = snapshot.take(at_head).difference(snapshot.take(from_models))
            run.downgrade(plan, head)
            facts["not_downgraded"] = snapshot.take(at_head).difference(before)
            run.upgrade(plan)
    except ExpectedError as error:
        facts["failure"] = f"{error.what}\n{error.cause}"
    return RevisionResult(**facts)


def _with_sql(
    settings: Settings, head: str, result: RevisionResult, *, wanted: bool
) -> RevisionResult:
    if not wanted:
        return result
    return RevisionResult(
        **{**vars(result), "sql": runner.offline(settings, "upgrade", head, result.revision)}
    )
