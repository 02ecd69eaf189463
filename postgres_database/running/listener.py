"""What a command says while it works, and what it asks."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from postgres_database.errors import ExpectedError
from postgres_database.history.graph import Revision


@dataclass(frozen=True)
class Step:
    """A revision that was run."""

    revision: Revision
    seconds: float


class Listener:
    """Hears what a command reports, and answers what it asks. This one prints nothing and says no."""

    def confirm(self, _question: str, _details: Sequence[str]) -> bool:
        """Tell whether something may be done, after its details are shown."""
        return False

    def choose(self, _question: str) -> bool | None:
        """Answer a question that has no safe answer; None without a terminal."""
        return None

    def offer(self, _question: str, _details: Sequence[str]) -> bool:
        """Tell whether an optional change may be made; no without a terminal."""
        return False

    def words(self, _question: str) -> str:
        """Answer in words; nothing without a terminal."""
        return ""

    def plan(self, revisions: Sequence[Revision]) -> None:
        """Hear which revisions will be run, in order."""

    def at_work(self, _doing: str) -> AbstractContextManager[None]:
        """Hear what is done for as long as the block runs."""
        return nullcontext()

    def step(self, step: Step) -> None:
        """Hear that a revision is done and committed."""

    def wait(self, who: str) -> None:
        """Hear whom the command waits for: another command, or who holds a lock."""

    def progress(self, text: str) -> None:
        """Hear how far a long step is."""

    def note(self, text: str) -> None:
        """Hear what could not be looked at beforehand, and why."""

    def require_yes(self, question: str, details: Sequence[object] = ()) -> None:
        """Raise ExpectedError unless the question is confirmed.

        Args:
            question: What would be done.
            details: Shown before, a line each.
        """
        if not self.confirm(question, [str(detail) for detail in details]):
            raise ExpectedError(
                "not confirmed: nothing was changed",
                cause="the answer was not the one that was asked for",
                hint="the same command again; --yes answers every question",
            )


SILENT = Listener()
"""Prints nothing, and answers no."""
