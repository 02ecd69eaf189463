"""Find which revision a database is by comparing its schema with the states of the history."""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from itertools import combinations, islice

from postgres_database.history import graph
from postgres_database.history.graph import History, Revision
from postgres_database.history.project import Project
from postgres_database.running import runner
from postgres_database.running.listener import Listener, Step
from postgres_database.schema import catalog, snapshot
from postgres_database.schema.catalog import Catalog
from postgres_database.scratch.databases import Scratch
from postgres_database.server.connection import Database
from postgres_database.workflows import drift
from postgres_database.workflows.drift import Drifts

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
