"""A review measures what pending scripts do, and judges it by what the target holds."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from commands import up
from conftest import Project, changed, run_sql

from postgres_database.console import review_report
from postgres_database.errors import ExpectedError
from postgres_database.history.graph import Revision
from postgres_database.reviewing import findings
from postgres_database.reviewing.findings import Finding
from postgres_database.workflows import review
from postgres_database.workflows.review import Review

TABLES = """
op.execute('''
    CREATE TABLE orders (id int PRIMARY KEY, n int, note varchar(10), shop int);
    CREATE TABLE shops (id int PRIMARY KEY, name text NOT NULL);
    ALTER TABLE orders ADD CONSTRAINT filled CHECK (n IS NOT NULL);
''')
"""
DROP = "op.execute('DROP TABLE orders, shops')"
ROWS = (
    "INSERT INTO orders SELECT i, i, 'x', 1 FROM generate_series(1, 20000) i",
    "INSERT INTO shops VALUES (1, 'a')",
    "ANALYZE",
)


@pytest.fixture
def shop(project: Project) -> Project:
    """A target with rows at a revision that made its tables."""
    project.script("one", "", TABLES, DROP)
    up(project.settings, project.database)
    run_sql(project.database, *ROWS)
    return project


def reviewed(project: Project) -> Review:
    """Review what is pending on the target."""
    return review.perform(*project.settings, project.database)


def traffic(result: Review) -> list[Finding]:
    """Return the findings but those about the downgrade, and those of squawk, which may be installed."""
    return [
        each
        for each in result.findings
        if each.rule != "irreversible" and not each.rule.startswith("squawk:")
    ]


def write(project: Project, upgrade: str, above: str = "") -> None:
    """Write the pending script, with a line above the functions."""
    path = project.script("two", "one", upgrade, "pass")
    path.write_text(path.read_text().replace("\n\n\ndef upgrade", f"{above}\n\n\ndef upgrade"))


@pytest.mark.long
def test_levels_depend_on_the_size_of_the_table(shop: Project) -> None:
    """The same statement is an error on a large table, a warning on a small one, and nothing on an empty one."""
    write(shop, "op.create_index('i', 'orders', ['n'])")
    assert [each.level for each in traffic(reviewed(shop))] == ["error"]
    assert "orders (about 20,000 rows) is read" in reviewed(shop).verdict
    run_sql(shop.database, "TRUNCATE orders", ROWS[0].replace("20000", "5"), "ANALYZE orders")
    assert [each.level for each in traffic(reviewed(shop))] == ["warning"]
    run_sql(shop.database, "TRUNCATE orders")
    assert not traffic(reviewed(shop))


FIXES = {
    "op.create_index('i', 'orders', ['n'])": "with op.online():\n    op.create_index('i', 'orders', ['n'])",
    "op.execute('UPDATE orders SET n = n + 1 WHERE n > 2')": (
        "with op.online():\n    op.backfill('orders', {'n': 'n + 1'}, where='n > 2')"
    ),
    "op.execute('ALTER TABLE orders ADD u uuid DEFAULT gen_random_uuid()')": (
        "op.execute('ALTER TABLE orders ADD COLUMN u uuid')\n"
        "op.execute('ALTER TABLE orders ALTER COLUMN u SET DEFAULT gen_random_uuid()')\n"
        "with op.online():\n    op.backfill('orders', {'u': 'gen_random_uuid()'})"
    ),
}


@pytest.mark.long
@pytest.mark.parametrize("upgrade", FIXES)
def test_what_is_proposed_is_safe(shop: Project, upgrade: str) -> None:
    """The code that a finding proposes takes its place, and the review of that has no finding."""
    write(shop, upgrade)
    (finding,) = traffic(reviewed(shop))
    assert finding.fix == FIXES[upgrade]
    write(shop, finding.fix)
    assert not traffic(reviewed(shop))
    up(shop.settings, shop.database)


ACCEPTED = "op.create_index('i', 'orders', ['n'])  # review: accept table-scan because it is night"


@pytest.mark.long
def test_comments_accept_findings(shop: Project) -> None:
    """A comment with a reason, beside or above a statement, accepts its finding, which is still shown."""
    above = (
        "# review: accept table-scan because all is quiet\nop.create_index('i', 'orders', ['n'])"
    )
    for upgrade, reason in {ACCEPTED: "it is night", above: "all is quiet"}.items():
        write(shop, upgrade)
        result = reviewed(shop)
        assert [each.accepted for each in traffic(result)] == [reason]
        assert not findings.open_at(traffic(result), "note")
    write(shop, "op.create_index('i', 'orders', ['n'])  # review: accept table-scan")
    assert {each.rule for each in findings.open_at(traffic(reviewed(shop)), "note")} == {
        "no-reason",
        "table-scan",
    }


def test_rows_of_the_target_are_looked_at(shop: Project) -> None:
    """Rows that break a requirement, and rows that are dropped, are findings; the target is only read."""
    write(shop, "op.create_check_constraint('c', 'orders', 'n > 5'); op.drop_table('shops')")
    result = reviewed(shop)
    rules = {each.rule for each in result.findings}
    assert {"violation", "drops-data"} <= rules
    assert "5 rows of" in result.verdict
    assert run_sql(shop.database, "SELECT count(*) FROM shops") == [(1,)]


def test_a_script_that_fails_is_a_finding(shop: Project) -> None:
    """What was measured before the failure is shown, with the error."""
    write(shop, "op.create_index('i', 'orders', ['n']); op.execute('SELECT 1/0')")
    result = reviewed(shop)
    assert "division by zero" in result.verdict
    assert [(each.rule, each.line > 0) for each in result.findings] == [
        ("fails", True),
        ("table-scan", True),
    ]


@pytest.mark.long
def test_a_script_that_expects_rows_is_a_finding(shop: Project) -> None:
    """A script that runs only where its tables have rows fails in each new database."""
    write(shop, "op.get_bind().execute(sa.text('SELECT id FROM shops LIMIT 1')).scalar_one()")
    assert [each.rule for each in traffic(reviewed(shop))] == ["fails-without-rows"]


def test_another_version_is_said() -> None:
    """What was measured on another major version may differ on the target."""
    plan = (Revision("one", "", Path("one.py")),)
    assert not findings.other_server("18.6 (Debian)", "18.4", plan[0])
    (finding,) = findings.other_server("18.6", "15.20 (Debian)", plan[0])
    assert (finding.rule, finding.level) == ("not-reviewed", "note")


DOWNGRADES = {
    "op.drop_column('orders', 'x')": None,
    "pass": ("warning", "the downgrade does not bring back TABLE orders"),
    "op.execute('DROP TABLE nothing')": ("warning", "the downgrade fails"),
    "op.refuse('this cannot be undone', cause='it is too late')": (
        "note",
        "the downgrade refuses to run: it is too late",
    ),
}


@pytest.mark.long
@pytest.mark.parametrize("downgrade", DOWNGRADES)
def test_a_downgrade_that_does_not_lead_back_is_a_finding(shop: Project, downgrade: str) -> None:
    """What is not brought back is named; a script that refuses on purpose is a note."""
    shop.script("two", "one", "op.add_column('orders', sa.Column('x', sa.Integer))", downgrade)
    found = [
        (each.level, each.what) for each in reviewed(shop).findings if each.rule == "irreversible"
    ]
    wanted = DOWNGRADES[downgrade]
    assert len(found) == bool(wanted)
    for level, what in found:
        assert wanted
        assert level == wanted[0]
        assert what.startswith(wanted[1])


@pytest.mark.long
def test_the_downgrade_that_does_not_lead_back_is_named(shop: Project) -> None:
    """Of several scripts those are named whose downgrades leave something, each with what it leaves."""
    column = "op.add_column('orders', sa.Column('{}', sa.Integer))"
    shop.script("two", "one", column.format("x"), "op.drop_column('orders', 'x')")
    shop.script("three", "two", "op.execute('CREATE VIEW v AS SELECT 1')", "pass")
    shop.script("four", "three", column.format("y"), "op.drop_column('orders', 'y')")
    shop.script("five", "four", "op.execute('CREATE TYPE t AS (a int)')", "pass")
    shop.script("six", "five", column.format("z"), "op.drop_column('orders', 'z')")
    found = {
        each.revision: each.what for each in reviewed(shop).findings if each.rule == "irreversible"
    }
    assert found == {
        "three": "the downgrade does not bring back VIEW v",
        "five": "the downgrade does not bring back TYPE t",
    }


@pytest.mark.long
def test_a_downgrade_that_needs_what_a_later_one_leaves(shop: Project) -> None:
    """It fails where fewer scripts are run, which ends nothing: the one that leaves something is named."""
    shop.script("two", "one", "pass", "op.execute('DROP VIEW v')")
    shop.script("three", "two", "op.execute('CREATE VIEW v AS SELECT 1')", "pass")
    shop.script("four", "three", "op.execute('CREATE TYPE t AS (a int)')", "pass")
    found = [
        (each.revision, each.what)
        for each in reviewed(shop).findings
        if each.rule == "irreversible"
    ]
    assert found == [("four", "the downgrade does not bring back TYPE t")]


COUNTED = """
from pathlib import Path
with Path(__file__).with_name('runs').open('a') as runs:
    runs.write('' if op.get_context().as_sql else '.')
