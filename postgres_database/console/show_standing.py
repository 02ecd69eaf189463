"""What an upgrade or a downgrade did, and where a target stands → lines for people."""

from __future__ import annotations

from collections.abc import Sequence

from postgres_database.console.lines import look_at, places
from postgres_database.console.terminal import say
from postgres_database.history.graph import Revision
from postgres_database.workflows.standing import UpgradeResult


def plan(result: UpgradeResult, verb: str) -> None:
    """Show what an upgrade or downgrade would run."""
    say(f"at {places(result.before)}")
    for step in result.steps:
        first, *others = step.lines()
        say(f"  would {verb}  {first}")
        for line in others:
            say(f"  {line}", style="dim")
    for line in map(str, (*result.dropped, *result.violations, *result.cautions)):
        look_at(line)
    if not result.plan:
        say(_nothing(result, verb))


def upgrade(result: UpgradeResult, verb: str) -> None:
    """Show where the target stands now."""
    revisions = f"{len(result.plan)} revision{'s' if len(result.plan) > 1 else ''}"
    how = ", restored from a dump of what they make" if result.restored else ""
    took = f"   ({revisions} in {result.seconds:.2f} s{how})"
    now = f"now at {'head: ' if result.at_head else ''}{places(result.after)}{took}"
    say(now if result.after != result.before else _nothing(result, verb), style="green")


def _nothing(result: UpgradeResult, verb: str) -> str:
    at_head = "head: " if result.at_head else ""
    return f"already at {at_head}{places(result.before)}; nothing to {verb}"


def current(revisions: Sequence[Revision], heads: Sequence[str]) -> None:
    """Show the revisions that a target is stamped with."""
    for revision in revisions:
        say(f"{revision}" + ("  (head)" if revision.id in heads else ""))
    if not revisions:
        say("base: no revision is applied")
