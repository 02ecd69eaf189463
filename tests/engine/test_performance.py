"""What docs/performance.md says was measured: its figures and its picture are made of docs/performance.json."""

import json
from itertools import pairwise

import pytest

from benchmarks import curves, peers, performance
from benchmarks.pairs import Pairs, Run
from benchmarks.upgrade import EMPTY, NOTHING, SIZES, named

SQL = """BEGIN;

CREATE TABLE IF NOT EXISTS alembic_version (version_num VARCHAR(32) NOT NULL);

-- Running upgrade  -> aaaa

CREATE TABLE t (x int);

INSERT INTO alembic_version (version_num) VALUES ('aaaa') RETURNING alembic_version.version_num;

COMMIT;

BEGIN;

-- Running upgrade aaaa -> bbbb

ALTER TABLE t ADD y int;

UPDATE alembic_version SET version_num='bbbb' WHERE alembic_version.version_num = 'aaaa';

COMMIT;

"""
RESULTS = json.loads(performance.STORED.read_text())


def test_the_page_shows_what_was_measured() -> None:
    """Each figure of the page's tables stands in the JSON that the run wrote."""
    assert performance.page(RESULTS) == performance.PAGE.read_text(), (
        "make bench ARGS=--write measures again"
    )


def test_the_picture_shows_what_was_measured() -> None:
    assert curves.drawn(RESULTS["rows"]) == performance.PICTURE.read_text()


def test_a_ratio_is_the_median_of_the_ratios_of_pairs() -> None:
    """Other work on the machine slows both of a pair, which leaves their ratio as it is."""
    runs, others = ([Run(seconds, 0, 0) for seconds in each] for each in ((1, 20, 3), (2, 40, 3)))
    pairs = Pairs("work", tuple(runs), tuple(others), bound=0.5)
    assert pairs.ratio == 0.5
    assert pairs.good
    assert pairs.facts()["seconds"] == 3
    assert not Pairs("work", tuple(others), tuple(runs), bound=0.5).good


@pytest.mark.parametrize("seconds", [[1.0] * 9, [0.01, *[5.0] * 8], [0.01] * 9])
def test_names_in_the_picture_do_not_overlap(seconds: list[float]) -> None:
    """Each curve has its name beside its end, and each name a line of its own."""
    rows = [
        {"work": named(work, size), "tool": f"tool {number}", "other": "plain Alembic"}
        | {"seconds": taken, "other_seconds": 1.0}
        for work in (NOTHING, EMPTY)
        for size in SIZES
        for number, taken in enumerate(seconds)
    ]
    for work in (NOTHING, EMPTY):
        labels = [curve.label for curve in curves.panel(rows, work).curves]
        gaps = [below - above for above, below in pairwise(labels)]
        assert min(gaps) >= curves.APART
        assert min(labels) >= curves.TOP - curves.APART
        assert max(labels) <= curves.HEIGHT - curves.BOTTOM


def test_other_tools_get_the_same_sql() -> None:
    """Each revision's own statements, without Alembic's stamps: a tool has stamps of its own."""
    assert peers.statements(SQL) == {
        "aaaa": "CREATE TABLE t (x int);",
        "bbbb": "ALTER TABLE t ADD y int;",
    }
