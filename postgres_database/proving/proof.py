"""The proof of a script: upgrade, downgrade and upgrade again on a scratch database with rows."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial

from postgres_database.errors import ExpectedError
from postgres_database.history import script_files
from postgres_database.history.env_script import EnvError
from postgres_database.history.graph import History
from postgres_database.history.project import Project
from postgres_database.online import enforced
from postgres_database.proving import contents, lost_rows, triggers
from postgres_database.proving.contents import Contents
from postgres_database.proving.triggers import Refusals
from postgres_database.running import context, runner
from postgres_database.schema import catalog
from postgres_database.schema.catalog import Catalog
from postgres_database.schema.comparison import Comparison, Side
from postgres_database.schema.respelling import respell
from postgres_database.schema.snapshot import Difference
from postgres_database.scratch.beside import threads
from postgres_database.scratch.databases import Scratch
from postgres_database.server.connection import Database


@dataclass(frozen=True)
class Filled:
    """A scratch database at head that holds rows, before the script runs."""

    database: Database
    held: Contents
    """Its rows, by the names that tables and columns have after the script."""
    refusals: Refusals
    """The errors of its triggers and rules."""
    renames: tuple[str, ...] = ()
    """The statements that give tables and columns those names."""


@dataclass(frozen=True)
class Proof:
    """The result of a proof. Texts are lines for people."""

    failure: str = ""
    """The error if the script fails on a scratch database."""
    cautions: tuple[str, ...] = ()
    """What the script drops, and on which rows it may fail."""
    not_upgraded: tuple[Difference, ...] = ()
    """Objects that differ from the models after the upgrade."""
    not_downgraded: tuple[Difference, ...] = ()
    """Objects that differ from the state before the upgrade after the downgrade."""
    lost: tuple[str, ...] = ()
    """Rows and values that are gone after a step, of tables and columns that still exist."""
    not_shown: tuple[str, ...] = ()
    """Values of which the rows of a scratch database do not show what becomes of them."""
    broken: tuple[str, ...] = ()
    """Statements that fail after the upgrade because a trigger or rule uses an old name, but not before it."""
    misplaced: tuple[str, ...] = ()
    """Tables that the script makes with their columns in another order, which matters to INSERT without names."""
    one_way: bool = False
    """Whether a script has no downgrade(), because script.py.mako writes none."""
    unguarded: tuple[str, ...] = ()
    """Constraints that are enforced before and after the upgrade, but not between two of its statements."""

    @property
    def faults(self) -> tuple[str, ...]:
        """A line for each fault other than a failure or a difference."""
        return (
            *(f"lost: {line}" for line in self.lost),
            *(f"broken: {line}" for line in self.broken),
            *(f"order: {line}" for line in self.misplaced),
            *(f"between two statements, {line}" for line in self.unguarded),
        )

    @property
    def proved(self) -> bool:
        """Whether the script succeeds in both directions without differences and faults."""
        return not (self.failure or self.not_upgraded or self.not_downgraded or self.faults)


AGAIN = "upgrade again"
ON_ROWS = {"downgrade": "with rows it cannot be undone", AGAIN: "with rows it cannot be done again"}


Taken = Future[Contents] | None
"""Rows that are being read."""
Reading = Callable[[], Future[Contents]] | None
"""Begins to read rows; None: they are not read."""


@dataclass(frozen=True)
class Leg:
    """A script, and the expected schema after its upgrade and after its downgrade."""

    revision: str
    after: tuple[Comparison, Side]
    undone: tuple[Comparison, Side]


class _States:
    """The states of a database between the statements of a script, as other sessions see them."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._found: list[Catalog] = []

    def look(self) -> None:
        """Record the current state."""
        self._found.append(catalog.take(self.database))

    def unguarded(self, before: Catalog, goal: Catalog) -> tuple[str, ...]:
        """Return a line for each constraint that a recorded state does not enforce, and forget the states."""
        found = [str(gap) for state in self._found for gap in enforced.gaps(before, goal, state)]
        self._found = []
        return tuple(dict.fromkeys(found))