"""
RUNS = {
    "op.execute('ALTER TABLE orders ADD x int')": 2,  # as little as shows that it can run again
    "op.execute('INSERT INTO shops VALUES (7, 8)')": 3,  # what the downgrade leaves is no part of what is measured
    "op.execute('ALTER TABLE orders ALTER shop SET NOT NULL')": 3,  # refused by a made-up row
    "op.execute('CREATE TABLE again ()')": 2,  # what the downgrade leaves is found without running it again
}


@pytest.mark.parametrize("upgrade", RUNS)
def test_scripts_run_no_more_often_than_needed(shop: Project, upgrade: str) -> None:
    """The run after the downgrade is the one that is measured, if everything is as it was."""
    down = "op.execute('ALTER TABLE orders DROP IF EXISTS x')\n"
    null = "op.execute('ALTER TABLE orders ALTER shop DROP NOT NULL')"
    shop.script("two", "one", f"{COUNTED}{upgrade}", down + null)
    run_sql(shop.database, "TRUNCATE orders")  # of large tables the time is measured as well
    result = review.perform(*shop.settings, shop.database)
    assert [each.sql for each in result.statements] == [upgrade.split("'")[1]]
    assert len((shop.versions / "runs").read_text()) == RUNS[upgrade]


@pytest.mark.long
def test_drift_is_measured_as_it_is(shop: Project) -> None:
    """Scripts are measured on the schema that the target has, and its drift is said."""
    run_sql(shop.database, "CREATE TABLE by_hand (n int)", "INSERT INTO by_hand VALUES (1)")
    write(shop, "op.execute('CREATE INDEX i ON by_hand (n)')")
    result = reviewed(shop)
    assert [(each.rule, each.object) for each in traffic(result)] == [
        ("drift", ""),
        ("table-scan", "by_hand"),
    ]


@pytest.mark.long
def test_statements_are_measured_under_the_settings_of_the_target(shop: Project) -> None:
    """Whether timestamp → timestamptz rewrites the table depends on the time zone of the target; unknown, it does."""
    run_sql(shop.database, "ALTER TABLE orders ADD at timestamp DEFAULT now()")
    upgrade = "op.execute('ALTER TABLE orders ALTER at TYPE timestamptz')"
    write(shop, upgrade)
    name = shop.database.dsn.database
    for zone, rules in {"UTC": [], "Asia/Tokyo": ["table-rewrite"]}.items():
        run_sql(shop.database, f"ALTER DATABASE {name} SET timezone TO '{zone}'")
        assert [each.rule for each in traffic(reviewed(shop)) if each.rule != "drift"] == rules
    shop.script("two", "one", "op.add_column('orders', sa.Column('at', sa.DateTime))")
    shop.script("three", "two", upgrade)
    result = review.perform(*shop.settings, None, ("two", ""))
    assert [each.rule for each in traffic(result)] == ["table-rewrite"]


@pytest.mark.long
def test_an_interrupted_revision_is_measured_as_a_whole(shop: Project) -> None:
    """What a run has done before it was interrupted does not make the review fail, as it does not the next run."""
    column = "op.add_column('orders', sa.Column('x', sa.Text))"
    index = "with op.online():\n    op.create_index('i', 'orders', ['x'])"
    write(
        shop,
        f"{column}\n{index}\n    op.execute('SELECT 1 / (SELECT count(*) FROM shops WHERE id > 1)')",
    )
    with pytest.raises(ExpectedError, match="division by zero"):
        up(shop.settings, shop.database)
    result = reviewed(shop)
    assert "was interrupted on the target" in result.findings[0].what
    assert not [each for each in traffic(result) if "already exists" in each.what]
    assert "division by zero" in result.verdict


@pytest.mark.long
def test_tables_of_a_target_without_a_revision_count(project: Project) -> None:
    """Scripts that would meet tables that are there already are measured beside these."""
    project.script("one", "", TABLES, DROP)
    assert reviewed(project).verdict == review.SAFE
    run_sql(project.database, "CREATE TABLE shops (id int)", "INSERT INTO shops VALUES (1)")
    assert 'relation "shops" already exists' in reviewed(project).verdict


@dataclass
class Repository:
    """A project in git."""

    project: Project

    def git(self, *arguments: str) -> None:
        """Run git there."""
        who = "-c", "user.name=x", "-c", "user.email=x@example.org"
        subprocess.run(["git", *who, *arguments], cwd=self.project.root, check=True)


@pytest.mark.long
def test_without_a_target_the_new_scripts_are_reviewed(project: Project) -> None:
    """Without a target the scripts are reviewed that git's main branch does not have; every table may be large."""
    repository = Repository(project)
    project.script("one", "", TABLES, DROP)
    with pytest.raises(ExpectedError, match="which revisions are yours is not known"):
        review.perform(*project.settings, None)
    repository.git("init", "-q", "-b", "main")
    repository.git("add", ".")
    repository.git("commit", "-qm", "one")
    assert review.perform(*project.settings, None).verdict == "nothing to review"
    project.script("two", "one", "op.create_index('i', 'orders', ['n'])", "op.drop_index('i')")
    result = review.perform(*project.settings, None)
    assert [each.id for each in result.plan] == ["two"]
    assert [each.level for each in result.findings] == ["error"]
    repository.git("checkout", "-qb", "mine")
    repository.git("add", ".")
    repository.git("commit", "-qm", "two")
    assert [each.id for each in review.perform(*project.settings, None).plan] == ["two"]
    result = review.perform(*project.settings, None, ("base", "one"))
    assert [each.id for each in result.plan] == ["one"]
    assert result.verdict == review.SAFE


