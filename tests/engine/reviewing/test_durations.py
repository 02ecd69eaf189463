"""How long statements would take on a target: a range, for those whose time grows, or why there is none."""

import json
import time
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from commands import up
from conftest import Project, run_sql

from postgres_database.console import report, review_report, show
from postgres_database.history.graph import Revision
from postgres_database.reviewing import durations, pins
from postgres_database.reviewing.sizes import Size
from postgres_database.reviewing.statements import Estimate, Measured, span
from postgres_database.running import log
from postgres_database.workflows import review, upgrade
from postgres_database.workflows.upgrade import Move

SPANS = {
    (0.001, 0.4): "less than 1 s",
    (0.4, 2.1): "up to 3 s",
    (3.0, 5.0): "3 to 5 s",
    (11.9, 11.95): "11 to 12 s",
    (2.0, 2.0): "2 s",
    (45.0, 170.0): "45 s to 3 min",
    (180.0, 301.0): "3 to 6 min",
    (1234.0, 4567.0): "20 to 77 min",
    (6000.0, 360_000.0): "1 h to 5 days",
}


@pytest.mark.parametrize(("seconds", "said"), SPANS.items())
def test_ranges_are_said_in_the_units_of_people(seconds: tuple[float, float], said: str) -> None:
    """Neither end is made to look more exact than it is, and neither is rounded into the range."""
    assert span(*seconds) == said


ROWS = 1_000_000
LIKE = Size(ROWS, ROWS * 100)
# What is measured with 0, 20,000 and 80,000 rows, and what a million would take.
COSTS = {
    "linear": ((0.01, 0.21, 0.81), 10.0),
    "mostly fixed": ((0.5, 0.52, 0.58), 1.5),
    "sorted": ((0.0, 0.20, 0.91), 13.9),
    "small": ((0.001, 0.003, 0.009), 0.1),
}


@pytest.mark.parametrize("cost", COSTS)
def test_the_truth_lies_in_the_range(cost: str) -> None:
    """The range holds the time of the whole table, and is wider for a larger one, or for rows that are wider."""
    seconds, truth = COSTS[cost]
    points = [*zip((0, 20_000, 80_000), seconds, strict=True)]
    low, high = durations.extrapolated(points, LIKE, 80_000 * 100)
    assert low <= truth <= high
    further = durations.extrapolated(points, Size(ROWS * 50, ROWS * 5000), 80_000 * 100)
    assert further[1] / further[0] > high / low
    wider = durations.extrapolated(points, Size(ROWS, ROWS * 300), 80_000 * 100)
    assert wider[0] == low
    assert wider[1] > high


TABLES = """
op.execute('''
    CREATE TABLE orders (id int PRIMARY KEY, n int, shop int);
    CREATE TABLE shops (id int PRIMARY KEY);
    CREATE TABLE unknown (id int PRIMARY KEY, n int);
''')
"""
SCRIPT = """
op.create_index('i', 'orders', ['n'])
op.execute('ALTER TABLE orders ADD a int')
op.execute('CREATE INDEX j ON shops (id)')
op.execute('ALTER TABLE orders ADD FOREIGN KEY (shop) REFERENCES shops')
op.execute('UPDATE orders SET n = n + 1')
op.execute('UPDATE orders SET n = 5 WHERE n < 7')
op.execute('ALTER TABLE unknown ALTER n TYPE bigint')
"""


def test_statements_whose_time_grows_have_an_estimate(project: Project) -> None:
    """Small tables have none; of a table that was never analyzed and of an unknown share of rows that is said."""
    project.script("one", "", TABLES, "op.execute('DROP TABLE orders, shops, unknown')")
    up(project.settings, project.database)
    run_sql(
        project.database,
        "INSERT INTO shops SELECT i FROM generate_series(1, 10) i",
        "INSERT INTO orders SELECT i, i, 1 + i % 10 FROM generate_series(1, 30000) i",
        "ANALYZE orders, shops",
        "INSERT INTO unknown SELECT i, i FROM generate_series(1, 30000) i",
    )
    project.script("two", "one", SCRIPT, "pass")
    result = review.perform(*project.settings, project.database)
    estimates = [each.estimate for each in result.statements]
    assert [each and (each.rows, each.why) for each in estimates] == [
        (30000, ""),
        None,
        None,
        (30000, ""),
        (30000, ""),
        (0, "how many rows meet its condition is not known"),
        (0, "unknown was never analyzed, so its rows are not known"),
    ]
    assert all(each.low <= each.high for each in estimates if each)
    data = json.loads(review_report.as_json(result))
    assert data["statements"][0]["estimate"]["table"] == "orders"
    assert data["statements"][1]["estimate"] is None
    scan = next(each for each in data["findings"] if each["rule"] == "table-scan")
    assert "for about 30,000 rows of orders" in scan["estimate"]
    assert "for about 30,000 rows of orders" in review_report.as_markdown(result)