@dataclass(frozen=True)
class Prover:
    """Proves scripts that follow a history."""

    project: Project
    session: Scratch
    history: History
    whole: Comparison
    """History and models, with the old names."""
    compared: Comparison
    """History and models, with the names that renamed objects have in the models."""
    from_models: Database
    """A scratch database from the models."""
    provided: frozenset[str] = frozenset()
    """Objects that it may have from the history, not from the models; see `provided.build`."""

    def new_objects(self) -> tuple[str, ...]:
        """Return the objects of the models other than tables and their parts that no script lists yet."""
        return tuple(each for each in self.compared.new_objects() if each not in self.provided)

    def legs(self, scripts: Sequence[tuple[str, Side | None]]) -> list[Leg]:
        """Return the expected schemas of one or two scripts.

        Args:
            scripts: Each revision, and the expected schema after its upgrade; None: that of the models.
        """
        legs: list[Leg] = []
        undone = self.whole, self.whole.before
        for revision_id, end in scripts:
            after = self.compared, self.compared.goal
            if end:
                between = self.compared.between(self.compared.before, end)
                after = between, between.goal
            legs.append(Leg(revision_id, after, undone))
            undone = after
        return legs

    def prove(self, legs: Sequence[Leg], filled: Filled | None) -> Proof:
        """Prove the scripts on rows. If the rows make them fail, report it and prove them on an empty database."""
        proof, stage = self._walk(legs, filled.database if filled else self._bare(), filled)
        if not stage or not filled:
            return proof
        without, failed = self._walk(legs, self._bare(), None)
        on_rows = (f"{ON_ROWS[stage]}: {proof.failure}",) if stage in ON_ROWS else ()
        failure = without.failure if failed or on_rows else proof.failure
        found = replace(
            without,
            lost=proof.lost,
            not_shown=proof.not_shown,
            broken=proof.broken,
            unguarded=proof.unguarded or without.unguarded,
        )
        return replace(found, failure=failure, cautions=on_rows)

    def _walk(
        self, legs: Sequence[Leg], database: Database, filled: Filled | None
    ) -> tuple[Proof, str]:
        """Upgrade, compare with the models, downgrade, compare with the state before, upgrade again.

        Args:
            legs: The scripts.
            database: A scratch database at head.
            filled: Its rows; None if it has none.

        Returns:
            The proof, and the stage that failed, `upgrade`, `downgrade` or AGAIN; empty if none did.
        """
        states = _States(database)
        with threads() as pool:
            reading = partial(pool.submit, contents.take, database)
            proof, taken = self._upgraded(states, legs, reading if filled else None)
            if proof.failure:
                return proof, "upgrade"
            held = None
            if filled and taken:
                proof, held = self._with_rows(proof, database, filled, taken.result())
            scripts = map(self.project.scripts.get_revision, (leg.revision for leg in legs))
            if not all(hasattr(script.module, "downgrade") for script in scripts):
                return replace(proof, one_way=True), ""
            # Renames would wait for the dump, or the dump for them.
            beside = reading if filled and not filled.renames else None
            proof, taken = self._downgraded(proof, states, legs, beside)
        if proof.failure:
            return proof, "downgrade"
        if filled and held and not proof.not_downgraded:  # else there may be other names
            now = taken.result() if taken else contents.take(database, filled.renames)
            proof, held = _with_losses(proof, held, now, "in the downgrade, ")
        for leg in legs:
            if failure := self._failure(states, "upgrade", leg):
                return replace(proof, failure=failure), AGAIN
        if held and not proof.not_downgraded:
            again = "in the second upgrade, "
            proof, _ = _with_losses(proof, held, contents.take(database), again)
        return proof, ""

    @property
    def _ends(self) -> tuple[Catalog, Catalog]:
        return self.compared.before.catalog, self.compared.goal.catalog

    def _upgraded(
        self, states: _States, legs: Sequence[Leg], reading: Reading
    ) -> tuple[Proof, Taken]:
        """Upgrade, and return what differs from the models, and the rows, read at the same time."""
        differing: list[Difference] = []
        taken: Taken = None
        for leg in legs:
            if failure := self._failure(states, "upgrade", leg):
                return Proof(failure, not_upgraded=tuple(differing)), None
            taken = reading() if reading and leg is legs[-1] else None
            differing += self._differing(states.database, *leg.after)
            if leg is not legs[-1]:
                states.look()
        return Proof(
            not_upgraded=tuple(differing),
            unguarded=states.unguarded(*self._ends),
            misplaced=_misplaced(states.database, *self._ends),
        ), taken

    def _with_rows(
        self, proof: Proof, database: Database, filled: Filled, now: Contents
    ) -> tuple[Proof, Contents]:
        """Return a proof with what became of the rows and of writing them, and the rows."""
        proof, held = _with_losses(proof, filled.held, now)
        lost = (*proof.lost, *lost_rows.not_given(database, self.from_models, *self._ends))
        broken = triggers.broken(filled.refusals, triggers.refusals(database), database)
        return replace(proof, lost=lost, broken=broken), held

    def _downgraded(
        self, proof: Proof, states: _States, legs: Sequence[Leg], reading: Reading
    ) -> tuple[Proof, Taken]:
        """Downgrade, and return the proof with what differs from the state before, and the rows, read meanwhile."""
        differing: list[Difference] = []
        taken: Taken = None
        for leg in reversed(legs):
            if failure := self._failure(states, "downgrade", leg):
                return replace(proof, failure=failure, not_downgraded=tuple(differing)), None
            taken = reading() if reading and leg is legs[0] else None
            differing += self._differing(states.database, *leg.undone)
            if leg is not legs[0]:
                states.look()
        goal, before = self._ends[::-1]
        unguarded = dict.fromkeys((*proof.unguarded, *states.unguarded(goal, before)))
        return replace(
            proof,
            not_downgraded=tuple(differing),
            unguarded=tuple(unguarded),
            misplaced=(*proof.misplaced, *_misplaced(states.database, goal, before)),
        ), taken

    def _failure(self, states: _States, verb: str, leg: Leg) -> str:
        """Run a script, and return its error; empty if it succeeds. What env.py does wrong is raised."""
        scripts = self.project.history
        plan = (scripts[leg.revision],)
        try:
            with runner.open_runner(self.project, states.database) as run:
                context.of(run.connection).between = states.look
                if verb == "upgrade":
                    run.upgrade(plan)
                else:
                    run.downgrade(plan)
        except EnvError:
            raise
        except ExpectedError as error:
            return script_files.as_original(self.project, f"{error.what}\n{error.cause}")
        return ""

    def _differing(
        self, database: Database, compared: Comparison, goal: Side
    ) -> tuple[Difference, ...]:
        """Return the objects of a database that differ from a goal in more than the spelling of expressions.

        Args:
            database: A scratch database after a script.
            compared: The comparison that the goal belongs to.
            goal: The expected schema.
        """
        there = compared.look(database, goal)
        if not (differing := compared.unlike(there, goal)):
            return ()
        if goal is not self.compared.goal and goal is not self.whole.before:
            return differing
        like = self.from_models if goal is self.compared.goal else self._bare()
        respelled = respell(goal, there, (database, like), self.session.empty)
        left = {each.key for each in there.snapshot.difference(respelled.snapshot)}
        left |= there.hidden.objects.keys() | goal.hidden.objects.keys()
        return tuple(each for each in differing if each.key in left)

    def _bare(self) -> Database:
        """Create a database at head, without rows other than those of the history."""
        return self.session.at(self.project, self.history.heads)


def _with_losses(
    proof: Proof, before: Contents, now: Contents, when: str = ""
) -> tuple[Proof, Contents]:
    """Return a proof with what a step lost, and the contents after the step."""
    found = lost_rows.compare(before, now)
    lost = [f"{when}{line}" for line in found.lost]
    not_shown = dict.fromkeys((*proof.not_shown, *found.unknown))
    return replace(proof, lost=(*proof.lost, *lost), not_shown=tuple(not_shown)), now


def _misplaced(database: Database, before: Catalog, goal: Catalog) -> tuple[str, ...]:
    """Say which tables that only the goal has are in a database with their columns in another order."""
    if not (new := sorted(goal.tables.keys() - before.tables.keys())):
        return ()
    here = catalog.take(database).tables
    orders = {
        name: ([*here[name].columns], [*goal.tables[name].columns]) for name in new if name in here
    }
    return tuple(
        f"table {name} has the columns {', '.join(have)} instead of {', '.join(want)}"
        for name, (have, want) in orders.items()
        if have != want and sorted(have) == sorted(want)
    )
