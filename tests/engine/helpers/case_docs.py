"""The table of cases in docs/revision.md: `python -m tests.engine.helpers.case_docs` judges all cases and writes it.

With names of groups (`… case_docs enums views`) it judges only these, and keeps the other rows.
"""

import re
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FOLDER = Path(__file__).parent / "cases"
PAGE = ROOT / "docs" / "revision.md"
BEGIN = "<!-- cases: python -m tests.engine.helpers.case_docs writes this table -->"
END = "<!-- end of cases -->"
OUTCOME = "outcome"
"""The name of the property that the test of a case records; its value is the group and the outcome."""
OUTCOMES = ("right", "named", "wrong")
TOTAL = "total"
Rows = dict[str, list[int]]
"""By group, the numbers of cases with each of OUTCOMES."""


class Tally:
    """A plugin of pytest that counts the outcomes of cases."""

    def __init__(self) -> None:
        self.outcomes: Counter[tuple[str, str]] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count the outcome of one test."""
        for name, value in report.user_properties:
            if report.when == "call" and name == OUTCOME:
                group, outcome = str(value).split()
                self.outcomes[group, outcome] += 1

    def rows(self) -> Rows:
        """Return the counts of each group."""
        groups = {group for group, _ in self.outcomes}
        return {group: [self.outcomes[group, each] for each in OUTCOMES] for group in groups}


def table(rows: Rows) -> str:
    """Return counts as a table in Markdown."""
    totals = {TOTAL: [sum(column) for column in zip(*rows.values(), strict=True)]}
    lines = [
        "| group | cases | " + " | ".join(OUTCOMES) + " |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {group} | {sum(row)} | {' | '.join(map(str, row))} |"
        for group, row in (*sorted(rows.items()), *totals.items())
    ]
    return "\n".join(lines)


def count(groups: Iterable[str]) -> dict[str, int]:
    """Return the number of cases of each group, and of all."""
    counts = Counter(groups)
    return {**counts, TOTAL: counts.total()}


def read() -> Rows:
    """Return the counts of each group, and of all, as the page has them."""
    text = PAGE.read_text().partition(BEGIN)[2].partition(END)[0]
    rows = re.findall(r"^\| (\w+) \| \d+ \| (\d+) \| (\d+) \| (\d+) \|", text, re.MULTILINE)
    return {group: [int(each) for each in counts] for group, *counts in rows}


def main(groups: Sequence[str]) -> int:
    """Judge cases and write the table into the page, unless a case was not judged; return the exit code of pytest."""
    tally = Tally()
    names = " or ".join(f"test_case[{group}/" for group in groups or [""]).replace("[/", "[")
    code = pytest.main(
        ["-q", f"{ROOT}/tests/engine/drafting/test_cases.py", "-k", names], plugins=[tally]
    )
    folders = groups or [folder.name for folder in FOLDER.iterdir()]
    if tally.outcomes.total() == sum(len([*FOLDER.glob(f"{name}/*.toml")]) for name in folders):
        kept = {name: row for name, row in read().items() if name != TOTAL} if groups else {}
        before, _, rest = PAGE.read_text().partition(BEGIN)
        after = rest.partition(END)[2]
        PAGE.write_text(f"{before}{BEGIN}\n\n{table(kept | tally.rows())}\n\n{END}{after}")
    return code


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
