"""Write the next script from the models, and prove it on scratch databases that hold rows."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from alembic.script import Script

from postgres_database import (
    catalog,
    cluster,
    comparison,
    contents,
    history,
    matching,
    probe,
    project_models,
    renames,
    rows,
    runner,
    scratch,
    script,
    stages,
)
from postgres_database.comparison import Frame
from postgres_database.connection import Database
from postgres_database.draft import draft
from postgres_database.errors import ExpectedError
from postgres_database.matching import Ask, Wishes
from postgres_database.operations import Refuse, imports
from postgres_database.proof import Filled, Prover
from postgres_database.renames import Rename
from postgres_database.settings import Settings
from postgres_database.snapshot import Difference, Key
from postgres_database.spelling import in_words_of
from postgres_database.stages import Origin, Stage, Stages
from postgres_database.trial import render


@dataclass(frozen=True)
class RevisionResult:
    """What was written, and what a human must still look at."""

    path: Path | None = None
    """The script; None where none was written."""
    then: Path | None = None
    """The script that follows it where one is not enough: what is done beside live traffic."""
    revision: str = ""
    """The last one that was written."""
    unfilled: bool = False
    """Whether somebody must say in a script what rows get."""
    renamed: tuple[str, ...] = ()
    """What got another name, a line each."""
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
    lost: tuple[str, ...] = ()
    """Rows and values that are gone after the upgrade, though their table and column are there."""
    broken: tuple[str, ...] = ()
    """What could be done to rows before, and now a trigger or rule refuses, because it names what is gone."""
    empty: tuple[str, ...] = ()
    """Tables for which no rows could be made up, with the reason."""
    kept: tuple[Key, ...] = ()
    """Objects that only the history has and that stay: views, functions, partitions, …"""
    tried: bool = True
    """Whether the script was run at all: an empty one is not."""
    sql: str = ""
    """The script as SQL, if it was asked for."""

    @property
    def proved(self) -> bool:
        """Whether the script leads to the models, back, and there again, loses no row and breaks no trigger."""
        differing = self.not_upgraded or self.not_downgraded
        return not (self.failure or differing or self.lost or self.broken)


def revision(  # noqa: PLR0913 - each is an option
    settings: Settings,
    message: str,
    *,
    empty: bool = False,
    sql: bool = False,
    rename: Sequence[str] = (),
    no_renames: bool = False,
    ask: Ask | None = None,
) -> RevisionResult:
    """Write a script that brings the history to the models; no target is needed or touched.

    Args:
        settings: Where the models and the scratch server are.
        message: What the script is for.
        empty: Write a script without content, to be filled by hand.
        sql: Return the script as SQL, too.
        rename: What was renamed: `table.column:new`, `old:new`, `type.value:new`.
        no_renames: What else was dropped and added is no rename.
        ask: Asked about each likely rename; None where nobody can answer.

    Raises:
        ExpectedError: Nothing was written.
    """
    if not message.strip():
        raise ExpectedError(
            "a revision needs a message",
            hint="invoke revision --msg 'Added column to file_meta_data'   (make revision MSG='…')",
        )
    if empty:
        head = history.read(settings).head
        written = script.write(settings, message, head)
        result = RevisionResult(Path(written.path), revision=written.revision, tried=False)
        return _with_sql(settings, head, result, wanted=sql)
    models = project_models.load(settings)
    with scratch.session(settings) as session:
        # Before a script is imported, which may change the models.
        from_models = session.from_models(models)
        before = history.read(settings)
        head = before.head
        at_head = session.at(before, before.heads)
        left, goal = comparison.sides(at_head, from_models)
        right = in_words_of(left, goal, (at_head, from_models), session)
        whole = Frame(settings, left, right, before.objects)
        if not whole.comparison.objects and not rename:
            return RevisionResult(kept=whole.comparison.kept)
        wishes = Wishes(tuple(rename), no_renames, matching.hints(models), ask)
        renamed = _rename(at_head, whole, wishes)
        frame = whole
        if renamed:
            left_over = {f"SCHEMA {each.old.schema}" for each in renamed}
            left = comparison.side(at_head)
            right = in_words_of(left, goal, (at_head, from_models), session)
            frame = Frame(settings, left, right, before.objects | left_over)
        trial = session.clone(at_head)
        rows.remove(trial)  # they may stop the proof, but not the draft
        unfilled = rows.fill(at_head, from_models)
        held = contents.take(at_head)
        _run_sql(at_head, [renames.statement(each.inverse) for each in reversed(renamed)])
        filled = Filled(at_head, held, probe.refusals(at_head))
        drafted = draft(trial, whole, frame, renamed, models)
        result = RevisionResult(
            renamed=tuple(f"{each.kind} {each}" for each in renamed if each.old.name),
            detected=drafted.detected,
            completed=drafted.completed,
            cautions=drafted.cautions,
            not_upgraded=frame.comparison.objects,
            kept=frame.comparison.kept,
            empty=unfilled,
        )
        if drafted.upgrade:
            origin = Origin(session, before, trial, whole, frame, renamed, models)
            divided = stages.divide(origin, drafted) if settings.online else stages.whole(drafted)
            prover = Prover(settings, session, before, whole, frame, from_models)
            result = _write_and_prove(message, divided, prover, filled, result)
        return _with_sql(settings, head, result, wanted=sql)


def _rename(at_head: Database, frame: Frame, wishes: Wishes) -> tuple[Rename, ...]:
    """Give new names on a scratch database, also to what follows them; return what was done."""
    goal = frame.models.catalog
    done = matching.find(frame.before.catalog, goal, wishes)
    _run_sql(at_head, map(renames.statement, done))
    following = renames.followers(catalog.take(at_head), goal)
    _run_sql(at_head, map(renames.statement, following))
    return (*done, *following)


def _run_sql(database: Database, statements: Any) -> None:
    with database.connect() as connection, connection.begin():
        cursor = connection.connection.cursor()
        for statement in statements:
            cursor.execute(statement)


def _write_and_prove(
    message: str, divided: Stages, prover: Prover, filled: Filled, result: RevisionResult
) -> RevisionResult:
    """Write the scripts and prove them; what cannot be undone says so. Leave none behind if that ends early."""
    written: list[Script] = []
    try:
        for stage in divided.stages:
            written.append(_write(message, stage, prover, written))
        ends = [stage.end for stage in divided.stages]
        legs = prover.legs([(each.revision, end) for each, end in zip(written, ends, strict=True)])
        proof = prover.prove(legs, None if divided.unfilled else filled)
        cautions = (*divided.cautions, *proof.cautions)
        if len(history.read(prover.settings).heads) > 1:
            cautions += ("another script was written meanwhile: invoke merge joins the heads",)
        if proof.not_downgraded:
            names = ", ".join(str(each.key) for each in proof.not_downgraded)
            refuse = Refuse("this revision cannot be undone", names)
            last, stage = written.pop(), divided.stages[-1]
            Path(last.path).unlink()
            stage = replace(stage, downgrade=[refuse, *stage.downgrade])
            written.append(_write(message, stage, prover, written, last.revision))
    except BaseException:
        for each in written:
            Path(each.path).unlink(missing_ok=True)
        raise
    found = {field.name: getattr(proof, field.name) for field in fields(proof)}
    paths = [Path(each.path) for each in written]
    return replace(
        result,
        path=paths[0],
        then=paths[1] if paths[1:] else None,
        revision=written[-1].revision,
        unfilled=divided.unfilled,
        **{**found, "cautions": cautions},
    )


def _write(
    message: str, stage: Stage, prover: Prover, before: Sequence[Script], revision_id: str = ""
) -> Script:
    """Write the script of a stage; the first one names what all need."""
    bodies = render(*stage.upgrade), render(*stage.downgrade)
    with prover.from_models.connect() as connection:
        roles = set(connection.execute(cluster.ROLES).scalars())
    known = {role for each in prover.history.revisions for role in each.roles}
    return script.write(
        prover.settings,
        f"Beside live traffic: {message}" if before else message,
        before[-1].revision if before else prover.history.head,
        revision=revision_id,
        upgrade=bodies[0],
        downgrade=bodies[1],
        imports=imports("".join(bodies)),
        roles=() if before else sorted(roles - known),
        objects=() if before else prover.frame.new_objects(),
    )


def _with_sql(
    settings: Settings, head: str, result: RevisionResult, *, wanted: bool
) -> RevisionResult:
    if not wanted or result.path is None:
        return result
    return replace(result, sql=runner.offline(settings, "upgrade", head, result.revision))
