"""Random changes of random models are proved, or what is left to do is named: nothing goes wrong in silence."""

import case_judge
import pytest
import random_changes
from case_table import Case
from hypothesis import HealthCheck, Phase, assume, given, seed, settings

from postgres_database.server.connection import Database

SHORT_FORM = 1
"""The number of rounds that are not slow."""
ROUNDS = [
    pytest.param(number, marks=() if number < SHORT_FORM else pytest.mark.slow)
    for number in range(100)
]
EXAMPLES = 3
"""The number of cases of a round."""


@pytest.mark.long
@pytest.mark.parametrize("number", ROUNDS)
def test_random_change_is_proved_or_named(server: Database, number: int) -> None:
    """Judged by the system catalogs and by rows; each round draws its own models and changes."""

    @seed(number)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=[*HealthCheck],
    )
    @given(random_changes.cases())
    def judge(case: Case) -> None:
        assume(case.before != case.after)
        verdict = case_judge.judge(case, server)
        honest = verdict.claim in {"proved", "named"} and verdict.outcome != "wrong"
        nothing = verdict.faults == ("nothing instead of proved",)
        assert honest or nothing, "\n".join(
            [case.name, *verdict.faults, verdict.said, case.before, "->", case.after, case.rows]
        )

    judge()
