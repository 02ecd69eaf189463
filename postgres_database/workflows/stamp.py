"""Which revision a database is: found by comparison with the states of the history, or written into it."""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, islice

from postgres_database.errors import ExpectedError
from postgres_database.history import graph
from postgres_database.history.graph import History, Revision
from postgres_database.history.project import Project
from postgres_database.running import runner
from postgres_database.running.listener import SILENT, Listener, Step
from postgres_database.schema import catalog, snapshot
from postgres_database.schema.catalog import Catalog
from postgres_database.scratch import databases
from postgres_database.scratch.databases import Scratch
from postgres_database.server.connection import Database
from postgres_database.server.environment import Environment
from postgres_database.workflows import drift
from postgres_database.workflows.standing import Drift, Drifts, counted

SHOWN = 20
MOST_PAIRS = 60
"""How many states on two branches are compared, at most."""
CANDIDATES = 5
"""How many states are compared object by object: those with the most similar tables and types."""

State = tuple[str, ...]
"""The revisions that a database is at; none at base."""


@dataclass(frozen=True)
class Match:
    """The state of a history that equals a database, or comes nearest."""

    state: State
    drifts: Drifts
    """How the database differs from the state; equal if there are no objects."""
    ties: tuple[Revision, ...] = ()
    """Revisions up to the state that change nothing in the schema, newest first: the database may be before them."""


def best_match(project: Project, target: Database, session: Scratch) -> Match:
    """Find the state of the history that a database is, or the nearest one.

    The end of the history is tried first. Otherwise the history is replayed once, and the states with
    the most similar tables and types are compared object by object.

    Raises:
        ExpectedError: A script fails, or the database cannot be read.
    """
    scripts = project.history
    way = [graph.tips(scripts.revisions[:count]) for count in range(len(scripts.revisions) + 1)]
    end = _match(project, target, way[-1], session)
    if not end.drifts.objects:
        return _with_ties(end, project, session)
    goal = _items(catalog.take(target.read_only()))
    aside = [state for state in _aside(scripts) if state not in way]
    catalogs = [
        *_replayed(project, session),
        *(catalog.take(session.at(project, state)) for state in aside),
    ]
    distances = [len(goal ^ _items(state)) for state in catalogs]
    states = [*way, *aside]
    order = sorted(range(len(states)), key=lambda index: (distances[index], -index))
    matches = [(len(end.drifts.objects), distances[len(way) - 1], end)]
    for index in [index for index in order if states[index] != way[-1]][:CANDIDATES]:
        match = _match(project, target, states[index], session)
        if not match.drifts.objects:
            return _with_ties(match, project, session)
        matches.append((len(match.drifts.objects), distances[index], match))
    return min(matches, key=lambda match: match[:2])[2]


def best_of_all(project: Project, target: Database, session: Scratch) -> tuple[Project, Match]:
    """Find the state that a database is, or the nearest one, also among those that a squash has replaced.

    Returns:
        The project that has its scripts, and the state; see `best_match`.
    """
    at, best = project, best_match(project, target, session)
    for before in project.kept:
        if not best.drifts.objects:
            break
        match = best_match(before, target, session)
        if len(match.drifts.objects) < len(best.drifts.objects):
            at, best = before, match
    return at, best


def _aside(scripts: History) -> Iterator[State]:
    """Yield the states of branches: each revision with what it stands on, alone and with one of another branch."""
    under: dict[str, set[str]] = {}
    for revision in scripts.revisions:
        under[revision.id] = {revision.id}.union(*(under[needed] for needed in revision.needed))
        yield (revision.id,)
    apart = (
        pair
        for pair in combinations(under, 2)
        if pair[0] not in under[pair[1]] and pair[1] not in under[pair[0]]
    )
    yield from (graph.tips(scripts.upto(pair)) for pair in islice(apart, MOST_PAIRS))


def _match(project: Project, target: Database, state: State, session: Scratch) -> Match:
    return Match(state, drift.find(project, target, session.at(project, state), session))


