"""Review pending scripts: what each statement does, measured, and what could go wrong on the target."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from postgres_database.errors import ExpectedError
from postgres_database.history import graph, upstream
from postgres_database.history.graph import Revision
from postgres_database.history.operations import RefusedError
from postgres_database.history.project import Project
from postgres_database.preflight import drops, preview, row_checks
from postgres_database.proving import contents, made_up_rows, way_back
from postgres_database.proving.way_back import WayBack
from postgres_database.reviewing import deployed as deployed_models
from postgres_database.reviewing import (
    durations,
    findings,
    pins,
    rehearsal,
    settings,
    sizes,
    squawk,
)
from postgres_database.reviewing.deployed import Deployed
from postgres_database.reviewing.findings import ERROR, NOTE, WARNING, Finding
from postgres_database.reviewing.pins import Plan
from postgres_database.reviewing.sizes import Sizes
from postgres_database.reviewing.statements import Measured, Rehearsal
from postgres_database.running import log, runner
from postgres_database.running.listener import SILENT, Listener
from postgres_database.schema import comparison
from postgres_database.schema.comparison import Side
from postgres_database.scratch import databases
from postgres_database.scratch.databases import Scratch
from postgres_database.server.connection import Database
from postgres_database.server.environment import Environment
from postgres_database.workflows import drift

NAME_THEM = "invoke review --from …   (the revision after which the scripts begin)"
SAFE = "safe beside live traffic"
FIRST = ("fails", "violation", "table-rewrite", "table-scan", "row-locks")
"""The rules that the verdict is about if there are several findings of the same level; the first one counts."""
SHOWN = 5  # names


@dataclass(frozen=True)
class Review:
    """The statements of scripts, what could go wrong, and a verdict."""

    target: str
    """The DSN of the target; empty: none was asked for."""
    server: str
    """The version of the scratch server on which it was measured."""
    before: tuple[str, ...]
    """The revisions from which the scripts were run."""
    plan: tuple[Revision, ...]
    files: Mapping[str, str] = field(default_factory=dict)
    """Id of a revision → its file, as people see it."""
    statements: tuple[Measured, ...] = ()
    findings: tuple[Finding, ...] = ()
    sizes: Sizes | None = field(default=None, repr=False)
    pinned: Plan | None = field(default=None, repr=False)
    """What an upgrade is to run exactly, if that was asked for."""
    sides: tuple[Side, ...] = field(default=(), repr=False)
    """The schema before and after the scripts; empty if there are none, one fails, or it was not wanted."""

    @property
    def verdict(self) -> str:
        """The answer in one line."""
        if not self.plan:
            return "nothing to review"
        found = findings.open_at(self.findings, WARNING)
        gravest = findings.open_at(found, ERROR) or found
        for rule in (*FIRST, *(each.rule for each in gravest)):
            for each in gravest:
                if each.rule == rule:
                    others = len(found) - 1
                    more = f"; {others} more finding{'s' * (others > 1)}" if others else ""
                    return f"{each.what.splitlines()[0]}{more}"
        return SAFE


def perform(  # noqa: PLR0913 - what is run, where, and who hears of it
    project: Project,
    environment: Environment,
    target: Database | None,
    span: tuple[str, str] = ("", ""),
    listener: Listener = SILENT,
    *,
    pinning: bool = False,
    deployed: str = "",
    drawing: bool = False,
) -> Review:
    """Run scripts on a scratch database, statement by statement, and judge what they do.

    Args:
        project: Has the scripts.
        environment: Where the scratch server is.
        target: Its pending scripts are reviewed, on a copy of its schema; only read. None: those of `span`.
        span: Without a target, the revision after which the scripts begin, and the last one; both empty: those that
            the main branch of the repository does not have.
        listener: Hears what is done.
        pinning: Whether the scripts and the state of the target are pinned; needs a target.
        deployed: The git ref of the code that runs while the scripts do; empty: not known.
        drawing: Whether the schema before and after the scripts is wanted, for a page.

    Raises:
        ExpectedError: There is no such ref or no scratch server, the target or the history cannot be read, or a script
            that is to be pinned was changed in the meantime.
    """
    known = deployed_models.read(project, deployed, environment.models) if deployed else None
    before, plan = _plan(project, target, span)
    state = pins.state(project, target, before) if target and pinning else None
    result = _reviewed(project, environment, target, before, plan, known, listener, drawing=drawing)
    ranges = durations.of_scripts(result.statements)
    if target and (fault := durations.keep(project.root, target.dsn.place, ranges)):
        listener.note(fault)
    if not (target and state):
        return result
    pinned = pins.pin(project, target, result.verdict, state, plan, ranges)
    return replace(result, pinned=pinned)


def _reviewed(  # noqa: PLR0913, PLR0917 - what is run, where, and who hears of it
    project: Project,
    environment: Environment,
    target: Database | None,
    before: tuple[str, ...],
    plan: tuple[Revision, ...],
    deployed: Deployed | None,
    listener: Listener,
    *,
    drawing: bool,
) -> Review:
    if not plan:
        return Review(str(target.dsn) if target else "", "", before, plan)
    there = sizes.read(target) if target else None
    given = settings.of_target(target) if target else settings.WORST
    name = project.folders.name
    found: list[Finding] = []
    if deployed and deployed.fault:
        what = (
            f"the models of {deployed.ref} are not known, and may use everything: {deployed.fault}"
        )
        found.append(Finding("not-reviewed", WARNING, what, plan[0].id))
    if target:
        found += _read_target(project, target, plan, listener)
    with databases.session(project, environment) as session:
        copy, drifted, text = _copy(project, session, target, before, plan)
        found += drifted
        work = _Work(project, session, copy, text, plan, given, listener)
        measured, more, sides, after = work.run(drawing=drawing, kept=bool(there))
        found += more
        if target and there and not measured.failed:
            with listener.at_work("estimate how long the statements take on the target"):
                measured = durations.estimated(
                    project, session, (copy, after), plan, measured, there, target, given
                )
        found += findings.waits(measured, there, name)
        found += findings.broken(measured, name, deployed)
        server = settings.server_of(copy)
        theirs = settings.server_of(target) if target else server
        found += findings.other_server(server, theirs, plan[0])
        found += squawk.find(
            measured.statements, found, deployed, server=theirs, root=project.root, name=name
        )
    found = findings.accepted(found, plan, name)
    order = {revision.id: number for number, revision in enumerate(plan)}
    found.sort(key=lambda each: (order.get(each.revision, -1), each.line))
    files = {revision.id: name(revision.path) for revision in plan}
    label = str(target.dsn) if target else ""
    return Review(
        label, server, before, plan, files, measured.statements, tuple(found), there, sides=sides
    )


def _plan(
    project: Project, target: Database | None, span: tuple[str, str]
) -> tuple[tuple[str, ...], tuple[Revision, ...]]:
    """Return the revisions from which scripts are reviewed, and the scripts."""
    scripts = project.history
    first, last = span
    if target:
        with runner.open_runner(project, target.read_only()) as run:
            before, route = run.require_route()
        if len(route) > 1:
            raise ExpectedError(
                f"{target.dsn} is at revision {', '.join(before)}, which a squash has replaced",
                cause=f"its scripts are kept in {project.folders.name(route[0].places[0])}; they were reviewed when"
                " they were new",
                hint=f"invoke upgrade{target.env_option} --dry-run   (it shows them, and what others would wait for)",
            )
        return before, scripts.pending(before, "heads")
    if not any(span):
        changed = upstream.changed(project.folders, NAME_THEM)
        new = {each.id for each in scripts.revisions if each.path.resolve() in changed}
        plan = scripts.following(new)
        below = {id_ for each in plan for id_ in each.needed} - {each.id for each in plan}
        return graph.tips(scripts.upto(below)), plan
    ids = scripts.resolve(first or "base")
    before = () if ids == "base" else (ids,)
    return before, scripts.pending(before, last or "heads")


def _read_target(
    project: Project, target: Database, plan: Sequence[Revision], listener: Listener
) -> list[Finding]:
    """Return what the rows of the target have to do with the scripts."""
    name, steps = project.folders.name, preview.printed(project, "upgrade", plan)
    found = [
        findings.of_script("violation", ERROR, str(each), each.revision, name)
        for each in row_checks.violations(target, steps, listener)
    ]
    for step in steps:
        found += [
            findings.of_script("drops-data", WARNING, str(each), step.revision, name)
            for each in drops.dropped(target, [step])
        ]
    return found


def _copy(
    project: Project,
    session: Scratch,
    target: Database | None,
    before: Sequence[str],
    plan: Sequence[Revision],
) -> tuple[Database, list[Finding], str]:
    """Return a scratch database like the target, what is to be said of it, and its dump if that was taken.

    What an interrupted revision has done is no part of it: its next run goes on after that.
    """
    if not target:
        return session.at(project, before), [], ""
    if begun := {*log.half_done(target)}.intersection(each.id for each in plan):
        what = f"revision {', '.join(begun)} was interrupted on the target: measured as if it had not begun there"
        finding = Finding("not-reviewed", NOTE, what, plan[0].id)
        return session.at(project, before), [finding], ""
    copy, differing, text = drift.like(project, session, target, before)
    if not differing:
        return copy, [], text
    named = ", ".join(str(difference.key) for difference in differing[:SHOWN])
    objects = f"{len(differing)} object{'s' * (len(differing) > 1)}"
    what = f"the target differs from its revision in {objects}: {named}"
    finding = Finding("drift", WARNING, what, plan[0].id, fix=f"# invoke check{target.env_option}")
    return copy, [finding], text


@dataclass(frozen=True)
class _Work:
    """Scripts that are run on copies of the target; `copy` itself stays as it is."""

    project: Project
    session: Scratch
    copy: Database
    text: str
    """Its dump; empty: not taken."""
    plan: Sequence[Revision]
    given: Mapping[str, str]
    listener: Listener

    def run(
        self, *, drawing: bool, kept: bool
    ) -> tuple[Rehearsal, list[Finding], tuple[Side, ...], Database]:
        """Run the scripts up, down, and up again, which is measured if the downgrade has brought everything back.

        Args:
            drawing: Whether the schema before and after them is wanted.
            kept: Whether a database after them is wanted.

        Returns:
            What the statements did; findings; the schema before and after, if wanted and known; a database after the
            scripts without made-up rows, or the copy if that is not wanted or they fail there.
        """
        trial, after = self.session.clone(self.copy), self.copy
        sides: tuple[Side, ...] = ()
        with self.listener.at_work("upgrade and downgrade"):
            following, error = way_back.run(self.project, trial, "upgrade", self.plan)
            failed = Rehearsal((), following, error) if error else None
            found: list[Finding] = []
            if not failed:
                sides = comparison.sides(self.copy, trial) if drawing else ()
                after = self.session.clone(trial) if kept else after
                found = self._undone(trial)
        # Rows that were left decide what a script does, as much as its schema.
        again = not failed and not found and contents.take(self.copy) == contents.take(trial)
        with self.listener.at_work("measure the statements on a scratch database"):
            if again:
                measured, more = self._measured(trial)
                if not measured.failed:
                    return measured, more, sides, after
            if not failed and not found:
                error = measured.failure if again else None
                if not again:
                    _, error = way_back.run(self.project, trial, "upgrade", self.plan)
                found += self._never_again(error)
            measured, more = self._measured(self.copy)
        if failed and not measured.failed:
            more += findings.failure(failed, self._name, "fails-without-rows", WARNING)
        return measured, [*more, *found], sides, after

    @property
    def _name(self) -> Callable[[Path], str]:
        return self.project.folders.name

    def _measured(self, database: Database) -> tuple[Rehearsal, list[Finding]]:
        """Measure the statements on made-up rows; where these make a script fail, on empty tables.

        They run on clones of the database.
        """
        filled, empty = self.session.clone(database), self.session.clone(database)
        made_up_rows.fill(filled, self.copy)
        measured = rehearsal.measure(self.project, filled, self.plan, settings=self.given)
        if not measured.failed:
            return measured, []
        without = rehearsal.measure(self.project, empty, self.plan, settings=self.given)
        if without.failed:
            return without, findings.failure(without, self._name)
        return without, findings.failure(measured, self._name, "fails-on-rows", WARNING)

    def _undone(self, database: Database) -> list[Finding]:
        """Return what the downgrades of an upgraded copy do not bring back."""
        revision, error = way_back.run(self.project, database, "downgrade", self.plan[::-1])
        if error:
            refused = isinstance(error.__cause__, RefusedError)
            what = f"the downgrade {'refuses to run' if refused else 'fails'}: {error.cause}"
            level = NOTE if refused else WARNING
            return [self._irreversible(level, what, revision)]
        way = WayBack(self.project, self.session, self.copy, self.text, self.plan)
        words = "the downgrade does not bring back"
        return [
            self._irreversible(WARNING, f"{words} {lost}", each)
            for each, lost in way.lost(database)
        ]

    def _never_again(self, error: ExpectedError | None) -> list[Finding]:
        """Return that the scripts cannot run after their downgrade, if there is an error."""
        if not error:
            return []
        what = f"after its downgrade it cannot run again: {error.cause}"
        return [self._irreversible(ERROR, what, self.plan[-1])]

    def _irreversible(self, level: str, what: str, revision: Revision) -> Finding:
        return findings.of_script("irreversible", level, what, revision, self._name)