def test_reports_for_programs(shop: Project) -> None:
    """JSON, SARIF and Markdown hold each finding with its place."""
    write(shop, ACCEPTED + "\nop.create_index('j', 'orders', ['shop'])")
    result = reviewed(shop)
    data = json.loads(review_report.as_json(result))
    assert [each["accepted"] for each in data["findings"] if each["rule"] == "table-scan"] == [
        "it is night",
        None,
    ]
    (first, _) = data["statements"]
    assert first["locks"] == [
        {"mode": "ShareLock", "object": "orders", "kind": "table", "blocks_reads": False, "blocks_writes": True}
    ]  # fmt: skip
    assert first["scanned"] == ["orders"]
    run = json.loads(review_report.as_sarif(result))["runs"][0]
    places = [
        each["locations"][0]["physicalLocation"]["region"]["startLine"]
        for each in run["results"]
        if each["ruleId"] == "table-scan"
    ]
    assert places == [each["line"] for each in data["findings"] if each["rule"] == "table-scan"]
    page = review_report.as_markdown(result)
    assert "accepted: `table-scan`" in page
    assert "op.create_index('j', 'orders', ['shop'])" in page


@pytest.mark.long
def test_deployed_models_decide_what_old_code_trips_over(shop: Project) -> None:
    """What they use is an error, the rest is none; models that cannot be imported may use everything."""
    repository = Repository(shop)
    models = "sa.Table('orders', metadata, sa.Column('id', sa.Integer), sa.Column('n', sa.Integer))"
    shop.models(models)
    (module,) = shop.root.glob("models_*.py")
    repository.git("init", "-q", "-b", "main")
    repository.git("add", ".")
    repository.git("commit", "-qm", "used")
    write(shop, "op.drop_column('orders', 'n'); op.drop_column('orders', 'note')")

    def found() -> list[tuple[str, str, str]]:
        settings = changed(shop.settings, models=shop.settings.project.target_metadata)
        result = review.perform(*settings, shop.database, deployed="main")
        rules = "old-code", "not-reviewed"
        return [
            (each.level, each.rule, each.object) for each in result.findings if each.rule in rules
        ]

    assert found() == [("error", "old-code", "orders.n")]
    module.write_text("1/0")
    repository.git("commit", "-qam", "broken")
    assert found() == [
        ("warning", "not-reviewed", ""),
        ("error", "old-code", "orders.n"),
        ("error", "old-code", "orders.note"),
    ]
