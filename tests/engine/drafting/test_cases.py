"""Every case in cases/ has the outcome that it expects, and docs/revision.md has the right numbers of cases."""

import os
from collections.abc import Callable

import case_docs
import case_judge
import case_table
import pytest
from case_table import Case
from conftest import needs_version

from postgres_database.server.connection import Database

PART, PARTS = map(int, os.environ.get("TEST_CASES", "1/120").split("/"))
"""The share of the cases that is not marked slow: part 1 of 120, or that of TEST_CASES, such as 2/4."""
CASES = [
    pytest.param(case, id=str(case), marks=() if number % PARTS == PART - 1 else pytest.mark.slow)
    for number, case in enumerate(case_table.load())
]


@pytest.mark.parametrize("case", CASES)
def test_case(server: Database, case: Case, record_property: Callable[[str, object], None]) -> None:
    """A change of models has the outcome that its case expects, judged by the system catalogs and the rows."""
    needs_version(server, case.since, case.rule)
    verdict = case_judge.judge(case, server)
    record_property(case_docs.OUTCOME, f"{case.group} {verdict.outcome}")
    assert not verdict.faults, "\n".join([case.rule, *verdict.faults, verdict.said])


def test_page_counts_the_cases() -> None:
    """The table in docs/revision.md has the number of files of each group."""
    counted = {group: sum(row) for group, row in case_docs.read().items()}
    assert counted == case_docs.count(case.group for case in case_table.load())
