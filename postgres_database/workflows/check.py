"""Compare the models with the history, and a target with its revision.

Where it is known that nothing differs, neither Alembic nor plain models are imported, and no script is executed.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg2

from postgres_database.errors import ExpectedError
from postgres_database.history.project import Project
from postgres_database.running import log
from postgres_database.running.log import Edited
from postgres_database.schema.comparison import Differences
from postgres_database.schema.snapshot import Key
from postgres_database.scratch import known, plain
from postgres_database.scratch.known import Template
from postgres_database.scratch.recipes import Equal
from postgres_database.server import embedded
from postgres_database.server.connection import Database
from postgres_database.server.environment import Environment
from postgres_database.workflows import standing
from postgres_database.workflows.standing import Drifts, Look, Settled

if TYPE_CHECKING:
    from postgres_database.scratch.databases import Scratch
    from postgres_database.scratch.recording import Recording

MOST_KEPT = 1000
"""Objects that only the history has, of which a template keeps the names."""


@dataclass(frozen=True)
class TargetCheck:
    """A target, compared with the revision that it is stamped with."""

    environment: str
    target: str
    revision: tuple[str, ...]
    pending: tuple[str, ...]
    """What an upgrade would run; that is no difference."""
    drifts: Drifts
    env_option: str
    """What to add to a command so that it works on this environment."""
    edited: tuple[Edited, ...] = ()
    """Scripts of its revisions that were edited after they ran there."""
    unread: str = ""
    """Why that is not known; empty if it is."""


@dataclass(frozen=True)
class CheckResult:
    """The models, compared with the history, and the target with its revision."""

    heads: tuple[str, ...]
    differences: Differences | None
    """None if there are several heads or unfit models: then there is nothing to compare with."""
    target: TargetCheck | None = None
    """None if no target was asked for."""
    unfit: str = ""
    """Why the models are not compared: they are certainly incomplete."""
    cautions: tuple[str, ...] = ()
    """What live traffic would wait for: in the pending scripts of the target, without one in the last script."""
    target_only: bool = False
    """Whether the models were left out."""

    @property
    def agree(self) -> bool:
        """Whether models and history agree."""
        return self.differences is not None and not self.differences.objects

    @property
    def clean(self) -> bool:
        """Whether there is nothing to do."""
        target = self.target
        differs = target and (target.drifts.objects or target.edited or target.unread)
        return (self.agree or self.target_only) and not differs


def compare(
    project: Project,
    environment: Environment,
    target: Database | None = None,
    *,
    fresh: bool = False,
) -> CheckResult:
    """Compare the models with the history on scratch databases, and a target, which is only read, with its revision.

    `fresh` runs the whole history again, without the scratch databases that were kept of it.

    Raises:
        ExpectedError: The models, the history or the target cannot be read.
    """
    with standing.looking(project, target) if target else nullcontext() as look:
        template = _template(project, environment) if look and not fresh else None
        kept = template.kept_by_plain(project) if template else None
        if kept is not None and look and (found := look.settled(template)):
            settled = _settled(environment, look.database, found)
            return CheckResult(found.revision, Differences((), kept), settled)
        return _compare(project, environment, target, look, fresh=fresh)


def _compare(
    project: Project,
    environment: Environment,
    target: Database | None,
    look: Look | None,
    *,
    fresh: bool,
) -> CheckResult:
    from postgres_database.history import project_models
    from postgres_database.modelling import strangers
    from postgres_database.scratch import databases, recording

    models = project.models()
    with databases.session(project, environment) as session:
        if fresh:
            session.forget()
        with recording.begun(session, project, models) as copy:
            template = _template(project, environment)
            found = look.settled(template) if look else None
            # Beside the copy: what else is asked of models (`strangers.require_whole`).
            whole = project_models.tables(models) and not strangers.unimported(project, models)
            recorded = copy.recording() if whole else None
        kept = _kept(project, template, recorded)
        if kept is not None and target and found:
            settled = _settled(environment, target, found)
            return CheckResult(found.revision, Differences((), kept), settled)

        from postgres_database.drafting import autogenerate
        from postgres_database.schema import respelling
        from postgres_database.scratch import provided

        heard = recording.Heard()
        if kept is None:  # before a script is imported, which may change them
            build = provided.build(session, models, lambda: session.at_head(project), heard)
            files = plain.everything(project)
        scripts = project.history
        if target:
            checked, cautions = _target(project, environment, target, session, found)
        else:
            checked, cautions = None, _cautions_of_heads(project, session)
        if len(scripts.heads) > 1:
            return CheckResult(scripts.heads, None, checked, cautions=cautions)
        if kept is not None:
            return CheckResult(scripts.heads, Differences((), kept), checked, cautions=cautions)
        from_models = build.database
        at_head = session.at_head(project)
        compared = respelling.compare(
            project.scope, at_head, from_models, scripts.objects, session.empty
        )
        try:
            strangers.require_whole(project, models, compared)
            strangers.require_known(project, models, compared)
        except ExpectedError as error:  # it says nothing of the target
            return CheckResult(scripts.heads, None, checked, str(error), cautions)
        differences = autogenerate.compare(compared, at_head, models)
        few = len(differences.kept) <= MOST_KEPT
        if recorded and few and not differences.objects and heard.is_as(recorded):
            names = tuple((key.kind, key.schema, key.name) for key in differences.kept)
            around = known.around(project, session.place)
            session.note(at_head, equal=Equal.of(recorded.key, names, files, around))
        return CheckResult(scripts.heads, differences, checked, cautions=cautions)


def _template(project: Project, environment: Environment) -> Template | None:
    with suppress(psycopg2.Error):
        return (
            known.find(embedded.scratch_server(environment), project.line) if project.line else None
        )
    return None


def _kept(
    project: Project, template: Template | None, recorded: Recording | None
) -> tuple[Key, ...] | None:
    """Return what only the history has if its template is known to equal the models; None if they must be compared."""
    if template and recorded and known.is_current(project, template):
        return template.kept(recorded.key)
    return None


def compare_target(
    project: Project, environment: Environment, target: Database, *, fresh: bool = False
) -> CheckResult:
    """Compare a target, which is only read, with its revision; the models are not even imported.

    Raises:
        ExpectedError: The history or the target cannot be read.
    """
    from postgres_database.scratch import databases

    with databases.session(project, environment) as session:
        if fresh:
            session.forget()
        found = standing.settled(project, environment, target)
        checked, cautions = _target(project, environment, target, session, found)
    heads = standing.heads(project)
    return CheckResult(heads, None, checked, cautions=cautions, target_only=True)


def _cautions_of_heads(project: Project, session: Scratch) -> tuple[str, ...]:
    """Measure what others would wait for while the last script runs."""
    from postgres_database.reviewing import cautions

    last = [project.history[head] for head in project.history.heads]
    return tuple(
        line
        for revision in last
        if revision.parents
        for line in cautions.find(session, project, revision.needed, [revision])
    )


def _settled(environment: Environment, target: Database, found: Settled) -> TargetCheck:
    """Return a target that is at head, without drift."""
    where = environment.label, str(target.dsn), found.revision
    return TargetCheck(*where, (), Drifts(), environment.env_option)


def _target(
    project: Project,
    environment: Environment,
    target: Database,
    session: Scratch,
    found: Settled | None = None,
) -> tuple[TargetCheck, tuple[str, ...]]:
    """Compare a target with its revision, and measure what others would wait for while pending scripts run."""
    if found:
        return _settled(environment, target, found), ()

    from postgres_database.reviewing import cautions, settings, sizes
    from postgres_database.running import runner
    from postgres_database.workflows import drift

    with runner.open_runner(project, target.read_only()) as run:
        current, route = run.require_route()
    at, legs = route[0], project.legs(current, "heads")
    pending = [revision for leg in legs for revision in leg.plan]
    there = sizes.read(target) if pending else {}
    given = settings.of_target(target) if there else {}
    edited, unread = _edited(target, at, current)
    checked = TargetCheck(
        environment.label,
        str(target.dsn),
        current,
        tuple(map(str, pending)),
        drift.find(project, target, session.at(at, current), session, repair=bool(current)),
        environment.env_option,
        edited,
        unread,
    )
    return checked, tuple(
        line
        for leg in legs
        for line in cautions.find(
            session, leg.project, leg.before, leg.plan, sizes=there, settings=given
        )
    )


def _edited(
    target: Database, at: Project, current: Sequence[str]
) -> tuple[tuple[Edited, ...], str]:
    """Return which scripts were edited after they ran on a target, or why that is not known."""
    try:
        return log.edited(target, at.history.upto(current)), ""
    except ExpectedError as error:
        return (), f"whether scripts were edited after they ran is not known: {error.cause}"
