"""The workflow for GitHub, and what docs/ci.md shows for GitLab: their steps do what the page says."""

import re

import pytest
from checkouts import Checkout, as_text, ready_venv
from conftest import ROOT, run_sql

from postgres_database.server.connection import Database

WORKFLOW = (ROOT / ".github" / "workflows" / "database.yml").read_text()
STEPS = [line.strip("'") for line in re.findall(r"^\s+(?:- )?run: (.+)$", WORKFLOW, re.MULTILINE)]
PAGE = (ROOT / "docs" / "ci.md").read_text()


@pytest.fixture
def runner(checkout: Checkout, role: str, database: Database) -> Checkout:
    """A checkout whose target is a fresh database, on which the role of the commands may only read."""
    ready_venv(checkout)
    run_sql(database, f"GRANT pg_read_all_data TO {role}")
    checkout.environ["POSTGRES_DSN"] = as_text(database.dsn.with_parts(options=f"-c role={role}"))
    checkout.environ["PYTEST_ADDOPTS"] = "-n 0"
    return checkout


@pytest.mark.long
def test_steps_pass(runner: Checkout) -> None:
    """Each step passes where models and history agree, and the last ones print what would run."""
    for step in STEPS:
        ran = runner.run("bash", "-e", "-c", step)
        assert ran.returncode == 0, (step, ran.stdout, ran.stderr)
        if "--dry-run" in step:
            assert "CREATE TABLE file_meta_data" in ran.stdout
    without = runner.run("bash", "-e", "-c", STEPS[-1], POSTGRES_DSN="")
    assert (without.returncode, without.stdout, without.stderr) == (0, "", "")


@pytest.mark.long
def test_steps_fail(runner: Checkout) -> None:
    """A model without a script fails one step, a downgrade that leaves something behind another."""
    storage = runner.root / "postgres_database" / "models" / "storage.py"
    before = storage.read_text()
    storage.write_text(f"{before}    size: Mapped[int | None]\n")
    ran = runner.run("bash", "-e", "-c", STEPS[1])
    assert (ran.returncode, "file_meta_data" in ran.stdout) == (2, True)
    storage.write_text(before)
    script = runner.root / "migration" / "versions" / "added_column_to_file_meta_data.py"
    script.write_text(
        re.sub(r"(def downgrade.*?:\n).*", r"\1    pass\n", script.read_text(), flags=re.DOTALL)
    )
    ran = runner.run("bash", "-e", "-c", STEPS[2])
    assert ran.returncode == 1
    assert "after the downgrade: TABLE file_meta_data is" in ran.stdout


def test_page_names_the_steps() -> None:
    """The table of the page and the file for GitLab have the steps of the workflow."""
    commands = [step.rpartition("|| ")[2] for step in STEPS]
    assert re.findall(r"^\| `(.*?)` \|", PAGE, re.MULTILINE) == commands
    assert re.findall(r"^    - (.*)$", PAGE, re.MULTILINE) == commands[:-1]
