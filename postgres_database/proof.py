"""The proof of a script: up, down and up again on scratch databases, first on one that holds rows."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from postgres_database import comparison, contents, history, probe, runner
from postgres_database.comparison import Frame, Side
from postgres_database.connection import Database
from postgres_database.contents import Contents
from postgres_database.errors import ExpectedError
from postgres_database.history import History
from postgres_database.probe import Refusals
from postgres_database.runner import Runner
from postgres_database.scratch import Scratch
from postgres_database.settings import Settings
from postgres_database.snapshot import Difference
from postgres_database.spelling import in_words_of


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
    """What a proof found; `RevisionResult` explains the fields of the same name."""

    failure: str = ""
    cautions: tuple[str, ...] = ()
    not_upgraded: tuple[Difference, ...] = ()
    not_downgraded: tuple[Difference, ...] = ()
    lost: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()


AGAIN = "upgrade again"
ON_ROWS = {"downgrade": "with rows it cannot be undone", AGAIN: "with rows it cannot be done again"}


@dataclass(frozen=True)
class Prover:
    """What scripts that follow a history are measured by."""

    settings: Settings
    session: Scratch
    history: History
    whole: Frame
    """History and models before renames."""
    frame: Frame
    """The same after them."""
    from_models: Database

    def prove(self, revision_id: str, filled: Filled) -> Proof:
        """Run a script on rows; where they stand in its way, say so and run it without."""
        proof, stage = self._walk(revision_id, filled.database, filled)
        if not stage:
            return proof
        without, failed = self._walk(revision_id, self._bare(), None)
        on_rows = (f"{ON_ROWS[stage]}: {proof.failure}",) if stage in ON_ROWS else ()
        failure = without.failure if failed or on_rows else proof.failure
        found = replace(without, lost=proof.lost, broken=proof.broken)
        return replace(found, failure=failure, cautions=on_rows)

    def _walk(
        self, revision_id: str, database: Database, filled: Filled | None
    ) -> tuple[Proof, str]:
        """Upgrade, compare with the models, downgrade, compare with before, upgrade again.

        Args:
            revision_id: The script.
            database: A scratch database at head.
            filled: What is known of it, if it holds rows.

        Returns:
            What was found, and which step failed, if one did.
        """
        plan = (history.read(self.settings)[revision_id],)
        steps: dict[str, Callable[[Runner], None]] = {
            "upgrade": lambda run: run.upgrade(plan),
            "downgrade": lambda run: run.downgrade(plan, self.history.head),
            AGAIN: lambda run: run.upgrade(plan),
        }
        proof = Proof()
        for stage, step in steps.items():
            try:
                with runner.open_runner(self.settings, database) as run:
                    step(run)
            except ExpectedError as error:
                return replace(proof, failure=f"{error.what}\n{error.cause}"), stage
            if stage == "upgrade":
                goal = self.frame.goal
                differing = self._differing(database, self.frame, goal, lambda: self.from_models)
                proof = replace(proof, not_upgraded=differing)
                if filled:
                    refused = probe.refusals(database)
                    proof = replace(
                        proof,
                        lost=filled.held.lost(contents.take(database)),
                        broken=probe.broken(filled.refusals, refused, database),
                    )
            elif stage == "downgrade":
                goal = self.whole.before
                differing = self._differing(database, self.whole, goal, self._bare)
                proof = replace(proof, not_downgraded=differing)
        return proof, ""

    def _differing(
        self, database: Database, frame: Frame, goal: Side, like: Callable[[], Database]
    ) -> tuple[Difference, ...]:
        """Return what of a database is not as it ought to be, whatever the spelling.

        Args:
            database: What is looked at.
            frame: The comparison that the goal belongs to.
            goal: What it ought to be.
            like: Makes a database that is so, for the case that there is a doubt.
        """
        there = frame.seen(comparison.side(database))
        if not (differing := frame.unlike(there, goal)):
            return ()
        respelled = in_words_of(there, goal, (database, like()), self.session)
        left = {each.key for each in there.snapshot.difference(respelled.snapshot)}
        return tuple(each for each in differing if each.key in left)

    def _bare(self) -> Database:
        """Make a database at head without rows but those of the history."""
        return self.session.at(self.history, self.history.heads)