def _replayed(project: Project, session: Scratch) -> list[Catalog]:
    """Return the tables and types at base and after each revision."""
    database = session.empty()
    catalogs = [catalog.take(database)]

    class Look(Listener):
        def step(self, step: Step) -> None:  # noqa: ARG002
            catalogs.append(catalog.take(database))

    with runner.open_runner(project, database) as run:
        run.upgrade(project.history.revisions, Look())
    return catalogs


def _with_ties(match: Match, project: Project, session: Scratch) -> Match:
    """Add the revisions that lead to the state and change nothing in the schema."""
    here = snapshot.take(session.at(project, match.state))
    applied = project.history.upto(match.state)
    ties = []
    while applied and snapshot.take(session.at(project, graph.tips(applied[:-1]))) == here:
        ties.append(applied[-1])
        applied = applied[:-1]
    return Match(match.state, match.drifts, tuple(ties))


def _items(whole: Catalog) -> set[Hashable]:
    return set(_each_item(whole))


def _each_item(whole: Catalog) -> Iterator[Hashable]:
    yield from whole.types
    yield from whole.sequences
    for name, table in whole.tables.items():
        yield name, table.kind
        for part, column in table.columns.items():
            yield name, part, column.type, column.not_null
        for part, constraint in table.constraints.items():
            yield name, part, constraint.definition
        for part in table.indexes:
            yield name, part


def write(  # noqa: PLR0913
    project: Project,
    environment: Environment,
    database: Database,
    target: str,
    *,
    purge: bool = False,
    wait: float | None = None,
    listener: Listener = SILENT,
) -> str:
    """Write a revision, `head` or `base` into a database without running anything; return its id.

    The listener is asked in a protected environment, and where the database differs from the revision. `purge` forgets
    what was stamped before, also a revision whose script is lost. `wait` is in seconds; None: for ever.

    Raises:
        ExpectedError: It was not confirmed; nothing was written.
    """
    there = project.having(target)
    scripts = there.history
    goal = scripts.resolve(target)
    with runner.open_runner(project, database) as run, run.alone(listener, wait):
        if not purge:
            before, (here, *_) = run.require_route()
            purge = here.places != there.places  # the stamp of the other history goes
        if purge:
            before = ()
        run.require_writable()
        state = _after(scripts, goal, before)
        doubts = _doubts(there, environment, database, state)
        if doubts or environment.protected:
            name = str(scripts[goal]) if goal in scripts else goal
            listener.require_yes(f"stamp {database.dsn} as {goal}", [name, *doubts])
        replace(run, project=there).stamp([goal], purge=purge)
    return goal


def _after(scripts: History, goal: str, before: Sequence[str]) -> tuple[str, ...]:
    """Return the revisions of the target after the stamp: other branches keep theirs, except at base."""
    if goal == "base":
        return ()
    under = {revision.id for revision in scripts.upto([goal])}
    others = [
        other
        for other in before
        if other not in under and goal not in {revision.id for revision in scripts.upto([other])}
    ]
    return graph.tips(scripts.upto([goal, *others]))


def _doubts(
    project: Project,
    environment: Environment,
    database: Database,
    state: Sequence[str],
) -> list[str]:
    """Return how the target differs from what is to be stamped, a line each."""
    try:
        with databases.session(project, environment) as session:
            drifts = drift.find(project, database, session.at(project, state), session).objects
    except ExpectedError as error:
        reason = " ".join(error.cause.split())
        return [f"whether the database is at that revision is not known: {error.what} ({reason})"]
    tables_first = sorted(drifts, key=lambda each: each.key.kind != "TABLE")
    lines = [describe(item) for item in tables_first[:SHOWN]]
    more = [f"and {len(drifts) - SHOWN} more"] if len(drifts) > SHOWN else []
    head = (
        [f"the database is not at that revision; it differs in {counted(drifts)}:"]
        if drifts
        else []
    )
    return [*head, *(f"  {line}" for line in (*lines, *more))]


def describe(item: Drift) -> str:
    """Say in a line how an object differs."""
    if not item.target:
        return f"{item.key} is missing"
    return f"{item.key} differs" if item.history else f"{item.key} is not in the history"
