"""Every case of cases/ comes out as it says, and the page that counts them counts right."""

import os
from collections.abc import Callable

import case_docs
import case_judge
import case_table
import pytest
from case_table import Case

from postgres_database.server.connection import Database

PART, PARTS = map(int, os.environ.get("TEST_CASES", "1/48").split("/"))
"""Which cases are not slow: the first of 48 parts of all, or the one that is named, such as 2/4."""
CASES = [
    pytest.param(case, id=str(case), marks=() if number % PARTS == PART - 1 else pytest.mark.slow)
    for number, case in enumerate(case_table.load())
]


@pytest.mark.parametrize("case", CASES)
def test_case(server: Database, case: Case, record_property: Callable[[str, object], None]) -> None:
    """A change of the models leads to what its case says, by the system catalogs and the rows."""
    verdict = case_judge.judge(case, server)
    record_property(case_docs.OUTCOME, f"{case.group} {verdict.outcome}")
    assert not verdict.faults, "\n".join([case.rule, *verdict.faults, verdict.said])


def test_page_counts_the_cases() -> None:
    """The table in docs/revision.md has as many cases of each group as there are files."""
    counted = {group: sum(row) for group, row in case_docs.read().items()}
    assert counted == case_docs.count(case.group for case in case_table.load())
