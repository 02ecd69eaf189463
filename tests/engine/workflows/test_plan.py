"""A plan pins what was reviewed: an upgrade runs exactly that, or nothing."""

import json
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from answers import yes
from commands import Heard, up
from conftest import Project, fresh, run_sql
from servers import cheap_server

from postgres_database.errors import ExpectedError
from postgres_database.reviewing import pins
from postgres_database.reviewing.pins import Plan
from postgres_database.server.connection import Database
from postgres_database.workflows import review, upgrade
from postgres_database.workflows.standing import UpgradeResult
from postgres_database.workflows.upgrade import Move

SCRIPT = """
from pathlib import Path
from typing import Any
from helping import COLUMN
op.execute(f'ALTER TABLE t ADD {COLUMN} int')
op.execute(Path(__file__).with_name('more.sql').read_text())
"""
STATEMENT = re.compile(r"LOG:  statement: (.*)")


@dataclass
class Shop:
    """A target on a server of its own, whose log has every DDL statement; a script is pending there."""

    project: Project
    database: Database
    other: Database
    """Another database with the same schema at the same revision."""
    log: Path

    def review(self) -> Plan:
        """Review what is pending, and return the plan as it is read from its file."""
        result = review.perform(*self.project.settings, self.database, pinning=True)
        assert result.pinned
        path = self.project.root / "plan.json"
        path.write_text(pins.text(result.pinned))
        assert pins.load(path, "") == result.pinned
        return result.pinned

    def run(
        self, plan: Plan, database: Database | None = None, on_note: Callable[[Any], object] = str
    ) -> UpgradeResult:
        """Run a plan; a question is answered with yes."""
        move = Move(reviewed=plan)
        heard = Heard(yes, on_note=on_note)
        return upgrade.perform(*self.project.settings, database or self.database, move, heard)


@pytest.fixture(scope="module")
def logging_server() -> Iterator[tuple[Database, Path]]:
    """A server that logs every DDL statement."""
    home = Path(tempfile.mkdtemp(prefix="pgdb-plan-"))
    home.chmod(0o755)
    running = cheap_server(home)
    maintenance = Database(running.ensure_running(), "test")
    with maintenance.connect(autocommit=True) as connection:
        connection.exec_driver_sql("ALTER SYSTEM SET log_statement = 'ddl'")
        connection.exec_driver_sql("SELECT pg_reload_conf()")
    yield maintenance, running.log
    running.stop()
    shutil.rmtree(home)


@pytest.fixture
def shop(
    project: Project, logging_server: tuple[Database, Path], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Shop]:
    """See the class; the script imports a module and opens a file."""
    monkeypatch.syspath_prepend(project.root / "migration")
    monkeypatch.delitem(sys.modules, "helping", raising=False)
    server, log = logging_server
    with fresh(server) as database, fresh(server) as other:
        project.script(
            "aaaa", "", "op.execute('CREATE TABLE t (id int)')", "op.execute('DROP TABLE t')"
        )
        for place in (database, other):
            up(project.settings, place)
        (project.root / "migration" / "helping.py").write_text("COLUMN = 'bbbb'\n")
        (project.versions / "more.sql").write_text("CREATE INDEX i ON t (bbbb)")
        project.script("bbbb", "aaaa", SCRIPT, "op.execute('ALTER TABLE t DROP bbbb')")
        yield Shop(project, database, other, log)


def script(shop: Shop) -> Path:
    return shop.project.versions / "bbbb.py"


EDITS = {
    "versions/bbbb.py": ("int'", "int '", "migration/versions/bbbb.py was changed"),
    "versions/bbbb.py ": (
        "DROP bbbb')\n",
        "DROP bbbb') \n",
        "migration/versions/bbbb.py was changed",
    ),
    "versions/more.sql": ("i", "I", "migration/versions/more.sql was changed"),
    "env.py": ("\n", "\n\n", "migration/env.py was changed"),
    "helping.py": ("bbbb", "cccc", "migration/helping.py was changed"),
}
"""File → what takes the place of what in it, and what is said."""
STATEMENTS = {
    "ALTER TABLE t ADD n int": ("ALTER TABLE t DROP n", "TABLE t was changed"),
    "ALTER TABLE t ALTER id TYPE bigint": (
        "ALTER TABLE t ALTER id TYPE int",
        "TABLE t was changed",
    ),
    "CREATE TABLE n (n int)": ("DROP TABLE n", "TABLE n is new"),
    "DROP TABLE t": ("CREATE TABLE t (id int)", "TABLE t is missing"),
    "GRANT SELECT ON t TO PUBLIC": ("REVOKE SELECT ON t FROM PUBLIC", "ACL TABLE t is new"),
    "DELETE FROM alembic_version": (
        "INSERT INTO alembic_version VALUES ('aaaa')",
        "it is at the revision base, and was at aaaa",
    ),
}
"""Statement on the target → its reverse, and what is said."""