REFUSED = {
    "op.execute('ALTER TABLE orders ADD CHECK (n < 5)')": "",
    "op.execute('ALTER TABLE orders ADD UNIQUE (shop)')": "",
    "op.execute(\"DO $$BEGIN IF (SELECT count(*) FROM orders) > 9 THEN RAISE 'no'; END IF; END$$\")": "does not end",
}


@pytest.mark.parametrize("statement", REFUSED)
def test_made_up_rows_satisfy_what_the_script_requires(project: Project, statement: str) -> None:
    """If a script refuses them nevertheless, that is said."""
    project.script("one", "", TABLES, "op.execute('DROP TABLE orders, shops, unknown')")
    up(project.settings, project.database)
    rows = "INSERT INTO orders SELECT i, 1, i FROM generate_series(1, 12000) i"
    run_sql(project.database, rows, "ANALYZE")
    project.script("two", "one", f"{statement}\nop.create_index('i', 'orders', ['n'])", "pass")
    last = review.perform(*project.settings, project.database).statements[-1].estimate
    assert last
    assert REFUSED[statement] in last.why
    assert bool(last.why) == bool(REFUSED[statement])


def test_history_shows_what_was_estimated(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    """A review keeps it beside the project, a plan brings it to another one, and the target is not written to."""
    project.script("one", "", TABLES, "op.execute('DROP TABLE orders, shops, unknown')")
    up(project.settings, project.database)
    rows = "INSERT INTO orders SELECT i, 1, i FROM generate_series(1, 12000) i"
    run_sql(project.database, rows, "ANALYZE")
    project.script("two", "one", "op.create_index('i', 'orders', ['n'])", "op.drop_index('i')")
    result = review.perform(*project.settings, project.database, pinning=True)
    record = project.root / durations.RECORD
    assert result.pinned
    record.unlink()
    plan = pins.load(_written(project, pins.text(result.pinned)), "")
    upgrade.perform(*project.settings, project.database, Move(reviewed=plan))
    estimates, fault = durations.kept(project.root, project.database.dsn.place)
    assert not fault
    assert estimates == result.pinned.estimates
    entries = log.read(project.database)
    low, high = durations.of_run(entries[-1], estimates) or (0, 0)
    assert 0 <= low <= high
    assert high
    assert durations.of_run(entries[0], estimates) is None
    show.log(entries, project.settings.project.history, estimates)
    said = capsys.readouterr().out
    assert "estimate" in said
    assert span(low, high) in said
    data = json.loads(report.log_json(entries, estimates))
    assert [each["estimate"] for each in data["runs"]] == [{"low": low, "high": high}, None]
    record.write_text("[1")
    assert "cannot be read" in durations.kept(project.root, project.database.dsn.place)[1]
    assert "cannot be read" in durations.keep(project.root, "x", estimates)
    assert record.read_text() == "[1"


def test_reviews_at_once_keep_what_both_estimate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A review that keeps its estimates while another one does, waits for it."""
    read, one, two = durations._record, {"a": (1.0, 2.0)}, {"b": (3.0, 4.0)}
    other = Thread(target=durations.keep, args=(tmp_path, "two", two))

    def record(path: Path) -> dict[str, Any]:
        found = read(path)
        if not other.ident:
            other.start()
            other.join(0.3)
        return found

    monkeypatch.setattr(durations, "_record", record)
    assert durations.keep(tmp_path, "one", one) == ""
    other.join()
    assert [durations.kept(tmp_path, name) for name in ("one", "two")] == [(one, ""), (two, "")]


def test_a_backfill_is_measured_without_its_rests(project: Project) -> None:
    """Others are at work on the scratch server, too; the range says how long it rests on the target."""
    project.script("one", "", TABLES, "op.execute('DROP TABLE orders, shops, unknown')")
    up(project.settings, project.database)
    rows = "INSERT INTO orders SELECT i, 1, i FROM generate_series(1, 12000) i"
    run_sql(project.database, rows, "ANALYZE")
    script = "with op.online():\n    op.backfill('orders', {'n': 'n + 1'})"
    project.script("two", "one", script, "pass")
    started = time.monotonic()
    result = review.perform(*project.settings, project.database)
    assert time.monotonic() - started < 30
    (estimate,) = {each.estimate for each in result.statements if each.estimate}
    assert estimate.high > 40 * estimate.low


def _written(project: Project, text: str) -> Path:
    path = project.root / "plan.json"
    path.write_text(text)
    return path


REVISION = Revision("one", "", Path("one.py"), digest="d")


def test_a_script_takes_what_its_statements_take() -> None:
    """The same statement of a loop counts once, and one without a range leaves the script without one."""
    statement = Measured(
        REVISION, 1, 1, "UPDATE t SET n = 1", 1, online=False, safely=False, transaction=1
    )
    large = replace(statement, estimate=Estimate(10, 20, "t", 5))
    other = replace(large, sql="CREATE INDEX i ON t (n)")
    unknown = replace(large, line=9, estimate=Estimate(why="no"))
    assert durations.of_scripts([statement]) == {}
    assert durations.of_scripts([statement, large, large, other]) == {"d": (21, 41)}
    assert durations.of_scripts([large, unknown]) == {}
