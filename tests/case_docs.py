"""The table of cases in docs/revision.md: `python -m tests.case_docs` judges them all and writes it."""

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "revision.md"
BEGIN = "<!-- cases: python -m tests.case_docs writes this table -->"
END = "<!-- end of cases -->"
OUTCOME = "outcome"
"""The property that the test of a case has: the group of the case, and what came out."""
OUTCOMES = ("right", "named", "wrong")
TOTAL = "total"


class Tally:
    """Counts what comes out of the tests; a plugin of pytest."""

    def __init__(self) -> None:
        self.outcomes: Counter[tuple[str, str]] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take note of one test."""
        for name, value in report.user_properties:
            if report.when == "call" and name == OUTCOME:
                group, outcome = str(value).split()
                self.outcomes[group, outcome] += 1

    def table(self) -> str:
        """Return the counts as a table in Markdown."""
        groups = sorted({group for group, _ in self.outcomes})
        rows = {group: [self.outcomes[group, each] for each in OUTCOMES] for group in groups}
        rows[TOTAL] = [sum(column) for column in zip(*rows.values(), strict=True)]
        lines = [
            "| group | cases | " + " | ".join(OUTCOMES) + " |",
            "| --- | ---: | ---: | ---: | ---: |",
        ]
        lines += [
            f"| {group} | {sum(row)} | {' | '.join(map(str, row))} |" for group, row in rows.items()
        ]
        return "\n".join(lines)


def count(groups: Iterable[str]) -> dict[str, int]:
    """Return how many cases each group has, and all together."""
    counts = Counter(groups)
    return {**counts, TOTAL: counts.total()}


def read() -> dict[str, int]:
    """Return how many cases each group has by the page."""
    table = PAGE.read_text().partition(BEGIN)[2].partition(END)[0]
    return {
        group: int(cases)
        for group, cases in re.findall(r"^\| (\w+) \| (\d+) \|", table, re.MULTILINE)
    }


def main() -> int:
    """Judge all cases and write the table into the page; leave it alone if a case was not judged."""
    tally = Tally()
    code = pytest.main(["-q", f"{ROOT}/tests/test_cases.py", "-k", "test_case["], plugins=[tally])
    if tally.outcomes.total() == len([*ROOT.glob("tests/cases/*/*.toml")]):
        before, _, rest = PAGE.read_text().partition(BEGIN)
        after = rest.partition(END)[2]
        PAGE.write_text(f"{before}{BEGIN}\n\n{tally.table()}\n\n{END}{after}")
    return code


if __name__ == "__main__":
    raise SystemExit(main())
