"""What is read of a target before the first statement runs on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from postgres_database.running.listener import Listener
from postgres_database.server.connection import Database

if TYPE_CHECKING:  # a database that is empty does without it
    from postgres_database.preflight.drops import Dropped
    from postgres_database.preflight.preview import Printed
    from postgres_database.preflight.row_checks import Violation


@dataclass(frozen=True)
class Look:
    """What is read of a target before the first statement runs on it."""

    database: Database
    steps: Sequence[Printed]
    """What will be run."""
    listener: Listener
    skip: bool
    """Whether no rows are looked for."""

    def violations(self) -> tuple[Violation, ...]:
        """Return the rows that violate what the statements require."""
        if self.skip or not self.steps:
            return ()
        from postgres_database.preflight import row_checks  # noqa: PLC0415 - see above

        return tuple(row_checks.violations(self.database, self.steps, self.listener))

    def dropped(self) -> tuple[Dropped, ...]:
        """Return the rows that the statements would drop."""
        if not self.steps:
            return ()
        from postgres_database.preflight import drops  # noqa: PLC0415 - see above

        return drops.dropped(self.database, self.steps, counted=not self.skip)

    def lines(self, lost: Sequence[Dropped]) -> list[str]:
        """Return what is shown to whoever confirms."""
        return [*(line for step in self.steps for line in step.lines()), *map(str, lost)]

    def require_runnable(self) -> None:
        """Raise ExpectedError, before anything is changed, if a script is certain to fail."""
        if not self.steps:
            return
        from postgres_database.preflight import row_checks  # noqa: PLC0415 - see above

        for step in self.steps:
            if step.refusal:
                raise step.refusal
        if unfilled := [each for step in self.steps for each in step.unfilled]:
            with row_checks.read_only_session(self.database) as look:
                for table, error in unfilled:
                    rows = f"SELECT 1 FROM {table} LIMIT 1"  # noqa: S608 - names are quoted
                    if look.oid(table) and look.run(rows):
                        raise error
        row_checks.require_no_violations(self.database, self.violations())