def refused(shop: Shop, plan: Plan) -> str:
    """Run a plan, which must be refused before any DDL, by the log of the server; return the cause."""
    logged = shop.log.stat().st_size
    with pytest.raises(ExpectedError) as error:
        shop.run(plan)
    assert "nothing was run" in error.value.what
    assert "invoke review --plan" in error.value.hint
    assert not STATEMENT.findall(shop.log.read_bytes()[logged:].decode())
    return error.value.cause


def test_nothing_is_run_if_anything_has_changed(shop: Shop) -> None:
    """Neither if a byte of a file has, nor if an object or the revision of the target has: it is named."""
    plan = shop.review()
    for name, (old, new, said) in EDITS.items():
        path = shop.project.root / "migration" / name.strip()
        before = path.read_text()
        assert old in before
        path.write_text(before.replace(old, new))
        assert refused(shop, plan) == said
        path.write_text(before)
    for statement, (reverse, said) in STATEMENTS.items():
        run_sql(shop.database, statement)
        assert refused(shop, plan) == said
        run_sql(shop.database, reverse)
    script = shop.project.versions / "bbbb.py"
    text = script.read_text()
    script.unlink()
    assert "revision bbbb is not in the history" in refused(shop, plan)
    script.write_text(text)
    older = replace(plan, state=replace(plan.state, server=12))
    assert refused(shop, older).endswith(", and was 12")
    assert shop.run(plan).after == ("bbbb",)


def test_what_was_reviewed_is_run(shop: Shop) -> None:
    """Nothing has changed but rows and later scripts: exactly what was reviewed is run, and logged as DDL."""
    plan = shop.review()
    shop.project.script("cccc", "bbbb", "op.execute('ALTER TABLE t ADD cccc int')")
    run_sql(shop.database, "INSERT INTO t VALUES (1)", "ANALYZE t")
    logged = shop.log.stat().st_size
    result = shop.run(plan)
    assert [each.id for each in result.plan] == ["bbbb"]
    assert result.after == ("bbbb",)
    ddl = STATEMENT.findall(shop.log.read_bytes()[logged:].decode())
    assert "ALTER TABLE t ADD bbbb int" in ddl
    assert "CREATE INDEX i ON t (bbbb)" in ddl
    with pytest.raises(ExpectedError, match="is not as it was") as error:
        shop.run(plan)
    assert error.value.cause == "it is at the revision bbbb, and was at aaaa"


@pytest.mark.long
def test_a_plan_does_for_another_target_in_the_same_state(shop: Shop) -> None:
    """It is run there, and said; if that target is in another state, the error names the one of the plan."""
    plan = shop.review()
    notes: list[str] = []
    run_sql(shop.other, "CREATE TABLE n (n int)")
    with pytest.raises(ExpectedError) as error:
        shop.run(plan, shop.other)
    assert error.value.cause == f"TABLE n is new\nthe plan was made for {shop.database.dsn}"
    run_sql(shop.other, "DROP TABLE n")
    assert shop.run(plan, shop.other, on_note=notes.append).after == ("bbbb",)
    assert any(f"the plan was made for {shop.database.dsn}" in note for note in notes)


@pytest.mark.long
def test_what_scripts_take_from_elsewhere_is_pinned(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other statements of the same files are a change; values that are new each time are none."""
    body = "import os, time\nop.execute(f\"ALTER TABLE t ADD {os.environ['COLUMN']} int\")"
    shop.project.script("bbbb", "aaaa", body, "op.execute('ALTER TABLE t DROP n')")
    monkeypatch.setenv("COLUMN", "n")
    plan = shop.review()
    monkeypatch.setenv("COLUMN", "m")
    with pytest.raises(ExpectedError) as error:
        shop.run(plan)
    assert error.value.cause == "revision bbbb would run other statements"
    clock = body.replace('int")', 'int DEFAULT {time.time_ns() % 10**9}")')
    shop.project.script("bbbb", "aaaa", clock, "op.execute('ALTER TABLE t DROP m')")
    assert shop.run(shop.review()).after == ("bbbb",)


BAD = {
    "": "is no JSON",
    "[]": "is no plan",
    '{"a": 1}': "is no plan",
    '{"kind": "plan of postgres-database, 0"}': "is no plan",
    json.dumps({"kind": pins.KIND}): "is a damaged plan",
    json.dumps({"kind": pins.KIND, "target": 1}): "is a damaged plan",
    json.dumps({"kind": pins.KIND, "target": "", "verdict": "", "state": []}): "is a damaged plan",
}


@pytest.mark.parametrize("text", BAD)
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    """What is no plan is said, and what to type."""
    path = tmp_path / "plan.json"
    for content in (text, None):
        path.write_text(text) if content is not None else path.unlink()
        with pytest.raises(
            ExpectedError, match=BAD[text] if content is not None else "cannot be read"
        ) as error:
            pins.load(path, " --env staging")
        assert error.value.cause
        assert error.value.hint.startswith("invoke review --env staging --plan plan.json")


@pytest.mark.long
def test_nothing_pending_is_a_plan_as_well(shop: Shop) -> None:
    """A plan without revisions runs none."""
    up(shop.project.settings, shop.database)
    assert not shop.run(shop.review()).plan
