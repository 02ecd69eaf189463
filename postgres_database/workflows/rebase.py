"""Put the revisions of one branch on top of the other head, instead of a revision that merges the two."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from postgres_database.errors import ExpectedError
from postgres_database.history import script_files, staged, upstream
from postgres_database.history.graph import History, Revision
from postgres_database.history.project import Project
from postgres_database.history.project_models import Models
from postgres_database.proving import round_trip
from postgres_database.running import runner
from postgres_database.running.listener import SILENT, Listener
from postgres_database.schema import respelling
from postgres_database.scratch import databases, provided
from postgres_database.scratch.databases import Scratch
from postgres_database.server import embedded
from postgres_database.server import environment as environments
from postgres_database.server.connection import Database
from postgres_database.server.environment import Environment

MERGE = 'invoke merge --msg "Merge the heads"'
NAME_MINE = "invoke rebase --revision …   (the first of your revisions; invoke history shows them)"


@dataclass(frozen=True)
class RebaseResult:
    """What was put on top of what."""

    moved: tuple[Revision, ...]
    """The revisions, in order; the first one follows another revision now."""
    onto: Revision
    """What it follows."""
    branch: str = ""
    """The branch that has none of them; empty if the first one was named."""
    notes: tuple[str, ...] = ()
    """What is not known, and what else a human should look at, a line each."""


@dataclass(frozen=True)
class _Move:
    """The revisions that are to follow the other head."""

    moved: tuple[Revision, ...]
    onto: Revision
    branch: str

    @property
    def first(self) -> Revision:
        return self.moved[0]


def perform(
    project: Project,
    environment: Environment,
    revision: str = "",
    listener: Listener = SILENT,
) -> RebaseResult:
    """Let the first of my revisions follow the other head, and prove all of them there.

    Args:
        project: Has a history with two heads.
        environment: Where the scratch server is.
        revision: The first of mine; empty: those that the branch does not have on which the team meets.
        listener: Hears what is done, and which command it waits for.

    Raises:
        ExpectedError: It is not clear which revisions, a database has run them, or they do not prove; nothing was
            changed.
    """
    models, notes = _models(project)  # before a script is imported, which may change them
    with script_files.staging(project, listener.wait) as aside:
        here = replace(aside, staged=None)  # read before anything is copied, and not again
        move = _choose(here, revision)
        notes += _require_nowhere(project, environment, move)
        copy = script_files.copied(aside)
        places, removed = _rewrite(copy, move)
        rebased = copy.anew()
        with databases.session(rebased, environment) as session:
            notes += _prove(here, rebased, session, models, move, listener)
        script_files.require_unchanged(here)
        staged.publish(aside.aside, places, removed)
    now = project.anew().history
    moved = tuple(now[each.id] for each in move.moved)
    return RebaseResult(moved, move.onto, move.branch, tuple(notes))


def _models(project: Project) -> tuple[Models | None, list[str]]:
    try:
        return project.models(), []
    except ExpectedError as error:
        return None, [f"the models are not compared: {error.what}: {' '.join(error.cause.split())}"]


def _choose(project: Project, named: str) -> _Move:
    """Find the revisions that move, and the head that they are to follow."""
    scripts = project.history
    if len(scripts.heads) < 2:  # noqa: PLR2004
        raise ExpectedError(
            "there is nothing to rebase",
            cause=f"the history has one head: {', '.join(scripts.heads) or 'base'}",
            hint="invoke history   (after git pull or git merge it may have two)",
        )
    if named:
        first, branch = scripts[_existing(scripts, named)], ""
    else:
        found = upstream.find_upstream(project.folders, NAME_MINE)
        first, branch = _first_of_mine(scripts, found), found.branch
    moved = {first.id}
    for each in scripts.revisions:
        moved.update([each.id] if moved.intersection(each.needed) else [])
    others = [head for head in scripts.heads if head not in moved]
    if len(others) != 1:
        raise ExpectedError(
            f"which revision {first} is to follow is not clear",
            cause=f"besides those that follow it, the history has the heads {', '.join(others)}"
            if others
            else "both heads follow it",
            hint=f"{MERGE}   (or rebase --revision …, with the first revision of one of them)",
        )
    onto = scripts[others[0]]
    before = {each.id for each in scripts.upto([onto.id])}
    if len(first.parents) > 1 or not before.issuperset(first.needed):
        raise ExpectedError(
            f"{first} cannot be put on top of {onto}",
            cause=f"it follows {', '.join(first.needed)}",
            hint=f"{MERGE}   (or invoke rebase --revision …, with a revision that follows one of the other branch)",
        )
    return _Move(tuple(each for each in scripts.revisions if each.id in moved), onto, branch)


def _existing(scripts: History, named: str) -> str:
    revision_id = scripts.resolve(named)
    if revision_id == "base":
        raise ExpectedError("base is no revision", hint="invoke history")
    return revision_id


def _first_of_mine(scripts: History, found: upstream.Upstream) -> Revision:
    """Return the first of the revisions that a branch does not have."""
    mine = {each.id for each in scripts.revisions if each.path.resolve() not in found.scripts}
    first = [scripts[each] for each in sorted(mine) if not mine.intersection(scripts[each].needed)]
    if len(first) == 1:
        return first[0]
    raise ExpectedError(
        "which revisions are yours is not clear",
        cause="\n".join(
            [f"{found.branch} has none of these, and none of them follows another:"]
            + [str(each) for each in first]
        )
        if first
        else f"{found.branch} has all of them already: others may have run them",
        hint="invoke rebase --revision …   (the first one that is to be put on top of the others)"
        if first
        else MERGE,
    )


@dataclass(frozen=True)
class _Stand:
    """Where the database of an environment stands."""

    where: str
    env_option: str = ""
    current: tuple[str, ...] = ()
    fault: str = ""
    """Why that is not known; empty if it is."""


def _require_nowhere(project: Project, environment: Environment, move: _Move) -> Iterator[str]:
    """Raise ExpectedError if a database has run what is moved; yield for which environments that is not known."""
    names = [name for name in environments.env_files(project.root) if name != environment.name]
    names += [""] if environment.name else []
    with ThreadPoolExecutor() as pool:
        stands = [
            _stand(project, environment),
            *pool.map(lambda name: _stand_of(project, name), names),
        ]
    moved = {each.id for each in move.moved}
    below = move.first.parents[0] if move.first.parents else "base"
    scripts = project.history
    for stand in stands:
        applied = scripts.upto(each for each in stand.current if each in scripts)
        if ran := [each.id for each in applied if each.id in moved]:
            raise ExpectedError(
                f"{stand.where} has run {', '.join(ran)} already; nothing was changed",
                cause=f"it would be at a revision that follows {move.onto.id}, which did not run there before",
                hint=f"invoke downgrade{stand.env_option} --target {below}   (then invoke rebase again; or, to keep"
                f" what it ran: {MERGE})",
            )
    for stand in stands:
        if stand.fault:
            yield f"whether {stand.where} has run {move.first.id} is not known: {stand.fault}"


def _stand_of(project: Project, name: str) -> _Stand:
    try:
        return _stand(project, environments.load(name, root=project.root))
    except ExpectedError as error:
        return _Stand(name or "default", fault=" ".join((error.cause or error.what).split()))


def _stand(project: Project, environment: Environment) -> _Stand:
    where = environment.label
    try:
        target = embedded.target(environment, project.versions).read_only()
        with runner.open_runner(project, target) as run:
            return _Stand(where, environment.env_option, run.current())
    except ExpectedError as error:
        return _Stand(where, fault=" ".join((error.cause or error.what).split()))


def _rewrite(copy: Project, move: _Move) -> tuple[list[tuple[Path, Path]], list[Path]]:
    """Let the first revision follow the other head, in a copy; return what is put where, and what is removed."""
    path = move.first.path
    try:
        text = script_files.followed(path.read_bytes(), move.onto.id)
    except ValueError as error:
        raise ExpectedError(
            f"{move.first} cannot be changed; nothing was changed",
            cause=f"{copy.folders.name(path)}: {error}",
            hint=f"invoke edit --target {move.first.id}   (down_revision = {move.onto.id!r})",
        ) from error
    copies = script_files.copies_of(copy, path)
    for each in copies:
        each.write_bytes(text)
    places, removed = {path: copies[0]}, []
    template, now = copy.scripts.file_template, datetime.now().astimezone()
    if path.name <= move.onto.path.name:  # else they are in order
        for number, revision in enumerate(move.moved):
            when = now + timedelta(minutes=number)
            new = revision.path.with_name(script_files.renamed(revision.path.name, template, when))
            if new == revision.path or new.exists():
                continue
            for old, place in (
                (revision.path, new),
                (revision.path.with_suffix(".sql"), new.with_suffix(".sql")),
            ):
                if old.exists():
                    places.pop(old, None)
                    places[place] = script_files.copies_of(copy, old)[0]
                    removed.append(old)
    return [(file, place) for place, file in places.items()], removed


def _prove(  # noqa: PLR0913, PLR0917
    project: Project,
    rebased: Project,
    session: Scratch,
    models: Models | None,
    move: _Move,
    listener: Listener,
) -> Iterator[str]:
    """Run the revisions up, down and up again where they are now, and compare the models; yield what to look at."""
    for each in move.moved:
        with listener.at_work(f"prove {each}"):
            faults = round_trip.there_and_back(rebased, session, rebased.history[each.id])
        if faults:
            raise ExpectedError(
                f"{each} fails after {move.onto}; nothing was changed",
                cause=script_files.as_original(rebased, "\n".join(faults)),
                hint=f"invoke edit --target {each.id}   (so that it fits what the other branch did; then invoke"
                " rebase again)",
            )
    if models is None:
        return
    with listener.at_work("compare with the models"):
        at_head = session.at_head(rebased)
        from_models = provided.build(session, models, lambda: at_head).database
        unlike = _unlike(rebased, session, at_head, from_models)
        if not unlike:
            return
        before = _unlike_before(project, session, from_models)
    if caused := unlike - before:
        raise ExpectedError(
            f"{move.first} after {move.onto} does not lead to the models; nothing was changed",
            cause=f"in these objects the models say otherwise: {', '.join(sorted(caused))}",
            hint=f"invoke edit --target {move.first.id}   (or mend the models; then invoke rebase again)",
        )
    yield f"the models differ from the history, as they did before, in {', '.join(sorted(unlike))}"


def _unlike_before(project: Project, session: Scratch, from_models: Database) -> set[str]:
    """Return in what the models differ from the history with its two heads; nothing if that cannot run."""
    try:
        return _unlike(project, session, session.at_head(project), from_models)
    except ExpectedError:
        return set()


def _unlike(project: Project, session: Scratch, here: Database, models: Database) -> set[str]:
    objects = project.history.objects
    compared = respelling.compare(project.scope, here, models, objects, session.empty)
    return {str(each.key) for each in compared.differences.objects}
