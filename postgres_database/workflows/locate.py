"""Which revision a database is, though it does not say so: it is compared with the states of the history."""

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
"""How many states that are on two branches are looked at."""
CANDIDATES = 5
"""How many states are compared object by object; those that are likest in tables and types."""

State = tuple[str, ...]
"""The revisions that a database on the way up is at; none at base."""


@dataclass(frozen=True)
class Place:
    """Where in a history a database stands, or what comes nearest."""

    state: State
    drifts: Drifts
    """In what the database differs from the state; no objects: it is there."""
    ties: tuple[Revision, ...] = ()
    """Revisions up to the state that change nothing in the schema, newest first: the database may be before them."""


def locate(project: Project, target: Database, session: Scratch) -> Place:
    """Find the state of the history that a database is, or the nearest one.

    The end of the history is tried first. Otherwise the history is replayed once, and the states that
    are likest in tables and types are compared object by object.

    Raises:
        ExpectedError: A script fails, or the database cannot be read.
    """
    scripts = project.history
    way = [graph.tips(scripts.revisions[:count]) for count in range(len(scripts.revisions) + 1)]
    end = _place(project, target, way[-1], session)
    if not end.drifts.objects:
        return _with_ties(end, project, session)
    goal = _items(catalog.take(target.read_only()))
    aside = [state for state in _aside(scripts) if state not in way]
    catalogs = [
        *_replayed(project, session),
        *(catalog.take(session.at(project, state)) for state in aside),
    ]
    distances = [len(goal ^ _items(each)) for each in catalogs]
    states = [*way, *aside]
    order = sorted(range(len(states)), key=lambda place: (distances[place], -place))
    places = [(len(end.drifts.objects), distances[len(way) - 1], end)]
    for index in [each for each in order if states[each] != way[-1]][:CANDIDATES]:
        place = _place(project, target, states[index], session)
        if not place.drifts.objects:
            return _with_ties(place, project, session)
        places.append((len(place.drifts.objects), distances[index], place))
    return min(places, key=lambda each: each[:2])[2]


def _aside(scripts: History) -> Iterator[State]:
    """Yield the states of branches: each revision with what it stands on, alone and with one of another branch."""
    under: dict[str, set[str]] = {}
    for revision in scripts.revisions:
        under[revision.id] = {revision.id}.union(*(under[each] for each in revision.needed))
        yield (revision.id,)
    apart = (
        pair
        for pair in combinations(under, 2)
        if pair[0] not in under[pair[1]] and pair[1] not in under[pair[0]]
    )
    yield from (graph.tips(scripts.upto(pair)) for pair in islice(apart, MOST_PAIRS))


def _place(project: Project, target: Database, state: State, session: Scratch) -> Place:
    return Place(state, drift.drifts(project, target, session.at(project, state), session))


def _replayed(project: Project, session: Scratch) -> list[Catalog]:
    """Return what tables and types there are at base and after each revision."""
    database = session.empty()
    found = [catalog.take(database)]

    class Look(Listener):
        def step(self, step: Step) -> None:  # noqa: ARG002
            found.append(catalog.take(database))

    with runner.open_runner(project, database) as run:
        run.upgrade(project.history.revisions, Look())
    return found


def _with_ties(place: Place, project: Project, session: Scratch) -> Place:
    """Add the revisions that lead to the state and change nothing in the schema."""
    here = snapshot.take(session.at(project, place.state))
    applied = project.history.upto(place.state)
    ties = []
    while applied and snapshot.take(session.at(project, graph.tips(applied[:-1]))) == here:
        ties.append(applied[-1])
        applied = applied[:-1]
    return Place(place.state, place.drifts, tuple(ties))


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
