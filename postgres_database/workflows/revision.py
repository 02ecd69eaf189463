"""Write the next script from the models, and prove it on scratch databases that hold rows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from alembic.script import Script

from postgres_database.drafting import matching, renames, stages
from postgres_database.drafting.draft import find_operations
from postgres_database.drafting.matching import Decisions
from postgres_database.drafting.renames import Rename
from postgres_database.drafting.stages import Origin, Stage, Stages
from postgres_database.drafting.trial import render
from postgres_database.errors import ExpectedError
from postgres_database.history import script_files
from postgres_database.history.graph import History
from postgres_database.history.operations import Refuse, imports
from postgres_database.history.project import Project
from postgres_database.history.project_models import Models
from postgres_database.modelling import strangers
from postgres_database.proving import affected, contents, made_up_rows, triggers
from postgres_database.proving.proof import Filled, Proof, Prover
from postgres_database.running import runner
from postgres_database.running.listener import SILENT, Listener
from postgres_database.schema import catalog
from postgres_database.schema.comparison import Comparison
from postgres_database.schema.snapshot import Key
from postgres_database.scratch import databases, pair
from postgres_database.scratch.beside import threads
from postgres_database.scratch.databases import Scratch
from postgres_database.server import cluster
from postgres_database.server.connection import Database
from postgres_database.server.environment import Environment

TOGETHER = "all is one transaction, in which others wait: between two, a rule would not be enforced"
"""Why a script is not divided."""


@dataclass(frozen=True)
class RevisionResult(Proof):
    """What was written, what its proof found, and what a human must still look at."""

    path: Path | None = None
    """The script; None where none was written."""
    then: Path | None = None
    """The script that follows it, if one is not enough: the steps beside live traffic."""
    revision: str = ""
    """The last one that was written."""
    unfilled: bool = False
    """Whether the author must still write into a script which values rows get."""
    renamed: tuple[str, ...] = ()
    """What got another name, a line each."""
    detected: tuple[str, ...] = ()
    """What Alembic found and wrote, a line each."""
    completed: tuple[str, ...] = ()
    """What else was written, as PostgreSQL prints it: the first lines of the statements."""
    empty: tuple[str, ...] = ()
    """Tables for which no rows could be made up, with the reason."""
    kept: tuple[Key, ...] = ()
    """Objects that only the history has and that stay: views, functions, partitions, …"""
    tried: bool = True
    """Whether the script was run at all: an empty one is not."""
    sql: str = ""
    """The script as SQL, if it was asked for."""


def write(  # noqa: PLR0913 - each is an option
    project: Project,
    environment: Environment,
    message: str,
    *,
    empty: bool = False,
    sql: bool = False,
    rename: Sequence[str] = (),
    no_renames: bool = False,
    drop_adopted: bool = False,
    listener: Listener = SILENT,
) -> RevisionResult:
    """Write a script that brings the history to the models; no target is needed or touched.

    Args:
        project: Where the models and the scripts are.
        environment: Where the scratch server is.
        message: What the script is for.
        empty: Write a script without content, to be filled by hand.
        sql: Return the script as SQL, too.
        rename: What was renamed: `table.column:new`, `old:new`, `type.value:new`.
        no_renames: Everything else that was dropped and added is no rename.
        drop_adopted: Tables of an adopted database may be dropped.
        listener: Asked about each likely rename; hears which command it waits for.

    Raises:
        ExpectedError: Nothing was written.
    """
    if not message.strip():
        raise ExpectedError(
            "a revision needs a message",
            hint="invoke revision --msg 'Added column to file_meta_data'",
        )
    # Before a script is imported, which may change the models.
    models = None if empty else project.models()
    with script_files.staging(project, listener.wait) as aside:
        if models is None:
            result = _empty(aside, message)
        else:
            decisions = Decisions(
                tuple(rename), no_renames, matching.hints(models), listener.choose, drop_adopted
            )
            with databases.session(aside, environment) as session:
                result = _next(aside, session, message, models, decisions, listener)
    if sql and result.path and result.proved:
        return _with_sql(project.anew(), environment, result)
    return result


def _empty(project: Project, message: str) -> RevisionResult:
    before = project.history
    written, project = script_files.write(project, message, _head(before))
    (path,) = script_files.publish(project, before.heads)
    return RevisionResult(path=path, revision=written.revision, tried=False)


def _head(before: History) -> tuple[str, ...]:
    """Return what the next script follows; raise ExpectedError if the history has several heads."""
    return before.heads if before.head != "base" else ()


def _next(  # noqa: PLR0913, PLR0917
    project: Project,
    session: Scratch,
    message: str,
    models: Models,
    decisions: Decisions,
    listener: Listener,
) -> RevisionResult:
    """Find the operations of the next script, write it and prove it."""
    with listener.at_work("compare the models with the history"):
        both = pair.make(session, project, models)
        before, at_head, from_models = project.history, both.at_head, both.built.database
        whole = both.compare(before.objects)
    strangers.require_whole(project, models, whole)
    if not whole.differences.objects and not decisions.flags:
        return RevisionResult(kept=whole.differences.kept)
    renamed = _rename(at_head, whole, decisions)
    compared = whole
    if renamed:
        left_over = {f"SCHEMA {rename.old.schema}" for rename in renamed}
        compared = both.again().compare(before.objects | left_over)
    strangers.require_partitioning(compared)
    strangers.require_dropped(compared, project, session, decisions)
    trial = session.clone(at_head)
    contents.remove(trial)  # they may stop the proof, but not the draft
    with listener.at_work("try the changes on a scratch database"), threads() as pool:
        filling = pool.submit(_filled, at_head, from_models, compared, renamed)
        drafted = find_operations(trial, whole, compared, renamed, models)
        filled, unfilled = filling.result()
    said = (each for each in renamed if each.old.name and each.kind != "not null")
    result = RevisionResult(
        renamed=tuple(f"{rename.kind} {rename}" for rename in said),
        detected=drafted.detected,
        completed=drafted.completed,
        cautions=drafted.cautions,
        not_upgraded=compared.differences.objects,
        kept=compared.differences.kept,
        empty=unfilled,
    )
    if not drafted.upgrade:
        return result
    origin = Origin(session, project, trial, whole, compared, renamed, models)
    with listener.at_work("measure what live traffic would wait for"):
        divided = stages.divide(origin, drafted) if project.online else stages.whole(drafted)
    prover = Prover(project, session, before, whole, compared, from_models, both.built.provided)
    with listener.at_work("prove the script"):
        proved = _write_and_prove(message, divided, prover, filled, result)
    if proved.result.unguarded and divided.stages[1:]:
        proved.remove()
        divided = stages.whole(drafted, TOGETHER)
        prover = replace(prover, project=prover.project.anew())
        anew = session.at_head(project)
        _run(anew, renamed)
        filled, _ = _filled(anew, from_models, compared, renamed)
        proved = _write_and_prove(message, divided, prover, filled, result)
    return _publish(message, divided, prover, proved)


def _rename(at_head: Database, compared: Comparison, decisions: Decisions) -> tuple[Rename, ...]:
    """Rename on a scratch database, also what is named after the renamed; return all renames."""
    before, goal = compared.before.catalog, compared.models.catalog
    done = matching.find(before, goal, decisions)
    _run(at_head, done)

    def following(here: catalog.Catalog) -> list[Rename]:
        return [*renames.followers(here, goal), *renames.not_nulls(before, here, goal)]

    if not done and not following(before):
        return ()
    more = following(catalog.take(at_head))
    _run(at_head, more)
    return (*done, *more)


def _filled(
    at_head: Database, from_models: Database, compared: Comparison, renamed: Sequence[Rename]
) -> tuple[Filled, tuple[str, ...]]:
    """Make up rows in a renamed database, undo the renames, and say for which tables there are no rows."""
    only = None if renamed else affected.tables(compared)
    unfilled = made_up_rows.fill(at_head, from_models, only)
    held = contents.take(at_head)
    _run(at_head, [rename.inverse for rename in reversed(renamed)])
    statements = tuple(map(renames.statement, renamed))
    return Filled(at_head, held, triggers.refusals(at_head), statements), unfilled


def _run(database: Database, renamed: Sequence[Rename]) -> None:
    if renamed:
        with database.connect(usual_path=True) as connection, connection.begin():
            cursor = connection.connection.cursor()
            for rename in renamed:
                cursor.execute(renames.statement(rename))


@dataclass(frozen=True)
class _Proved:
    """Scripts that are written aside, and what their proof found."""

    written: list[Script]
    project: Project
    result: RevisionResult

    def remove(self) -> None:
        """Remove the scripts."""
        for script in self.written:
            Path(script.path).unlink()


def _write_and_prove(
    message: str, divided: Stages, prover: Prover, filled: Filled, result: RevisionResult
) -> _Proved:
    """Write the scripts aside, and prove them."""
    written, project = _write_all(message, divided.stages, prover)
    prover = replace(prover, project=project)
    ends = [stage.end for stage in divided.stages]
    legs = prover.legs([(script.revision, end) for script, end in zip(written, ends, strict=True)])
    proof = prover.prove(legs, None if divided.unfilled else filled)
    values = {field.name: getattr(proof, field.name) for field in fields(proof)}
    result = replace(result, **{**values, "cautions": (*divided.cautions, *proof.cautions)})
    return _Proved(written, project, result)


def _publish(message: str, divided: Stages, prover: Prover, proved: _Proved) -> RevisionResult:
    """Put the scripts among the others; what is not proved refuses to run."""
    written, project = proved.written, proved.project
    if not proved.result.proved:
        written, project = _marked(message, divided, prover, proved)
    paths = script_files.publish(project, prover.history.heads)
    return replace(
        proved.result,
        path=paths[0],
        then=paths[1] if paths[1:] else None,
        revision=written[-1].revision,
        unfilled=divided.unfilled,
    )


def _marked(
    message: str, divided: Stages, prover: Prover, proved: _Proved
) -> tuple[list[Script], Project]:
    """Write unproved scripts again: the first one refuses to upgrade until its author removes that, also under Alembic.

    Where the downgrade does not lead back, the last one refuses to downgrade.
    """
    written, result = proved.written, proved.result
    first, *others = divided.stages
    edit = f"invoke edit --target {written[0].revision}"
    hint = f"{edit}   (mend it, remove this error from upgrade(), then: invoke check)"
    refuse = Refuse("this revision is not proved", "\n".join(_reasons(result)), hint)
    marked = [replace(first, upgrade=[refuse, *first.upgrade]), *others]
    if result.not_downgraded:
        names = ", ".join(str(difference.key) for difference in result.not_downgraded)
        refuse = Refuse("this revision cannot be undone", names)
        marked[-1] = replace(marked[-1], downgrade=[refuse, *marked[-1].downgrade])
    proved.remove()
    prover = replace(prover, project=prover.project.anew())
    return _write_all(message, marked, prover, [old.revision for old in written])


def _reasons(result: RevisionResult) -> Iterator[str]:
    """Yield why a script is not proved, a line each."""
    if result.failure:
        yield result.failure
    yield from result.faults
    yield from (f"the upgrade does not make {difference.key}" for difference in result.not_upgraded)
    yield from (
        f"the downgrade does not bring back {difference.key}"
        for difference in result.not_downgraded
    )


def _write_all(
    message: str, stages: Sequence[Stage], prover: Prover, ids: Sequence[str] = ()
) -> tuple[list[Script], Project]:
    """Write the scripts of all stages; return them, and the project that has them."""
    written: list[Script] = []
    for number, stage in enumerate(stages):
        script, project = _write_stage(message, stage, prover, written, ids[number] if ids else "")
        written.append(script)
        prover = replace(prover, project=project)
    return written, prover.project


def _write_stage(
    message: str, stage: Stage, prover: Prover, before: Sequence[Script], revision_id: str = ""
) -> tuple[Script, Project]:
    """Write the script of a stage; the first one names the roles and objects of all."""
    bodies = render(*stage.upgrade), render(*stage.downgrade)
    with prover.from_models.connect() as connection:
        roles = set(connection.execute(cluster.ROLES).scalars())
    owner, user = prover.from_models.alias
    roles = {user if role == owner else role for role in roles}
    known = {role for revision in prover.history.revisions for role in revision.roles}
    return script_files.write(
        prover.project,
        f"Beside live traffic: {message}" if before else message,
        (before[-1].revision,) if before else prover.history.heads,
        revision=revision_id,
        upgrade=bodies[0],
        downgrade=bodies[1],
        imports=imports("".join(bodies)),
        roles=() if before else sorted(roles - known),
        objects=() if before else prover.new_objects(),
    )


def _with_sql(project: Project, environment: Environment, result: RevisionResult) -> RevisionResult:
    scripts = project.history
    start = scripts[result.revision].parents
    if result.then:
        start = scripts[start[0]].parents
    base = start[0] if start else "base"
    sql = runner.offline(project, "upgrade", base, result.revision, environment.env_option)
    return replace(result, sql=sql)
