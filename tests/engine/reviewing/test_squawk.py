"""What squawk says stands beside what was measured: repeated once, contradicted where the measurement does."""

import os
import sys
from pathlib import Path

import pytest
from conftest import Project

from postgres_database.reviewing import findings, rehearsal, squawk
from postgres_database.reviewing.deployed import Deployed
from postgres_database.reviewing.findings import Finding
from postgres_database.scratch import databases

TABLES = """
op.execute('''
    CREATE TABLE orders (id int PRIMARY KEY, n int, note varchar(10));
    ALTER TABLE orders ADD CONSTRAINT filled CHECK (n IS NOT NULL);
''')
"""
UPGRADE = """
op.execute('CREATE INDEX i ON orders (n)')
op.execute('ALTER TABLE orders ALTER n SET NOT NULL')
op.execute("ALTER TABLE orders ALTER note TYPE varchar(20)")
op.execute('ALTER TABLE orders DROP note')
op.execute('CREATE TABLE new (n int)')
op.execute('CREATE INDEX j ON new (n)')
op.execute("CREATE STATISTICS s (mcv) ON id, n FROM orders")
with op.online():
    op.execute('ALTER TABLE orders ALTER n DROP NOT NULL')
"""
FIRST = 11
"""The line of the first statement."""
DEPLOYED = Deployed("v1", {(None, "orders"): frozenset(("id", "n"))})


def said(
    project: Project, upgrade: str, deployed: Deployed | None = None, then: str = ""
) -> list[Finding]:
    """Run a script, or two, and return what squawk says that is not ours."""
    project.script("one", "", TABLES)
    project.script("two", "one", upgrade)
    if then:
        project.script("three", "two", then)
    here = project.settings.project
    with databases.session(*project.settings) as session:
        plan = here.history.pending(("one",), "head")
        measured = rehearsal.measure(here, session.at(here, ("one",)), plan)
    assert not measured.failed, measured.failure
    name = here.folders.name
    ours = findings.waits(measured, None, name) + findings.broken(measured, name, deployed)
    return squawk.find(
        measured.statements, ours, deployed, server="18.6 (Debian)", root=project.root, name=name
    )


def shown(found: list[Finding]) -> set[tuple[int, str, str, bool]]:
    """Return line, rule, level, and whether the measurement contradicts it."""
    return {
        (each.line - FIRST, each.rule, each.level, each.evidence.startswith("contradicts"))
        for each in found
    }


@pytest.mark.skipif(not squawk.program(), reason="squawk is not installed")
def test_squawk_is_measured(project: Project) -> None:
    """What is ours too is left out, what is contradicted is a note, with the line of the script."""
    found = shown(said(project, UPGRADE, DEPLOYED))
    assert {
        (1, "squawk:adding-not-nullable-field", "note", True),
        (2, "squawk:changing-column-type", "note", True),
        (3, "squawk:ban-drop-column", "note", True),
        (4, "squawk:prefer-bigint-over-int", "note", False),
        (8, "squawk:ban-drop-not-null", "warning", False),
    } <= found
    lines = {line for line, rule, *_ in found if rule != "squawk:prefer-robust-stmts"}
    assert not lines & {0, 5, 6}


def fake(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """Let a program of Python be squawk."""
    path = folder / "squawk"
    path.write_text(f"#!{sys.executable}\nimport json, sys\n{body}\n")
    path.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


SAYS = """
marks = {"CREATE INDEX": "require-concurrent-index-creation", "DROP note": "ban-drop-column",
         "TYPE": "changing-column-type", "CREATE STAT": "syntax-error", "CREATE TABLE": "require-lock-timeout",
         "DROP NOT": "alone" if "--no-assume-in-transaction" in sys.argv else "together"}
said = []
for file in (each for each in sys.argv if each.endswith(".sql")):
    found = [{"rule_name": rule, "file": file, "line": number, "message": "m", "help": "a\\nb"}
             for mark, rule in marks.items() for number, line in enumerate(open(file)) if mark in line]
    said += [each for each in found if each["rule_name"] == "syntax-error"] or found
assert "--pg-version=18.6" in sys.argv
print(json.dumps(said))
"""


def test_what_squawk_says_is_placed(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A statement that it cannot read hides nothing of the others; each is judged as it was run, by its script."""
    folder = tmp_path / "programs"
    folder.mkdir()
    fake(folder, monkeypatch, SAYS)
    found = said(project, UPGRADE, then="op.execute('CREATE INDEX k ON new (n)')")
    assert {Path(each.file).name for each in found} == {"two.py", "three.py"}
    assert shown(found) == {
        (0, "squawk:require-concurrent-index-creation", "note", True),
        (2, "squawk:changing-column-type", "note", True),
        (5, "squawk:require-concurrent-index-creation", "note", True),
        (6, "squawk:syntax-error", "note", False),
        (8, "squawk:alone", "warning", False),
    }
    assert {each.fix for each in found} == {"# a\n# b"}
    assert {each.why for each in found} == {found[0].why}


@pytest.mark.parametrize(
    "body", ["sys.exit('an older program')", "print('hello')", "print('[{}]')"]
)
def test_another_squawk_is_said(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str
) -> None:
    """What cannot be understood is a note; a review without squawk says nothing of it."""
    folder = tmp_path / "programs"
    folder.mkdir()
    fake(folder, monkeypatch, body)
    (finding,) = said(project, "op.execute('CREATE TABLE new (n int)')")
    assert (finding.rule, finding.level) == ("not-reviewed", "note")
    assert "squawk cannot be run" in finding.what
    (folder / "squawk").unlink()
    monkeypatch.setenv("PATH", "/nowhere")
    assert squawk.program() is None
