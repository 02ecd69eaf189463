"""The proof of a script: up, down and up again on scratch databases, first on one that holds rows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from postgres_database.errors import ExpectedError
from postgres_database.history.graph import History
from postgres_database.history.project import Project
from postgres_database.running import context, runner
from postgres_database.schema import catalog, comparison
from postgres_database.schema.catalog import Catalog
from postgres_database.schema.comparison import Comparison, Side
from postgres_database.schema.respelling import respell
from postgres_database.schema.snapshot import Difference
from postgres_database.scratch import contents, enforced, triggers
from postgres_database.scratch.contents import Contents
from postgres_database.scratch.databases import Scratch
from postgres_database.scratch.triggers import Refusals
from postgres_database.server.connection import Database


@dataclass(frozen=True)
class Filled:
    """A scratch database at head that holds rows, and what is true of it."""

    database: Database
    held: Contents
    """The rows, under their new names."""
    refusals: Refusals
    """What it refuses before the script."""


@dataclass(frozen=True)
class Proof:
    """What a proof found."""

    failure: str = ""
    """Why the script does not run on a scratch database."""
    cautions: tuple[str, ...] = ()
    """What the script drops and which rows it may refuse, a line each."""
    not_upgraded: tuple[Difference, ...] = ()
    """Objects that after the upgrade still differ from the models."""
    not_downgraded: tuple[Difference, ...] = ()
    """Objects that the downgrade does not bring back."""
    lost: tuple[str, ...] = ()
    """Rows and values that are gone after the upgrade, though their table and column are there."""
    broken: tuple[str, ...] = ()
    """What worked on rows before and now fails, because a trigger or rule names what is gone."""
    unguarded: tuple[str, ...] = ()
    """Rules that are enforced before and after the upgrade, and not at some moment between."""

    @property
    def faults(self) -> tuple[str, ...]:
        """What was found besides a failure and differences, a line each."""
        return (
            *(f"lost: {line}" for line in self.lost),
            *(f"broken: {line}" for line in self.broken),
            *(f"on the way {line}" for line in self.unguarded),
        )

    @property
    def proved(self) -> bool:
        """Whether the script leads to the models, back and there again, and loses no row or rule."""
        return not (self.failure or self.not_upgraded or self.not_downgraded or self.faults)


AGAIN = "upgrade again"
ON_ROWS = {"downgrade": "with rows it cannot be undone", AGAIN: "with rows it cannot be done again"}


@dataclass(frozen=True)
class Leg:
    """A script, and what a database ought to be after it is upgraded and after it is undone."""

    revision: str
    after: tuple[Comparison, Side]
    undone: tuple[Comparison, Side]


class _States:
    """The states that a database is in on the way, as others see them between two statements."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._found: list[Catalog] = []

    def look(self) -> None:
        """Remember the state of now."""
        self._found.append(catalog.take(self.database))

    def unguarded(self, before: Catalog, goal: Catalog) -> tuple[str, ...]:
        """Say what was not enforced in between, and forget the states."""
        found = [str(gap) for state in self._found for gap in enforced.gaps(before, goal, state)]
        self._found = []
        return tuple(dict.fromkeys(found))


@dataclass(frozen=True)
class Prover:
    """What scripts that follow a history are measured by."""

    project: Project
    session: Scratch
    history: History
    whole: Comparison
    """History and models before renames."""
    compared: Comparison
    """The same after them."""
    from_models: Database
    provided: frozenset[str] = frozenset()
    """What may be in that from the history, and is not the models'."""

    def new_objects(self) -> tuple[str, ...]:
        """Return what the models have besides tables and their parts, and no script lists yet."""
        return tuple(each for each in self.compared.new_objects() if each not in self.provided)

    def legs(self, scripts: Sequence[tuple[str, Side | None]]) -> list[Leg]:
        """Say what each of one or two scripts ought to do.

        Args:
            scripts: The revision and what a database is after it; None: what the models say.
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
            broken=proof.broken,
            unguarded=proof.unguarded or without.unguarded,
        )
        return replace(found, failure=failure, cautions=on_rows)

    def _walk(
        self, legs: Sequence[Leg], database: Database, filled: Filled | None
    ) -> tuple[Proof, str]:
        """Upgrade, compare with the models, downgrade, compare with before, upgrade again.

        Args:
            legs: The scripts.
            database: A scratch database at head.
            filled: What is known of it, if it holds rows.

        Returns:
            What was found, and which step failed, if one did.
        """
        proof, states = Proof(), _States(database)
        for leg in legs:
            if failure := self._failure(states, "upgrade", leg):
                return replace(proof, failure=failure), "upgrade"
            found = self._differing(database, *leg.after)
            proof = replace(proof, not_upgraded=(*proof.not_upgraded, *found))
            if leg is not legs[-1]:
                states.look()
        ends = self.compared.before.catalog, self.compared.goal.catalog
        proof = replace(proof, unguarded=states.unguarded(*ends))
        if filled:
            refused = triggers.refusals(database)
            proof = replace(
                proof,
                lost=(
                    *filled.held.lost(contents.take(database)),
                    *contents.not_given(database, self.from_models, *ends),
                ),
                broken=triggers.broken(filled.refusals, refused, database),
            )
        for leg in reversed(legs):
            if failure := self._failure(states, "downgrade", leg):
                return replace(proof, failure=failure), "downgrade"
            found = self._differing(database, *leg.undone)
            proof = replace(proof, not_downgraded=(*proof.not_downgraded, *found))
            if leg is not legs[0]:
                states.look()
        unguarded = dict.fromkeys((*proof.unguarded, *states.unguarded(*reversed(ends))))
        proof = replace(proof, unguarded=tuple(unguarded))
        for leg in legs:
            if failure := self._failure(states, "upgrade", leg):
                return replace(proof, failure=failure), AGAIN
        return proof, ""

    def _failure(self, states: "_States", verb: str, leg: Leg) -> str:
        """Run a script and return why it fails; empty if it does not."""
        scripts = self.project.history
        plan = (scripts[leg.revision],)
        try:
            with runner.open_runner(self.project, states.database) as run:
                context.of(run.connection).between = states.look
                if verb == "upgrade":
                    run.upgrade(plan)
                else:
                    run.downgrade(plan)
        except ExpectedError as error:
            return f"{error.what}\n{error.cause}"
        return ""

    def _differing(
        self, database: Database, compared: Comparison, goal: Side
    ) -> tuple[Difference, ...]:
        """Return what of a database is not as it ought to be, whatever the spelling.

        Args:
            database: What is looked at.
            compared: The comparison that the goal belongs to.
            goal: What it ought to be.
        """
        there = compared.seen(comparison.side(database))
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
        """Make a database at head without rows but those of the history."""
        return self.session.at(self.project, self.history.heads)
